"""Room in the append-only arrays: how much a message may need, whether the arrays have it, and how they are enlarged.

The kernel checks before each message, so that applying one never fails half-way. It subtracts the most that a message can append,
which follows from the table of arrays (plain/streams.py). When that upper bound says that there is no room, the room is measured
anew from the true counts. Only an array that is really full is replaced by a larger copy; snapshots may still read the old one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cowbook.book.state import Logs
from cowbook.kernels.jit import inlined_kernel
from cowbook.plain.book_state import WAITING_LIMIT
from cowbook.plain.streams import ROW_ARRAYS

_Array = TypeVar("_Array", npt.NDArray[np.void], npt.NDArray[np.int64])

# Places in an engine's room.
MESSAGES_LEFT = 0  # number of messages for which every array has enough entries, not counting levels
LEVELS_LEFT = 1  # number of levels for which the arrays of levels have enough entries
SNAPSHOT_LEVELS = 2  # number of levels that a waiting snapshot may have
ROOM_WORDS = 3

_MESSAGES_AT_A_TIME = 1024
"""Room is always made for at least so many messages, because each call costs microseconds."""

_MOST_DEPTH_MESSAGES = 2
"""Applied in one turn: a snapshot that waited, and the message. Each may append the tickers that still wait again."""

_DAYS_OF_A_MESSAGE = 2
_DAYS_AT_A_TIME = 8


@inlined_kernel
def has_room(room, state, logs, message):
    """Returns whether every array has room for `message` and a snapshot that waits for it. The room is then taken."""
    levels = message.bid_count + message.ask_count
    waiting_tickers = state.ticker_end - state.ticker_start
    room[MESSAGES_LEFT] -= 1
    room[LEVELS_LEFT] -= levels + state.waiting_bid_count + state.waiting_ask_count
    return (
        room[MESSAGES_LEFT] >= 0
        and room[LEVELS_LEFT] >= 0
        and levels <= room[SNAPSHOT_LEVELS]
        and state.ticker_end + _MOST_DEPTH_MESSAGES * waiting_tickers + 1 <= logs.tickers.size
        and state.day_count + _DAYS_OF_A_MESSAGE <= logs.days.size
    )


def measure_room(room: npt.NDArray[np.int64], state: np.void, rows: Any, logs: Logs) -> None:
    """Fill an engine's room, int64 of shape (ROOM_WORDS,), from the entries that are really left."""
    messages = [len(logs.diffs) - int(state["diff_end"])]
    levels = [len(logs.diff_prices) - int(state["diff_level_end"])]
    for array in ROW_ARRAYS:
        left = len(getattr(rows, array.name)) - int(state[f"open_{array.count}"])
        if array.most_per_level:
            # An array that holds both rows and levels reserves half of its free entries for each.
            left = left // 2 if array.most else left
            levels.append(left // array.most_per_level)
        if array.most:
            messages.append(left // array.most)
    room[MESSAGES_LEFT] = min(messages)
    room[LEVELS_LEFT] = min(levels)
    room[SNAPSHOT_LEVELS] = len(logs.snapshot_prices)


def make_room(state: np.void, message: np.void, rows: Any, logs: Logs) -> tuple[Any, Logs]:
    """Returns (rows, logs) with room for `message` and for more of its kind. Arrays that have the room are kept as they are.

    Entries of the logs that are no longer needed are dropped, and the ranges in `state` are updated to match.
    """
    levels = int(message["bid_count"] + message["ask_count"])
    with_waiting = levels + int(state["waiting_bid_count"] + state["waiting_ask_count"])
    larger = {}
    for array in ROW_ARRAYS:
        entries = getattr(rows, array.name)
        count = int(state[f"open_{array.count}"])
        # Twice as many, because measure_room halves an array that holds both rows and levels.
        needed = 2 * (array.most * _MESSAGES_AT_A_TIME + array.most_per_level * with_waiting)
        if count + needed > len(entries):
            larger[array.name] = _enlarged(entries, 0, count, needed)
    return rows._replace(**larger), _room_in_logs(state, levels, with_waiting, logs)


def _enlarged(array: _Array, start: int, end: int, needed: int) -> _Array:
    """Returns an array that begins with `array[start:end]`, has room for `needed` more entries, and is at least twice as long."""
    kept = end - start
    larger = np.empty((max(2 * kept, kept + needed), *array.shape[1:]), array.dtype)
    larger[:kept] = array[start:end]
    return larger


def _room_in_logs(state: np.void, levels: int, with_waiting: int, logs: Logs) -> Logs:
    start, end = int(state["diff_start"]), int(state["diff_end"])
    level_end = int(state["diff_level_end"])
    if end + _MESSAGES_AT_A_TIME > len(logs.diffs) or level_end + with_waiting > len(logs.diff_prices):
        level_start = int(logs.diffs["level_start"][start]) if start < end else level_end
        diffs = _enlarged(logs.diffs, start, end, WAITING_LIMIT)
        diffs["level_start"][: end - start] -= level_start
        logs = logs._replace(
            diffs=diffs,
            diff_prices=_enlarged(logs.diff_prices, level_start, level_end, with_waiting + WAITING_LIMIT),
            diff_sizes=_enlarged(logs.diff_sizes, level_start, level_end, with_waiting + WAITING_LIMIT),
        )
        state["diff_start"], state["diff_end"], state["diff_level_end"] = 0, end - start, level_end - level_start
    start, end = int(state["ticker_start"]), int(state["ticker_end"])
    waiting = end - start
    if end + _MOST_DEPTH_MESSAGES * waiting + 1 > len(logs.tickers):
        logs = logs._replace(tickers=_enlarged(logs.tickers, start, end, 16 * waiting + WAITING_LIMIT))
        state["ticker_start"], state["ticker_end"] = 0, waiting
    days = int(state["day_count"])
    if days + _DAYS_OF_A_MESSAGE > len(logs.days):
        logs = logs._replace(days=_enlarged(logs.days, 0, days, _DAYS_AT_A_TIME))
    if levels > len(logs.snapshot_prices):
        kept = int(state["waiting_bid_count"] + state["waiting_ask_count"])
        logs = logs._replace(
            snapshot_prices=_enlarged(logs.snapshot_prices, 0, kept, levels),
            snapshot_sizes=_enlarged(logs.snapshot_sizes, 0, kept, levels),
        )
    return logs
