"""Decodes a block that ends at a damaged place of its file.

The records before it are decoded as ever. The place itself becomes a dead letter. Its content is the record that was left
unfinished there, since nothing tells what the lost bytes would have made of it.
"""

from __future__ import annotations

from collections.abc import Callable

from cowbook.plain.block import Block
from cowbook.plain.messages import DEAD_LETTER, NONE, DeadLetter, EventBatch
from cowbook.plain.vocabulary import DAMAGED

DEAD_LETTER_BYTES = 4_096
"""How many bytes of a rejected record a dead letter keeps."""

Unfinished = tuple[int, int, bytes]
"""Offset, length and first bytes of an unfinished record."""


def decode_up_to_damage(
    block: Block,
    batch: EventBatch,
    decode: Callable[[Block, EventBatch], bool],
    give_up: Callable[[Block, EventBatch], Unfinished | None],
) -> bool:
    """As `Decoder.decode`, for a block with `damage`, by a decoder's `decode` for blocks without.

    `give_up` takes the unfinished record at `block.start` out of the decoder. It returns None if the batch is full.
    """
    end, is_final = block.end, block.final
    block.end, block.final = end - 1, False
    try:
        if decode(block, batch) or batch.message_count == len(batch.messages):
            return True
        unfinished = give_up(block, batch)
        if unfinished is None or batch.message_count == len(batch.messages):
            return True
    finally:
        block.end, block.final = end, is_final
    offset, length, content = unfinished
    assert block.damage is not None
    block.start = end
    batch.dead_letters.append(DeadLetter(block.file, offset, length, "damaged", content, block.damage))
    batch.messages[batch.message_count] = 0
    message = batch.messages[batch.message_count]
    message["kind"], message["flags"], message["ts_event"] = DEAD_LETTER, DAMAGED, NONE
    message["end_offset"] = block.offset_of(end)
    batch.message_count += 1
    return False


def unfinished_at(block: Block) -> Unfinished:
    """What is left of a block, as an unfinished record."""
    content = block.buffer[block.start : min(block.end, block.start + DEAD_LETTER_BYTES)].tobytes()
    return block.offset_of(block.start), block.end - block.start, content
