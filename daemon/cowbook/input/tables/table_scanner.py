"""Scanners of tables: rows of CSV, and packed rows of Parquet, become rows of one layout.

Rows that a scanner does not recognise are left to the reference (table_reference), which alone decides what is malformed.
"""

from __future__ import annotations

from cowbook.input.text.text_scanner import COMMA, FAILED, POWERS, RETURN, digits, find_newline, nanoseconds, numeral
from cowbook.kernels.intrinsics import as_float, load64, trailing_zeros
from cowbook.kernels.jit import kernel
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

KIND_BOOK = 0
KIND_TRADES = 1

# Words of a row.
ROW_KIND = 0
ROW_FLAGS = 1
ROW_TS_EVENT = 2
ROW_TS_RECV = 3
ROW_PRICE = 4
ROW_SIZE = 5
ROW_FIRST_ID = 6
ROW_LAST_ID = 7
ROW_PREV_ID = 8
ROW_START = 9
ROW_END = 10
ROW_WORDS = 11

# Kinds of rows.
GOOD = 0
OTHER = 1  # of another symbol
BAD = 2  # nothing says of which message it is
BLANK = 3
BAD_OF_MESSAGE = 4  # bad, but its key is known

# Bits of a row's flags.
IS_ASK = 1  # or: the aggressor sold
OF_SNAPSHOT = 2

# Why a scanner returns.
END = 0  # nothing more, or an unfinished row
FULL = 1
STRANGE = 2  # a row for the reference
REJECTED = 3  # a run of rows that is to become a dead letter

# Kinds of packed columns (input/parquet_rows.py).

_MAX_FIXED = 10**18
_COMMAS = 0x2C2C2C2C2C2C2C2C
_QUOTES = 0x2222222222222222
_RETURNS = 0x0D0D0D0D0D0D0D0D
_ONES = 0x0101010101010101
_HIGH_BITS = -0x7F7F7F7F7F7F7F80  # 0x8080808080808080
_UNIQUE = 10**15


@kernel
def _field_end(buffer, position, end):
    """Index of the comma, or of the end of the line, that ends a field; FAILED for quotes, and for what is not ASCII."""
    while position < end:
        word = load64(buffer, position)
        # In each term the lowest mark is exact: where a byte is a comma, a quote, a carriage return, or above 127.
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
    """A field of at most 7 bytes as a word, zeros behind it; FAILED for longer ones."""
    length = end - start
    if length > 7:
        return FAILED
    return load64(buffer, start) & ((1 << (8 * length)) - 1)


@kernel
def _same(buffer, start, end, symbol):
    if end - start != symbol.size:
        return False
    for place in range(symbol.size):
        if buffer[start + place] != symbol[place]:
            return False
    return True


@kernel
def scan_csv(buffer, start, end, base, limits, symbol, plan, words, rows, count):
    """Read lines of `buffer[start:end]` into `rows` from `count` on: (why it stopped, where, rows now).

    `limits`: price decimals, size decimals, longest line. `words` as of tables.Table.words. `base` is the offset of buffer[0].
    """
    position = start
    columns = plan.size
    while count < rows.shape[0]:
        line_end = find_newline(buffer, position, end)
        if line_end < 0:
            return END, position, count
        row = rows[count]
        row[ROW_START] = base + position
        row[ROW_END] = base + line_end + 1
        at = position
        row[ROW_KIND] = GOOD
        row[ROW_FLAGS] = 0
        row[ROW_TS_EVENT] = NONE
        row[ROW_TS_RECV] = NONE
        row[ROW_FIRST_ID] = NONE
        row[ROW_LAST_ID] = NONE
        row[ROW_PREV_ID] = NONE
        good = line_end - position <= limits[2]
        for column in range(columns):
            meaning = plan[column]
            if meaning == PRICE:
                row[ROW_PRICE], after = numeral(buffer, at, limits[0])
            elif meaning == SIZE:
                row[ROW_SIZE], after = numeral(buffer, at, limits[1])
            elif meaning == TS_EVENT or meaning == TS_RECV:
                value, after = digits(buffer, at)
                value = nanoseconds(value)
                if after <= at or value < 0:
                    good = False
                row[ROW_TS_EVENT if meaning == TS_EVENT else ROW_TS_RECV] = value
            elif meaning == FIRST_ID or meaning == LAST_ID:
                value, after = digits(buffer, at)
                if after <= at:
                    good = False
                row[ROW_FIRST_ID if meaning == FIRST_ID else ROW_LAST_ID] = value
            elif meaning == PREV_ID:
                value, after = digits(buffer, at)
                if after > at:
                    row[ROW_PREV_ID] = value
                else:
                    after = _field_end(buffer, at, line_end)
                    good = good and after - at == 2 and buffer[at] == 45 and buffer[at + 1] == 49
            elif meaning == TRADE_ID:
                value, after = digits(buffer, at)
                if after > at and (buffer[after] == COMMA or buffer[after] == RETURN or after == line_end):
                    row[ROW_LAST_ID] = value
                else:
                    after = _field_end(buffer, at, line_end)
            else:
                after = _field_end(buffer, at, line_end)
                if after < 0:
                    good = False
                elif meaning == SYMBOL:
                    if not _same(buffer, at, after, symbol):
                        row[ROW_KIND] = OTHER
                elif meaning == SIDE:
                    word = _short_word(buffer, at, after)
                    if word == words[1]:
                        row[ROW_FLAGS] |= IS_ASK
                    elif word != words[0]:
                        good = False
                elif meaning == IS_SNAPSHOT:
                    word = _short_word(buffer, at, after)
                    if word == words[3]:
                        row[ROW_FLAGS] |= OF_SNAPSHOT
                    elif word != words[2]:
                        good = False
                elif meaning == IS_BID:
                    good = False
            if not good or after < 0:
                good = False
                break
            if column + 1 < columns:
                if buffer[after] != COMMA:
                    good = False
                    break
                at = after + 1
            elif after != line_end and not (after + 1 == line_end and buffer[after] == RETURN):
                good = False
        if not good:
            return STRANGE, position, count
        position = line_end + 1
        count += 1
    return FULL, position, count


@kernel
def _decimal_of_float(value, decimals):
    """The number of at most 15 digits that, with so many decimals, has this nearest double; FAILED without one."""
    scaled = value * float(POWERS[decimals])
    if not (scaled >= 0.0 and scaled < float(_UNIQUE)):
        return FAILED
    number = int(scaled + 0.5)
    # Both are exact doubles, so that their quotient is the double nearest to the decimal number; of others with at most 15 digits
    # none has the same.
    return number if number < _UNIQUE and float(number) / float(POWERS[decimals]) == value else FAILED


@kernel
def fixed_of_float(value, decimals):
    """The fixed-point number whose nearest double this is; FAILED where there is none, or others may be as near."""
    for fewer in (0, 3):
        if fewer < decimals:
            number = _decimal_of_float(value, fewer)
            if number >= 0:
                return number * POWERS[decimals - fewer] if number < _MAX_FIXED // POWERS[decimals - fewer] else FAILED
    return _decimal_of_float(value, decimals)


@kernel
def _same_text(buffer, start, width, symbol):
    if symbol.size > width:
        return False
    for place in range(width):
        if buffer[start + place] != (symbol[place] if place < symbol.size else 0):
            return False
    return True


@kernel
def scan_packed(buffer, start, end, base, limits, symbol, plan, words, kinds, places, row_bytes, rows, count):
    """As `scan_csv`, of packed rows: column c is of `kinds[c]` and stands `places[c]` bytes behind the row's start."""
    position = start
    while count < rows.shape[0]:
        if position + row_bytes > end:
            return END, position, count
        row = rows[count]
        row[ROW_START] = base + position
        row[ROW_END] = base + position + row_bytes
        row[ROW_KIND] = GOOD
        row[ROW_FLAGS] = 0
        row[ROW_TS_EVENT] = NONE
        row[ROW_TS_RECV] = NONE
        row[ROW_FIRST_ID] = NONE
        row[ROW_LAST_ID] = NONE
        row[ROW_PREV_ID] = NONE
        good = True
        for column in range(plan.size):
            meaning = plan[column]
            if meaning == SKIPPED:
                continue
            at = position + places[column]
            word = load64(buffer, at)
            if meaning == PRICE or meaning == SIZE:
                decimals = limits[0] if meaning == PRICE else limits[1]
                value = FAILED
                if kinds[column] == PACKED_FLOAT:
                    value = fixed_of_float(as_float(word), decimals)
                elif kinds[column] == PACKED_INTEGER and word >= 0 and word < _MAX_FIXED // POWERS[decimals]:
                    value = word * POWERS[decimals]
                good = good and value >= 0
                row[ROW_PRICE if meaning == PRICE else ROW_SIZE] = value
            elif meaning == SYMBOL:
                if not _same_text(buffer, at, places[column + 1] - places[column], symbol):
                    row[ROW_KIND] = OTHER
            elif (meaning == IS_BID or meaning == IS_SNAPSHOT) and kinds[column] != PACKED_INTEGER:
                good = False
            elif meaning == SIDE:
                if word == words[1]:
                    row[ROW_FLAGS] |= IS_ASK
                elif word != words[0]:
                    good = False
            elif meaning == IS_BID:
                if word == 0:
                    row[ROW_FLAGS] |= IS_ASK
                elif word != 1:
                    good = False
            elif meaning == IS_SNAPSHOT:
                if word == 1:
                    row[ROW_FLAGS] |= OF_SNAPSHOT
                elif word != 0:
                    good = False
            elif meaning == TRADE_ID and kinds[column] == PACKED_TEXT:
                value, after = digits(buffer, at)
                good = good and after != FAILED
                if after > at and buffer[after] == 0:
                    row[ROW_LAST_ID] = value
            elif kinds[column] != PACKED_INTEGER:
                good = good and meaning == TRADE_ID
            elif meaning == TS_EVENT or meaning == TS_RECV:
                value = word if word == NONE else nanoseconds(word) if word >= 0 else FAILED
                good = good and (value == NONE or value >= 0)
                row[ROW_TS_EVENT if meaning == TS_EVENT else ROW_TS_RECV] = value
            else:
                value = word if word >= 0 and word < _MAX_FIXED else NONE
                if meaning == FIRST_ID:
                    row[ROW_FIRST_ID] = value
                elif meaning == PREV_ID:
                    row[ROW_PREV_ID] = value
                else:
                    row[ROW_LAST_ID] = value
        if row[ROW_TS_EVENT] == NONE:
            row[ROW_TS_EVENT] = row[ROW_TS_RECV]
            good = good and row[ROW_TS_RECV] != NONE
        if not good:
            return STRANGE, position, count
        position += row_bytes
        count += 1
    return FULL, position, count
