"""Measures the book while messages are applied: flows of orders and trades since the last row, and the best levels at each row.

One kernel applies and measures, so that measuring needs no second pass. It writes raw numbers; features.py makes columns of them.
"""

from __future__ import annotations

import numpy as np

from cowbook.book.apply import DONE, apply_messages
from cowbook.book.features import count_known, has_near_level, order_flow, sizes_within, take_best
from cowbook.book.known import forget_known
from cowbook.book.ladder import ASK, BID, OK, POOL_EXHAUSTED, clear_side, set_level
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.features import NO_ASK, NO_BID, UNIT
from cowbook.plain.messages import DIFF, NONE
from cowbook.plain.vocabulary import UNTOLD

# Places in an int64 row; the levels follow: bid prices, bid sizes, ask prices, ask sizes.
INSTANT, EVENT, SYNCED, BIDS_KNOWN, ASKS_KNOWN, FIRST_LEVEL = range(6)

# Places in a float64 row's flow of trades; before it are the order flow of each level, and the sizes within each distance.
BOUGHT, SOLD, BUYS, SELLS = range(4)

_UNIT = float(UNIT)


@rare_kernel
def _take_levels(engine, measures):
    """Take the best levels, and add what has changed to the order flow of each (Cont, Kukanov and Stoikov, 2014)."""
    state, mark, now, before = engine.state[0], measures.mark[0], measures.now, measures.before
    depth = now.shape[1]
    take_best(engine.book, depth, now)
    bids_known = count_known(BID, now[0], 0, depth, state.bid_bound)
    asks_known = count_known(ASK, now[2], 0, depth, state.ask_bound)
    known = min(bids_known, asks_known)
    known_before = min(mark.bids_known, mark.asks_known)
    for level in range(depth):
        if level >= known or level >= known_before:
            measures.is_broken[level] = 1
        else:
            flow = order_flow(
                before[0, level],
                before[1, level],
                now[0, level],
                now[1, level],
                before[2, level],
                before[3, level],
                now[2, level],
                now[3, level],
            )
            measures.order_flow[level] += flow
        for which in range(4):
            before[which, level] = now[which, level]
    mark.bids_known = bids_known
    mark.asks_known = asks_known


@inlined_kernel
def _add_trade(measures, trade):
    """Add a trade. One whose side is not told is neither bought nor sold."""
    if trade.is_sell != UNTOLD:
        measures.trade_flow[BOUGHT + trade.is_sell] += trade.size
        measures.trade_flow[BUYS + trade.is_sell] += 1.0


@inlined_kernel
def _observe(engine, measures):
    state, mark = engine.state[0], measures.mark[0]
    for row in range(mark.trades, state.open_trades):
        trade = engine.rows.trades[row]
        _add_trade(measures, trade)
    mark.trades = state.open_trades
    if (
        state.depth_events != mark.depth_events
        or state.bid_bound != mark.bid_bound
        or state.ask_bound != mark.ask_bound
        or mark.is_begun == 0
    ):
        mark.is_begun = 1
        mark.depth_events = state.depth_events
        mark.bid_bound = state.bid_bound
        mark.ask_bound = state.ask_bound
        _take_levels(engine, measures)


@kernel
def observe(engine, measures):
    """Take note of what has changed since the last time: trades, levels, and what is known of them."""
    _observe(engine, measures)


@rare_kernel
def _write_row(engine, measures, instant):
    """Write a row, and begin the flows anew."""
    state, mark, before = engine.state[0], measures.mark[0], measures.before
    numbers, figures = measures.numbers[mark.row], measures.figures[mark.row]
    mark.row += 1
    depth, count = before.shape[1], measures.distances.size
    numbers[INSTANT] = instant
    numbers[EVENT] = state.next_event - 1
    numbers[SYNCED] = state.synced
    numbers[BIDS_KNOWN] = mark.bids_known
    numbers[ASKS_KNOWN] = mark.asks_known
    for which in range(4):
        for level in range(depth):
            numbers[FIRST_LEVEL + which * depth + level] = before[which, level]
    known = min(mark.bids_known, mark.asks_known)
    for level in range(depth):
        figures[level] = np.nan if measures.is_broken[level] else measures.order_flow[level]
        measures.order_flow[level] = 0.0
        measures.is_broken[level] = level >= known
    if count == 0 or before[0, 0] == NO_BID or before[2, 0] == NO_ASK:
        for place in range(depth, depth + 2 * count):
            figures[place] = np.nan
    else:
        middle = before[0, 0] + before[2, 0]
        sums = measures.sums
        sizes_within(engine, BID, middle, measures.distances, sums, 0)
        sizes_within(engine, ASK, middle, measures.distances, sums, 2 * count)
        for place in range(2 * count):
            high, low = sums[2 * place], sums[2 * place + 1]
            figures[depth + place] = np.nan if high == NONE else high * _UNIT + low
    for place in range(measures.trade_flow.size):
        figures[depth + 2 * count + place] = measures.trade_flow[place]
        measures.trade_flow[place] = 0.0


@inlined_kernel
def _group_end(batch, place, end, measures):
    """Returns the end of the messages that may be applied before looking: a diff, and what comes before it and changes no level.

    A call for each message would take longer than most of them.
    """
    mark = measures.mark[0]
    if mark.traded > 0:
        return place + 1
    if mark.stop < mark.stop_count:
        end = min(end, measures.stops[mark.stop])
    while place < end:
        kind = batch.messages[place].kind
        place += 1
        if kind == DIFF:
            break
    return place


@inlined_kernel
def _pass_over(engine, batch, place, measures):
    """Take the diff before `place` as observed, if it is all that has changed levels since, and has changed none of the best."""
    if place == 0:
        return
    state, mark, before, message = engine.state[0], measures.mark[0], measures.before, batch.messages[place - 1]
    if (
        message.kind != DIFF
        or mark.is_begun == 0
        or state.depth_events != mark.depth_events + message.bid_count + message.ask_count
        or state.bid_bound != mark.bid_bound
        or state.ask_bound != mark.ask_bound
    ):
        return
    farthest = before.shape[1] - 1
    if not has_near_level(message, batch.levels, before[0, farthest], before[2, farthest]):
        mark.depth_events = state.depth_events


@kernel
def measure(engine, batch, place, end, measures, has_applied):
    """Apply `batch.messages[place:end]`, and write a row at each stop, or whenever so much was traded.

    There must be room for the rows. Returns (DONE, end), or what `apply_messages` has returned. The caller then does what that
    asks for, and calls again with `has_applied`.
    """
    state, mark = engine.state[0], measures.mark[0]
    while True:
        if has_applied:
            _observe(engine, measures)
            has_applied = False
            if mark.traded > 0 and measures.trade_flow[BOUGHT] + measures.trade_flow[SOLD] >= mark.traded:
                _write_row(engine, measures, state.last_time)
        while mark.stop < mark.stop_count and measures.stops[mark.stop] <= place:
            instant = measures.instants[mark.stop]
            _write_row(engine, measures, state.last_time if instant == NONE else instant)
            mark.stop += 1
        if place == end:
            return DONE, end
        mark.group_end = _group_end(batch, place, end, measures)
        why, consumed = apply_messages(engine, batch, place, mark.group_end)
        if why != DONE:
            return why, consumed
        place = consumed
        _pass_over(engine, batch, place, measures)
        has_applied = True


@kernel
def measure_rows(engine, rows, place, end, measures):
    """Apply the published messages `rows.messages[place:end]`, and write a row as `measure` does.

    Returns (OK, end), or (POOL_EXHAUSTED, the message at which the book has outgrown its memory).
    """
    state, mark = engine.state[0], measures.mark[0]
    while True:
        while mark.stop < mark.stop_count and measures.stops[mark.stop] <= place:
            instant = measures.instants[mark.stop]
            _write_row(engine, measures, state.last_time if instant == NONE else instant)
            mark.stop += 1
        if place == end:
            return OK, end
        if _apply_rows(engine, rows, rows.messages[place], measures) != OK:
            return POOL_EXHAUSTED, place
        place += 1
        _observe(engine, measures)
        if mark.traded > 0 and measures.trade_flow[BOUGHT] + measures.trade_flow[SOLD] >= mark.traded:
            _write_row(engine, measures, state.last_time)


@rare_kernel
def _apply_rows(engine, rows, message, measures):
    """Apply one published message. What is shown to be known before it counts from here on."""
    state, book = engine.state[0], engine.book
    if state.synced:
        state.bid_bound = min(state.bid_bound, message.bid_bound)
        state.ask_bound = max(state.ask_bound, message.ask_bound)
    if message.row_count == 0:
        _add_trade(measures, message)
    elif not message.synced or message.is_clear:
        forget_known(state)
    for row in range(message.first_row, message.first_row + message.row_count):
        if rows.is_clear[row]:
            clear_side(book, rows.sides[row])
        elif set_level(book, rows.sides[row], rows.prices[row], rows.sizes[row]) != OK:
            return POOL_EXHAUSTED
    if message.row_count > 0:
        state.synced = message.synced
        state.depth_events += message.row_count
    state.next_event = message.event + 1
    state.last_time = message.ts_event
    return OK
