"""Run by another Python: what the readers that it has find in files.

Arguments: a directory, and a pickle of what is in its files: columns by name, by path. Decimals are texts, times ns since 1970.
Prints a line for each reader and file that differ, and at the end the readers and how many files each has read.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

Columns = dict[str, list[Any]]


def of_table(table: Any) -> Columns:
    """The columns of a pyarrow table, in the form in which they are compared."""
    import pyarrow as pa

    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
        elif pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        columns[name] = [str(value) if isinstance(value, Decimal) else value for value in column.to_pylist()]
    return columns


def by_pyarrow(path: str) -> Columns:
    """With the release that is there."""
    import pyarrow.parquet as pq

    return of_table(pq.ParquetFile(path).read())


def by_polars(path: str) -> Columns:
    """Into Arrow."""
    import polars as pl

    return of_table(pl.read_parquet(path, hive_partitioning=False).to_arrow())


def by_duckdb(path: str) -> Columns:
    """Into Arrow."""
    import duckdb

    return of_table(duckdb.read_parquet(path, hive_partitioning=False).to_arrow_table())


def by_datafusion(path: str) -> Columns:
    """Into Arrow."""
    import datafusion
    import pyarrow as pa

    return of_table(pa.Table.from_batches(datafusion.SessionContext().read_parquet(path).collect()))


def by_chdb(path: str) -> Columns:
    """ClickHouse, in this process."""
    import chdb
    import pyarrow as pa

    query = f"SELECT * FROM file('{path}', Parquet) SETTINGS input_format_parquet_preserve_order = 1, max_threads = 1"  # noqa: S608
    return of_table(pa.ipc.open_stream(chdb.query(query, "ArrowStream").bytes()).read_all())


def by_fastparquet(path: str) -> Columns:
    """It makes doubles of decimals."""
    import fastparquet
    import pandas as pd  # type: ignore[import-untyped]

    columns = {}
    frame = fastparquet.ParquetFile(path).to_pandas()
    for name in frame.columns:
        values = frame[name]
        if str(values.dtype).startswith("datetime64"):
            columns[name] = [None if pd.isna(value) else value.value for value in values]
        else:
            columns[name] = [None if pd.isna(value) else value for value in values.tolist()]
    return columns


READERS: dict[str, Callable[[str], Columns]] = {
    "pyarrow": by_pyarrow,
    "polars": by_polars,
    "duckdb": by_duckdb,
    "datafusion": by_datafusion,
    "chdb": by_chdb,
    "fastparquet": by_fastparquet,
}


def are_equal(found: Any, expected: Any) -> bool:
    """Whether a reader's value is the one that is there. A double is the nearest one to a decimal."""
    if isinstance(found, float) and isinstance(expected, str):
        return found == float(expected)
    if isinstance(found, float) and isinstance(expected, int):
        return found == expected  # a column with nulls
    return bool(found == expected)


def main() -> None:
    """Compare all files with all readers."""
    directory, content = sys.argv[1:]
    expected: dict[str, Columns] = pickle.loads(Path(content).read_bytes())  # noqa: S301 - made by the test
    read: Counter[str] = Counter()
    for name, reader in READERS.items():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        for path, columns in expected.items():
            found = reader(f"{directory}/{path}")
            for column, values in columns.items():
                if len(found[column]) != len(values):
                    print(name, path, column, len(found[column]), "rows for", len(values))
                    continue
                for row, value in enumerate(values):
                    if not are_equal(found[column][row], value):
                        print(name, path, column, "row", row, found[column][row], "for", value)
                        break
            read[name] += 1
    print("read:", " ".join(f"{name}={count}" for name, count in read.items()))


if __name__ == "__main__":
    main()
