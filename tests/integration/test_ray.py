"""Several machines: raylets on this one, in a network namespace of the test's own. `make ray` runs it for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.ray_nodes import why_not_here

CAMPAIGN = Path(__file__).resolve().parents[1] / "crash" / "machines.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--only", "check"), id="nodes that do not fit are named"),
        pytest.param(("--only", "detach"), id="shards outlive a driver and are adopted"),
        pytest.param(("--only", "moves"), id="symbols move while nodes and drivers are killed"),
        pytest.param(("--only", "load"), id="a symbol leaves the node that has most to do"),
        pytest.param(("--only", "guide"), id="the page's commands work as they stand"),
        pytest.param(("--only", "objects"), id="nodes share object storage only"),
        pytest.param(("--only", "kills", "--kills", "2"), id="killed nodes lose nothing"),
    ],
)
def test_on_a_cluster(options: tuple[str, ...], seed: int) -> None:
    """Each campaign holds its parts against a run on one machine; seconds of takeovers are in its output."""
    why = why_not_here()
    if why is not None:
        pytest.skip(why)
    command = [sys.executable, str(CAMPAIGN), f"--seed={seed}", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
