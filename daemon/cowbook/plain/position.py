"""A symbol's position in its input, which can be found again after files were renamed, copied or compressed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

IDENTITY_BYTES = 1024
"""How many bytes at the front of a file, and before an offset, identify it."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Identifies a file up to a decoded offset, by hashes of the first and the last min(1 KiB, offset) bytes before it.

    Both hashes are needed, since captures begin alike. Path, device and inode are only hints for finding the file, since inodes
    are reused.
    """

    path: str
    device: int
    inode: int
    offset: int
    head_sha256: str
    tail_sha256: str
    disk_bytes: int = 0
    """Size on disk, once the file was read to its end and left; 0 before that. An empty file counts as 1."""
    begins_ns: int | None = None
    """Time of the file's first records, ns since 1970, where it is known: it places files beside one that has vanished."""

    @classmethod
    def of(
        cls,
        path: str,
        device: int,
        inode: int,
        offset: int,
        head: bytes,
        tail: bytes,
        disk_bytes: int = 0,
        begins_ns: int | None = None,
    ) -> FileIdentity:
        """Make an identity. `head` and `tail` are the first and the last bytes before the offset, at least `length` of each."""
        length = min(IDENTITY_BYTES, offset)
        assert len(head) >= length
        assert len(tail) >= length
        last = tail[len(tail) - length :]
        return cls(path, device, inode, offset, _sha256(head[:length]), _sha256(last), disk_bytes, begins_ns)

    @property
    def length(self) -> int:
        """How many bytes each hash covers: min(1 KiB, offset)."""
        return min(IDENTITY_BYTES, self.offset)

    def strangeness(self, path: str, device: int, inode: int) -> int:
        """Rank of a file as a candidate: 0 for equal path and inode, 1 for equal path, 2 otherwise. Inodes are reused."""
        if path != self.path:
            return 2
        return 0 if (device, inode) == (self.device, self.inode) else 1

    def matches_head(self, head: bytes) -> bool:
        """Whether `head` begins with this file's first `length` bytes."""
        return len(head) >= self.length and _sha256(head[: self.length]) == self.head_sha256

    def matches_tail(self, tail: bytes) -> bool:
        """Whether `tail` is this file's last `length` bytes before the offset."""
        return _sha256(tail) == self.tail_sha256


@dataclass(frozen=True, slots=True)
class Position:
    """The position after the last consumed record: the current file up to there, and the files consumed before it.

    If `current.disk_bytes` is not 0, the current file was read to its end and left, and nothing of another one was consumed. What
    was written after it is next, whether or not the current one still exists. At offset 0 of the first file nothing was consumed
    at all, and its name means nothing.
    """

    current: FileIdentity
    consumed: tuple[FileIdentity, ...] = ()

    @property
    def progress(self) -> tuple[int, int]:
        """As `Mark.progress`."""
        return _progress(len(self.consumed), self.current.offset, is_left=self.current.disk_bytes > 0)

    @property
    def settled(self) -> Position | None:
        """The same place, named by what was consumed; None if nothing was.

        Offset 0 of a file is the end of the one consumed before it: by the next start, another file may have the name.
        """
        if self.current.offset or self.current.disk_bytes:
            return self
        if not self.consumed:
            return None
        last = self.consumed[-1]
        return Position(replace(last, disk_bytes=max(1, last.disk_bytes)), self.consumed[:-1])

    def to_json(self) -> dict[str, Any]:
        """The position as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """Make a position from what `to_json` returned. Raises KeyError or TypeError for anything else."""
        return cls(FileIdentity(**value["current"]), tuple(FileIdentity(**identity) for identity in value["consumed"]))


class Mark(msgspec.Struct, frozen=True):
    """A position of which the hashes are not computed yet. Cheap to make; `position` may be called in any thread."""

    path: str
    device: int
    inode: int
    offset: int
    head: bytes
    tail: bytes
    consumed: tuple[FileIdentity, ...]
    left: FileIdentity | None = None
    """The current file's identity, if it was left at this offset and no other file was begun."""
    begins_ns: int | None = None
    """As `FileIdentity.begins_ns`."""

    @property
    def progress(self) -> tuple[int, int]:
        """Number of files left, and offset in the current one. Grows with each consumed record and each file left."""
        return _progress(len(self.consumed), self.offset, is_left=self.left is not None)

    def position(self) -> Position:
        """Compute the hashes, and return the position, settled."""
        exact = self.exact_position()
        return exact.settled or exact

    def exact_position(self) -> Position:
        """As `position`, but in the current file even where nothing of it was consumed."""
        if self.left is not None:
            return Position(self.left, self.consumed)
        hashed = self.path, self.device, self.inode, self.offset, self.head, self.tail
        return Position(FileIdentity.of(*hashed, begins_ns=self.begins_ns), self.consumed)


def _progress(consumed: int, offset: int, *, is_left: bool) -> tuple[int, int]:
    """Offset 0 of a file is the same place as the end of the one before it, which was left."""
    return (consumed + 1, -1) if is_left else (consumed, offset or -1)


def displayable(path: str | Path) -> str:
    """A path as text that can be encoded as UTF-8, whatever bytes the file's name has."""
    return str(path).encode("utf-8", "backslashreplace").decode()


@lru_cache(4)
def _sha256(content: bytes) -> str:
    """One text for equal content: of a small file, of which there may be a hundred thousand, head and tail are the same."""
    return hashlib.sha256(content).hexdigest()
