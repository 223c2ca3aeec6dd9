"""Run in a Python that has hftbacktest: its book at many local times, from an exported file.

Arguments: the file, tick size, lot size, an .npz file whose `times` are ns in order, and the .npz file to write: `quotes`, price
and size of the best bid and ask at each of them.
"""

import sys
from typing import Any

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data import validate_event_order
from hftbacktest.types import event_dtype
from numba import njit


def look(backtest: Any, times: Any, quotes: Any) -> None:
    """Go from time to time."""
    backtest.elapse(1)  # to the first event
    for place in range(len(times)):
        backtest.elapse(times[place] - backtest.current_timestamp)
        depth = backtest.depth(0)
        quotes[place, 0], quotes[place, 2] = depth.best_bid, depth.best_ask
        quotes[place, 1] = depth.bid_qty_at_tick(depth.best_bid_tick)
        quotes[place, 3] = depth.ask_qty_at_tick(depth.best_ask_tick)


def main(path: str, tick_size: str, lot_size: str, asked: str, out: str) -> None:
    """Write the quotes."""
    events = np.load(path)["data"]
    assert events.dtype == event_dtype
    validate_event_order(events)
    asset = (
        BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(float(tick_size))
        .lot_size(float(lot_size))
    )
    times = np.load(asked)["times"]
    quotes = np.zeros((len(times), 4))
    njit(look)(HashMapMarketDepthBacktest([asset]), times, quotes)
    np.savez(out, quotes=quotes)


main(*sys.argv[1:])
