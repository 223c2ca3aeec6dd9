"""Parquet files: which columns are read, what is refused, and that no file makes memory grow."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.capture import parquet_rows
from cowbook.capture.compression import open_decoded
from cowbook.capture.parquet_pages import DELTA_BYTE_ARRAY, Page, largest_batch, read_pages
from cowbook.capture.parquet_rows import ParquetRows
from cowbook.capture.stored_file import PlainFile
from cowbook.errors import InputError
from cowbook.plain.table_header import USED_COLUMNS, is_used_column, read_header
from cowbook.venues import load_venue, venue_names

MEGABYTE = 1 << 20
MOST_GROWTH_MB = 250
READ = """
import sys
from pathlib import Path
from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) >> 10
buffer = memoryview(bytearray(2 << 20))
before = peak()
total, failure = 0, ""
try:
    with open_decoded(Path(sys.argv[1])) as file:
        while count := file.readinto(buffer):
            total += count
except InputError as error:
    failure = str(error)
print(peak() - before, total, failure)
"""


def columns(rows: int) -> dict[str, Any]:
    """Those of a table of book changes."""
    return {
        "origin_time": np.full(rows, 1.7231616e9),
        "received_time": np.full(rows, 1.7231616e9),
        "sequence_number": np.arange(rows),
        "side_is_bid": np.ones(rows, bool),
        "price": np.arange(1.0, rows + 1),
        "size": np.ones(rows),
    }


def dictionary_of(values: list[str], rows: int) -> pa.Array:
    """A column whose rows take turns with these values."""
    return pa.DictionaryArray.from_arrays(np.arange(rows, dtype=np.int32) % len(values), values)


def write(path: Path, extra: dict[str, Any], rows: int, **options: Any) -> None:
    """A file with one row group, in which what repeats takes no room."""
    defaults = {"compression": "zstd", "dictionary_pagesize_limit": 1 << 30, "write_statistics": False}
    pq.write_table(pa.table(columns(rows) | extra), path, **(defaults | options))


def long_values(count: int, size: int) -> list[str]:
    """Texts of this size that all differ."""
    return [f"{number:05}" + "9" * size for number in range(count)]


def write_unused(path: Path) -> None:
    """A dictionary of 120 MB in a column that means nothing."""
    write(path, {"note": dictionary_of(long_values(30, 4 * MEGABYTE), 300)}, 300)


def write_dictionary(path: Path) -> None:
    """A dictionary of 120 MB in a column that is used."""
    write(path, {"symbol": dictionary_of(long_values(30, 4 * MEGABYTE), 300)}, 300)


def write_long_texts(path: Path) -> None:
    """600 MB of texts, each of which is small enough, in pages of their own."""
    batch = pa.RecordBatch.from_pydict(columns(10) | {"symbol": ["9" * (2 * MEGABYTE)] * 10})
    options = {"use_dictionary": False, "write_statistics": False, "data_page_size": 1000, "write_batch_size": 1}
    with pq.ParquetWriter(path, batch.schema, compression="zstd", **options) as writer:
        for _ in range(30):
            writer.write_batch(batch)  # into the same row group


def write_prefixes(path: Path) -> None:
    """400 MB of texts, each of which is written as a few bytes: it equals the one before it."""
    write(
        path,
        {"symbol": ["9" * (1 << 13)] * 100_000},
        100_000,
        use_dictionary=False,
        column_encoding={"symbol": "DELTA_BYTE_ARRAY"},
    )


def write_constants(path: Path) -> None:
    """5 million equal rows in one row group of a few kilobytes."""
    rows = 5_000_000
    table = pa.table(columns(1))
    whole = pa.Table.from_arrays([pa.repeat(column[0], rows) for column in table.columns], table.column_names)
    pq.write_table(whole, path, compression="zstd", row_group_size=rows)


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "refused"),
    [
        pytest.param(write_unused, "", id="dictionary_of_a_column_without_meaning"),
        pytest.param(write_dictionary, "pages of row group 0 would take", id="dictionary"),
        pytest.param(write_long_texts, "", id="long_texts"),
        pytest.param(write_prefixes, "", id="texts_that_repeat_the_one_before"),
        pytest.param(write_constants, "", id="constant_rows"),
    ],
)
def test_memory_is_bounded(tmp_path: Path, make: Callable[[Path], None], refused: str) -> None:
    """A small file that stands for gigabytes is read in little memory, or refused with what to do."""
    path = tmp_path / "a.parquet"
    make(path)
    rows = pq.ParquetFile(path).metadata.num_rows
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True, timeout=120)
    growth, total, failure = done.stdout.split(" ", 2)
    assert int(growth) < MOST_GROWTH_MB, done.stdout
    assert refused in failure
    if refused:
        assert "write it anew with smaller pages" in failure
    else:
        assert failure.strip() == ""
        assert int(total) > rows * 48


def test_only_columns_that_some_table_uses_are_read(tmp_path: Path) -> None:
    """All are named in the first line, for messages; the others have no place in the rows."""
    path = tmp_path / "a.parquet"
    write(path, {"note": ["x", "y"], "exchange": ["A", "B"]}, 2)
    with open_decoded(path) as file:
        content = file.read(10_000) or b""
    header = read_header(content)
    assert header is not None
    assert header.names == (*columns(1), "note", "exchange")
    assert header.row_bytes == 6 * 8 + 40
    assert len(content) == len(header.line) + 2 * header.row_bytes
    assert b"y" not in content[len(header.line) :]


def test_the_vocabulary_is_that_of_the_tables() -> None:
    """A table whose column is not in it would never find the column in a Parquet file."""
    names = {
        name
        for venue in venue_names()
        for table in load_venue(venue).tables
        for known in (*table.columns.values(), table.levels or ())
        for name in known
    }
    assert {name for name in names if "{}" not in name} == USED_COLUMNS
    assert all(is_used_column(name.format(24)) for name in names)
    assert not is_used_column("asks[0].count")


def test_what_precedes_a_refused_row_group_is_read(tmp_path: Path) -> None:
    """The first line, too: a decoder may have more to say about the file than that it is large."""
    path = tmp_path / "a.parquet"
    good = pa.table(columns(5) | {"symbol": ["A"] * 5})
    bad = pa.table(columns(5) | {"symbol": long_values(5, 20 * MEGABYTE)})
    with pq.ParquetWriter(path, good.schema, compression="zstd", dictionary_pagesize_limit=1 << 30) as writer:
        writer.write_table(good)
        writer.write_table(bad)
    with open_decoded(path) as file:
        content = file.read(1 << 20) or b""
        header = read_header(content)
        assert header is not None
        assert len(content) == len(header.line) + 5 * header.row_bytes
        for _ in range(2):
            with pytest.raises(InputError, match="pages of row group 1 would take"):
                file.read(1)
        assert isinstance(file, ParquetRows)
        assert not file.is_drained
        assert file.go_to(len(content), content[:100]) == content[-100:]


def test_a_large_footer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be decoded as a whole."""
    path = tmp_path / "a.parquet"
    write(path, {}, 10)
    monkeypatch.setattr(parquet_rows, "_LARGEST_FOOTER", 100)
    with pytest.raises(InputError, match=r"has a footer of [\d,]+ bytes, the most is 100"):
        open_decoded(path)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("has_statistics", [True, False])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_headers_of_pages_are_found(tmp_path: Path, version: str, compression: str, has_statistics: bool) -> None:
    """One after the other, to the end of the column, with all of its values; dictionaries are told apart."""
    path = tmp_path / "a.parquet"
    rows = 3000
    texts = [f"text {number % 900} " + "x" * (number % 700) for number in range(rows)]
    write(
        path,
        {"symbol": texts, "plain": texts},
        rows,
        data_page_version=version,
        compression=compression,
        data_page_size=2000,
        write_batch_size=100,
        write_statistics=has_statistics,
        use_dictionary=["symbol"],
    )
    metadata = pq.ParquetFile(path).metadata.row_group(0)
    with PlainFile(path, "rb") as file:
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            pages = read_pages(file, column)
            assert sum(page.values for page in pages if not page.is_dictionary) == rows
            assert sum(page.is_dictionary for page in pages) == (column.path_in_schema == "symbol")
            if column.path_in_schema == "symbol":
                assert pages[0].size_bytes == sum(len(text) + 4 for text in set(texts))
                assert pages[0].values == len(set(texts))
                assert all(page.is_coded for page in pages[1:])
            if column.path_in_schema == "plain":
                assert sum(page.size_bytes for page in pages) >= sum(len(text) + 4 for text in texts)
                assert len(pages) == rows // 100


def test_the_largest_batch_is_that_of_the_worst_rows() -> None:
    """As by a naive look at each run of rows, wherever it begins."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        pages = [
            Page(int(size), 0, int(values), int(rng.choice([0, 8, DELTA_BYTE_ARRAY])), is_dictionary=False)
            for size, values in zip(rng.integers(0, 100, 6), rng.integers(1, 5, 6), strict=True)
        ]
        for rows in (1, 2, 3, 7, 30):
            sizes = [0 if page.encoding == 8 else page.size_bytes for page in pages]
            sizes = [
                size * min(page.values, rows) if page.encoding == DELTA_BYTE_ARRAY else size
                for size, page in zip(sizes, pages, strict=True)
            ]
            owners = [place for place, page in enumerate(pages) for _ in range(page.values)]
            runs = [set(owners[first : first + rows]) for first in range(len(owners))]
            assert largest_batch(pages, rows) == max(sum(sizes[place] for place in run) for run in runs)


@pytest.mark.parametrize(
    ("texts", "packed"),
    [
        pytest.param(["a", None, ""], [b"a", b"", b""], id="short"),
        pytest.param(["x" * 39, "x" * 40, "x" * 100_000], [b"x" * 39, b"x" * 39 + b"\xff", b"x" * 39 + b"\xff"], id="long"),
        pytest.param(["ä" * 20, "ä" * 19 + "b"], [("ä" * 20).encode()[:39] + b"\xff", ("ä" * 19 + "b").encode()], id="not_ascii"),
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_are_cut(texts: list[str | None], packed: list[bytes], kind: pa.DataType) -> None:
    """At 40 bytes, with a last byte that no text has; a slice of a column is packed like a column."""
    column = pa.array(["before", *texts], pa.string()).cast(kind)[1:]
    target = np.full((len(texts), 40), 7, np.uint8)
    parquet_rows._pack_texts(target, column)
    assert [row.tobytes() for row in target] == [row.ljust(40, b"\0") for row in packed]


def test_text_that_is_not_utf_8_is_damage(tmp_path: Path) -> None:
    """It is named with the row from which on nothing can be read."""
    path = tmp_path / "a.parquet"
    column = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")])
    write(path, {"symbol": column}, 1)
    with open_decoded(path) as file:
        assert (file.read(1 << 20) or b"").startswith(b"PAR1 rows ")
        assert not file.read(1)
        assert re.search(r"cannot be read as Parquet from row 0 on: .*UTF8", file.damage or "")
