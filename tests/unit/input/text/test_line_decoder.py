"""The decoder of text records: what it leaves in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DEAD_LETTER, MESSAGE, EventBatch
from cowbook.venues.decoders import make_decoder


def block_of(content: bytes, base: int = 0) -> Block:
    """A block of a file that goes on behind it."""
    buffer = np.zeros(len(content) + PADDING, np.uint8)
    buffer[: len(content)] = np.frombuffer(content, np.uint8)
    return Block(buffer, 0, len(content), "file", base, final=False)


@pytest.mark.parametrize(
    "blocks",
    [[block_of(b"x" * 30), block_of(b"\n", 30)], [block_of(b"\xff\n")], [block_of(b"{}\n")]],
    ids=["overlong", "not_utf8", "unknown"],
)
def test_nothing_of_an_earlier_batch_is_left_in_a_dead_letter(blocks: list[Block]) -> None:
    """A batch is used again and again: a field that a message does not have is absent, whatever stood there before."""
    found = []
    for stale in (0, 7):
        decoder = make_decoder("bitfinex", DecoderSettings("tAB", 8, 8, 10))
        batch = EventBatch.allocate(4, 4)
        for block in blocks:
            block.start = 0
            for name in MESSAGE.names or ():
                batch.messages[name] = stale
            decoder.decode(block, batch)
        assert batch.message_count == 1
        assert batch.messages["kind"][0] == DEAD_LETTER
        found.append(batch.messages[0].tobytes())
    assert found[0] == found[1]
