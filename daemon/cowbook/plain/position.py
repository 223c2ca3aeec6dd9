"""Where in its input a symbol stands, such that it can be found again after files were renamed, copied or compressed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

IDENTITY_BYTES = 1024
"""Length of the stretches at the front of a file and before an offset that identify it."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file up to a decoded offset: hashes of the first and of the last min(1 KiB, offset) bytes before the offset.

    Headers of captures look alike and inodes are reused: only both hashes say that it is the same. Path, device and inode are
    hints for finding it.
    """

    path: str
    device: int
    inode: int
    offset: int
    head_sha256: str
    tail_sha256: str
    disk_bytes: int = 0
    """Its size on disk, compressed as it may be, once it was left at its end; 0 before that. An empty one counts as 1."""

    @classmethod
    def of(cls, path: str, device: int, inode: int, offset: int, head: bytes, tail: bytes, disk_bytes: int = 0) -> FileIdentity:
        """`head` and `tail` are the first and the last bytes before the offset, at least min(1 KiB, offset) of them."""
        length = min(IDENTITY_BYTES, offset)
        assert len(head) >= length
        assert len(tail) >= length
        last = tail[len(tail) - length :]
        return cls(path, device, inode, offset, _sha256(head[:length]), _sha256(last), disk_bytes)

    @property
    def length(self) -> int:
        """Length of the two stretches that are hashed: min(1 KiB, offset)."""
        return min(IDENTITY_BYTES, self.offset)

    def strangeness(self, path: str, device: int, inode: int) -> int:
        """Sort key of files: 0 for its path and inode, 1 for its path, 2 for others. An inode alone may be reused."""
        if path != self.path:
            return 2
        return 0 if (device, inode) == (self.device, self.inode) else 1

    def matches_head(self, head: bytes) -> bool:
        """Whether a file's first `length` bytes are this one's; `head` may be longer, never shorter."""
        return len(head) >= self.length and _sha256(head[: self.length]) == self.head_sha256

    def matches_tail(self, tail: bytes) -> bool:
        """Whether the `length` bytes before the offset are this one's."""
        return _sha256(tail) == self.tail_sha256


@dataclass(frozen=True, slots=True)
class Position:
    """After the last consumed record: the current file up to there, and the files that were consumed before it.

    If `current.disk_bytes` is not 0, the current file was left, too, and no other one begun: what follows it is next, whether
    it is still there or not.
    """

    current: FileIdentity
    consumed: tuple[FileIdentity, ...] = ()

    @property
    def progress(self) -> tuple[int, int]:
        """As of a mark."""
        return _progress(len(self.consumed), self.current.offset, is_left=self.current.disk_bytes > 0)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """From what `to_json` gave; raises KeyError or TypeError for anything else."""
        return cls(FileIdentity(**value["current"]), tuple(FileIdentity(**identity) for identity in value["consumed"]))


class Mark(msgspec.Struct, frozen=True):
    """A position before its hashes are computed: cheap to take, and `position` may be asked for in any thread."""

    path: str
    device: int
    inode: int
    offset: int
    head: bytes
    tail: bytes
    consumed: tuple[FileIdentity, ...]
    left: FileIdentity | None = None
    """The file itself, if it was left at this offset and no other one begun."""

    @property
    def progress(self) -> tuple[int, int]:
        """Files left behind and offset in the current one: grows with every record that is consumed, and with leaving."""
        return _progress(len(self.consumed), self.offset, is_left=self.left is not None)

    def position(self) -> Position:
        """The position."""
        if self.left is not None:
            return Position(self.left, self.consumed)
        return Position(FileIdentity.of(self.path, self.device, self.inode, self.offset, self.head, self.tail), self.consumed)


def _progress(consumed: int, offset: int, *, is_left: bool) -> tuple[int, int]:
    return (consumed + 1, -1) if is_left else (consumed, offset)


def displayable(path: str | Path) -> str:
    """A path as text that can be encoded, whatever bytes the file's name has."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
