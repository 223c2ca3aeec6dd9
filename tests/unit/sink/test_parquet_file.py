"""The file around the pages: its footer says what pyarrow's says, and damage does not pass."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cowbook.sink import pages
from cowbook.sink.parquet_file import Leaf, Logical, ParquetFile, Physical, stored_frame

ROWS = 300
NUMBERS = np.arange(ROWS, dtype=np.int64) * 7
LEAVES = {
    Leaf("integer", Physical.INT64): pa.field("integer", pa.int64(), nullable=False),
    Leaf("time", Physical.INT64, Logical.TIME, optional=True): pa.field("time", pa.timestamp("ns", "UTC")),
    Leaf("price", Physical.INT64, Logical.DECIMAL, decimals=8): pa.field("price", pa.decimal64(18, 8), nullable=False),
    Leaf("flag", Physical.BOOLEAN): pa.field("flag", pa.bool_(), nullable=False),
    Leaf("side", Physical.BYTE_ARRAY, Logical.TEXT): pa.field("side", pa.string(), nullable=False),
    Leaf("short", Physical.INT32, Logical.SHORT): pa.field("short", pa.int16(), nullable=False),
    Leaf("double", Physical.DOUBLE, optional=True): pa.field("double", pa.float64()),
}


def written(compression: str = "zstd", metadata: dict[str, str] | None = None) -> bytes:
    """A file with a column of every kind."""
    file = ParquetFile(ROWS, compression, metadata or {})
    with pages.scratch_for(ROWS) as scratch:
        for leaf in LEAVES:
            match leaf.physical:
                case Physical.BOOLEAN:
                    chunk = pages.flags(scratch, NUMBERS % 2)
                case Physical.BYTE_ARRAY:
                    chunk = pages.choices(scratch, NUMBERS % 2, ("bid", "ask"))
                case Physical.INT32:
                    chunk = pages.small_numbers(scratch, NUMBERS)
                case Physical.DOUBLE:
                    chunk = pages.numbers(scratch, NUMBERS, optional=True, divisor=1.0)
                case _:
                    chunk = pages.numbers(scratch, NUMBERS, optional=leaf.optional, has_statistics=leaf.name == "integer")
            file.add(leaf, chunk)
    return bytes(file.finish())


def by_pyarrow(metadata: dict[str, str] | None = None) -> bytes:
    """The same columns as pyarrow writes them."""
    columns = [
        pa.array(
            [("bid", "ask")[value % 2] for value in NUMBERS.tolist()]
            if field.type == pa.string()
            else NUMBERS % 2
            if field.type == pa.bool_()
            else NUMBERS
        ).cast(pa.int64() if field.type == pa.decimal64(18, 8) else field.type)
        for field in LEAVES.values()
    ]
    columns[2] = pa.Array.from_buffers(pa.decimal64(18, 8), ROWS, columns[2].buffers())
    table = pa.Table.from_arrays(columns, schema=pa.schema(list(LEAVES.values())))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, table.schema, store_schema=False, store_decimal_as_integer=True, write_statistics=["integer"], compression="zstd"
    ) as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("metadata", [{}, {"price_decimals": "8", "long": "x" * 1000}])
def test_the_footer_says_what_that_of_pyarrow_says(metadata: dict[str, str]) -> None:
    """Schema, rows, metadata, statistics, codec; where the pages are is where a reader finds them."""
    ours, theirs = (pq.ParquetFile(pa.BufferReader(content)) for content in (written("zstd", metadata), by_pyarrow(metadata)))
    assert str(ours.schema).split("\n")[1:] == str(theirs.schema).split("\n")[1:]
    assert ours.schema.equals(theirs.schema)
    assert ours.schema_arrow.equals(theirs.schema_arrow)
    assert ours.metadata.metadata == theirs.metadata.metadata
    assert ours.metadata.created_by == "cowbook version 2"
    group, expected = ours.metadata.row_group(0), theirs.metadata.row_group(0)
    assert (group.num_rows, group.num_columns) == (expected.num_rows, expected.num_columns)
    assert group.total_byte_size == sum(group.column(place).total_uncompressed_size for place in range(len(LEAVES)))
    for place in range(len(LEAVES)):
        column, other = group.column(place), expected.column(place)
        for name in ("physical_type", "path_in_schema", "compression", "num_values"):
            assert getattr(column, name) == getattr(other, name), name
        assert (column.statistics is None) == (other.statistics is None)
    assert group.column(0).statistics.to_dict() == expected.column(0).statistics.to_dict()
    assert ours.read().equals(theirs.read())


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "none"])
def test_no_changed_byte_of_a_page_passes(compression: str, seed: int) -> None:
    """Checksums are those of the format, so a reader that compares them notices."""
    content = written(compression)
    pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    rng = np.random.default_rng(seed)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    expected = pq.ParquetFile(pa.BufferReader(content)).read()
    for place in rng.integers(4, footer, 60):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        try:
            found = pq.ParquetFile(pa.BufferReader(bytes(changed)), page_checksum_verification=True).read()
        except (OSError, pa.ArrowException):
            continue
        assert found.equals(expected)  # a byte of a page's head that says nothing of its values


@pytest.mark.parametrize("size", [0, 1, 131_071, 131_072, 131_073, 1_000_000])
def test_a_stored_frame_is_one_of_zstd(size: int) -> None:
    """Decompressing gives the content."""
    content = os.urandom(size)
    frame = stored_frame(content)
    assert zstandard.ZstdDecompressor().decompress(frame, max_output_size=size or 1) == content
    assert len(frame) <= size + 12 + 3 * (size // 131_072)


def test_a_large_page_that_does_not_shrink_is_stored() -> None:
    """One that shrinks is compressed."""
    rng = np.random.default_rng(1)
    for values, is_stored in ((rng.integers(-(1 << 62), 1 << 62, 100_000), True), (np.arange(100_000) ** 2 << 20, False)):
        file = ParquetFile(len(values), "zstd", {})
        with pages.scratch_for(len(values)) as scratch:
            file.add(Leaf("x", Physical.INT64), pages.numbers(scratch, values.astype(np.int64)))
        content = bytes(file.finish())
        assert (len(content) > 8 * len(values)) == is_stored
        assert (
            pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()["x"].to_pylist() == values.tolist()
        )
