"""Deltas and trades for nautilus_trader: its schema, its flags, and the book that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.errors import ExportError
from cowbook.export.nautilus import ADD, CLEAR_BOOK, DELETE, F_LAST, F_SNAPSHOT, NautilusExport, export_nautilus, numbers
from cowbook.export.span import Span
from support.harness import Reconstruction
from support.naive_book import NaiveBook, fold_rows
from support.small_output import START_MS, make_lines, make_output, snapshot

START = START_MS * 10**6
MS = 10**6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """An output that tests only read."""
    return make_output(tmp_path_factory.mktemp("nautilus"), make_lines())


def export(result: Reconstruction, path: Path, start: int | None = None, end: int | None = None) -> NautilusExport:
    """Write it."""
    return export_nautilus(Span(result.output_dir, "BTCUSDT", start, end), path, "BTC/USDT.BINANCE")


def number(raw: bytes) -> int:
    """A number as nautilus_trader reads it, in units of 8 decimals."""
    whole, rest = divmod(int.from_bytes(raw, "little", signed=True), 10**8)
    assert rest == 0
    return whole


def apply(book: NaiveBook, row: dict[str, Any]) -> None:
    """One delta, as its `OrderBook` applies it."""
    if row["action"] == CLEAR_BOOK:
        assert row["side"] == 0
        book.clear()
    else:
        size = number(row["size"])
        assert (row["action"] == DELETE) == (size == 0)
        book.set(is_bid=row["side"] == 1, price=number(row["price"]), size=size)


def test_files_stand_where_the_catalogue_looks_and_have_its_schema(made: Reconstruction, tmp_path: Path) -> None:
    """Folder by kind and instrument, name by the times in it; precisions are those that the data need."""
    said = export(made, tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in said.files]
    assert names == [
        "data/order_book_deltas/BTCUSDT.BINANCE/2024-08-09T00-00-00-000000000Z_2024-08-09T00-00-02-900000000Z.parquet",
        "data/trade_tick/BTCUSDT.BINANCE/2024-08-09T00-00-00-450000000Z_2024-08-09T00-00-02-450000000Z.parquet",
    ]
    deltas, trades = (pq.read_table(path) for path in said.files)
    metadata = {b"instrument_id": b"BTC/USDT.BINANCE", b"price_precision": b"0", b"size_precision": b"0"}
    raw = pa.binary(16)
    assert deltas.schema.metadata == trades.schema.metadata == metadata
    assert [(field.name, field.type, field.nullable) for field in deltas.schema] == [
        ("action", pa.uint8(), False),
        ("side", pa.uint8(), False),
        ("price", raw, False),
        ("size", raw, False),
        ("order_id", pa.uint64(), False),
        ("flags", pa.uint8(), False),
        ("sequence", pa.uint64(), False),
        ("ts_event", pa.uint64(), False),
        ("ts_init", pa.uint64(), False),
    ]
    assert trades.schema.names == ["price", "size", "aggressor_side", "trade_id", "ts_event", "ts_init"]
    assert (deltas.num_rows, trades.num_rows) == (said.deltas, said.trades)
    rows = made.rows("trades")
    assert trades["trade_id"].to_pylist() == [str(row["trade_id"]) for row in rows]
    assert trades["aggressor_side"].to_pylist() == [1 if row["side"] == "buy" else 2 for row in rows]
    assert [number(raw) for raw in trades["price"].to_pylist()] == [row["price"] for row in rows]


def test_the_book_behind_each_message_is_the_outputs(made: Reconstruction, tmp_path: Path) -> None:
    """A message ends with F_LAST; what belongs to a snapshot has F_SNAPSHOT, its clear included."""
    book, ends = NaiveBook(), []
    deltas = pq.read_table(export(made, tmp_path).files[0]).to_pylist()
    for row in deltas:
        apply(book, row)
        assert bool(row["flags"] & F_SNAPSHOT) == (row["action"] in (CLEAR_BOOK, ADD))
        if row["flags"] & F_LAST:
            ends.append((row["sequence"], row["ts_event"], book.levels))
    rows = made.rows("depth")
    places = [place + 1 for place, row in enumerate(rows) if row["is_last"]]
    assert ends == [(rows[end - 1]["update_id"], rows[end - 1]["ts_event"], fold_rows(rows[:end]).levels) for end in places]
    assert [row["ts_init"] for row in deltas] == sorted(row["ts_init"] for row in deltas)


def test_spans_of_one_catalogue_follow_each_other(made: Reconstruction, tmp_path: Path) -> None:
    """Each begins with the whole book as a snapshot, and the second one leaves the first one's files alone."""
    middle = START + 1250 * MS
    first = export(made, tmp_path, None, middle)
    second = export(made, tmp_path, middle)
    assert not set(first.files) & set(second.files)
    rows = made.rows("depth")
    deltas = pq.read_table(second.files[0]).to_pylist()
    book = NaiveBook()
    for row in deltas[: second.start_levels + 1]:
        apply(book, row)
        assert row["flags"] == F_SNAPSHOT | (F_LAST if row is deltas[second.start_levels] else 0)
    assert book.levels == fold_rows(row for row in rows if row["ts_event"] < middle).levels
    for row in deltas[second.start_levels + 1 :]:
        apply(book, row)
    assert book.levels == fold_rows(rows).levels
    with pytest.raises(ExportError, match="exists: remove it"):
        export(made, tmp_path, middle)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_an_empty_snapshot_is_a_clear_that_ends_its_message(tmp_path: Path) -> None:
    """The last of the two rows of kind clear ends it, and one of both is left."""
    result = make_output(tmp_path / "made", [snapshot(1, 0, [], [])])
    assert [row["kind"] for row in result.rows("depth")] == ["clear", "clear"]
    last = pq.read_table(export(result, tmp_path / "catalogue").files[0]).to_pylist()[-1]
    assert (last["action"], last["flags"]) == (CLEAR_BOOK, F_SNAPSHOT | F_LAST)


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1)), st.integers(0, 16))
def test_numbers_are_whole_units_of_ten_to_the_minus_sixteen(values: list[int], decimals: int) -> None:
    """Little-endian, two's complement, exact."""
    made = numbers(np.array(values, np.int64), decimals).to_pylist()
    assert [int.from_bytes(raw, "little", signed=True) for raw in made] == [value * 10 ** (16 - decimals) for value in values]


@pytest.mark.parametrize("instrument", ["BTCUSDT", ".BINANCE", "BTCUSDT.", "../x.Y", "a\\b.C"])
def test_an_instrument_is_a_symbol_and_a_venue(made: Reconstruction, tmp_path: Path, instrument: str) -> None:
    """Nothing that is no id, and nothing that leads out of the catalogue."""
    with pytest.raises(ExportError, match="it must be SYMBOL"):
        export_nautilus(Span(made.output_dir, "BTCUSDT", None, None), tmp_path, instrument)
    assert not list(tmp_path.iterdir())
