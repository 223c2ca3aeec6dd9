"""Making room in the append-only arrays: a larger copy takes the place of a full one, which snapshots may still read."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cowbook.book.state import Logs, Rows
from cowbook.plain.book_state import OPEN_ROW_COUNTS, WAITING_LIMIT

_Array = TypeVar("_Array", npt.NDArray[np.void], npt.NDArray[np.int64])


def _enlarged(array: _Array, start: int, end: int, needed: int) -> _Array:
    """`array[start:end]` at the front of an array with room for at least `needed` more, and twice what is kept."""
    kept = end - start
    larger = np.empty((max(2 * kept, kept + needed), *array.shape[1:]), array.dtype)
    larger[:kept] = array[start:end]
    return larger


def make_room(state: np.void, message: np.void, rows: Rows, logs: Logs) -> tuple[Rows, Logs]:
    """Arrays with room for what `message` may append; those that have it already stay.

    The logs forget what is no longer needed, and `state` is told where their contents stand now.
    """
    levels = int(message["bid_count"] + message["ask_count"])
    levels_with_waiting = levels + int(state["waiting_bid_count"] + state["waiting_ask_count"])
    counts = dict(zip(OPEN_ROW_COUNTS, (int(state[name]) for name in OPEN_ROW_COUNTS), strict=True))
    used = {
        "depth_messages": counts["depth_messages"],
        "depth_prices": counts["depth_levels"],
        "depth_sizes": counts["depth_levels"],
        "trades": counts["trade_rows"],
        "bbo": counts["bbo_rows"],
        "book": counts["book_rows"],
        "book_levels": counts["book_rows"],
        "gaps": counts["gap_rows"],
        "drift": counts["drift_rows"],
        "audits": counts["audit_rows"],
        "dead": counts["dead_rows"],
    }
    larger = {}
    for name, count in used.items():
        array = getattr(rows, name)
        needed = max(levels_with_waiting, 4) if name in ("depth_prices", "depth_sizes", "trades") else 4
        if count + needed > len(array):
            larger[name] = _enlarged(array, 0, count, needed)
    return rows._replace(**larger), _room_in_logs(state, levels, logs)


def _room_in_logs(state: np.void, levels: int, logs: Logs) -> Logs:
    start, end = int(state["diff_start"]), int(state["diff_end"])
    level_end = int(state["diff_level_end"])
    if end == len(logs.diffs) or level_end + levels > len(logs.diff_prices):
        level_start = int(logs.diffs["level_start"][start]) if start < end else level_end
        diffs = _enlarged(logs.diffs, start, end, 1024)
        diffs["level_start"][: end - start] -= level_start
        logs = logs._replace(
            diffs=diffs,
            diff_prices=_enlarged(logs.diff_prices, level_start, level_end, levels + WAITING_LIMIT),
            diff_sizes=_enlarged(logs.diff_sizes, level_start, level_end, levels + WAITING_LIMIT),
        )
        state["diff_start"], state["diff_end"], state["diff_level_end"] = 0, end - start, level_end - level_start
    start, end = int(state["ticker_start"]), int(state["ticker_end"])
    waiting = end - start
    if end + waiting + 1 > len(logs.tickers):
        # Every depth message that finds older tickers appends the others anew.
        logs = logs._replace(tickers=_enlarged(logs.tickers, start, end, 16 * waiting + WAITING_LIMIT))
        state["ticker_start"], state["ticker_end"] = 0, waiting
    days = int(state["day_count"])
    if days + 2 > len(logs.days):
        logs = logs._replace(days=_enlarged(logs.days, 0, days, 8))
    if levels > len(logs.snapshot_prices):
        kept = int(state["waiting_bid_count"] + state["waiting_ask_count"])
        logs = logs._replace(
            snapshot_prices=_enlarged(logs.snapshot_prices, 0, kept, levels),
            snapshot_sizes=_enlarged(logs.snapshot_sizes, 0, kept, levels),
        )
    return logs
