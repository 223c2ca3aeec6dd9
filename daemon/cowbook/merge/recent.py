"""The messages that were handed on last, found by what identifies them: chains of a hash table over a ring."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.merge.queues import number_key
from cowbook.plain.merge_state import MERGED, RECENT_MERGED
from cowbook.plain.messages import NONE

NOT_FOUND = -1
_BUCKETS = 2 * RECENT_MERGED
_TAG_BITS = 20
_TAGS = (1 << _TAG_BITS) - 1


class Recent(NamedTuple):
    """A ring of MERGED, with the chains of those whose keys share a bucket. Places are counted from 0, and never anew.

    A link of a chain is a place with a tag of its key, so that what is not there seldom costs a look at an entry.
    """

    entries: npt.NDArray[np.void]  # MERGED, (RECENT_MERGED,)
    buckets: npt.NDArray[np.int64]  # the link to the newest entry of each, or NOT_FOUND
    older: npt.NDArray[np.int64]  # the link to the next older entry in the chain of each
    put_in: npt.NDArray[np.int64]  # (1,): how many were ever put in

    @classmethod
    def allocate(cls) -> Recent:
        """Returns an empty ring."""
        return cls(
            np.zeros(RECENT_MERGED, MERGED),
            np.full(_BUCKETS, NOT_FOUND, np.int64),
            np.zeros(RECENT_MERGED, np.int64),
            np.zeros(1, np.int64),
        )


@inlined_kernel
def _bucket_of(key):
    return (key ^ (key >> 17)) & (_BUCKETS - 1)


@inlined_kernel
def _tag_of(key):
    return (key >> 40) & _TAGS


@inlined_kernel
def _link(recent, key, place):
    """Have the entry of a place, with this key, be the newest one of its chain."""
    bucket = _bucket_of(key)
    recent.older[place & (RECENT_MERGED - 1)] = recent.buckets[bucket]
    recent.buckets[bucket] = place << _TAG_BITS | _tag_of(key)


@inlined_kernel
def newest_of(lane, is_content):
    """Returns behind how many messages those stand that may still be what only its content names (`WAITING.is_content`)."""
    return lane.newest_content if is_content == 1 else lane.newest_ticker if is_content == 2 else 0


@inlined_kernel
def find(recent, waiting, source, lane):
    """Returns the index in the ring of the newest such message that this source has not brought yet, or NOT_FOUND.

    What only its content names is none of those in front of the last one that the source has brought, too.
    """
    oldest = max(recent.put_in[0] - RECENT_MERGED, newest_of(lane, waiting.is_content))
    key, time = waiting.key, waiting.time
    link = recent.buckets[_bucket_of(key)]
    while link >> _TAG_BITS >= oldest:
        index = (link >> _TAG_BITS) & (RECENT_MERGED - 1)
        if (link ^ _tag_of(key)) & _TAGS == 0:
            entry = recent.entries[index]
            is_same = entry.key == key and (entry.time == time or entry.time == NONE or time == NONE)
            if is_same and (entry.sources >> source) & 1 == 0:
                return index
        link = recent.older[index]
    return NOT_FOUND


@inlined_kernel
def count_up_to(recent, index):
    """Returns how many messages were ever put in up to that of this index."""
    count = recent.put_in[0]
    return count - ((count - 1 - index) & (RECENT_MERGED - 1))


@inlined_kernel
def put(recent, waiting, source, ts_recv, sequence):
    """Remember a message of a source that is handed on. The oldest one is forgotten."""
    place = recent.put_in[0]
    entry = recent.entries[place & (RECENT_MERGED - 1)]
    entry.key = waiting.key
    entry.content = waiting.content
    entry.time = waiting.time
    entry.sources = 1 << source
    entry.first = source
    entry.ts_recv = ts_recv
    entry.sequence = sequence
    entry.group = waiting.group
    _link(recent, waiting.key, place)
    recent.put_in[0] = place + 1


@kernel
def put_back(recent, entries, count):
    """Fill an empty ring with entries, oldest first, which were handed on behind `count` others."""
    recent.put_in[0] = count
    for number in range(entries.size):
        entry = entries[number]
        place = recent.put_in[0]
        recent.entries[place & (RECENT_MERGED - 1)] = entry
        _link(recent, entry.key, place)
        recent.put_in[0] = place + 1


@kernel
def number_all(recent):
    """Have all messages that their connections number identified by the numbers, which the sources share."""
    oldest = max(0, recent.put_in[0] - RECENT_MERGED)
    for bucket in range(_BUCKETS):
        recent.buckets[bucket] = NOT_FOUND
    for place in range(oldest, recent.put_in[0]):
        entry = recent.entries[place & (RECENT_MERGED - 1)]
        if entry.sequence != 0:
            entry.key = number_key(entry.sequence, entry.group)
            entry.time = NONE
        _link(recent, entry.key, place)
