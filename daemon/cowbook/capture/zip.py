"""Reads zip archives: their directory, or what stands in front of each member where an archive was cut off in front of that.

Stored and deflated members are read. A member's bytes are given up to where they are damaged.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cowbook.capture.members import Pieces
from cowbook.capture.stored_file import StoredFile

_END_MAGIC = b"PK\x05\x06"
_LOCATOR_MAGIC, _LOCATOR_BYTES = b"PK\x06\x07", 20  # in front of the end: where the end of a zip64 archive is
_MEMBER_MAGIC, _MEMBER_BYTES = b"PK\x03\x04", 30
_DESCRIPTOR_MAGIC = b"PK\x07\x08"
_END_BYTES = 22
_LONGEST_COMMENT = 0xFFFF
_CHUNK_BYTES = 1 << 18
_MOST_DECODED_BYTES = 1 << 22
_MOST_DIRECTORY_BYTES = 1 << 26
_NAMES_OF_METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 99: "AES"}
_ENCRYPTED, _HAS_DESCRIPTOR, _IS_UTF_8 = 1, 8, 1 << 11
_TOO_LARGE = 0xFFFFFFFF


class ZipError(Exception):
    """The archive cannot be read; args are the text."""


@dataclass(slots=True)
class ZipMember:
    """A member, by the archive's directory. Where that is cut off, `size_bytes` and `checksum` may not be known."""

    name: str
    start: int  # of its header in the file
    method: int
    is_encrypted: bool
    size_bytes: int | None  # compressed
    checksum: int | None
    end: int = 0  # in the file, once its content was given: known where it ends by itself


def has_end(file: StoredFile) -> bool:
    """Whether a file ends with the directory of a zip archive, so that it is whole."""
    return _find_directory(file) is not None


def members_of(file: StoredFile) -> list[ZipMember]:
    """The files of a whole archive, in the order in which they stand there. Moves no file position. Raises ZipError."""
    directory_bytes = _find_directory(file) or 0
    if directory_bytes > _MOST_DIRECTORY_BYTES:
        raise ZipError(f"its directory has {directory_bytes} bytes")
    try:
        with file.again() as again, zipfile.ZipFile(again) as archive:
            return [
                ZipMember(
                    info.filename,
                    info.header_offset,
                    info.compress_type,
                    bool(info.flag_bits & _ENCRYPTED),
                    info.compress_size,
                    info.CRC,
                )
                for info in archive.infolist()
                if not info.is_dir()
            ]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ZipError(f"its directory cannot be read: {error}") from error


def members_in_front(file: StoredFile) -> Iterator[ZipMember]:
    """The files of an archive without a directory, one by one. Each must be read before the next one is asked for."""
    place = 0
    while True:
        header = file.pread(_MEMBER_BYTES, place)
        if len(header) < _MEMBER_BYTES or not header.startswith(_MEMBER_MAGIC):
            return
        flags, method = int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:10], "little")
        checksum, size = int.from_bytes(header[14:18], "little"), int.from_bytes(header[18:22], "little")
        name = file.pread(int.from_bytes(header[26:28], "little"), place + _MEMBER_BYTES)
        is_known = not flags & _HAS_DESCRIPTOR and size != _TOO_LARGE
        text = name.decode("utf-8" if flags & _IS_UTF_8 else "cp437", "backslashreplace")
        member = ZipMember(
            text, place, method, bool(flags & _ENCRYPTED), size if is_known else None, checksum if is_known else None
        )
        if not text.endswith("/"):
            yield member
        elif is_known:
            member.end = _start_of_content(file, member) + size
        if not member.end:
            return  # nothing tells where the next one begins
        place = member.end
        if flags & _HAS_DESCRIPTOR:
            place += 16 if file.pread(4, place) == _DESCRIPTOR_MAGIC else 12


def content_of(file: StoredFile, member: ZipMember) -> Pieces:
    """The content of a member. Returns what is wrong at its end."""
    if member.is_encrypted:
        return "is encrypted: unpack it with its password"
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = _NAMES_OF_METHODS.get(member.method, f"method {member.method}")
        return f"is compressed by {method} inside of the zip archive, which is not read: unpack it"
    place = _start_of_content(file, member)
    if member.method == zipfile.ZIP_STORED and member.size_bytes is None:
        return "is damaged: nothing tells where it ends"
    checksum = 0
    try:
        pieces = _stored if member.method == zipfile.ZIP_STORED else _inflated
        for piece in pieces(file, member, place):
            checksum = zlib.crc32(piece, checksum)
            yield piece
    except (zlib.error, EOFError) as error:
        return f"is damaged: {error}"
    return "is damaged: its checksum is another one" if member.checksum not in (None, checksum) else None


def _start_of_content(file: StoredFile, member: ZipMember) -> int:
    header = file.pread(_MEMBER_BYTES, member.start)
    return member.start + _MEMBER_BYTES + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _stored(file: StoredFile, member: ZipMember, place: int) -> Iterator[bytes]:
    left = member.size_bytes or 0
    while left:
        chunk = file.pread(min(left, _CHUNK_BYTES), place)
        if not chunk:
            raise EOFError("it is cut off")
        yield chunk
        left -= len(chunk)
        place += len(chunk)
    member.end = place


def _inflated(file: StoredFile, member: ZipMember, place: int) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    left = member.size_bytes if member.size_bytes is not None else 1 << 62
    while not decompressor.eof:
        chunk = decompressor.unconsumed_tail
        if not chunk:
            chunk = file.pread(min(left, _CHUNK_BYTES), place)
            left -= len(chunk)
            place += len(chunk)
        if not chunk:
            raise EOFError("it is cut off")
        if piece := decompressor.decompress(chunk, _MOST_DECODED_BYTES):
            yield piece
    member.end = place - len(decompressor.unused_data)


def _find_directory(file: StoredFile) -> int | None:
    """The size in bytes of an archive's directory; None if it does not end with one."""
    size = file.status().st_size
    length = min(size, _END_BYTES + _LONGEST_COMMENT)
    tail = file.pread(length, size - length)
    place = tail.rfind(_END_MAGIC)
    if place < 0 or len(tail) - place < _END_BYTES:
        return None
    comment = int.from_bytes(tail[place + 20 : place + 22], "little")
    if place + _END_BYTES + comment > len(tail):
        return None
    in_directory = int.from_bytes(tail[place + 12 : place + 16], "little")
    locator = tail[max(0, place - _LOCATOR_BYTES) : place]
    if in_directory == _TOO_LARGE and locator.startswith(_LOCATOR_MAGIC):
        return int.from_bytes(file.pread(8, int.from_bytes(locator[8:16], "little") + 40), "little")
    return in_directory
