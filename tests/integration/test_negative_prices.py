"""Prices below zero, as spreads and combinations have them, in the records of every venue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from cowbook import book_at, features
from cowbook.book.order_book_engine import EngineSettings
from cowbook.export.grid import export_grid
from cowbook.export.hftbacktest import DEPTH_CLEAR_EVENT, export_hftbacktest
from cowbook.export.span import Span
from cowbook.export.text import export_csv
from cowbook.plot.depth_map import read_depth_map
from cowbook.query.sql import make_sql
from cowbook.sink.columns import NumberKind
from support.harness import Reconstruction, Run, reconstruct
from support.small_output import START_MS, diff, make_lines, make_output, snapshot
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


LOWER_BY = 21
"""Of a small output whose best prices are 10 and 11: they are -11 and -10."""


def lower_lines() -> list[bytes]:
    """The lines of a small output with lower prices."""

    def lower(text: str) -> str:
        return str(int(text) - LOWER_BY)

    lines = []
    for line in make_lines():
        record = json.loads(line)
        if "p" in record:
            record["p"] = lower(record["p"])
        for key in {"b", "a", "bids", "asks"} & record.keys():
            record[key] = [[lower(price), size] for price, size in record[key]]
        lines.append(json.dumps(record).encode() + b"\n")
    return lines


@pytest.mark.parametrize("numbers", ["decimal", "float64", "int64"])
def test_what_reads_an_output_finds_its_negative_prices(tmp_path: Path, numbers: NumberKind) -> None:
    """The book at an instant, features of the output, exports and a picture: lower by as much, and else the same."""
    usual, lower = (
        make_output(tmp_path / name, lines, numbers=numbers).output_dir
        for name, lines in (("usual", make_lines()), ("lower", lower_lines()))
    )
    time = (START_MS + 2_200) * 10**6
    before, book = book_at(usual, "BTCUSDT", time), book_at(lower, "BTCUSDT", time)
    assert [price + LOWER_BY for price, _ in book.bids.decimals()] == [price for price, _ in before.bids.decimals()]
    assert (book.mid, book.spread) == (before.mid - LOWER_BY, before.spread)  # type: ignore[operator]
    assert book.proof == before.proof

    tables = [features(data, "BTCUSDT", every=1, levels=2, bps=()).drop_columns("time").to_pylist() for data in (usual, lower)]
    assert tables[0]
    prices = ("bid_price", "ask_price", "mid", "microprice")
    for one, other in zip(*tables, strict=True):
        expected = {name: value - LOWER_BY if name in prices and value is not None else value for name, value in one.items()}
        assert other == pytest.approx(expected)

    span = (None, None)
    counts = [export_csv(data, "BTCUSDT", *span, data / "csv") for data in (usual, lower)]
    assert counts[0] == counts[1]
    assert "-11" in (lower / "csv" / "bbo.csv").read_text()
    pictures = [read_depth_map(data, "BTCUSDT", columns=20) for data in (usual, lower)]
    assert np.array_equal(pictures[1].best[0], pictures[0].best[0] - LOWER_BY, equal_nan=True)
    assert np.array_equal(pictures[1].known[0], pictures[0].known[0] - LOWER_BY, equal_nan=True)
    if numbers == "float64":
        return  # of doubles no backtest's file is made
    for data in (usual, lower):
        export_hftbacktest(Span(data, "BTCUSDT", *span), data / "hft.npz")
        export_grid(data, "BTCUSDT", *span, data / "grid.npz", holes="fill", numbers="float64")
    events = [np.load(data / "hft.npz")["data"] for data in (usual, lower)]
    is_clear = events[0]["ev"] & 0xFF == DEPTH_CLEAR_EVENT
    assert (events[1]["px"] == np.where(is_clear, 0, events[0]["px"] - LOWER_BY)).all()
    grids = [np.load(data / "grid.npz")["book"] for data in (usual, lower)]
    assert np.array_equal(grids[1][:, :, ::2], grids[0][:, :, ::2] - LOWER_BY, equal_nan=True)


def test_sql_takes_distances_from_a_negative_mid(tmp_path: Path) -> None:
    """Of a book of three levels a side, those within 1,500 basis points of -10.5, as of 10.5."""
    data = make_output(tmp_path, lower_lines()).output_dir
    connection = duckdb.connect()
    connection.execute(make_sql(data))
    rows = connection.execute("FROM depth_within('BTCUSDT', TIMESTAMPTZ '2024-08-09 00:00:00+00', 1500)").fetchall()
    assert rows == [("bid", 2, 3.0, -35.0), ("ask", 2, 3.0, -28.0)]


def test_a_capture_of_the_least_and_greatest_prices_comes_back(tmp_path: Path) -> None:
    """18 digits of either sign in one book: rows, frames and the book at the end, with a stop at every few events."""
    least, greatest = "-9999999999.99999999", "9999999999.99999999"
    lines = [snapshot(100, 0, [("-0.00000001", "1"), (least, "2")], [("0", "3"), (greatest, "4")])]
    lines += [
        diff(101, 100, [("-5000000000", "7"), (least, "0")], [("-0.00000000", "0"), ("1", "5")]),
        diff(102, 200, [(least, "1")]),
    ]
    result = make_output(tmp_path, lines, part_events=2, book_interval=10**8)
    prices = [row["price"] for row in result.rows("depth")]
    assert prices[2:6] == [-1, -(10**18) + 1, 0, 10**18 - 1]
    book = book_at(result.output_dir, "BTCUSDT")
    assert book.bids.prices.tolist() == [-1, -5 * 10**17, -(10**18) + 1]
    assert book.asks.prices.tolist() == [10**8, 10**18 - 1]
