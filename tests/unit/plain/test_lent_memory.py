"""Lent memory comes back once no array refers to it, and never before."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from cowbook.plain import lent_memory
from cowbook.plain.lent_memory import LEAST_BYTES, lend

_COUNT = 3 * LEAST_BYTES  # a size that nothing else in this process has, as kept memory is sought by size


@pytest.fixture(autouse=True)
def no_kept_memory() -> None:
    """What other tests have left is no concern of these."""
    gc.collect()
    lent_memory._kept.clear()


def address(array: np.ndarray) -> int:
    """Where an array lies."""
    return int(array.__array_interface__["data"][0])


def test_memory_is_lent_again_once_the_last_view_is_gone() -> None:
    """A view of a part, of another type, keeps all of it from the next borrower."""
    first = lend(_COUNT)
    place, view = address(first), first[100:200].view(np.int32)
    view[:] = 7
    del first
    second = lend(_COUNT)
    assert address(second) != place
    second[:] = 0
    assert (view == 7).all()
    del view
    assert address(lend(_COUNT)) == place


def test_arrays_are_as_others() -> None:
    """They have the type, the number of entries and the flags that kernels are compiled for."""
    kind = np.dtype([("id", np.int64), ("side", np.int8)])
    for count in (0, 1, _COUNT):
        array = lend(count, kind)
        assert (array.dtype, array.shape) == (kind, (count,))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.aligned == np.empty(count, kind).flags.aligned


def test_memory_of_sizes_close_to_each_other_is_shared() -> None:
    """A cut is never as large as the one before: what fits is taken, and a fifth at most is wasted."""
    for size_bytes in (LEAST_BYTES, LEAST_BYTES + 1, 1_000_003, 5 << 20):
        rounded = lent_memory._rounded(size_bytes)
        assert size_bytes <= rounded <= size_bytes * 1.25
    place = address(lend(1_000_000))
    assert address(lend(1_010_000)) == place


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory beyond the bound goes to the system."""
    monkeypatch.setattr(lent_memory, "MOST_KEPT_BYTES", 2 * lent_memory._rounded(_COUNT))
    held = [lend(_COUNT) for _ in range(5)]
    del held
    assert sum(map(len, lent_memory._kept.values())) == 2


def test_threads_never_share_memory() -> None:
    """What one thread has written stands until it gives it up, however often others borrow and return."""
    failures: list[int] = []

    def borrow(number: int) -> None:
        for _ in range(300):
            array = lend(_COUNT)
            array[:: 1 << 12] = number
            array[-1] = number
            if (array[:: 1 << 12] != number).any() or array[-1] != number:
                failures.append(number)

    threads = [threading.Thread(target=borrow, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
