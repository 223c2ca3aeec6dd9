"""Opens files as streams of decoded bytes: plain, compressed, archives, Parquet. Told by content, never by name."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from cowbook.capture.archives import decode_file
from cowbook.capture.containers import LOOKED_AT_BYTES, PARQUET, kind_of
from cowbook.capture.foreign import what_is_not_read
from cowbook.capture.members import CODECS, MARK, Damage, Pieces, find_proved
from cowbook.capture.parquet_rows import ParquetRows
from cowbook.capture.stored_file import ObjectFile, PlainFile, StoredFile, open_stored

_NO_TEXT = re.compile(rb"^(?!\xef\xbb\xbf)[\x80-\xff]|[\x00-\x08\x0b\x0e-\x1f\x7f]")
"""Is found in the first bytes of a file that has neither records nor rows there."""
_SEARCHED_BYTES = 1 << 26
"""How much of a file with an unknown beginning is searched for a member of a compressed file."""


class DecodedFile(io.RawIOBase):
    """The decoded bytes of a compressed file, an archive, or an encoding other than UTF-8 (members.py, archives.py).

    A read ends behind a damaged place's byte, and `damage` says then what is wrong there; so it does at the end of a damaged
    file. A container inside that is not read is damage in front of everything.
    """

    def __init__(self, path: Path, file: StoredFile, kind: str, *, growing: bool = False) -> None:
        """`kind` is one of containers.py. While `growing`, an end in the middle of a member is not damage."""
        super().__init__()
        self._path = path
        self._file = file
        self._growing = growing
        self._pieces = self._decode(kind)
        self._pending = memoryview(b"")
        self._mark: Damage | None = None  # its byte comes behind the pending ones
        self._end_damage: str | None = None
        self.kind = kind
        """What the file is (containers.py)."""
        self.inside = ""
        """What stands inside of a compressed file, once some of it was read: a kind, or empty for lines."""
        self.damage: str | None = None
        """What is wrong at the last byte that was read or, after a read that gave nothing, at the end of the file."""

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer`; fewer bytes only at damage, at the end, and while more is to come. 0 at the end."""
        self.damage = None
        filled = 0
        while filled < len(buffer):
            if self._pending:
                count = min(len(buffer) - filled, len(self._pending))
                buffer[filled : filled + count] = self._pending[:count]
                self._pending = self._pending[count:]
                filled += count
            elif self._mark is not None:
                buffer[filled : filled + 1] = MARK
                self.damage, self._mark = f"{self._path} {self._mark.text}", None
                return filled + 1
            else:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                if isinstance(piece, Damage):
                    self._mark = piece
                else:
                    self._pending = memoryview(piece)
        if not filled and not self._growing and self._end_damage is not None:
            self.damage = f"{self._path} {self._end_damage}"
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

    def status(self) -> os.stat_result:
        """Status of the compressed file."""
        return self._file.status()

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()
        self._file.close()
        super().close()

    def finish(self) -> None:
        """Declare the file complete. From now on an end in the middle of a member is damage."""
        self._growing = False

    @property
    def is_drained(self) -> bool:
        """Whether all decoded bytes were handed out."""
        return not self._pending and self._mark is None

    def _decode(self, kind: str) -> Pieces:
        """Decode the file, and keep what is wrong at its end."""
        self._end_damage = yield from decode_file(self._file, kind, lambda: self._growing, self._note_kind)
        return None

    def _note_kind(self, kind: str) -> None:
        self.inside = kind if kind != self.kind else ""


class ForeignFile(io.RawIOBase):
    """A container that is not read: nothing, and damage at its end."""

    def __init__(self, file: StoredFile, what: str) -> None:
        """`what` says what it is, and what to do."""
        super().__init__()
        self._file = file
        self.damage: str | None = what

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, _buffer: memoryview, /) -> int:  # type: ignore[override]
        """Always 0."""
        return 0

    def go_to(self, _offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`."""
        return head

    def tell_compressed(self) -> int:
        """Its size."""
        return self._file.status().st_size

    def status(self) -> os.stat_result:
        """Status of the file."""
        return self._file.status()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


DecodedStream = PlainFile | ObjectFile | DecodedFile | ParquetRows | ForeignFile


def open_decoded(path: Path) -> DecodedStream:
    """Open a file's decoded bytes, unbuffered. Raises OSError when it cannot be opened."""
    file = open_stored(path)
    try:
        head = file.read(LOOKED_AT_BYTES)
        kind = kind_of(head)
        what = what_is_not_read(head) if kind is None else None
        if kind is None and what is None and begins_as_no_text(head):
            kind = kind_of_members(file)
        file.seek(0)
    except OSError:
        file.close()
        raise
    if what is not None:
        return ForeignFile(file, f"{path} {what}")
    if kind == PARQUET:
        return open_rows(path, file)
    return file if kind is None else DecodedFile(path, file, kind)


def read_fully(file: io.RawIOBase, count: int) -> bytes:
    """The next bytes of a file: fewer than `count` only at its end, or at the end for now of one that grows."""
    content = file.read(count) or b""
    while len(content) < count and (more := file.read(count - len(content))):
        content += more
    return content


def open_rows(path: Path, file: StoredFile) -> ParquetRows:
    """Open a Parquet file's rows. Raises InputError, and closes the file, when it has too many columns."""
    try:
        return ParquetRows(path, file)
    except BaseException:
        file.close()
        raise


def begins_as_no_text(head: bytes) -> bool:
    """Whether these first bytes of a file are neither records nor rows of a table."""
    return _NO_TEXT.search(head) is not None


def kind_of_members(file: StoredFile) -> str | None:
    """The kind of a compressed file whose beginning was overwritten, by the first member that is in it; None if there is none.

    Only a file that begins as no text does may be one.
    """
    places = {kind: place for kind in CODECS if (place := find_proved(file, kind, _SEARCHED_BYTES)) is not None}
    return min(places, key=lambda kind: places[kind], default=None)
