"""The quick way through arrays of levels that are pairs of numerals, as most venues write them: `["61837.62","0.01197000"],…`.

Where a numeral ends is known only when it has been read, and that is what reading levels one by one waits for. Here the number of
decimals is taken to be that of a level before, and only compared. A level that is written otherwise is left to the caller.
"""

from __future__ import annotations

import numpy as np

from cowbook.input.text.text_scanner import (
    BRACKET_END,
    COMMA,
    DOT,
    MINUS,
    POWERS,
    ZERO,
    digit_value,
    lowest_mark,
    marks_of_others,
)
from cowbook.kernels.intrinsics import load64, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, kernel

MOST_MISSES = 3
"""After so many levels of an array that were written otherwise, the caller reads the rest of it one by one."""

_LONGEST_FRACTION = 8
_MOST_DECIMALS = 10  # with up to 7 digits before the point, any number fits


@inlined_kernel
def _decimal(buffer, position, places, mark, factor, fraction_factor):
    """Read up to 7 digits, a point, and exactly `places` digits. Returns (fixed-point number, position after it).

    The position is `position` itself if the text is no such numeral. `mark` is that of a byte behind so many digits.
    """
    text = load64(buffer, position)
    others = marks_of_others(text)
    if others == 0:
        return 0, position
    count = trailing_zeros(others) >> 3
    point = position + count
    fraction = load64(buffer, point + 1)
    is_padded = (text & 0xFF == ZERO) and count > 1
    if count == 0 or is_padded or buffer[np.uint64(point)] != DOT or marks_of_others(fraction) & ((mark << 1) - 1) != mark:
        return 0, position
    return digit_value(text, count) * factor + digit_value(fraction, places) * fraction_factor, point + 1 + places


@kernel
def _negative(buffer, position, places, mark, factor, fraction_factor):
    """As `_decimal`, for a numeral with a minus in front of it."""
    if buffer[position] != MINUS:
        return 0, position
    value, after = _decimal(buffer, position + 1, places, mark, factor, fraction_factor)
    return -value, after if after > position + 1 else position


@kernel
def read_pairs(scan, position, end, literals, first):
    """Read levels into the scan's arrays from `first` on, while they have as many decimals as the one last noted.

    `position` is that of the bracket or comma in front of a level. `literals` has the words, the masks and the lengths of what
    stands before, between and behind the numerals; no numeral goes on with a character of it. Returns (position of the comma or
    bracket behind the last level that was read, number of levels read).
    """
    buffer, prices, sizes = scan.buffer, scan.prices, scan.sizes
    limits, counts = scan.limits[0], scan.counts[0]
    price_places, size_places = counts.price_places, counts.size_places
    if not (_can_be_read(price_places, limits.price_decimals) and _can_be_read(size_places, limits.size_decimals)):
        return position, 0
    price_mark, size_mark = lowest_mark(price_places), lowest_mark(size_places)
    price_factor, size_factor = POWERS[limits.price_decimals], POWERS[limits.size_decimals]
    price_rest, size_rest = POWERS[limits.price_decimals - price_places], POWERS[limits.size_decimals - size_places]
    before, between, behind, before_mask, between_mask, behind_mask, before_length, between_length, behind_length = literals
    most = sizes.size - first
    count = 0
    while position < end and count < most:
        start = position + 1
        if load64(buffer, start) & before_mask != before:
            break
        start += before_length
        price, at = _decimal(buffer, start, price_places, price_mark, price_factor, price_rest)
        if at == start:
            price, at = _negative(buffer, start, price_places, price_mark, price_factor, price_rest)
        if at == start or load64(buffer, at) & between_mask != between:
            break
        start = at + between_length
        size, at = _decimal(buffer, start, size_places, size_mark, size_factor, size_rest)
        if at == start or load64(buffer, at) & behind_mask != behind:
            break
        at += behind_length
        is_last = buffer[np.uint64(at)] == BRACKET_END
        if not is_last and buffer[np.uint64(at)] != COMMA:
            break
        prices[np.uint64(first + count)] = price
        sizes[np.uint64(first + count)] = size
        count += 1
        position = at
        if is_last:
            break
    return position, count


@inlined_kernel
def _can_be_read(places, decimals):
    return 0 < places <= min(decimals, _LONGEST_FRACTION) and decimals <= _MOST_DECIMALS


@kernel
def note_places(scan, position, literals):
    """Note how many decimals the numerals of the level at `position` have."""
    counts = scan.counts[0]
    price_at = position + literals[6]
    counts.price_places, after = _written_places(scan.buffer, price_at + (scan.buffer[price_at] == MINUS))
    counts.size_places, after = _written_places(scan.buffer, after + literals[7])


@kernel
def _written_places(buffer, position):
    """Returns (how many digits are behind the point of the numeral at `position`, at most 8, position after them).

    The number is 0 if the numeral has no point near.
    """
    others = marks_of_others(load64(buffer, position))
    if others == 0:
        return 0, position
    point = position + (trailing_zeros(others) >> 3)
    if buffer[point] != DOT:
        return 0, position
    others = marks_of_others(load64(buffer, point + 1))
    places = _LONGEST_FRACTION if others == 0 else trailing_zeros(others) >> 3
    return places, point + 1 + places
