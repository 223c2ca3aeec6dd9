"""Kernels that read parts of JSON, beyond those of `text_scanner`: skipped values, times and checksums as venues write them.

Text for which they return FAILED may still be valid; the reference decoder decides that. `end` is the end of the block.
"""

from __future__ import annotations

from cowbook.input.text.text_scanner import (
    COLON,
    DOT,
    FAILED,
    NINE,
    POWERS,
    QUOTE,
    WORD_4,
    WORD_5,
    WORD_6,
    ZERO,
    digits,
    nanoseconds,
    nineteen_digits,
    string_end,
    word,
)
from cowbook.kernels.intrinsics import load64
from cowbook.kernels.jit import kernel
from cowbook.plain.messages import NONE

_TRUE, _FALSE, _NULL = word(b"true"), word(b"false"), word(b"null")
_MINUS = ord("-")
_DATE_END = ord("T")
_SPACE = ord(" ")
_ZULU = ord("Z")
_UTC = word(b"+00:00")
_NEVER = 9 * 10**9
"""A bound for seconds since 1970, a little below the greatest number whose ns fit into 63 bits."""


@kernel
def _is_digit(byte):
    return ZERO <= byte <= NINE


@kernel
def digits_end(buffer, position, end):
    """Returns the position after the digits at `position`."""
    while position < end and _is_digit(buffer[position]):
        position += 1
    return position


@kernel
def plain_number_end(buffer, position, end):
    r"""Returns the position after `(0|[1-9][0-9]*)(\.[0-9]+)?`; FAILED for anything else."""
    after = digits_end(buffer, position, end)
    if after == position or (buffer[position] == ZERO and after > position + 1):
        return FAILED
    if buffer[after] != DOT:
        return after
    position = after + 1
    after = digits_end(buffer, position, end)
    return after if after > position else FAILED


@kernel
def any_end(buffer, position, end):
    """Returns the position after a value that is neither array nor object.

    FAILED for unusual values: strings with escapes, numbers with exponents, and very long numbers.
    """
    byte = buffer[position]
    if byte == QUOTE:
        after = string_end(buffer, position + 1, end)
        return after + 1 if after != FAILED else FAILED
    text = load64(buffer, position)
    if text & WORD_4 == _TRUE or text & WORD_4 == _NULL:
        return position + 4
    if text & WORD_5 == _FALSE:
        return position + 5
    start = position + (byte == _MINUS)
    after = plain_number_end(buffer, start, end)
    return after if after - start <= 40 else FAILED


@kernel
def unsigned(buffer, position):
    """Read an integer of at most 18 digits without leading zeros. Returns (value, position after it or FAILED)."""
    value, after = digits(buffer, position)
    if after <= position or (buffer[position] == ZERO and after > position + 1):
        return 0, FAILED
    return value, after


@kernel
def identifier(buffer, position):
    """As `unsigned`, for integers of up to 19 digits that are below 2^63."""
    value, after = unsigned(buffer, position)
    if after == FAILED:
        value, after = nineteen_digits(buffer, position)
        if after == FAILED or buffer[position] == ZERO:
            return 0, FAILED
    return value, after


@kernel
def text_id(buffer, position, end):
    """Read the rest of a string as an id. Returns (value, position of the quote after it).

    The value is NONE if the text is not a number. The position is FAILED for a number of 2^63 or more.
    """
    after = string_end(buffer, position, end)
    digits_after = digits_end(buffer, position, end)
    if after == FAILED or digits_after != after or after == position:
        return NONE, after
    if after - position == 19:
        return nineteen_digits(buffer, position)
    value, _ = digits(buffer, position)
    return value, after if after - position <= 18 else FAILED


@kernel
def magnitude_time(buffer, position):
    """Read an integer of s, ms, µs or ns, told apart by magnitude. Returns (ns since 1970, position after it or FAILED)."""
    value, after = identifier(buffer, position)
    if after == FAILED:
        return 0, FAILED
    time = nanoseconds(value)
    return time, after if time != FAILED else FAILED


@kernel
def _fractional_time(buffer, position, unit_digits):
    """Read a time in units of 10^unit_digits ns, with or without a fraction. Returns (ns since 1970, position or FAILED)."""
    whole, after = unsigned(buffer, position)
    unit = POWERS[unit_digits]
    if after == FAILED or whole >= _NEVER * (POWERS[9] // unit):
        return 0, FAILED
    if buffer[after] != DOT:
        return whole * unit, after
    fraction, fraction_after = digits(buffer, after + 1)
    count = fraction_after - after - 1
    if count <= 0:
        return 0, FAILED
    fraction = fraction * POWERS[unit_digits - count] if count <= unit_digits else fraction // POWERS[count - unit_digits]
    return whole * unit + fraction, fraction_after


@kernel
def seconds_time(buffer, position):
    """Read seconds with or without a fraction. Returns (ns since 1970, position after it or FAILED)."""
    return _fractional_time(buffer, position, 9)


@kernel
def milliseconds_time(buffer, position):
    """Read milliseconds with or without a fraction. Returns (ns since 1970, position after it or FAILED)."""
    return _fractional_time(buffer, position, 6)


@kernel
def _two_digits(buffer, position):
    if not (_is_digit(buffer[position]) and _is_digit(buffer[position + 1])):
        return FAILED
    return 10 * (buffer[position] - ZERO) + (buffer[position + 1] - ZERO)


@kernel
def _days_since_1970(year, month, day):
    """Returns the days from 1970-01-01 to a Gregorian date. Years are counted from March, so that a leap day comes last."""
    year -= month <= 2
    month_from_march = month - 3 if month > 2 else month + 9
    day_of_year = (153 * month_from_march + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719_468


@kernel
def iso_time(buffer, position):
    """Read a time such as `2026-08-02T03:36:03.328024Z`. Returns (ns since 1970, position after it or FAILED).

    It may have 0 to 9 decimals, a space for the `T`, and `+00:00` for the `Z`.
    """
    century, year = _two_digits(buffer, position), _two_digits(buffer, position + 2)
    month, day = _two_digits(buffer, position + 5), _two_digits(buffer, position + 8)
    hour, minute, second = (
        _two_digits(buffer, position + 11),
        _two_digits(buffer, position + 14),
        _two_digits(buffer, position + 17),
    )
    year = 100 * century + year
    is_dated = century >= 0 and 1970 <= year < 2262 and 1 <= month <= 12 and 1 <= day <= 31
    is_timed = 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60
    dashes = buffer[position + 4] == _MINUS and buffer[position + 7] == _MINUS
    colons = buffer[position + 13] == COLON and buffer[position + 16] == COLON
    between = buffer[position + 10]
    if not (is_dated and is_timed and dashes and colons and (between == _DATE_END or between == _SPACE)):
        return 0, FAILED
    days = _days_since_1970(year, month, day)
    # A day that the month does not have would count as one of the next month.
    if day > 28 and _days_since_1970(year + (month == 12), month % 12 + 1, 1) <= days:
        return 0, FAILED
    time = (days * 86_400 + hour * 3_600 + minute * 60 + second) * 10**9
    position += 19
    if buffer[position] == DOT:
        fraction, after = digits(buffer, position + 1)
        count = after - position - 1
        if not 0 < count <= 9:
            return 0, FAILED
        time += fraction * POWERS[9 - count]
        position = after
    if buffer[position] == _ZULU:
        return time, position + 1
    return time, position + 6 if load64(buffer, position) & WORD_6 == _UTC else FAILED


@kernel
def checksum_32(buffer, position):
    """Read a signed or unsigned integer of 32 bits. Returns (value, position after it or FAILED)."""
    is_negative = buffer[position] == _MINUS
    value, after = unsigned(buffer, position + is_negative)
    if after == FAILED or value >= 2**32 or (is_negative and (value > 2**31 or value == 0)):
        return 0, FAILED
    return -value if is_negative else value, after
