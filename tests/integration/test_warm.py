"""Kernels are compiled before a symbol's loop needs them, never inside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cowbook.kernels.jit import IS_COMPILED

PROGRAM = """
import sys
from pathlib import Path
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.kernels.jit import KERNELS
from cowbook.symbol.warm import warm
from support.harness import Run, reconstruct
from support.venue_samples import SAMPLE_IDS, make_sample

def loaded():
    return {(name, signature) for name, kernel in KERNELS.items() for signature in kernel.overloads}

for sample_id in SAMPLE_IDS:
    sample = make_sample(sample_id)
    warm([sample.format])
    before = loaded()
    engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
    run = Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)
    for files in sample.phases:  # the second from the first one's checkpoint
        result = reconstruct(Path(sys.argv[1]) / sample_id, files, run)
        assert result.summary.state == "done", result.summary.error
    assert loaded() == before, (sample_id, loaded() - before)
print(len(SAMPLE_IDS), "samples,", len(loaded()), "kernels")
"""


@pytest.mark.skipif(not IS_COMPILED, reason="kernels run uncompiled")
def test_warming_a_format_leaves_nothing_to_compile(tmp_path: Path) -> None:
    """After warming a format's kernels, a run of it, and one that goes on from a checkpoint, loads and compiles none."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "samples" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not IS_COMPILED, reason="kernels run uncompiled")
def test_nothing_is_imported_from_the_current_directory(tmp_path: Path) -> None:
    """What compiles may run for another user, root among them, than the one whose directory it is."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the current directory')")
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-P", "-m", "cowbook", "warm", "--format", "binance_csv"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "imported from" not in done.stdout + done.stderr
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) > 10
