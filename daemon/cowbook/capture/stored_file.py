"""The bytes of a capture as they are stored: a file of this machine, or an object of object storage (ADR 34)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

from cowbook.errors import InputError
from cowbook.objects.bucket import ReplacedError
from cowbook.objects.object_path import ObjectPath
from cowbook.plain.durable_files import SCARCE, storage_error

_FIRST_BYTES, _MOST_BYTES = 1 << 16, 1 << 23
"""Of an object so much is got by one request: at first little, since most looks are at beginnings, then more each time."""


class PlainFile(io.FileIO):
    """A file, with the interface of a compressed one."""

    damage: str | None = None
    """Always None."""

    def __init__(self, path: Path | str, mode: str, opener: Callable[[str, int], int] | None = None) -> None:
        """As `io.FileIO`. Raises StorageError where this process cannot open more files: that says nothing about this one."""
        try:
            super().__init__(path, mode, opener=opener)
        except OSError as error:
            if error.errno in SCARCE:
                raise storage_error("open", Path(path), error) from error
            raise

    def go_to(self, offset: int, head: bytes) -> bytes:
        """Go to a decoded offset, once the file's first bytes, `head`, were read.

        Returns the bytes before the offset, as many as `head` has; fewer if the file is shorter.
        """
        self.seek(offset - len(head))
        return self.read(len(head)) or b""

    def tell_compressed(self) -> int:
        """Bytes read so far."""
        return self.tell()

    def pread(self, count: int, place: int) -> bytes:
        """Up to `count` bytes at a place of the file, fewer only at its end. Moves no position."""
        return os.pread(self.fileno(), count, place)

    def status(self) -> os.stat_result:
        """Its present status: of the descriptor, since the name may show another file by now."""
        return os.fstat(self.fileno())

    def again(self) -> PlainFile:
        """The same file with a position of its own, at its start."""
        return PlainFile(f"/proc/self/fd/{self.fileno()}", "rb")


class ObjectFile(io.RawIOBase):
    """An object, read in ranges: a seek costs nothing, and all ranges are of the content that was listed.

    Reads raise OSError if the object is gone, InputError if another one is in its place, and StorageError if requests fail.
    """

    damage: str | None = None
    """Always None."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self._path = path
        self._size_bytes = path.listed.size_bytes
        self._position = 0
        self._window, self._window_start = b"", 0  # the range that was got last
        self._next_bytes = _FIRST_BYTES

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer`; fewer bytes only at the end of the object."""
        content = self.pread(len(buffer), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def pread(self, count: int, place: int) -> bytes:
        """As `PlainFile.pread`."""
        end = min(place + count, self._size_bytes)
        pieces = []
        while place < end:
            held = place - self._window_start
            if not 0 <= held < len(self._window):
                self._get(place)
                held = 0
            piece = self._window[held : held + end - place]
            pieces.append(piece)
            place += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _get(self, place: int) -> None:
        """Get the range that begins at a place: a longer one each time that one goes on where the last one has ended."""
        goes_on = place == self._window_start + len(self._window)
        self._next_bytes = min(4 * self._next_bytes, _MOST_BYTES) if goes_on and place else _FIRST_BYTES
        try:
            content = self._path.bucket.read_range(self._path.listed, place, min(place + self._next_bytes, self._size_bytes))
        except ReplacedError as error:
            raise InputError(
                f"{self._path} was replaced while it was read, at byte {place}: captures must not change; write a new object "
                "for what is new, and restore this one, or begin again with --allow-fresh"
            ) from error
        self._window, self._window_start = content, place

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`."""
        self.seek(offset - len(head))
        return self.read(len(head)) or b""

    def tell_compressed(self) -> int:
        """Bytes read so far."""
        return self._position

    def status(self) -> os.stat_result:
        """As it was listed."""
        return self._path.stat()

    def again(self) -> ObjectFile:
        """The same object with a position of its own, at its start."""
        return ObjectFile(self._path)


StoredFile = PlainFile | ObjectFile


def open_stored(path: Path) -> StoredFile:
    """Open a file or an object. Raises OSError when that fails; of an object only the first read tells."""
    return ObjectFile(path) if isinstance(path, ObjectPath) else PlainFile(path, "rb")
