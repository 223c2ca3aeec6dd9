"""Kept diffs: the most recent ones, so that a snapshot that comes late can be brought to the book's moment.

The book's own diffs are in one log, those of another speed in another. Each is kept once, in the order of ids.
"""

from __future__ import annotations

from cowbook.book.continuity import APPLY, judge
from cowbook.book.state import DiffLog, Levels
from cowbook.kernels.copying import copy_sides
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.book_state import KEPT_LEVELS_LIMIT, PLACES, WAITING_LIMIT
from cowbook.plain.messages import NONE
from cowbook.plain.schemes import RANGE, RANGE_WITH_PREVIOUS, RISING

OWN = (PLACES["diff_start"], PLACES["diff_end"], PLACES["diff_level_end"])
APART = (PLACES["apart_start"], PLACES["apart_end"], PLACES["apart_level_end"])
"""Places of a log's valid range among the state's words: first entry, end, and end of the levels."""


@inlined_kernel
def own_log(logs):
    """Returns the log of the book's own diffs."""
    return DiffLog(logs.diffs, Levels(logs.diff_prices, logs.diff_sizes))


@inlined_kernel
def apart_log(logs):
    """Returns the log of the diffs of another speed."""
    return DiffLog(logs.apart, Levels(logs.apart_prices, logs.apart_sizes))


@inlined_kernel
def is_kept(message):
    """Returns whether diffs of this scheme are kept: snapshots come beside them, and their ids say which are newer."""
    return message.rule == RANGE or message.rule == RANGE_WITH_PREVIOUS or message.rule == RISING


@inlined_kernel
def newest_kept(words, log, places):
    """Returns the id of the newest kept diff; NONE if none is kept."""
    start, end = words[places[0]], words[places[1]]
    return log.entries[end - 1].last_id if end > start else NONE


@inlined_kernel
def _span(log, place, level_end):
    """Returns how many places of the arrays of levels lie from an entry's first level to the end of the newest one's."""
    span = level_end - log.entries[place].level_start
    return span if span >= 0 else span + log.levels.prices.size


@kernel
def append(words, log, places, message, levels):
    """Put a depth message into a log, and drop the oldest ones of too many. The log must have room for it."""
    start, end, at = words[places[0]], words[places[1]], words[places[2]]
    entry = log.entries[end]
    entry.rule = message.rule
    entry.first_id = message.first_id
    entry.last_id = message.last_id
    entry.prev_id = message.prev_id
    entry.speed = message.speed
    entry.level_start = at
    entry.bid_count = message.bid_count
    entry.ask_count = message.ask_count
    copy_sides(log.levels.prices, log.levels.sizes, at, levels, message)
    at += message.bid_count + message.ask_count
    end += 1
    if end - start > WAITING_LIMIT:
        start += 1
    while start < end and _span(log, start, at) > KEPT_LEVELS_LIMIT:
        start += 1
    words[places[0]] = start
    words[places[1]] = end
    words[places[2]] = at


@kernel
def keep(words, log, places, message, levels):
    """Keep a diff, unless it is a repetition. The log must have room for it."""
    start, end = words[places[0]], words[places[1]]
    if end == start or message.last_id > log.entries[end - 1].last_id:
        append(words, log, places, message, levels)


@rare_kernel
def keep_apart(words, log, message, levels):
    """Keep a diff of another speed, unless it is a repetition. The log must have room for it."""
    place = words[APART[1]] - 1
    while place >= words[APART[0]] and log.entries[place].speed != message.speed:
        place -= 1
    if place < words[APART[0]] or message.last_id > log.entries[place].last_id:
        append(words, log, APART, message, levels)


@inlined_kernel
def forget(words, places):
    """Forget all diffs of a log."""
    words[places[0]] = words[places[1]]


@rare_kernel
def first_newer(words, log, places, snapshot_id):
    """Returns the place of the first kept diff whose id is above the snapshot's; the end if there is none."""
    low, high = words[places[0]], words[places[1]]
    while low < high:
        middle = (low + high) // 2
        if log.entries[middle].last_id > snapshot_id:
            high = middle
        else:
            low = middle + 1
    return low


@rare_kernel
def levels_newer(words, log, places, snapshot_id):
    """Returns how many levels the kept diffs above the snapshot's id have at most."""
    place = first_newer(words, log, places, snapshot_id)
    return _span(log, place, words[places[2]]) if place < words[places[1]] else 0


@rare_kernel
def joining(words, log, places, snapshot_id, last):
    """Returns the place of the first diff to be applied to a snapshot, so that it becomes the book with the id `last`.

    It is -1 unless the kept diffs join the snapshot without a hole and end at `last`. If the snapshot has that id, it is the end.
    """
    end = words[places[1]]
    first = first_newer(words, log, places, snapshot_id)
    reached = snapshot_id
    is_first = 1
    for place in range(first, end):
        entry = log.entries[place]
        verdict, _expected, _received = judge(entry.rule, reached, is_first, entry.first_id, entry.last_id, entry.prev_id)
        if verdict != APPLY:
            return -1
        reached = entry.last_id
        is_first = 0
    return first if reached == last else -1


@rare_kernel
def takes_over(engine, snapshot_id):
    """Returns whether the diffs of another speed join a snapshot without a hole, and end above the book's id."""
    state, log = engine.state[0], apart_log(engine.logs)
    reached = snapshot_id
    is_first = 1
    newest = NONE
    for place in range(state.apart_start, state.apart_end):
        entry = log.entries[place]
        if entry.speed != state.apart_speed:
            continue
        newest = entry.last_id
        if entry.last_id <= snapshot_id:
            continue
        verdict, _expected, _received = judge(entry.rule, reached, is_first, entry.first_id, entry.last_id, entry.prev_id)
        if verdict != APPLY:
            return False
        reached = entry.last_id
        is_first = 0
    return newest > state.last_id and reached == newest
