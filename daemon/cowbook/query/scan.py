"""The output as a lazy dataset: files and row groups that a query does not need are never read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from cowbook.errors import QueryError, UsageError
from cowbook.plain.parts import CUTS_OF_PART, ROWS_OF_CUT
from cowbook.plain.streams import STREAMS, Kind, Stream
from cowbook.query.columns import UNREADABLE, unreadable
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import (
    MovedError,
    PublishedCut,
    PublishedPart,
    check_contiguous,
    list_parts,
    list_symbols,
    retrying,
    some_of,
    symbols_like,
)
from cowbook.query.schema import expected_schema
from cowbook.query.times import DAY_NS, EPOCH, Time, parse_time

_TIME = pa.timestamp("ns", "UTC")
_FORMAT = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True))
_SYMBOL = pa.field("symbol", pa.string())


def scan(
    data: str | PathLike[str],
    stream: str,
    symbol: str | Sequence[str] | None = None,
    *,
    start: Time | None = None,
    end: Time | None = None,
    columns: Sequence[str] | None = None,
) -> ds.Dataset:
    """Returns a stream of an output directory as a pyarrow Dataset, of which only the parts' footers are read yet.

    `to_table()` reads it, `to_batches()` piece by piece, `count_rows()` counts. DuckDB takes the variable by its name
    (`SELECT … FROM trades`), Polars by `pl.scan_pyarrow_dataset`; the columns and conditions of a query are pushed down to the
    files, as `start` and `end` are. `to_table()` has the rows in the order of their events, symbol by symbol.

    * `data`: the output directory.
    * `stream`: "depth", "trades", "bbo", "book", "frame", "gaps", "drift", "audits" or "dead_letter" (docs/output.md).
    * `symbol`, None: a symbol's id, or several; None: all that there are. The column `symbol` has it, behind the stream's own.
    * `start`, None, and `end`, None: rows with `ts_event` (of `book`: `ts`) from `start` on and before `end`. A time is an ISO
      string, a datetime or ns since 1970, UTC if it names no zone.
    * `columns`, None: names of the columns to have; None: all. With `start` or `end` the column of times is one of them.

    The parts are listed and checked when it is called: of those that a query between `start` and `end` may read none is missing,
    and none is another program's. A stream of which nothing is published has no rows. Its columns are those that its parts would
    have; of `book` as many levels as `[output] book_levels` has by default.

    Raises UsageError for an unknown stream, symbol, column or time, and for several symbols whose columns have different types,
    such as other decimals. Raises QueryError for a directory that holds no output, and if a part is missing, damaged or not of
    this stream. What reads the dataset raises OSError for pages whose checksum is wrong.
    """
    kind = next((each for each in STREAMS if each.name == stream), None)
    if kind is None:
        raise UsageError(f"stream = {stream!r}: must be one of {', '.join(each.name for each in STREAMS)}")
    begins, ends = parse_time(start, "start"), parse_time(end, "end")
    time_name = _time_column(kind)
    if time_name is None and (begins is not None or ends is not None):
        raise UsageError(f"stream {stream} has no times: leave out start and end")
    return retrying(lambda: _scan(Path(data), kind, symbol, columns, time_name, begins, ends))


def _scan(
    data: Path,
    stream: Stream,
    symbol: str | Sequence[str] | None,
    columns: Sequence[str] | None,
    time_name: str | None,
    begins: int | None,
    ends: int | None,
) -> ds.Dataset:
    symbols = _chosen_symbols(data, symbol)
    listed, schemas = {}, {}
    for name, directories in symbols.items():
        if stream.name in directories and (all_parts := list_parts(directories[stream.name])):
            schemas[name] = _schema_in(all_parts[0])
            listed[name] = _checked_parts(SymbolOutput(data, name), stream.name, schemas[name], begins, ends)
    schema = _schema(schemas) if schemas else expected_schema(stream, _schema_of_another(symbols))
    schema = schema.append(_SYMBOL)
    if columns is not None:
        schema = _chosen(schema, columns, time_name if begins is not None or ends is not None else None)
    paths = [*dict.fromkeys(str(part.path) for parts in listed.values() for part in parts)]  # several may have been joined in one
    partitioning = ds.partitioning(pa.schema([_SYMBOL, pa.field("date", pa.string())]), flavor="hive")
    root = str(data / stream.name)
    dataset = ds.dataset(paths, schema=schema, format=_FORMAT, partitioning=partitioning, partition_base_dir=root)
    return _between(dataset, time_name, begins, ends)


def _time_column(stream: Stream) -> str | None:
    return next((column.name for column in stream.columns if column.kind is Kind.TIME and column.name != "ts_recv"), None)


def _chosen_symbols(data: Path, symbol: str | Sequence[str] | None) -> dict[str, dict[str, Path]]:
    """The directories of the chosen symbols' parts by stream, by symbol. Raises UsageError for one that there is not."""
    there = list_symbols(data)
    if symbol is None:
        return dict(sorted(there.items()))
    wanted = [symbol] if isinstance(symbol, str) else list(symbol)
    missing = next((name for name in wanted if name not in there), None)
    if missing is not None or not wanted:
        shown = some_of(symbols_like(missing or "", list(there)))
        raise UsageError(f"symbol {'[]' if missing is None else missing}: {data} has {shown}")
    return {name: there[name] for name in wanted}


def _schema_in(part: PublishedPart) -> pa.Schema:
    try:
        schema = ds.dataset(str(part.path), format="parquet").schema
    except FileNotFoundError as error:
        raise MovedError(f"{part.path} is gone") from error
    except UNREADABLE as error:
        raise unreadable(part.path, error) from error
    of_cuts = ROWS_OF_CUT.encode(), CUTS_OF_PART.encode()
    of_all = {key: value for key, value in (schema.metadata or {}).items() if key not in of_cuts}
    return schema.with_metadata(of_all or None)


def _checked_parts(
    output: SymbolOutput, stream: str, schema: pa.Schema, begins: int | None, ends: int | None
) -> list[PublishedPart]:
    """The parts that may have rows of a span. Raises QueryError if one is missing, damaged, or not of this stream."""
    near = [number for number, cut in enumerate(output.cuts) if _is_near(cut, begins, ends)]
    check_contiguous([output.cuts[number] for number in near])
    parts = []
    for number in near:
        reader = output.reader(stream, number)
        if reader is None:
            output.check_parts(number, stream)
        elif not reader.schema.equals(schema):
            have = ", ".join(f"{field.name} {field.type}" for field in reader.schema if field not in schema)
            raise QueryError(f"{reader.part.path} has other columns than the first part of {stream}: {have or 'fewer'}")
        else:
            parts.append(reader.part)
        output.forget(number)
    return parts


def _schema(schemas: dict[str, pa.Schema]) -> pa.Schema:
    """The columns of all symbols' parts. Raises UsageError if they differ."""
    (name, schema), *others = schemas.items()
    for other, its in others:
        if its != schema:
            raise UsageError(f"{name} and {other} have columns of different types: scan them one by one")
    return schema


def _schema_of_another(symbols: dict[str, dict[str, Path]]) -> pa.Schema | None:
    """The columns of a part that has prices, if there is one: of the first stream with parts."""
    for directories in symbols.values():
        for stream in STREAMS:
            parts = list_parts(directories[stream.name]) if stream.name in directories else []
            if parts and any(column.kind in (Kind.PRICE, Kind.LEVELS, Kind.GRID) for column in stream.columns):
                return _schema_in(parts[0])
    return None


def _chosen(schema: pa.Schema, columns: Sequence[str], time_name: str | None) -> pa.Schema:
    """A schema of these columns alone, which may not be none; the column of times is added if it is named."""
    unknown = next((name for name in columns if name not in schema.names), None)
    if unknown is not None or not columns or isinstance(columns, str):
        raise UsageError(f"columns: {unknown or columns!r}: must be some of {', '.join(schema.names)}")
    names = [*dict.fromkeys([*columns, *([time_name] if time_name is not None else [])])]
    return pa.schema([schema.field(name) for name in names])


def _is_near(part: PublishedCut, begins: int | None, ends: int | None) -> bool:
    """Whether a cut may have rows of a span.

    Its day is that of the newest time so far. Rows are less than a day older, and those of a grid up to a day later.
    """
    try:
        day = date.fromisoformat(part.date)
    except ValueError:
        return True
    first = (day - EPOCH.date()).days * DAY_NS
    return (begins is None or first + 2 * DAY_NS > begins) and (ends is None or first - DAY_NS < ends)


def _between(dataset: ds.Dataset, time_name: str | None, begins: int | None, ends: int | None) -> ds.Dataset:
    conditions: list[Any] = []
    if begins is not None:
        conditions.append(ds.field(time_name) >= pa.scalar(begins, _TIME))
    if ends is not None:
        conditions.append(ds.field(time_name) < pa.scalar(ends, _TIME))
    for condition in conditions:
        dataset = dataset.filter(condition)
    return dataset
