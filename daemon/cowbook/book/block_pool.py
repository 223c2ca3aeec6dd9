"""The pool of blocks that ladders are made of: taken, copied on write, and given back when nobody sees them any more (ADR 2)."""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import kernel

BLOCK_BITS = 6
ENTRIES = 1 << BLOCK_BITS
ENTRY_MASK = ENTRIES - 1
# A block is 72 words: its entries (sizes in a leaf, numbers of child blocks in a node), and
USED = ENTRIES  # bitmap of the entries in use
BORN = ENTRIES + 1  # epoch in which it was made private
RETIRED_AT = ENTRIES + 2  # epoch in which the live tree let go of it
HEIGHT = ENTRIES + 3  # 1: a leaf
KEY = ENTRIES + 4  # of a leaf of a live side: which one it is; else NO_KEY
NEXT = ENTRIES + 5  # next block of the list that it is in: free, retired, to be dropped
BLOCK_WORDS = ENTRIES + 8  # whole cache lines
BLOCK_BYTES = BLOCK_WORDS * 8
NO_KEY = -1

# The first words of the pool remember where leaves were found, by the low bits of their number. An entry is never wrong: the
# block itself says which leaf it is. `NOWHERE` is a block that is none.
FOUND_LEAVES = 1024  # for each side
FOUND_MASK = FOUND_LEAVES - 1
NOWHERE = 2 * FOUND_LEAVES
FIRST_BLOCK = NOWHERE + BLOCK_WORDS
NO_BLOCK = -1
NO_SNAPSHOT = -1

POOL_STATE = np.dtype(
    [
        ("tick", np.int64),  # greatest common divisor of the prices seen; 0 before the first
        ("inverse_tick", np.float64),  # 1 / tick, a guess for the division; 0 before the first price
        ("epoch", np.int64),
        ("protected", np.int64),  # blocks born up to this epoch belong to a living snapshot, too; -1 without one
        ("first_snapshot", np.int64),  # epochs of the living snapshots, at most two; NO_SNAPSHOT where none
        ("second_snapshot", np.int64),
        ("fresh", np.int64),  # blocks from here on were never used
        ("free_head", np.int64),  # list of blocks that can be taken again
        ("free_count", np.int64),
        ("retired_head", np.int64),  # list of blocks that only snapshots see
        ("retired_tail", np.int64),  # its last block; meaningless while it is empty
        ("retired_count", np.int64),
        ("block_copies", np.int64),  # since the start
    ]
)


@kernel
def blocks_available(pool, blocks):
    """Number of blocks that can still be taken."""
    return (blocks.size - pool[0].fresh) // BLOCK_WORDS + pool[0].free_count


@kernel
def take_block(pool, blocks, height):
    """A private block with nothing in use, or NO_BLOCK."""
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
    return block


@kernel
def free_block(pool, blocks, block):
    state = pool[0]
    blocks[block + NEXT] = state.free_head
    state.free_head = block
    state.free_count += 1


@kernel
def drop_block(pool, blocks, block):
    """The live tree lets go of `block`: free, unless a snapshot sees it."""
    state = pool[0]
    blocks[block + KEY] = NO_KEY
    if blocks[block + BORN] > state.protected:
        free_block(pool, blocks, block)
        return
    # KEY, RETIRED_AT and NEXT are not read through snapshots: these words may change under them.
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
    """`block` itself if nobody else sees it, else a copy that takes its place in the live tree, or NO_BLOCK."""
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
    """The snapshot of `epoch` is no longer read: what only it could see is free again."""
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
