"""Turns a Parquet file into a stream of bytes: one line that names the columns, then rows of fixed length.

So blocks, offsets and identities work as they do for text. A row's number is its offset, less the first line, divided by the
row's length. Columns are packed as int64 (times in ns), float64, or text of fixed width; nulls as NONE, NaN and empty text.
Columns that no table uses are named in the first line, but not read. Nested columns are left out.

Memory is bounded, whatever the file says of itself: pages that are too large are refused before they are decompressed
(parquet_pages.py), and texts are cut before they leave Arrow.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cowbook.capture.parquet_pages import DELTA_BYTE_ARRAY, Page, PageError, held_bytes, largest_batch, read_pages, spelled_out
from cowbook.capture.stored_file import StoredFile
from cowbook.errors import InputError
from cowbook.plain.messages import NONE
from cowbook.plain.table_header import (
    LONGEST_HEADER,
    PACKED_NOTHING,
    PACKED_TEXT_BYTES,
    Header,
    is_used_column,
    packed_header,
    read_header,
)

PARQUET_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # length of the footer, and the magic again
_BATCH_ROWS = 1 << 16
_READ_BYTES = 1 << 20  # of a column at once; otherwise Arrow reads all of it in a row group
_LARGEST_FOOTER = 16 << 20
_LARGEST_PAGES = 128 << 20
_LARGEST_BATCH = 48 << 20
_REWRITE = "write it anew with smaller pages and dictionaries (1 MiB is usual)"


class ParquetRows(io.RawIOBase):
    """A Parquet file's rows as bytes, up to damage. Raises InputError where the file has too many columns."""

    def __init__(self, path: Path, file: StoredFile) -> None:
        super().__init__()
        self._path = path
        self._file = file
        self._decoded_rows = 0  # rows decoded so far
        self.damage: str | None = None
        """Why the last read gave nothing, if the file is damaged there."""
        self._failure: str | None = None
        self._refusal: InputError | None = None
        self.row_count = 0
        self._header: Header | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._pending = memoryview(b"")
        self._check_footer()
        try:
            self._parquet = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            self._note_damage("begins like Parquet but is not a whole Parquet file", error)
            return
        schema = self._parquet.schema_arrow
        columns = [(field.name, kind) for field in schema if field.name and (kind := _packing_of(field.type)) is not None]
        if any(is_used_column(name) for name, _ in columns):  # else it is no table, and all of its rows tell it from others
            columns = [(name, kind if is_used_column(name) else "x") for name, kind in columns]
        self._columns = columns
        self._texts = {field.name for field in schema if _is_text(_value_type(field.type))}
        line = packed_header(self._columns)
        if len(line) > LONGEST_HEADER:
            raise InputError(f"{path} has {len(schema)} columns, which is more than a table of levels or trades has")
        header = read_header(line)
        assert header is not None
        self._header = header
        self.row_count = self._parquet.metadata.num_rows
        self._batches = self._read_from(0)
        self._pending = memoryview(line)

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer`; fewer bytes only at the end or at damage, 0 there. Raises InputError before what is too large."""
        filled = 0
        while filled < len(buffer):
            if not self._pending and not self._decode():
                break
            count = min(len(buffer) - filled, len(self._pending))
            buffer[filled : filled + count] = self._pending[:count]
            self._pending = self._pending[count:]
            filled += count
        if not filled and self._refusal is not None:
            raise self._refusal
        self.damage = self._failure if not filled else None
        return filled

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`; empty if the file is shorter."""
        if self._header is None:
            return head if not offset else b""
        start, width = len(self._header.line), self._header.row_bytes
        first = max(0, offset - len(head) - start) // width if width else 0  # the row in which the tail begins
        self._failure = self._refusal = None
        if first > self.row_count:
            return b""
        if first > 0:
            self._batches, self._decoded_rows = self._read_from(first), first
            self._pending = memoryview(b"")
            skipped = offset - start - first * width
        else:
            self._batches, self._decoded_rows = self._read_from(0), 0
            self._pending = memoryview(self._header.line)
            skipped = offset
        content = self.read(skipped) or b""
        while len(content) < skipped and (more := self.read(skipped - len(content))):
            content += more
        return content[len(content) - len(head) :] if len(content) == skipped else b""

    def tell_compressed(self) -> int:
        """Estimate of the bytes on disk read so far; exact at the end."""
        size = self._size()
        return size if self.is_drained else size * self._decoded_rows // max(self.row_count, 1)

    @property
    def is_drained(self) -> bool:
        """Whether all rows were handed out."""
        return not self._pending and (self._decoded_rows >= self.row_count or self._failure is not None)

    def status(self) -> os.stat_result:
        """Status of the file."""
        return self._file.status()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _size(self) -> int:
        return self._file.status().st_size

    def _read_from(self, first: int) -> Iterator[pa.RecordBatch]:
        """Record batches from row `first` on. Earlier row groups are not read."""
        metadata = self._parquet.metadata
        used = list(dict.fromkeys(name for name, kind in self._columns if kind != "x"))
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            if first >= count:
                first -= count
                continue
            batch_rows, coded = self._plan_group(group, used)
            reader = pq.ParquetFile(self._file, read_dictionary=coded, buffer_size=_READ_BYTES, metadata=metadata)
            for batch in reader.iter_batches(batch_rows, [group], used, use_threads=False):
                if first >= batch.num_rows:
                    first -= batch.num_rows
                    continue
                yield batch.slice(first)
                first = 0

    def _check_footer(self) -> None:
        """Raises InputError if the footer is too large to be read."""
        size = self._size()
        tail = self._file.pread(_TAIL_BYTES, max(0, size - _TAIL_BYTES))
        footer_bytes = int.from_bytes(tail[:4], "little")
        if _LARGEST_FOOTER < footer_bytes < size:
            raise InputError(f"{self._path} has a footer of {footer_bytes:,} bytes, the most is {_LARGEST_FOOTER:,}: {_REWRITE}")

    def _plan_group(self, group: int, used: Collection[str]) -> tuple[int, list[str]]:
        """How many rows of a row group are decoded at once, and the columns of texts that stay in dictionaries.

        Every column has one page decompressed at a time, and its dictionary. Those of all columns count together. Raises
        InputError if they are too large for memory, and PageError if they are damaged.
        """
        metadata = self._parquet.metadata.row_group(group)
        held = 0
        texts: list[list[Page]] = []
        coded: list[str] = []
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            name = column.path_in_schema
            if name not in used:
                continue
            pages = read_pages(self._file, column)
            held += held_bytes(pages)
            if column.physical_type != "BYTE_ARRAY":
                continue
            # Arrow keeps neither decimals nor this encoding in dictionaries: each value is then spelled out.
            stays = name in self._texts and all(page.encoding != DELTA_BYTE_ARRAY for page in pages)
            coded += [name] if stays else []
            texts.append(pages if stays else spelled_out(pages))
        if held > _LARGEST_PAGES:
            what = f"pages of row group {group} would take {held:,} bytes of memory, the most is {_LARGEST_PAGES:,}"
            raise InputError(f"{self._path}: {what}: {_REWRITE}")
        rows = _BATCH_ROWS
        while rows > 1 and sum(largest_batch(pages, rows) for pages in texts) > _LARGEST_BATCH:
            rows >>= 1
        return rows, coded

    def _decode(self) -> bool:
        """Decode the next batch of rows. Returns False after the last, and where the rest cannot be decoded."""
        if self._header is None or not self._header.row_bytes or self._failure is not None or self._refusal is not None:
            return False
        try:
            batch = next(self._batches, None)
            packed = pack(batch, self._header).data if batch is not None else None
        except InputError as error:
            self._refusal = error
            return False
        except (pa.ArrowException, OSError, UnicodeDecodeError, PageError) as error:
            self._note_damage(f"cannot be read as Parquet from row {self._decoded_rows} on", error)
            return False
        if batch is None or packed is None:
            return False
        self._decoded_rows += batch.num_rows
        self._pending = packed
        return True

    def _note_damage(self, what: str, error: Exception) -> None:
        """Note why there are no more rows. Raises the error if it is one of reading, which is no damage."""
        if isinstance(error, OSError) and error.errno:
            raise error
        self._failure = f"{self._path} {what}: {_one_line(error)}"


_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def pack(batch: pa.RecordBatch, header: Header) -> npt.NDArray[np.uint8]:
    """Pack a batch of the columns that are read into rows of `header.row_bytes` bytes. Returns them flat, uint8."""
    assert header.places is not None
    rows = np.zeros((batch.num_rows, header.row_bytes), np.uint8)
    assert header.kinds is not None
    used = np.flatnonzero(header.kinds != PACKED_NOTHING)
    for column, place, end in zip(batch.columns, header.places[used], header.places[used + 1], strict=True):
        target = rows[:, place:end]
        kind = _packing_of(column.type)
        if kind == "t":
            _pack_texts(target, column)
        else:
            values = _to_doubles(column) if kind == "f" else _to_integers(column)
            target.view(np.float64 if kind == "f" else np.int64)[:, 0] = values
    return rows.reshape(-1)


def _packing_of(column: pa.DataType) -> str | None:
    """How a column is packed: "i" int64, "f" float64, "t" text; None if it is left out."""
    column = _value_type(column)
    if pa.types.is_floating(column):
        return "f"
    if pa.types.is_integer(column) or pa.types.is_boolean(column) or pa.types.is_timestamp(column):
        return "i"
    return "t" if _is_text(column) or pa.types.is_decimal(column) else None


def _is_text(column: pa.DataType) -> bool:
    return bool(pa.types.is_string(column) or pa.types.is_large_string(column))


def _value_type(column: pa.DataType) -> pa.DataType:
    return column.value_type if pa.types.is_dictionary(column) else column


def _to_doubles(column: pa.Array) -> npt.NDArray[np.float64]:
    """A float column as float64, nulls as NaN. A shorter float becomes the double nearest to its shortest decimal form."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.string()).cast(pa.float64())
    values: npt.NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _to_integers(column: pa.Array) -> npt.NDArray[np.int64]:
    """A column of integers, booleans or times as int64, times in ns. Nulls and values that do not fit become NONE."""
    if pa.types.is_timestamp(column.type):
        factor = _NANOSECONDS[column.type.unit]
        column = column.cast(pa.int64())
        fits = pc.less_equal(pc.abs(column), (2**63 - 1) // factor)
        column = pc.multiply(pc.if_else(fits, column, None), factor)
    elif pa.types.is_uint64(column.type):
        column = pc.if_else(pc.less(column, pa.scalar(2**63, pa.uint64())), column, None)
    column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(NONE)
    values: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return values


def _pack_texts(target: npt.NDArray[np.uint8], column: pa.Array) -> None:
    """Write texts as UTF-8, padded with zero bytes. A text that does not fit is cut and ends with 0xFF.

    No text becomes a Python object, and of a dictionary only the entries are looked at that the rows have.
    """
    if pa.types.is_decimal(_value_type(column.type)):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        target[:] = _packed(column)
        return
    indices = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    entries, places = np.unique(indices, return_inverse=True)
    null = entries == len(column.dictionary)
    packed = np.zeros((len(entries), PACKED_TEXT_BYTES), np.uint8)
    packed[~null] = _packed(column.dictionary.take(pa.array(entries[~null])))
    target[:] = packed[places]


def _packed(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """The first bytes of each text: uint8 of shape (texts, PACKED_TEXT_BYTES). Raises ArrowInvalid if one is not UTF-8."""
    packed = np.zeros((len(texts), PACKED_TEXT_BYTES), np.uint8)
    if not len(texts):
        return packed
    texts.validate(full=True)
    content = texts.cast(pa.large_string()).cast(pa.large_binary())
    lengths = pc.binary_length(content).fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.frombuffer(content.buffers()[1], np.int64)[content.offset : content.offset + len(content)]
    is_cut = lengths >= PACKED_TEXT_BYTES
    kept = np.where(is_cut, PACKED_TEXT_BYTES - 1, lengths)
    data = np.frombuffer(content.buffers()[2] or b"", np.uint8)
    for place in range(int(kept.max(initial=0))):
        rows = np.flatnonzero(kept > place)
        packed[rows, place] = data[starts[rows] + place]
    packed[is_cut, -1] = 0xFF
    return packed
