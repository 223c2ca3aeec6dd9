"""Which of two sources' messages comes first, and which of a source's messages shows that another one is not in it."""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.merge.queues import DIFFS, SHARED_NUMBERS, TICKERS, is_named_by_ids, own_time
from cowbook.plain.messages import IS_LOOSE, NONE
from cowbook.plain.schemes import NEWEST_PER_LEVEL

_BEGUN_ANEW_NS = 60_000_000_000
AHEAD_NS = 1_000_000_000
"""A source that is so far beyond a message in time does not bring that message any more."""

_AHEAD_OF_LATE_NS = 10_000_000_000  # the same of one that stands behind later ones: much of those may be missing in its source


@inlined_kernel
def _is_in_order_of_ids(message, group):
    if group == DIFFS and message.rule == NEWEST_PER_LEVEL:
        return False
    return is_named_by_ids(message, group) or (group == TICKERS and message.flags & IS_LOOSE == 0 and message.last_id != NONE)


@inlined_kernel
def _same_stream(one, group, other, other_group):
    """Returns whether two messages are of one stream of the venue, and in the order of their ids there."""
    return (
        group == other_group
        and _is_in_order_of_ids(one, group)
        and _is_in_order_of_ids(other, other_group)
        and one.market == other.market
        and (group != DIFFS or (one.channel == other.channel and one.speed == other.speed))
    )


@inlined_kernel
def _difference(first, second):
    """Returns the sign of the difference of two times; 0 also where one of them is absent."""
    if first == NONE or second == NONE or first == second:
        return 0
    return 1 if first > second else -1


@inlined_kernel
def _by_ids(one, other):
    """Compares two messages of one stream: by the venue's time, since ids may begin anew, then by ids."""
    sign = 0
    if one.ts_event != one.ts_recv and other.ts_event != other.ts_recv:
        sign = _difference(one.ts_event, other.ts_event)
    return sign if sign != 0 else _difference(one.last_id, other.last_id)


@inlined_kernel
def _are_numbered(one, other, numbering):
    return numbering == SHARED_NUMBERS and one.sequence != 0 and other.sequence != 0


@inlined_kernel
def _by_numbers(one, other):
    """Compares two messages by the numbers of a connection, unless time says that these began anew in between."""
    if one.ts_event != NONE and other.ts_event != NONE:
        if one.ts_event > other.ts_event + _BEGUN_ANEW_NS:
            return 1
        if other.ts_event > one.ts_event + _BEGUN_ANEW_NS:
            return -1
    return _difference(one.sequence, other.sequence)


@kernel
def compare(one, group, other, other_group, share, clocks, numbering):
    """Returns -1 if `one` comes before `other`, 1 if after, 0 if nothing tells.

    Within a stream the ids tell, and on a connection its numbers, if the sources share them (`numbering`). Else times do: of
    receipt, unless the sources `share` a feed, whose own times are better than those of recorders. `clocks` is by how much the
    clock of the first one's recorder is ahead of the other's.
    """
    if _are_numbered(one, other, numbering):
        return _by_numbers(one, other)
    if _same_stream(one, group, other, other_group):
        return _by_ids(one, other)
    by_event = _difference(own_time(one), own_time(other))
    if share and by_event != 0:
        return by_event
    if one.ts_recv != NONE and other.ts_recv != NONE:
        return _difference(one.ts_recv - clocks, other.ts_recv)
    return _difference(one.ts_event, other.ts_event)


@kernel
def is_beyond(later, later_group, message, group, latest, share, clocks, numbering):
    """Returns whether a source that brings `later` does not bring `message` any more.

    `latest` is the time from which on that may be expected (`WAITING`). The others are as in `compare`.
    """
    if _are_numbered(later, message, numbering):
        return _by_numbers(later, message) > 0
    if _same_stream(later, later_group, message, group):
        return _by_ids(later, message) > 0
    if own_time(later) != NONE and own_time(message) != NONE:
        return later.ts_event > latest + (AHEAD_NS if latest == message.ts_event else _AHEAD_OF_LATE_NS)
    if share and later.ts_recv != NONE and message.ts_recv != NONE:
        return later.ts_recv - clocks > message.ts_recv + AHEAD_NS
    return False
