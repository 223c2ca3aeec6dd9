"""The pool of blocks that ladders are made of. Blocks are copied on write, and free again once no tree refers to them (ADR 2)."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import inlined_kernel, kernel

BLOCK_BITS = 6
ENTRIES = 1 << BLOCK_BITS
ENTRY_MASK = ENTRIES - 1
# A block is 72 words: its entries (sizes in a leaf, numbers of child blocks in a node), and the words named here.
USED = ENTRIES  # bitmap of the entries in use
BORN = ENTRIES + 1  # epoch in which it was taken or copied for the live tree
RETIRED_AT = ENTRIES + 2  # epoch in which the live tree dropped it
HEIGHT = ENTRIES + 3  # 1: a leaf
KEY = ENTRIES + 4  # in a leaf of a live side: 2 * leaf number + side; else NO_KEY
NEXT = ENTRIES + 5  # next block in its list: free, retired, or to be dropped
BLOCK_WORDS = ENTRIES + 8  # whole cache lines
BLOCK_BYTES = BLOCK_WORDS * 8
NO_KEY = -1

# The first words of the pool cache where leaves were found, by the low bits of the leaf number. A stale entry does no harm: the
# block's KEY says which leaf it is. `NOWHERE` is a dummy block that is no leaf.
FOUND_LEAVES = 1024  # for each side
FOUND_MASK = FOUND_LEAVES - 1
NOWHERE = 2 * FOUND_LEAVES
FIRST_BLOCK = NOWHERE + BLOCK_WORDS

# Behind the last block is a table of the sums of leaves' sizes. It is apart from them, since whoever adds up sums of many leaves
# would wait for the memory of each.
NO_SUM = -1  # of a leaf of which a size was ever LARGE
LARGE = 1 << 56  # 64 sizes below it have a sum of less than 63 bits
SUM_BITS = 6  # a block has more than 1 << SUM_BITS words, so that each has a sum of its own

NO_BLOCK = -1
NO_SNAPSHOT = -1

POOL_STATE = np.dtype(
    [
        ("tick", np.int64),  # greatest common divisor of the prices seen; 0 before the first
        ("inverse_tick", np.float64),  # 1 / tick, for a guess at the quotient; 0 before the first price
        ("origin", np.int64),  # number of the tick of price 0; above 0 once a price was negative
        ("middle_of_origin", np.float64),  # origin + 0.5, for the guess
        ("epoch", np.int64),
        ("protected", np.int64),  # a held snapshot may see blocks born up to this epoch; -1 if none is held
        ("first_snapshot", np.int64),  # epochs of the held snapshots, at most two; else NO_SNAPSHOT
        ("second_snapshot", np.int64),
        ("fresh", np.int64),  # first block that was never used
        ("end", np.int64),  # first word behind the last block
        ("free_head", np.int64),  # list of blocks that were given back
        ("free_count", np.int64),
        ("retired_head", np.int64),  # list of blocks that only snapshots see
        ("retired_tail", np.int64),  # last block of that list; undefined while it is empty
        ("retired_count", np.int64),
        ("block_copies", np.int64),  # since the start
    ]
)


@inlined_kernel
def sum_place(blocks, leaf):
    """Returns the place of the sum of a leaf's sizes."""
    return np.uint64(blocks.size - 1 - (leaf >> SUM_BITS))


@kernel
def blocks_available(pool):
    """Returns the number of blocks that can still be taken."""
    return (pool[0].end - pool[0].fresh) // BLOCK_WORDS + pool[0].free_count


@kernel
def take_block(pool, blocks, height):
    """Returns an empty block of the live tree's own, or NO_BLOCK if the pool is exhausted."""
    state = pool[0]
    block = state.free_head
    if block != NO_BLOCK:
        state.free_head = blocks[block + NEXT]
        state.free_count -= 1
    elif state.fresh < state.end:
        block = state.fresh
        state.fresh += BLOCK_WORDS
    else:
        return NO_BLOCK
    blocks[block + USED] = 0
    blocks[block + BORN] = state.epoch
    blocks[block + HEIGHT] = height
    blocks[block + KEY] = NO_KEY
    blocks[sum_place(blocks, block)] = 0
    return block


@kernel
def free_block(pool, blocks, block):
    state = pool[0]
    blocks[block + NEXT] = state.free_head
    state.free_head = block
    state.free_count += 1


@kernel
def drop_block(pool, blocks, block):
    """Drop a block from the live tree. It is free at once, or retired while a snapshot may see it."""
    state = pool[0]
    blocks[block + KEY] = NO_KEY
    if blocks[block + BORN] > state.protected:
        free_block(pool, blocks, block)
        return
    # Snapshots do not read KEY, RETIRED_AT and NEXT, so these words may change while one is held.
    blocks[block + RETIRED_AT] = state.epoch
    retire_block(pool, blocks, block)


@kernel
def retire_block(pool, blocks, block):
    state = pool[0]
    if state.retired_head == NO_BLOCK:
        state.retired_tail = block
    blocks[block + NEXT] = state.retired_head
    state.retired_head = block
    state.retired_count += 1


@kernel
def private(pool, blocks, block):
    """Returns a block that may be written to: `block` itself if no snapshot sees it, else a copy.

    The caller puts the copy in the place of `block`, which is dropped. Returns NO_BLOCK if the pool is exhausted.
    """
    if blocks[block + BORN] > pool[0].protected:
        return block
    copy = take_block(pool, blocks, blocks[block + HEIGHT])
    if copy == NO_BLOCK:
        return NO_BLOCK
    for word in range(USED + 1):
        blocks[copy + word] = blocks[block + word]
    blocks[copy + KEY] = blocks[block + KEY]
    blocks[sum_place(blocks, copy)] = blocks[sum_place(blocks, block)]
    pool[0].block_copies += 1
    drop_block(pool, blocks, block)
    return copy


@kernel
def release(pool, blocks, epoch):
    """End the snapshot of `epoch`, and free the retired blocks that no other snapshot sees."""
    state = pool[0]
    if state.first_snapshot == epoch:
        state.first_snapshot = NO_SNAPSHOT
    if state.second_snapshot == epoch:
        state.second_snapshot = NO_SNAPSHOT
    state.protected = max(state.first_snapshot, state.second_snapshot)
    block = state.retired_head
    state.retired_head = NO_BLOCK
    state.retired_count = 0
    while block != NO_BLOCK:
        following = blocks[block + NEXT]
        born = blocks[block + BORN]
        retired_at = blocks[block + RETIRED_AT]
        if born <= state.first_snapshot < retired_at or born <= state.second_snapshot < retired_at:
            retire_block(pool, blocks, block)
        else:
            free_block(pool, blocks, block)
        block = following
