"""The output as a lazy dataset: files and row groups that a query does not need are never read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds

from cowbook.config import output_directory_name
from cowbook.errors import UsageError
from cowbook.library.times import DAY_NS, Time, parse_time
from cowbook.plain.parts import CutPlace, cut_of_name
from cowbook.plain.streams import STREAMS, Kind, Stream

_EPOCH = date(1970, 1, 1)
_TIME = pa.timestamp("ns", "UTC")
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
    """Returns a stream of an output directory as a pyarrow Dataset, in which nothing is read yet.

    `to_table()` reads it, `to_batches()` piece by piece, `count_rows()` counts. DuckDB takes the variable by its name
    (`SELECT … FROM trades`), Polars by `pl.scan_pyarrow_dataset`; the columns and conditions of a query are pushed down to the
    files, as `start` and `end` are. `to_table()` has the rows in the order of their events, symbol by symbol.

    * `data`: the output directory.
    * `stream`: "depth", "trades", "bbo", "book", "frame", "gaps", "drift", "audits" or "dead_letter" (docs/output.md).
    * `symbol`, None: a symbol's id, or several; None: all that there are. The column `symbol` has it, behind the stream's own.
    * `start`, None, and `end`, None: rows with `ts_event` (of `book`: `ts`) from `start` on and before `end`. A time is an ISO
      string, a datetime or ns since 1970, UTC if it names no zone.
    * `columns`, None: names of the columns to have; None: all. With `start` or `end` the column of times is one of them.

    The parts are listed when it is called. Raises UsageError for an unknown stream, symbol, column or time, for a directory
    without such parts, and for several symbols whose columns have different types, such as other decimals.
    """
    kind = next((each for each in STREAMS if each.name == stream), None)
    if kind is None:
        raise UsageError(f"stream = {stream!r}: must be one of {', '.join(each.name for each in STREAMS)}")
    begins, ends = parse_time(start, "start"), parse_time(end, "end")
    time_name = _time_column(kind)
    if time_name is None and (begins is not None or ends is not None):
        raise UsageError(f"stream {stream} has no times: leave out start and end")
    root = Path(data) / stream
    directories = _directories(Path(data), root, symbol)
    listed = {directory: _parts(directory) for directory in directories}
    schema = _schema(listed, root)
    if columns is not None:
        schema = _chosen(schema, columns, time_name if begins is not None or ends is not None else None)
    paths = [path for parts in listed.values() for path in parts if _is_near(path, begins, ends)]
    partitioning = ds.partitioning(pa.schema([_SYMBOL, pa.field("date", pa.string())]), flavor="hive")
    dataset = ds.dataset(
        [str(path) for path in paths], schema=schema, format="parquet", partitioning=partitioning, partition_base_dir=str(root)
    )
    return _between(dataset, time_name, begins, ends)


def _time_column(stream: Stream) -> str | None:
    return next((column.name for column in stream.columns if column.kind is Kind.TIME and column.name != "ts_recv"), None)


def _directories(data: Path, root: Path, symbol: str | Sequence[str] | None) -> list[Path]:
    """The directories of the symbols' parts. Raises UsageError if there are none, or not those that are asked for."""
    there = sorted(path for path in root.glob("symbol=*") if path.is_dir())
    if not there:
        streams = sorted(each.name for each in STREAMS if (data / each.name).is_dir())
        known = f"it has {', '.join(streams)}" if streams else "it is no output directory, or nothing is published yet"
        raise UsageError(f"{data} has no parts of stream {root.name}: {known}")
    if symbol is None:
        return there
    wanted = [root / f"symbol={output_directory_name(name)}" for name in ([symbol] if isinstance(symbol, str) else symbol)]
    missing = next((path for path in wanted if path not in there), None)
    if missing is not None or not wanted:
        named = unquote(missing.name.partition("=")[2]) if missing is not None else "[]"
        known = ", ".join(unquote(path.name.partition("=")[2]) for path in there)
        raise UsageError(f"symbol {named}: stream {root.name} of {data} has {known}")
    return wanted


def _parts(directory: Path) -> list[Path]:
    """A symbol's parts in the order of their events. While a tail is being replaced both may be seen: the longer one counts."""
    parts: dict[CutPlace, Path] = {}
    for path in sorted(directory.glob("date=*/part-*.parquet"), key=lambda path: (len(path.name), path.name)):
        place = cut_of_name(path.name)
        if place is not None:
            parts[place] = path
    return [parts[place] for place in sorted(parts)]


def _schema(listed: dict[Path, list[Path]], root: Path) -> pa.Schema:
    """The columns of all symbols' parts. Raises UsageError if they differ, or there are none."""
    schemas = {directory.name: ds.dataset(str(parts[0]), format="parquet").schema for directory, parts in listed.items() if parts}
    if not schemas:
        raise UsageError(f"{root} has no parts of the symbols: nothing is published yet")
    (name, schema), *others = schemas.items()
    for other, its in others:
        if its != schema:
            raise UsageError(f"{unquote(name)} and {unquote(other)} have columns of different types: scan them one by one")
    return schema.append(_SYMBOL)


def _chosen(schema: pa.Schema, columns: Sequence[str], time_name: str | None) -> pa.Schema:
    """A schema of these columns alone, which may not be none; the column of times is added if it is named."""
    unknown = next((name for name in columns if name not in schema.names), None)
    if unknown is not None or not columns or isinstance(columns, str):
        raise UsageError(f"columns: {unknown or columns!r}: must be some of {', '.join(schema.names)}")
    names = [*dict.fromkeys([*columns, *([time_name] if time_name is not None else [])])]
    return pa.schema([schema.field(name) for name in names])


def _is_near(path: Path, begins: int | None, ends: int | None) -> bool:
    """Whether a part may have rows of a span. Its day is that of the newest time so far, and rows are less than a day older."""
    try:
        day = date.fromisoformat(path.parent.name.partition("=")[2])
    except ValueError:
        return True
    first = (day - _EPOCH).days * DAY_NS
    return (begins is None or first + DAY_NS > begins) and (ends is None or first - DAY_NS < ends)


def _between(dataset: ds.Dataset, time_name: str | None, begins: int | None, ends: int | None) -> ds.Dataset:
    conditions: list[Any] = []
    if begins is not None:
        conditions.append(ds.field(time_name) >= pa.scalar(begins, _TIME))
    if ends is not None:
        conditions.append(ds.field(time_name) < pa.scalar(ends, _TIME))
    for condition in conditions:
        dataset = dataset.filter(condition)
    return dataset
