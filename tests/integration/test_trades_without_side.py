"""Trades of which the vendor does not know the aggressor: they are trades of side `unknown`, and neither bought nor sold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from cowbook import features, replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.export.hftbacktest import BUY_EVENT, SELL_EVENT, TRADE_EVENT, export_hftbacktest
from cowbook.export.nautilus import export_nautilus
from cowbook.export.span import Span
from cowbook.plot.depth_map import read_depth_map
from support.harness import Reconstruction, Run, reconstruct

START_US = 1_700_000_000_000_000
BOOK = f"""exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
x,AB,{START_US},{START_US},true,bid,10.0,1
x,AB,{START_US},{START_US},true,ask,11.0,1
x,AB,{START_US + 100_000},{START_US + 100_000},false,bid,10.0,2
x,AB,{START_US + 5_000_000},{START_US + 5_000_000},false,bid,10.0,3
"""
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n" + "".join(
    f"x,AB,{time},{time},{number},{side},10.5,{amount}\n"
    for number, (side, amount) in enumerate((("buy", 1), ("unknown", 2), ("sell", 4), ("unknown", 8)))
    for time in (START_US + 5_000_000 + 100_000 * number,)
)
SIDES = ["buy", "unknown", "sell", "unknown"]


def run_trades(directory: Path) -> Reconstruction:
    """A whole run over the book, and behind it the trades."""
    streams = ("depth", "trades", "bbo", "book", "frame", "features")
    run = Run("AB", "AB", "tardis", price_decimals=1, size_decimals=0, engine=EngineSettings(streams=streams))
    result = reconstruct(directory, {"1-book": BOOK.encode(), "2-trades": TRADES.encode()}, run)
    assert result.summary.state == "done", result.summary.error
    return result


def test_they_are_rows_of_trades(tmp_path: Path) -> None:
    """No dead letter, and one more name of a side."""
    result = run_trades(tmp_path)
    assert not any(result.summary.dead_letters.values())
    assert [row["side"] for row in result.rows("trades")] == SIDES


def test_they_are_neither_bought_nor_sold(tmp_path: Path) -> None:
    """In the stream, in the library's table of a capture and of an output; a step of a replay has them with the side 0."""
    result = run_trades(tmp_path)
    paths = [str(tmp_path / "input" / name) for name in ("1-book", "2-trades")]
    of_capture = features(paths, "AB", format="tardis", price_decimals=1, size_decimals=0, every=10**6, bps=())
    of_output = features(result.output_dir, "AB", every=10**6, bps=())
    for table in (of_capture, of_output):
        names = ("buy_volume", "sell_volume", "buy_count", "sell_count")
        assert [table[name][-1].as_py() for name in names] == [1, 4, 1, 1]
    for book in replay(paths, "AB", format="tardis", price_decimals=1, size_decimals=0, every=10**6):
        assert book.trades.side.tolist() == [1, 0, -1, 0]


def test_exports_and_pictures_have_them_without_a_side(tmp_path: Path) -> None:
    """Hftbacktest's events have no flag of a side, nautilus' ticks no aggressor, and a picture a mark of their own."""
    result = run_trades(tmp_path)
    export_hftbacktest(Span(result.output_dir, "AB", None, None), tmp_path / "events.npz")
    events = np.load(tmp_path / "events.npz")["data"]["ev"]
    flags = events[events & 0xFF == TRADE_EVENT] & (BUY_EVENT | SELL_EVENT)
    assert flags.tolist() == [BUY_EVENT, 0, SELL_EVENT, 0]
    export_nautilus(Span(result.output_dir, "AB", None, None), tmp_path / "catalogue", "AB.X")
    (path,) = (tmp_path / "catalogue").glob("**/trade_tick*/**/*.parquet")
    assert pq.read_table(path)["aggressor_side"].to_pylist() == [1, 0, 2, 0]
    sides = read_depth_map(result.output_dir, "AB", columns=50).trades.sides
    assert sorted(sides.tolist()) == [0, 1, 2, 2]
