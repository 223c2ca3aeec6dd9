"""Checksums of the best levels: CRC-32 over numerals, in the venues' styles (cowbook.plain.schemes).

The book holds fixed-point numbers, while venues compute checksums over text. Each venue has a rule for the text of a number: all
decimals of the symbol, as few as possible, or as Python writes a float.
"""

from __future__ import annotations

import numpy as np

from cowbook.book.ladder import ASK, BID, copy_levels
from cowbook.kernels.jit import kernel, rare_kernel
from cowbook.plain.schemes import BITFINEX, BITGET, FTX, KRAKEN

_ZERO = 48
_POINT = 46
_COLON = 58
_MINUS = 45
_E = 101

_KRAKEN_LEVELS = 10
_OKX_LEVELS = 25
_FTX_LEVELS = 100


@kernel
def _digits(text, place, value, fewest):
    """Write an integer, with zeros before it if it has fewer digits than `fewest`. Returns the place after it."""
    count = 1
    rest = value // 10
    while rest != 0:
        count += 1
        rest //= 10
    count = max(count, fewest)
    for position in range(place + count - 1, place - 1, -1):
        text[position] = _ZERO + value % 10
        value //= 10
    return place + count


@kernel
def _power(exponent):
    result = 1
    for _ in range(exponent):
        result *= 10
    return result


@kernel
def _decimal(text, place, value, decimals):
    """Write value / 10^decimals with exactly that many decimals. Returns the place after it."""
    unit = _power(decimals)
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
    count = 1
    rest = value // 10
    while rest != 0:
        count += 1
        rest //= 10
    exponent = decimals - count + 1  # the exponent of the first digit, negated
    if exponent <= (6 if style == BITFINEX else 4):
        return _decimal(text, place, value, decimals)
    unit = _power(count - 1)
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
def _with_decimals(value, decimals, written):
    """Returns a value that has `decimals` rescaled to `written` decimals."""
    return value // _power(decimals - written) if written <= decimals else value * _power(written - decimals)


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
        fewest_digits += written
    if style == FTX or style == BITFINEX:
        return _float(text, place, value, decimals, style)
    if style == KRAKEN:
        if value == 0:
            return place  # all its zeros are dropped
        return _digits(text, place, _with_decimals(value, decimals, written), fewest_digits)
    if style == BITGET:
        return _decimal(text, place, _with_decimals(value, decimals, written), written)
    value, decimals = _shortened(value, decimals)
    return _decimal(text, place, value, decimals)


@kernel
def _level(text, place, style, state, settings, levels, position, is_ask):
    """Write a level's price and size. Returns the place after them."""
    place = _numeral(text, place, style, levels[0][position], settings.price_decimals, state.price_decimals)
    if style != KRAKEN:
        text[place] = _COLON
        place += 1
    if style == BITFINEX and is_ask:
        text[place] = _MINUS
        place += 1
    return _numeral(text, place, style, levels[1][position], settings.size_decimals, state.size_decimals)


@rare_kernel
def book_checksum(engine):
    """Returns the CRC-32 (0 to 2^32 - 1) of the book's best levels, in the style of the settings."""
    state, settings, scratch = engine.state[0], engine.settings[0], engine.scratch
    style = settings.checksum
    count = _KRAKEN_LEVELS if style == KRAKEN else _FTX_LEVELS if style == FTX else _OKX_LEVELS
    bids, asks = scratch.levels[BID], scratch.levels[ASK]
    bid_count = copy_levels(engine.book, BID, count, bids[0], bids[1], 0, 1)
    ask_count = copy_levels(engine.book, ASK, count, asks[0], asks[1], 0, 1)
    text = scratch.text
    end = 0
    if style == KRAKEN:
        for position in range(ask_count):
            end = _level(text, end, style, state, settings, asks, position, True)
        for position in range(bid_count):
            end = _level(text, end, style, state, settings, bids, position, False)
    else:
        for position in range(max(bid_count, ask_count)):
            if position < bid_count:
                end = _level(text, end, style, state, settings, bids, position, False)
                text[end] = _COLON
                end += 1
            if position < ask_count:
                end = _level(text, end, style, state, settings, asks, position, True)
                text[end] = _COLON
                end += 1
        end = max(end - 1, 0)  # no colon at the end
    crc = 0xFFFFFFFF
    for position in range(end):
        crc = scratch.crc_table[(crc ^ np.int64(text[position])) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
