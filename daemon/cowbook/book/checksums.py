"""Checksums of the best levels: CRC-32 over their text (book/level_text.py), in the order of the venue's style.

From one message to the next most of the best levels stay as they are. So the checksum of each level's text is kept, and those of
the best levels are joined (book/crc.py). That takes a tenth of the time of writing all of the text anew (ADR 33).
"""

from __future__ import annotations

import numpy as np

from cowbook.book.crc import START, start_before
from cowbook.book.ladder import ASK, BID, copy_levels
from cowbook.book.level_text import write_level
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.schemes import BITFINEX, FTX, KRAKEN

_KRAKEN_LEVELS = 10
_OKX_LEVELS = 25
_FTX_LEVELS = 100

_START_BEFORE_COLON = start_before(ord(":"))  # the first level has none before it

# Words of an entry of `Scratch.known`.
_PRICE = 0
_SIZE = 1  # 0 if the entry is empty; that of an ask is negative where its text has a minus
_CRC = 2
_LENGTH = 3
_ENTRY_BITS = 2

_PRICE_FACTOR = -7046029254386353131  # 2^64 divided by the golden ratio, odd
_SIZE_FACTOR = -4417276706812531889  # odd, by chance


@inlined_kernel
def _moved(moves, register, length):
    """Returns the register moved on by so many bytes."""
    first = length << 10
    return (
        np.int64(moves[np.uint64(first + (register & 0xFF))])
        ^ np.int64(moves[np.uint64(first + 0x100 + ((register >> 8) & 0xFF))])
        ^ np.int64(moves[np.uint64(first + 0x200 + ((register >> 16) & 0xFF))])
        ^ np.int64(moves[np.uint64(first + 0x300 + (register >> 24))])
    )


@rare_kernel
def _enter(engine, place, price, size, is_ask):
    """Put a level into the entry at `place`."""
    scratch, style = engine.scratch, engine.settings[0].checksum
    text, moves, known = scratch.text, scratch.moves, scratch.known
    length = write_level(text, style, engine.state[0], engine.settings[0], price, size, is_ask)
    register = np.int64(0)
    for position in range(length):
        register = np.int64(moves[0x400 + ((register ^ np.int64(text[position])) & 0xFF)]) ^ (register >> 8)
    known[place + _PRICE] = price
    known[place + _SIZE] = -size if style == BITFINEX and is_ask else size
    known[place + _CRC] = register
    known[place + _LENGTH] = length


@inlined_kernel
def _with_level(engine, register, price, size, is_ask):
    """Returns the register behind a level."""
    known = engine.scratch.known
    key = -size if is_ask and engine.settings[0].checksum == BITFINEX else size
    mask = known.size - 1
    place = (((price * _PRICE_FACTOR + key * _SIZE_FACTOR) >> 50) << _ENTRY_BITS) & mask
    if known[np.uint64(place + _PRICE)] != price or known[np.uint64(place + _SIZE)] != key:
        _enter(engine, place, price, size, is_ask)
    return _moved(engine.scratch.moves, register, known[np.uint64(place + _LENGTH)]) ^ known[np.uint64(place + _CRC)]


@rare_kernel
def _forget(engine):
    """Empty all entries: the venue has written more decimals than before."""
    scratch, state = engine.scratch, engine.state[0]
    for place in range(_SIZE, scratch.known.size, 1 << _ENTRY_BITS):
        scratch.known[place] = 0
    scratch.written[0] = state.price_decimals
    scratch.written[1] = state.size_decimals


@rare_kernel
def book_checksum(engine):
    """Returns the CRC-32 (0 to 2^32 - 1) of the book's best levels, in the style of the settings."""
    state, scratch = engine.state[0], engine.scratch
    style = engine.settings[0].checksum
    if scratch.written[0] != state.price_decimals or scratch.written[1] != state.size_decimals:
        _forget(engine)
    count = _KRAKEN_LEVELS if style == KRAKEN else _FTX_LEVELS if style == FTX else _OKX_LEVELS
    bids, asks = scratch.levels[BID], scratch.levels[ASK]
    bid_count = copy_levels(engine.book, BID, count, bids[0], bids[1], 0, 1)
    ask_count = copy_levels(engine.book, ASK, count, asks[0], asks[1], 0, 1)
    if bid_count + ask_count == 0:
        return 0  # that of no text
    if style == KRAKEN:
        register = START
        for position in range(ask_count):
            register = _with_level(engine, register, asks[0][position], asks[1][position], True)
        for position in range(bid_count):
            register = _with_level(engine, register, bids[0][position], bids[1][position], False)
        return register ^ START
    register = _START_BEFORE_COLON
    for position in range(max(bid_count, ask_count)):
        if position < bid_count:
            register = _with_level(engine, register, bids[0][position], bids[1][position], False)
        if position < ask_count:
            register = _with_level(engine, register, asks[0][position], asks[1][position], True)
    return register ^ START
