"""Hands out the blocks of a file that does not grow, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cowbook.capture.compression import DecodedStream
from cowbook.capture.members import MARK
from cowbook.plain.block import PADDING, Block
from cowbook.plain.position import IDENTITY_BYTES


def read_blocks(file: DecodedStream, name: str, block_bytes: int, limit_bytes: int | None = None) -> Iterator[Block]:
    """Yields a file's blocks, each of up to `block_bytes` new bytes, up to `limit_bytes` decoded bytes; None: all of it.

    The bytes that the consumer leaves of one begin the next. Damage is a block's last byte. Only the last block of the whole file
    is final. Raises OSError.
    """
    offset = 0
    left = np.empty(0, np.uint8)
    head = b""
    while limit_bytes is None or offset < limit_bytes:
        wanted = block_bytes if limit_bytes is None else min(block_bytes, limit_bytes - offset)
        buffer = np.zeros(len(left) + wanted + PADDING, np.uint8)
        buffer[: len(left)] = left
        count = file.readinto(buffer.data[len(left) : len(left) + wanted]) or 0
        end = len(left) + count
        head += buffer[len(left) : end].tobytes()[: IDENTITY_BYTES - len(head)]
        if file.damage is not None and not count:
            buffer[end] = MARK[0]
            end += 1
        block = Block(buffer, 0, end, name, offset - len(left), not count, head, file.damage)
        yield block
        if block.final:
            return
        offset += count
        left = buffer[block.start : end]
