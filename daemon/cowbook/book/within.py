"""Adds up the sizes near the mid, for features: all of a side's levels within some distances of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cowbook.book.block_pool import BLOCK_BITS, ENTRIES, ENTRY_MASK, LARGE, NO_BLOCK, NO_SUM, USED, sum_place
from cowbook.book.known import is_inside
from cowbook.book.ladder import BID, MAX_TICK, is_beyond, next_level
from cowbook.kernels.intrinsics import highest_bit, shifted, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.features import UNIT
from cowbook.plain.messages import NONE

_BPS = 10_000.0
_ALL = -1  # bitmap of all entries of a block


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


@inlined_kernel
def _last_within(pool, limit, downwards):
    """Returns the farthest tick from the best price that is within `limit`, if there are ticks so far; -1 if none is.

    `limit` is twice a price; below 0 for bids, and then its distance from 0 has the wrong sign.
    """
    width = 2.0 * max(pool.tick, 1)  # 0 if no price but 0 was ever in the book
    if downwards:
        width = -width
    guess = (0.5 if not downwards else -0.5) * limit * pool.inverse_tick + pool.origin
    index: Any = np.int64(min(max(guess, 0.0), float(MAX_TICK)))
    if downwards:
        while width * (index - pool.origin) > limit:
            index += 1
        while index > 0 and width * (index - pool.origin - 1) <= limit:
            index -= 1
        return index
    while index >= 0 and width * (index - pool.origin) > limit:
        index -= 1
    while index < MAX_TICK and width * (index - pool.origin + 1) <= limit:
        index += 1
    return index


@inlined_kernel
def _entries_within(last, base, downwards):
    """Returns the bitmap of the entries of a leaf, whose first tick is `base`, up to the tick `last`."""
    entry = last - base
    if downwards:
        return 0 if entry >= ENTRIES else _ALL if entry <= 0 else _ALL << entry
    return 0 if entry < 0 else _ALL if entry >= ENTRIES - 1 else (2 << entry) - 1


@inlined_kernel
def _leaves_within(last, base, downwards):
    """Returns the bitmap of the leaves of a node, whose first tick is `base`, of which all ticks are within `last`."""
    leaf = -((base - last) >> BLOCK_BITS) if downwards else ((last - base + 1) >> BLOCK_BITS) - 1
    return _entries_within(leaf, 0, downwards)


@rare_kernel
def _sum_of_leaves(blocks, node, leaves):
    """Returns the sum of all sizes in some leaves of a node, or NO_SUM if one has no sum, or it may have more than 62 bits."""
    total, bits = 0, 0
    for child in range(trailing_zeros(leaves), highest_bit(leaves) + 1):
        leaf = blocks[np.uint64(node + child)] & -(shifted(leaves, child) & 1)  # 0 has a sum, too, which is 0
        size = blocks[sum_place(blocks, leaf)]
        total += size
        bits |= size
    return total if 0 <= bits < LARGE else NO_SUM


@rare_kernel
def _sum_of(blocks, leaf, entries):
    """Returns the sum of the sizes of entries of a leaf, or NO_SUM if it may have more than 62 bits."""
    total, bits = 0, 0
    for entry in range(trailing_zeros(entries), highest_bit(entries) + 1):
        size = blocks[np.uint64(leaf + entry)] & -(shifted(entries, entry) & 1)
        total += size
        bits |= size
    return total if bits < LARGE else NO_SUM


@inlined_kernel
def _span(entries):
    return highest_bit(entries) - trailing_zeros(entries)


@rare_kernel
def _add_one_by_one(blocks, leaf, entries, sums, place):
    """Add the sizes of entries of a leaf to the wide number at `place`."""
    while entries != 0:
        add_wide(sums, place, blocks[leaf + trailing_zeros(entries)])
        entries &= entries - 1


@inlined_kernel
def _add_entries(blocks, leaf, used, entries, rest, sums, place, pending):
    """Add the sizes of entries of a leaf to `pending`, or to the wide number at `place`. They are some of those `used`.

    `rest` is the sum of all these, or NO_SUM. Returns (pending, what is left of the rest).
    """
    others = used & ~entries
    if rest != NO_SUM and others != 0 and _span(others) < _span(entries):  # the less memory is read, the better
        total = rest - _sum_of(blocks, leaf, others)
    else:
        total = _sum_of(blocks, leaf, entries)
    if total == NO_SUM:
        _add_one_by_one(blocks, leaf, entries, sums, place)
        return pending, NO_SUM
    if pending >= LARGE:
        add_wide(sums, place, pending)
        pending = 0
    return pending + total, rest - total if rest != NO_SUM else NO_SUM


@inlined_kernel
def _node_at(blocks, side, index):
    """Returns the node above the leaf of the tick `index`, or the root if that is a leaf; NO_BLOCK if there is none."""
    shift = BLOCK_BITS * (side.height - 1)
    node = side.root if not is_beyond(index, side.height) else NO_BLOCK
    while shift > BLOCK_BITS and node != NO_BLOCK:
        entry = (index >> shift) & ENTRY_MASK
        node = blocks[node + entry] if (blocks[node + USED] >> entry) & 1 else NO_BLOCK
        shift -= BLOCK_BITS
    return node


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
    place, pending = 0, 0
    last = _last_within(pool, outwards * middle + abs(middle) * distances[0] / _BPS, downwards)
    index: Any = side.best if side.level_count > 0 else -1
    while index >= 0 and place < count:
        node = _node_at(blocks, side, index)
        if node == NO_BLOCK:
            index = next_level(blocks, side, index, downwards)
            continue
        base = index & ~(ENTRIES * ENTRIES - 1)
        children, has_sums = (blocks[node + USED], True) if side.height > 1 else (1, False)
        while children != 0 and place < count:
            whole = children & _leaves_within(last, base, downwards) if has_sums else 0
            if whole & (whole - 1) != 0:
                total = _sum_of_leaves(blocks, node, whole)
                has_sums = total != NO_SUM
                if has_sums:
                    if pending >= LARGE:
                        add_wide(sums, first + 2 * place, pending)
                        pending = 0
                    pending += total
                    children &= ~whole
                    continue
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
                    pending, rest = _add_entries(blocks, leaf, used, entries, rest, sums, first + 2 * place, pending)
                    used &= ~entries
                if used != 0:
                    if pending != 0:
                        add_wide(sums, first + 2 * place, pending)
                        pending = 0
                    place += 1
                    if place < count:
                        limit = outwards * middle + abs(middle) * distances[place] / _BPS
                        last = _last_within(pool, limit, downwards)
        index = base - 1 if downwards else base + ENTRIES * ENTRIES
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
