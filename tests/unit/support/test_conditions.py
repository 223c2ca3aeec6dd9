"""What tests rely on without looking: whose children they start, what is random, and where they write."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

_DAEMON = Path(__file__).resolve().parents[3] / "daemon"


def test_child_processes_import_this_checkout(tmp_path: Path) -> None:
    """They do so whatever is installed, and in any directory."""
    command = [sys.executable, "-c", "import cowbook; print(cowbook.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()
    assert found == str(_DAEMON / "cowbook" / "__init__.py")


def test_a_seed_follows_from_the_runs_seed_and_the_tests_name(seed: int, request: pytest.FixtureRequest) -> None:
    """The name is part of it, so that two tests draw differently."""
    run = os.environ["COWBOOK_TEST_SEED"]
    assert seed == random.Random(f"{run} {request.node.name}").randrange(1 << 30)
    assert seed != random.Random(f"{run} another").randrange(1 << 30)


def test_only_a_search_is_random() -> None:
    """Properties try the same examples each time, unless they are asked to search."""
    is_search = os.environ.get("HYPOTHESIS_PROFILE", "default") != "default"
    assert settings().derandomize is not is_search
    assert is_search or os.environ["COWBOOK_TEST_SEED"] == "1"


@pytest.mark.on_disk
def test_a_test_marked_on_disk_writes_to_the_disk(tmp_path: Path) -> None:
    """Its directory is on the disk, while other tests write to memory."""
    assert tmp_path.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev
