"""The fast scanner for Binance's records. It decodes only the grammar that it can prove, at about a nanosecond per byte.

Records that it does not recognise go to the reference decoder, which alone decides what is wrong with a record. A record that
it does recognise gives the same message as there (docs/rules.md, section 1); property tests hold the two equal.

Bounds: every loop checks its position against `end`, and fewer than `PADDING` bytes are read between two checks. Bytes from
`end` on may be stale, so a record counts only if its newline is before `end`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.pair_scanner import MOST_MISSES, note_places, read_pairs
from cowbook.input.text.scanner import (
    END,
    LEVELS_FULL,
    MESSAGES_FULL,
    STRANGE,
    RecordScanner,
)
from cowbook.input.text.text_scanner import (
    BRACKET,
    BRACKET_END,
    CLOSE,
    COMMA,
    FAILED,
    NEWLINE,
    OPEN,
    QUOTE,
    RETURN,
    WORD_2,
    WORD_3,
    WORD_4,
    WORD_5,
    WORD_6,
    WORD_7,
    find_newline,
    integer,
    nanoseconds,
    numeral,
    receive_time,
    signed_numeral,
    string_end,
    word,
)
from cowbook.input.verdict import Decoded
from cowbook.kernels.intrinsics import load64
from cowbook.kernels.jit import entry_of, inlined_kernel, kernel
from cowbook.plain.block import Block
from cowbook.plain.messages import (
    DIFF,
    FUTURES,
    IS_AGGREGATE,
    IS_UNLABELLED,
    NONE,
    OTHER_SYMBOL,
    RPI,
    SELL_AGGRESSOR,
    SNAPSHOT,
    SPOT,
    TICKER,
    TRADE,
    EventBatch,
)
from cowbook.plain.schemes import RANGE, RANGE_WITH_PREVIOUS

_SCRATCH_WORDS = 64

_LETTER_E = ord("e")
_T = ord("t")
_F = ord("f")
_STREAM_1, _STREAM_2 = word(b'{"stream'), word(b'":"')
_DATA = word(b',"data":')
_LEVEL_START = word(b'["')
_LEVEL_MIDDLE = word(b'","')
_LEVEL_END = word(b'"]')
_PAIR = (_LEVEL_START, _LEVEL_MIDDLE, _LEVEL_END, WORD_2, WORD_3, WORD_2, 2, 3, 2)
_TRUE, _FALSE = word(b"true"), word(b"alse")
_KIND_DEPTH_1, _KIND_DEPTH_2 = word(b"depthUpd"), word(b'ate"')
_KIND_TRADE = word(b'trade"')
_KIND_AGG_1, _KIND_AGG_2 = word(b"aggTrade"), word(b'"')
_KIND_TICKER_1, _KIND_TICKER_2 = word(b"bookTick"), word(b'er"')
_TICKER_1, _TICKER_2, _TICKER_3 = word(b'{"e":"bo'), word(b"okTicker"), word(b'",')
_TICKER_ID = word(b'"u":')
_TICKER_SYMBOL = word(b',"s":"')
_TICKER_KEYS = tuple(word(f'","{key}":"'.encode()) for key in "bBaA")
_TICKER_TIME_1, _TICKER_TIME_2 = word(b'","T":'), word(b',"E":')
_AT = ord("@")
_AT_DEPTH = word(b"@depth")
_DEPTH_100, _DEPTH_500, _DEPTH_250 = word(b"@100ms"), word(b"@500ms"), word(b"@250ms")
_FIVE = ord("5")
_TEN, _TWENTY = word(b"10"), word(b"20")
_RPI_1, _RPI_2 = word(b"@rpiDept"), ord("h")
_LOWER_A, _LOWER_Z = ord("a"), ord("z")
_TO_UPPER = ord("a") - ord("A")
_KEY_PU, _KEY_PS = word(b'"pu":'), word(b'"ps":')
_KEY_BIDS, _KEY_ASKS = word(b'"bids":'), word(b'"asks":')
_KEY_ID_1, _KEY_ID_2 = word(b'"lastUpd'), word(b'ateId":')


def _bit(key: str) -> int:
    return 1 << (ord(key) - 64)


# Most keys are one letter: key `c` has bit and place `ord(c) - 64`. Longer keys have places that no letter has.
_PLACE_PU = 60
_PLACE_ID = 61
_PLACE_PS = 62
_PLACE_BIDS = 27
_PLACE_ASKS = 28
_BIT_PU, _BIT_ID = 1 << _PLACE_PU, 1 << _PLACE_ID
_E_LOWER, _E, _T_UPPER, _S = ord("e") - 64, ord("E") - 64, ord("T") - 64, ord("s") - 64
_U_UPPER, _U, _B_UPPER, _B, _A_UPPER, _A = (ord(c) - 64 for c in "UuBbAa")
_TRADE_ID, _P, _Q, _M = (ord(c) - 64 for c in "tpqm")
_BIT_E_LOWER, _BIT_E, _BIT_T, _BIT_S = _bit("e"), _bit("E"), _bit("T"), _bit("s")
_DIFF_INTS = _bit("U") | _bit("u") | _bit("E")
_DIFF_ARRAYS = _bit("b") | _bit("a")
_SNAPSHOT_ARRAYS = 1 << _PLACE_BIDS | 1 << _PLACE_ASKS
_TICKER_STRINGS = _bit("b") | _bit("B") | _bit("a") | _bit("A")
_TRADE_STRINGS = _bit("p") | _bit("q")
_BIT_X, _BIT_M_UPPER = _bit("X"), _bit("M")


@inlined_kernel
def _levels(scan, position, end, first):
    """Read `[["price","size"],...]`. Returns (position after it, number of levels).

    The position is FAILED if it is something else. The number is -1 if the arrays are full.
    """
    buffer, prices, sizes = scan.buffer, scan.prices, scan.sizes
    price_decimals, size_decimals = scan.limits[0].price_decimals, scan.limits[0].size_decimals
    if buffer[position + 1] == BRACKET_END:
        return position + 2, 0
    count = first
    misses = 0
    while position < end:
        if misses < MOST_MISSES:
            position, pairs = read_pairs(scan, position, end, _PAIR, count)
            count += pairs
            if pairs > 0 and buffer[position] == BRACKET_END:
                return position + 1, count - first
            if position >= end:
                break
        start = position + 1
        if load64(buffer, start) & WORD_2 != _LEVEL_START:
            return FAILED, 0
        price, position = signed_numeral(buffer, start + 2, price_decimals)
        if position == FAILED or load64(buffer, position) & WORD_3 != _LEVEL_MIDDLE:
            return FAILED, 0
        size, position = numeral(buffer, position + 3, size_decimals)
        if position == FAILED or load64(buffer, position) & WORD_2 != _LEVEL_END:
            return FAILED, 0
        if count == prices.size:
            return FAILED, -1
        prices[count] = price
        sizes[count] = size
        count += 1
        position += 2
        if misses < MOST_MISSES:
            misses += 1
            note_places(scan, start, _PAIR)
        byte = buffer[position]
        if byte == BRACKET_END:
            return position + 1, count - first
        if byte != COMMA:
            return FAILED, 0
    return FAILED, 0


@kernel
def _key(buffer, position):
    """Returns (place, position of its value) for the key at `position`. Place is FAILED for a key that Binance never sends."""
    word = load64(buffer, position)
    if word & 0xFFFF00FF == 0x3A220022:  # "?":
        place = ((word >> 8) & 0xFF) - 64
        if 0 < place < 27 or 32 < place < 59:
            return place, position + 4
        return FAILED, position
    if word & WORD_5 == _KEY_PU:
        return _PLACE_PU, position + 5
    if word & WORD_5 == _KEY_PS:
        return _PLACE_PS, position + 5
    if word & WORD_7 == _KEY_BIDS:
        return _PLACE_BIDS, position + 7
    if word & WORD_7 == _KEY_ASKS:
        return _PLACE_ASKS, position + 7
    if word == _KEY_ID_1 and load64(buffer, position + 8) & WORD_7 == _KEY_ID_2:
        return _PLACE_ID, position + 15
    return FAILED, position


@inlined_kernel
def _object(scan, position, end, message, first_level, values):
    """Read a flat object into `values`. Returns (position after it, integers, strings, booleans, arrays, number of levels).

    The four results in the middle are bitmaps of the places that hold values of such a type. `values[place]` is the integer, the
    position of the string's first character, or the boolean. Levels are stored from `first_level` on, and `message` is told where
    they are. The position is FAILED if the object is not of the known grammar. The number of levels is -1 if the arrays are full.
    """
    buffer = scan.buffer
    integers = 0
    strings = 0
    booleans = 0
    arrays = 0
    level_count = 0
    while position < end:
        place, value_at = _key(buffer, position + 1)
        if place == FAILED:
            break
        bit = 1 << place
        if (integers | strings | booleans | arrays) & bit != 0:
            break  # a repeated key
        byte = buffer[value_at]
        if byte == QUOTE:
            strings |= bit
            values[place] = value_at + 1
            position = string_end(buffer, value_at + 1, end) + 1
            if position == FAILED + 1:
                break
        elif byte == BRACKET:
            is_bids = place == _B or place == _PLACE_BIDS
            if not is_bids and place != _A and place != _PLACE_ASKS:
                break
            if arrays & (_DIFF_ARRAYS if bit & _SNAPSHOT_ARRAYS else _SNAPSHOT_ARRAYS) != 0:
                break  # levels under both spellings
            arrays |= bit
            start = first_level + level_count
            position, count = _levels(scan, value_at, end, start)
            if position == FAILED:
                return FAILED, 0, 0, 0, 0, min(count, 0)
            if is_bids:
                message.bid_start = start
                message.bid_count = count
            else:
                message.ask_start = start
                message.ask_count = count
            level_count += count
        elif byte == _T and load64(buffer, value_at) & WORD_4 == _TRUE:
            booleans |= bit
            values[place] = 1
            position = value_at + 4
        elif byte == _F and load64(buffer, value_at + 1) & WORD_4 == _FALSE:
            booleans |= bit
            values[place] = 0
            position = value_at + 5
        else:
            integers |= bit
            values[place], position = integer(buffer, value_at)
            if position == FAILED:
                break
        if buffer[position] == CLOSE:
            return position + 1, integers, strings, booleans, arrays, level_count
        if buffer[position] != COMMA:
            break
    return FAILED, 0, 0, 0, 0, 0


@kernel
def _is_symbol(buffer, position, symbol):
    """Returns whether the string at `position` is the symbol."""
    for offset in range(symbol.size):
        if buffer[position + offset] != symbol[offset]:
            return False
    return buffer[position + symbol.size] == QUOTE


@kernel
def _quote_level(scan, values, price_place, size_place, level):
    """Store the price and size in two strings as a level. Returns whether they are numerals that fit."""
    buffer, limits = scan.buffer, scan.limits[0]
    price, price_end = signed_numeral(buffer, values[price_place], limits.price_decimals)
    size, size_end = numeral(buffer, values[size_place], limits.size_decimals)
    if price_end == FAILED or size_end == FAILED or buffer[price_end] != QUOTE or buffer[size_end] != QUOTE:
        return False
    scan.prices[level] = price
    scan.sizes[level] = size
    return True


@kernel
def _event_time(message, integers, strings, booleans, arrays, values):
    """Set the event time, T in preference to E. Returns whether those that are present are times."""
    message.ts_event = NONE
    if integers & _BIT_E != 0:
        message.ts_event = nanoseconds(values[_E])
        if message.ts_event == FAILED:
            return False
    if integers & _BIT_T != 0:
        message.ts_event = nanoseconds(values[_T_UPPER])
    return message.ts_event != FAILED and (strings | booleans | arrays) & (_BIT_E | _BIT_T) == 0


@kernel
def _event_kind(buffer, position):
    """Returns (kind, is_aggregate) of a record by its `"e"`; (FAILED, 0) for a kind that is not used."""
    word = load64(buffer, position)
    if word == _KIND_DEPTH_1 and load64(buffer, position + 8) & WORD_4 == _KIND_DEPTH_2:
        return DIFF, 0
    if word & WORD_6 == _KIND_TRADE:
        return TRADE, 0
    if word == _KIND_AGG_1 and buffer[position + 8] == QUOTE:
        return TRADE, IS_AGGREGATE
    if word == _KIND_TICKER_1 and load64(buffer, position + 8) & WORD_3 == _KIND_TICKER_2:
        return TICKER, 0
    return FAILED, 0


@kernel
def _fill_diff(message, integers, strings, booleans, arrays, values):
    if integers & _DIFF_INTS != _DIFF_INTS or arrays & _DIFF_ARRAYS != _DIFF_ARRAYS:
        return False
    if (strings | booleans) & _BIT_PU != 0:
        return False
    message.first_id = values[_U_UPPER]
    message.last_id = values[_U]
    message.rule = RANGE_WITH_PREVIOUS if integers & _BIT_PU else RANGE
    message.prev_id = values[_PLACE_PU] if integers & _BIT_PU else NONE
    message.market = FUTURES if integers & _BIT_PU else SPOT
    return True


@kernel
def _set_snapshot(message, last_id, market):
    message.kind = SNAPSHOT
    message.last_id = last_id
    message.rule = RANGE
    message.first_id = NONE
    message.prev_id = NONE
    message.market = market


@kernel
def _fill_trade(scan, message, integers, strings, booleans, values, level, aggregate):
    id_place = _A if aggregate else _TRADE_ID
    if integers & (1 << id_place) == 0 or integers & _BIT_E == 0:
        return False
    if strings & _TRADE_STRINGS != _TRADE_STRINGS or booleans & (1 << _M) == 0:
        return False
    message.last_id = values[id_place]
    message.flags = aggregate | (SELL_AGGRESSOR if values[_M] else 0)
    present = integers | strings | booleans
    message.market = FUTURES if present & _BIT_X else SPOT if present & _BIT_M_UPPER else 0
    message.bid_start = level
    message.bid_count = 1
    message.ask_count = 0  # a trade may carry levels under a key that does not belong to it
    return _quote_level(scan, values, _P, _Q, level)


@kernel
def _place_quote(message, level):
    """Set a ticker's bid and ask to the two levels from `level` on."""
    message.bid_start = level
    message.bid_count = 1
    message.ask_start = level + 1
    message.ask_count = 1


@kernel
def _fill_ticker(scan, message, integers, strings, values, level):
    if integers & (1 << _U) == 0 or strings & _TICKER_STRINGS != _TICKER_STRINGS:
        return False
    message.last_id = values[_U]
    _place_quote(message, level)
    return _quote_level(scan, values, _B, _B_UPPER, level) and _quote_level(scan, values, _A, _A_UPPER, level + 1)


@inlined_kernel
def _usual_ticker(scan, position, message, level):
    """Read a bookTicker of this symbol whose keys are in Binance's usual order. Returns the position after it, or FAILED.

    Most records of a capture are such tickers, and `_object`, which reads any, takes twice as long.
    """
    buffer, symbol, limits = scan.buffer, scan.symbol, scan.limits[0]
    if load64(buffer, position) == _TICKER_1:
        if load64(buffer, position + 8) != _TICKER_2 or load64(buffer, position + 16) & WORD_2 != _TICKER_3:
            return FAILED
        position += 18
    else:
        position += 1
    if load64(buffer, position) & WORD_4 != _TICKER_ID:
        return FAILED
    message.last_id, position = integer(buffer, position + 4)
    if position == FAILED or load64(buffer, position) & WORD_6 != _TICKER_SYMBOL:
        return FAILED
    if not _is_symbol(buffer, position + 6, symbol):
        return FAILED
    position += 6 + symbol.size
    for place in range(2):
        if load64(buffer, position) & WORD_7 != _TICKER_KEYS[2 * place]:
            return FAILED
        scan.prices[level + place], position = signed_numeral(buffer, position + 7, limits.price_decimals)
        if position == FAILED or load64(buffer, position) & WORD_7 != _TICKER_KEYS[2 * place + 1]:
            return FAILED
        scan.sizes[level + place], position = numeral(buffer, position + 7, limits.size_decimals)
        if position == FAILED:
            return FAILED
    if load64(buffer, position) & WORD_6 == _TICKER_TIME_1:
        _, position = integer(buffer, position + 6)
        if position == FAILED or load64(buffer, position) & WORD_5 != _TICKER_TIME_2:
            return FAILED
        _, position = integer(buffer, position + 5)
        return position + 1 if position != FAILED and buffer[position] == CLOSE else FAILED
    return position + 2 if buffer[position] == QUOTE and buffer[position + 1] == CLOSE else FAILED


@kernel
def _find_at(buffer, position):
    """Returns the position of the first `@` in a stream's name, and that of the quote behind the name if it has none."""
    while buffer[position] != _AT and buffer[position] != QUOTE:
        position += 1
    return position


@kernel
def _is_stream_of(buffer, stream, at, symbol):
    """Returns whether what stands before the `@` of a stream's name is the symbol, if it is put in upper case."""
    if at - stream != symbol.size:
        return False
    for offset in range(symbol.size):
        byte = buffer[stream + offset]
        if byte >= _LOWER_A and byte <= _LOWER_Z:
            byte -= _TO_UPPER
        if byte != symbol[offset]:
            return False
    return True


@kernel
def _speed_of(buffer, at):
    """Returns the number of the speed that a stream's name says, 0 if it says none. `at` is as from `_find_at`."""
    if load64(buffer, at) & WORD_6 != _AT_DEPTH:
        return 0
    if buffer[at + 6] == QUOTE:
        return 1
    interval = load64(buffer, at + 6) & WORD_6
    if buffer[at + 12] != QUOTE:
        return 0
    return 2 if interval == _DEPTH_100 else 3 if interval == _DEPTH_500 else 4 if interval == _DEPTH_250 else 0


@kernel
def _has_number_of_levels(buffer, position):
    """Returns whether the name of a stream says that it repeats the best levels, and has no changes."""
    while buffer[position] != QUOTE:
        if load64(buffer, position) & WORD_6 == _AT_DEPTH:
            number = load64(buffer, position + 6) & WORD_2
            if number & 0xFF == _FIVE or number == _TEN or number == _TWENTY:
                return True
        position += 1
    return False


@kernel
def _has_rpi(buffer, position):
    """Returns whether the name of a stream is that of the `rpiDepth` book."""
    while buffer[position] != QUOTE:
        if load64(buffer, position) == _RPI_1 and buffer[position + 8] == _RPI_2:
            return True
        position += 1
    return False


@kernel
def _fill_stream(buffer, stream, message):
    """Set what the stream's name says of a diff."""
    at = _find_at(buffer, stream)
    message.speed = _speed_of(buffer, at)
    if message.speed != 0:
        return  # the whole name is known
    if _has_number_of_levels(buffer, at):
        _set_snapshot(message, message.last_id, FUTURES)
    elif _has_rpi(buffer, at):
        message.market = RPI


@inlined_kernel
def _record(scan, position, end, message, values):
    """Read the record at `position`. Returns (position of its line's end, levels used, whether it is of this symbol).

    The position is FAILED for a record that the scanner does not know. Levels used is -1 if the arrays may be too small.
    """
    buffer, first_level = scan.buffer, scan.counts[0].levels
    ts_recv = NONE
    if buffer[position] != OPEN:
        ts_recv, position = receive_time(buffer, position)
        if position == FAILED or buffer[position] != OPEN:
            return FAILED, 0, False
    stream = position
    wrapped = load64(buffer, position) == _STREAM_1
    if wrapped:
        if load64(buffer, position + 8) & WORD_3 != _STREAM_2:
            return FAILED, 0, False
        stream = position + 11
        position = string_end(buffer, stream, end)
        if position == FAILED or load64(buffer, position + 1) != _DATA:
            return FAILED, 0, False
        position += 9
    if buffer[position] != OPEN:
        return FAILED, 0, False
    message.ts_recv = ts_recv
    message.flags = 0
    message.speed = 0
    if first_level + 2 > scan.prices.size:
        return FAILED, -1, False
    after = _usual_ticker(scan, position, message, first_level)
    if after != FAILED and (not wrapped or buffer[after] == CLOSE):
        message.kind = TICKER
        message.ts_event = NONE
        message.market = FUTURES if buffer[position + 2] == _LETTER_E else SPOT
        _place_quote(message, first_level)
        return after + wrapped, 2, True
    message.market = 0
    message.bid_count = 0
    message.ask_count = 0
    position, integers, strings, booleans, arrays, level_count = _object(scan, position, end, message, first_level, values)
    if position == FAILED:
        return FAILED, level_count, False
    if wrapped:
        if buffer[position] != CLOSE:
            return FAILED, 0, False
        position += 1
    if strings & _BIT_E_LOWER != 0:
        kind, aggregate = _event_kind(buffer, values[_E_LOWER])
    elif integers & _BIT_ID != 0 and strings == 0:
        kind, aggregate = SNAPSHOT, 0
    else:
        kind, aggregate = TICKER, 0
    if (integers | booleans | arrays) & _BIT_E_LOWER != 0:
        return FAILED, 0, False
    if kind == SNAPSHOT:
        if arrays != _SNAPSHOT_ARRAYS or booleans != 0 or integers & ~(_BIT_ID | _BIT_E | _BIT_T) != 0:
            return FAILED, 0, False
        at = _find_at(buffer, stream) if wrapped else stream
        if buffer[at] != _AT:
            message.flags = IS_UNLABELLED
        elif not _is_stream_of(buffer, stream, at, scan.symbol):
            message.kind = OTHER_SYMBOL
            return position, 0, False
    else:
        if strings & _BIT_S == 0:
            return FAILED, 0, False
        if kind != FAILED and not _is_symbol(buffer, values[_S], scan.symbol):
            # Without "e" it is of a known kind only if it is a whole ticker.
            message.kind = OTHER_SYMBOL
            is_known = strings & _BIT_E_LOWER != 0 or _fill_ticker(scan, message, integers, strings, values, first_level)
            return position if is_known else FAILED, 0, False
    message.kind = kind
    known = False
    if kind == TICKER:
        message.ts_event = NONE
        message.market = FUTURES if strings & _BIT_E_LOWER else SPOT
        known = _fill_ticker(scan, message, integers, strings, values, first_level)
        return position if known else FAILED, 2, True
    if not _event_time(message, integers, strings, booleans, arrays, values):
        return FAILED, 0, False
    if kind == DIFF:
        known = _fill_diff(message, integers, strings, booleans, arrays, values)
        if wrapped:
            _fill_stream(buffer, stream, message)
    elif kind == TRADE:
        level_count = 1
        known = _fill_trade(scan, message, integers, strings, booleans, values, first_level, aggregate)
    elif kind == SNAPSHOT:
        _set_snapshot(message, values[_PLACE_ID], FUTURES if integers & (_BIT_E | _BIT_T) else SPOT)
        known = True
    return position if known else FAILED, level_count, True


@kernel
def scan_records(scan, start, end, file_offset, values):
    """Append the records of `scan.buffer[start:end]` to a batch. Returns (why it stopped, first position not consumed).

    `file_offset` is the decoded offset of `buffer[0]` in its file, and `values` an int64 array of 64 slots. The first records of
    other symbols are left to the reference decoder, so that the user can be told their names.
    """
    buffer, counts = scan.buffer, scan.counts[0]
    position = start
    while position < end:
        if buffer[position] == NEWLINE:
            position += 1
            continue
        if counts.messages == scan.messages.size:
            return MESSAGES_FULL, position
        message = scan.messages[counts.messages]
        after, level_count, is_own = _record(scan, position, end, message, values)
        if level_count < 0:
            return LEVELS_FULL, position
        newline = after + 1 if after != FAILED and buffer[after] == RETURN else after
        is_strange = after == FAILED or buffer[newline] != NEWLINE or after - position > scan.limits[0].max_line_bytes
        if is_strange or (not is_own and counts.other_symbol_seen == 0):
            return STRANGE if find_newline(buffer, position, end) != FAILED else END, position
        if newline >= end:
            return END, position
        position = newline + 1
        message.end_offset = file_offset + position
        counts.messages += 1
        counts.levels += level_count
    return END, position


class BinanceScanner(RecordScanner):
    """Decodes Binance's common records by `scan_records`."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__(settings)
        self._values = np.zeros(_SCRATCH_WORDS, np.int64)
        self._scan: Callable[..., tuple[int, int]] | None = None  # the kernel, once it is needed

    def run_kernel(self, block: Block, batch: EventBatch) -> tuple[int, int]:
        """As `RecordScanner.run_kernel`."""
        arguments = (self.arrays(block, batch), block.start, block.end, block.offset_of(0), self._values)
        if self._scan is None:
            self._scan = entry_of(scan_records, *arguments)
        why, position = self._scan(*arguments)
        return int(why), int(position)

    def learn(self, record: bytes, decoded: Decoded) -> None:
        """Does nothing: the grammar is fixed."""
