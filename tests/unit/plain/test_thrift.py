"""Structs of Parquet files: read and written again they are the same bytes, and whatever is none is told by an error."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.plain.thrift import StructReader, ThriftError, write_struct
from cowbook.query.parquet_join import DamagedFileError, NotAlikeError, join


def footer_of(path: Path) -> bytes:
    """The footer of a Parquet file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[-8:-4])
    return content[-8 - length : -8]


def write_table(path: Path) -> None:
    """Write a table with statistics, a nested column, several row groups and metadata."""
    table = pa.table(
        {"n": pa.array(range(100), pa.int64()), "x": [0.5] * 100, "s": ["a", None] * 50, "l": [[1, 2], []] * 50}
    ).replace_schema_metadata({"a" * 40: "b" * 300})
    pq.write_table(table, path, row_group_size=30, write_page_index=True)


def test_a_footer_read_and_written_again_is_the_same_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet")
    footer = footer_of(tmp_path / "t.parquet")
    reader = StructReader(footer)
    fields = reader.fields()
    assert reader.place == len(footer)
    assert write_struct(fields) == footer


@given(st.binary(max_size=300))
def test_bytes_are_a_struct_or_an_error_by_name(content: bytes) -> None:
    try:
        fields = StructReader(content).fields()
    except (ThriftError, IndexError):
        return
    again = write_struct(fields)
    assert StructReader(again).fields() == fields


@pytest.mark.parametrize("content", [b"\x1c" * 100_000, b"\x19" + b"\x19" * 100_000], ids=["structs", "lists"])
def test_nesting_without_an_end_is_refused(content: bytes) -> None:
    with pytest.raises(ThriftError, match="nested too deeply"):
        StructReader(content).fields()


def test_a_number_without_an_end_is_refused() -> None:
    with pytest.raises(ThriftError, match="too long"):
        StructReader(b"\x16" + b"\xff" * 100_000).fields()


def test_a_file_whose_footer_is_damaged_is_told_by_its_name(tmp_path: Path) -> None:
    path, damaged = tmp_path / "t.parquet", tmp_path / "damaged.parquet"
    write_table(path)
    whole = path.read_bytes()
    (length,) = struct.unpack("<I", whole[-8:-4])
    seed = random.randrange(1 << 32)
    print("seed", seed)
    generator = random.Random(seed)
    told: list[Path] = []
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(len(content) - 8 - length, len(content))] = generator.randrange(256)
        damaged.write_bytes(content)
        try:
            for _piece in join([path, damaged], {}):
                pass
        except (DamagedFileError, NotAlikeError) as error:
            told.append(error.path)
    assert set(told) == {damaged}
