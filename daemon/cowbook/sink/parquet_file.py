"""Writes a Parquet file of one row group: page headers, and a footer that says where the pages are.

A file is its pages, column by column, and a footer in Thrift's compact protocol. The sources are parquet.thrift and Encodings.md
of the Parquet format, and Thrift's thrift-compact-protocol.md. Only what a part needs is here: flat columns, data pages of
version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import zstandard
from isal import isal_zlib

from cowbook.plain.lent_memory import lend

Bytes = bytes | bytearray | memoryview

_MAGIC = b"PAR1"
ENCODER = 2
"""The version of the encoding of parts, which is another one whenever equal rows give other bytes. Two releases may have one."""


class Physical(IntEnum):
    """How values lie in a page: parquet.thrift's Type."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    DOUBLE = 5
    BYTE_ARRAY = 6


class Logical(IntEnum):
    """What values mean."""

    INTEGER = 0
    """Of the physical type's width."""
    SHORT = 1
    """An integer of 16 bits."""
    TIME = 2
    """Nanoseconds since 1970, UTC."""
    DECIMAL = 3
    """Units of 10^-decimals, 18 digits at most."""
    TEXT = 4


class Encoded(IntEnum):
    """How a page's values are encoded: parquet.thrift's Encoding."""

    PLAIN = 0
    RUNS = 3
    DELTAS = 5
    DICTIONARY = 8


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column as the footer describes it."""

    name: str
    physical: Physical
    logical: Logical = Logical.INTEGER
    optional: bool = False
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a column, before they are compressed."""

    encoded: Encoded
    rows: int
    content: Bytes


@dataclass(slots=True)
class Chunk:
    """A column's pages."""

    pages: list[Page]
    dictionary: Bytes | None = None
    entries: int = 0
    """Of the dictionary."""
    extremes: tuple[int, int] | None = None
    """Least and greatest value, for the footer; only of integers."""
    nulls: int = 0

    @property
    def encodings(self) -> frozenset[Encoded]:
        """Of values and levels of all its pages."""
        own = {page.encoded for page in self.pages} | {Encoded.RUNS}
        return frozenset(own if self.dictionary is None else own | {Encoded.PLAIN})


@dataclass(slots=True)
class _Written:
    """Where a column's pages are."""

    leaf: Leaf
    chunk: Chunk
    start: int
    data_at: int
    plain_bytes: int
    size_bytes: int = field(default=0)


class ParquetFile:
    """A file that is written column by column."""

    def __init__(self, rows: int, compression: str, metadata: dict[str, str]) -> None:
        """`compression` is "zstd" (at a fast level), "lz4", "snappy" or "none"."""
        self._rows, self._metadata = rows, metadata
        self._codec, self._compress = _codec(compression)
        self._pieces: list[Bytes] = [_MAGIC]
        self._size_bytes = len(_MAGIC)
        self._columns: list[_Written] = []

    def add(self, leaf: Leaf, chunk: Chunk) -> None:
        """Write the next column."""
        written = _Written(leaf, chunk, self._size_bytes, 0, 0)
        if chunk.dictionary is not None:
            written.plain_bytes += self._page(
                chunk.dictionary, b"\x3c\x15" + _zigzag(chunk.entries) + b"\x15\0\0\0", _DICTIONARY_PAGE
            )
        written.data_at = self._size_bytes
        for page in chunk.pages:
            # num_values, encoding, and that both kinds of levels are runs; then the ends of both structs.
            head = b"\x1c\x15" + _zigzag(page.rows) + b"\x15" + _zigzag(page.encoded) + b"\x15\x06\x15\x06\0\0"
            written.plain_bytes += self._page(page.content, head, _DATA_PAGE)
        written.size_bytes = self._size_bytes - written.start
        self._columns.append(written)

    def _page(self, content: Bytes, head: bytes, kind: bytes) -> int:
        """Write a page. `head` is the header's part from field 5 or 7 on. Returns the size without compression."""
        body = self._compress(content)
        check = isal_zlib.crc32(body)
        header = b"".join(
            (kind, _zigzag(len(content)), b"\x15", _zigzag(len(body)), b"\x15", _zigzag(check - (1 << 32) * (check >> 31)), head)
        )
        self._write(header)
        self._write(body)
        return len(header) + len(content)

    def _write(self, piece: Bytes) -> None:
        self._pieces.append(piece)
        self._size_bytes += len(piece)

    def finish(self) -> memoryview:
        """Write the footer. Returns the file's bytes."""
        footer = Struct()
        footer.integer(1, 2)
        footer.list(2, _STRUCT, 1 + len(self._columns))
        footer.add(_root(len(self._columns)))
        for column in self._columns:
            footer.add(_schema_element(column.leaf))
        footer.integer(3, self._rows, _I64)
        footer.list(4, _STRUCT, 1)
        footer.add(self._row_group())
        if self._metadata:
            footer.list(5, _STRUCT, len(self._metadata))
            for key, value in self._metadata.items():
                footer.add(Struct().binary(1, key.encode()).binary(2, value.encode()).end())
        footer.binary(6, b"cowbook version %d" % ENCODER)
        footer.list(7, _STRUCT, len(self._columns))
        for _ in self._columns:
            footer.add(_TYPE_ORDER)
        end = footer.end()
        self._write(end + struct.pack("<I", len(end)) + _MAGIC)
        content: memoryview = lend(self._size_bytes).data
        at = 0
        for piece in self._pieces:
            content[at : at + len(piece)] = memoryview(piece).cast("B")  # those of Arrow are of signed bytes
            at += len(piece)
        return content

    def _row_group(self) -> bytes:
        group = Struct()
        group.list(1, _STRUCT, len(self._columns))
        for column in self._columns:
            group.add(self._column(column))
        group.integer(2, sum(column.plain_bytes for column in self._columns), _I64)
        group.integer(3, self._rows, _I64)
        group.integer(5, len(_MAGIC), _I64)
        group.integer(6, sum(column.size_bytes for column in self._columns), _I64)
        return group.end()

    def _column(self, column: _Written) -> bytes:
        """A ColumnChunk: its head, which a file's columns share with those of other files, and where its pages are."""
        chunk = column.chunk
        parts = [_chunk_head(column.leaf, chunk.encodings, self._codec, self._rows)]
        parts += (b"\x16", _zigzag(column.plain_bytes), b"\x16", _zigzag(column.size_bytes), b"\x26", _zigzag(column.data_at))
        if chunk.dictionary is not None:
            parts += (b"\x26", _zigzag(column.start))
        if chunk.extremes is not None:
            least, greatest = (struct.pack("<q", value) for value in chunk.extremes)
            statistics = (
                Struct().binary(1, greatest).binary(2, least).integer(3, chunk.nulls, _I64).binary(5, greatest).binary(6, least)
            )
            parts += (b"\x1c" if chunk.dictionary is not None else b"\x3c", statistics.end())
        parts.append(b"\0\0")
        return b"".join(parts)


# --- Thrift's compact protocol. A field's head is one byte: the step from the field before, and the type.

_BYTE, _I32, _I64, _BINARY, _LIST, _STRUCT = 3, 5, 6, 8, 9, 12
_DATA_PAGE = b"\x15\x00\x15"
_DICTIONARY_PAGE = b"\x15\x04\x15"
"""A PageHeader's type, and the head of the next field."""


def _varint(value: int) -> bytes:
    if value < 128:
        return _SMALL[value]
    if value < 1 << 14:  # most are so small, and a loop takes three times as long
        return bytes((value & 127 | 128, value >> 7))
    if value < 1 << 21:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    content.append(value)
    return bytes(content)


_SMALL = tuple(bytes((value,)) for value in range(128))


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 ^ value >> 63)


class Struct:
    """A struct that is written field by field, in the order of their numbers."""

    __slots__ = ("_content", "_last")

    def __init__(self) -> None:
        self._content = bytearray()
        self._last = 0

    def _head(self, number: int, kind: int) -> None:
        self._content.append(number - self._last << 4 | kind)
        self._last = number

    def integer(self, number: int, value: int, kind: int = _I32) -> Struct:
        """Write an integer."""
        self._head(number, kind)
        self._content += _zigzag(value)
        return self

    def byte(self, number: int, value: int) -> Struct:
        """Write an integer of 8 bits."""
        self._head(number, _BYTE)
        self._content.append(value)
        return self

    def truth(self, number: int) -> Struct:
        """Write True."""
        self._head(number, 1)
        return self

    def binary(self, number: int, value: bytes) -> Struct:
        """Write bytes."""
        self._head(number, _BINARY)
        self._content += _varint(len(value))
        self._content += value
        return self

    def struct(self, number: int, ended: bytes) -> Struct:
        """Write a struct that was ended."""
        self._head(number, _STRUCT)
        self._content += ended
        return self

    def list(self, number: int, kind: int, count: int) -> Struct:
        """Begin a list: `add` its items."""
        self._head(number, _LIST)
        self._content += bytes((count << 4 | kind,)) if count < 15 else bytes((0xF0 | kind,)) + _varint(count)
        return self

    def add(self, item: bytes) -> Struct:
        """Write an item of a list."""
        self._content += item
        return self

    def end(self) -> bytes:
        """Returns the struct's bytes."""
        return bytes(self._content) + b"\0"


_EMPTY = Struct().end()
_TYPE_ORDER = Struct().struct(1, _EMPTY).end()


@lru_cache(64)
def _root(columns: int) -> bytes:
    return Struct().integer(3, 0).binary(4, b"schema").integer(5, columns).end()


@lru_cache(4096)
def _schema_element(leaf: Leaf) -> bytes:
    element = Struct().integer(1, leaf.physical).integer(3, int(leaf.optional)).binary(4, leaf.name.encode())
    match leaf.logical:
        case Logical.TEXT:
            element.integer(6, 0).struct(10, Struct().struct(1, _EMPTY).end())
        case Logical.DECIMAL:
            decimal = Struct().integer(1, leaf.decimals).integer(2, 18).end()
            element.integer(6, 5).integer(7, leaf.decimals).integer(8, 18).struct(10, Struct().struct(5, decimal).end())
        case Logical.TIME:
            nanoseconds = Struct().struct(3, _EMPTY).end()
            element.struct(10, Struct().struct(8, Struct().truth(1).struct(2, nanoseconds).end()).end())
        case Logical.SHORT:
            element.integer(6, 16).struct(10, Struct().struct(10, Struct().byte(1, 16).truth(2).end()).end())
        case Logical.INTEGER:
            pass
    return element.end()


@lru_cache(4096)
def _chunk_head(leaf: Leaf, encodings: frozenset[Encoded], codec: int, rows: int) -> bytes:
    """A ColumnChunk up to the number of its values."""
    data = Struct().integer(1, leaf.physical).list(2, _I32, len(encodings))
    for encoding in sorted(encodings):
        data.add(_zigzag(encoding))
    name = leaf.name.encode()
    data.list(3, _BINARY, 1).add(_varint(len(name)) + name).integer(4, codec).integer(5, rows, _I64)
    return Struct().integer(2, 0, _I64).struct(3, b"").end()[:-1] + data.end()[:-1]


# --- Compression.

_ZSTD_LEVEL = -3
_SAMPLE_BYTES = 1 << 14
_LARGE_BYTES = 1 << 17
_LEAST_GAIN = 0.97
_RAW_BLOCK_BYTES = 1 << 17


def _codec(compression: str) -> tuple[int, Callable[[Bytes], Any]]:
    """The number of a codec in a footer, and what compresses a page."""
    match compression:
        case "zstd":
            compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True).compress
            return 6, partial(_zstd, compress)
        case "lz4":
            return 7, pa.Codec("lz4_raw").compress
        case "snappy":
            return 1, pa.Codec("snappy").compress
        case _:
            return 0, bytes  # a copy: a page may lie in memory that the next one is made in


def _zstd(compress: Callable[[Bytes], bytes], content: Bytes) -> bytes:
    """A zstd frame. If a sample from the middle of a large page hardly shrinks, the time to compress it all is saved."""
    size = len(content)
    if size > _LARGE_BYTES:
        sample = memoryview(content)[size // 2 :][:_SAMPLE_BYTES]
        if len(compress(sample)) > _LEAST_GAIN * _SAMPLE_BYTES:
            return stored_frame(content)
    return compress(content)


def stored_frame(content: Bytes) -> bytes:
    """A zstd frame of uncompressed blocks (RFC 8878, section 3.1.1)."""
    size, view = len(content), memoryview(content)
    parts: list[Bytes] = [struct.pack("<IBI", 0xFD2FB528, 0xA0, size)]  # one segment, whose size has four bytes
    for start in range(0, max(size, 1), _RAW_BLOCK_BYTES):
        block = view[start : start + _RAW_BLOCK_BYTES]
        is_last = start + len(block) == size
        parts += ((len(block) << 3 | is_last).to_bytes(3, "little"), block)
    return b"".join(parts)
