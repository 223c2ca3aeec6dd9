"""Real processes, real kills: a sample of the crash campaigns. `make crash` tries every point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CANNOT_RUN = 77


@pytest.mark.parametrize(
    "campaign",
    [
        ("kill", "--sample", "1"),
        ("sources", "--sample", "1"),
        ("venues", "--sample", "1"),
        ("errors", "--sample", "1"),
        ("random", "--kills", "4"),
        ("rotations", "--kills", "3"),
        ("objects", "--sample", "1"),
        pytest.param(("objects", "--sample", "5"), marks=(pytest.mark.slow, pytest.mark.whole), id="objects-search"),
    ],
    ids=lambda campaign: campaign[0],
)
def test_sample_of_campaign(campaign: tuple[str, ...], seed: int) -> None:
    """Runs go on after kills and failures of storage, and end with the parts of an undisturbed one."""
    command = [sys.executable, str(Path(__file__).with_name("crash.py")), "--seed", str(seed), "--only", *campaign]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False)
    if done.returncode == _CANNOT_RUN:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
