"""Hands on runs of messages whose order shows by the times of the heads alone, without a comparison in pairs.

It gives what `choice` would choose. This is the usual case of sources that hold different things, such as tables.
"""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.merge.choice import LAST_TIME
from cowbook.merge.duplicates import check_head, is_new
from cowbook.merge.handing_on import hand_on_one, has_room
from cowbook.merge.queues import INERT, SHARED_NUMBERS, is_held_once
from cowbook.merge.state import FULL, NO_SOURCE, NUMBERING, has_more_to_come
from cowbook.plain.messages import NONE

UNCLEAR = -3
"""What is next has to be looked for."""


@inlined_kernel
def _note_times(queues, source):
    """Note the times of the message that a source has in front. Returns False if it has no time of the venue's."""
    cursor = queues.cursors[source]
    if cursor.head == cursor.end:
        queues.times[0, source] = LAST_TIME
        queues.times[1, source] = LAST_TIME
        return True
    waiting = queues.waiting[source, cursor.head]
    queues.times[0, source] = waiting.own_time
    queues.times[1, source] = waiting.received
    return waiting.own_time != NONE


@inlined_kernel
def _earliest_and_limits(times):
    """Returns the source whose message is the earliest by the venue's time, and the least of the others' times of both kinds.

    What is before both is next, whichever of the two `compare` goes by.
    """
    best = 0
    for source in range(1, times.shape[1]):
        if times[0, source] < times[0, best]:
            best = source
    event, received = LAST_TIME, LAST_TIME
    for source in range(times.shape[1]):
        if source != best:
            event = min(event, times[0, source])
            received = min(received, times[1, source])
    return best, event, received


@kernel
def hand_on_alone(merge, joined, most_messages, horizon):
    """Hand on what is next as long as that shows by the times of the heads alone, and no other source brings it.

    All heads are checked, none is inert, and no source is passed over. Returns as `join`, or UNCLEAR.
    """
    queues = merge.queues
    if merge.totals[NUMBERING] == SHARED_NUMBERS:
        return UNCLEAR
    for source in range(merge.lanes.size):
        if not _note_times(queues, source):
            return UNCLEAR
    while True:
        source, event_limit, receipt_limit = _earliest_and_limits(queues.times)
        event_limit = min(event_limit, horizon)
        if queues.times[0, source] >= event_limit or queues.times[1, source] >= receipt_limit:
            return UNCLEAR
        cursor = queues.cursors[source]
        while queues.times[0, source] < event_limit and queues.times[1, source] < receipt_limit:
            waiting = queues.waiting[source, cursor.head]
            if not is_held_once(queues, waiting.key) or waiting.latest > queues.times[0, source]:
                return UNCLEAR
            if not has_room(joined, queues.messages[source, cursor.head], most_messages):
                return FULL
            hand_on_one(merge, source, joined, False)
            if cursor.head == cursor.end or not is_new(merge, source):
                needed = check_head(merge, source)
                if needed != NO_SOURCE:
                    if needed != source or has_more_to_come(cursor):
                        return needed
                elif queues.waiting[source, cursor.head].group == INERT:
                    return UNCLEAR
            if not _note_times(queues, source):
                return UNCLEAR
