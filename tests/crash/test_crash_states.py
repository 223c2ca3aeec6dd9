"""A power cut between any two operations: a sample of all states, recovered to identical parts. `make crash` tries them all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.crash_states import crash_states, record, recover
from support.scenario import Tally

pytestmark = pytest.mark.on_disk

_SAMPLE = 150


def test_sample_of_crash_states(tmp_path: Path, seed: int) -> None:
    """Whatever was not synced is lost, kept, or half there: the run goes on and ends with the parts of an undisturbed one."""
    rng = random.Random(seed)
    phases = record(tmp_path / "recorded", seed % 7)
    states = list(crash_states(phases, rng, 1))
    assert len(states) > 300
    for name, phase, write in rng.sample(states, _SAMPLE):
        assert recover(phase, write, Tally()) is None, name
