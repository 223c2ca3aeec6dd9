"""The pool of blocks that ladders are made of. Blocks are copied on write, and free again once no tree refers to them (ADR 2)."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import kernel

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
SUM = ENTRIES + 6  # in a leaf: the sum of its sizes once somebody has asked for it, until one changes; else NO_SUM
BLOCK_WORDS = ENTRIES + 8  # whole cache lines
BLOCK_BYTES = BLOCK_WORDS * 8
NO_KEY = -1
NO_SUM = -1

# The first words of the pool cache where leaves were found, by the low bits of the leaf number. A stale entry does no harm: the
# block's KEY says which leaf it is. `NOWHERE` is a dummy block that is no leaf.
FOUND_LEAVES = 1024  # for each side
FOUND_MASK = FOUND_LEAVES - 1
NOWHERE = 2 * FOUND_LEAVES
FIRST_BLOCK = NOWHERE + BLOCK_WORDS
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
        ("free_head", np.int64),  # list of blocks that were given back
        ("free_count", np.int64),
        ("retired_head", np.int64),  # list of blocks that only snapshots see
        ("retired_tail", np.int64),  # last block of that list; undefined while it is empty
        ("retired_count", np.int64),
        ("block_copies", np.int64),  # since the start
    ]
)


@kernel
def blocks_available(pool, blocks):
    """Returns the number of blocks that can still be taken."""
    return (blocks.size - pool[0].fresh) // BLOCK_WORDS + pool[0].free_count


@kernel
def take_block(pool, blocks, height):
    """Returns an empty block of the live tree's own, or NO_BLOCK if the pool is exhausted."""
    state = pool[0]
    block = state.free_head
    if block != NO_BLOCK:
        state.free_head = blocks[block + NEXT]
        state.free_count -= 1
    elif state.fresh < blocks.size:
        block = state.fresh
        state.fresh += BLOCK_WORDS
    else:
        return NO_BLOCK
    blocks[block + USED] = 0
    blocks[block + BORN] = state.epoch
    blocks[block + HEIGHT] = height
    blocks[block + KEY] = NO_KEY
    blocks[block + SUM] = NO_SUM
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
    # Snapshots do not read KEY, RETIRED_AT, NEXT and SUM, so these words may change while one is held.
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
