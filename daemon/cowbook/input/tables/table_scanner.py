"""Scanners of tables: they turn rows of CSV, and packed rows of Parquet, into rows of one layout.

A row that a scanner does not recognise is left to the reference decoder (table_reference), which alone rejects rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.text.text_scanner import (
    COMMA,
    DOT,
    FAILED,
    MINUS,
    ONE,
    POWERS,
    RETURN,
    digits,
    find_newline,
    nanoseconds,
    numeral,
    signed_numeral,
)
from cowbook.kernels.intrinsics import as_float, load64, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import NONE
from cowbook.plain.table_header import PACKED_FLOAT, PACKED_INTEGER, PACKED_TEXT

# Meanings of columns.
SKIPPED = 0
SYMBOL = 1
TS_EVENT = 2
TS_RECV = 3
IS_SNAPSHOT = 4
SIDE = 5
IS_BID = 6
PRICE = 7
SIZE = 8
FIRST_ID = 9
LAST_ID = 10
PREV_ID = 11
TRADE_ID = 12
EXCHANGE = 13
IS_SELL = 14
LEVELS = 64
"""From here on: 4 * level + part, of a level in a row that has several. Parts: bid price, bid size, ask price, ask size."""

ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            "flags",
            "ts_event",
            "ts_recv",
            "price",
            "size",
            "first_id",
            "last_id",
            "prev_id",
            "channel",  # number of the exchange (`_number_of_name`); 0 = the table has none
            "start",  # decoded offset in its file
            "end",
        )
    ]
)
"""A row of any table. Absent times and ids are NONE."""

WORDS = np.dtype(
    [(name, np.int64) for name in ("bid", "ask", "bid_too", "ask_too", "no_side", "diff", "snapshot", "diff_too", "snapshot_too")]
)
"""The texts that a table uses for sides and snapshots, of up to 7 characters, as words. All but `no_side` have two spellings."""

# Kinds of rows.
GOOD = 0
OTHER = 1  # of another symbol
BAD = 2  # bad, and its key is unknown
BLANK = 3
BAD_OF_MESSAGE = 4  # bad, but its key is known

# Bits of a row's flags.
IS_ASK = 1  # or: the aggressor sold
OF_SNAPSHOT = 2
HAS_NO_LEVEL = 4  # of a message without levels
WITHOUT_SIDE = 8  # of a trade whose aggressor the vendor does not know

# Why a scanner returned.
END = 0  # the rest of the block is empty or an unfinished row
FULL = 1
STRANGE = 2  # a row for the reference decoder
REJECTED = 3  # a run of rows that becomes a dead letter

_MAX_FIXED = 10**18
_MAX_NUMBER = 2**63 - 1
_COMMAS = 0x2C2C2C2C2C2C2C2C
_QUOTES = 0x2222222222222222
_RETURNS = 0x0D0D0D0D0D0D0D0D
_ONES = 0x0101010101010101
_HIGH_BITS = -0x7F7F7F7F7F7F7F80  # 0x8080808080808080
_UNIQUE = 10**15

MAX_EXACT = 2**53
"""Up to here a double holds every whole number."""

NAME_FACTORS = np.array([3**place * 0x1E3779B97F4A7C15 % 2**63 for place in range(16)], np.int64)
"""The factors, all odd, of a name's words in the number that stands for it (`_number_of_name`)."""


@kernel
def _field_end(buffer, position, end):
    """Returns the index of the comma or line end that ends a field; FAILED if the field has quotes or is not ASCII."""
    while position < end:
        word = load64(buffer, position)
        # Each term marks one kind of byte: commas, quotes, carriage returns, above 127. Its lowest mark is exact.
        commas, quotes, returns = word ^ _COMMAS, word ^ _QUOTES, word ^ _RETURNS
        marks = (commas - _ONES) & ~commas | (quotes - _ONES) & ~quotes | (returns - _ONES) & ~returns | word
        marks &= _HIGH_BITS
        if marks != 0:
            position += trailing_zeros(marks) >> 3
            if position >= end:
                return end
            return position if buffer[position] == COMMA or buffer[position] == RETURN else FAILED
        position += 8
    return end


@kernel
def _short_word(buffer, start, end):
    """Returns a field of at most 7 bytes as a word padded with zeros; FAILED for a longer field."""
    length = end - start
    if length > 7:
        return FAILED
    return load64(buffer, start) & ((1 << (8 * length)) - 1)


@kernel
def _same(buffer, start, end, symbol):
    if end - start != symbol.size:
        return False
    for place in range(0, symbol.size, 8):
        difference = load64(buffer, start + place) ^ load64(symbol, place)
        if symbol.size - place < 8:
            difference &= (1 << (8 * (symbol.size - place))) - 1
        if difference != 0:
            return False
    return True


@kernel
def _number_of_name(buffer, start, end):
    """Returns the number of a name, from 1 on: the same in every run and container. Zero bytes behind a name do not count."""
    total = 0
    place = 0
    while start < end:
        word = load64(buffer, start)
        if end - start < 8:
            word &= (1 << (8 * (end - start))) - 1
        total += word * NAME_FACTORS[place & 15]
        place += 1
        start += 8
    return max((total >> 1) & _MAX_NUMBER, 1)


class TableScan(NamedTuple):
    """The arrays that the scanners of tables read and write."""

    buffer: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.void]  # text.scanner.LIMITS, (1,)
    symbol: npt.NDArray[np.uint8]  # the name that a row of this symbol has; 7 more bytes may be read
    plan: npt.NDArray[np.int64]  # meaning of each column
    words: npt.NDArray[np.void]  # WORDS, (1,)
    rows: npt.NDArray[np.void]  # ROW


@inlined_kernel
def begin_row(row, start, end):
    row.kind = GOOD
    row.flags = 0
    row.ts_event = NONE
    row.ts_recv = NONE
    row.first_id = NONE
    row.last_id = NONE
    row.prev_id = NONE
    row.channel = 0
    row.start = start
    row.end = end


@inlined_kernel
def _read_word(row, word, words, meaning):
    """Set the row's flags from a word that names a side or a snapshot. Returns whether it is one of the table's words."""
    if meaning == SIDE or meaning == IS_SELL:
        if word == words.ask or word == words.ask_too:
            row.flags |= IS_ASK
            return True
        if word == words.bid or word == words.bid_too:
            return True
        row.flags |= WITHOUT_SIDE
        return word == words.no_side
    if word == words.snapshot or word == words.snapshot_too:
        row.flags |= OF_SNAPSHOT
        return True
    return word == words.diff or word == words.diff_too


@kernel
def _zeros_end(buffer, point, whole):
    """Returns the position after the fraction of a float that is the number `whole`; FAILED if it may be another number."""
    fraction, after = digits(buffer, point + 1)
    return after if fraction == 0 and after > point + 1 and whole <= MAX_EXACT else FAILED


@inlined_kernel
def _read_number(buffer, at, line_end, row, meaning):
    """Read a time or an id. Returns the position after it; FAILED if it is neither."""
    value, after = digits(buffer, at)
    if meaning == PREV_ID or meaning == TRADE_ID:
        is_whole = after > at and (meaning == PREV_ID or buffer[after] == COMMA or buffer[after] == RETURN or after == line_end)
        if is_whole and meaning == PREV_ID:
            row.prev_id = value
        elif is_whole:
            row.last_id = value
        if is_whole:
            return after
        after = _field_end(buffer, at, line_end)
        is_minus_1 = after - at == 2 and buffer[at] == MINUS and buffer[at + 1] == ONE
        return after if meaning == TRADE_ID or is_minus_1 else FAILED
    if after <= at:
        return FAILED
    if meaning == FIRST_ID:
        row.first_id = value
    elif meaning == LAST_ID:
        row.last_id = value
    else:
        if buffer[after] == DOT:
            after = _zeros_end(buffer, after, value)
        value = nanoseconds(value)
        if value < 0:
            return FAILED
        if meaning == TS_EVENT:
            row.ts_event = value
        else:
            row.ts_recv = value
    return after


@inlined_kernel
def read_field(scan, at, line_end, row, meaning):
    """Read the field at `at` into the row. Returns the position after it; FAILED if it is not what its column should hold."""
    buffer, limits = scan.buffer, scan.limits[0]
    if meaning == PRICE:
        row.price, after = signed_numeral(buffer, at, limits.price_decimals)
        return after
    if meaning == SIZE:
        row.size, after = numeral(buffer, at, limits.size_decimals)
        return after
    if meaning == SKIPPED:
        return _field_end(buffer, at, line_end)
    if meaning == EXCHANGE:
        after = _field_end(buffer, at, line_end)
        if after >= 0:
            row.channel = _number_of_name(buffer, at, after)
        return after
    if meaning == SYMBOL:
        after = _field_end(buffer, at, line_end)
        if after >= 0 and not _same(buffer, at, after, scan.symbol):
            row.kind = OTHER
        return after
    if meaning == SIDE or meaning == IS_SNAPSHOT or meaning == IS_SELL:
        after = _field_end(buffer, at, line_end)
        is_good = after >= 0 and _read_word(row, _short_word(buffer, at, after), scan.words[0], meaning)
        return after if is_good else FAILED
    if meaning == IS_BID:
        return FAILED  # a boolean has no agreed spelling
    return _read_number(buffer, at, line_end, row, meaning)


@kernel
def scan_csv(scan, start, end, base, count):
    """Read the lines of `buffer[start:end]` into rows from `count` on. Returns (why it stopped, position, number of rows now).

    `base` is the decoded offset of `buffer[0]`.
    """
    buffer, columns = scan.buffer, scan.plan.size
    position = start
    while count < scan.rows.size:
        line_end = find_newline(buffer, position, end)
        if line_end < 0:
            return END, position, count
        if line_end - position > scan.limits[0].max_line_bytes:
            return STRANGE, position, count
        row = scan.rows[count]
        begin_row(row, base + position, base + line_end + 1)
        at = position
        for column in range(columns):
            after = read_field(scan, at, line_end, row, scan.plan[column])
            if after < 0:
                return STRANGE, position, count
            if column + 1 < columns:
                if buffer[after] != COMMA:
                    return STRANGE, position, count
                at = after + 1
            elif after != line_end and not (after + 1 == line_end and buffer[after] == RETURN):
                return STRANGE, position, count
        position = line_end + 1
        count += 1
    return FULL, position, count


@kernel
def _decimal_of_float(value, decimals):
    """Returns the number of at most 15 digits, with `decimals`, whose nearest double is `value`; FAILED if there is none."""
    scaled = value * float(POWERS[decimals])
    if not (scaled >= 0.0 and scaled < float(_UNIQUE)):
        return FAILED
    number = int(scaled + 0.5)
    # Number and power are exact doubles, so their quotient is the double nearest to the decimal number. No other number of at
    # most 15 digits has the same nearest double.
    return number if number < _UNIQUE and float(number) / float(POWERS[decimals]) == value else FAILED


@kernel
def fixed_of_float(value, decimals):
    """Returns the fixed-point number whose nearest double is `value`; FAILED if there is none, or perhaps more than one."""
    for fewer in (0, 3):
        if fewer < decimals:
            number = _decimal_of_float(value, fewer)
            if number >= 0:
                return number * POWERS[decimals - fewer] if number < _MAX_FIXED // POWERS[decimals - fewer] else FAILED
    return _decimal_of_float(value, decimals)


@kernel
def _whole_of_float(value):
    """Returns a double that is a whole number as that number; NONE for NaN, and FAILED for one that may mean another number."""
    if value != value:  # noqa: PLR0124 - NaN
        return NONE
    if not (value >= 0.0 and value <= float(MAX_EXACT)):
        return FAILED
    whole = int(value)
    return whole if float(whole) == value else FAILED


@kernel
def _same_text(buffer, start, width, symbol):
    if symbol.size > width:
        return False
    for place in range(width):
        if buffer[start + place] != (symbol[place] if place < symbol.size else 0):
            return False
    return True


@inlined_kernel
def read_packed(scan, at, width, row, meaning, kind):
    """Read a packed value into the row. Returns whether it is what its column should hold."""
    buffer, limits = scan.buffer, scan.limits[0]
    word = load64(buffer, at)
    if meaning == PRICE or meaning == SIZE:
        decimals = limits.price_decimals if meaning == PRICE else limits.size_decimals
        value = FAILED
        is_negative = False
        if kind == PACKED_FLOAT:
            is_negative = as_float(word) < 0.0
            value = fixed_of_float(abs(as_float(word)), decimals)
        elif kind == PACKED_INTEGER and word != NONE and abs(word) < _MAX_FIXED // POWERS[decimals]:
            is_negative = word < 0
            value = abs(word) * POWERS[decimals]
        if meaning == PRICE:
            row.price = -value if is_negative else value
        else:
            row.size = value
        return value >= 0 and (meaning == PRICE or not is_negative)
    if meaning == SYMBOL:
        if not _same_text(buffer, at, width, scan.symbol):
            row.kind = OTHER
        return True
    if meaning == EXCHANGE:
        row.channel = _number_of_name(buffer, at, at + width)
        return kind == PACKED_TEXT and buffer[at + width - 1] == 0  # else it was cut
    if meaning == SIDE or ((meaning == IS_SNAPSHOT or meaning == IS_SELL) and kind == PACKED_TEXT):
        return kind == PACKED_TEXT and _read_word(row, word, scan.words[0], meaning)
    if meaning == TRADE_ID and kind == PACKED_TEXT:
        value, after = digits(buffer, at)
        if after > at and buffer[after] == 0:
            row.last_id = value
        return after != FAILED
    if kind == PACKED_FLOAT and (meaning == TS_EVENT or meaning == TS_RECV):
        word = _whole_of_float(as_float(word))
    elif kind != PACKED_INTEGER:
        return meaning == TRADE_ID
    if meaning == IS_BID or meaning == IS_SNAPSHOT or meaning == IS_SELL:
        if word == (0 if meaning == IS_BID else 1):
            row.flags |= OF_SNAPSHOT if meaning == IS_SNAPSHOT else IS_ASK
        return word == 0 or word == 1
    if meaning == TS_EVENT or meaning == TS_RECV:
        value = word if word == NONE else nanoseconds(word) if word >= 0 else FAILED
        if meaning == TS_EVENT:
            row.ts_event = value
        else:
            row.ts_recv = value
        return value == NONE or value >= 0
    value = word if word >= 0 and word < _MAX_FIXED else NONE
    if meaning == FIRST_ID:
        row.first_id = value
    elif meaning == PREV_ID:
        row.prev_id = value
    else:
        row.last_id = value
    return True


@kernel
def scan_packed(scan, start, end, base, kinds, places, row_bytes, count):
    """As `scan_csv`, for packed rows of `row_bytes`.

    Column c has the kind `kinds[c]` and begins `places[c]` bytes after the row's start.
    """
    position = start
    while count < scan.rows.size:
        if position + row_bytes > end:
            return END, position, count
        row = scan.rows[count]
        begin_row(row, base + position, base + position + row_bytes)
        is_good = True
        for column in range(scan.plan.size):
            meaning = scan.plan[column]
            if meaning != SKIPPED:
                at, width = position + places[column], places[column + 1] - places[column]
                is_good = is_good and read_packed(scan, at, width, row, meaning, kinds[column])
        if row.ts_event == NONE:
            row.ts_event = row.ts_recv
            is_good = is_good and row.ts_recv != NONE
        if not is_good:
            return STRANGE, position, count
        position += row_bytes
        count += 1
    return FULL, position, count
