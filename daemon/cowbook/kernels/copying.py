"""Copying between arrays of numbers."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import inlined_kernel


@inlined_kernel
def copy_numbers(target, at, source, start, count):
    """Copy `source[start : start + count]` to `target[at : at + count]`. `at` and `start` must not be negative.

    Unsigned places cannot count from the end of an array. So these are plain vector copies, not a gather and a scatter.
    """
    for number in range(count):
        target[np.uint64(at + number)] = source[np.uint64(start + number)]
