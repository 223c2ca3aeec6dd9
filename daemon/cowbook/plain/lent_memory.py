"""Memory that is lent and comes back by itself: the first touch of a fresh page costs more than all that is done with it.

What fills many megabytes at each cut and each checkpoint borrows them here: open rows, copies of kept diffs, contents of files.
An array from here is as any other one. Once no array refers to the memory, whoever did so last, it is kept for the next borrower
(ADR 29).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_BYTES = 1 << 17
"""Smaller arrays come from the allocator, which keeps their memory itself."""
MOST_KEPT_BYTES = 1 << 25
"""Of memory that nobody uses. What comes back beyond it goes to the system."""

_STEPS = 4  # sizes between two powers of two: an array wastes a fifth at most, and untouched memory costs nothing

_kept: dict[int, list[npt.NDArray[np.uint8]]] = {}
"""By size. Each change is one call of a list or dictionary: threads and collections of garbage may make one at any moment."""


class _Lease:
    """What the arrays of one piece of lent memory refer to."""

    __slots__ = ("__array_interface__", "_memory")

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        memory = self._memory
        kept_bytes = sum(size_bytes * len(pile) for size_bytes, pile in list(_kept.items()))
        if kept_bytes + len(memory) <= MOST_KEPT_BYTES:
            _kept.setdefault(len(memory), []).append(memory)


def lend(count: int, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """Returns an array of `count` entries with arbitrary values, in memory that may have been used before."""
    kind = np.dtype(dtype)
    size_bytes = count * kind.itemsize
    if size_bytes < LEAST_BYTES:
        return np.empty(count, kind)
    rounded = _rounded(size_bytes)
    try:
        memory = _kept[rounded].pop()
    except LookupError:  # none is kept
        memory = np.empty(rounded, np.uint8)
    return np.asarray(_Lease(memory))[:size_bytes].view(kind)


def _rounded(size_bytes: int) -> int:
    """The next size of which memory is kept."""
    step = (1 << (size_bytes - 1).bit_length() - 1) // _STEPS
    return -(-size_bytes // step) * step
