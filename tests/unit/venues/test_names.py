"""Symbols with letters beyond ASCII are symbols like any other, in text and in tables, written out or escaped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cowbook import replay

NAME = "币安人生USDT"
DIFF = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": NAME, "U": 2, "u": 2, "b": [["1.5", "2"]], "a": []}
SNAPSHOT = {"lastUpdateId": 1, "E": 1_700_000_000_000, "bids": [["1.4", "1"]], "asks": [["1.6", "1"]]}


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_records_may_name_such_a_symbol(tmp_path: Path, escaped: bool, wrapped: bool) -> None:
    """And another one is another symbol."""
    other = DIFF | {"s": "币安USDT", "U": 3, "u": 3, "b": [["9", "9"]]}
    records: list[dict[str, object]] = [DIFF, other]
    if wrapped:
        records = [{"stream": f"{str(record['s']).lower()}@depth@100ms", "data": record} for record in records]
    lines = [json.dumps(record, ensure_ascii=escaped) for record in [SNAPSHOT, *records, *records[1:] * 100]]
    (tmp_path / "a").write_text("\n".join([*lines, ""]), encoding="utf-8")
    *_, book = replay(tmp_path / "a", NAME, every=10**9)
    assert (book.bid_price, book.bid_size, book.ask_price) == (1.5, 2, 1.6)
    assert (book.value("diffs"), book.value("other_symbol")) == (1, 101)


def test_rows_of_tables_may_name_such_a_symbol(tmp_path: Path) -> None:
    """In CSV."""
    rows = [f"x,{name},1700000000000000,1700000000000001,true,bid,{price},1" for name, price in ((NAME, 2), ("币安USDT", 3))]
    header = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    (tmp_path / "a").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    *_, book = replay(tmp_path / "a", NAME, every=10**9, format="tardis")
    assert (book.bid_price, book.value("other_symbol")) == (2, 1)
