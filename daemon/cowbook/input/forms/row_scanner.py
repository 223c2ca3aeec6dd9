"""Kernels that read arrays of levels and of trades by the program of their first one."""

from __future__ import annotations

import numpy as np

from cowbook.input.forms.program import (
    ACTION,
    ANY,
    ASKS,
    BIDS,
    DONE,
    LAST_ID,
    LITERAL,
    PRICE,
    RISING,
    SCALE,
    SIDE,
    SIGNED,
    SIZE,
    SYMBOL,
    TEXT_ID,
    UNLESS_0,
)
from cowbook.input.forms.value_scanner import action_end, any_time, is_symbol, literals_end, read_price, read_side, read_size
from cowbook.input.text.field_scanner import any_end, identifier, text_id, unsigned
from cowbook.input.text.pair_scanner import MOST_MISSES, note_places, read_pairs
from cowbook.input.text.text_scanner import BRACKET, BRACKET_END, COMMA, FAILED, MINUS, QUOTE, SPACE, string_end
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import NONE, SELL_AGGRESSOR, TRADE, TRADES


@inlined_kernel
def _row(forms, position, end, first_row, place):
    """Read one level or trade. Returns the position after it, or FAILED.

    Its price and size go to `place` of the scan's arrays, and its other values to `found`.
    """
    scan, rows, found = forms.scan, forms.rows, forms.found[0]
    buffer = scan.buffer
    found.row_side = BIDS
    found.row_time = NONE
    found.row_id = NONE
    found.row_deletes = 0
    found.row_is_void = 0
    scan.sizes[place] = 0  # a level that is deleted may have none
    row, position = literals_end(rows, first_row, buffer, position, end)
    while position != FAILED and rows[np.uint64(row)].operation != DONE:
        piece = rows[np.uint64(row)]
        operation = piece.operation
        if position >= end:
            return FAILED
        if operation == PRICE:
            position = read_price(scan, position, end, found, place, piece.argument & SCALE)
            found.row_is_void = piece.argument & UNLESS_0 != 0 and scan.prices[place] == 0
        elif operation == SIZE:
            is_negative = piece.argument & SIGNED != 0 and buffer[position] == MINUS
            position = read_size(scan, position + is_negative, end, found, place, piece.argument & SCALE)
            if is_negative:
                found.row_side = ASKS
                if scan.sizes[place] == 0:
                    return FAILED  # a zero has no sign
        elif operation == ANY:
            position = any_end(buffer, position, end)
        elif operation == RISING:
            number, position = unsigned(buffer, position)
            if position != FAILED and number <= found.row_number:
                position = FAILED
            found.row_number = number
        elif operation == SIDE:
            position, found.row_side = read_side(buffer, position, piece)
        elif operation == ACTION:
            position = action_end(buffer, position, found)
        elif operation == LAST_ID:
            found.row_id, position = identifier(buffer, position)
        elif operation == TEXT_ID:
            found.row_id, position = text_id(buffer, position, end)
        elif operation == SYMBOL:
            after = string_end(buffer, position, end)
            found.own_rows += is_symbol(buffer, position, after, scan.symbol)
            position = after
        else:
            found.row_time, position = any_time(buffer, position, operation)
        if position == FAILED:
            return FAILED
        row, position = literals_end(rows, row + 1, buffer, position, end)
    found.latest = max(found.latest, found.row_time)
    return position


@kernel
def _next_row(buffer, position):
    """Returns the position of the next row, after a bracket, or after a comma with or without a space."""
    return position + 1 + (buffer[position] == COMMA and buffer[position + 1] == SPACE)


@kernel
def _are_pairs(rows, row):
    """Returns whether the program at `row` is a price and a size between literals with which no numeral goes on."""
    return (
        rows[row].operation == LITERAL
        and rows[row + 1].operation == PRICE
        and rows[row + 1].argument == 0
        and rows[row + 2].operation == LITERAL
        and _ends_numeral(rows[row + 2].word & 0xFF)
        and rows[row + 3].operation == SIZE
        and rows[row + 3].argument == 0
        and rows[row + 4].operation == LITERAL
        and _ends_numeral(rows[row + 4].word & 0xFF)
        and rows[row + 5].operation == DONE
    )


@inlined_kernel
def _ends_numeral(byte):
    return byte == QUOTE or byte == COMMA or byte == BRACKET_END


@inlined_kernel
def _literals(rows, row):
    """Returns the literals of a program of pairs as `read_pairs` takes them."""
    before, between, behind = rows[row], rows[row + 2], rows[row + 4]
    return (
        before.word,
        between.word,
        behind.word,
        before.mask,
        between.mask,
        behind.mask,
        before.length,
        between.length,
        behind.length,
    )


@kernel
def read_levels(forms, position, end, row, first):
    """Read an array of levels. Returns (position after it or FAILED, number of levels). The number is -1 if the arrays are full.

    Levels that are none do not count. If a level names its side and that is the ask, its size is stored as `~size`.
    """
    buffer, sizes, found = forms.scan.buffer, forms.scan.sizes, forms.found[0]
    if buffer[position] != BRACKET:
        return FAILED, 0
    if buffer[position + 1] == BRACKET_END:
        return position + 2, 0
    if row == FAILED:
        return FAILED, 0
    found.row_number = -1
    count = 0
    misses = 0 if _are_pairs(forms.rows, row) else MOST_MISSES
    while position < end:
        if misses < MOST_MISSES:
            position, pairs = read_pairs(forms.scan, position, end, _literals(forms.rows, row), first + count)
            count += pairs
            if pairs > 0 and found.measures != 0:
                found.price_decimals = max(found.price_decimals, forms.scan.counts[0].price_places)
                found.size_decimals = max(found.size_decimals, forms.scan.counts[0].size_places)
            if pairs > 0 and buffer[position] == BRACKET_END:
                return position + 1, count
            if position >= end:
                return FAILED, 0
        if first + count == sizes.size:
            return FAILED, -1
        start = _next_row(buffer, position)
        position = _row(forms, start, end, row, first + count)
        if position == FAILED:
            return FAILED, 0
        if misses < MOST_MISSES:
            misses += 1
            note_places(forms.scan, start, _literals(forms.rows, row))
        if found.row_side == ASKS:
            sizes[first + count] = ~sizes[first + count]
        if found.row_deletes and sizes[first + count] != 0:
            return FAILED, 0
        count += found.row_is_void == 0
        if buffer[position] == BRACKET_END:
            return position + 1, count
        if buffer[position] != COMMA:
            return FAILED, 0
    return FAILED, 0


@inlined_kernel
def read_trades(forms, position, end, row, message, first):
    """Read an array of trades. Returns (position after it or FAILED, places used). Places used is -1 if the arrays are full.

    The array is read twice, because the places of times and ids depend on the number of trades.
    """
    prices, sizes, found = forms.scan.prices, forms.scan.sizes, forms.found[0]
    after, count = read_levels(forms, position, end, row, first)
    if after == FAILED or count == 0:
        return FAILED, min(count, 0)
    if first + 3 * count > prices.size:
        return FAILED, -1
    found.own_rows = 0
    for trade in range(first, first + count):
        position = _row(forms, _next_row(forms.scan.buffer, position), end, row, trade)
        prices[trade + count] = found.row_time
        sizes[trade + count] = SELL_AGGRESSOR if found.row_side == ASKS else 0
        prices[trade + 2 * count] = found.row_id
        sizes[trade + 2 * count] = 0
    message.last_id = found.row_id
    message.bid_start, message.bid_count = first, count
    if count == 1:
        message.kind = TRADE
        message.flags = sizes[first + 1]
        return after, 1
    message.kind = TRADES
    message.ask_start, message.ask_count = first + count, 2 * count
    return after, 3 * count


@kernel
def part_sides(message, prices, sizes, first, count):
    """Separate mixed levels: copy the asks, in order, after all levels, and close up the bids. Returns the places used."""
    bids = 0
    end = first + count
    for level in range(first, first + count):
        if sizes[level] >= 0:
            prices[first + bids] = prices[level]
            sizes[first + bids] = sizes[level]
            bids += 1
        else:
            prices[end] = prices[level]
            sizes[end] = ~sizes[level]
            end += 1
    message.bid_start, message.bid_count = first, bids
    message.ask_start, message.ask_count = first + count, end - first - count
    return end - first
