"""Decodes the members of a compressed file in order, and goes on behind damage (ADR 17).

A member is what its kind calls a gzip member, a zstd or lz4 frame, or a bzip2 or xz stream.

What is damaged, and where decoding goes on, is decided by the file's bytes alone, however they arrive: a file that was decoded
while it grew gives the same bytes when it is decoded again to resume inside it.

* A member ends where its own data say so, and its checksum holds. Behind it stands the next member, zeros (gzip, xz), or the end.
* A member is damaged where its decoder refuses, where something else stands in its place, or where the file ends inside it. All
  that can be decoded before that is given.
* Behind damage, decoding goes on with the next *proved* member: bytes that begin like one, and decode without an error for
  `_PROOF_BYTES`, or to the member's own end, or to where the file ends or another one begins. The three or four bytes alone stand
  in 100 MB of noise by chance.
* A proved beginning inside a member means that the writer was killed there and another one appended, unless the member goes on
  for `_WINDOW_BYTES` without an error, or ends well: then the bytes are content, as in an archive of compressed files. A frame
  without a checksum does not show that: its blocks of plain bytes swallow others as they come. What was decoded of the first
  member behind that beginning is dropped: the bytes were not its own.

The place of damage in front of a member is one byte in the decoded bytes, `MARK`, so that a position can stand on either side.
Damage behind which nothing comes has no byte, because more may be appended.
"""

from __future__ import annotations

import bz2
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import lz4.frame
import zstandard
from isal import isal_zlib

from cowbook.capture.stored_file import StoredFile

MARK = b"\n"
"""Stands in the decoded bytes for what a damaged place has lost."""

_PROOF_BYTES = 256
_WINDOW_BYTES = 1 << 18
_MOST_HELD_BYTES = 1 << 22
"""Decoded bytes that are held back while a member is told from its content. Noise does not decode to so many."""
_LONGEST_HEADER = 18
_GZIP_FORMAT = 31  # zlib's `wbits` for gzip with the largest window
_MOST_DECODED_BYTES = 1 << 22
"""What bzip2, xz and lz4 give at a time: 45 bytes of bzip2 may stand for 46 MB."""
_XZ_MEMORY_BYTES = 1 << 28
"""What the dictionary of an xz stream may take: four times that of `xz -9`."""


class Decompressor(Protocol):
    """One member."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What was given to it and stands behind the member."""

    def decompress(self, data: bytes, /) -> bytes:
        """What can be decoded so far. Raises one of DECODING_ERRORS."""


class _Bounded:
    """A decompressor that gives a bounded number of bytes at a time. While it `has_more`, it gives them for no data."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data or b""

    @property
    def has_more(self) -> bool:
        return not self._inner.eof and not self._inner.needs_input

    def decompress(self, data: bytes, /) -> bytes:
        return bytes(self._inner.decompress(data, max_length=_MOST_DECODED_BYTES))


def decode_all(decompressor: Decompressor, data: bytes) -> Iterator[bytes]:
    """All that a decompressor gives for some bytes, a bounded number at a time. Raises one of DECODING_ERRORS."""
    yield decompressor.decompress(data)
    while isinstance(decompressor, _Bounded) and decompressor.has_more:
        yield decompressor.decompress(b"")


def _make_zstd() -> Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _make_gzip() -> Decompressor:
    decompressor: Decompressor = isal_zlib.decompressobj(_GZIP_FORMAT)
    return decompressor


def _make_bytewise_gzip() -> Decompressor:
    decompressor: Decompressor = zlib.decompressobj(_GZIP_FORMAT)
    return decompressor


def _make_bz2() -> Decompressor:
    return _Bounded(bz2.BZ2Decompressor())


def _make_xz() -> Decompressor:
    return _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES))


def _make_lz4() -> Decompressor:
    return _Bounded(lz4.frame.LZ4FrameDecompressor())


def _lz4_header_bytes(header: bytes) -> int:
    """Magic, flags, block size; size of the content and number of the dictionary where flags say so; checksum."""
    return 7 + 8 * (header[4] >> 3 & 1) + 4 * (header[4] & 1)


@dataclass(frozen=True, slots=True)
class _Codec:
    """How members of one kind look, and what decodes them."""

    member: str  # what its members are called
    magic: bytes
    beginning: re.Pattern[bytes]
    """The magic, and what must follow it in a sound header."""
    make: Callable[[], Decompressor]
    make_exact: Callable[[], Decompressor]
    """Makes one that gives all that is decodable of the bytes so far, also byte by byte."""
    chunk_bytes: int
    """Compressed bytes decoded at a time. They bound what a hostile file can expand to in one step: gzip 16, zstd 64 MiB."""
    padding: bytes  # what may stand between members
    header_bytes: Callable[[bytes], int]
    """Length of a member's header, from its first bytes, at least five. Nothing else can begin inside of it."""
    has_checksum: Callable[[bytes], bool]
    """Whether the member with this header ends with a checksum, so that noise does not seem to end it well."""


_NO_RESERVED_BIT = b"".join(re.escape(bytes((value,))) for value in range(256) if not value & 8)
CODECS = {
    "gzip": _Codec(
        "gzip member",
        b"\x1f\x8b\x08",
        re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL),
        _make_gzip,
        _make_bytewise_gzip,
        1 << 14,
        b"\0",
        lambda _: 10,
        lambda _: True,
    ),
    "zstd": _Codec(
        "zstd frame",
        b"\x28\xb5\x2f\xfd",
        re.compile(rb"\x28\xb5\x2f\xfd[" + _NO_RESERVED_BIT + rb"]", re.DOTALL),
        _make_zstd,
        _make_zstd,
        1 << 11,
        b"",
        zstandard.frame_header_size,
        lambda header: header[4] & 4 != 0,
    ),
    "bzip2": _Codec(
        "bzip2 stream",
        b"BZh",
        re.compile(rb"BZh[1-9]", re.DOTALL),
        _make_bz2,
        _make_bz2,
        1 << 14,
        b"",
        lambda _: 14,
        lambda _: True,
    ),
    "xz": _Codec(
        "xz stream",
        b"\xfd7zXZ\x00",
        re.compile(rb"\xfd7zXZ\x00\x00", re.DOTALL),
        _make_xz,
        _make_xz,
        1 << 14,
        b"\0",
        lambda _: 12,
        lambda header: header[7] != 0,
    ),
    "lz4": _Codec(
        "lz4 frame",
        b"\x04\x22\x4d\x18",
        re.compile(rb"\x04\x22\x4d\x18[\x40-\x7f]", re.DOTALL),
        _make_lz4,
        _make_lz4,
        1 << 14,
        b"",
        _lz4_header_bytes,
        lambda header: header[4] & 4 != 0,
    ),
}
"""By the kind that `compression.kind_of` returns."""

_ISAL_ERROR: Any = isal_zlib.error  # its stub says that it is an instance
# Decompressors read no files: an OSError is bzip2's word for bad data, a RuntimeError that of lz4.
DECODING_ERRORS = (zlib.error, _ISAL_ERROR, zstandard.ZstdError, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged place in front of a member. `text` says where it is and what is wrong with it."""

    text: str


Pieces = Generator[bytes | Damage | None, None, str | None]
"""Decoded bytes, damage, and None where nothing more is there yet. Returns what is wrong at the end; None if nothing is."""

_Waiting = Generator[bytes | None, None, bool]


class _Member:
    """The member that is being decoded."""

    def __init__(self, decompressor: Decompressor, start: int) -> None:
        self.decompressor = decompressor
        self.start = start
        self.given = 0  # decoded bytes
        self.has_ended = False


class Members:
    """All members of a compressed file. Use `pieces` once."""

    def __init__(self, file: StoredFile, kind: str, is_growing: Callable[[], bool]) -> None:
        """`file` stands at its start, and is read by this object alone. While `is_growing()`, its end is not the last one."""
        self._file = file
        self._codec = CODECS[kind]
        self._is_growing = is_growing
        self._start = 0  # offset in the file of the bytes held
        self._held = b""  # read, and not yet decoded
        self._given = 0  # decoded bytes, marks included

    def pieces(self) -> Pieces:
        """Decode the file up to its end."""
        while (yield from self._reach_member()):
            member = _Member(self._codec.make(), self._start)
            is_one = self._held.startswith(self._codec.magic[: len(self._held)])
            why = yield from self._decode_member(member)
            if why is None:
                continue
            if not member.given and not is_one:
                why = "something else stands in its place"
            stopped, offset = self._start, self._given
            found = yield from self._find_member()
            text = f"is damaged at decoded offset {offset}: {why} (a {self._codec.member} at byte {member.start})"
            if not found:
                return f"{text}; nothing behind it can be decoded"
            skipped = self._start - stopped
            yield Damage(f"{text}; {skipped} bytes behind it are skipped, and the next one is at byte {self._start}")
            self._given += len(MARK)
        return None

    def find_first(self, most_bytes: int) -> int | None:
        """The offset of the first proved member; None if none begins in the first `most_bytes`. Instead of `pieces`."""
        try:
            next(self._find_member(most_bytes))
        except StopIteration as end:
            return self._start if end.value else None
        raise AssertionError("nothing is waited for")

    def _read_more(self) -> bool:
        """Hold more bytes of the file. Returns False at its end for now."""
        chunk = self._file.read(self._codec.chunk_bytes)
        self._held += chunk
        return bool(chunk)

    def _drop(self, count: int) -> None:
        self._start += count
        self._held = self._held[count:]

    def _give(self, member: _Member, decoded: bytes) -> bytes:
        member.given += len(decoded)
        self._given += len(decoded)
        return decoded

    def _reach_member(self) -> _Waiting:
        """Go to where the next member begins, or should. Returns False at the end of the file."""
        while True:
            if self._codec.padding:
                self._drop(len(self._held) - len(self._held.lstrip(self._codec.padding)))
            if self._held or self._read_more():
                if self._held.strip(self._codec.padding):
                    return True
            elif self._is_growing():
                yield None
            else:
                return False

    def _decode_member(self, member: _Member) -> Generator[bytes | None, None, str | None]:
        """Decode a member. Returns what is wrong with it; None at its end. The bytes behind it, or behind damage, stay held."""
        scan_from = 1  # where another member may begin: not at this one's own first byte
        while not member.has_ended:
            place = self._find_beginning(scan_from)
            fed = self._held[: min(place, self._codec.chunk_bytes)]
            if fed:
                error = yield from self._feed(member, fed)
                if error is not None:
                    return error
                scan_from = 0
            elif self._codec.beginning.match(self._held):
                before = self._start
                if (yield from self._is_cut_here(member)):
                    yield from self._decode_exactly(member, self._start)
                    return "another one begins inside it"
                scan_from = int(self._start == before)  # what has turned out to be content is not looked at again
            elif self._read_more():
                continue
            elif self._is_growing():
                yield None
            elif self._held:  # the first bytes of what might have become a member's beginning
                scan_from = len(self._held)
            else:
                yield from self._decode_exactly(member, self._start)
                return "it ends in the middle"
        return None

    def _feed(self, member: _Member, fed: bytes) -> Generator[bytes, None, str | None]:
        """Decode the first of the held bytes. Returns what is wrong with them."""
        try:
            for decoded in decode_all(member.decompressor, fed):
                if decoded:
                    yield self._give(member, decoded)
        except DECODING_ERRORS as error:
            end = self._start + len(fed)
            self._drop(len(fed))
            yield from self._decode_exactly(member, end)
            return str(error) or "its data are bad"
        member.has_ended = member.decompressor.eof
        self._drop(len(fed) - (len(member.decompressor.unused_data) if member.has_ended else 0))
        return None

    def _find_beginning(self, scan_from: int) -> int:
        """Index in the held bytes where a member may begin, be it with the last of them; their number if none does."""
        held, magic = self._held, self._codec.magic
        found = self._codec.beginning.search(held, scan_from)
        if found is not None:
            return found.start()
        if held and held[-1] in magic:
            for length in range(min(len(magic), len(held) - scan_from), 0, -1):
                if held.endswith(magic[:length]):
                    return len(held) - length
        return len(held)

    def _is_cut_here(self, member: _Member) -> _Waiting:
        """Returns whether a member was cut where another one seems to begin. If not, more of it is decoded."""
        if not (yield from self._is_proved()):
            return False
        header = self._file.pread(_LONGEST_HEADER, member.start)
        if self._start < member.start + self._codec.header_bytes(header) or not self._codec.has_checksum(header):
            return True  # zstandard may take the second header of a frame for its first
        pieces: list[bytes] = []
        fed = held_bytes = 0
        while fed < _WINDOW_BYTES and held_bytes <= _MOST_HELD_BYTES and not member.has_ended:
            piece = self._held[fed : min(fed + self._codec.chunk_bytes, _WINDOW_BYTES)]
            if not piece:
                if self._read_more():
                    continue
                if not self._is_growing():
                    return True
                yield None
                continue
            try:
                for decoded in decode_all(member.decompressor, piece):
                    pieces.append(decoded)
                    held_bytes += len(decoded)
                    if held_bytes > _MOST_HELD_BYTES:  # it is content
                        yield self._give(member, b"".join(pieces))
                        pieces.clear()
            except DECODING_ERRORS:
                return True
            member.has_ended = member.decompressor.eof
            fed += len(piece) - (len(member.decompressor.unused_data) if member.has_ended else 0)
        self._drop(fed)
        yield self._give(member, b"".join(pieces))
        return False

    def _is_proved(self) -> _Waiting:
        """Returns whether the held bytes, which begin like a member, decode like one: to its end, far enough, or to a next."""
        decompressor = self._codec.make_exact()
        fed = decoded_bytes = 0
        stop = self._find_beginning(1)
        while decoded_bytes < _PROOF_BYTES and not decompressor.eof:
            if fed < stop:
                try:
                    decoded_bytes += len(decompressor.decompress(self._held[fed : fed + 1]))
                except DECODING_ERRORS:
                    return False
                fed += 1
            elif self._codec.beginning.match(self._held, fed):
                return decoded_bytes > 0
            elif self._read_more():
                stop = self._find_beginning(fed)
            elif self._is_growing():
                yield None
            elif fed < len(self._held):
                stop = len(self._held)
            else:
                return decoded_bytes > 0
        return True

    def _find_member(self, most_bytes: int = sys.maxsize) -> _Waiting:
        """Go to the next proved member. Returns False if there is none up to the end of the file, or up to `most_bytes`."""
        scan_from = 0
        while self._start < most_bytes:
            self._drop(self._find_beginning(scan_from))
            scan_from = 0
            if self._codec.beginning.match(self._held):
                if (yield from self._is_proved()):
                    return True
                scan_from = 1
            elif self._read_more():
                continue
            elif self._is_growing():
                yield None
            else:
                break
        return False

    def _decode_exactly(self, member: _Member, end: int) -> Generator[bytes, None, None]:
        """Decode a member again, up to the offset `end` in the file. Gives all decodable bytes that were not given yet.

        The last chunk is decoded byte by byte, so that the place of damage does not depend on how the file was read. isal and
        zlib may differ by a few bytes in what they return for the same chunks.
        """
        decompressor = self._codec.make_exact()
        behind = member.given  # given bytes that are still to be passed over
        fresh: list[bytes] = []
        fresh_bytes = 0
        for decoded in self._decode_up_to(decompressor, member.start, end):
            fresh.append(decoded[behind:])
            fresh_bytes += len(fresh[-1])
            behind -= min(behind, len(decoded))
            if fresh_bytes > _MOST_HELD_BYTES:
                yield self._give(member, b"".join(fresh))
                fresh, fresh_bytes = [], 0
        yield self._give(member, b"".join(fresh))

    def _decode_up_to(self, decompressor: Decompressor, place: int, end: int) -> Generator[bytes, None, None]:
        """Decode the file's bytes from `place` up to `end`, the last chunk byte by byte, until the decompressor refuses."""
        while place < end and not decompressor.eof:
            left = end - place
            chunk = self._file.pread(min(left, self._codec.chunk_bytes), place)
            if not chunk:
                return  # truncated meanwhile
            place += len(chunk)
            single = left <= self._codec.chunk_bytes
            with suppress(*DECODING_ERRORS):  # what precedes the refusal is wanted
                for piece in (bytes((byte,)) for byte in chunk) if single else (chunk,):
                    yield from decode_all(decompressor, piece)
                continue
            return


def find_proved(file: StoredFile, kind: str, most_bytes: int) -> int | None:
    """The offset of the first proved member in the first bytes of a file; None if none begins there. Moves no file position."""
    with file.again() as again:
        return Members(again, kind, lambda: False).find_first(most_bytes)
