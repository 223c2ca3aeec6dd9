"""Streams as plain files: one CSV a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from cowbook.errors import QueryError
from cowbook.export.span import check_order
from cowbook.plain.destination import new_path
from cowbook.plain.streams import BY_NAME, Kind
from cowbook.query.columns import UNREADABLE, damaged, unreadable
from cowbook.query.instant import describe_span
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import MovedError
from cowbook.query.scan import scan


def export_csv(output_dir: Path, symbol: str, start: int | None, end: int | None, directory: Path) -> dict[str, int]:
    """Writes each stream that there is as `<stream>.csv` into a new directory. Returns the number of rows by stream.

    Rows are those with `start` <= `ts_event` (of `book`: `ts`) < `end` in ns, in the order of the parts; None: all. Prices and
    sizes have all their decimals, times are ISO 8601 with ns, a null is empty, the bytes of `dead_letter` are hexadecimal.
    `dead_letter`, which has no times, is written whole.

    Raises QueryError for what cannot be read, ExportError for what cannot be written.
    """
    check_order(start, end)
    output = SymbolOutput(output_dir, symbol)
    streams = sorted(output.streams)
    counts = {}
    with new_path(directory) as partial:
        partial.mkdir()
        for stream in streams:
            has_times = any(column.kind is Kind.TIME for column in BY_NAME[stream].columns)
            limits = (start, end) if has_times else (None, None)
            dataset = scan(output_dir, stream, symbol, start=limits[0], end=limits[1])
            counts[stream] = _write(dataset, partial / f"{stream}.csv")
        if not any(counts.values()):
            raise QueryError(f"{output_dir} has no row of {symbol} in that span: {describe_span(output)}")
    return counts


def _write(dataset: ds.Dataset, path: Path) -> int:
    count = 0
    names = [name for name in dataset.schema.names if name not in ("symbol", "date")]
    header = pa.schema([pa.field(name, _text_type(dataset.schema.field(name).type)) for name in names])
    with pa.csv.CSVWriter(path, header) as writer:
        for batch in _batches(dataset, names):
            count += batch.num_rows
            writer.write_batch(pa.record_batch([_as_text(column) for column in batch.columns], schema=header))
    return count


def _batches(dataset: ds.Dataset, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from dataset.to_batches(columns=names)
    except FileNotFoundError as error:
        raise MovedError(f"{error.filename or error} is gone") from error
    except UNREADABLE as error:
        for path in dataset.files:
            if (why := _why_not(path)) is not None:
                raise unreadable(path, why) from error
        raise damaged("a part", str(error)) from error


def _why_not(path: str) -> Exception | None:
    """Why a part cannot be read; None if it can."""
    try:
        for _ in pq.ParquetFile(path, page_checksum_verification=True).iter_batches():
            pass
    except UNREADABLE as error:
        return error
    return None


def _text_type(of: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_binary(of) or pa.types.is_timestamp(of) or pa.types.is_decimal(of) else of


def _as_text(column: pa.Array) -> pa.Array:
    """A column as CSV takes it."""
    if pa.types.is_binary(column.type):
        return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_decimal(column.type):
        return _fixed_point(column)
    return column


def _fixed_point(column: pa.Array) -> pa.Array:
    """Decimals with all their digits, never with an exponent."""
    scale = column.type.scale
    if column.type.precision > 18 or not scale or not len(column):
        return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    numbers = _unscaled(column)
    digits = pc.utf8_lpad(pc.abs(numbers).cast(pa.string()), scale + 1, "0")
    signs = pc.if_else(pc.less(numbers, 0), "-", "")
    whole, rest = pc.utf8_slice_codeunits(digits, 0, -scale), pc.utf8_slice_codeunits(digits, -scale)
    texts = pc.binary_join_element_wise(pc.binary_join_element_wise(signs, whole, ""), rest, ".")
    return pc.if_else(column.is_valid(), texts, None)


def _unscaled(column: pa.Array) -> pa.Array:
    """A decimal column's numbers times 10^scale. All are below 10^18 in size, so the low word has all of each."""
    words = column.type.byte_width // 8
    values = np.frombuffer(column.buffers()[1], np.int64)[::words]
    return pa.array(values[column.offset : column.offset + len(column)])
