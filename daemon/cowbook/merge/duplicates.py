"""What comes once more, or too late: what a source has in front is held against what was handed on."""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.merge.choice import looks_ahead
from cowbook.merge.queues import (
    INERT,
    OWN_NUMBERS,
    SHARED_NUMBERS,
    UNKNOWN_NUMBERS,
    count_key,
    number,
)
from cowbook.merge.recent import NOT_FOUND, count_up_to, find, number_all
from cowbook.merge.state import (
    CONTRADICTED_BY,
    CONTRADICTED_ID,
    NEAR_NS,
    NO_SOURCE,
    NUMBERING,
    advance,
    count_had,
    has_more_to_come,
    is_copy,
)
from cowbook.plain.messages import NONE

_AGREEING = 3  # so many messages that only content names tell the difference of two clocks
_WEIGHT_BITS = 3  # a clock that is known follows each message by an eighth: recorders are held up a little now and then


@rare_kernel
def _begin_numbers(merge):
    """From now on records are told by their connection's numbers, which the sources share."""
    queues = merge.queues
    merge.totals[NUMBERING] = SHARED_NUMBERS
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
    if merge.totals[NUMBERING] != UNKNOWN_NUMBERS:
        return
    if are_equal:
        _begin_numbers(merge)
    else:
        merge.totals[NUMBERING] = OWN_NUMBERS


@inlined_kernel
def _note_number(lane, sequence):
    """Note a jump in the numbers of a source's connection: records are missing in front of this one."""
    if sequence == 0:
        return
    if lane.last_sequence != 0 and sequence > lane.last_sequence + 1:
        lane.in_hole = 1
        lane.missing += sequence - lane.last_sequence - 1
    lane.last_sequence = sequence


@inlined_kernel
def _note_clock(lane, base, difference, is_clear):
    """Learn from a message that two sources have how much later `lane` than `base` has received it.

    What only its content names may have been another one with that content. So it counts once several in a row agree.
    """
    clock = base.clock + difference
    is_known = lane.has_clock != 0 and base.has_clock != 0
    if is_known and abs(clock - lane.clock) <= NEAR_NS:
        lane.clock += (clock - lane.clock) >> _WEIGHT_BITS
        lane.agreed = 0
        return
    if not is_clear:
        is_same = lane.agreed > 0 and abs(clock - lane.other_clock) <= NEAR_NS
        lane.agreed = lane.agreed + 1 if is_same else 1
        lane.other_clock = clock
        if lane.agreed < _AGREEING:
            if not is_known:
                lane.clock = clock
            return
    lane.clock = clock
    lane.agreed = 0
    lane.has_clock = 1
    base.has_clock = 1


@kernel
def _skip_duplicate(merge, source, index):
    """Consume the message in front, which another source has brought: the recent one of this index says the same."""
    queues, lane = merge.queues, merge.lanes[source]
    entry = merge.recent.entries[index]
    head = queues.cursors[source].head
    message, waiting = queues.messages[source, head], queues.waiting[source, head]
    others = entry.sources
    lane.shares |= others
    for other in range(merge.lanes.size):
        if (others >> other) & 1 != 0:
            merge.lanes[other].shares |= 1 << source
    if entry.content != waiting.content:
        lane.contradictions += 1
        merge.totals[CONTRADICTED_ID] = message.last_id
        merge.totals[CONTRADICTED_BY] = source
    first = merge.lanes[entry.first]
    if message.ts_recv != NONE and entry.ts_recv != NONE:
        later = message.ts_recv - entry.ts_recv
        if source > entry.first:
            _note_clock(lane, first, later, waiting.is_content == 0)
        else:
            _note_clock(first, lane, -later, waiting.is_content == 0)
    if message.sequence != 0 and entry.sequence != 0:
        _compare_numbers(merge, message.sequence == entry.sequence)
    entry.sources |= 1 << source
    if waiting.is_content == 1:
        lane.newest_content = max(lane.newest_content, count_up_to(merge.recent, index))
        first.newest_content = max(first.newest_content, lane.newest_content)
    elif waiting.is_content == 2:
        lane.newest_ticker = max(lane.newest_ticker, count_up_to(merge.recent, index))
        first.newest_ticker = max(first.newest_ticker, lane.newest_ticker)
    if lane.others > 0:
        lane.names_others = 1
    lane.duplicates += 1
    lane.in_hole = 0
    lane.missing = 0
    count_had(merge, source, waiting.group)
    advance(merge, source)


@rare_kernel
def _is_late(merge, source, message):
    """Returns whether a message is of the time before one that was handed on while its source was passed over."""
    lane = merge.lanes[source]
    if lane.passed_event == NONE and lane.passed_recv == NONE:
        return False
    if message.ts_event != NONE and lane.passed_event != NONE:
        return message.ts_event < lane.passed_event
    return message.ts_recv != NONE and lane.passed_recv != NONE and message.ts_recv < lane.passed_recv


@rare_kernel
def _is_of_later_one(merge, source, index):
    """Returns whether what a source has in front, and only its content names, is not the recent one of this index.

    It is not if the clocks say so, and another source has one like it at its time. Without that, the recorder was held up. The
    second value is a source of which more is needed to tell, or NO_SOURCE.
    """
    queues, lane = merge.queues, merge.lanes[source]
    head, entry = queues.cursors[source].head, merge.recent.entries[index]
    message, waiting = queues.messages[source, head], queues.waiting[source, head]
    first = merge.lanes[entry.first]
    if lane.has_clock == 0 or first.has_clock == 0 or waiting.received == NONE or entry.ts_recv == NONE:
        return False, NO_SOURCE
    if abs((waiting.received - lane.clock) - (entry.ts_recv - first.clock)) <= NEAR_NS:
        return False, NO_SOURCE
    for other in range(merge.lanes.size):
        cursor = queues.cursors[other]
        if other == source or (cursor.head == cursor.end and not has_more_to_come(cursor)):
            continue
        if cursor.head < cursor.end and is_copy(merge, other, cursor.head, source, head):
            return True, NO_SOURCE
        found = looks_ahead(merge, other, message, waiting, source)
        if found != 0:
            return found > 0, other if found < 0 else NO_SOURCE
    return False, NO_SOURCE


@kernel
def check_head(merge, source):
    """Skip what a source has in front and another has brought, and what comes too late.

    Returns NO_SOURCE if a message is left, else the source of which more is needed: this one, or one that has to tell.
    """
    queues, lane = merge.queues, merge.lanes[source]
    cursor = queues.cursors[source]
    while cursor.head < cursor.end and cursor.is_checked == 0:
        _note_number(lane, queues.messages[source, cursor.head].sequence)
        waiting = queues.waiting[source, cursor.head]
        if waiting.group == INERT:
            cursor.is_checked = 1
            break
        index = find(merge.recent, waiting, source, lane)
        if index != NOT_FOUND and waiting.is_content == 1:
            is_later_one, needed = _is_of_later_one(merge, source, index)
            if needed != NO_SOURCE:
                return needed
            if is_later_one:
                index = NOT_FOUND
        if index != NOT_FOUND:
            _skip_duplicate(merge, source, index)
        elif (lane.passed_event != NONE or lane.passed_recv != NONE) and _is_late(
            merge, source, queues.messages[source, cursor.head]
        ):
            lane.late += 1
            advance(merge, source)
        else:
            cursor.is_checked = 1
    return NO_SOURCE if cursor.head < cursor.end else source


@inlined_kernel
def is_new(merge, source):
    """Returns whether it shows at once that the message in front has a place of its own; else `check_head` tells more."""
    queues, lane = merge.queues, merge.lanes[source]
    cursor = queues.cursors[source]
    waiting = queues.waiting[source, cursor.head]
    if waiting.group == INERT or lane.passed_event != NONE or lane.passed_recv != NONE:
        return False
    if queues.messages[source, cursor.head].sequence != 0 or find(merge.recent, waiting, source, lane) != NOT_FOUND:
        return False
    cursor.is_checked = 1
    return True
