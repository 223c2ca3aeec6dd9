"""The fast scanner for records of learned forms: literal bytes with holes of known grammar and meaning between them.

A form is a program with one row for each piece; input/forms/shapes.py makes it. A record of a known form gives the same message
as it would from the reference decoder. Any other record is left to that decoder.

Bounds: every piece begins before `end`. It then reads less than PADDING bytes, or compares its positions with `end` itself.
"""

from __future__ import annotations

import numpy as np

from cowbook.input.forms.program import (
    BIDS,
    DONE,
    LEVELS,
    MIXED,
    MORE,
    NAMED,
    PRICE,
    SIZE,
    SYMBOL,
    TRADES_ROWS,
    UNLESS_0,
)
from cowbook.input.forms.row_scanner import part_sides, read_levels, read_trades
from cowbook.input.forms.value_scanner import is_symbol, literals_end, read_price, read_scalar, read_size, symbol_end
from cowbook.input.text.field_scanner import digits_end
from cowbook.input.text.scanner import END, LEVELS_FULL, MESSAGES_FULL, STRANGE
from cowbook.input.text.text_scanner import BRACKET, COLON, FAILED, NEWLINE, OPEN, RETURN, digits, find_newline, receive_time
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import HAS_CHECKSUM, NONE, OTHER_SYMBOL, SNAPSHOT, TICKER, UNUSED


@kernel
def _place(message, side, start, count):
    if side == BIDS:
        message.bid_start, message.bid_count = start, count
    else:
        message.ask_start, message.ask_count = start, count


@kernel
def _start_ticker(message, sizes, first):
    """A ticker has one bid and one ask. Their sizes may not be given."""
    message.bid_start, message.bid_count = first, 1
    message.ask_start, message.ask_count = first + 1, 1
    sizes[first], sizes[first + 1] = -1, -1


@kernel
def _start_message(message, head, found):
    message.kind = head.kind
    message.rule = head.rule
    message.flags = head.flags
    message.depth = head.depth
    message.channel = head.channel
    message.first_id = NONE
    message.last_id = NONE
    message.prev_id = NONE
    message.bid_count = 0
    message.ask_count = 0
    message.checksum = 0
    message.price_decimals = 0
    message.size_decimals = 0
    message.market = head.market
    message.speed = 0
    message.sequence = 0
    found.latest = NONE
    found.price_decimals = 0
    found.size_decimals = 0
    found.misfit = 0
    found.measures = head.measures


@kernel
def _finish_message(message, ts_recv, found):
    """Set the fields that depend on the whole record. Returns whether all numbers fit, and the time that it needs is there."""
    message.ts_recv = ts_recv
    message.ts_event = found.latest
    if message.ts_event == NONE and message.kind != SNAPSHOT and message.kind != TICKER:
        message.ts_event = ts_recv
        if ts_recv == NONE:
            return False
    if message.flags & HAS_CHECKSUM or message.kind == SNAPSHOT:
        message.price_decimals = found.price_decimals
        message.size_decimals = found.size_decimals
    return found.misfit == 0


@inlined_kernel
def _match(forms, position, end, ts_recv, head, message):
    """Read a record by the form of `head`. Returns (position after it, levels used, whether it is of this symbol).

    The position is FAILED if the record has another form. Levels used is -1 if the arrays may be too small.
    """
    scan, rows, found = forms.scan, forms.rows, forms.found[0]
    buffer, prices, sizes, first = scan.buffer, scan.prices, scan.sizes, scan.counts[0].levels
    _start_message(message, head, found)
    is_own = True
    is_void = False
    used = 0
    row, position = literals_end(rows, head.first_row, buffer, position, end)
    while position != FAILED and rows[np.uint64(row)].operation != DONE:
        piece = rows[np.uint64(row)]
        operation = piece.operation
        if position >= end:
            return FAILED, 0, False
        if operation == LEVELS:
            found.own_rows = 0
            position, count = read_levels(forms, position, end, piece.program, first + used)
            is_mixed = piece.argument & MIXED != 0
            if count < 0 or (is_mixed and first + 2 * (used + count) > prices.size):
                return FAILED, -1, False
            if piece.argument & NAMED and position != FAILED:
                is_own = found.own_rows == count
                if count == 0 or (not is_own and found.own_rows > 0):
                    return FAILED, 0, False  # levels of nobody, or of several symbols
            used += count
            if not is_mixed:
                _place(message, piece.argument, first + used - count, count)
            elif piece.argument & MORE == 0:
                used = part_sides(message, prices, sizes, first, used)
        elif operation == TRADES_ROWS:
            position, used = read_trades(forms, position, end, piece.program, message, first)
            if piece.argument and position != FAILED:
                is_own = found.own_rows == message.bid_count
                if not is_own and found.own_rows > 0:
                    return FAILED, 0, False  # trades of several symbols
        elif operation == SYMBOL:
            after = symbol_end(buffer, position, end, piece.argument)
            is_own = is_symbol(buffer, position, after, scan.symbol)
            position = after
        elif operation == PRICE or operation == SIZE:
            place = first
            if piece.argument & ~UNLESS_0 == 0:
                if first == prices.size:
                    return FAILED, -1, False
                used = 1
                _place(message, head.single_side, first, 1)
            else:
                if first + 2 > prices.size:
                    return FAILED, -1, False
                if used == 0:
                    used = 2
                    _start_ticker(message, sizes, first)
                place += piece.argument - 1
            if operation == PRICE:
                position = read_price(scan, position, end, found, place, 0)
                is_void = piece.argument == UNLESS_0 and prices[place] == 0
            else:
                position = read_size(scan, position, end, found, place, 0)
        else:
            position = read_scalar(buffer, position, end, piece, message, found)
        if position == FAILED:
            return FAILED, min(used, 0), False
        row, position = literals_end(rows, row + 1, buffer, position, end)
    if position == FAILED:
        return FAILED, 0, False
    if head.kind == UNUSED:
        return position, 0, True
    if not is_own:
        message.kind = OTHER_SYMBOL
        message.bid_count = 0
        message.ask_count = 0
        return position, 0, False
    if head.is_other or not _finish_message(message, ts_recv, found):
        return FAILED, 0, False
    if is_void:
        message.bid_count = 0
        message.ask_count = 0
        used = 0
    return position, used, True


@kernel
def _open_envelope(buffer, position, end, has_frames):
    """Returns (receive time or NONE, position of the message, position after the message) of a record.

    The last is FAILED unless a frame gives the length of the message. The position of the message is FAILED if there is none, or
    if it is written in an unusual way.
    """
    if buffer[position] == OPEN or buffer[position] == BRACKET:
        return NONE, position, FAILED
    time, at = receive_time(buffer, position)
    if at == FAILED:
        return NONE, FAILED, FAILED
    if buffer[at] == OPEN or buffer[at] == BRACKET:
        return time, at, FAILED
    if has_frames == 0:
        return NONE, FAILED, FAILED
    # The first line of a frame gives the length of its second.
    length, newline = digits(buffer, at)
    if newline - at > 10 or newline <= at or buffer[at - 2] == COLON:
        return NONE, FAILED, FAILED
    newline += buffer[newline] == RETURN
    is_frame = buffer[newline] == NEWLINE and newline - position <= 32
    if not is_frame or digits_end(buffer, position, end) != at - 1 or newline + 1 + length >= end:
        return NONE, FAILED, FAILED
    return time, newline + 1, newline + 1 + length


@inlined_kernel
def _any_form(forms, position, end, ts_recv, message):
    """As `_match`, for a record of any known form. The form of the previous record is tried first."""
    counts = forms.scan.counts[0]
    last = counts.last_form
    for attempt in range(forms.heads.size + 1):
        form = last if attempt == 0 else attempt - 1
        if attempt > 0 and form == last:
            continue
        after, used, is_own = _match(forms, position, end, ts_recv, forms.heads[form], message)
        if after != FAILED or used < 0:
            counts.last_form = form
            return after, used, is_own
    return FAILED, 0, False


@kernel
def scan_records(forms, start, end, file_offset):
    """Append the records of `buffer[start:end]` to a batch. Returns (why it stopped, position of the first record not consumed).

    `file_offset` is the decoded offset of `buffer[0]` in its file. At least one form must be known. The first record of another
    symbol is left to the reference decoder, which finds out its name.
    """
    scan = forms.scan
    buffer, counts = scan.buffer, scan.counts[0]
    position = start
    while position < end:
        if buffer[position] == NEWLINE:
            position += 1
            continue
        if counts.messages == scan.messages.size:
            return MESSAGES_FULL, position
        message = scan.messages[counts.messages]
        ts_recv, at, frame_end = _open_envelope(buffer, position, end, scan.limits[0].has_frames)
        after, used, is_own = FAILED, 0, False
        if at != FAILED:
            after, used, is_own = _any_form(forms, at, end, ts_recv, message)
        if used < 0:
            return LEVELS_FULL, position
        newline = after
        if after != FAILED and frame_end == FAILED and buffer[after] == RETURN:
            newline += 1
        is_strange = after == FAILED or buffer[newline] != NEWLINE or after - position > scan.limits[0].max_line_bytes
        is_strange = is_strange or (frame_end != FAILED and after != frame_end)
        if is_strange or (not is_own and counts.other_symbol_seen == 0):
            counts.is_known = not is_strange
            return STRANGE if find_newline(buffer, position, end) != FAILED else END, position
        if newline >= end:
            return END, position
        position = newline + 1
        message.end_offset = file_offset + position
        counts.messages += 1
        counts.levels += used
    return END, position
