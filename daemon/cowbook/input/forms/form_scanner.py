"""The fast scanner for records of learned forms: literal bytes with holes of known grammar and meaning between them.

A form is a program with one row for each piece; input/forms/shapes.py makes it. A record of a known form gives the same message
as it would from the reference decoder. Any other record is left to that decoder.

Bounds: every piece begins before `end`. It then reads less than PADDING bytes, or compares its positions with `end` itself.
"""

from __future__ import annotations

from cowbook.input.forms.program import (
    ACTION,
    ANY,
    ASKS,
    BEFORE_DOT,
    BEHIND_COLON,
    BEHIND_UNDERSCORE,
    BIDS,
    CHECKSUM,
    DONE,
    FIRST_ID,
    ISO_TIME,
    LAST_ID,
    LEVELS,
    LITERAL,
    MILLISECONDS_TIME,
    MIXED,
    MORE,
    NAMED,
    ONLY_ID,
    PREV_ID,
    PRICE,
    RISING,
    SCALE,
    SECONDS_TIME,
    SEQUENCE,
    SIDE,
    SIGNED,
    SIZE,
    SYMBOL,
    TEXT,
    TEXT_ID,
    TIME,
    TIME_ID,
    TRADES_ROWS,
    UNLESS_0,
)
from cowbook.input.text.field_scanner import (
    any_end,
    checksum_32,
    digits_end,
    identifier,
    iso_time,
    magnitude_time,
    milliseconds_time,
    plain_number_end,
    seconds_time,
    text_id,
    unsigned,
)
from cowbook.input.text.pair_scanner import MOST_MISSES, note_places, read_pairs
from cowbook.input.text.scanner import (
    END,
    LEVELS_FULL,
    MESSAGES_FULL,
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
    POWERS,
    QUOTE,
    RETURN,
    SPACE,
    WORD_2,
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
from cowbook.plain.messages import HAS_CHECKSUM, NONE, OTHER_SYMBOL, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADE, TRADES

_NEW, _CHANGE, _DELETE = word(b'new"'), word(b'change"'), word(b'delete"')
_MINUS_1 = word(b"-1")
_MINUS, _UNDERSCORE = ord("-"), ord("_")


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
def _price(scan, position, end, found, place, scale):
    """Read a price into `scan.prices[place]`. Returns the position after it, or FAILED."""
    decimals = scan.limits[0].price_decimals
    is_negative = scan.buffer[position] == _MINUS
    price, after, written = _fixed_point(scan.buffer, position + is_negative, end, decimals, scale, found)
    scan.prices[place] = -price if is_negative else price
    found.price_decimals = max(found.price_decimals, written)
    return after


@inlined_kernel
def _size(scan, position, end, found, place, scale):
    """Read a size into `scan.sizes[place]`. Returns the position after it, or FAILED."""
    decimals = scan.limits[0].size_decimals
    scan.sizes[place], after, written = _fixed_point(scan.buffer, position, end, decimals, scale, found)
    found.size_decimals = max(found.size_decimals, written)
    return after


@kernel
def _side(buffer, position, row):
    """Read the name of a side. Returns (position after it, BIDS or ASKS), the position FAILED for any other text."""
    text = load64(buffer, position)
    if text & ((1 << 8 * row.length) - 1) == row.word:
        return position + row.length, BIDS
    if text & ((1 << 8 * row.other_length) - 1) == row.other_word:
        return position + row.other_length, ASKS
    return FAILED, BIDS


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
    """Read a time in the format that `operation` names. Returns (ns since 1970, position after it or FAILED)."""
    if operation == TIME:
        return magnitude_time(buffer, position)
    if operation == ISO_TIME:
        return iso_time(buffer, position)
    if operation == MILLISECONDS_TIME:
        return milliseconds_time(buffer, position)
    return seconds_time(buffer, position)


@kernel
def _action_end(buffer, position, found):
    text = load64(buffer, position)
    found.row_deletes = text & WORD_7 == _DELETE
    if text & WORD_7 == _CHANGE or found.row_deletes:
        return position + 7
    return position + 4 if text & WORD_4 == _NEW else FAILED


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
    row = first_row
    while rows[row].operation != DONE:
        piece = rows[row]
        operation = piece.operation
        if position >= end:
            return FAILED
        if operation == LITERAL:
            position = position + piece.length if load64(buffer, position) & piece.mask == piece.word else FAILED
        elif operation == PRICE:
            position = _price(scan, position, end, found, place, piece.argument & SCALE)
            found.row_is_void = piece.argument & UNLESS_0 != 0 and scan.prices[place] == 0
        elif operation == SIZE:
            is_negative = piece.argument & SIGNED != 0 and buffer[position] == _MINUS
            position = _size(scan, position + is_negative, end, found, place, piece.argument & SCALE)
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
            position, found.row_side = _side(buffer, position, piece)
        elif operation == ACTION:
            position = _action_end(buffer, position, found)
        elif operation == LAST_ID:
            found.row_id, position = identifier(buffer, position)
        elif operation == TEXT_ID:
            found.row_id, position = text_id(buffer, position, end)
        elif operation == SYMBOL:
            after = string_end(buffer, position, end)
            found.own_rows += _is_symbol(buffer, position, after, scan.symbol)
            position = after
        else:
            found.row_time, position = _any_time(buffer, position, operation)
        if position == FAILED:
            return FAILED
        row += 1
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
def _levels(forms, position, end, row, first):
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
    misses = 0 if found.measures == 0 and _are_pairs(forms.rows, row) else MOST_MISSES
    while position < end:
        if misses < MOST_MISSES:
            position, pairs = read_pairs(forms.scan, position, end, _literals(forms.rows, row), first + count)
            count += pairs
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
def _trades(forms, position, end, row, message, first):
    """Read an array of trades. Returns (position after it or FAILED, places used). Places used is -1 if the arrays are full.

    The array is read twice, because the places of times and ids depend on the number of trades.
    """
    prices, sizes, found = forms.scan.prices, forms.scan.sizes, forms.found[0]
    after, count = _levels(forms, position, end, row, first)
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
def _part_sides(message, prices, sizes, first, count):
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
def _first_of(buffer, position, end, byte):
    """Returns the position of the first such byte; `end` if there is none."""
    while position < end and buffer[position] != byte:
        position += 1
    return position


@kernel
def _symbol_end(buffer, position, end, argument):
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
def _scalar(buffer, position, end, row, message, found):
    """Read a hole that is not a literal, symbol, price, size or array. Returns the position after it, or FAILED.

    The value goes to `message` or `found`.
    """
    operation = row.operation
    if operation == ANY:
        return any_end(buffer, position, end)
    if operation == TEXT:
        return _text_end(buffer, position, end)
    if operation == TIME or operation == ISO_TIME or operation == SECONDS_TIME or operation == MILLISECONDS_TIME:
        found.latest, position = _any_time(buffer, position, operation)
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
    row = head.first_row
    while rows[row].operation != DONE:
        piece = rows[row]
        operation = piece.operation
        if position >= end:
            return FAILED, 0, False
        if operation == LITERAL:
            position = position + piece.length if load64(buffer, position) & piece.mask == piece.word else FAILED
        elif operation == LEVELS:
            found.own_rows = 0
            position, count = _levels(forms, position, end, piece.program, first + used)
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
                used = _part_sides(message, prices, sizes, first, used)
        elif operation == TRADES_ROWS:
            position, used = _trades(forms, position, end, piece.program, message, first)
            if piece.argument and position != FAILED:
                is_own = found.own_rows == message.bid_count
                if not is_own and found.own_rows > 0:
                    return FAILED, 0, False  # trades of several symbols
        elif operation == SYMBOL:
            after = _symbol_end(buffer, position, end, piece.argument)
            is_own = _is_symbol(buffer, position, after, scan.symbol)
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
                position = _price(scan, position, end, found, place, 0)
                is_void = piece.argument == UNLESS_0 and prices[place] == 0
            else:
                position = _size(scan, position, end, found, place, 0)
        else:
            position = _scalar(buffer, position, end, piece, message, found)
        if position == FAILED:
            return FAILED, min(used, 0), False
        row += 1
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
        if is_strange or (frame_end != FAILED and after != frame_end) or (not is_own and counts.other_symbol_seen == 0):
            return STRANGE if find_newline(buffer, position, end) != FAILED else END, position
        if newline >= end:
            return END, position
        position = newline + 1
        message.end_offset = file_offset + position
        counts.messages += 1
        counts.levels += used
    return END, position
