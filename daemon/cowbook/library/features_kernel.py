"""Writes rows of features while messages are applied.

The engine measures as it does for the stream `features` (book/features.py), so that measuring needs no second pass and no look
at single messages. The rows are raw numbers; feature_table.py makes columns of them.
"""

from __future__ import annotations

import numpy as np

from cowbook.book.apply import DONE, apply_messages
from cowbook.book.features import BOUGHT, BUYS, SELLS, SOLD, begin_row, note_depth, note_trade, take_best
from cowbook.book.known import forget_known
from cowbook.book.ladder import ASK, BID, OK, POOL_EXHAUSTED, clear_side, set_level
from cowbook.book.within import sizes_within
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.features import NO_ASK, NO_BID, UNIT
from cowbook.plain.messages import NONE

# Places in an int64 row; the levels follow: bid prices, bid sizes, ask prices, ask sizes.
INSTANT, EVENT, SYNCED, BIDS_KNOWN, ASKS_KNOWN, FIRST_LEVEL = range(6)

# Places in a float64 row behind the order flow of each level and the sizes within each distance.
BUY_VOLUME, SELL_VOLUME, BUY_COUNT, SELL_COUNT = range(4)

_UNIT = float(UNIT)


@inlined_kernel
def _wide(words, place):
    """Returns the wide number at a place. Both words get one sign, so that nothing is lost where they nearly cancel."""
    high, low = words[place], words[place + 1]
    if high < 0 and low > 0:
        high += 1
        low -= UNIT
    return high * _UNIT + low


@inlined_kernel
def _is_traded(measured, mark):
    """Returns whether so much was traded since the last row that one is due."""
    first = 2 * measured.best.shape[1]
    return mark.traded > 0 and _wide(measured.flows, first + BOUGHT) + _wide(measured.flows, first + SOLD) >= mark.traded


@rare_kernel
def _write_row(state, book, measured, measures, instant):
    """Write a row, and begin the flows anew."""
    mark, now, flows = measures.mark[0], measured.now, measured.flows
    numbers, figures = measures.numbers[mark.row], measures.figures[mark.row]
    mark.row += 1
    depth, count = now.shape[1], measured.distances.size
    bids_known, asks_known = take_best(state, book, now)
    numbers[INSTANT] = instant
    numbers[EVENT] = state.next_event - 1
    numbers[SYNCED] = state.synced
    for which in range(4):
        for level in range(depth):
            numbers[FIRST_LEVEL + which * depth + level] = now[which, level]
    for level in range(depth):
        figures[level] = _wide(flows, 2 * level) if level < state.feature_known else np.nan
    trades, first = depth + 2 * count, 2 * depth
    figures[trades + BUY_VOLUME] = _wide(flows, first + BOUGHT)
    figures[trades + SELL_VOLUME] = _wide(flows, first + SOLD)
    figures[trades + BUY_COUNT] = flows[first + BUYS]
    figures[trades + SELL_COUNT] = flows[first + SELLS]
    numbers[BIDS_KNOWN], numbers[ASKS_KNOWN] = bids_known, asks_known
    begin_row(state, flows, bids_known, asks_known)
    if count == 0 or now[0, 0] == NO_BID or now[2, 0] == NO_ASK:
        for place in range(depth, depth + 2 * count):
            figures[place] = np.nan
        return
    middle, sums = now[0, 0] + now[2, 0], measures.sums
    sizes_within(book, BID, middle, state.bid_bound, measured.distances, sums, 0)
    sizes_within(book, ASK, middle, state.ask_bound, measured.distances, sums, 2 * count)
    for place in range(2 * count):
        figures[depth + place] = np.nan if sums[2 * place] == NONE else _wide(sums, 2 * place)


@inlined_kernel
def _write_rows_at(state, book, measured, measures, place):
    """Write the rows that are due before the message `place`."""
    mark = measures.mark[0]
    while mark.stop < mark.stop_count and measures.stops[mark.stop] <= place:
        instant = measures.instants[mark.stop]
        _write_row(state, book, measured, measures, state.last_time if instant == NONE else instant)
        mark.stop += 1


@kernel
def measure(engine, batch, place, end, measures, has_applied):
    """Apply `batch.messages[place:end]`, and write a row at each stop, or whenever so much was traded.

    There must be room for the rows. Returns (DONE, end), or what `apply_messages` has returned. The caller then does what that
    asks for, and calls again with `has_applied`.
    """
    state, measured, mark = engine.state[0], engine.measured, measures.mark[0]
    while True:
        if has_applied and _is_traded(measured, mark):
            _write_row(state, engine.book, measured, measures, state.last_time)
        _write_rows_at(state, engine.book, measured, measures, place)
        if place == end:
            return DONE, end
        mark.group_end = place + 1 if mark.traded > 0 else end
        if mark.stop < mark.stop_count:
            mark.group_end = min(mark.group_end, measures.stops[mark.stop])
        why, place = apply_messages(engine, batch, place, mark.group_end)
        if why != DONE:
            return why, place
        has_applied = True


@kernel
def measure_rows(engine, rows, place, end, measures):
    """Apply the published messages `rows.messages[place:end]`, and write a row as `measure` does.

    Returns (OK, end), or (POOL_EXHAUSTED, the message at which the book has outgrown its memory).
    """
    state, book, measured = engine.state[0], engine.book, engine.measured
    while True:
        _write_rows_at(state, book, measured, measures, place)
        if place == end:
            return OK, end
        if _apply_rows(state, book, measured, rows, rows.messages[place]) != OK:
            return POOL_EXHAUSTED, place
        place += 1
        if _is_traded(measured, measures.mark[0]):
            _write_row(state, book, measured, measures, state.last_time)


@inlined_kernel
def _apply_rows(state, book, measured, rows, message):
    """Apply one published message. What is shown to be known before it counts from here on."""
    if state.synced:
        state.bid_bound = min(state.bid_bound, message.bid_bound)
        state.ask_bound = max(state.ask_bound, message.ask_bound)
    if message.row_count == 0:
        note_trade(measured, message.is_sell, message.size)
    elif not message.synced or message.is_clear:
        forget_known(state)
    for row in range(message.first_row, message.first_row + message.row_count):
        if rows.is_clear[row]:
            clear_side(book, rows.sides[row])
        elif set_level(book, rows.sides[row], rows.prices[row], rows.sizes[row]) != OK:
            return POOL_EXHAUSTED
    if message.row_count > 0:
        state.synced = message.synced
        note_depth(state, book, measured)
    state.next_event = message.event + 1
    state.last_time = message.ts_event
    return OK
