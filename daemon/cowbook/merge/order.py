"""Which of two sources' messages comes first, and which of a source's messages shows that another one is not in it."""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.merge.queues import DIFFS, is_named_by_ids
from cowbook.plain.messages import NONE

AHEAD_NS = 1_000_000_000
"""A source that is so far beyond a message in time does not bring that message any more."""


@inlined_kernel
def _same_stream(one, group, other, other_group):
    """Returns whether two messages are of one stream of the venue, and numbered in it."""
    return (
        group == other_group
        and is_named_by_ids(one, group)
        and is_named_by_ids(other, other_group)
        and one.market == other.market
        and (group != DIFFS or (one.channel == other.channel and one.speed == other.speed))
    )


@inlined_kernel
def _difference(first, second):
    """Returns the sign of the difference of two times; 0 also where one of them is absent."""
    if first == NONE or second == NONE or first == second:
        return 0
    return 1 if first > second else -1


@kernel
def compare(one, group, other, other_group, share):
    """Returns -1 if `one` comes before `other`, 1 if after, 0 if nothing tells. `share`: the sources have the same feed.

    Within a stream the ids tell, under the venue's times, since ids may begin anew. Else times do: of receipt, unless it is the
    same feed, of which the venue's own times are not those of two clocks.
    """
    if _same_stream(one, group, other, other_group):
        sign = 0
        if one.ts_event != one.ts_recv and other.ts_event != other.ts_recv:
            sign = _difference(one.ts_event, other.ts_event)
        return sign if sign != 0 else _difference(one.last_id, other.last_id)
    by_event = _difference(one.ts_event, other.ts_event)
    if share and by_event != 0:
        return by_event
    if one.ts_recv != NONE and other.ts_recv != NONE:
        return _difference(one.ts_recv, other.ts_recv)
    return by_event


@kernel
def is_beyond(later, later_group, message, group):
    """Returns whether a source that brings `later` does not bring `message` any more."""
    if _same_stream(later, later_group, message, group):
        sign = 0
        if later.ts_event != later.ts_recv and message.ts_event != message.ts_recv:
            sign = _difference(later.ts_event, message.ts_event)
        return sign > 0 or (sign == 0 and _difference(later.last_id, message.last_id) > 0)
    if later.ts_event != NONE and message.ts_event != NONE:
        return later.ts_event > message.ts_event + AHEAD_NS
    if later.ts_recv != NONE and message.ts_recv != NONE:
        return later.ts_recv > message.ts_recv + AHEAD_NS
    return False
