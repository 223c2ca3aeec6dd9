"""Levels as venues write them into the text of a checksum, in the venues' styles (cowbook.plain.schemes).

The book holds fixed-point numbers, while venues compute checksums over text. Each venue has a rule for the text of a number: all
decimals of the symbol, as few as possible, or as Python writes a float.
"""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import kernel
from cowbook.plain.schemes import BITFINEX, FTX, KRAKEN, OKX

_ZERO = 48
_POINT = 46
_COLON = 58
_MINUS = 45
_E = 101

_POWERS = 10 ** np.arange(19, dtype=np.int64)

MOST_DECIMALS = 18
"""Of numerals that are written with more decimals the text is not known here: a number has no more digits."""
LONGEST = 80
"""Characters that a level takes at most: two numbers of up to 18 digits, up to 18 zeros behind each, signs, points and colons."""


@kernel
def _digit_count(value):
    """Returns how many digits a number from 0 on has."""
    count = 1
    while count < _POWERS.size and value >= _POWERS[count]:
        count += 1
    return count


@kernel
def _digits(text, place, value, fewest):
    """Write an integer, with zeros before it if it has fewer digits than `fewest`. Returns the place after it."""
    count = max(_digit_count(value), fewest)
    for position in range(place + count - 1, place - 1, -1):
        text[position] = _ZERO + value % 10
        value //= 10
    return place + count


@kernel
def _decimal(text, place, value, decimals):
    """Write value / 10^decimals with exactly that many decimals. Returns the place after it."""
    unit = _POWERS[decimals]
    place = _digits(text, place, value // unit, 1)
    if decimals == 0:
        return place
    text[place] = _POINT
    return _digits(text, place + 1, value % unit, decimals)


@kernel
def _shortened(value, decimals):
    """Returns (value, decimals) of the same number with as few decimals as possible."""
    while decimals > 0 and value % 10 == 0:
        value //= 10
        decimals -= 1
    return value, decimals


@kernel
def _float(text, place, value, decimals, style):
    """Write a number as Python (FTX) or JavaScript (BITFINEX) writes the nearest float. Returns the place after it.

    The text is right for numbers of at most 15 digits below 10^16. JavaScript differs from Python in three ways: it writes whole
    numbers without a point, numbers from 10^-6 on without an exponent, and exponents without leading zeros.
    """
    value, decimals = _shortened(value, decimals)
    if decimals == 0:
        place = _digits(text, place, value, 1)
        if style == BITFINEX:
            return place
        text[place] = _POINT
        text[place + 1] = _ZERO
        return place + 2
    count = _digit_count(value)
    exponent = decimals - count + 1  # the exponent of the first digit, negated
    if exponent <= (6 if style == BITFINEX else 4):
        return _decimal(text, place, value, decimals)
    unit = _POWERS[count - 1]
    place = _digits(text, place, value // unit, 1)
    if count > 1:
        text[place] = _POINT
        place = _digits(text, place + 1, value % unit, count - 1)
    text[place] = _E
    text[place + 1] = _MINUS
    if style == BITFINEX:
        return _digits(text, place + 2, exponent, 1)
    return _digits(text, place + 2, exponent, 2)


@kernel
def _zeros(text, place, count):
    """Write so many zeros. Returns the place after them."""
    for position in range(place, place + count):
        text[position] = _ZERO
    return place + max(count, 0)


@kernel
def _numeral(text, place, style, value, decimals, written):
    """Write one numeral in a style. Returns the place after it.

    `written` is the number of decimals that the venue writes; only some styles depend on it. Kraken's style drops the zeros that
    a text begins with. A negative number begins with its minus, so that it keeps them.
    """
    fewest_digits = 1
    if value < 0:
        text[place] = _MINUS
        place += 1
        value = -value
        fewest_digits += min(written, decimals)
    if style == FTX or style == BITFINEX:
        return _float(text, place, value, decimals, style)
    if style == OKX:
        value, decimals = _shortened(value, decimals)
        return _decimal(text, place, value, decimals)
    if style == KRAKEN and value == 0:
        return place  # all its zeros are dropped
    # Decimals that the value cannot have are zeros behind it: with them it might not fit into 63 bits.
    kept = min(written, decimals)
    value //= _POWERS[decimals - kept]
    if style == KRAKEN:
        place = _digits(text, place, value, fewest_digits)
    else:
        place = _decimal(text, place, value, kept)
        if kept == 0 and written > 0:
            text[place] = _POINT
            place += 1
    return _zeros(text, place, written - kept)


@kernel
def write_level(text, style, state, settings, price, size, is_ask):
    """Write a level's price and size, with a colon before it unless the style has none. Returns how many characters these are."""
    place = 0
    if style != KRAKEN:
        text[place] = _COLON
        place += 1
    place = _numeral(text, place, style, price, settings.price_decimals, state.price_decimals)
    if style != KRAKEN:
        text[place] = _COLON
        place += 1
    if style == BITFINEX and is_ask:
        text[place] = _MINUS
        place += 1
    return _numeral(text, place, style, size, settings.size_decimals, state.size_decimals)
