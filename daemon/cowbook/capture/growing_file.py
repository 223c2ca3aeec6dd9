"""A file that is still being written. Bytes once read must not change; its encoding may be unknown at first."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from cowbook.capture.compression import (
    DecodedFile,
    DecodedStream,
    ForeignFile,
    begins_as_no_text,
    kind_of_members,
    open_rows,
)
from cowbook.capture.containers import LOOKED_AT_BYTES, PARQUET, kind_of, may_become
from cowbook.capture.foreign import what_is_not_read
from cowbook.capture.parquet_rows import PARQUET_MAGIC, ParquetRows
from cowbook.capture.stored_file import PlainFile
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES

_SMALLEST_PARQUET = 12
"""Bytes: the magic twice, and a length."""


class _CheckedFile(PlainFile):
    """The bytes on disk. Every read checks that the bytes before it have not changed.

    The check follows the read: if the earlier bytes are unchanged even then, the bytes just read are right.
    """

    def __init__(self, path: Path) -> None:
        # O_NONBLOCK: had a pipe taken the name, opening it would wait for a writer.
        super().__init__(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        self.path = path
        self.position = 0
        self._tail = b""  # up to IDENTITY_BYTES before the position
        self.largest = 0

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """As `PlainFile.readinto`. Raises InputError when the file was truncated or replaced in place."""
        count = super().readinto(buffer) or 0
        self._check_unchanged()
        self._tail = (self._tail + bytes(buffer[max(0, count - IDENTITY_BYTES) : count]))[-IDENTITY_BYTES:]
        self.position += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes."""
        assert size is not None
        assert size >= 0
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(memoryview(buffer))])

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to an offset. `whence` must not be the end."""
        self.position = super().seek(offset, whence)
        self._tail = b""
        return self.position

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`; empty if the file is shorter."""
        return super().go_to(offset, head) if os.fstat(self.fileno()).st_size >= offset else b""

    def look(self) -> os.stat_result:
        """Return its present status. Raises InputError when the file is shorter than before."""
        status = os.fstat(self.fileno())
        if status.st_size < max(self.position, self.largest):
            raise self._truncated_error(f"it has {status.st_size} bytes, and had {max(self.position, self.largest)}")
        self.largest = status.st_size
        return status

    def _check_unchanged(self) -> None:
        self.look()
        if os.pread(self.fileno(), len(self._tail), self.position - len(self._tail)) != self._tail:
            raise self._truncated_error("the bytes before it have changed")

    def _truncated_error(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} was truncated or replaced in its place at offset {self.position} of the file: {reason}; "
            "what was read before is processed, what came after it may be lost. Rotate by renaming the file and creating a new "
            "one, then begin again with --allow-fresh, or restore the file"
        )


class GrowingFile(io.RawIOBase):
    """The decoded bytes of a file that may grow. A read at its end returns nothing; a later read returns what was added.

    The first four bytes tell whether a file is compressed, so reads may return nothing until they are there. A Parquet file
    has its directory at its end, so reads return nothing until the end has been written.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be opened, InputError when it is not a regular file."""
        super().__init__()
        self._file = _CheckedFile(path)
        self._decoded: DecodedStream | None = None
        self._is_parquet = False
        self._finished = False
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise InputError(f"{path} is not a regular file; name the capture files")
            self._recognise()
        except BaseException:
            self._file.close()
            raise

    @property
    def is_compressed(self) -> bool:
        """Whether the file is known to be compressed, Parquet, or a container that is not read."""
        return self._is_parquet or isinstance(self._decoded, DecodedFile | ForeignFile)

    @property
    def damage(self) -> str | None:
        """What is wrong at the last byte that was read or, after a read that gave nothing, at the end of the complete file."""
        return self._decoded.damage if self._decoded is not None else None

    @property
    def unread_bytes(self) -> int:
        """Bytes on disk that were not read, as of the last `look` or read."""
        return max(0, self._file.largest - self._file.position)

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer` with what is available. Raises InputError at damage, and when the file was truncated or replaced."""
        decoded = self._recognise()
        return decoded.readinto(buffer) or 0 if decoded is not None else 0

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`."""
        return self._decoded.go_to(offset, head) if self._decoded is not None else b""

    def look(self) -> tuple[os.stat_result, bool]:
        """Return its present status, and whether there is more to read. Raises InputError when the file was truncated."""
        status = self._file.look()
        if isinstance(self._decoded, DecodedFile | ParquetRows) and not self._decoded.is_drained:
            return status, True
        return status, status.st_size > self._file.position and self._recognise() is not None

    def finish(self) -> None:
        """Declare the file complete. From now on an end in the middle of a compressed member is damage."""
        self._finished = True
        if isinstance(self._decoded, DecodedFile):
            self._decoded.finish()

    def tell_compressed(self) -> int:
        """Bytes on disk read so far."""
        return self._file.position

    def status(self) -> os.stat_result:
        """Its present status."""
        return self._file.status()

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._decoded, ParquetRows):
            self._decoded.close()
        self._file.close()
        super().close()

    def _recognise(self) -> DecodedStream | None:
        """The decoder for the file's encoding; None while too few bytes are there to tell."""
        if self._decoded is None:
            head = os.pread(self._file.fileno(), LOOKED_AT_BYTES, 0)
            if self._finished or not may_become(head):
                kind = kind_of(head)
                if kind == PARQUET:
                    return self._open_rows()
                what = what_is_not_read(head) if kind is None else None
                if what is not None:
                    return self._refuse(what)
                if kind is None and begins_as_no_text(head):
                    kind = kind_of_members(self._file)
                growing = not self._finished
                self._decoded = self._file if kind is None else DecodedFile(self._file.path, self._file, kind, growing=growing)
        return self._decoded

    def _refuse(self, what: str) -> ForeignFile:
        """A container that is not read."""
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(size)
        self._file.largest = size
        self._decoded = ForeignFile(self._file, f"{self._file.path} {what}")
        return self._decoded

    def _open_rows(self) -> ParquetRows | None:
        """A Parquet file's rows, once its end is written. Raises InputError when the file is complete without one."""
        self._is_parquet = True
        size = os.fstat(self._file.fileno()).st_size
        ends = os.pread(self._file.fileno(), len(PARQUET_MAGIC), max(0, size - len(PARQUET_MAGIC)))
        if (size >= _SMALLEST_PARQUET and ends == PARQUET_MAGIC) or self._finished:
            # A second descriptor: pyarrow seeks in it, while the first one's position counts what was read.
            self._decoded = open_rows(self._file.path, PlainFile(f"/proc/self/fd/{self._file.fileno()}", "rb"))
            self._file.seek(size)
            self._file.largest = size
            return self._decoded
        return None
