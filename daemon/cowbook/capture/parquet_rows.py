"""Turns a Parquet file into a stream of bytes: one line that names the columns, then rows of fixed length.

So blocks, offsets and identities work as they do for text. A row's number is its offset, less the first line, divided by the
row's length. Columns are packed as int64 (times in ns), float64, or text of fixed width; nulls as NONE, NaN and empty text.
Nested columns are left out.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cowbook.errors import InputError
from cowbook.plain.messages import NONE
from cowbook.plain.table_header import LONGEST_HEADER, PACKED_TEXT_BYTES, Header, packed_header, read_header

PARQUET_MAGIC = b"PAR1"
_BATCH_ROWS = 1 << 16


class ParquetRows(io.RawIOBase):
    """A Parquet file's rows as bytes, up to damage. Raises InputError where the file has too many columns."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        super().__init__()
        self._path = path
        self._file = file
        self._decoded_rows = 0  # rows decoded so far
        self.damage: str | None = None
        """Why the last read gave nothing, if the file is damaged there."""
        self._failure: str | None = None
        self.row_count = 0
        self._header: Header | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._pending = memoryview(b"")
        try:
            self._parquet = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            self._note_damage("begins like Parquet but is not a whole Parquet file", error)
            return
        schema = self._parquet.schema_arrow
        self._columns = [(field.name, kind) for field in schema if field.name and (kind := _packing_of(field.type)) is not None]
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
        """Fill `buffer`; fewer bytes only at the end or at damage, 0 there."""
        filled = 0
        while filled < len(buffer):
            if not self._pending and not self._decode():
                break
            count = min(len(buffer) - filled, len(self._pending))
            buffer[filled : filled + count] = self._pending[:count]
            self._pending = self._pending[count:]
            filled += count
        self.damage = self._failure if not filled else None
        return filled

    def go_to(self, offset: int, head: bytes) -> bytes:
        """As `PlainFile.go_to`; empty if the file is shorter."""
        if self._header is None:
            return head if not offset else b""
        start, width = len(self._header.line), self._header.row_bytes
        first = max(0, offset - len(head) - start) // width if width else 0  # the row in which the tail begins
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

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _read_from(self, first: int) -> Iterator[pa.RecordBatch]:
        """Record batches from row `first` on. Earlier row groups are not read."""
        metadata = self._parquet.metadata
        group = 0
        while group < metadata.num_row_groups and first >= metadata.row_group(group).num_rows:
            first -= metadata.row_group(group).num_rows
            group += 1
        texts = [name for name, kind in self._columns if kind == "t"]
        groups = list(range(group, metadata.num_row_groups))
        if not groups:
            return
        reader = pq.ParquetFile(self._file, read_dictionary=texts) if texts else self._parquet
        for batch in reader.iter_batches(_BATCH_ROWS, groups, [name for name, _ in self._columns], use_threads=False):
            if first >= batch.num_rows:
                first -= batch.num_rows
                continue
            yield batch.slice(first)
            first = 0

    def _decode(self) -> bool:
        """Decode the next batch of rows. Returns False after the last."""
        if self._header is None or not self._header.row_bytes or self._failure is not None:
            return False
        try:
            batch = next(self._batches, None)
            packed = pack(batch, self._header).data if batch is not None else None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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
    """Pack a batch, whose columns are those of the header, into rows of `header.row_bytes` bytes; returns them flat, uint8."""
    assert header.places is not None
    rows = np.zeros((batch.num_rows, header.row_bytes), np.uint8)
    for column, place, end in zip(batch.columns, header.places[:-1], header.places[1:], strict=True):
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
    if pa.types.is_dictionary(column):
        column = column.value_type
    if pa.types.is_floating(column):
        return "f"
    if pa.types.is_integer(column) or pa.types.is_boolean(column) or pa.types.is_timestamp(column):
        return "i"
    return "t" if pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_decimal(column) else None


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
    """Write texts as UTF-8, padded with zero bytes. A text that does not fit is cut and ends with 0xFF."""
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts = [(text or "").encode() for text in column.dictionary.to_pylist()]
    texts = [text if len(text) < PACKED_TEXT_BYTES else text[: PACKED_TEXT_BYTES - 1] + b"\xff" for text in texts]
    known = np.zeros((len(texts) + 1, PACKED_TEXT_BYTES), np.uint8)  # the last one for null
    for index, text in enumerate(texts):
        known[index, : len(text)] = np.frombuffer(text, np.uint8)
    indices = column.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    target[:] = known[indices]
