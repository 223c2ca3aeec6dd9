"""Groups rows of tables into messages. A row of trades is one message; so is a run of book rows that belong together.

A line of a table of pictures has made a row of each of its levels: they are one message.

In most tables these are the rows with the same key. Of snapshots, several may have one key: a side that the snapshot already had
begins the next one where it comes again after the other one, with another event time. In a table of what was received
(`Table.by_receipt`) they are

* of changes: the rows received at the same time;
* of a snapshot: all rows that follow each other, until a side that the snapshot already had begins again after the other one.
  Rows received at the time of the first one belong to it in any case.
"""

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
    HAS_NO_LEVEL,
    IS_ASK,
    OF_SNAPSHOT,
    OTHER,
    REJECTED,
    WITHOUT_SIDE,
)
from cowbook.kernels.jit import kernel
from cowbook.plain.messages import BREAK, DIFF, HAS_NO_SIDE, NONE, OTHER_SYMBOL, SELL_AGGRESSOR, SNAPSHOT, TRADE

RUN = np.dtype([(name, np.int64) for name in ("is_trades", "rule", "message_flags", "by_receipt", "is_pictures", "channel")])
"""The properties of a table that its messages depend on. `channel` is added, bit by bit, to that of a row."""

OPEN_RUN = np.dtype([(name, np.int64) for name in ("turns", "side", "ts_event", "ts_recv")])
"""A run whose end is looked for: how often its rows went from one side to the other, the last side, the latest times."""

COUNTS = np.dtype([(name, np.int64) for name in ("messages", "levels", "opens", "opened_at")])
"""Messages and levels in the batch.

`opens` says whether the file's first message is still to come. That must be a snapshot, or follows a BREAK. `opened_at` is the
place in the batch of the message that ended this; -1 if none did.
"""

_NO_SIDE = -1


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
def begin_run(run, row):
    """Let the run begin with a row. `run_end` goes on with it."""
    run.turns = 0
    run.side = row.flags & IS_ASK if row.kind == GOOD else _NO_SIDE
    run.ts_event = row.ts_event
    run.ts_recv = row.ts_recv


@kernel
def _received(row):
    return row.ts_recv if row.ts_recv != NONE else row.ts_event


@kernel
def _has_turned_back(run, row):
    """Returns whether a row of a run is on a side that was left before. Notes its side."""
    side = row.flags & IS_ASK if row.kind == GOOD else run.side
    if side != run.side and run.side != _NO_SIDE:
        run.turns += 1
    run.side = side
    return run.turns > 1


@kernel
def _receipt_end(rows, run, key, first, count):
    """As `run_end`, in a table of what was received."""
    of_snapshot = key.flags & OF_SNAPSHOT
    received = _received(key)
    turns, side, ts_event, ts_recv = run.turns, run.side, run.ts_event, run.ts_recv
    last = first
    while last < count:
        row = rows[last]
        if row.kind == OTHER:
            break
        if row.kind == GOOD or row.kind == BAD_OF_MESSAGE:
            if row.channel != key.channel or row.flags & OF_SNAPSHOT != of_snapshot:
                break
            is_later = _received(row) != received
            if of_snapshot == 0:
                if is_later:
                    break
            else:
                turned = turns
                row_side = row.flags & IS_ASK if row.kind == GOOD else side
                if row_side != side and side != _NO_SIDE:
                    turned += 1
                if is_later and turned > 1:
                    break
                turns = turned
                side = row_side
            ts_event = max(ts_event, row.ts_event)
            ts_recv = max(ts_recv, row.ts_recv)
        last += 1
    run.turns = turns
    run.side = side
    run.ts_event = ts_event
    run.ts_recv = ts_recv
    return last


@kernel
def run_end(rows, tables, opened, key, first, count):
    """Returns the index of the first of `rows[first:count]` that is not of the run that row `key` began; `count` if all may be.

    `opened` is the state of that run (OPEN_RUN).
    """
    if tables[0].by_receipt:
        return _receipt_end(rows, opened[0], key, first, count)
    run, last = opened[0], first
    while last < count:
        kind = rows[last].kind
        if kind == OTHER:
            break
        if kind == GOOD or kind == BAD_OF_MESSAGE:
            if not _same_key(key, rows[last]):
                break
            if key.flags & OF_SNAPSHOT != 0 and _has_turned_back(run, rows[last]) and rows[last].ts_event != key.ts_event:
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
    message.channel = row.channel
    message.flags = 0
    message.depth = 0
    message.bid_count = 0
    message.ask_count = 0


@kernel
def _levels(rows, first, last, side, prices, sizes, at):
    for place in range(first, last):
        row = rows[place]
        if row.kind == GOOD and row.flags & (IS_ASK | HAS_NO_LEVEL) == side:
            prices[at] = row.price
            sizes[at] = row.size
            at += 1
    return at


@kernel
def _fill_break(message, row):
    """Make the message that says that the file's rows, from this one on, may not follow what came before."""
    message.kind = BREAK
    message.rule = 0
    message.ts_event = NONE
    message.ts_recv = NONE
    message.first_id = NONE
    message.last_id = NONE
    message.prev_id = NONE
    message.flags = 0
    message.depth = 0
    message.bid_count = 0
    message.ask_count = 0
    message.channel = row.channel
    message.end_offset = row.start


@kernel
def group(scan, tables, opened, batch, first, count, ends):
    """Make messages of `rows[first:count]`. Returns (why it stopped, first row not consumed, end of the current run).

    Unless `ends`, more rows may follow, and the last run is left unconsumed. A run is rejected if it contains a bad row, or has
    more than `max_line_bytes` bytes.
    """
    rows, counts, table, run = scan.rows, batch.counts[0], tables[0], opened[0]
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
            message.channel = 0
            message.end_offset = row.end
            counts.messages += 1
            place += 1
            continue
        last = place + 1
        if table.is_pictures:
            while last < count and rows[last].start == row.start:
                last += 1
        elif not table.is_trades:
            begin_run(run, row)
            last = run_end(rows, tables, opened, row, last, count)
            if last == count and not ends:
                return END, place, place
        if _has_bad(rows, place, last) or rows[last - 1].end - row.start > longest:
            return REJECTED, place, last
        if counts.levels + last - place > prices.size:
            return FULL, place, last
        if counts.opens:
            counts.opens = 0
            counts.opened_at = counts.messages
            if row.flags & OF_SNAPSHOT == 0:
                _fill_break(message, row)
                counts.messages += 1
                if counts.messages == batch.messages.size:
                    return FULL, place, place
                message = batch.messages[counts.messages]
        _fill(message, row)
        message.channel ^= table.channel
        message.bid_start = counts.levels
        if table.is_trades:
            message.kind = TRADE
            message.flags = table.message_flags | (SELL_AGGRESSOR if row.flags & IS_ASK != 0 else 0)
            if row.flags & WITHOUT_SIDE != 0:
                message.flags |= HAS_NO_SIDE
            message.bid_count = 1
            prices[counts.levels] = row.price
            sizes[counts.levels] = row.size
            counts.levels += 1
        else:
            if table.by_receipt:
                message.ts_event = run.ts_event
                message.ts_recv = run.ts_recv
            message.rule = table.rule
            message.kind = DIFF
            if row.flags & OF_SNAPSHOT != 0:
                message.kind = SNAPSHOT
                message.flags = table.message_flags
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
