"""Which source's message in front is next. One that another source has further back waits for what that one has in front."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.merge.order import AHEAD_NS, compare, is_beyond
from cowbook.merge.queues import INERT, MOST_AHEAD, SHARED_NUMBERS, is_held, is_held_once
from cowbook.merge.state import NO_SOURCE, NUMBERING, has_more_to_come, is_copy
from cowbook.plain.messages import NONE

LAST_TIME = np.iinfo(np.int64).max


@inlined_kernel
def _share(merge, one, other):
    return (merge.lanes[one].shares >> other) & 1 != 0


@kernel
def looks_ahead(merge, source, message, waiting, holder):
    """Look for the message in front of `holder` in a source that has another one in front.

    Returns 1 if the source brings it later, 0 if it does not, and -1 if more of the source is needed to tell.
    """
    queues = merge.queues
    cursor = queues.cursors[source]
    count = min(cursor.end - cursor.head, MOST_AHEAD)
    is_enough = count == MOST_AHEAD or not has_more_to_come(cursor)
    share, clocks = source == holder or _share(merge, source, holder), merge.lanes[source].clock - merge.lanes[holder].clock
    if not is_held(queues, source, waiting.key):
        if is_enough:
            return 0
        newest = cursor.end - 1
        if is_beyond(
            queues.messages[source, newest],
            queues.waiting[source, newest].group,
            message,
            waiting.group,
            waiting.latest,
            True,
            clocks,
            merge.totals[NUMBERING],
        ):
            return 0
    for place in range(cursor.head, cursor.head + count):
        other = queues.waiting[source, place]
        if other.group == INERT:
            continue
        if place > cursor.head and is_copy(merge, source, place, holder, queues.cursors[holder].head):
            return 1
        numbering = merge.totals[NUMBERING]
        if is_beyond(
            queues.messages[source, place], other.group, message, waiting.group, waiting.latest, share, clocks, numbering
        ):
            return 0
    return 0 if is_enough else -1


@rare_kernel
def _find_behind(merge, front, message, waiting, owner):
    """Look for a message of `owner` behind what `front` has in front, in each source that has the same there.

    Returns (whether one brings it, source of which more is needed).
    """
    queues = merge.queues
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        if cursor.head == cursor.end:
            continue
        if source != front and not is_copy(merge, source, cursor.head, front, queues.cursors[front].head):
            continue
        found = looks_ahead(merge, source, message, waiting, owner)
        if found != 0:
            return found > 0, source if found < 0 else NO_SOURCE
    return False, NO_SOURCE


@rare_kernel
def _is_another(merge, source, chosen):
    """Returns whether a source's message further back only says the same as the chosen one, which only its content names.

    So it is if that is brought in front of what the source has in front: the orders contradict each other. But where the latter
    comes once more behind itself, it is that one which was seen there. The second value is a source of which more is needed.
    """
    queues = merge.queues
    head, place = queues.cursors[source].head, queues.cursors[chosen].head
    message, waiting = queues.messages[source, head], queues.waiting[source, head]
    is_contradicted, needed = _find_behind(merge, chosen, message, waiting, source)
    if not is_contradicted or needed != NO_SOURCE or waiting.is_content == 0:
        return is_contradicted, needed
    comes_again, needed = _find_behind(merge, source, message, waiting, source)
    if not comes_again or needed != NO_SOURCE:
        return True, needed
    return _find_behind(merge, chosen, queues.messages[chosen, place], queues.waiting[chosen, place], chosen)


@kernel
def _earliest(merge):
    """Returns the source whose message in front is the earliest; the first of several that nothing tells apart."""
    queues, best = merge.queues, NO_SOURCE
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        if cursor.head == cursor.end:
            continue
        if best == NO_SOURCE:
            best = source
            continue
        best_head = queues.cursors[best].head
        mine, other = queues.waiting[source, cursor.head], queues.waiting[best, best_head]
        if mine.group == other.group and is_copy(merge, source, cursor.head, best, best_head):
            continue
        share, clocks = _share(merge, source, best), merge.lanes[source].clock - merge.lanes[best].clock
        one, two = queues.messages[source, cursor.head], queues.messages[best, best_head]
        sign = compare(one, mine.group, two, other.group, share, clocks if share else 0, merge.totals[NUMBERING])
        if sign < 0:
            best = source
    return best


@kernel
def horizon_of(merge):
    """Returns a time from which on some source does not show yet what it brings; NONE if that is not known.

    Every source's newest message is beyond one that is older than that, unless numbers of connections tell the order.
    """
    queues, horizon = merge.queues, LAST_TIME
    for source in range(merge.lanes.size):
        cursor = queues.cursors[source]
        if not has_more_to_come(cursor):
            continue
        if cursor.head == cursor.end:
            return NONE
        newest = queues.waiting[source, cursor.end - 1].own_time
        if newest == NONE:
            return NONE
        horizon = min(horizon, newest - AHEAD_NS)
    return horizon


@inlined_kernel
def is_of_one_source(merge, source, horizon):
    """Returns whether it shows at once that no other source brings the message that a source has in front."""
    if merge.totals[NUMBERING] == SHARED_NUMBERS:
        return False
    waiting = merge.queues.waiting[source, merge.queues.cursors[source].head]
    return is_held_once(merge.queues, waiting.key) and waiting.own_time == waiting.latest and waiting.latest < horizon


@kernel
def choose(merge, horizon):
    """Returns (source whose message in front is next, source of which more is needed to tell). One of them is NO_SOURCE."""
    queues, sources = merge.queues, merge.lanes.size
    chosen = _earliest(merge)
    if is_of_one_source(merge, chosen, horizon):
        return chosen, NO_SOURCE
    if queues.waiting[chosen, queues.cursors[chosen].head].is_content == 2:  # its content comes again, so it shows no order
        return chosen, NO_SOURCE
    for _ in range(sources):  # more often only where sources contradict each other's order: then the last one it is
        head = queues.cursors[chosen].head
        message, waiting = queues.messages[chosen, head], queues.waiting[chosen, head]
        before = NO_SOURCE
        for source in range(sources):
            cursor = queues.cursors[source]
            if source == chosen or (cursor.head == cursor.end and not has_more_to_come(cursor)):
                continue
            if cursor.head < cursor.end and is_copy(merge, source, cursor.head, chosen, head):
                continue
            found = looks_ahead(merge, source, message, waiting, chosen)
            if found < 0:
                return NO_SOURCE, source
            if found > 0 and waiting.is_content != 0:
                is_another, needed = _is_another(merge, source, chosen)
                if needed != NO_SOURCE:
                    return NO_SOURCE, needed
                if is_another:
                    continue
            if found > 0:
                before = source
                break
        if before == NO_SOURCE:
            break
        chosen = before
    return chosen, NO_SOURCE
