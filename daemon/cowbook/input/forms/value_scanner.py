"""Kernels that read what stands in the holes of a form: a price, a size, a side, a time, an id.

They take less than the reference decoder does: no zeros in front, no escapes. For what they do not take the position is FAILED.
"""

from __future__ import annotations

import numpy as np

from cowbook.input.forms.program import (
    ANY,
    ASKS,
    BEFORE_DOT,
    BEHIND_COLON,
    BEHIND_UNDERSCORE,
    BIDS,
    CHECKSUM,
    FIRST_ID,
    ISO_TIME,
    LITERAL,
    MILLISECONDS_TIME,
    ONLY_ID,
    PREV_ID,
    SECONDS_TIME,
    SEQUENCE,
    TEXT,
    TEXT_ID,
    TIME,
    TIME_ID,
)
from cowbook.input.text.field_scanner import (
    any_end,
    checksum_32,
    identifier,
    iso_time,
    magnitude_time,
    milliseconds_time,
    plain_number_end,
    seconds_time,
    text_id,
    unsigned,
)
from cowbook.input.text.text_scanner import (
    COLON,
    DOT,
    FAILED,
    MINUS,
    NINE,
    POWERS,
    WORD_2,
    WORD_4,
    WORD_7,
    ZERO,
    numeral,
    string_end,
    word,
)
from cowbook.kernels.intrinsics import load64
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import HAS_CHECKSUM

_NEW, _CHANGE, _DELETE = word(b'new"'), word(b'change"'), word(b'delete"')
_MINUS_1 = word(b"-1")
_UNDERSCORE = ord("_")


@inlined_kernel
def literals_end(rows, row, buffer, position, end):
    """Read the literals from `row` on. Returns (first row that is none, position after them or FAILED).

    Most rows are literals. In a loop of their own they take a third of the time that they take among all operations.
    """
    while True:
        piece = rows[np.uint64(row)]
        if piece.operation != LITERAL:
            return row, position
        if position >= end or load64(buffer, position) & piece.mask != piece.word:
            return row, FAILED
        position += piece.length
        row += 1


@inlined_kernel
def _measured_numeral(buffer, position, end, decimals, found):
    """As `numeral`, but returns (value, position after it, number of written decimals). The number is 0 unless they are counted.

    A numeral that does not fit sets `found.misfit` and has the value 0.
    """
    value, after = numeral(buffer, position, decimals)
    if after == FAILED:
        after = plain_number_end(buffer, position, end)
        if after == FAILED:
            return 0, FAILED, 0
        found.misfit = 1
    if buffer[position] == ZERO and ZERO <= buffer[position + 1] <= NINE:
        return 0, FAILED, 0
    written = 0
    if found.measures:
        point = after - 1
        while point > position and buffer[point] != DOT:
            if buffer[point] > NINE:  # an exponent: how many decimals are meant, the reference decoder knows
                return 0, FAILED, 0
            point -= 1
        if buffer[point] == DOT:
            written = after - 1 - point
    return value, after, written


@kernel
def _scaled_integer(buffer, position, decimals, scale, found):
    """Read an integer of which the last `scale` digits are decimals. Returns as `_measured_numeral`."""
    value, after = unsigned(buffer, position)
    if after == FAILED or decimals < scale or value >= POWERS[18 - decimals + scale]:
        return 0, FAILED, 0
    return value * POWERS[decimals - scale], after, scale if found.measures else 0


@inlined_kernel
def _fixed_point(buffer, position, end, decimals, scale, found):
    if scale:
        return _scaled_integer(buffer, position, decimals, scale, found)
    return _measured_numeral(buffer, position, end, decimals, found)


@inlined_kernel
def read_price(scan, position, end, found, place, scale):
    """Read a price into `scan.prices[place]`. Returns the position after it, or FAILED."""
    decimals = scan.limits[0].price_decimals
    is_negative = scan.buffer[position] == MINUS
    price, after, written = _fixed_point(scan.buffer, position + is_negative, end, decimals, scale, found)
    scan.prices[place] = -price if is_negative else price
    found.price_decimals = max(found.price_decimals, written)
    return after


@inlined_kernel
def read_size(scan, position, end, found, place, scale):
    """Read a size into `scan.sizes[place]`. Returns the position after it, or FAILED."""
    decimals = scan.limits[0].size_decimals
    scan.sizes[place], after, written = _fixed_point(scan.buffer, position, end, decimals, scale, found)
    found.size_decimals = max(found.size_decimals, written)
    return after


@kernel
def read_side(buffer, position, row):
    """Read the name of a side. Returns (position after it, BIDS or ASKS), the position FAILED for any other text."""
    text = load64(buffer, position)
    if text & ((1 << 8 * row.length) - 1) == row.word:
        return position + row.length, BIDS
    if text & ((1 << 8 * row.other_length) - 1) == row.other_word:
        return position + row.other_length, ASKS
    return FAILED, BIDS


@kernel
def is_symbol(buffer, position, end, symbol):
    if end - position != symbol.size:
        return False
    for offset in range(symbol.size):
        if buffer[position + offset] != symbol[offset]:
            return False
    return True


@kernel
def any_time(buffer, position, operation):
    """Read a time in the format that `operation` names. Returns (ns since 1970, position after it or FAILED)."""
    if operation == TIME:
        return magnitude_time(buffer, position)
    if operation == ISO_TIME:
        return iso_time(buffer, position)
    if operation == MILLISECONDS_TIME:
        return milliseconds_time(buffer, position)
    return seconds_time(buffer, position)


@kernel
def action_end(buffer, position, found):
    text = load64(buffer, position)
    found.row_deletes = text & WORD_7 == _DELETE
    if text & WORD_7 == _CHANGE or found.row_deletes:
        return position + 7
    return position + 4 if text & WORD_4 == _NEW else FAILED


@kernel
def _first_of(buffer, position, end, byte):
    """Returns the position of the first such byte; `end` if there is none."""
    while position < end and buffer[position] != byte:
        position += 1
    return position


@kernel
def symbol_end(buffer, position, end, argument):
    """Returns the position after a symbol; `argument` is that of its row."""
    after = string_end(buffer, position, end)
    if argument == 0:
        return after
    separator = COLON if argument == BEHIND_COLON else _UNDERSCORE if argument == BEHIND_UNDERSCORE else DOT
    place = _first_of(buffer, position, after, separator)
    if argument == BEFORE_DOT:
        return place if place < after else FAILED
    return FAILED if place < after else after


@kernel
def _text_end(buffer, position, end):
    after = string_end(buffer, position, end)
    point = _first_of(buffer, position, after, DOT)
    return point if point < after else FAILED


@kernel
def read_scalar(buffer, position, end, row, message, found):
    """Read a hole that is not a literal, symbol, price, size or array. Returns the position after it, or FAILED.

    The value goes to `message` or `found`.
    """
    operation = row.operation
    if operation == ANY:
        return any_end(buffer, position, end)
    if operation == TEXT:
        return _text_end(buffer, position, end)
    if operation == TIME or operation == ISO_TIME or operation == SECONDS_TIME or operation == MILLISECONDS_TIME:
        found.latest, position = any_time(buffer, position, operation)
    elif operation == TEXT_ID:
        message.last_id, position = text_id(buffer, position, end)
    elif operation == TIME_ID:
        number, after = unsigned(buffer, position)
        message.first_id, message.last_id = number, number
        found.latest, position = magnitude_time(buffer, position)
        if after == FAILED:  # a time, but too long for an id
            position = FAILED
    elif operation == CHECKSUM:
        checksum, position = checksum_32(buffer, position)
        if checksum != 0 or row.argument == 0:
            message.flags |= HAS_CHECKSUM
            message.checksum = checksum & 0xFFFFFFFF
    elif operation == PREV_ID and row.argument != 0 and load64(buffer, position) & WORD_2 == _MINUS_1:
        message.prev_id = -1
        position += 2
    else:
        number, position = identifier(buffer, position)
        if operation == PREV_ID:
            message.prev_id = number
        elif operation == FIRST_ID:
            message.first_id = number
        elif operation == SEQUENCE:
            message.sequence = number + row.argument
        else:
            message.last_id = number
            if operation == ONLY_ID:
                message.first_id = number
    return position
