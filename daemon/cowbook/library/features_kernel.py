"""Measures the book while messages are applied: flows of orders and trades since the last row, and the best levels at each row.

One kernel applies and measures, so that measuring needs no second pass. It writes raw numbers; features.py makes columns of them.
"""

from __future__ import annotations

import numpy as np

from cowbook.book.apply import DONE, apply_messages
from cowbook.book.block_pool import BLOCK_BITS, ENTRIES, ENTRY_MASK, USED
from cowbook.book.known import is_inside
from cowbook.book.ladder import ASK, BID, MAX_TICK, copy_levels, next_level
from cowbook.kernels.intrinsics import highest_bit, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import DIFF, NONE

# Places in an int64 row; the levels follow: bid prices, bid sizes, ask prices, ask sizes.
INSTANT, EVENT, SYNCED, BIDS_KNOWN, ASKS_KNOWN, FIRST_LEVEL = range(6)

# Places in a float64 row's flow of trades; before it are the order flow of each level, and the sizes within each distance.
BOUGHT, SOLD, BUYS, SELLS = range(4)

NO_BID = -(2**62)
NO_ASK = 2**62
"""Prices of levels that there are not. With a size of 0 they make the order flow of a level that comes or goes."""

_BPS = 10_000.0


@inlined_kernel
def _count_known(side_number, prices, bound, missing):
    """Returns how many levels of a side are known. One that there is not is known of a side that is known as a whole."""
    known = 0
    while known < prices.size and is_inside(side_number, NONE if prices[known] == missing else prices[known], bound):
        known += 1
    return known


@rare_kernel
def _take_levels(engine, measures):
    """Take the best levels, and add what has changed to the order flow of each (Cont, Kukanov and Stoikov, 2014)."""
    state, mark, now, before = engine.state[0], measures.mark[0], measures.now, measures.before
    depth = now.shape[1]
    bids = copy_levels(engine.book, BID, depth, now[0], now[1], 0, 1)
    for level in range(bids, depth):
        now[0, level] = NO_BID
        now[1, level] = 0
    asks = copy_levels(engine.book, ASK, depth, now[2], now[3], 0, 1)
    for level in range(asks, depth):
        now[2, level] = NO_ASK
        now[3, level] = 0
    bids_known = _count_known(BID, now[0], state.bid_bound, NO_BID)
    asks_known = _count_known(ASK, now[2], state.ask_bound, NO_ASK)
    known = min(bids_known, asks_known)
    known_before = min(mark.bids_known, mark.asks_known)
    for level in range(depth):
        if level >= known or level >= known_before:
            measures.is_broken[level] = 1
        else:
            flow = 0.0
            if now[0, level] >= before[0, level]:
                flow += now[1, level]
            if now[0, level] <= before[0, level]:
                flow -= before[1, level]
            if now[2, level] <= before[2, level]:
                flow -= now[3, level]
            if now[2, level] >= before[2, level]:
                flow += before[3, level]
            measures.order_flow[level] += flow
        for which in range(4):
            before[which, level] = now[which, level]
    mark.bids_known = bids_known
    mark.asks_known = asks_known


@inlined_kernel
def _observe(engine, measures):
    state, mark = engine.state[0], measures.mark[0]
    for row in range(mark.trades, state.open_trades):
        trade = engine.rows.trades[row]
        measures.trade_flow[BOUGHT + trade.is_sell] += trade.size
        measures.trade_flow[BUYS + trade.is_sell] += 1.0
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
def _sizes_within(engine, side_number, middle, distances, sums, first):
    """Write the sizes of a side's levels within each distance of the mid, in ascending order of distances, from place `first` on.

    `middle` is twice the mid, and so is everything that is compared with it. A sum is NaN where levels that near may be missing.
    The walk is that of `ladder.copy_levels`.
    """
    blocks, side, tick = engine.book.blocks, engine.book.sides[side_number], engine.book.pool[0].tick
    count = distances.size
    for place in range(count):
        sums[first + place] = 0.0
    downwards = side_number == BID
    outwards = -1.0 if downwards else 1.0
    place = 0
    limit = outwards * middle + abs(middle) * distances[0] / _BPS
    index = next_level(blocks, side, MAX_TICK if downwards else 0, downwards)
    while index >= 0 and place < count:
        leaf = side.root
        shift = BLOCK_BITS * (side.height - 1)
        while shift > 0:
            leaf = blocks[leaf + ((index >> shift) & ENTRY_MASK)]
            shift -= BLOCK_BITS
        base = index & ~ENTRY_MASK
        used = blocks[leaf + USED]
        while used != 0 and place < count:
            entry = highest_bit(used) if downwards else trailing_zeros(used)
            price = outwards * 2.0 * ((base | entry) * tick)
            while place < count and price > limit:
                place += 1
                if place < count:
                    limit = outwards * middle + abs(middle) * distances[place] / _BPS
            if place < count:
                sums[first + place] += blocks[leaf + entry]
                used &= ~(1 << entry)
        index = next_level(blocks, side, base - 1 if downwards else base + ENTRIES, downwards)
    total = 0.0
    bound = engine.state[0].bid_bound if downwards else engine.state[0].ask_bound
    is_whole = is_inside(side_number, NONE, bound)
    for place in range(count):
        total += sums[first + place]
        reach = outwards * middle + abs(middle) * distances[place] / _BPS
        sums[first + place] = total if is_whole or outwards * 2.0 * bound >= reach else np.nan


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
        _sizes_within(engine, BID, middle, measures.distances, figures, depth)
        _sizes_within(engine, ASK, middle, measures.distances, figures, depth + count)
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
        has_applied = True
