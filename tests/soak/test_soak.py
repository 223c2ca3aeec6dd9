"""A short soak; the long one is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.soaking import soak

pytestmark = [pytest.mark.slow, pytest.mark.on_disk]


def test_half_a_minute(tmp_path: Path) -> None:
    """Growth, rotation, signals and kills for 30 seconds leave the parts of an undisturbed run."""
    seen = soak(tmp_path / "soak", seconds=30, seed=20)
    print(seen)
    assert seen["kills"] >= 1
    assert seen["rotations"] >= 3
    assert seen["identical parts"] > 10
