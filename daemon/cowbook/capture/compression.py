"""Opens plain, gzip, zstd and Parquet files as streams of decoded bytes. The content tells which it is, never the name."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import zstandard
from isal import isal_zlib

from cowbook.capture.parquet_rows import PARQUET_MAGIC, ParquetRows
from cowbook.errors import InputError
from cowbook.plain.durable_files import SCARCE, storage_error

PARQUET = "parquet"
"""The kind of a Parquet file, which is a table rather than a compressed stream."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f; pzstd files begin with such a frame
# Compressed bytes decoded at a time. They bound what a hostile file can expand to in one step: 16 and 64 MiB.
_CHUNK_BYTES = {"gzip": 1 << 14, "zstd": 1 << 11}
_GZIP_FORMAT = 31  # zlib's `wbits` for gzip with the largest window


class _Decompressor(Protocol):
    """One gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_Maker = Callable[[], _Decompressor]


def _make_zstd() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _make_gzip() -> _Decompressor:
    decompressor: _Decompressor = isal_zlib.decompressobj(_GZIP_FORMAT)
    return decompressor


def _make_bytewise_gzip() -> _Decompressor:
    decompressor: _Decompressor = zlib.decompressobj(_GZIP_FORMAT)
    return decompressor


_ISAL_ERROR: Any = isal_zlib.error  # its stub says that it is an instance
_ERRORS = (zlib.error, _ISAL_ERROR, zstandard.ZstdError, EOFError)


class _Members:
    """Decodes the members of a compressed file one after the other, fed in pieces of any size."""

    def __init__(self, make: _Maker, *, zero_padding: bool) -> None:
        self._make = make
        self._zero_padding = zero_padding
        self._current: _Decompressor | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the decoded bytes of `data`. Raises one of _ERRORS at damage; what this call had decoded is then lost."""
        decoded = []
        while data:
            if self._current is None:
                if self._zero_padding:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                self._current = self._make()
            decoded.append(self._current.decompress(data))
            if not self._current.eof:
                break
            data = self._current.unused_data
            self._current = None
        return b"".join(decoded)

    @property
    def is_complete(self) -> bool:
        """Whether the bytes so far end with a whole member."""
        return self._current is None


class DecodedFile(io.RawIOBase):
    """A compressed file's decoded bytes. Every byte before damage is delivered; then InputError names the damage's offset."""

    def __init__(self, path: Path, file: io.FileIO, kind: str, *, growing: bool = False) -> None:
        """`file` stands at its start. While `growing`, an end in the middle of a member is not damage."""
        super().__init__()
        self._path = path
        self._file = file
        self._kind = kind
        self._chunk_bytes = _CHUNK_BYTES[kind]
        self._members = _Members(_make_gzip if kind == "gzip" else _make_zstd, zero_padding=kind == "gzip")
        self._pending = memoryview(b"")
        self._growing = growing
        self._fed = 0  # compressed bytes decoded without an error
        self._decoded = 0  # decoded bytes
        self._failure: str | None = None
        self._at_end = False

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer`; fewer bytes only at the end or before damage, 0 at the end. Raises InputError at damage."""
        filled = 0
        while filled < len(buffer):
            if self._pending:
                count = min(len(buffer) - filled, len(self._pending))
                buffer[filled : filled + count] = self._pending[:count]
                self._pending = self._pending[count:]
                filled += count
            elif self._failure is None and not self._at_end:
                self._decode_chunk()
                if self._growing and self._at_end:
                    self._at_end = False  # the file may have grown by the next call
                    break
            elif self._failure is not None and not filled:
                raise InputError(
                    f"{self._path} is damaged at decoded offset {self._decoded}: {self._failure}; "
                    "what precedes it is processed; restore the file to go on"
                )
            else:
                break
        return filled

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`; empty if the file is shorter."""
        scratch = memoryview(bytearray(1 << 20))
        tail = head
        left = offset - len(head)
        while left:
            count = self.readinto(scratch[: min(left, len(scratch))])
            if not count:
                return b""
            tail = (tail + bytes(scratch[max(0, count - len(head)) : count]))[-len(head) :]
            left -= count
        return tail

    def tell_compressed(self) -> int:
        """Compressed bytes read so far."""
        return self._file.tell()

    def fileno(self) -> int:
        """Descriptor of the compressed file."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def finish(self) -> None:
        """Declare the file complete. From now on an end in the middle of a member is damage."""
        self._growing = False

    @property
    def is_drained(self) -> bool:
        """Whether all decoded bytes were handed out, and no damage is still to be raised."""
        return not self._pending and self._failure is None

    def _decode_chunk(self) -> None:
        chunk = self._file.read(self._chunk_bytes)
        try:
            decoded = self._members.feed(chunk)
            if not chunk and not self._growing and not self._members.is_complete:
                raise EOFError("it ends in the middle")
        except _ERRORS as error:
            self._failure = str(error)
            decoded = self._decode_up_to_damage(len(chunk))
        self._fed += len(chunk)
        self._at_end = not chunk
        self._decoded += len(decoded)
        self._pending = memoryview(decoded)

    def _decode_up_to_damage(self, chunk_bytes: int) -> bytes:
        """Decode again up to the damage, the last chunk byte by byte. Returns what was not delivered yet.

        Byte by byte, everything that can be decoded is, so the damage's offset does not depend on how the file was read.
        `chunk_bytes` is the length of the chunk in which the damage showed.
        """
        members = _Members(_make_bytewise_gzip if self._kind == "gzip" else _make_zstd, zero_padding=self._kind == "gzip")
        self._file.seek(0)
        count = 0
        tail = b""
        pieces = []
        try:
            left = self._fed
            while left:
                chunk = self._file.read(min(left, self._chunk_bytes))
                if not chunk:
                    break  # truncated meanwhile
                left -= len(chunk)
                piece = members.feed(chunk)
                count += len(piece)
                tail = (tail + piece)[-(1 << 16) :]
            for byte in self._file.read(chunk_bytes):
                pieces.append(members.feed(bytes((byte,))))  # noqa: PERF401 - pieces before an error are kept
        except _ERRORS as error:
            self._failure = str(error)
        # isal and zlib may differ by a few bytes in what they return for the same chunks.
        decoded = b"".join(pieces)
        ahead = self._decoded - count
        return decoded[ahead:] if ahead >= 0 else tail[ahead:] + decoded


class PlainFile(io.FileIO):
    """A plain file, with the interface of a compressed one."""

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


def open_decoded(path: Path) -> PlainFile | DecodedFile | ParquetRows:
    """Open a file's decoded bytes, unbuffered. Raises OSError when it cannot be opened, InputError for damaged Parquet."""
    file = PlainFile(path, "rb")
    try:
        magic = file.read(4)
        file.seek(0)
    except OSError:
        file.close()
        raise
    kind = kind_of(magic)
    if kind == PARQUET:
        return open_rows(path, file)
    return file if kind is None else DecodedFile(path, file, kind)


def open_rows(path: Path, file: io.FileIO) -> ParquetRows:
    """Open a Parquet file's rows. Raises InputError, and closes the file, when it is not Parquet."""
    try:
        return ParquetRows(path, file)
    except BaseException:
        file.close()
        raise


def kind_of(magic: bytes) -> str | None:
    """The encoding of a file with these first four bytes (fewer if it is shorter): "gzip", "zstd", "parquet", None for plain."""
    if magic == PARQUET_MAGIC:
        return PARQUET
    if magic.startswith(_GZIP_MAGIC):
        return "gzip"
    if magic == _ZSTD_MAGIC or (magic[1:] == _SKIPPABLE_MAGIC and magic[0] & 0xF0 == 0x50):
        return "zstd"
    return None


def may_become_compressed(magic: bytes) -> bool:
    """Whether a file that has only these first bytes yet may turn out compressed as it grows."""
    skippable = len(magic) < 4 and (not magic or (magic[0] & 0xF0 == 0x50 and _SKIPPABLE_MAGIC.startswith(magic[1:])))
    skippable |= len(magic) < 4 and PARQUET_MAGIC.startswith(magic)
    return skippable or (len(magic) < 2 and _GZIP_MAGIC.startswith(magic)) or (len(magic) < 4 and _ZSTD_MAGIC.startswith(magic))
