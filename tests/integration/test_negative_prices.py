"""Prices below zero, as spreads and combinations have them, in the records of every venue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cowbook.book.order_book_engine import EngineSettings
from support.harness import Reconstruction, Run, reconstruct
from support.venue_samples import SAMPLE_IDS, make_sample, prices_lower_by

AROUND_0, BELOW_0 = 105, 200
"""By so many ticks prices are lower. They lie between 9 and 12 else, and a tick is a tenth."""

NAMES_NO_PRICES = "bitmex-ids"
"""The ids of its levels say the prices, and cannot say negative ones."""
HAS_NO_PRICE_0 = ("kucoin", "kucoin-futures")
"""A level at the price 0 is none."""


def run_sample(directory: Path, name: str, lower_by: int) -> Reconstruction:
    """A whole run over a sample whose prices are so many ticks lower."""
    with prices_lower_by(lower_by):
        sample = make_sample(name, count=60)
    engine = EngineSettings(book_levels=3, streams=("depth", "trades", "bbo", "book", "frame", "features"), part_events=50)
    run = Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)
    result = reconstruct(directory, sample.files, run)
    assert result.summary.state == "done", result.summary.error
    return result


def lowered(row: dict[str, Any], ticks: int) -> dict[str, Any]:
    """A row with all its prices so many ticks lower. What empties a side has none."""
    if row.get("kind") == "clear":
        return row
    is_price = {name: name.endswith("price") or "_px_" in name for name in row}
    return {name: value - ticks if is_price[name] and value is not None else value for name, value in row.items()}


@pytest.mark.parametrize("name", [name for name in SAMPLE_IDS if name != NAMES_NO_PRICES])
def test_the_rows_of_lower_prices_are_the_usual_rows_with_lower_prices(name: str, tmp_path: Path) -> None:
    """Nothing but the prices differs: no message is refused, every checksum matches, the same levels are known."""
    ticks = BELOW_0 if name in HAS_NO_PRICE_0 else AROUND_0
    usual, lower = (run_sample(tmp_path / str(by), name, by) for by in (0, ticks))
    for stream in ("depth", "trades", "bbo", "book", "frame"):
        rows = usual.rows(stream)
        assert rows or (stream, name) == ("trades", "binance-csv")
        assert lower.rows(stream) == [lowered(row, ticks) for row in rows]
    assert not any(lower.summary.dead_letters.values())
    assert lower.summary.audits == usual.summary.audits
    features = [{key: value for key, value in row.items() if not key.endswith("bps")} for row in lower.rows("features")]
    assert len(features) == len(usual.rows("features"))
    for row, before in zip(features, usual.rows("features"), strict=True):
        assert row["spread"] == pytest.approx(before["spread"])
        assert row["mid"] is None or row["mid"] == pytest.approx(before["mid"] - ticks / 10)
