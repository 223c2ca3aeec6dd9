"""The fast scanner for records of learned forms: literal bytes, and between them holes of known grammar and meaning.

A form is a program, a row for each piece (input/forms/shapes.py makes them). A record that has one of the forms yields the same
message as from the reference decoder; any other is left to that.

Bounds: as for the other scanners, every piece begins before `end`, and reads less than PADDING bytes or tests for itself.
"""

from __future__ import annotations

from cowbook.input.text.field_scanner import (
    any_end,
    checksum_32,
    digits_end,
    iso_time,
    magnitude_time,
    plain_number_end,
    seconds_time,
    text_id,
    unsigned,
)
from cowbook.input.text.scanner import (
    END,
    LAST_FORM,
    LEVEL_COUNT,
    LEVELS_FULL,
    MAX_LINE_BYTES,
    MESSAGE_COUNT,
    MESSAGES_FULL,
    OTHER_SYMBOL_SEEN,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    STRANGE,
)
from cowbook.input.text.text_scanner import (
    BRACKET,
    BRACKET_END,
    COLON,
    COMMA,
    DOT,
    FAILED,
    NEWLINE,
    NINE,
    OPEN,
    RETURN,
    SPACE,
    WORD_4,
    WORD_7,
    ZERO,
    digits,
    find_newline,
    numeral,
    receive_time,
    string_end,
    word,
)
from cowbook.kernels.intrinsics import load64
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import HAS_CHECKSUM, NONE, OTHER_SYMBOL, SELL_AGGRESSOR, SNAPSHOT, TRADE, TRADES

# Operations: what a piece of a record is. Columns 1 to 4 of a row are its arguments.
DONE = 0
LITERAL = 1  # (bytes as a word, mask, how many): up to eight bytes as they are
ANY = 2  # a string, a number, true, false or null that says nothing
TEXT = 3  # of a string what stands before the next point, and says nothing
SYMBOL = 4  # (whether a dot ends it): the rest of a string
LAST_ID = 5
PREV_ID = 6  # (whether -1 may stand for none)
ONLY_ID = 7  # first and last id
SEQUENCE = 8  # (what is added)
TIME = 9  # an integer of s, ms, µs or ns
ISO_TIME = 10
SECONDS_TIME = 11  # with a fraction
CHECKSUM = 12  # (whether 0 stands for none)
PRICE = 13
SIZE = 14
LEVELS = 15  # (BIDS, ASKS or MIXED, first row of a level's own program or FAILED if only an empty array is known)
SIDE = 16  # (the word for bids or buying, its length, the word for asks or selling, its length): of a level or trade
TRADES_ROWS = 17  # (whether each names its symbol, as LEVELS)
TEXT_ID = 18  # of a trade: the rest of a string, a number or something that is none
ACTION = 19  # of a level
ROW_WORDS = 5

BIDS, ASKS, MIXED = 0, 1, 2

# Columns of `heads`: what all records of a form have in common.
KIND = 0
RULE = 1
FLAGS = 2
DEPTH = 3
SINGLE_SIDE = 4  # BIDS or ASKS: where PRICE and SIZE outside of levels go
IS_OTHER = 5  # learned from another symbol's record: says nothing of our own
MEASURES = 6  # whether it matters how many decimals are written: where checksums are, and in snapshots
CHANNEL = 7
FIRST_ROW = 8
HEAD_WORDS = 9

# Places in `values`; PRICE_DECIMALS and SIZE_DECIMALS are the most that were written.
_LATEST = 2  # time, of all in the record
_MISFIT = 3  # whether a numeral did not fit
_ROW_SIDE = 4  # of the last level or trade, the same two
_ROW_TIME = 5
_ROW_ID = 6
_OWN_ROWS = 7  # trades that named the symbol
_MEASURES = 8  # as in the form
_ROW_DELETES = 9  # the last level was deleted
VALUES = 10

_NEW, _CHANGE, _DELETE = word(b'new"'), word(b'change"'), word(b'delete"')


@inlined_kernel
def _measured_numeral(buffer, position, end, limits, place, values):
    """As `numeral` with `limits[place]`, noting how many decimals were written, and that it does not fit where that is so."""
    value, after = numeral(buffer, position, limits[place])
    if after == FAILED:
        after = plain_number_end(buffer, position, end)
        if after == FAILED:
            return 0, FAILED
        values[_MISFIT] = 1
    if buffer[position] == ZERO and ZERO <= buffer[position + 1] <= NINE:
        return 0, FAILED
    if values[_MEASURES]:
        point = after - 1
        while point > position and buffer[point] != DOT:
            point -= 1
        written = after - 1 - point if buffer[point] == DOT else 0
        values[place] = max(values[place], written)
    return value, after


@kernel
def _side(buffer, position, rows, row):
    """(position after it, BIDS or ASKS) of a word for a side; FAILED for others."""
    text = load64(buffer, position)
    for side in range(2):
        length = rows[row, 2 + 2 * side]
        if text & ((1 << 8 * length) - 1) == rows[row, 1 + 2 * side]:
            return position + length, side
    return FAILED, 0


@kernel
def _is_symbol(buffer, position, end, symbol):
    if end - position != symbol.size:
        return False
    for offset in range(symbol.size):
        if buffer[position + offset] != symbol[offset]:
            return False
    return True


@kernel
def _any_time(buffer, position, operation):
    """(ns since 1970, position after it)."""
    if operation == TIME:
        return magnitude_time(buffer, position)
    if operation == ISO_TIME:
        return iso_time(buffer, position)
    return seconds_time(buffer, position)


@kernel
def _action_end(buffer, position, values):
    text = load64(buffer, position)
    values[_ROW_DELETES] = text & WORD_7 == _DELETE
    if text & WORD_7 == _CHANGE or values[_ROW_DELETES]:
        return position + 7
    return position + 4 if text & WORD_4 == _NEW else FAILED


@inlined_kernel
def _row(buffer, position, end, rows, row, limits, symbol, prices, sizes, place, values):
    """Position after the level or trade at `position`: price and size go to `place`, all else to `values`."""
    values[_ROW_SIDE] = BIDS
    values[_ROW_TIME] = NONE
    values[_ROW_ID] = NONE
    values[_ROW_DELETES] = 0
    while rows[row, 0] != DONE:
        operation = rows[row, 0]
        if position >= end:
            return FAILED
        if operation == LITERAL:
            matches = load64(buffer, position) & rows[row, 2] == rows[row, 1]
            position = position + rows[row, 3] if matches else FAILED
        elif operation == PRICE:
            prices[place], position = _measured_numeral(buffer, position, end, limits, PRICE_DECIMALS, values)
        elif operation == SIZE:
            sizes[place], position = _measured_numeral(buffer, position, end, limits, SIZE_DECIMALS, values)
        elif operation == ANY:
            position = any_end(buffer, position, end)
        elif operation == SIDE:
            position, values[_ROW_SIDE] = _side(buffer, position, rows, row)
        elif operation == ACTION:
            position = _action_end(buffer, position, values)
        elif operation == LAST_ID:
            values[_ROW_ID], position = unsigned(buffer, position)
        elif operation == TEXT_ID:
            values[_ROW_ID], position = text_id(buffer, position, end)
        elif operation == SYMBOL:
            after = string_end(buffer, position, end)
            values[_OWN_ROWS] += _is_symbol(buffer, position, after, symbol)
            position = after
        else:
            values[_ROW_TIME], position = _any_time(buffer, position, operation)
        if position == FAILED:
            return FAILED
        row += 1
    values[_LATEST] = max(values[_LATEST], values[_ROW_TIME])
    return position


@kernel
def _next_row(buffer, position):
    """Where the next row begins, behind a bracket, or behind a comma with or without a space."""
    return position + 1 + (buffer[position] == COMMA and buffer[position + 1] == SPACE)


@kernel
def _levels(buffer, position, end, rows, row, limits, symbol, prices, sizes, first, values):
    """Read an array of levels: (position after it, how many); how many is -1 when the arrays are full.

    Where a level says that it is an ask, its size is stored as `~size`.
    """
    if buffer[position] != BRACKET:
        return FAILED, 0
    if buffer[position + 1] == BRACKET_END:
        return position + 2, 0
    if row == FAILED:
        return FAILED, 0
    count = 0
    while position < end:
        if first + count == prices.size:
            return FAILED, -1
        position = _next_row(buffer, position)
        position = _row(buffer, position, end, rows, row, limits, symbol, prices, sizes, first + count, values)
        if position == FAILED:
            return FAILED, 0
        if values[_ROW_SIDE] == ASKS:
            sizes[first + count] = ~sizes[first + count]
        if values[_ROW_DELETES] and sizes[first + count] != 0:
            return FAILED, 0
        count += 1
        if buffer[position] == BRACKET_END:
            return position + 1, count
        if buffer[position] != COMMA:
            return FAILED, 0
    return FAILED, 0


@inlined_kernel
def _trades(buffer, position, end, rows, row, limits, symbol, message, prices, sizes, first, values):
    """Read an array of trades: (position after it, places used); used is -1 when the arrays are full.

    It is read twice: where times and ids go depends on how many trades there are.
    """
    after, count = _levels(buffer, position, end, rows, row, limits, symbol, prices, sizes, first, values)
    if after == FAILED or count == 0:
        return FAILED, min(count, 0)
    if first + 3 * count > prices.size:
        return FAILED, -1
    values[_OWN_ROWS] = 0
    for trade in range(first, first + count):
        position = _next_row(buffer, position)
        position = _row(buffer, position, end, rows, row, limits, symbol, prices, sizes, trade, values)
        prices[trade + count] = values[_ROW_TIME]
        sizes[trade + count] = SELL_AGGRESSOR if values[_ROW_SIDE] == ASKS else 0
        prices[trade + 2 * count] = values[_ROW_ID]
        sizes[trade + 2 * count] = 0
    message.last_id = values[_ROW_ID]
    message.bid_start, message.bid_count = first, count
    if count == 1:
        message.kind = TRADE
        message.flags = sizes[first + 1]
        return after, 1
    message.kind = TRADES
    message.ask_start, message.ask_count = first + count, 2 * count
    return after, 3 * count


@kernel
def _part_sides(message, prices, sizes, first, count):
    """Put the asks of mixed levels behind all of them, in order, and draw the bids together: how many places are used."""
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


@kernel
def _place(message, side, start, count):
    if side == BIDS:
        message.bid_start, message.bid_count = start, count
    else:
        message.ask_start, message.ask_count = start, count


@kernel
def _first_dot(buffer, position, end):
    """Position of the first point, `end` without one."""
    while position < end and buffer[position] != DOT:
        position += 1
    return position


@kernel
def _symbol_end(buffer, position, end, without_dots):
    after = string_end(buffer, position, end)
    return FAILED if without_dots and _first_dot(buffer, position, after) < after else after


@kernel
def _text_end(buffer, position, end):
    after = string_end(buffer, position, end)
    point = _first_dot(buffer, position, after)
    return point if point < after else FAILED


@kernel
def _scalar(buffer, position, end, rows, row, message, values):
    """Position after a hole that is neither literal, symbol, numeral nor levels; what it says goes to `message` and `values`."""
    operation = rows[row, 0]
    if operation == ANY:
        return any_end(buffer, position, end)
    if operation == TEXT:
        return _text_end(buffer, position, end)
    if operation == TIME or operation == ISO_TIME or operation == SECONDS_TIME:
        values[_LATEST], position = _any_time(buffer, position, operation)
    elif operation == CHECKSUM:
        checksum, position = checksum_32(buffer, position)
        if checksum != 0 or rows[row, 1] == 0:
            message.flags |= HAS_CHECKSUM
            message.checksum = checksum & 0xFFFFFFFF
    elif operation == PREV_ID and rows[row, 1] != 0 and load64(buffer, position) & 0xFFFF == 0x312D:
        message.prev_id = -1
        position += 2
    else:
        number, position = unsigned(buffer, position)
        if operation == PREV_ID:
            message.prev_id = number
        elif operation == SEQUENCE:
            message.sequence = number + rows[row, 1]
        else:
            message.last_id = number
            if operation == ONLY_ID:
                message.first_id = number
    return position


@kernel
def _start_message(message, head, values):
    message.kind = head[KIND]
    message.rule = head[RULE]
    message.flags = head[FLAGS]
    message.depth = head[DEPTH]
    message.channel = head[CHANNEL]
    message.first_id = NONE
    message.last_id = NONE
    message.prev_id = NONE
    message.bid_count = 0
    message.ask_count = 0
    message.checksum = 0
    message.price_decimals = 0
    message.size_decimals = 0
    message.sequence = 0
    values[_LATEST] = NONE
    values[PRICE_DECIMALS] = 0
    values[SIZE_DECIMALS] = 0
    values[_MISFIT] = 0
    values[_MEASURES] = head[MEASURES]


@kernel
def _finish_message(message, ts_recv, values):
    """Set what the whole record decides; whether all that it needs is there."""
    message.ts_recv = ts_recv
    message.ts_event = values[_LATEST]
    if message.ts_event == NONE and message.kind != SNAPSHOT:
        message.ts_event = ts_recv
        if ts_recv == NONE:
            return False
    if message.flags & HAS_CHECKSUM or message.kind == SNAPSHOT:
        message.price_decimals = values[PRICE_DECIMALS]
        message.size_decimals = values[SIZE_DECIMALS]
    return values[_MISFIT] == 0


@inlined_kernel
def _match(buffer, position, end, ts_recv, rows, head, limits, symbol, message, prices, sizes, first, values):
    """Read a record of one form: (position after it, levels used, whether it is the symbol's).

    The position is FAILED where it has another form; levels used is -1 when the arrays may be too small.
    """
    _start_message(message, head, values)
    is_own = True
    used = 0
    row = head[FIRST_ROW]
    while rows[row, 0] != DONE:
        operation = rows[row, 0]
        if position >= end:
            return FAILED, 0, False
        if operation == LITERAL:
            matches = load64(buffer, position) & rows[row, 2] == rows[row, 1]
            position = position + rows[row, 3] if matches else FAILED
        elif operation == LEVELS:
            side = rows[row, 1]
            position, count = _levels(
                buffer, position, end, rows, rows[row, 2], limits, symbol, prices, sizes, first + used, values
            )
            if count < 0 or (side == MIXED and first + used + 2 * count > prices.size):
                return FAILED, -1, False
            if side == MIXED:
                used += _part_sides(message, prices, sizes, first + used, count)
            else:
                _place(message, side, first + used, count)
                used += count
        elif operation == TRADES_ROWS:
            position, used = _trades(
                buffer, position, end, rows, rows[row, 2], limits, symbol, message, prices, sizes, first, values
            )
            if rows[row, 1] and position != FAILED:
                is_own = values[_OWN_ROWS] == message.bid_count
                if not is_own and values[_OWN_ROWS] > 0:
                    return FAILED, 0, False  # trades of several symbols
        elif operation == SYMBOL:
            after = _symbol_end(buffer, position, end, rows[row, 1])
            is_own = _is_symbol(buffer, position, after, symbol)
            position = after
        elif operation == PRICE or operation == SIZE:
            if first == prices.size:
                return FAILED, -1, False
            used = 1
            _place(message, head[SINGLE_SIDE], first, 1)
            numbers = prices if operation == PRICE else sizes
            numbers[first], position = _measured_numeral(buffer, position, end, limits, operation - PRICE, values)
        else:
            position = _scalar(buffer, position, end, rows, row, message, values)
        if position == FAILED:
            return FAILED, min(used, 0), False
        row += 1
    if not is_own:
        message.kind = OTHER_SYMBOL
        message.bid_count = 0
        message.ask_count = 0
        return position, 0, False
    if head[IS_OTHER] or not _finish_message(message, ts_recv, values):
        return FAILED, 0, False
    return position, used, True


@kernel
def _open_envelope(buffer, position, end):
    """(receive time or NONE, position of the message, position after it or FAILED where nothing says it) of a record.

    The position of the message is FAILED for what is no message, or an odd one.
    """
    if buffer[position] == OPEN or buffer[position] == BRACKET:
        return NONE, position, FAILED
    time, at = receive_time(buffer, position)
    if at == FAILED:
        return NONE, FAILED, FAILED
    if buffer[at] == OPEN or buffer[at] == BRACKET:
        return time, at, FAILED
    # A frame says in its first line how long its second is.
    length, newline = digits(buffer, at)
    if newline - at > 10 or newline <= at or buffer[at - 2] == COLON:
        return NONE, FAILED, FAILED
    newline += buffer[newline] == RETURN
    is_frame = buffer[newline] == NEWLINE and newline - position <= 32
    if not is_frame or digits_end(buffer, position, end) != at - 1 or newline + 1 + length >= end:
        return NONE, FAILED, FAILED
    return time, newline + 1, newline + 1 + length


@inlined_kernel
def _any_form(buffer, position, end, ts_recv, rows, heads, limits, symbol, message, prices, sizes, counts, values):
    """Read a record of any form, trying the one of the record before first; as `_match`."""
    last = counts[LAST_FORM]
    for attempt in range(heads.shape[0] + 1):
        form = last if attempt == 0 else attempt - 1
        if attempt > 0 and form == last:
            continue
        after, used, is_own = _match(
            buffer,
            position,
            end,
            ts_recv,
            rows,
            heads[form],
            limits,
            symbol,
            message,
            prices,
            sizes,
            counts[LEVEL_COUNT],
            values,
        )
        if after != FAILED or used < 0:
            counts[LAST_FORM] = form
            return after, used, is_own
    return FAILED, 0, False


@kernel
def scan(buffer, start, end, file_offset, limits, symbol, rows, heads, messages, prices, sizes, counts, values):
    """Append the records of `buffer[start:end]` to a batch: (why it stopped, position of the first record not consumed).

    `file_offset` is the decoded offset of `buffer[0]` in its file, `symbol` the name that records must give as uint8,
    `limits`, `counts` and `values` int64 arrays of LIMITS, COUNTS (cowbook.input.text.scanner) and VALUES places, `rows` and
    `heads` the forms, at least one, as int64 arrays of ROW_WORDS and HEAD_WORDS columns. The first record of another symbol is
    left to the reference decoder, so that a person can be told its name.
    """
    position = start
    while position < end:
        if buffer[position] == NEWLINE:
            position += 1
            continue
        if counts[MESSAGE_COUNT] == messages.size:
            return MESSAGES_FULL, position
        message = messages[counts[MESSAGE_COUNT]]
        ts_recv, at, frame_end = _open_envelope(buffer, position, end)
        after, used, is_own = FAILED, 0, False
        if at != FAILED:
            after, used, is_own = _any_form(
                buffer, at, end, ts_recv, rows, heads, limits, symbol, message, prices, sizes, counts, values
            )
        if used < 0:
            return LEVELS_FULL, position
        newline = after
        if after != FAILED and frame_end == FAILED and buffer[after] == RETURN:
            newline += 1
        is_strange = after == FAILED or buffer[newline] != NEWLINE or after - position > limits[MAX_LINE_BYTES]
        if is_strange or (frame_end != FAILED and after != frame_end) or (not is_own and counts[OTHER_SYMBOL_SEEN] == 0):
            return STRANGE if find_newline(buffer, position, end) != FAILED else END, position
        if newline >= end:
            return END, position
        position = newline + 1
        message.end_offset = file_offset + position
        counts[MESSAGE_COUNT] += 1
        counts[LEVEL_COUNT] += used
    return END, position
