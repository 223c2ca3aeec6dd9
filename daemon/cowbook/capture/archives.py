"""Gives the members of an archive as one stream of lines, and what stands inside of compressed files and members.

An archive is read as the sequence of its files, in natural order of their names, each decompressed where it is compressed. A
member that cannot be read is damage: what can be decoded of it is given, and reading goes on with the next one. Between members
stands a line feed where the first one lacks it. A table's first line, which names its columns, is given once (ADR 22).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import NamedTuple

from cowbook.capture.containers import (
    DBN,
    LOOKED_AT_BYTES,
    PCAP,
    TAR,
    UTF_16,
    ZIP,
    kind_of,
    may_become,
    what_is_not_read_inside,
)
from cowbook.capture.dbn import dbn_lines
from cowbook.capture.members import CODECS, DECODING_ERRORS, Damage, Members, Pieces, decode_all
from cowbook.capture.paths import natural_key
from cowbook.capture.pcap import dissected
from cowbook.capture.piece_reader import PieceReader
from cowbook.capture.stored_file import StoredFile
from cowbook.capture.tar import BLOCK_BYTES, Header, TarError, next_header
from cowbook.capture.zip import ZipError, ZipMember, content_of, has_end, members_in_front, members_of
from cowbook.plain.escaping import escaped

_CHUNK_BYTES = 1 << 18
_MOST_MEMBERS = 100_000
_GZIP_SIZE_BYTES, _GZIP_MODULUS = 4, 1 << 32  # what a gzip member ends with: the size of its content
_LONGEST_END_BYTES = 10_240 + 512  # tar fills a record of 20 blocks up
_LEAST_ALONE_BYTES = 1 << 20
_LONGEST_TABLE_HEADER = 1 << 16
_TABLE_HEADER = re.compile(rb'[A-Za-z_"][^{}\[\]\n]*,[^{}\[\]\n]*\n')
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # what macOS adds beside each file, under a name that begins with `._`


def decode_file(
    file: StoredFile, kind: str | None, is_growing: Callable[[], bool], note_kind: Callable[[str], None] = lambda _: None
) -> Pieces:
    """Decode a file of a kind (containers.py; None for plain bytes), which is read by this generator alone.

    `note_kind` is told what kind stands inside of a compressed file, where it is more than lines.
    """

    def begin() -> Pieces:
        file.seek(0)
        return Members(file, kind, is_growing).pieces() if kind in CODECS else _plain(file, is_growing)

    if kind == ZIP:
        return _zip_members(file, is_growing)
    if kind == TAR:
        return _tar_members(begin, lambda: _size_of(file, kind, is_growing))
    return _opened(
        begin(),
        "a compressed file" if kind in CODECS else None,
        _Again(begin, lambda: _size_of(file, kind, is_growing)),
        note_kind,
    )


class _Again(NamedTuple):
    """What an archive inside of decoded bytes needs: the bytes from their beginning, and their number, as far as it is known."""

    begin: Callable[[], Pieces]
    size: Callable[[], int | None]


def _size_of(file: StoredFile, kind: str | None, is_growing: Callable[[], bool]) -> int | None:
    """The size of a file's decoded bytes modulo 2^32, if it says that; None if nothing says it. Moves no file position."""
    size = file.status().st_size
    if is_growing() or kind not in (TAR, "gzip") or size < _GZIP_SIZE_BYTES:
        return None
    tail = file.pread(_GZIP_SIZE_BYTES, size - _GZIP_SIZE_BYTES)
    return size % _GZIP_MODULUS if kind == TAR else int.from_bytes(tail, "little")


def _plain(file: StoredFile, is_growing: Callable[[], bool]) -> Pieces:
    """A file's own bytes."""
    while True:
        chunk = file.read(_CHUNK_BYTES)
        if chunk:
            yield chunk
        elif is_growing():
            yield None
        else:
            return None


class _Peeked(NamedTuple):
    """The first bytes of pieces, and all of the pieces again."""

    head: bytes
    pieces: Pieces


def _peek(pieces: Pieces) -> Generator[None, None, _Peeked]:
    """Look at the first bytes of pieces, as many as tell what they are."""
    head, last, end = b"", None, None
    while len(head) < LOOKED_AT_BYTES:
        try:
            last = next(pieces)
        except StopIteration as stop:
            end = stop
            break
        if isinstance(last, bytes):
            head += last
        elif isinstance(last, Damage) or (head and not may_become(head)):
            break
        else:
            yield None

    def again() -> Pieces:
        yield head
        if end is not None:
            return end.value  # type: ignore[no-any-return]  # what `pieces` returned
        if isinstance(last, Damage):
            yield last
        return (yield from pieces)

    return _Peeked(head, again())


def _opened(
    pieces: Pieces,
    inside: str | None,
    again: _Again | None = None,
    note_kind: Callable[[str], None] = lambda _: None,
) -> Pieces:
    """What stands in decoded bytes: lines as they are, or an encoding or a container of them. `again` gives the pieces anew."""
    head, pieces = yield from _peek(pieces)
    if inside is not None and (what := what_is_not_read_inside(head, inside)) is not None:
        return what
    kind = kind_of(head)
    if kind is not None:
        note_kind(kind)
    if kind == TAR and again is not None:
        return (yield from _tar_members(*again))
    if kind == UTF_16:
        return (yield from _transcoded(pieces))
    if kind == PCAP:
        return (yield from dissected(pieces))
    if kind == DBN:
        return (yield from dbn_lines(pieces))
    return (yield from pieces)


def _transcoded(pieces: Pieces) -> Pieces:
    """UTF-16 as UTF-8. What stands for no character becomes what is no UTF-8 either, so that its record is rejected."""
    reader = PieceReader(pieces)
    decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
    rest = reader.rest()
    while True:
        try:
            piece = next(rest)
        except StopIteration as end:
            break_text: str | None = end.value
            break
        yield decoder.decode(piece).encode("utf-8", "surrogatepass") if isinstance(piece, bytes) else piece
    if decoder.getstate()[0]:
        yield b"\xff"  # half a character
    return break_text


def _decompressed(pieces: Pieces, kind: str) -> Pieces:
    """Decompress a member of an archive, which may have several compressed members itself."""
    codec = CODECS[kind]
    decompressor = None
    end_text: str | None = None
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            end_text = end.value
            break
        if not isinstance(piece, bytes):
            yield piece
            continue
        while piece:
            if decompressor is None:
                piece = piece.lstrip(codec.padding) if codec.padding else piece
                decompressor = codec.make() if piece else None
                continue
            fed, piece = piece[: codec.chunk_bytes], piece[codec.chunk_bytes :]
            try:
                yield from decode_all(decompressor, fed)
            except DECODING_ERRORS as error:
                return f"is damaged: {str(error) or 'its data are bad'}"
            if decompressor.eof:
                piece = decompressor.unused_data + piece
                decompressor = None
    if end_text is None and decompressor is not None:
        return f"is damaged: its last {codec.member} ends in the middle"
    return end_text


class _Joined:
    """Members one after the other, as one stream of lines."""

    def __init__(self) -> None:
        self._last = b""  # the last byte that was given
        self._table_header: bytes | None = None  # the first member's first line; empty if that is none of a table
        self.damage: str | None = None
        """What is wrong behind what was given so far."""

    def note(self, damage: str | None) -> None:
        """Note what is wrong in front of the next member, unless it is known of the one before; None if nothing is."""
        self.damage = self.damage or damage

    def add(self, name: str, content: Pieces) -> Generator[bytes | Damage | None, None, None]:
        """Give a member."""
        text = yield from self._lines(self._open(content))
        if text is not None:
            self.damage = f"has the member {escaped(name)}, which {text}"

    def _open(self, content: Pieces) -> Pieces:
        head, pieces = yield from _peek(content)
        if head.startswith(_APPLE_DOUBLE):
            return None
        kind = kind_of(head)
        if (what := what_is_not_read_inside(head, "an archive")) is not None:
            return what
        if kind in CODECS:
            return (yield from _opened(_decompressed(pieces, kind), "a compressed member"))
        return (yield from _opened(pieces, None))

    def _lines(self, pieces: Pieces) -> Pieces:
        """Give a member's bytes, behind what must stand before them."""
        reader = PieceReader(pieces)
        head = yield from self._take_first_line(reader)
        if self._table_header is None and (head or reader.held_bytes):
            self._table_header = head if _TABLE_HEADER.fullmatch(head) else b""
        elif head == self._table_header:
            head = b""
        if head or reader.held_bytes:
            yield from self._begin_member()
            yield from self._give(head)
        rest = reader.rest()
        while True:
            try:
                piece = next(rest)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what `rest` returned
            yield from self._give(piece) if isinstance(piece, bytes) else iter((piece,))

    def _take_first_line(self, reader: PieceReader) -> Generator[None, None, bytes]:
        """Take a member's first line, without a byte order mark; nothing of it if it is too long for a table's."""
        count = LOOKED_AT_BYTES
        while (yield from reader.fill(count)) and b"\n" not in reader.peek(count) and count < _LONGEST_TABLE_HEADER:
            count *= 2
        reader.take(len(_BYTE_ORDER_MARK) if reader.peek(3) == _BYTE_ORDER_MARK else 0)
        return reader.take(reader.peek(count).find(b"\n") + 1)

    def _begin_member(self) -> Generator[bytes | Damage, None, None]:
        if self.damage is not None:
            yield Damage(self.damage)
            self.damage = None
        elif self._last not in (b"", b"\n"):
            yield b"\n"

    def _give(self, piece: bytes) -> Generator[bytes, None, None]:
        if piece:
            self._last = piece[-1:]
            yield piece


def _zip_members(file: StoredFile, is_growing: Callable[[], bool]) -> Pieces:
    """The members of a zip archive, once it is whole. The file stands as far as it was read, roughly."""
    while is_growing() and not has_end(file):
        file.seek(file.status().st_size)
        yield None
    joined = _Joined()
    end_text = None
    if has_end(file):
        try:
            members: Iterable[ZipMember] = sorted(members_of(file), key=lambda member: natural_key(member.name))
        except ZipError as error:
            return f"is a zip archive that cannot be read: {error}"
    else:
        end_text = "is a zip archive without a directory at its end: it was cut off"
        members = members_in_front(file)
    for member in members:
        yield from joined.add(member.name, content_of(file, member))
        file.seek(min(member.start + (member.size_bytes or 0), file.status().st_size))
    file.seek(file.status().st_size)
    return joined.damage or end_text


def _tar_members(begin: Callable[[], Pieces], size: Callable[[], int | None]) -> Pieces:
    """The members of a tar archive. `begin` gives the archive's bytes from its beginning, `size` their number, if it is known.

    The names are read first. Then the archive is read once, if they stand in their natural order, and begun anew where one stands
    before the one that it follows. Of an archive of one large file no names need to be read; a few KiB may stand behind it,
    and are given behind it.
    """
    reader = PieceReader(begin())
    try:
        header = yield from _next_file(reader)
    except TarError:
        header = None
    if header is not None and _is_nearly_all(reader, header, size()):
        return (yield from _members_as_stored(reader, header))
    names, end_text, is_one = yield from _list_names(begin())
    order = list(range(len(names)))
    if not is_one:
        order.sort(key=lambda index: (natural_key(names[index]), index))
    joined = _Joined()
    reader = PieceReader(begin())
    place = 0
    for index in order:
        if index < place:
            reader, place = PieceReader(begin()), 0
        while True:
            is_known = reader.is_interrupted  # where the content of the member before is given, this is said
            header = yield from _next_file(reader)
            if place == index:
                break
            yield from reader.skip(header.size_bytes + header.padding_bytes)
            place += 1
        place += 1
        joined.note(None if is_known else header.damage)
        yield from _give_member(joined, reader, header)
    yield from reader.skip(1 << 62)  # to the end of the file, where more would be seen
    return joined.damage or end_text


def _is_nearly_all(reader: PieceReader, header: Header, size: int | None) -> bool:
    """Whether a file, of which the content is next, is a large one with room for no more than an archive's end behind it."""
    if size is None or header.size_bytes < _LEAST_ALONE_BYTES:
        return False
    rest = (size - reader.taken_bytes - header.size_bytes - header.padding_bytes) % _GZIP_MODULUS
    return rest % BLOCK_BYTES == 0 and 2 * BLOCK_BYTES <= rest <= _LONGEST_END_BYTES


def _members_as_stored(reader: PieceReader, header: Header | None) -> Pieces:
    """A file, and what may stand behind it, in the order of the archive."""
    joined = _Joined()
    end_text = None
    try:
        while header is not None:
            joined.note(header.damage)
            if header.is_file and header.size_bytes:
                yield from _give_member(joined, reader, header)
            else:
                yield from reader.skip(header.size_bytes + header.padding_bytes)
            header = yield from next_header(reader)
    except TarError as error:
        end_text = reader.damage or f"is a tar archive that cannot be read on: {error}"
    yield from reader.skip(1 << 62)
    return joined.damage or end_text


class _Names(NamedTuple):
    """The names of an archive's files, as far as it can be read, and what is wrong where it cannot be read on."""

    names: list[str]
    end_text: str | None = None
    is_one: bool = False
    """Whether it is an archive of one large file, as `_is_nearly_all` finds one that says its size."""


def _list_names(pieces: Pieces) -> Generator[None, None, _Names]:
    """List an archive's files."""
    reader = PieceReader(pieces)
    names: list[str] = []
    first_end = None
    try:
        while (header := (yield from next_header(reader))) is not None:
            if header.is_file and header.size_bytes:
                names.append(header.name)
            if len(names) > _MOST_MEMBERS:
                return _Names(names, f"is a tar archive of more than {_MOST_MEMBERS} files: unpack it")
            if not (yield from reader.skip(header.size_bytes + header.padding_bytes)) and not reader.is_interrupted:
                return _Names(names, reader.damage or "is a tar archive that ends in the middle")
            if first_end is None and names:
                first_end = reader.taken_bytes if header.size_bytes >= _LEAST_ALONE_BYTES else -_LONGEST_END_BYTES
    except TarError as error:
        text = reader.damage or f"is a tar archive that cannot be read on behind {len(names)} files: {error}"
        return _Names(names, text)
    # What was read behind the file has the first of the two blocks of zeros.
    return _Names(names, None, first_end is not None and reader.taken_bytes - first_end <= _LONGEST_END_BYTES - BLOCK_BYTES)


def _next_file(reader: PieceReader) -> Generator[None, None, Header]:
    """The next header of a file that is not empty. There is one."""
    damage = None
    while (header := (yield from next_header(reader))) is not None:
        damage = header.damage or damage
        if header.is_file and header.size_bytes:
            return replace(header, damage=damage)
        yield from reader.skip(header.size_bytes + header.padding_bytes)
    raise TarError("it has changed while it was read")


def _give_member(joined: _Joined, reader: PieceReader, header: Header) -> Generator[bytes | Damage | None, None, None]:
    """Give a member of which the content is next, and pass over what of it is not read."""
    end = reader.taken_bytes + header.size_bytes + header.padding_bytes
    yield from joined.add(header.name, _content(reader, header))
    if not (yield from reader.skip(end - reader.taken_bytes)) and reader.is_interrupted:
        joined.note(reader.damage)


def _content(reader: PieceReader, header: Header) -> Pieces:
    """A member's content. Returns what is wrong at its end."""
    text = yield from reader.content(header.size_bytes)
    return text if text is None or reader.is_interrupted else "is cut off"
