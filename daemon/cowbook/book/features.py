"""Measures the book for rows of `features`: order flow, trades, and sizes near the mid (docs/rules.md, section 3).

`library/features_kernel.py` measures with the same kernels what a caller asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cowbook.book.block_pool import BLOCK_BITS, ENTRIES, ENTRY_MASK, LARGE, NO_SUM, USED, sum_place
from cowbook.book.known import is_inside
from cowbook.book.ladder import ASK, BID, MAX_TICK, copy_levels, next_level
from cowbook.kernels.intrinsics import highest_bit, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.features import BEST_NAMES, FEATURE_BPS, FEATURE_LEVELS, FLOW_NAMES, NO_ASK, NO_BID, PLACES, UNIT
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import UNTOLD

_BPS = 10_000.0
_ALL = -1  # bitmap of all entries of a block

# Places in the flows behind those of the levels, two words each.
BOUGHT, SOLD, BUYS, SELLS = 0, 2, 4, 5

# Places in the numbers of a row.
_BIDS_KNOWN, _ASKS_KNOWN = PLACES["bids_known"], PLACES["asks_known"]
_FLOWS = PLACES[FLOW_NAMES[0]]
_BIDS_WITHIN = PLACES[f"bid_within_{FEATURE_BPS[0]}_high"]
_ASKS_WITHIN = PLACES[f"ask_within_{FEATURE_BPS[0]}_high"]
_BEST_COUNT, _FLOW_COUNT = len(BEST_NAMES), len(FLOW_NAMES)


@inlined_kernel
def add_wide(words, place, value):
    """Add a number below 10^19 in size to the number in the words `place`, high, and `place` + 1, low."""
    low = words[place + 1] + value
    while low >= UNIT:
        low -= UNIT
        words[place] += 1
    while low < 0:
        low += UNIT
        words[place] -= 1
    words[place + 1] = low


@rare_kernel
def take_best(book, depth, now):
    """Write the best `depth` levels to `now`, int64 of shape (4, depth): bid prices, bid sizes, ask prices, ask sizes."""
    bids = copy_levels(book, BID, depth, now[0], now[1], 0, 1)
    for level in range(bids, depth):
        now[0, level] = NO_BID
        now[1, level] = 0
    asks = copy_levels(book, ASK, depth, now[2], now[3], 0, 1)
    for level in range(asks, depth):
        now[2, level] = NO_ASK
        now[3, level] = 0


@inlined_kernel
def count_known(side_number, prices, first, depth, bound):
    """Returns how many of the best levels of a side are known, whose prices are `prices[first : first + depth]`.

    One that there is not is known if the side is, as a whole.
    """
    missing = NO_BID if side_number == BID else NO_ASK
    known = 0
    while known < depth:
        price = prices[first + known]
        if not is_inside(side_number, NONE if price == missing else price, bound):
            break
        known += 1
    return known


@inlined_kernel
def has_near_level(message, levels, worst_bid, worst_ask):
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
    """Returns the order flow of a level between two books (Cont, Kukanov and Stoikov, 2014). It is below 4 * 10^18 in size."""
    flow = 0
    if bid >= bid_before:
        flow += bid_size
    if bid <= bid_before:
        flow -= bid_size_before
    if ask <= ask_before:
        flow -= ask_size
    if ask >= ask_before:
        flow += ask_size_before
    return flow


@inlined_kernel
def _last_within(width, origin, limit, downwards):
    """Returns the farthest tick from the best price that is within `limit`, if there are ticks so far; -1 if none is.

    `width` is that of a tick, and has its sign. `origin` is the tick of price 0.
    """
    index: Any = np.int64(min(max(limit / width + origin, 0.0), float(MAX_TICK)))
    if downwards:
        while width * (index - origin) > limit:
            index += 1
        while index > 0 and width * (index - origin - 1) <= limit:
            index -= 1
        return index
    while index >= 0 and width * (index - origin) > limit:
        index -= 1
    while index < MAX_TICK and width * (index - origin + 1) <= limit:
        index += 1
    return index


@inlined_kernel
def _entries_within(last, base, downwards):
    """Returns the bitmap of the entries of a leaf, whose first tick is `base`, up to the tick `last`."""
    entry = last - base
    if downwards:
        return 0 if entry >= ENTRIES else _ALL if entry <= 0 else _ALL << entry
    return 0 if entry < 0 else _ALL if entry >= ENTRIES - 1 else (2 << entry) - 1


@rare_kernel
def _sum_of(blocks, leaf, entries):
    """Returns the sum of the sizes of entries of a leaf, or NO_SUM if it may have more than 62 bits."""
    total, bits = 0, 0
    for entry in range(ENTRIES):  # all of them: this is a loop over vectors, as places are unsigned (kernels/copying.py)
        size = blocks[np.uint64(leaf + entry)] & -((entries >> entry) & 1)
        total += size
        bits |= size
    return total if bits < LARGE else NO_SUM


@rare_kernel
def _add_one_by_one(blocks, leaf, entries, sums, place):
    """Add the sizes of entries of a leaf to the wide number at `place`."""
    while entries != 0:
        add_wide(sums, place, blocks[leaf + trailing_zeros(entries)])
        entries &= entries - 1


@inlined_kernel
def _add_entries(blocks, leaf, entries, rest, sums, place, pending):
    """Add the sizes of entries of a leaf to `pending`, or to the wide number at `place`.

    `rest` is the sum of its entries that are not added yet, or NO_SUM. Returns (pending, what is left of the rest).
    """
    total = _sum_of(blocks, leaf, entries)
    if total == NO_SUM:
        _add_one_by_one(blocks, leaf, entries, sums, place)
        return pending, NO_SUM
    if pending >= LARGE:
        add_wide(sums, place, pending)
        pending = 0
    return pending + total, rest - total if rest != NO_SUM else NO_SUM


@rare_kernel
def sizes_within(book, side_number, middle, bound, distances, sums, first):
    """Write the sizes of a side's levels within each distance of the mid, in ascending order of distances, of which there is one.

    Each takes two words of `sums`, high and low, from the place `first` on. The first word is NONE where levels that near may be
    missing: beyond `bound`. `middle` is twice the mid, and so is everything that is compared with it.
    """
    blocks, side, pool = book.blocks, book.sides[side_number], book.pool[0]
    count = distances.size
    for place in range(2 * count):
        sums[first + place] = 0
    downwards = side_number == BID
    outwards = -1.0 if downwards else 1.0
    width = outwards * 2.0 * max(pool.tick, 1)  # 0 if no price but 0 was ever in the book
    place, pending = 0, 0
    last = _last_within(width, pool.origin, outwards * middle + abs(middle) * distances[0] / _BPS, downwards)
    index = next_level(blocks, side, MAX_TICK if downwards else 0, downwards)
    while index >= 0 and place < count:
        # The leaves below one node, so that not each one is looked for from the root.
        node, children = side.root, 1
        shift = BLOCK_BITS * (side.height - 1)
        while shift > BLOCK_BITS:
            node = blocks[node + ((index >> shift) & ENTRY_MASK)]
            shift -= BLOCK_BITS
        base = index & ~(ENTRIES * ENTRIES - 1)
        if side.height > 1:
            children = blocks[node + USED]
        while children != 0 and place < count:
            child = highest_bit(children) if downwards else trailing_zeros(children)
            children &= ~(1 << child)
            leaf = blocks[node + child] if side.height > 1 else node
            rest = blocks[sum_place(blocks, leaf)]
            if rest != NO_SUM and pending < LARGE:
                leaf_end = base + ENTRIES * child + (0 if downwards else ENTRIES - 1)
                if (last <= leaf_end) if downwards else (last >= leaf_end):  # most leaves: all of it is within
                    pending += rest
                    continue
            used = blocks[leaf + USED]
            while used != 0 and place < count:
                entries = used & _entries_within(last, base + ENTRIES * child, downwards)
                if entries == used and rest != NO_SUM and pending < LARGE:
                    pending += rest
                    break
                if entries != 0:
                    pending, rest = _add_entries(blocks, leaf, entries, rest, sums, first + 2 * place, pending)
                    used &= ~entries
                if used != 0:
                    if pending != 0:
                        add_wide(sums, first + 2 * place, pending)
                        pending = 0
                    place += 1
                    if place < count:
                        limit = outwards * middle + abs(middle) * distances[place] / _BPS
                        last = _last_within(width, pool.origin, limit, downwards)
        index = next_level(blocks, side, base - 1 if downwards else base + ENTRIES * ENTRIES, downwards)
    if pending != 0:
        add_wide(sums, first + 2 * place, pending)
    is_whole = is_inside(side_number, NONE, bound)
    for place in range(count - 1):  # a distance has all that a shorter one has
        here = first + 2 * place
        sums[here + 2] += sums[here]
        add_wide(sums, here + 2, sums[here + 1])
    for place in range(count):
        reach = outwards * middle + abs(middle) * distances[place] / _BPS
        if not (is_whole or outwards * 2.0 * bound >= reach):
            sums[first + 2 * place] = NONE


@inlined_kernel
def changes_best(state, measured, message, levels, first_event):
    """Returns whether an applied diff, whose first event was `first_event`, may have changed one of the best levels.

    A diff that made the book drop levels may have. So may the first of all, before which the best prices are 0.
    """
    farthest = measured.best.shape[1] - 1
    worst_bid, worst_ask = measured.best[0, farthest], measured.best[2, farthest]
    if worst_bid == 0 or worst_ask == 0 or state.next_event - first_event != message.bid_count + message.ask_count:
        return True
    return has_near_level(message, levels, worst_bid, worst_ask)


@inlined_kernel
def note_known(state, measured):
    """Note how many levels are known behind a depth message that has changed none of the best."""
    if state.feature_known > 0:
        _note_known(state, measured.best)


@inlined_kernel
def _note_known(state, best):
    depth = best.shape[1]
    bids_known = count_known(BID, best[0], 0, depth, state.bid_bound)
    asks_known = count_known(ASK, best[2], 0, depth, state.ask_bound)
    state.feature_known = min(state.feature_known, bids_known, asks_known)


@rare_kernel
def note_depth(state, book, measured):
    """Add what a depth message has changed to the order flow of each level, and note how many levels are known behind it.

    It is passed only what it needs: to pass an engine takes longer than this.
    """
    before, now = measured.best, measured.now
    depth = now.shape[1]
    take_best(book, depth, now)
    _note_known(state, now)
    for level in range(depth):
        if level < state.feature_known:
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
            add_wide(measured.flows, 2 * level, flow)
        for which in range(4):
            before[which, level] = now[which, level]


@inlined_kernel
def note_trade(measured, side, size):
    """Add a trade to those since the last row. One whose side is not told is neither bought nor sold."""
    if side != UNTOLD:
        flows, first = measured.flows, 2 * measured.best.shape[1]
        add_wide(flows, first + BOUGHT + 2 * side, size)
        flows[first + BUYS + side] += 1


@inlined_kernel
def begin_row(state, measured):
    """Begin the flows anew behind a row of the best levels `measured.now`. Returns how many bids and asks of them are known."""
    depth = measured.now.shape[1]
    bids_known = count_known(BID, measured.now[0], 0, depth, state.bid_bound)
    asks_known = count_known(ASK, measured.now[2], 0, depth, state.ask_bound)
    state.feature_known = min(bids_known, asks_known)
    for place in range(measured.flows.size):
        measured.flows[place] = 0
    return bids_known, asks_known


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
    now = measured.now
    take_best(engine.book, FEATURE_LEVELS, now)
    for place in range(_BEST_COUNT):
        numbers[place] = now[place // FEATURE_LEVELS, place % FEATURE_LEVELS]
    for place in range(_FLOW_COUNT):
        numbers[_FLOWS + place] = measured.flows[place]
    for level in range(min(state.feature_known, FEATURE_LEVELS), FEATURE_LEVELS):
        numbers[_FLOWS + 2 * level] = NONE
    numbers[_BIDS_KNOWN], numbers[_ASKS_KNOWN] = begin_row(state, measured)
    if now[0, 0] == NO_BID or now[2, 0] == NO_ASK:
        for place in range(2 * measured.distances.size):
            numbers[_BIDS_WITHIN + 2 * place] = NONE
            numbers[_BIDS_WITHIN + 2 * place + 1] = 0
        return
    middle = now[0, 0] + now[2, 0]
    sizes_within(engine.book, BID, middle, state.bid_bound, measured.distances, numbers, _BIDS_WITHIN)
    sizes_within(engine.book, ASK, middle, state.ask_bound, measured.distances, numbers, _ASKS_WITHIN)
