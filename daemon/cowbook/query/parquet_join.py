"""Joins Parquet files: the new one has their row groups, whose pages are copied as they are, and a footer of its own.

A footer is a struct in Thrift's compact protocol (parquet.thrift and thrift-compact-protocol.md). Here it is read field by field,
and written again with other places of the pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # the length of the footer, and the magic bytes
_PIECE_BYTES = 1 << 20

_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 6, 7, 8, 9, 10, 12

# Fields of structs in parquet.thrift.
_SCHEMA, _ROW_COUNT, _GROUPS, _KEY_VALUES = 2, 3, 4, 5  # FileMetaData
_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 3, 5, 7  # RowGroup
_CHUNK_METADATA, _CHUNK_OFFSETS = 3, (2, 4, 6)  # ColumnChunk: of the chunk, of its indexes
_PAGE_OFFSETS = (9, 10, 11, 14)  # ColumnMetaData: data pages, index pages, dictionary, Bloom filter


class NotAlikeError(Exception):
    """The files have other columns than the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)


class DamagedFileError(Exception):
    """A file has no footer that can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)


@dataclass(slots=True)
class _Value:
    """A value: an integer, bytes, the values of a list with the type of its items, or the fields of a struct by number."""

    kind: int
    content: Any
    items: int = 0


Fields = dict[int, _Value]


def join(paths: Sequence[Path], metadata: dict[str, str]) -> Iterator[bytes]:
    """Yields the content of a file with the row groups of others, in their order. `metadata` are its own keys and values.

    Raises NotAlikeError if the columns of two differ, DamagedFileError for a file that is none, and OSError.
    """
    first: Fields | None = None
    groups: list[_Value] = []
    end = len(_MAGIC)
    yield _MAGIC
    for path in paths:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            footer, footer_bytes = _read_footer(path, file, size_bytes)
            if first is None:
                first = footer
            elif footer[_SCHEMA] != first[_SCHEMA]:
                raise NotAlikeError(path)
            for group in footer[_GROUPS].content:
                _move(group.content, end - len(_MAGIC), len(groups))
                groups.append(group)
            left = size_bytes - footer_bytes - _TAIL_BYTES - len(_MAGIC)
            file.seek(len(_MAGIC))
            end += left
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise DamagedFileError(path)
                left -= len(piece)
                yield piece
    assert first is not None
    first[_GROUPS] = _Value(_LIST, groups, _STRUCT)
    first[_ROW_COUNT] = _Value(_I64, sum(group.content[_GROUP_ROWS].content for group in groups))
    pairs = [{1: _Value(_BINARY, key.encode()), 2: _Value(_BINARY, value.encode())} for key, value in metadata.items()]
    first[_KEY_VALUES] = _Value(_LIST, [_Value(_STRUCT, pair) for pair in pairs], _STRUCT)
    written = bytearray()
    _write_struct(first, written)
    yield bytes(written) + struct.pack("<I", len(written)) + _MAGIC


def _read_footer(path: Path, file: Any, size_bytes: int) -> tuple[Fields, int]:
    """The footer of a file, and its size."""
    try:
        file.seek(size_bytes - _TAIL_BYTES)
        length, magic = struct.unpack("<I4s", file.read(_TAIL_BYTES))
        file.seek(size_bytes - _TAIL_BYTES - length)
        reader = _Reader(file.read(length))
        footer = reader.fields()
        if magic != _MAGIC or {_SCHEMA, _ROW_COUNT, _GROUPS} - footer.keys():
            raise DamagedFileError(path)
    except (IndexError, ValueError, OSError, struct.error) as error:
        raise DamagedFileError(path) from error
    return footer, length


def _move(group: Fields, distance: int, ordinal: int) -> None:
    """Have a row group lie so many bytes farther behind. An offset of 0 is none."""
    _shift(group, (_GROUP_OFFSET,), distance)
    if _GROUP_ORDINAL in group:
        group[_GROUP_ORDINAL].content = ordinal
    for chunk in group[_COLUMNS].content:
        _shift(chunk.content, _CHUNK_OFFSETS, distance)
        _shift(chunk.content[_CHUNK_METADATA].content, _PAGE_OFFSETS, distance)


def _shift(fields: Fields, numbers: Sequence[int], distance: int) -> None:
    for number in numbers:
        if number in fields and fields[number].content:
            fields[number].content += distance


class _Reader:
    """Reads structs. Raises IndexError where the content ends, ValueError for what is no struct."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def _byte(self) -> int:
        self._place += 1
        return self._content[self._place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        self._place += count
        if self._place > len(self._content):
            raise IndexError
        return self._content[self._place - count : self._place]

    def fields(self) -> Fields:
        """Returns the fields of a struct."""
        fields: Fields = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> _Value:
        match kind:
            case 1 | 2:
                return _Value(kind, None)  # the type is the value
            case 3:
                return _Value(kind, self._byte())
            case 4 | 5 | 6:
                return _Value(kind, self._integer())
            case 7:
                return _Value(kind, self._bytes(8))
            case 8:
                return _Value(kind, self._bytes(self._varint()))
            case 9 | 10:
                head = self._byte()
                count, items = head >> 4, head & 15
                if count == 15:
                    count = self._varint()
                if items in (_TRUE, _FALSE):
                    return _Value(kind, [_Value(_BYTE, self._byte()) for _ in range(count)], items)
                return _Value(kind, [self._value(items) for _ in range(count)], items)
            case 12:
                return _Value(kind, self.fields())
        raise ValueError(kind)


def _write_varint(value: int, into: bytearray) -> None:
    while value > 127:
        into.append(value & 127 | 128)
        value >>= 7
    into.append(value)


def _write_struct(fields: Fields, into: bytearray) -> None:
    last = 0
    for number in sorted(fields):
        value = fields[number]
        step = number - last
        last = number
        if step < 16:
            into.append(step << 4 | value.kind)
        else:
            into.append(value.kind)
            _write_varint(number << 1, into)
        _write_value(value, into)
    into.append(0)


def _write_value(value: _Value, into: bytearray) -> None:
    match value.kind:
        case 1 | 2:
            pass
        case 3:
            into.append(value.content)
        case 7:
            into += value.content
        case 8:
            _write_varint(len(value.content), into)
            into += value.content
        case 9 | 10:
            count = len(value.content)
            into.append(min(count, 15) << 4 | value.items)
            if count >= 15:
                _write_varint(count, into)
            for item in value.content:
                _write_value(item, into)
        case 12:
            _write_struct(value.content, into)
        case _:
            _write_varint(value.content << 1 ^ value.content >> 63, into)
