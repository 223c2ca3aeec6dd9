"""Groups rows of tables into messages. A row of trades is one message; so is a run of book rows with the same key."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
)
from cowbook.kernels.jit import kernel
from cowbook.plain.messages import DIFF, IS_RESET, OTHER_SYMBOL, SELL_AGGRESSOR, SNAPSHOT, TRADE

RUN = np.dtype([(name, np.int64) for name in ("is_trades", "rule", "resets")])
"""The properties of a table that its messages depend on."""

COUNTS = np.dtype([(name, np.int64) for name in ("messages", "levels")])


class Messages(NamedTuple):
    """The arrays of an EventBatch, and the numbers of their entries in use."""

    messages: npt.NDArray[np.void]  # MESSAGE
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.void]  # COUNTS, (1,)


@kernel
def _same_key(first, second):
    """Returns whether two rows with known keys belong to the same message."""
    if (first.flags ^ second.flags) & OF_SNAPSHOT != 0 or first.last_id != second.last_id:
        return False
    if first.flags & OF_SNAPSHOT != 0:  # a level may carry the time of its own last change, so that event times differ
        return first.ts_recv == second.ts_recv
    return (
        first.ts_event == second.ts_event
        and first.ts_recv == second.ts_recv
        and first.first_id == second.first_id
        and first.prev_id == second.prev_id
    )


@kernel
def run_end(rows, key, first, count):
    """Returns the index of the first of `rows[first:count]` that is not of the message of row `key`; `count` if all may be."""
    last = first
    while last < count:
        kind = rows[last].kind
        if kind == OTHER or ((kind == GOOD or kind == BAD_OF_MESSAGE) and not _same_key(key, rows[last])):
            break
        last += 1
    return last


@kernel
def _has_bad(rows, first, last):
    for place in range(first, last):
        if rows[place].kind == BAD or rows[place].kind == BAD_OF_MESSAGE:
            return True
    return False


@kernel
def _fill(message, row):
    message.ts_event = row.ts_event
    message.ts_recv = row.ts_recv
    message.first_id = row.first_id
    message.last_id = row.last_id
    message.prev_id = row.prev_id
    message.flags = 0
    message.depth = 0
    message.bid_count = 0
    message.ask_count = 0


@kernel
def _levels(rows, first, last, side, prices, sizes, at):
    for place in range(first, last):
        row = rows[place]
        if row.kind == GOOD and row.flags & IS_ASK == side:
            prices[at] = row.price
            sizes[at] = row.size
            at += 1
    return at


@kernel
def group(scan, run, batch, first, count, ends):
    """Make messages of `rows[first:count]`. Returns (why it stopped, first row not consumed, end of the current run).

    Unless `ends`, more rows may follow, and the last run is left unconsumed. A run is rejected if it contains a bad row, or has
    more than `max_line_bytes` bytes.
    """
    rows, counts, table = scan.rows, batch.counts[0], run[0]
    prices, sizes = batch.prices, batch.sizes
    longest = scan.limits[0].max_line_bytes
    place = first
    while place < count:
        row = rows[place]
        kind = row.kind
        if kind == BLANK:
            place += 1
            continue
        if counts.messages == batch.messages.size:
            return FULL, place, place
        if kind == BAD or (kind == BAD_OF_MESSAGE and table.is_trades):
            return REJECTED, place, place + 1
        message = batch.messages[counts.messages]
        if kind == OTHER:
            _fill(message, row)
            message.kind = OTHER_SYMBOL
            message.end_offset = row.end
            counts.messages += 1
            place += 1
            continue
        last = place + 1
        if not table.is_trades:
            last = run_end(rows, row, last, count)
            if last == count and not ends:
                return END, place, place
        if _has_bad(rows, place, last) or rows[last - 1].end - row.start > longest:
            return REJECTED, place, last
        if counts.levels + last - place > prices.size:
            return FULL, place, last
        _fill(message, row)
        message.bid_start = counts.levels
        if table.is_trades:
            message.kind = TRADE
            message.flags = SELL_AGGRESSOR if row.flags & IS_ASK != 0 else 0
            message.bid_count = 1
            prices[counts.levels] = row.price
            sizes[counts.levels] = row.size
            counts.levels += 1
        else:
            message.rule = table.rule
            message.kind = DIFF
            if row.flags & OF_SNAPSHOT != 0:
                message.kind = SNAPSHOT
                message.flags = IS_RESET if table.resets else 0
            middle = _levels(rows, place, last, 0, prices, sizes, counts.levels)
            end = _levels(rows, place, last, IS_ASK, prices, sizes, middle)
            message.bid_count = middle - counts.levels
            message.ask_start = middle
            message.ask_count = end - middle
            counts.levels = end
        message.end_offset = rows[last - 1].end
        counts.messages += 1
        place = last
    return END, place, place
