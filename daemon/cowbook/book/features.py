"""Measures the book for rows of `features`: order flow, trades, and sizes near the mid (docs/rules.md, section 3).

`library/features_kernel.py` measures with the same kernels what a caller asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cowbook.book.block_pool import ENTRIES, ENTRY_MASK, USED
from cowbook.book.ladder import ASK, BID, leaf_at, next_level
from cowbook.book.within import add_wide, sizes_within
from cowbook.kernels.copying import copy_numbers
from cowbook.kernels.intrinsics import highest_bit, trailing_zeros
from cowbook.kernels.jit import inlined_kernel
from cowbook.plain.features import FEATURE_BPS, FEATURE_LEVELS, FLOW_NAMES, NO_ASK, NO_BID, PLACES, UNIT
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import UNTOLD

# Places in the flows behind those of the levels, two words each.
BOUGHT, SOLD, BUYS, SELLS = 0, 2, 4, 5

# Places in the numbers of a row.
_BIDS_KNOWN, _ASKS_KNOWN = PLACES["bids_known"], PLACES["asks_known"]
_FLOWS = PLACES[FLOW_NAMES[0]]
_BIDS_WITHIN = PLACES[f"bid_within_{FEATURE_BPS[0]}_high"]
_ASKS_WITHIN = PLACES[f"ask_within_{FEATURE_BPS[0]}_high"]
_FLOW_COUNT = len(FLOW_NAMES)


@inlined_kernel
def _take_side(book, side_number, depth, prices, sizes, bound):
    """Write the best `depth` levels of a side, and NO_BID or NO_ASK as the price where there are no more.

    Returns how many of them are known. One that there is not is known if the side is, as a whole: NO_BID and NO_ASK are the
    bounds of such a side. `copy_levels` takes twice as long: it walks from the root to the leaf, and has arrays to be passed.
    """
    blocks, side = book.blocks, book.sides[side_number]
    origin, tick = book.pool[0].origin, book.pool[0].tick
    downwards = side_number == BID
    missing = NO_BID if downwards else NO_ASK
    index: Any = side.best if side.level_count > 0 else -1
    level = 0
    known: Any = 0
    while index >= 0:
        leaf, base = leaf_at(blocks, side, side_number, index), index & ~ENTRY_MASK
        used = blocks[np.uint64(leaf + USED)]
        while used != 0 and level < depth:
            entry = highest_bit(used) if downwards else trailing_zeros(used)
            used &= ~(1 << entry)
            price = ((base | entry) - origin) * tick
            prices[np.uint64(level)] = price
            sizes[np.uint64(level)] = blocks[np.uint64(leaf + entry)]
            known += np.int64(price >= bound) if downwards else np.int64(price <= bound)
            level += 1
        if level == depth:
            return known
        index = next_level(blocks, side, base - 1 if downwards else base + ENTRIES, downwards)
    known += (depth - level) * np.int64(bound == missing)
    for none in range(level, depth):
        prices[none] = missing
        sizes[none] = 0
    return known


@inlined_kernel
def take_best(state, book, now):
    """Write the best levels to `now`, int64 of shape (4, depth): bid prices, bid sizes, ask prices, ask sizes.

    Returns how many bids and asks of them are known.
    """
    depth = now.shape[1]
    bids_known = _take_side(book, BID, depth, now[0], now[1], state.bid_bound)
    asks_known = _take_side(book, ASK, depth, now[2], now[3], state.ask_bound)
    return bids_known, asks_known


@inlined_kernel
def _has_near_level(message, levels, worst_bid, worst_ask):
    """Returns whether a diff has a level at least as good as these prices."""
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        if levels.prices[level] >= worst_bid:
            return True
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        if levels.prices[level] <= worst_ask:
            return True
    return False


@inlined_kernel
def order_flow(bid_before, bid_size_before, bid, bid_size, ask_before, ask_size_before, ask, ask_size):
    """Returns the order flow of a level between two books (Cont, Kukanov and Stoikov, 2014). It is below 2 * 10^18 in size.

    It has no branches: which price moves, and where to, is near to a coin's toss.
    """
    bought = bid_size * np.int64(bid >= bid_before) - bid_size_before * np.int64(bid <= bid_before)
    sold = ask_size * np.int64(ask <= ask_before) - ask_size_before * np.int64(ask >= ask_before)
    return bought - sold


@inlined_kernel
def _add_flow(words, place, flow):
    """As `add_wide`, without branches, for a number below 2 * 10^18 in size."""
    low = words[place + 1] + flow
    carry = np.int64(low >= UNIT) + np.int64(low >= 2 * UNIT) - np.int64(low < 0) - np.int64(low < -UNIT)
    words[place] += carry
    words[place + 1] = low - carry * UNIT


@inlined_kernel
def _changes_best(state, measured, message, levels, first_event):
    """Returns whether an applied diff, whose first event was `first_event`, may have changed one of the best levels.

    A diff that made the book drop levels may have. So may the first of all, before which the best prices are 0.
    """
    farthest = measured.best.shape[1] - 1
    worst_bid, worst_ask = measured.best[0, farthest], measured.best[2, farthest]
    if worst_bid == 0 or worst_ask == 0 or state.next_event - first_event != message.bid_count + message.ask_count:
        return True
    return _has_near_level(message, levels, worst_bid, worst_ask)


@inlined_kernel
def _known_of(state, best):
    """Returns how many bids and asks of the best levels are known."""
    bids_known: Any = 0
    asks_known: Any = 0
    for level in range(best.shape[1]):
        bids_known += np.int64(best[0, level] >= state.bid_bound)
        asks_known += np.int64(best[2, level] <= state.ask_bound)
    return bids_known, asks_known


@inlined_kernel
def _note_known(state, measured):
    """Note how many levels are known behind a depth message that has changed none of the best."""
    if state.feature_known > 0:
        bids_known, asks_known = _known_of(state, measured.best)
        state.feature_known = min(state.feature_known, bids_known, asks_known)


@inlined_kernel
def note_depth(state, book, measured):
    """Add what a depth message has changed to the order flow of each level, and note how many levels are known behind it."""
    before, now, flows = measured.best, measured.now, measured.flows
    depth = now.shape[1]
    bids_known, asks_known = take_best(state, book, now)
    known = min(state.feature_known, bids_known, asks_known)
    state.feature_known = known
    for level in range(known):
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
        _add_flow(flows, 2 * level, flow)
    for which in range(4):
        copy_numbers(before[which], 0, now[which], 0, depth)


@inlined_kernel
def follow_diff(state, book, measured, message, levels, first_event):
    """Follow an applied diff, whose first event was `first_event`."""
    if _changes_best(state, measured, message, levels, first_event):
        note_depth(state, book, measured)
    else:
        _note_known(state, measured)


@inlined_kernel
def note_trade(measured, side, size):
    """Add a trade to those since the last row. One whose side is not told is neither bought nor sold."""
    if side != UNTOLD:
        flows, first = measured.flows, 2 * measured.best.shape[1]
        add_wide(flows, first + BOUGHT + 2 * side, size)
        flows[first + BUYS + side] += 1


@inlined_kernel
def begin_row(state, flows, bids_known, asks_known):
    """Begin the flows anew behind a row, in which so many of the best levels are known."""
    state.feature_known = min(bids_known, asks_known)
    for place in range(flows.size):
        flows[place] = 0


@inlined_kernel
def features_row(engine, ts):
    """Write the row of the grid point `ts`, and begin the flows anew."""
    state, measured, rows = engine.state[0], engine.measured, engine.rows
    row = rows.features[state.open_features]
    numbers = rows.features_numbers[state.open_features]
    state.open_features += 1
    row.event_index = state.next_event - 1
    row.ts = ts
    row.update_id = state.last_id
    row.synced = state.synced
    best = measured.best  # rows are written between messages, so these are those of the book
    for which in range(4):
        copy_numbers(numbers, FEATURE_LEVELS * which, best[which], 0, FEATURE_LEVELS)
    for place in range(_FLOW_COUNT):
        numbers[_FLOWS + place] = measured.flows[place]
    for level in range(min(state.feature_known, FEATURE_LEVELS), FEATURE_LEVELS):
        numbers[_FLOWS + 2 * level] = NONE
    bids_known, asks_known = _known_of(state, best)
    numbers[_BIDS_KNOWN], numbers[_ASKS_KNOWN] = bids_known, asks_known
    begin_row(state, measured.flows, bids_known, asks_known)
    if best[0, 0] == NO_BID or best[2, 0] == NO_ASK:
        for place in range(2 * measured.distances.size):
            numbers[_BIDS_WITHIN + 2 * place] = NONE
            numbers[_BIDS_WITHIN + 2 * place + 1] = 0
        return
    middle = best[0, 0] + best[2, 0]
    sizes_within(engine.book, BID, middle, state.bid_bound, measured.distances, numbers, _BIDS_WITHIN)
    sizes_within(engine.book, ASK, middle, state.ask_bound, measured.distances, numbers, _ASKS_WITHIN)
