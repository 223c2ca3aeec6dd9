"""Every reader that people use finds in every stream's parts what is there.

Polars and DuckDB come with the tests. `COWBOOK_PEER_PYTHON` names Pythons, separated by colons, that have others: fastparquet,
DataFusion, chdb, an old pyarrow.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.plain.parts import joined_name
from cowbook.query.parquet_join import join
from cowbook.sink.columns import NumberKind
from support.harness import Run, reconstruct
from support.peer_readers import NOT_THERE, READERS, Columns, of_table
from support.venue_samples import SAMPLE_IDS, make_sample

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "peer_readers.py"
PYTHONS = {"here": sys.executable} | {
    f"peer-{number}": path for number, path in enumerate(os.environ.get("COWBOOK_PEER_PYTHON", "").split(":")) if path
}
FORMS: tuple[tuple[NumberKind, str], ...] = (("decimal", "zstd"), ("float64", "lz4"), ("int64", "snappy"), ("decimal", "none"))


def join_streams(output_dir: Path, directory: Path) -> Iterator[Path]:
    """All parts of each stream as one, as `cowbook compact` makes it of a day's."""
    for stream in sorted(path for path in output_dir.iterdir() if not path.name.startswith(".")):
        path = directory / "data" / stream.name / "symbol=X" / "date=2024-08-09" / joined_name(0, 1, 0)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(join(sorted(stream.rglob("*.parquet")), {"some": "thing"})))
        yield path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Columns]]:
    """The parts of every venue's sample, with gaps, and of one in all forms; and what pyarrow finds in them."""
    directory = tmp_path_factory.mktemp("readers")
    content: dict[str, Columns] = {}
    for sample_id, (numbers, compression) in [(sample_id, FORMS[0]) for sample_id in SAMPLE_IDS] + [
        ("binance-spot", form) for form in FORMS[1:]
    ]:
        sample = make_sample(sample_id, 3, 100)
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
        if sample_id == "binance-spot":
            for path in join_streams(result.output_dir, directory / f"joined-{numbers}-{compression}"):
                content[str(path.relative_to(directory))] = of_table(pq.ParquetFile(path).read())
    assert {path.split("/")[2] for path in content} >= {"depth", "trades", "bbo", "book", "frame"}
    return directory, content


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("python", PYTHONS)
def test_readers_find_what_is_there(python: str, reader: str, written: tuple[Path, dict[str, Columns]]) -> None:
    """In every stream of every venue, with every kind of numbers and compression."""
    directory, content = written
    expected = directory / "expected.pickle"
    expected.write_bytes(pickle.dumps(content))
    command = [PYTHONS[python], "-W", "ignore", str(PROGRAM), str(directory), str(expected), reader]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == NOT_THERE:
        pytest.skip(f"{PYTHONS[python]} has no {reader}")
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    *differing, read = done.stdout.splitlines()
    assert differing == [], differing[:10]
    assert read == f"read {len(content)}"
