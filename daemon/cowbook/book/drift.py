"""Drift: how the book before a depth snapshot differs from the book after it. Both stand for the same moment."""

from __future__ import annotations

from cowbook.book.ladder import BEFORE, find_size, next_level
from cowbook.kernels.jit import kernel

_UNIT = 10**18


@kernel
def _add_error(row, error):
    """Add to the row's size error, which has two fields because it may exceed 64 bits."""
    row.size_error_low += error
    if row.size_error_low >= _UNIT:
        row.size_error_low -= _UNIT
        row.size_error_high += 1


@kernel
def measure(book, lowest, highest, row):
    """Fill the counts of a drift row: the live trees against the BEFORE trees, for prices from `lowest` to `highest`.

    If lowest > highest, nothing is compared and all counts are 0.
    """
    row.levels_compared = 0
    row.levels_missing = 0
    row.levels_extra = 0
    row.levels_differing = 0
    row.size_error_high = 0
    row.size_error_low = 0
    if lowest > highest:
        return
    tick = max(1, book.pool[0].tick)  # it is 0 while the only price is 0
    last = highest // tick
    for side_number in range(2):
        before_number = BEFORE + side_number
        before = book.sides[before_number]
        after = book.sides[side_number]
        start = (lowest + tick - 1) // tick
        old = next_level(book.blocks, before, start, False)
        new = next_level(book.blocks, after, start, False)
        while True:
            has_old = 0 <= old <= last
            has_new = 0 <= new <= last
            if not has_old and not has_new:
                break
            if has_new and (not has_old or new <= old):
                size = find_size(book, side_number, new * tick)
                row.levels_compared += 1
                if has_old and new == old:
                    difference = abs(size - find_size(book, before_number, old * tick))
                    row.levels_differing += difference != 0
                    _add_error(row, difference)
                    old = next_level(book.blocks, before, old + 1, False)
                else:
                    row.levels_missing += 1
                    _add_error(row, size)
                new = next_level(book.blocks, after, new + 1, False)
            else:
                row.levels_extra += 1
                _add_error(row, find_size(book, before_number, old * tick))
                old = next_level(book.blocks, before, old + 1, False)
