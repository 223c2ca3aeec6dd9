"""Every reader that people use finds in every stream's parts what is there.

Polars and DuckDB come with the tests. `COWBOOK_PEER_PYTHON` names Pythons, separated by colons, that have others: fastparquet,
DataFusion, chdb, an old pyarrow.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.sink.columns import NumberKind
from support.harness import Run, reconstruct
from support.peer_readers import Columns, of_table
from support.venue_samples import SAMPLE_IDS, make_sample

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "peer_readers.py"
PYTHONS = {"here": sys.executable} | {
    f"peer-{number}": path for number, path in enumerate(os.environ.get("COWBOOK_PEER_PYTHON", "").split(":")) if path
}
FORMS: tuple[tuple[NumberKind, str], ...] = (("decimal", "zstd"), ("float64", "lz4"), ("int64", "snappy"), ("decimal", "none"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Columns]]:
    """The parts of every venue's sample, with gaps, and of one in all forms; and what pyarrow finds in them."""
    directory = tmp_path_factory.mktemp("readers")
    content: dict[str, Columns] = {}
    for sample_id, (numbers, compression) in [(sample_id, FORMS[0]) for sample_id in SAMPLE_IDS] + [
        ("binance-spot", form) for form in FORMS[1:]
    ]:
        sample = make_sample(sample_id, 3, 120)
        engine = EngineSettings(part_events=150, book_levels=3)
        run = Run(
            "X",
            sample.name,
            sample.format,
            price_decimals=1,
            size_decimals=2,
            engine=engine,
            numbers=numbers,
            compression=compression,
        )
        result = reconstruct(directory / f"{sample_id}-{numbers}-{compression}", sample.files, run)
        assert result.summary.state == "done", result.summary.error
        for name in result.parts:
            path = result.output_dir / name
            content[str(path.relative_to(directory))] = of_table(pq.ParquetFile(path).read())
    assert {path.split("/")[2] for path in content} >= {"depth", "trades", "bbo", "book", "frame"}
    return directory, content


@pytest.mark.parametrize("python", PYTHONS)
def test_readers_find_what_is_there(python: str, written: tuple[Path, dict[str, Columns]]) -> None:
    """In every stream of every venue, with every kind of numbers and compression."""
    directory, content = written
    expected = directory / "expected.pickle"
    expected.write_bytes(pickle.dumps(content))
    done = subprocess.run(
        [PYTHONS[python], "-W", "ignore", str(PROGRAM), str(directory), str(expected)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *differing, read = done.stdout.splitlines()
    assert differing == [], differing[:10]
    assert read.startswith("read: pyarrow=")
    assert all(int(count.partition("=")[2]) == len(content) for count in read.split()[1:]), read
    print(read)
