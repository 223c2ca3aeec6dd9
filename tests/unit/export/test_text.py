"""Streams as CSV files: every value comes back."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from cowbook.errors import ExportError, QueryError
from cowbook.export.text import export_csv
from cowbook.sink.columns import NumberKind
from support.harness import Reconstruction
from support.small_output import START_MS, diff, make_lines, make_output

START = START_MS * 10**6
MS = 10**6


def as_text(value: Any) -> str:
    """A value as the files have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def time_text(nanoseconds: int) -> str:
    """ISO 8601 with ns."""
    return f"{datetime.fromtimestamp(nanoseconds // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}Z"


def read(result: Reconstruction, stream: str) -> pa.Table:
    """All rows of a stream, with times as ns."""
    table = ds.dataset(result.output_dir / stream, format="parquet").to_table().sort_by("event_index")
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.int64()))
    return table


@pytest.mark.parametrize("numbers", ["decimal", "int64"])
def test_every_value_of_every_stream_comes_back(tmp_path: Path, numbers: NumberKind) -> None:
    """In the order of events, without an exponent; bytes of bad records in hexadecimal."""
    odd = [diff(130, 3000, [("0.00000001", "0.00000001")]), b'{"a\xc3\xa9,\n', diff(131, 3100, [("7", "0")])]
    result = make_output(tmp_path, [*make_lines(), *odd], numbers=numbers)
    counts = export_csv(result.output_dir, "BTCUSDT", None, None, tmp_path / "out")
    assert (
        set(counts) == {name.partition("/")[0] for name in result.parts} == {path.stem for path in (tmp_path / "out").iterdir()}
    )
    assert {"depth", "trades", "bbo", "book", "frame", "gaps", "dead_letter"} <= set(counts)
    for stream, count in counts.items():
        table = read(result, stream)
        with (tmp_path / "out" / f"{stream}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert (header, len(rows)) == (table.column_names, count)
        times = [name.startswith("ts") for name in header]
        for row, values in zip(rows, zip(*(column.to_pylist() for column in table.columns), strict=True), strict=True):
            expected = [
                time_text(value) if is_time and value is not None else as_text(value)
                for is_time, value in zip(times, values, strict=True)
            ]
            assert row == expected


def test_a_span_is_by_event_time(tmp_path: Path) -> None:
    """From a time on, and before another."""
    result = make_output(tmp_path, make_lines())
    counts = export_csv(result.output_dir, "BTCUSDT", START + 500 * MS, START + 1000 * MS, tmp_path / "out")
    for stream in ("depth", "trades", "bbo"):
        rows = result.rows(stream)
        assert counts[stream] == sum(START + 500 * MS <= row["ts_event"] < START + 1000 * MS for row in rows)
    assert counts["depth"] == 10
    with pytest.raises(QueryError, match="no row of BTCUSDT in that span"):
        export_csv(result.output_dir, "BTCUSDT", START - 2, START - 1, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ExportError, match="exists"):
        export_csv(result.output_dir, "BTCUSDT", None, None, tmp_path / "out")
