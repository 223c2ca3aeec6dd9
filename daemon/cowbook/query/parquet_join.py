"""Joins Parquet files: the new one has their row groups, whose pages are copied as they are, and a footer of its own.

A footer is a struct (parquet.thrift). Here it is read field by field, and written again with other places of the pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cowbook.plain.thrift import BINARY, I16, I64, LIST, STRUCT, Fields, StructReader, Value, write_struct

_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # the length of the footer, and the magic bytes
_PIECE_BYTES = 1 << 20

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


def join(paths: Sequence[Path], metadata: dict[str, str]) -> Iterator[bytes]:
    """Yields the content of a file with the row groups of others, in their order. `metadata` are its own keys and values.

    Raises NotAlikeError if the columns of two differ, DamagedFileError for a file that is none, and OSError.
    """
    first: Fields | None = None
    groups: list[Value] = []
    row_count = 0
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
            try:
                for group in footer[_GROUPS].content:
                    _move(group.content, end - len(_MAGIC), len(groups))
                    groups.append(group)
                    row_count += group.content[_GROUP_ROWS].content
            except (AttributeError, IndexError, KeyError, TypeError) as error:  # a struct, but no footer
                raise DamagedFileError(path) from error
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
    first[_GROUPS] = Value(LIST, groups, STRUCT)
    first[_ROW_COUNT] = Value(I64, row_count)
    pairs = [{1: Value(BINARY, key.encode()), 2: Value(BINARY, value.encode())} for key, value in metadata.items()]
    first[_KEY_VALUES] = Value(LIST, [Value(STRUCT, pair) for pair in pairs], STRUCT)
    written = write_struct(first)
    yield written + struct.pack("<I", len(written)) + _MAGIC


def _read_footer(path: Path, file: Any, size_bytes: int) -> tuple[Fields, int]:
    """The footer of a file, and its size."""
    try:
        file.seek(size_bytes - _TAIL_BYTES)
        length, magic = struct.unpack("<I4s", file.read(_TAIL_BYTES))
        file.seek(size_bytes - _TAIL_BYTES - length)
        footer = StructReader(file.read(length)).fields()
        if magic != _MAGIC or {_SCHEMA, _ROW_COUNT, _GROUPS} - footer.keys():
            raise DamagedFileError(path)
    except (IndexError, ValueError, OSError, struct.error) as error:
        raise DamagedFileError(path) from error
    return footer, length


def _move(group: Fields, distance: int, ordinal: int) -> None:
    """Have a row group lie so many bytes farther behind. An offset of 0 is none."""
    _shift(group, (_GROUP_OFFSET,), distance)
    if _GROUP_ORDINAL in group:
        group[_GROUP_ORDINAL] = Value(I16, ordinal)
    for chunk in group[_COLUMNS].content:
        _shift(chunk.content, _CHUNK_OFFSETS, distance)
        _shift(chunk.content[_CHUNK_METADATA].content, _PAGE_OFFSETS, distance)


def _shift(fields: Fields, numbers: Sequence[int], distance: int) -> None:
    for number in numbers:
        if number in fields and fields[number].content:
            fields[number] = Value(I64, fields[number].content + distance)
