"""The copy-on-write price ladder: a radix tree from price ticks to sizes, in blocks of one preallocated pool.

A block has 64 entries and a bitmap of those in use. A leaf's entries are sizes, and a node's are numbers of child blocks, so
one kind of block, one copy function and one free list serve both. The height of a side's tree grows with its highest tick; any
price between -10^18 and 10^18 fits into 11 levels of blocks.

Ticks are counted from 0 on, so the tick of price 0 has the number `POOL_STATE.origin`. It is 0 until a price is negative. Then it
is a power of 64, so that it rarely has to grow, and a tree of small prices stays low (ADR 27).

A snapshot ends an epoch. While it is held, no block that was reachable from the roots at that moment is written: a later write
first copies the block, and the nodes above it, to free blocks. A block that the live tree has replaced is kept until every
snapshot that can see it is released.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.book.block_pool import (
    BLOCK_BITS,
    BLOCK_BYTES,
    BLOCK_WORDS,
    BORN,
    ENTRIES,
    ENTRY_MASK,
    FIRST_BLOCK,
    FOUND_LEAVES,
    FOUND_MASK,
    HEIGHT,
    KEY,
    LARGE,
    NEXT,
    NO_BLOCK,
    NO_KEY,
    NO_SNAPSHOT,
    NO_SUM,
    NOWHERE,
    POOL_STATE,
    SUM_BITS,
    USED,
    drop_block,
    private,
    sum_place,
    take_block,
)
from cowbook.kernels.intrinsics import highest_bit, trailing_zeros
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import NONE

BID = 0
ASK = 1
# Trees besides the two live ones: the book before a depth snapshot, and a tree that is being rebuilt.
BEFORE = 2  # BEFORE + BID and BEFORE + ASK: the book before a depth snapshot
SCRATCH = 4

MAX_TICK = 2**61 - 1  # at most 2^60, the origin of a price above -10^18, and 10^18
MAX_HEIGHT = 11  # ENTRIES ** 10 = 2^60

OK = 0
POOL_EXHAUSTED = 1

SIDE_STATE = np.dtype(
    [
        ("root", np.int64),
        ("height", np.int64),  # 1 if the root is a leaf
        ("level_count", np.int64),
        ("best", np.int64),  # tick of the best price; undefined without levels
    ]
)


class Book(NamedTuple):
    """The trees of both sides, `sides[BID]` and `sides[ASK]`, and the pool of blocks that they share."""

    pool: npt.NDArray[np.void]  # POOL_STATE, (1,)
    sides: npt.NDArray[np.void]  # SIDE_STATE, (5,)
    blocks: npt.NDArray[np.int64]  # flat: a block is named by the index of its first word


def allocate(max_book_bytes: int) -> Book:
    """Returns empty ladders whose blocks take at most `max_book_bytes`. The memory is reserved, but not touched."""
    count = max(max_book_bytes // (BLOCK_BYTES + (BLOCK_BYTES >> SUM_BITS)), 2 * MAX_HEIGHT)
    end = FIRST_BLOCK + count * BLOCK_WORDS
    arrays = Book(
        pool=np.zeros(1, POOL_STATE),
        sides=np.zeros(SCRATCH + 1, SIDE_STATE),
        blocks=np.empty(end + (end >> SUM_BITS) + 1, np.int64),
    )
    arrays.blocks[: 2 * FOUND_LEAVES] = NOWHERE
    arrays.blocks[NOWHERE:FIRST_BLOCK] = NO_KEY
    arrays.blocks[-1] = 0  # the sum of what has no leaf
    arrays.pool["fresh"] = FIRST_BLOCK
    arrays.pool["end"] = end
    arrays.pool["middle_of_origin"] = 0.5
    for name in ("protected", "first_snapshot", "second_snapshot"):
        arrays.pool[name] = NO_SNAPSHOT
    arrays.pool["free_head"] = NO_BLOCK
    arrays.pool["retired_head"] = NO_BLOCK
    arrays.sides["root"] = NO_BLOCK
    return arrays


@kernel
def _private_child(book, block, entry):
    """Make the child at `entry` of the private block `block` private, too. Returns it; NO_BLOCK if the pool is exhausted."""
    blocks = book.blocks
    child = blocks[block + entry]
    if blocks[child + BORN] <= book.pool[0].protected:
        child = private(book.pool, blocks, child)
        if child != NO_BLOCK:
            blocks[block + entry] = child
    return child


@inlined_kernel
def is_beyond(index, height):
    """Returns whether a tree of this height is too low for the tick `index`."""
    return height < MAX_HEIGHT and index >> (BLOCK_BITS * height) != 0


@kernel
def _raise_root(book, side, index):
    """Make the tree high enough for the tick `index`. Returns OK or POOL_EXHAUSTED."""
    blocks = book.blocks
    if side.root == NO_BLOCK:
        height = 1
        while is_beyond(index, height):
            height += 1
        side.height = height
        side.root = take_block(book.pool, blocks, height)
        return OK if side.root != NO_BLOCK else POOL_EXHAUSTED
    while is_beyond(index, side.height):
        node = take_block(book.pool, blocks, side.height + 1)
        if node == NO_BLOCK:
            return POOL_EXHAUSTED
        blocks[node] = side.root
        blocks[node + USED] = 1
        side.root = node
        side.height += 1
    return OK


@inlined_kernel
def _follow(blocks, leaf, old, new):
    """Have the sum of a leaf follow, in which the size `new` has come into the place of `old`; 0 is that of no level."""
    place = sum_place(blocks, leaf)
    total = blocks[place]
    blocks[place] = total + new - old if (total >= 0) & (new < LARGE) else NO_SUM


@kernel
def _insert(book, side_number, index, size):
    """Set the size, which must be above 0, at the tick `index`. Returns OK or POOL_EXHAUSTED."""
    pool, sides, blocks = book.pool, book.sides, book.blocks
    side = sides[side_number]
    if side.root == NO_BLOCK or is_beyond(index, side.height):
        if _raise_root(book, side, index) != OK:
            return POOL_EXHAUSTED
    block = side.root
    if blocks[block + BORN] <= pool[0].protected:
        block = private(pool, blocks, block)
        if block == NO_BLOCK:
            return POOL_EXHAUSTED
        side.root = block
    shift = BLOCK_BITS * (side.height - 1)
    while shift > 0:
        entry = (index >> shift) & ENTRY_MASK
        if blocks[block + USED] & (1 << entry):
            child = _private_child(book, block, entry)
        else:
            child = take_block(pool, blocks, shift // BLOCK_BITS)
            if child != NO_BLOCK:
                blocks[block + entry] = child
                blocks[block + USED] |= 1 << entry
        if child == NO_BLOCK:
            return POOL_EXHAUSTED
        block = child
        shift -= BLOCK_BITS
    if side_number <= ASK:
        leaf = index >> BLOCK_BITS
        blocks[block + KEY] = 2 * leaf + side_number
        blocks[side_number * FOUND_LEAVES + (leaf & FOUND_MASK)] = block
    entry = index & ENTRY_MASK
    used = blocks[block + USED]
    old = blocks[block + entry] & -((used >> entry) & 1)
    blocks[block + entry] = size
    _follow(blocks, block, old, size)
    if used & (1 << entry) == 0:
        blocks[block + USED] = used | (1 << entry)
        side.level_count += 1
        if side.level_count == 1 or (index > side.best) == (side_number == BID):
            side.best = index
    return OK


@kernel
def _remove(book, side_number, index):
    """Remove the level at the tick `index`, if there is one. Returns OK or POOL_EXHAUSTED."""
    pool, sides, blocks = book.pool, book.sides, book.blocks
    side = sides[side_number]
    if side.root == NO_BLOCK or is_beyond(index, side.height):
        return OK
    # Search first, without copying: removing an unknown level is routine. The anchor, at `anchor_shift`, is the lowest block of
    # the path that has other entries. The blocks below it hold this level only, and are dropped with it.
    top_shift = BLOCK_BITS * (side.height - 1)
    block = side.root
    shift = top_shift
    anchor_shift = -1
    while True:
        used = blocks[block + USED]
        entry = (index >> shift) & ENTRY_MASK
        if used & (1 << entry) == 0:
            return OK
        if used & (used - 1) != 0:
            anchor_shift = shift
        if shift == 0:
            break
        block = blocks[block + entry]
        shift -= BLOCK_BITS
    block = side.root
    shift = top_shift
    if anchor_shift < 0:
        side.root = NO_BLOCK
    else:
        block = private(pool, blocks, block)
        if block == NO_BLOCK:
            return POOL_EXHAUSTED
        side.root = block
        while shift > anchor_shift:
            block = _private_child(book, block, (index >> shift) & ENTRY_MASK)
            if block == NO_BLOCK:
                return POOL_EXHAUSTED
            shift -= BLOCK_BITS
        entry = (index >> shift) & ENTRY_MASK
        blocks[block + USED] &= ~(1 << entry)
        if shift == 0:
            _follow(blocks, block, blocks[block + entry], 0)
        block = blocks[block + entry]
        shift -= BLOCK_BITS
    while shift >= 0:
        child = blocks[block + ((index >> shift) & ENTRY_MASK)]
        drop_block(pool, blocks, block)
        block = child
        shift -= BLOCK_BITS
    side.level_count -= 1
    if index == side.best and side.level_count > 0:
        side.best = _extreme(blocks, side.root, top_shift, side_number == BID)
    return OK


@kernel
def _extreme(blocks, block, shift, highest):
    """Returns the lowest or highest tick with a level below `block`, relative to the block's first tick.

    An entry of the block is 2^shift ticks wide.
    """
    index = 0
    while True:
        used = blocks[block + USED]
        entry = highest_bit(used) if highest else trailing_zeros(used)
        index |= entry << shift
        if shift == 0:
            return index
        block = blocks[block + entry]
        shift -= BLOCK_BITS


@kernel
def next_level(blocks, side, index, downwards):
    """Returns the nearest tick with a level, from `index` upwards, or downwards if `downwards`; -1 if there is none."""
    if side.root == NO_BLOCK or index < 0:
        return -1
    top_shift = BLOCK_BITS * (side.height - 1)
    if is_beyond(index, side.height):
        if not downwards:
            return -1
        index = (1 << (top_shift + BLOCK_BITS)) - 1
    # Follow the path to `index`. If it ends early, turn off at its lowest block that has an entry in the wanted direction.
    block = side.root
    shift = top_shift
    turn_block = NO_BLOCK
    turn_shift = 0
    turn_entries = 0
    while True:
        used = blocks[block + USED]
        entry = (index >> shift) & ENTRY_MASK
        bit = 1 << entry
        beside = used & (bit - 1) if downwards else used & ~(bit | (bit - 1))
        if beside != 0:
            turn_block = block
            turn_shift = shift
            turn_entries = beside
        if used & bit == 0:
            break
        if shift == 0:
            return index
        block = blocks[block + entry]
        shift -= BLOCK_BITS
    if turn_block == NO_BLOCK:
        return -1
    entry = highest_bit(turn_entries) if downwards else trailing_zeros(turn_entries)
    base = (((index >> turn_shift) & ~ENTRY_MASK) | entry) << turn_shift
    if turn_shift == 0:
        return base
    return base | _extreme(blocks, blocks[turn_block + entry], turn_shift - BLOCK_BITS, downwards)


@kernel
def _gcd(a, b):
    while b != 0:
        a, b = b, a % b
    return a


@rare_kernel
def _lowest_price(book, price):
    """Returns the lowest of `price` and all prices in the trees."""
    for side_number in range(SCRATCH):
        if book.sides[side_number].root != NO_BLOCK:
            price = min(price, price_of(book, next_level(book.blocks, book.sides[side_number], 0, False)))
    return price


@rare_kernel
def _rebase(book, price):
    """Number the ticks so that `price` has one, by rebuilding all trees. Returns OK or POOL_EXHAUSTED."""
    pool, sides, blocks = book.pool, book.sides, book.blocks
    old_tick, old_origin = pool[0].tick, pool[0].origin
    tick = _gcd(old_tick, abs(price))
    lowest, origin = _lowest_price(book, price), 0
    if lowest < 0:
        origin = ENTRIES
        while origin < -lowest // tick:
            origin *= ENTRIES
    for side_number in range(SCRATCH):
        if sides[side_number].root == NO_BLOCK:
            continue
        move_side(book, side_number, SCRATCH)
        old = sides[SCRATCH]
        index = next_level(blocks, old, 0, False)
        while index >= 0:
            size = size_at_tick(blocks, old, index)
            if _insert(book, side_number, (index - old_origin) * (old_tick // tick) + origin, size) != OK:
                return POOL_EXHAUSTED
            index = next_level(blocks, old, index + 1, False)
        clear_side(book, SCRATCH)
    pool[0].tick = tick
    pool[0].inverse_tick = 1.0 / tick
    pool[0].origin = origin
    pool[0].middle_of_origin = origin + 0.5
    return OK


@rare_kernel
def move_side(book, source, target):
    """Move the levels of the tree `source` to the tree `target`, which must be empty."""
    sides, blocks = book.sides, book.blocks
    if source <= ASK:
        for place in range(source * FOUND_LEAVES, (source + 1) * FOUND_LEAVES):
            blocks[place] = NOWHERE
    sides[target].root = sides[source].root
    sides[target].height = sides[source].height
    sides[target].level_count = sides[source].level_count
    sides[target].best = sides[source].best
    sides[source].root = NO_BLOCK
    sides[source].height = 0
    sides[source].level_count = 0


@kernel
def set_level(book, side_number, price, size):
    """Set the absolute size at a price of a live side. A size of 0 removes the level, if there is one.

    `price` and `size` are fixed-point numbers below 10^18. The price is above -10^18, the size at least 0. Returns OK or
    POOL_EXHAUSTED.
    """
    return _set_level(book, side_number, price, size)


@kernel
def set_levels(book, side_number, levels, start, count):
    """Set `levels[start : start + count]` of a live side, each as `set_level` does. Returns OK or POOL_EXHAUSTED."""
    for level in range(start, start + count):
        if _set_level(book, side_number, levels.prices[level], levels.sizes[level]) != OK:
            return POOL_EXHAUSTED
    return OK


@inlined_kernel
def price_of(book, index):
    """Returns the price of the tick `index`."""
    return (index - book.pool[0].origin) * book.pool[0].tick


@kernel
def _tick_of(book, price):
    """Returns the number of the tick of a price; -1 if it has none."""
    state = book.pool[0]
    index = price // state.tick + state.origin if state.tick != 0 else 0
    return index if index >= 0 and price_of(book, index) == price else -1


@inlined_kernel
def _set_level(book, side_number, price, size):
    sides, blocks, state = book.sides, book.blocks, book.pool[0]
    index: Any = np.int64(price * state.inverse_tick + state.middle_of_origin)
    if price_of(book, index) != price or index < 0:
        # The price is no multiple of the tick, below the first one, or too large for the guess to be exact.
        index = _tick_of(book, price)
        if index < 0:
            if size == 0:
                return OK  # no level can have this price
            if _rebase(book, price) != OK:
                return POOL_EXHAUSTED
            index = _tick_of(book, price)
    leaf = index >> BLOCK_BITS
    # Places are unsigned, since one that may be negative has to be looked at.
    block = blocks[np.uint64(side_number * FOUND_LEAVES + (leaf & FOUND_MASK))]
    is_found = blocks[np.uint64(block + KEY)] == 2 * leaf + side_number
    if not is_found or blocks[np.uint64(block + BORN)] <= state.protected:
        if size == 0:
            return _remove(book, side_number, index)
        return _insert(book, side_number, index, size)
    # Without branches that nobody can guess: whether the level is there, and whether it goes, is near to a coin's toss.
    side = sides[side_number]
    used = blocks[np.uint64(block + USED)]
    entry = index & ENTRY_MASK
    stays = np.int64(size != 0)
    left = (used & ~(1 << entry)) | (stays << entry)
    if left == 0:  # the leaf would be empty: it is dropped, and perhaps nodes above it
        return _remove(book, side_number, index)
    was = (used >> entry) & 1
    old = blocks[np.uint64(block + entry)] & -was
    blocks[np.uint64(block + entry)] = size
    blocks[np.uint64(block + USED)] = left
    _follow(blocks, block, old, size)
    side.level_count += stays - was
    beyond = index - side.best if side_number == BID else side.best - index
    if beyond == 0 and stays == 0:
        bit = 1 << entry
        beside = left & (bit - 1) if side_number == BID else left & ~(bit | (bit - 1))
        if beside != 0:
            entry = highest_bit(beside) if side_number == BID else trailing_zeros(beside)
            side.best = (leaf << BLOCK_BITS) | entry
        else:
            side.best = _extreme(blocks, side.root, BLOCK_BITS * (side.height - 1), side_number == BID)
        return OK
    side.best = index if (beyond > 0) & (stays != 0) else side.best
    return OK


@kernel
def put_level(book, side_number, price, size):
    """As `set_level`, for a tree of either kind, without the cache of leaves."""
    index = _tick_of(book, price)
    if index < 0:
        if size == 0:
            return OK
        if _rebase(book, price) != OK:
            return POOL_EXHAUSTED
        index = _tick_of(book, price)
    if size == 0:
        return _remove(book, side_number, index)
    return _insert(book, side_number, index, size)


@rare_kernel
def clear_side(book, side_number):
    """Remove all levels of a side."""
    pool, sides, blocks = book.pool, book.sides, book.blocks
    side = sides[side_number]
    block = side.root
    if block == NO_BLOCK:
        return
    blocks[block + NEXT] = NO_BLOCK
    while block != NO_BLOCK:  # NEXT links the blocks that are still to be dropped
        following = blocks[block + NEXT]
        used = blocks[block + USED] if blocks[block + HEIGHT] > 1 else 0
        while used != 0:
            child = blocks[block + trailing_zeros(used)]
            used &= used - 1
            blocks[child + NEXT] = following
            following = child
        drop_block(pool, blocks, block)
        block = following
    side.root = NO_BLOCK
    side.height = 0
    side.level_count = 0


@inlined_kernel
def leaf_at(blocks, side, side_number, index):
    """Returns the leaf of the tick `index` of a live side, which must have a level in it."""
    number = index >> BLOCK_BITS
    leaf = blocks[np.uint64(side_number * FOUND_LEAVES + (number & FOUND_MASK))]
    if blocks[np.uint64(leaf + KEY)] != 2 * number + side_number:
        leaf = side.root
        shift = BLOCK_BITS * (side.height - 1)
        while shift > 0:
            leaf = blocks[leaf + ((index >> shift) & ENTRY_MASK)]
            shift -= BLOCK_BITS
    return leaf


@kernel
def copy_levels(book, side_number, count, prices, sizes, first, step):
    """Copy up to `count` levels to the places `first`, `first + step`, … of two arrays. Returns the number of levels copied.

    The best level comes first: the order is downwards for the live bid side, and upwards for every other tree.
    """
    blocks, side = book.blocks, book.sides[side_number]
    downwards = side_number == BID
    place = first
    copied = 0
    if side_number <= ASK and side.level_count > 0:
        index: Any = side.best
    else:
        index = next_level(blocks, side, MAX_TICK if downwards else 0, downwards)
    while index >= 0 and copied < count:
        leaf = side.root
        shift = BLOCK_BITS * (side.height - 1)
        while shift > 0:
            leaf = blocks[leaf + ((index >> shift) & ENTRY_MASK)]
            shift -= BLOCK_BITS
        base = index & ~ENTRY_MASK
        used = blocks[leaf + USED]
        while used != 0 and copied < count:
            entry = highest_bit(used) if downwards else trailing_zeros(used)
            used &= ~(1 << entry)
            prices[place] = price_of(book, base | entry)
            sizes[place] = blocks[leaf + entry]
            place += step
            copied += 1
        if copied == count:
            break
        index = next_level(blocks, side, base - 1 if downwards else base + ENTRIES, downwards)
    return copied


@kernel
def size_at_tick(blocks, side, index):
    """Returns the size at a tick; 0 if there is no level."""
    if side.root == NO_BLOCK or is_beyond(index, side.height):
        return 0
    block = side.root
    shift = BLOCK_BITS * (side.height - 1)
    while shift >= 0:
        entry = (index >> shift) & ENTRY_MASK
        if blocks[block + USED] & (1 << entry) == 0:
            return 0
        block = blocks[block + entry]
        shift -= BLOCK_BITS
    return block  # the entry of a leaf, which is a size


@kernel
def find_size(book, side_number, price):
    """Returns the size at a price; 0 if there is no level."""
    index = _tick_of(book, price)
    return size_at_tick(book.blocks, book.sides[side_number], index) if index >= 0 else 0


@kernel
def best_level(book, side_number):
    """Returns (price, size) of the best level; (NONE, NONE) for an empty side."""
    side = book.sides[side_number]
    if side.level_count == 0:
        return NONE, NONE
    return price_of(book, side.best), size_at_tick(book.blocks, side, side.best)


@kernel
def worst_level(book, side_number):
    """Returns the price of the worst level of a side of either kind, which must have one."""
    side = book.sides[side_number]
    highest = side_number == ASK or side_number == BEFORE + ASK
    return price_of(book, _extreme(book.blocks, side.root, BLOCK_BITS * (side.height - 1), highest))


@kernel
def fill_side(book, side_number, prices, sizes):
    """Set the levels of a live side from two int64 arrays of equal length. Returns OK or POOL_EXHAUSTED."""
    for level in range(prices.size):
        if set_level(book, side_number, prices[level], sizes[level]) != OK:
            return POOL_EXHAUSTED
    return OK
