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


class Recent(NamedTuple):
    """A ring of MERGED, with the chains of those whose keys share a bucket. Places are counted from 0, and never anew."""

    entries: npt.NDArray[np.void]  # MERGED, (RECENT_MERGED,)
    buckets: npt.NDArray[np.int64]  # the newest place of each, or NOT_FOUND
    older: npt.NDArray[np.int64]  # the next older place in the chain of each entry
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


@kernel
def find(recent, waiting, source):
    """Returns the index in the ring of the newest such message that this source has not brought yet, or NOT_FOUND."""
    oldest = recent.put_in[0] - RECENT_MERGED
    place = recent.buckets[_bucket_of(waiting.key)]
    while place >= 0 and place >= oldest:
        entry = recent.entries[place % RECENT_MERGED]
        is_same = entry.key == waiting.key and (entry.time == waiting.time or entry.time == NONE or waiting.time == NONE)
        if is_same and (entry.sources >> source) & 1 == 0:
            return place % RECENT_MERGED
        place = recent.older[place % RECENT_MERGED]
    return NOT_FOUND


@kernel
def put(recent, waiting, source, ts_recv, sequence):
    """Remember a message of a source that is handed on. The oldest one is forgotten."""
    place = recent.put_in[0]
    index = place % RECENT_MERGED
    entry = recent.entries[index]
    entry.key = waiting.key
    entry.content = waiting.content
    entry.time = waiting.time
    entry.sources = 1 << source
    entry.first = source
    entry.ts_recv = ts_recv
    entry.sequence = sequence
    entry.group = waiting.group
    bucket = _bucket_of(waiting.key)
    recent.older[index] = recent.buckets[bucket]
    recent.buckets[bucket] = place
    recent.put_in[0] = place + 1


@kernel
def put_back(recent, entries):
    """Fill an empty ring with entries, oldest first."""
    for number in range(entries.size):
        entry = entries[number]
        place = recent.put_in[0]
        recent.entries[place] = entry
        bucket = _bucket_of(entry.key)
        recent.older[place] = recent.buckets[bucket]
        recent.buckets[bucket] = place
        recent.put_in[0] = place + 1


@kernel
def number_all(recent):
    """Have all messages that their connections number identified by the numbers, which the sources share."""
    oldest = max(0, recent.put_in[0] - RECENT_MERGED)
    for bucket in range(_BUCKETS):
        recent.buckets[bucket] = NOT_FOUND
    for place in range(oldest, recent.put_in[0]):
        index = place % RECENT_MERGED
        entry = recent.entries[index]
        if entry.sequence != 0:
            entry.key = number_key(entry.sequence, entry.group)
            entry.time = NONE
        bucket = _bucket_of(entry.key)
        recent.older[index] = recent.buckets[bucket]
        recent.buckets[bucket] = place
