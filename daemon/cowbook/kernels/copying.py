"""Copying between arrays of numbers."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import inlined_kernel, rare_kernel


@inlined_kernel
def copy_numbers(target, at, source, start, count):
    """Copy `source[start : start + count]` to `target[at : at + count]`. `at` and `start` must not be negative.

    Unsigned places cannot count from the end of an array. So these are plain vector copies, not a gather and a scatter.
    """
    for number in range(count):
        target[np.uint64(at + number)] = source[np.uint64(start + number)]


@inlined_kernel
def copy_sides(prices, sizes, at, levels, message):
    """Copy the levels of a message, bids first, to `at` and on of two arrays.

    The asks nearly always stand behind the bids already, and one longer copy takes less time than two.
    """
    count = message.bid_count
    if message.ask_start == message.bid_start + count:
        count += message.ask_count
    else:
        _copy_asks(prices, sizes, at + count, levels, message)
    copy_numbers(prices, at, levels.prices, message.bid_start, count)
    copy_numbers(sizes, at, levels.sizes, message.bid_start, count)


@rare_kernel
def _copy_asks(prices, sizes, at, levels, message):
    copy_numbers(prices, at, levels.prices, message.ask_start, message.ask_count)
    copy_numbers(sizes, at, levels.sizes, message.ask_start, message.ask_count)
