"""Messages of tables: a row of trades is one, and so is a run of a book's rows with the same key."""

from __future__ import annotations

from cowbook.input.tables.table_scanner import (
    BAD,
    BAD_OF_MESSAGE,
    BLANK,
    END,
    FULL,
    GOOD,
    IS_ASK,
    OF_SNAPSHOT,
    OTHER,
    REJECTED,
    ROW_END,
    ROW_FIRST_ID,
    ROW_FLAGS,
    ROW_KIND,
    ROW_LAST_ID,
    ROW_PREV_ID,
    ROW_PRICE,
    ROW_SIZE,
    ROW_START,
    ROW_TS_EVENT,
    ROW_TS_RECV,
)
from cowbook.kernels.jit import kernel
from cowbook.plain.messages import DIFF, IS_RESET, OTHER_SYMBOL, SELL_AGGRESSOR, SNAPSHOT, TRADE


@kernel
def _same_key(first, second):
    """Whether two good rows are of one message."""
    if (first[ROW_FLAGS] ^ second[ROW_FLAGS]) & OF_SNAPSHOT != 0 or first[ROW_LAST_ID] != second[ROW_LAST_ID]:
        return False
    if first[ROW_FLAGS] & OF_SNAPSHOT != 0:  # each level may have the time of its own last change
        return first[ROW_TS_RECV] == second[ROW_TS_RECV]
    return (
        first[ROW_TS_EVENT] == second[ROW_TS_EVENT]
        and first[ROW_TS_RECV] == second[ROW_TS_RECV]
        and first[ROW_FIRST_ID] == second[ROW_FIRST_ID]
        and first[ROW_PREV_ID] == second[ROW_PREV_ID]
    )


@kernel
def run_end(rows, key, first, count):
    """The first of `rows[first:count]` that is not of the message of the row `key`; `count` if all may be."""
    last = first
    while last < count:
        kind = rows[last][ROW_KIND]
        if kind == OTHER or ((kind == GOOD or kind == BAD_OF_MESSAGE) and not _same_key(key, rows[last])):
            break
        last += 1
    return last


@kernel
def _has_bad(rows, first, last):
    for place in range(first, last):
        if rows[place][ROW_KIND] == BAD or rows[place][ROW_KIND] == BAD_OF_MESSAGE:
            return True
    return False


@kernel
def _fill(message, row):
    message.ts_event = row[ROW_TS_EVENT]
    message.ts_recv = row[ROW_TS_RECV]
    message.first_id = row[ROW_FIRST_ID]
    message.last_id = row[ROW_LAST_ID]
    message.prev_id = row[ROW_PREV_ID]
    message.flags = 0
    message.depth = 0
    message.bid_count = 0
    message.ask_count = 0


@kernel
def _levels(rows, first, last, side, prices, sizes, at):
    for place in range(first, last):
        row = rows[place]
        if row[ROW_KIND] == GOOD and row[ROW_FLAGS] & IS_ASK == side:
            prices[at] = row[ROW_PRICE]
            sizes[at] = row[ROW_SIZE]
            at += 1
    return at


@kernel
def group(rows, first, count, ends, is_trades, rule, resets, longest, messages, prices, sizes, counts):
    """Make messages of `rows[first:count]`: (why it stopped, the first row that is not consumed, end of a rejected run).

    Without `ends` more rows may follow those that are here, and the last run stays. `counts`: messages and levels so far. A run
    is rejected when a bad row stands in it, or when it has more than `longest` bytes.
    """
    place = first
    while place < count:
        row = rows[place]
        kind = row[ROW_KIND]
        if kind == BLANK:
            place += 1
            continue
        if counts[0] == messages.size:
            return FULL, place, place
        if kind == BAD or (kind == BAD_OF_MESSAGE and is_trades):
            return REJECTED, place, place + 1
        message = messages[counts[0]]
        if kind == OTHER:
            _fill(message, row)
            message.kind = OTHER_SYMBOL
            message.end_offset = row[ROW_END]
            counts[0] += 1
            place += 1
            continue
        last = place + 1
        if not is_trades:
            last = run_end(rows, row, last, count)
            if last == count and not ends:
                return END, place, place
        if _has_bad(rows, place, last) or rows[last - 1][ROW_END] - row[ROW_START] > longest:
            return REJECTED, place, last
        if counts[1] + last - place > prices.size:
            return FULL, place, last
        _fill(message, row)
        message.bid_start = counts[1]
        if is_trades:
            message.kind = TRADE
            message.flags = SELL_AGGRESSOR if row[ROW_FLAGS] & IS_ASK != 0 else 0
            message.bid_count = 1
            prices[counts[1]] = row[ROW_PRICE]
            sizes[counts[1]] = row[ROW_SIZE]
            counts[1] += 1
        else:
            message.rule = rule
            message.kind = DIFF
            if row[ROW_FLAGS] & OF_SNAPSHOT != 0:
                message.kind = SNAPSHOT
                message.flags = IS_RESET if resets else 0
            middle = _levels(rows, place, last, 0, prices, sizes, counts[1])
            end = _levels(rows, place, last, IS_ASK, prices, sizes, middle)
            message.bid_count = middle - counts[1]
            message.ask_start = middle
            message.ask_count = end - middle
            counts[1] = end
        message.end_offset = rows[last - 1][ROW_END]
        counts[0] += 1
        place = last
    return END, place, place
