"""Hands messages on: what a source has in front becomes the next message of the batch."""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.merge.queues import DIFFS, SHARED_NUMBERS, SNAPSHOTS, TICKERS
from cowbook.merge.recent import newest_of, put
from cowbook.merge.state import FRONT, FULL, NO_SOURCE, NUMBERING, SEQUENCE, advance, count_all, count_had, is_copy, is_same
from cowbook.plain.merge_state import RECENT_MERGED
from cowbook.plain.messages import BREAK, DEAD_LETTER, IS_COVERED, IS_NO_DEPTH, NONE, OTHER_SYMBOL

_MOST_BETWEEN = 256
"""So many messages are looked at for one that a source has not brought."""


@inlined_kernel
def has_room(joined, message, most_messages):
    levels = joined.counts[1] + message.bid_count + message.ask_count
    return joined.counts[0] < most_messages and levels <= joined.prices.size


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
def _names_others(merge):
    """Returns whether it was handed on that the input speaks of other symbols."""
    for source in range(merge.lanes.size):
        if merge.lanes[source].names_others != 0:
            return True
    return False


@rare_kernel
def note_others(merge, source):
    """Have the first records of other symbols handed on if they stand in front of what this source has in front.

    They say that a snapshot may be another symbol's, so the first one has a place: that of the first message behind it. With
    NO_SOURCE all are handed on.
    """
    queues, lanes = merge.queues, merge.lanes
    for other in range(lanes.size):
        cursor = queues.cursors[other]
        if lanes[other].others == 0:
            continue
        if (
            source == NO_SOURCE
            or other == source
            or (cursor.head < cursor.end and is_copy(merge, other, cursor.head, source, queues.cursors[source].head))
        ):
            lanes[other].names_others = 1


@rare_kernel
def hand_on_others(merge, joined, most_messages):
    """Hand on the records of other symbols that wait, if that was noted. Returns FULL if there is no room, else how many."""
    count = 0
    if not _names_others(merge):
        return count
    for source in range(merge.lanes.size):
        lane = merge.lanes[source]
        while lane.others > 0:
            if joined.counts[0] >= most_messages:
                return FULL
            message = joined.messages[joined.counts[0]]
            message.kind = OTHER_SYMBOL
            message.ts_event = NONE
            message.ts_recv = NONE
            message.flags = 0
            message.bid_count = 0
            message.ask_count = 0
            message.sequence = 0
            joined.sources[joined.counts[0]] = source
            joined.counts[0] += 1
            lane.others -= 1
            count += 1
    return count


@rare_kernel
def hand_on_inert(merge, source, joined):
    """Hand on the message in front, which says nothing of book and trades, or drop one that only warns of a loss that is none."""
    queues, lane = merge.queues, merge.lanes[source]
    message = queues.messages[source, queues.cursors[source].head]
    if message.kind == OTHER_SYMBOL and not _names_others(merge):
        lane.others += 1
        advance(merge, source)
        return
    is_rejected = message.kind == DEAD_LETTER and message.flags & IS_NO_DEPTH == 0
    is_covered = False
    if message.kind == BREAK or is_rejected:
        is_covered = _is_covered(merge, source)
        if lane.carries_book != 0:
            lane.in_hole = 1
    if message.kind != BREAK or not is_covered:
        _copy(merge, source, joined)
        place = joined.counts[0] - 1
        joined.counts[2] += message.kind == DEAD_LETTER
        joined.messages[place].sequence = 0  # it has no place among the numbers of another connection
        if is_covered:
            joined.messages[place].flags |= IS_COVERED
    advance(merge, source)


@inlined_kernel
def _number(merge, source, message):
    """Give a message that its connection numbers its number in the joined stream, in which a hole of all sources stays one."""
    sequence = message.sequence
    if sequence == 0:
        return
    lane, step = merge.lanes[source], 1
    if merge.totals[NUMBERING] == SHARED_NUMBERS:
        if sequence >= merge.totals[FRONT] and merge.totals[FRONT] != 0:
            step = sequence - merge.totals[FRONT]
        if step == 0:
            message.sequence = 0  # another source called the same record unused
            return
    elif lane.missing > 0 and not _is_covered(merge, source):
        step += lane.missing
    merge.totals[FRONT] = sequence
    merge.totals[SEQUENCE] += step
    message.sequence = merge.totals[SEQUENCE]


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


@inlined_kernel
def hand_on_one(merge, source, joined, is_any_passed):
    """Hand on the message that a source has in front. Those of other sources stay as they are."""
    queues, lane = merge.queues, merge.lanes[source]
    waiting = queues.waiting[source, queues.cursors[source].head]
    _copy(merge, source, joined)
    message = joined.messages[joined.counts[0] - 1]
    sequence = message.sequence
    _number(merge, source, message)
    if is_any_passed:
        _note_passed(merge, message)
    lane.first += 1
    lane.in_hole = 0
    lane.missing = 0
    count_all(merge, waiting.group)
    count_had(merge, source, waiting.group)
    put(merge.recent, waiting, source, message.ts_recv, sequence)
    advance(merge, source)


@rare_kernel
def _is_expected(merge, source):
    """Returns 1 if the message that was just handed on is the first of its kind that a source has not brought; else 0.

    Then the same content in front of it is that message, whatever the clocks say: the recorder was held up.
    """
    recent = merge.recent
    count = recent.put_in[0] - 1
    is_content = merge.queues.waiting[source, merge.queues.cursors[source].head].is_content
    oldest = max(newest_of(merge.lanes[source], is_content), count - _MOST_BETWEEN, 0)
    for place in range(oldest, count):
        entry = recent.entries[place & (RECENT_MERGED - 1)]
        is_of_kind = entry.group == TICKERS if is_content == 2 else entry.group == DIFFS or entry.group == SNAPSHOTS
        if is_of_kind and (entry.sources >> source) & 1 == 0:
            return 0
    return 1


@kernel
def hand_on(merge, source, joined, is_any_passed):
    """Hand on the message that a source has in front, for all that have the same one there."""
    queues = merge.queues
    head = queues.cursors[source].head
    hand_on_one(merge, source, joined, is_any_passed)
    message = joined.messages[joined.counts[0] - 1]
    for other in range(merge.lanes.size):
        cursor = queues.cursors[other]
        if other != source and cursor.head < cursor.end and is_copy(merge, other, cursor.head, source, head):
            cursor.is_checked = 0
            _received_earlier(message, queues.messages[other, cursor.head].ts_recv)
        elif (
            other != source
            and cursor.head < cursor.end
            and is_same(queues.waiting[other, cursor.head], queues.waiting[source, head])
        ):
            cursor.is_checked &= 1 - _is_expected(merge, other)
