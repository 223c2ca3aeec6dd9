"""Kernels that run uncompiled do what compiled ones do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.kernels.jit import IS_COMPILED
from support.harness import Run, read_parts, reconstruct
from support.venue_samples import SAMPLE_IDS, make_sample

PROGRAM = """
import sys
from pathlib import Path
from test_uncompiled import run_sample
assert run_sample(Path(sys.argv[1]), sys.argv[2]) == "done"
"""
SHORT = 40  # events of a sample


def run_sample(directory: Path, sample_id: str) -> str:
    """Reconstruct it below a directory, and take a checkpoint; the state in which that ends."""
    sample = make_sample(sample_id, count=SHORT)
    engine = EngineSettings(part_events=15, part_interval=15_000_000_000, book_levels=3)
    run = Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)
    return reconstruct(directory, sample.files, run).summary.state


@pytest.mark.skipif(not IS_COMPILED, reason="kernels run uncompiled")
@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_parts_are_the_same_uncompiled(sample_id: str, tmp_path: Path) -> None:
    """Of every venue and container, with checkpoints."""
    assert run_sample(tmp_path / "compiled", sample_id) == "done"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environ = os.environ | {"PYTHONPATH": path, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "python"), sample_id],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parts = read_parts(tmp_path / "python" / "data")
    assert parts == read_parts(tmp_path / "compiled" / "data")
    assert parts
