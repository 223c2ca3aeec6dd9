"""What the kernels of this package work on: queues, what is known of the sources, and the batch that is filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.jit import inlined_kernel
from cowbook.merge.queues import DIFFS, NUMBERED, SNAPSHOTS, TICKERS, Queues, count_key
from cowbook.merge.recent import Recent
from cowbook.plain.merge_state import TOTALS
from cowbook.plain.messages import NONE

NO_SOURCE = -1
NEAR_NS = 250_000_000
"""Two recorders of one message are seldom further apart."""

# Why `join` returned, if not for the number of a source, of which more is needed.
FULL = -1  # the batch has no room for the next message
ENDED = -2  # no source has a message left

# Places among the totals.
SEQUENCE = TOTALS.index("sequence")
NUMBERING = TOTALS.index("numbering")
FRONT = TOTALS.index("front")
CONTRADICTED_ID = TOTALS.index("contradicted_id")
CONTRADICTED_BY = TOTALS.index("contradicted_by")
_ALL_DEPTH = TOTALS.index("all_depth")
_ALL_SNAPSHOTS = TOTALS.index("all_snapshots")
_ALL_TRADES = TOTALS.index("all_trades")
_ALL_TICKERS = TOTALS.index("all_tickers")


class Merge(NamedTuple):
    """All that the kernels work on."""

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
    counts: npt.NDArray[np.int64]  # (3,): messages, levels, dead letters


@inlined_kernel
def advance(merge, source):
    """Consume the message that a source has in front."""
    queues = merge.queues
    cursor = queues.cursors[source]
    count_key(queues, source, queues.waiting[source, cursor.head].key, -1)
    cursor.head += 1
    cursor.is_checked = 0
    merge.lanes[source].messages += 1


@inlined_kernel
def count_had(merge, source, group):
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
def count_all(merge, group):
    if group == DIFFS:
        merge.totals[_ALL_DEPTH] += 1
    elif group == SNAPSHOTS:
        merge.totals[_ALL_SNAPSHOTS] += 1
    elif group == TICKERS:
        merge.totals[_ALL_TICKERS] += 1
    elif group != NUMBERED:
        merge.totals[_ALL_TRADES] += 1


@inlined_kernel
def has_more_to_come(cursor):
    return cursor.has_ended == 0 and cursor.is_passed == 0


@inlined_kernel
def is_same(waiting, other):
    return waiting.key == other.key and (waiting.time == other.time or waiting.time == NONE or other.time == NONE)


@inlined_kernel
def is_copy(merge, source, place, other_source, other_place):
    """Returns whether messages that wait in two sources are one.

    Two that only their content names are two, though they say the same, if the sources' clocks are known and say so (ADR 28).
    """
    queues = merge.queues
    waiting, other = queues.waiting[source, place], queues.waiting[other_source, other_place]
    if not is_same(waiting, other):
        return False
    lane, other_lane = merge.lanes[source], merge.lanes[other_source]
    if waiting.is_content == 0 or lane.has_clock == 0 or other_lane.has_clock == 0:
        return True
    if waiting.received == NONE or other.received == NONE:
        return True
    return abs((waiting.received - lane.clock) - (other.received - other_lane.clock)) <= NEAR_NS
