"""Room in the append-only arrays: how much a message may need, whether the arrays have it, and how they are enlarged.

The kernel checks before each message, so that applying one never fails half-way. It subtracts the most that a message can append,
which follows from the table of arrays (plain/streams.py). When that upper bound says that there is no room, the room is measured
anew from the true counts. Only an array that is really full is replaced by a larger copy; snapshots may still read the old one.
Arrays to which few messages append are not part of the bound, which they would make too low. Their true counts are looked at.

In the same way the number of open rows is bounded: once a stream has its most open rows, there is no room for a message. The
caller then makes a cut instead of room, so that applying a message never counts them (ADR 16).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cowbook.book.kept import APART, OWN, apart_log, levels_newer, own_log
from cowbook.book.ladder import ASK, BID
from cowbook.book.state import Logs, Slots
from cowbook.errors import BookMemoryError
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.book_state import FREE, PLACES, TOOK_OVER, WAITING_LIMIT
from cowbook.plain.lent_memory import lend
from cowbook.plain.messages import SNAPSHOT
from cowbook.plain.streams import BOUNDED_STREAMS, ROW_ARRAYS

_Array = TypeVar("_Array", npt.NDArray[np.void], npt.NDArray[np.int64])

# Places in an engine's room.
MESSAGES_LEFT = 0  # number of messages for which every array has enough entries, not counting levels
LEVELS_LEFT = 1  # number of levels for which the arrays of levels have enough entries
LEVELS_NEEDED = 2  # most levels that the message for which there was no room may append to the rows
APART_LEVELS_LEFT = 3  # number of levels for which the arrays of the diffs of another speed have room
KEPT_LEVELS_LEFT = 4  # the same of the book's own diffs
LEVELS_OF_MESSAGE = 5  # of the message for which there was no room
ROOM_WORDS = 6

MESSAGES_AT_A_TIME = 1024
"""Room is always made for at least so many messages, because each call costs microseconds."""

MOST_DAYS = 1 << 17
"""Days that may have ended. From 1970 to 2262, the last year of a time in ns, there are 106,751."""

_DIFF_LOGS = (("diff", "diffs"), ("apart", "apart"))
"""Logs of diffs: what the fields of their ranges begin with, and the name of their entries."""

_BOUNDED = tuple((PLACES[f"open_{stream.name}"], stream.most_rows) for stream in BOUNDED_STREAMS)
_NEEDS = tuple((PLACES[f"open_{array.count}"], array.most, array.most_per_level) for array in ROW_ARRAYS)
"""Of the bounded streams and of the arrays of open rows: the place of their count in the state, and what a message may append."""

_DAYS_OF_A_MESSAGE = 2
_DAYS_AT_A_TIME = 8


@inlined_kernel
def has_room(engine, message):
    """Returns whether every array has room for `message`. The room is then taken."""
    room, state, logs = engine.room, engine.state[0], engine.logs
    count = message.bid_count + message.ask_count
    levels = count
    depth = engine.settings[0].depth
    if message.kind == SNAPSHOT or depth > 0 or state.depth > 0 or message.depth > 0:
        levels += _further_levels(engine, message)
    room[MESSAGES_LEFT] -= 1
    room[LEVELS_LEFT] -= levels
    room[LEVELS_NEEDED] = levels
    room[KEPT_LEVELS_LEFT] -= count
    room[LEVELS_OF_MESSAGE] = count
    waiting_tickers = state.ticker_end - state.ticker_start
    return (
        room[MESSAGES_LEFT] >= 0
        and room[LEVELS_LEFT] >= 0
        and room[KEPT_LEVELS_LEFT] >= 0
        and room[APART_LEVELS_LEFT] >= count
        and state.apart_end < logs.apart.size
        and state.trade_end + count < logs.trades.size
        and state.recent_end < logs.recent.size
        and state.slot_level_end + 2 * count <= logs.slot_prices.size
        and state.ticker_end + waiting_tickers < logs.tickers.size
        and state.day_count + _DAYS_OF_A_MESSAGE <= logs.days.size
    )


@rare_kernel
def _further_levels(engine, message):
    """Returns how many levels a depth message may append besides its own.

    A snapshot's rows are the whole book, or what it shows to be different; a diff may push levels out of the depth.
    """
    state, words, logs, sides = engine.state[0], engine.words, engine.logs, engine.book.sides
    levels = sides[BID].level_count + sides[ASK].level_count
    if message.kind == SNAPSHOT:
        levels += 2 + levels_newer(words, own_log(logs), OWN, message.last_id)
        levels += levels_newer(words, apart_log(logs), APART, message.last_id)
    depth = engine.settings[0].depth
    if depth == 0:
        depth = message.depth if message.depth > 0 else state.depth
    if message.kind == SNAPSHOT:
        return 2 * levels + message.bid_count + message.ask_count if depth > 0 else levels
    count = message.bid_count + message.ask_count
    return count + max(0, sides[BID].level_count - depth) + max(0, sides[ASK].level_count - depth)


def is_cut_forced(state: np.void, most_open_rows: int) -> bool:
    """Returns whether a stream has so many open rows that a cut is due before any other message."""
    values = state.item()
    return any(values[open_rows] >= most_open_rows for open_rows, _ in _BOUNDED)


@dataclass(frozen=True, slots=True)
class Held:
    """What a snapshot that is held still reads."""

    state: np.void
    logs: Logs


def measure_room(
    room: npt.NDArray[np.int64], state: np.void, rows: Any, logs: Logs, most_open_rows: int, held: Sequence[Held] = ()
) -> None:
    """Fill an engine's room, int64 of shape (ROOM_WORDS,), from the entries that are really left.

    There is room for a message as long as no stream of `BOUNDED_STREAMS` can have `most_open_rows` rows before it.
    """
    values = state.item()  # a tuple, whose numbers take a tenth of the time that fields take
    messages = [
        len(logs.diffs) - values[PLACES["diff_end"]],
        *(-((values[open_rows] - most_open_rows) // most_rows) for open_rows, most_rows in _BOUNDED),
    ]
    own, apart = (_oldest_levels(state, logs, name, log, held) for name, log in _DIFF_LOGS)
    room[KEPT_LEVELS_LEFT] = _levels_left(own, values[PLACES["diff_level_end"]], len(logs.diff_prices))
    room[APART_LEVELS_LEFT] = _levels_left(apart, values[PLACES["apart_level_end"]], len(logs.apart_prices))
    levels = []
    for array, (count, most, most_per_level) in zip(rows, _NEEDS, strict=True):
        left = len(array) - values[count]
        if most_per_level:
            left = left // 2 if most else left
            levels.append(left // most_per_level)
        if most:
            messages.append(left // most)
    room[MESSAGES_LEFT] = min(messages)
    room[LEVELS_LEFT] = min(levels)


def make_room(
    state: np.void, room: npt.NDArray[np.int64], rows: Any, logs: Logs, slots: Slots, held: Sequence[Held] = ()
) -> tuple[Any, Logs]:
    """Returns (rows, logs) with room for the message for which `room` had none, and for more of its kind.

    Arrays that have the room are kept as they are. What snapshots that are held refer to is not written in place.
    Entries of the logs that are no longer needed are dropped, and the ranges in `state` and the places of levels in `slots` are
    updated to match. Raises BookMemoryError if event times have gone through more than MOST_DAYS days.
    """
    larger = {}
    needed = int(room[LEVELS_NEEDED])
    values = state.item()
    for name, entries, (count, most, most_per_level) in zip(rows._fields, rows, _NEEDS, strict=True):
        # Twice as many, because measure_room halves an array that holds both rows and levels.
        wanted = 2 * (most * MESSAGES_AT_A_TIME + most_per_level * needed)
        if values[count] + wanted > len(entries):
            larger[name] = _enlarged(entries, 0, values[count], wanted)
    return rows._replace(**larger), _room_in_logs(state, int(room[LEVELS_OF_MESSAGE]), logs, slots, held)


def _enlarged(array: _Array, start: int, end: int, needed: int) -> _Array:
    """Returns an array that begins with `array[start:end]`, has room for `needed` more entries, and is at least twice as long."""
    kept = end - start
    count = max(2 * kept, kept + needed)
    larger: _Array = lend(count * math.prod(array.shape[1:]), array.dtype).reshape(count, *array.shape[1:])
    larger[:kept] = array[start:end]
    return larger


def _moved(array: _Array, start: int, end: int, needed: int, *, is_held: bool) -> _Array:
    """Returns an array that begins with `array[start:end]` and has room for `needed` more entries.

    It is the same one, where that is allowed and leaves half of it free: the first touch of fresh memory costs more than moving.
    """
    kept = end - start
    if is_held or 2 * kept + needed > len(array):
        return _enlarged(array, start, end, needed)
    array[:kept] = array[start:end]
    return array


def _room_in_logs(state: np.void, needed: int, logs: Logs, slots: Slots, held: Sequence[Held]) -> Logs:
    for name, log in _DIFF_LOGS:
        logs = _room_in_diffs(state, needed, logs, name, log, held)
    is_held = bool(held)
    for name, log in (("trade", "trades"), ("recent", "recent")):
        start, end = int(state[f"{name}_start"]), int(state[f"{name}_end"])
        wanted = 2 * (MESSAGES_AT_A_TIME + (needed if name == "trade" else 0))
        if end + wanted > len(getattr(logs, log)):
            logs = logs._replace(**{log: _moved(getattr(logs, log), start, end, wanted + 2 * WAITING_LIMIT, is_held=is_held)})
            state[f"{name}_start"], state[f"{name}_end"] = 0, end - start
    start, end = int(state["ticker_start"]), int(state["ticker_end"])
    waiting = end - start
    if end + waiting + 1 > len(logs.tickers):
        logs = logs._replace(tickers=_moved(logs.tickers, start, end, 16 * waiting + WAITING_LIMIT, is_held=is_held))
        state["ticker_start"], state["ticker_end"] = 0, waiting
    days = int(state["day_count"])
    if days > MOST_DAYS:
        raise BookMemoryError(
            f"event times have gone from one UTC day into another {days:,} times, the most is {MOST_DAYS:,}: there is a wrong "
            "clock in the input, or it is several recordings in turn"
        )
    if days + _DAYS_OF_A_MESSAGE > len(logs.days):
        logs = logs._replace(days=_enlarged(logs.days, 0, days, _DAYS_AT_A_TIME))
    if int(state["slot_level_end"]) + 2 * needed > len(logs.slot_prices):
        logs = _room_in_slots(state, needed, logs, slots)
    return logs


def _room_in_diffs(state: np.void, needed: int, logs: Logs, name: str, log: str, held: Sequence[Held]) -> Logs:
    """Room in a log of diffs. Its levels go round in their arrays: moving them would cost more than keeping them."""
    is_held = bool(held)
    start, end, level_end = (int(state[f"{name}_{what}"]) for what in ("start", "end", "level_end"))
    entries, prices, sizes = getattr(logs, log), getattr(logs, f"{name}_prices"), getattr(logs, f"{name}_sizes")
    if end + MESSAGES_AT_A_TIME > len(entries):
        entries = _moved(entries, start, end, WAITING_LIMIT, is_held=is_held)
        logs = logs._replace(**{log: entries})
        state[f"{name}_start"], state[f"{name}_end"] = start, end = 0, end - start
    oldest = _oldest_levels(state, logs, name, log, held)
    if _levels_left(oldest, level_end, len(prices)) >= needed:
        return logs
    first = min(oldest, default=len(prices))
    if max(oldest, default=0) <= level_end and first > max(needed, len(prices) // 4):
        state[f"{name}_level_end"] = 0
        return logs
    kept, kept_prices, kept_sizes = in_line(entries[start:end], prices, sizes, level_end)
    count = len(kept_prices)
    if is_held:  # the entries, too, are read by the snapshot
        entries = _enlarged(entries, start, end, WAITING_LIMIT)
        state[f"{name}_start"], state[f"{name}_end"] = start, end = 0, end - start
    entries["level_start"][start:end] = kept["level_start"]
    state[f"{name}_level_end"] = count
    larger = [_enlarged(array, 0, count, 2 * count + needed + WAITING_LIMIT) for array in (kept_prices, kept_sizes)]
    return logs._replace(**{log: entries, f"{name}_prices": larger[0], f"{name}_sizes": larger[1]})


def _kept(state: np.void, name: str, entries: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The valid entries of a log of diffs."""
    return entries[int(state[f"{name}_start"]) : int(state[f"{name}_end"])]


def _oldest_levels(state: np.void, logs: Logs, name: str, log: str, held: Sequence[Held]) -> list[int]:
    """Returns the places of the oldest levels that are still read: the log's own, and those of each snapshot that is held."""
    readers = [(state, logs), *((one.state, one.logs) for one in held)]
    return [
        int(getattr(read, log)["level_start"][int(seen[f"{name}_start"])])
        for seen, read in readers
        if seen[f"{name}_start"] < seen[f"{name}_end"] and getattr(read, f"{name}_prices") is getattr(logs, f"{name}_prices")
    ]


def _levels_left(oldest: Sequence[int], level_end: int, capacity: int) -> int:
    """Returns how many levels can be appended at `level_end` to the arrays of a log without reaching levels that are read."""
    return min((place - level_end - 1 for place in oldest if place > level_end), default=capacity - level_end)


def kept_bytes(state: np.void, logs: Logs) -> int:
    """Returns the bytes of all kept diffs and their levels. The arrays that they lie in take up to about twice as much."""
    total = 0
    for name, log in (("diff", "diffs"), ("apart", "apart")):
        entries, prices = getattr(logs, log), getattr(logs, f"{name}_prices")
        start, end, level_end = (int(state[f"{name}_{what}"]) for what in ("start", "end", "level_end"))
        if start < end:
            levels = (level_end - int(entries["level_start"][start])) % len(prices)
            total += (end - start) * entries.itemsize + 2 * levels * prices.itemsize
    return total


def in_line(
    kept: npt.NDArray[np.void], prices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], level_end: int
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns copies of a log's entries and their levels, which are in the order of the entries, from place 0 on."""
    kept = kept.copy()
    starts, counts = kept["level_start"].copy(), kept["bid_count"] + kept["ask_count"]
    kept["level_start"] = np.cumsum(counts) - counts
    if not len(kept):
        return kept, prices[:0].copy(), sizes[:0].copy()
    round_again = np.flatnonzero(starts < starts[0])
    ranges = [(int(starts[0]), level_end)]
    if len(round_again):
        last = int(round_again[0]) - 1
        ranges = [(int(starts[0]), int(starts[last] + counts[last])), (0, level_end)]
    return kept, _copied(prices, ranges), _copied(sizes, ranges)


def _copied(array: npt.NDArray[np.int64], ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Returns a copy of ranges of an array, one behind the other."""
    copy: npt.NDArray[np.int64] = lend(sum(end - start for start, end in ranges), array.dtype)
    at = 0
    for start, end in ranges:
        copy[at : at + end - start] = array[start:end]
        at += end - start
    return copy


def take_over(state: np.void, logs: Logs) -> Logs:
    """Returns logs in which the diffs of the speed `takes_over` are the kept ones. All others are forgotten."""
    speed = int(state["takes_over"])
    entries = logs.apart[int(state["apart_start"]) : int(state["apart_end"])]
    kept = entries[entries["speed"] == speed]
    counts = kept["bid_count"] + kept["ask_count"]
    ends = np.cumsum(counts)
    total = int(counts.sum())
    prices, sizes = (np.empty(2 * total + WAITING_LIMIT, np.int64) for _ in range(2))
    for entry, end in zip(kept, ends, strict=True):
        first, count = int(entry["level_start"]), int(entry["bid_count"] + entry["ask_count"])
        prices[end - count : end] = logs.apart_prices[first : first + count]
        sizes[end - count : end] = logs.apart_sizes[first : first + count]
    diffs = _enlarged(kept, 0, len(kept), WAITING_LIMIT)
    diffs["level_start"][: len(kept)] = ends - counts
    state["diff_start"], state["diff_end"], state["diff_level_end"] = 0, len(kept), total
    state["apart_start"] = state["apart_end"]
    state["speed"], state["apart_run"], state["takes_over"] = speed, 0, TOOK_OVER
    return logs._replace(diffs=diffs, diff_prices=prices, diff_sizes=sizes)


def _room_in_slots(state: np.void, needed: int, logs: Logs, slots: Slots) -> Logs:
    """New arrays for the levels of waiting messages, without those of messages that wait no more."""
    used = [place for place, slot in enumerate(slots.info) if slot["purpose"] != FREE]
    counts = [int(slots.messages["bid_count"][place] + slots.messages["ask_count"][place]) for place in used]
    kept = sum(counts)
    prices, sizes = (np.empty(max(2 * kept, kept + 4 * needed + 64), np.int64) for _ in range(2))
    at = 0
    for place, count in zip(used, counts, strict=True):
        message = slots.messages[place]
        first = int(message["bid_start"])
        prices[at : at + count] = logs.slot_prices[first : first + count]
        sizes[at : at + count] = logs.slot_sizes[first : first + count]
        message["bid_start"], message["ask_start"] = at, at + message["bid_count"]
        at += count
    state["slot_level_end"] = at
    return logs._replace(slot_prices=prices, slot_sizes=sizes)
