"""A file that is still written to: what was read of it must stay, and what it is may show later."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from cowbook.capture.compression import PARQUET, DecodedFile, PlainFile, kind_of, may_become_compressed, open_rows
from cowbook.capture.parquet_rows import PARQUET_MAGIC, ParquetRows
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES

_SMALLEST_PARQUET = 12
"""Bytes: the magic twice, and a length."""


class _CheckedFile(PlainFile):
    """A file as it is on disk. Every read looks whether what was read before is still there.

    The look comes after the read: what was read is right if the bytes before it have not changed even then.
    """

    def __init__(self, path: Path) -> None:
        # Without waiting: a pipe that has taken the name would wait for its writer.
        super().__init__(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        self.path = path
        self.position = 0
        self._tail = b""  # up to IDENTITY_BYTES before the position
        self.largest = 0

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """As of a plain file. Raises InputError when it was truncated or replaced."""
        count = super().readinto(buffer) or 0
        self._check()
        self._tail = (self._tail + bytes(buffer[max(0, count - IDENTITY_BYTES) : count]))[-IDENTITY_BYTES:]
        self.position += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes."""
        assert size is not None
        assert size >= 0
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(memoryview(buffer))])

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to an offset, not relative to the end."""
        self.position = super().seek(offset, whence)
        self._tail = b""
        return self.position

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As of a plain file."""
        return super().go_to(offset, head) if os.fstat(self.fileno()).st_size >= offset else b""

    def look(self) -> os.stat_result:
        """Its status now. Raises InputError when it is shorter than it was."""
        status = os.fstat(self.fileno())
        if status.st_size < max(self.position, self.largest):
            raise self._truncated(f"it has {status.st_size} bytes, and had {max(self.position, self.largest)}")
        self.largest = status.st_size
        return status

    def _check(self) -> None:
        self.look()
        if os.pread(self.fileno(), len(self._tail), self.position - len(self._tail)) != self._tail:
            raise self._truncated("what stands before it has changed")

    def _truncated(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} was truncated or replaced in its place at offset {self.position} of the file: {reason}; "
            "what was read before is processed, what it held behind that may be lost: rotate by renaming and creating, "
            "then begin again with --allow-fresh, or restore the file"
        )


class GrowingFile(io.RawIOBase):
    """Decoded bytes of a file that may grow: a read at its end gives nothing, and a later one what was added.

    Fewer than four bytes do not say yet whether it is compressed: it gives nothing before that shows. Parquet is written from
    its front to its end: it gives nothing before that is there.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when it cannot be opened, InputError when it is no regular file."""
        super().__init__()
        self._file = _CheckedFile(path)
        self._decoded: PlainFile | DecodedFile | ParquetRows | None = None
        self._is_parquet = False
        self._finished = False
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise InputError(f"{path} is no regular file; name the capture files")
            self._decide()
        except BaseException:
            self._file.close()
            raise

    @property
    def is_compressed(self) -> bool:
        """Whether it is, or a Parquet file, as far as is known."""
        return self._is_parquet or isinstance(self._decoded, DecodedFile)

    @property
    def unread_bytes(self) -> int:
        """Bytes on disk that were not read, as of the last look or read."""
        return max(0, self._file.largest - self._file.position)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer` as far as there is something. Raises InputError at damage, or when it was truncated or replaced."""
        decoded = self._decide()
        return decoded.readinto(buffer) or 0 if decoded is not None else 0

    def go_to(self, offset: int, head: bytes) -> bytes:
        """Go on to a decoded offset, after the file's `head` was read: as many bytes before it, fewer in a shorter file."""
        return self._decoded.go_to(offset, head) if self._decoded is not None else b""

    def look(self) -> tuple[os.stat_result, bool]:
        """Its status now, and whether there is something to read. Raises InputError when it was truncated."""
        status = self._file.look()
        if isinstance(self._decoded, DecodedFile | ParquetRows) and not self._decoded.is_drained:
            return status, True
        return status, status.st_size > self._file.position and self._decide() is not None

    def finish(self) -> None:
        """It grows no more: what it is now it will be, and an end in the middle of a compressed member is damage."""
        self._finished = True
        if isinstance(self._decoded, DecodedFile):
            self._decoded.finish()

    def tell_compressed(self) -> int:
        """Bytes of the file read so far."""
        return self._file.position

    def fileno(self) -> int:
        """Its descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._decoded, ParquetRows):
            self._decoded.close()
        self._file.close()
        super().close()

    def _decide(self) -> PlainFile | DecodedFile | ParquetRows | None:
        """The file as what it is; None while that is open."""
        if self._decoded is None:
            magic = os.pread(self._file.fileno(), 4, 0)
            if self._finished or not may_become_compressed(magic):
                kind = kind_of(magic)
                if kind == PARQUET:
                    return self._open_rows()
                growing = not self._finished
                self._decoded = self._file if kind is None else DecodedFile(self._file.path, self._file, kind, growing=growing)
        return self._decoded

    def _open_rows(self) -> ParquetRows | None:
        """A Parquet file's rows, once its end is there. Raises InputError when it never will be."""
        self._is_parquet = True
        size = os.fstat(self._file.fileno()).st_size
        ends = os.pread(self._file.fileno(), len(PARQUET_MAGIC), max(0, size - len(PARQUET_MAGIC)))
        if (size >= _SMALLEST_PARQUET and ends == PARQUET_MAGIC) or self._finished:
            # A descriptor of its own: the library reads here and there, and the other one is asked for its position.
            self._decoded = open_rows(self._file.path, PlainFile(f"/proc/self/fd/{self._file.fileno()}", "rb"))
            self._file.seek(size)
            self._file.largest = size
            return self._decoded
        return None
