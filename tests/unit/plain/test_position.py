"""Identities of files, and positions as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Position

CONTENT = bytes(range(256)) * 20


def identity(offset: int) -> FileIdentity:
    """Of a file with this content, up to an offset."""
    head, tail = CONTENT[:IDENTITY_BYTES], CONTENT[max(0, offset - 2000) : offset]
    return FileIdentity.of("/captures/a", 1, 2, offset, head, tail, disk_bytes=3)


@pytest.mark.parametrize("offset", [0, 1, IDENTITY_BYTES - 1, IDENTITY_BYTES, IDENTITY_BYTES + 1, len(CONTENT)])
def test_hashes_cover_only_the_ends_before_the_offset(offset: int) -> None:
    """Of the first and the last min(1 KiB, offset) bytes before the offset, and of nothing else."""
    length = min(1024, offset)
    made = identity(offset)
    assert made.length == length
    assert made.head_sha256 == hashlib.sha256(CONTENT[:length]).hexdigest()
    assert made.tail_sha256 == hashlib.sha256(CONTENT[offset - length : offset]).hexdigest()
    assert made.matches_head(CONTENT)
    assert made.matches_tail(CONTENT[offset - length : offset])
    if length:
        assert not made.matches_head(CONTENT[: length - 1])
        assert not made.matches_head(b"x" + CONTENT[1:])
        assert not made.matches_tail(b"x" * length)


def test_positions_round_trip_through_json() -> None:
    """There and back through text; what is no position is refused."""
    position = Position(identity(3000), (identity(10), identity(0)))
    value = position.to_json()
    assert Position.from_json(json.loads(json.dumps(value))) == position
    assert Position.from_json(value) != replace(position, consumed=())
    with pytest.raises(KeyError):
        Position.from_json({"current": value["current"]})
    with pytest.raises(TypeError):
        Position.from_json({**value, "current": {"path": "a"}})


def test_strangeness_ranks_path_and_inode() -> None:
    """The file itself, then the one with its name, then all others alike, whatever their inode."""
    made = identity(5)
    files = [("/captures/a", 1, 2), ("/captures/a", 1, 9), ("/captures/a", 9, 2), ("/captures/b", 1, 2), ("/captures/b", 9, 9)]
    assert [made.strangeness(*file) for file in files] == [0, 1, 1, 2, 2]
