"""Kernels that read parts of text, eight bytes at a time: numerals, integers, strings and times.

Only `string_end` and `find_newline` compare a position with the end of the block. The others read less than PADDING bytes from
where they start, and the buffer has so many bytes after the block.
"""

from __future__ import annotations

import numpy as np

from cowbook.kernels.intrinsics import load64, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, kernel

FAILED = -1
"""The result for a value that is missing, of another form, or too large."""

QUOTE = ord('"')
COMMA = ord(",")
COLON = ord(":")
DOT = ord(".")
SPACE = ord(" ")
OPEN = ord("{")
CLOSE = ord("}")
BRACKET = ord("[")
BRACKET_END = ord("]")
NEWLINE = ord("\n")
RETURN = ord("\r")
MINUS = ord("-")
ZERO = ord("0")
ONE = ord("1")
NINE = ord("9")
_PLUS = ord("+")
_EXPONENT = ord("e")
_LOWER_CASE = 0x20
"""The bit that makes a letter a small one."""

# Masks of the first characters of a word.
WORD_2 = (1 << 16) - 1
WORD_3 = (1 << 24) - 1
WORD_4 = (1 << 32) - 1
WORD_5 = (1 << 40) - 1
WORD_6 = (1 << 48) - 1
WORD_7 = (1 << 56) - 1

POWERS = 10 ** np.arange(19, dtype=np.int64)
_MAX_FIXED = 10**18 - 1
_ZEROS = 0x3030303030303030
_TO_HIGH_BIT = 0x7676767676767676  # when added, sets the high bit of every byte above 9
_ONES = 0x0101010101010101
_NEWLINES = 0x0A0A0A0A0A0A0A0A
_QUOTES = 0x2222222222222222
_BACKSLASHES = 0x5C5C5C5C5C5C5C5C
_SPACES = 0x2020202020202020
_HIGH_BITS = -0x7F7F7F7F7F7F7F80  # 0x8080808080808080


def word(text: bytes) -> int:
    """Returns up to 8 characters as the integer that `load64` reads, as a constant to compare with."""
    return int.from_bytes(text.ljust(8, b"\0"), "little", signed=True)


@kernel
def _other_bytes(word):
    """Returns a word with the high bit set in each byte that is not a digit. Only the lowest mark is exact.

    `word` is text from which `_ZEROS` was removed by exclusive or.
    """
    return ((word + _TO_HIGH_BIT) | word) & _HIGH_BITS


@kernel
def _value(word, count):
    """Returns the value of the first `count` digits, 1 to 8, of a word as in `_other_bytes`."""
    word <<= 64 - 8 * count
    word = (word * 2561) >> 8
    word = ((word & 0x00FF00FF00FF00FF) * 6553601) >> 16
    return ((word & 0x0000FFFF0000FFFF) * 42949672960001) >> 32


@inlined_kernel
def marks_of_others(text):
    """Returns 8 characters of text with the high bit set in each that is not a digit. Only the lowest mark is exact."""
    return _other_bytes(text ^ _ZEROS)


@inlined_kernel
def lowest_mark(count):
    """Returns the mark of a byte behind `count` digits, 0 to 8; 0 for 8, which leave no byte to be marked."""
    return 0x80 << 8 * count if count < 8 else 0


@inlined_kernel
def digit_value(text, count):
    """Returns the value of the first `count`, 1 to 8, of 8 characters of text, which are digits."""
    return _value(text ^ _ZEROS, count)


@kernel
def digits(buffer, position):
    """Read up to 18 decimal digits. Returns (value, position after them).

    The position is FAILED for more digits, and `position` itself if there are none.
    """
    value = 0
    start = position
    while True:
        word = load64(buffer, position) ^ _ZEROS
        other = _other_bytes(word)
        count = 8 if other == 0 else trailing_zeros(other) >> 3
        if position + count - start > 18:
            return 0, FAILED
        if count == 0:
            return value, position
        value = value * POWERS[count] + _value(word, count)
        position += count
        if count < 8:
            return value, position


@kernel
def nineteen_digits(buffer, position):
    """Read exactly 19 digits, the length of today's times in ns. Returns (value, position after them).

    The position is FAILED for fewer or more digits, and for 2^63 and above.
    """
    first = load64(buffer, position) ^ _ZEROS
    second = load64(buffer, position + 8) ^ _ZEROS
    third = load64(buffer, position + 16) ^ _ZEROS
    others = _other_bytes(third)
    if _other_bytes(first) | _other_bytes(second) != 0 or others == 0 or trailing_zeros(others) >> 3 != 3:
        return 0, FAILED
    high = _value(first, 8) * 10**8 + _value(second, 8)
    if high >= 2**63 // 1000:
        return 0, FAILED
    return high * 1000 + _value(third, 3), position + 19


@kernel
def numeral(buffer, position, decimals):
    r"""Read `[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?` as a fixed-point number with `decimals`. Returns (value, position after it).

    The position is FAILED if the text is no such numeral, or if the number has more decimals or is 10^18 or more.
    """
    # The usual case: up to 7 digits, a point, and up to 8 digits, no more than `decimals`. With 10 decimals the result fits.
    word = load64(buffer, position) ^ _ZEROS
    other = _other_bytes(word)
    if other != 0 and decimals <= 10:
        count = trailing_zeros(other) >> 3
        point = position + count
        if count > 0 and buffer[point] == DOT:
            fraction = load64(buffer, point + 1) ^ _ZEROS
            other = _other_bytes(fraction)
            decimal_count = 8 if other == 0 else trailing_zeros(other) >> 3
            after = point + 1 + decimal_count
            ends = (other != 0 or buffer[after] < ZERO or buffer[after] > NINE) and buffer[after] | _LOWER_CASE != _EXPONENT
            if 0 < decimal_count <= decimals and ends:
                value = _value(word, count) * POWERS[decimals]
                return value + _value(fraction, decimal_count) * POWERS[decimals - decimal_count], after
    return _any_numeral(buffer, position, decimals)


@inlined_kernel
def signed_numeral(buffer, position, decimals):
    """As `numeral`, with a minus in front of it or without."""
    is_negative = np.int64(buffer[position] == MINUS)
    value, after = numeral(buffer, position + is_negative, decimals)
    return -value if is_negative else value, after


@kernel
def _any_numeral(buffer, position, decimals):
    whole, after = digits(buffer, position)
    if after <= position:
        return 0, FAILED
    fraction = places = 0
    if buffer[after] == DOT:
        position = after + 1
        fraction, after = digits(buffer, position)
        if after <= position:
            return 0, FAILED
        places = after - position
    if buffer[after] | _LOWER_CASE == _EXPONENT:
        return _with_exponent(buffer, after + 1, decimals, whole, fraction, places)
    if whole > _MAX_FIXED // POWERS[decimals]:
        return 0, FAILED
    value = whole * POWERS[decimals]
    surplus = places - decimals
    if surplus <= 0:
        return value + fraction * POWERS[-surplus], after
    if fraction % POWERS[surplus] != 0:
        return 0, FAILED
    return value + fraction // POWERS[surplus], after


@kernel
def _with_exponent(buffer, position, decimals, whole, fraction, places):
    """As `numeral`, behind the `e` of a numeral whose fraction has so many `places`."""
    is_negative = buffer[position] == MINUS
    if is_negative or buffer[position] == _PLUS:
        position += 1
    power, after = digits(buffer, position)
    if after <= position or power > 18 or whole > _MAX_FIXED // POWERS[places]:
        return 0, FAILED
    mantissa = whole * POWERS[places] + fraction
    shift = (-power if is_negative else power) - places + decimals
    if shift > 18 or shift < -18:
        return 0, FAILED
    if shift >= 0:
        return mantissa * POWERS[shift], after if mantissa <= _MAX_FIXED // POWERS[shift] else FAILED
    return mantissa // POWERS[-shift], after if mantissa % POWERS[-shift] == 0 else FAILED


@kernel
def integer(buffer, position):
    """Read a JSON integer without sign. Returns (value, position after it).

    The position is FAILED for more than 18 digits, for leading zeros, and unless `,` or `}` follows.
    """
    value, after = digits(buffer, position)
    if after <= position:
        return 0, FAILED
    if buffer[position] == ZERO and after > position + 1:
        return 0, FAILED
    if buffer[after] != COMMA and buffer[after] != CLOSE:
        return 0, FAILED
    return value, after


@kernel
def string_end(buffer, position, end):
    """Returns the position of the quote that ends the string whose first character is at `position`.

    FAILED if the string is not plain ASCII without escapes, or does not end before `end`.
    """
    while position < end:
        word = load64(buffer, position)
        # Each term marks one kind of byte: quotes, backslashes, below a space, above 127. Its lowest mark is exact.
        quotes = word ^ _QUOTES
        backslashes = word ^ _BACKSLASHES
        marks = (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (word - _SPACES) & ~word | word
        marks &= _HIGH_BITS
        if marks != 0:
            position += trailing_zeros(marks) >> 3
            return position if buffer[position] == QUOTE and position < end else FAILED
        position += 8
    return FAILED


@kernel
def nanoseconds(value):
    """Returns a time of s, ms, µs or ns, told apart by magnitude, in ns. FAILED if that is 2^63 or more."""
    if value < 10**11:
        factor = 10**9
    elif value < 10**14:
        factor = 10**6
    elif value < 10**17:
        factor = 10**3
    else:
        factor = 1
    return value * factor if value <= (2**63 - 1) // factor else FAILED


@kernel
def find_newline(buffer, start, end):
    """Returns the index of the first newline in `buffer[start:end]`; FAILED if there is none."""
    position = start
    while position < end:
        word = load64(buffer, position) ^ _NEWLINES
        # A byte that was a newline is zero now. Only the lowest mark is exact, and only that one is used.
        zero = (word - _ONES) & ~word & _HIGH_BITS
        if zero != 0:
            position += trailing_zeros(zero) >> 3
            return position if position < end else FAILED
        position += 8
    return FAILED


@kernel
def receive_time(buffer, position):
    """Read a receive time in front of a record, `<integer>[.<fraction>][:] `. Returns (ns, position after it or FAILED)."""
    whole, after = digits(buffer, position)
    if after == FAILED:
        whole, after = nineteen_digits(buffer, position)
        if after == FAILED:
            return 0, FAILED
    if after == position:
        return 0, FAILED
    time = nanoseconds(whole)
    if buffer[after] == DOT:
        fraction, fraction_after = digits(buffer, after + 1)
        count = fraction_after - after - 1
        if whole >= 9 * 10**9 or fraction_after == FAILED or count == 0:
            return 0, FAILED
        time = whole * 10**9 + (fraction * POWERS[9 - count] if count <= 9 else fraction // POWERS[count - 9])
        after = fraction_after
    if buffer[after] == COLON:
        after += 1
    if time == FAILED or buffer[after] != SPACE:
        return 0, FAILED
    return time, after + 1
