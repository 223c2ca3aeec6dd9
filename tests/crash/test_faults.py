"""The patches that put old faults back still fit, and name what finds them. `make crash-proof` shows that it does."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from support.put_back import command_of, copy_checkout, patches, put_back


def test_there_are_faults() -> None:
    """There are some to put back."""
    assert patches()


@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.stem)
def test_a_fault_can_be_put_back(patch: Path, tmp_path: Path) -> None:
    """The patch fits, and the tests that its command names are there."""
    directory = copy_checkout(tmp_path / "checkout")
    named = [directory / word for word in shlex.split(command_of(patch)) if word.startswith("tests/")]
    assert named
    assert all(path.exists() for path in named)
    put_back(patch, directory)
