"""The kernel that joins the sources' queues in one order. What it does depends on the messages of the queues alone.

Nothing is decided before each source shows its next message, has ended, or is passed over. A message that another source has
further back waits until that source has brought what it has in front: so the order within each source stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.merge.order import AHEAD_NS, compare, is_beyond, own_time
from cowbook.merge.queues import (
    DIFFS,
    INERT,
    MOST_AHEAD,
    NUMBERED,
    OWN_NUMBERS,
    SHARED_NUMBERS,
    SNAPSHOTS,
    TICKERS,
    UNKNOWN_NUMBERS,
    Queues,
    count_key,
    number,
    place_of,
)
from cowbook.merge.recent import NOT_FOUND, Recent, find, number_all, put
from cowbook.plain.merge_state import TOTALS
from cowbook.plain.messages import BREAK, DEAD_LETTER, IS_COVERED, IS_NO_DEPTH, NONE

# Why the kernel returned, if not for the number of a source, of which more is needed.
FULL = -1  # the batch has no room for the next message
ENDED = -2  # no source has a message left
_UNCLEAR = -3  # of `_hand_on_alone`: what is next has to be looked for

_FREE = -1
_LAST_TIME = np.iinfo(np.int64).max
_NO_SOURCE = -1

# Places among the totals.
_SEQUENCE = TOTALS.index("sequence")
_NUMBERING = TOTALS.index("numbering")
_FRONT = TOTALS.index("front")
_ALL_DEPTH = TOTALS.index("all_depth")
_ALL_SNAPSHOTS = TOTALS.index("all_snapshots")
_ALL_TRADES = TOTALS.index("all_trades")
_ALL_TICKERS = TOTALS.index("all_tickers")
_CONTRADICTED_ID = TOTALS.index("contradicted_id")
_CONTRADICTED_BY = TOTALS.index("contradicted_by")


class Merge(NamedTuple):
    """All that the kernel works on."""

    queues: Queues
    lanes: npt.NDArray[np.void]  # merge_state.LANE, (sources,)
    recent: Recent
    totals: npt.NDArray[np.int64]  # merge_state.TOTALS


class Joined(NamedTuple):
    """The batch that is filled."""

    messages: npt.NDArray[np.void]  # MESSAGE
    sources: npt.NDArray[np.int64]  # which source each message is from
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]  # (2,): messages, levels


@inlined_kernel
def _advance(merge, source):
    """Consume the message that a source has in front."""
    queues = merge.queues
    cursor = queues.cursors[source]
    count_key(queues, source, queues.waiting[source, cursor.head].key, -1)
    cursor.head += 1
    cursor.is_checked = 0
    merge.lanes[source].messages += 1


@inlined_kernel
def _count_had(merge, source, group):
    lane = merge.lanes[source]
    if group == DIFFS:
        lane.had_depth += 1
        lane.carries_book = 1
    elif group == SNAPSHOTS:
        lane.had_snapshots += 1
        lane.carries_book = 1
    elif group == TICKERS:
        lane.had_tickers += 1
    elif group != NUMBERED:
        lane.had_trades += 1


@inlined_kernel
def _count_all(merge, group):
    if group == DIFFS:
        merge.totals[_ALL_DEPTH] += 1
    elif group == SNAPSHOTS:
        merge.totals[_ALL_SNAPSHOTS] += 1
    elif group == TICKERS:
        merge.totals[_ALL_TICKERS] += 1
    elif group != NUMBERED:
        merge.totals[_ALL_TRADES] += 1


@rare_kernel
def _begin_numbers(merge):
    """From now on records are told by their connection's numbers, which the sources share."""
    queues = merge.queues
    merge.totals[_NUMBERING] = SHARED_NUMBERS
    number_all(merge.recent)
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        cursor.is_checked = 0
        for place in range(cursor.head, cursor.end):
            waiting = queues.waiting[source, place]
            count_key(queues, source, waiting.key, -1)
            number(queues.messages[source, place], waiting)
            count_key(queues, source, waiting.key, 1)


@inlined_kernel
def _compare_numbers(merge, are_equal):
    """Learn from a message that two sources have whether they share the numbers of a connection. The first one decides."""
    if merge.totals[_NUMBERING] != UNKNOWN_NUMBERS:
        return
    if are_equal:
        _begin_numbers(merge)
    else:
        merge.totals[_NUMBERING] = OWN_NUMBERS


@inlined_kernel
def _note_number(lane, sequence):
    """Note a jump in the numbers of a source's connection: records are missing in front of this one."""
    if sequence == 0:
        return
    if lane.last_sequence != 0 and sequence > lane.last_sequence + 1:
        lane.in_hole = 1
        lane.missing += sequence - lane.last_sequence - 1
    lane.last_sequence = sequence


@kernel
def _skip_duplicate(merge, source, entry):
    """Consume the message in front, which another source has brought: `entry` of the recent ones says the same."""
    queues, lane = merge.queues, merge.lanes[source]
    head = queues.cursors[source].head
    message, waiting = queues.messages[source, head], queues.waiting[source, head]
    others = entry.sources
    lane.shares |= others
    for other in range(merge.lanes.size):
        if (others >> other) & 1 != 0:
            merge.lanes[other].shares |= 1 << source
    if entry.content != waiting.content:
        lane.contradictions += 1
        merge.totals[_CONTRADICTED_ID] = message.last_id
        merge.totals[_CONTRADICTED_BY] = source
    if message.ts_recv != NONE and entry.ts_recv != NONE:
        first = merge.lanes[entry.first]
        if source > entry.first:
            lane.clock = first.clock + message.ts_recv - entry.ts_recv
        else:
            first.clock = lane.clock + entry.ts_recv - message.ts_recv
    if message.sequence != 0 and entry.sequence != 0:
        _compare_numbers(merge, message.sequence == entry.sequence)
    entry.sources |= 1 << source
    lane.duplicates += 1
    lane.in_hole = 0
    lane.missing = 0
    _count_had(merge, source, waiting.group)
    _advance(merge, source)


@rare_kernel
def _is_late(merge, source, message):
    """Returns whether a message is of the time before one that was handed on while its source was passed over."""
    lane = merge.lanes[source]
    if lane.passed_event == NONE and lane.passed_recv == NONE:
        return False
    if message.ts_event != NONE and lane.passed_event != NONE:
        return message.ts_event < lane.passed_event
    return message.ts_recv != NONE and lane.passed_recv != NONE and message.ts_recv < lane.passed_recv


@kernel
def _check_head(merge, source):
    """Skip what a source has in front and another has brought, and what comes too late. Returns whether a message is left."""
    queues, lane = merge.queues, merge.lanes[source]
    cursor = queues.cursors[source]
    while cursor.head < cursor.end and cursor.is_checked == 0:
        _note_number(lane, queues.messages[source, cursor.head].sequence)
        waiting = queues.waiting[source, cursor.head]
        if waiting.group == INERT:
            cursor.is_checked = 1
            break
        index = find(merge.recent, waiting, source)
        if index != NOT_FOUND:
            _skip_duplicate(merge, source, merge.recent.entries[index])
        elif (lane.passed_event != NONE or lane.passed_recv != NONE) and _is_late(
            merge, source, queues.messages[source, cursor.head]
        ):
            lane.late += 1
            _advance(merge, source)
        else:
            cursor.is_checked = 1
    return cursor.head < cursor.end


@inlined_kernel
def _has_more_to_come(cursor):
    return cursor.has_ended == 0 and cursor.is_passed == 0


@inlined_kernel
def _is_same(waiting, other):
    return waiting.key == other.key and (waiting.time == other.time or waiting.time == NONE or other.time == NONE)


@inlined_kernel
def _share(merge, one, other):
    return (merge.lanes[one].shares >> other) & 1 != 0


@kernel
def _looks_ahead(merge, source, message, waiting, holder):
    """Look for the message in front of `holder` in a source that has another one in front.

    Returns 1 if the source brings it later, 0 if it does not, and -1 if more of the source is needed to tell.
    """
    queues = merge.queues
    cursor = queues.cursors[source]
    count = min(cursor.end - cursor.head, MOST_AHEAD)
    is_enough = count == MOST_AHEAD or not _has_more_to_come(cursor)
    share, clocks = _share(merge, source, holder), merge.lanes[source].clock - merge.lanes[holder].clock
    if queues.present[place_of(waiting.key), source] == 0:
        if is_enough:
            return 0
        newest = cursor.end - 1
        if is_beyond(
            queues.messages[source, newest],
            queues.waiting[source, newest].group,
            message,
            waiting.group,
            True,
            clocks,
            merge.totals[_NUMBERING],
        ):
            return 0
    for place in range(cursor.head, cursor.head + count):
        other = queues.waiting[source, place]
        if other.group == INERT:
            continue
        if place > cursor.head and _is_same(other, waiting):
            return 1
        if is_beyond(
            queues.messages[source, place], other.group, message, waiting.group, share, clocks, merge.totals[_NUMBERING]
        ):
            return 0
    return 0 if is_enough else -1


@kernel
def _earliest(merge):
    """Returns the source whose message in front is the earliest; the first of several that nothing tells apart."""
    queues, best = merge.queues, _NO_SOURCE
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        if cursor.head == cursor.end:
            continue
        if best == _NO_SOURCE:
            best = source
            continue
        best_head = queues.cursors[best].head
        mine, other = queues.waiting[source, cursor.head], queues.waiting[best, best_head]
        if _is_same(mine, other) and mine.group == other.group:
            continue
        share, clocks = _share(merge, source, best), merge.lanes[source].clock - merge.lanes[best].clock
        one, two = queues.messages[source, cursor.head], queues.messages[best, best_head]
        sign = compare(one, mine.group, two, other.group, share, clocks if share else 0, merge.totals[_NUMBERING])
        if sign < 0:
            best = source
    return best


@kernel
def _horizon(merge):
    """Returns a time from which on some source does not show yet what it brings; NONE if that is not known.

    Every source's newest message is beyond one that is older than that, unless numbers of connections tell the order.
    """
    queues, horizon = merge.queues, _LAST_TIME
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        if not _has_more_to_come(cursor):
            continue
        if cursor.head == cursor.end:
            return NONE
        newest = own_time(queues.messages[source, cursor.end - 1])
        if newest == NONE:
            return NONE
        horizon = min(horizon, newest - AHEAD_NS)
    return horizon


@inlined_kernel
def _is_of_one_source(merge, source, horizon):
    """Returns whether it shows at once that no other source brings the message that a source has in front."""
    queues = merge.queues
    head = queues.cursors[source].head
    if merge.totals[_NUMBERING] == SHARED_NUMBERS:
        return False
    present = queues.present[place_of(queues.waiting[source, head].key)]
    for other in range(present.size):
        if other != source and present[other] != 0:
            return False
    time = own_time(queues.messages[source, head])
    return time != NONE and time < horizon


@kernel
def _choose(merge, horizon):
    """Returns (source whose message in front is next, source of which more is needed to tell). One of them is _NO_SOURCE."""
    queues, sources = merge.queues, merge.lanes.size
    chosen = _earliest(merge)
    if _is_of_one_source(merge, chosen, horizon):
        return chosen, _NO_SOURCE
    for _ in range(sources):  # more often only where sources contradict each other's order: then the last one it is
        head = queues.cursors[chosen].head
        message, waiting = queues.messages[chosen, head], queues.waiting[chosen, head]
        before = _FREE
        for source in range(sources):
            cursor = queues.cursors[source]
            if source == chosen or (cursor.head == cursor.end and not _has_more_to_come(cursor)):
                continue
            if _is_same(queues.waiting[source, cursor.head], waiting):
                continue
            found = _looks_ahead(merge, source, message, waiting, chosen)
            if found < 0:
                return _NO_SOURCE, source
            if found > 0:
                before = source
                break
        if before == _FREE:
            break
        chosen = before
    return chosen, _NO_SOURCE


@rare_kernel
def _is_covered(merge, source):
    """Returns whether another source that has the book goes on without a hole."""
    for other in range(merge.lanes.size):
        cursor, lane = merge.queues.cursors[other], merge.lanes[other]
        if other != source and lane.carries_book != 0 and lane.in_hole == 0 and cursor.head < cursor.end:
            return True
    return False


@inlined_kernel
def _copy(merge, source, joined):
    """Append the message that a source has in front to the batch."""
    queues = merge.queues
    head = queues.cursors[source].head
    count, levels = joined.counts[0], joined.counts[1]
    joined.messages[count] = queues.messages[source, head]
    joined.sources[count] = source
    message = joined.messages[count]
    shift = levels - message.bid_start
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        joined.prices[level + shift] = queues.prices[source, level]
        joined.sizes[level + shift] = queues.sizes[source, level]
    message.bid_start = levels
    levels += message.bid_count
    shift = levels - message.ask_start
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        joined.prices[level + shift] = queues.prices[source, level]
        joined.sizes[level + shift] = queues.sizes[source, level]
    message.ask_start = levels
    joined.counts[0] = count + 1
    joined.counts[1] = levels + message.ask_count


@rare_kernel
def _hand_on_inert(merge, source, joined):
    """Hand on the message in front, which says nothing of book and trades, or drop one that only warns of a loss that is none."""
    queues, lane = merge.queues, merge.lanes[source]
    message = queues.messages[source, queues.cursors[source].head]
    is_rejected = message.kind == DEAD_LETTER and message.flags & IS_NO_DEPTH == 0
    is_covered = False
    if message.kind == BREAK or is_rejected:
        is_covered = _is_covered(merge, source)
        if lane.carries_book != 0:
            lane.in_hole = 1
    if message.kind != BREAK or not is_covered:
        _copy(merge, source, joined)
        place = joined.counts[0] - 1
        joined.messages[place].sequence = 0  # it has no place among the numbers of another connection
        if is_covered:
            joined.messages[place].flags |= IS_COVERED
    _advance(merge, source)


@inlined_kernel
def _number(merge, source, message):
    """Give a message that its connection numbers its number in the joined stream, in which a hole of all sources stays one."""
    sequence = message.sequence
    if sequence == 0:
        return
    lane, step = merge.lanes[source], 1
    if merge.totals[_NUMBERING] == SHARED_NUMBERS:
        if sequence >= merge.totals[_FRONT] and merge.totals[_FRONT] != 0:
            step = sequence - merge.totals[_FRONT]
        if step == 0:
            message.sequence = 0  # another source called the same record unused
            return
    elif lane.missing > 0 and not _is_covered(merge, source):
        step += lane.missing
    merge.totals[_FRONT] = sequence
    merge.totals[_SEQUENCE] += step
    message.sequence = merge.totals[_SEQUENCE]


@rare_kernel
def _note_passed(merge, message):
    """Note how far the time has come without the sources that are passed over."""
    for source in range(merge.lanes.size):
        cursor = merge.queues.cursors[source]
        if cursor.is_passed == 0 or cursor.head < cursor.end:
            continue
        lane = merge.lanes[source]
        if message.ts_event != NONE:
            lane.passed_event = max(lane.passed_event, message.ts_event)
        if message.ts_recv != NONE:
            lane.passed_recv = max(lane.passed_recv, message.ts_recv)


@inlined_kernel
def _received_earlier(message, ts_recv):
    """Have a message the receive time of another copy if that is earlier, also where it stands in for the venue's time."""
    if ts_recv == NONE or ts_recv >= message.ts_recv:
        return
    if message.ts_event == message.ts_recv:
        message.ts_event = ts_recv
    message.ts_recv = ts_recv


@kernel
def _hand_on(merge, source, joined, is_any_passed, is_alone):
    """Hand on the message that a source has in front, for all that have the same one there; none has if it `is_alone`."""
    queues = merge.queues
    waiting = queues.waiting[source, queues.cursors[source].head]
    _copy(merge, source, joined)
    message = joined.messages[joined.counts[0] - 1]
    sequence = message.sequence
    _number(merge, source, message)
    if is_any_passed:
        _note_passed(merge, message)
    lane = merge.lanes[source]
    lane.first += 1
    lane.in_hole = 0
    lane.missing = 0
    _count_all(merge, waiting.group)
    _count_had(merge, source, waiting.group)
    put(merge.recent, waiting, source, message.ts_recv, sequence)
    if not is_alone:
        for other in range(merge.lanes.size):
            cursor = queues.cursors[other]
            if other != source and cursor.head < cursor.end and _is_same(queues.waiting[other, cursor.head], waiting):
                cursor.is_checked = 0
                _received_earlier(message, queues.messages[other, cursor.head].ts_recv)
    _advance(merge, source)


@inlined_kernel
def _note_times(merge, source):
    """Note the times of the message that a source has in front. Returns False if it has no time of the venue's."""
    queues = merge.queues
    cursor = queues.cursors[source]
    if cursor.head == cursor.end:
        queues.times[0, source] = _LAST_TIME
        queues.times[1, source] = _LAST_TIME
        return True
    message = queues.messages[source, cursor.head]
    time = own_time(message)
    queues.times[0, source] = time
    queues.times[1, source] = message.ts_recv if message.ts_recv != NONE else time
    return time != NONE


@inlined_kernel
def _earliest_by_all_times(times):
    """Returns the source whose message is before all others both by the venue's time and by that of receipt, or _NO_SOURCE.

    Then `compare` says so, too, whichever of the two it goes by.
    """
    best = 0
    for source in range(1, times.shape[1]):
        if times[0, source] < times[0, best]:
            best = source
    for source in range(times.shape[1]):
        if source != best and (times[0, source] == times[0, best] or times[1, source] <= times[1, best]):
            return _NO_SOURCE
    return best


@kernel
def _hand_on_alone(merge, joined, most_messages, horizon):
    """Hand on what is next as long as that shows by the times of the heads alone, and no other source brings it.

    All heads are checked, none is inert, and no source is passed over. Hands on what `_choose` would choose. Returns as `join`,
    or _UNCLEAR.
    """
    queues = merge.queues
    for source in range(merge.lanes.size):
        if not _note_times(merge, source):
            return _UNCLEAR
    while True:
        source = _earliest_by_all_times(queues.times)
        if source == _NO_SOURCE or not _is_of_one_source(merge, source, horizon):
            return _UNCLEAR
        cursor = queues.cursors[source]
        if not _has_room(joined, queues.messages[source, cursor.head], most_messages):
            return FULL
        _hand_on(merge, source, joined, False, True)
        if not _check_head(merge, source):
            if _has_more_to_come(cursor):
                return source
        elif queues.waiting[source, cursor.head].group == INERT:
            return _UNCLEAR
        if not _note_times(merge, source):
            return _UNCLEAR


@inlined_kernel
def _has_room(joined, message, most_messages):
    levels = joined.counts[1] + message.bid_count + message.ask_count
    return joined.counts[0] < most_messages and levels <= joined.prices.size


@kernel
def join(merge, joined, most_messages):
    """Append messages to the batch, at most so many, in the order of the whole.

    Returns the number of a source of which more is needed, FULL, or ENDED.
    """
    queues, sources = merge.queues, merge.lanes.size
    is_any_passed = False
    for source in range(sources):
        is_any_passed |= queues.cursors[source].is_passed != 0
    horizon = _horizon(merge)  # nothing is appended meanwhile
    was_alone = True
    while True:
        waiting, inert = 0, _NO_SOURCE
        for source in range(sources):
            cursor = queues.cursors[source]
            if cursor.is_checked == 0 and not _check_head(merge, source):
                if _has_more_to_come(cursor):
                    return source
                continue
            waiting += 1
            if inert == _NO_SOURCE and queues.waiting[source, cursor.head].group == INERT:
                inert = source
        if waiting == 0:
            return ENDED
        next_one = inert
        if inert == _NO_SOURCE:
            if was_alone and not is_any_passed:
                was_alone = False
                why = _hand_on_alone(merge, joined, most_messages, horizon)
                if why != _UNCLEAR:
                    return why
                continue
            next_one, needed = _choose(merge, horizon)
            if needed != _NO_SOURCE:
                return needed
        if not _has_room(joined, queues.messages[next_one, queues.cursors[next_one].head], most_messages):
            return FULL
        if inert != _NO_SOURCE:
            _hand_on_inert(merge, next_one, joined)
        else:
            was_alone = _is_of_one_source(merge, next_one, horizon)
            _hand_on(merge, next_one, joined, is_any_passed, was_alone)
