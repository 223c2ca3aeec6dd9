"""Blocks of a whole file: nothing is lost, whatever is left of a block."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cowbook.capture.compression import open_decoded
from cowbook.capture.whole_file import read_blocks

CONTENT = bytes(range(33, 120)) * 50


def consumed(path: Path, block_bytes: int, limit: int | None = None, leave: int = 0) -> tuple[bytes, bool]:
    """What a consumer takes that leaves so many bytes of each block but the last; and whether the last one is final."""
    taken, is_final = b"", False
    with open_decoded(path) as file:
        for block in read_blocks(file, str(path), block_bytes, limit):
            assert block.offset_of(block.start) == len(taken)
            end = block.end if block.final else max(block.start, block.end - leave)
            taken += block.buffer[block.start : end].tobytes()
            block.start, is_final = end, block.final
    return taken, is_final


@pytest.mark.parametrize("leave", [0, 3])
@pytest.mark.parametrize("block_bytes", [7, 100, 1 << 20])
def test_what_is_left_of_a_block_begins_the_next(tmp_path: Path, block_bytes: int, leave: int) -> None:
    """The last block is final, and ends the file."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(CONTENT))
    assert consumed(path, block_bytes, leave=leave) == (CONTENT, True)


def test_up_to_a_limit_no_block_is_final(tmp_path: Path) -> None:
    """More may stand behind it."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert consumed(path, 100, 250) == (CONTENT[:250], False)
    assert consumed(path, 100, 10 * len(CONTENT)) == (CONTENT, True)


def test_damage_is_the_last_byte_of_a_block(tmp_path: Path) -> None:
    """The block says what is damaged."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-30])
    with open_decoded(path) as file:
        blocks = list(read_blocks(file, str(path), 1 << 20))
    damaged = [block for block in blocks if block.damage is not None]
    assert len(damaged) == 1
    assert damaged[0].buffer[damaged[0].end - 1] == ord("\n")
