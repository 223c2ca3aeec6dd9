"""Files of equal content under one glob are read once."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cowbook.capture.copies import read_once
from cowbook.capture.paths import expand_paths

LONG = bytes(range(33, 100)) * 30_000
"""More than what is hashed, and more than what is compared at a time."""


def kept(base: Path, files: dict[str, bytes], *patterns: str) -> tuple[list[str], list[str]]:
    """Names of the files that are read, and the warnings, without the directory."""
    for name, content in files.items():
        (base / name).write_bytes(content)
    found = read_once(expand_paths(patterns or ("*",), base))
    assert len(found.patterns) == len(found.paths)
    return [path.name for path in found.paths], [warning.replace(f"{base}/", "") for warning in found.warnings]


@pytest.mark.parametrize("content", [b"x\n", LONG[:1024], LONG])
def test_a_file_and_its_compressed_copies_are_read_once(tmp_path: Path, content: bytes) -> None:
    """The first in the order of reading is, and that is said of the others; an empty one is no copy."""
    packed = {"a.gz": gzip.compress(content), "b.zst": zstandard.compress(content), "c": content}
    names, warnings = kept(tmp_path, {"a": content, **packed, "d": b"", "e": b"", "f.gz": gzip.compress(b"")})
    assert names == ["a", "d", "e", "f.gz"]
    assert warnings == [f"{name} has the content of a: it is read once" for name in packed]


@pytest.mark.parametrize("differs_at", [500, 2_000, 100_000, len(LONG) - 1])
def test_a_file_that_differs_anywhere_is_read(tmp_path: Path, differs_at: int) -> None:
    """Whoever copied a file and went on with the copy is told, where the first KiB are the same."""
    other = LONG[:differs_at] + b"!" + LONG[differs_at + 1 :]
    names, warnings = kept(tmp_path, {"a": LONG, "b.gz": gzip.compress(other), "c": LONG + b"more", "d": other})
    assert names == ["a", "b.gz", "c"]
    twice = "if one is a copy of the other, its records count twice"
    begins = [f"{name} begins as a does: {twice}" for name in (["b.gz", "c"] if differs_at > 1024 else ["c"])]
    assert warnings == [*begins, "d has the content of b.gz: it is read once"]


def test_what_two_patterns_name_is_read_twice(tmp_path: Path) -> None:
    """Who names a copy means it, but is told."""
    names, warnings = kept(tmp_path, {"a": LONG, "b": LONG}, "a", "b")
    assert names == ["a", "b"]
    assert warnings == ["b begins as a does: if one is a copy of the other, its records count twice"]


def test_a_damaged_copy_is_read(tmp_path: Path) -> None:
    """So that its error is raised: nobody knows what it holds."""
    cut = gzip.compress(LONG)[:-10]
    assert kept(tmp_path, {"a": LONG, "b.gz": cut, "c.gz": b"\x1f\x8bnone", "d": b"PAR1"})[0] == ["a", "b.gz", "c.gz", "d"]


def test_tables_of_equal_rows_are_read_once(tmp_path: Path) -> None:
    """Parquet files may be compressed in different ways, too."""
    for name, compression, last in (("a", "snappy", 3), ("b", "zstd", 3), ("c", "zstd", 4)):
        pq.write_table(pa.table({"x": [1, 2, last]}), tmp_path / name, compression=compression)
    assert kept(tmp_path, {})[0] == ["a", "c"]
