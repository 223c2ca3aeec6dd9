"""What persisting costs, measured."""

from __future__ import annotations

import math
import random

import pytest

from cowbook.symbol.throughput import Throughput


def test_a_rate_is_nan_until_it_was_measured() -> None:
    """The impact is NaN until both phases were measured. A measurement of no time is ignored."""
    throughput = Throughput()
    throughput.add(5, 0.0, persisting=False)
    assert math.isnan(throughput.rate(persisting=False))
    throughput.add(100, 2.0, persisting=False)
    assert throughput.rate(persisting=False) == 50
    assert math.isnan(throughput.rate(persisting=True))
    assert math.isnan(throughput.impact_ratio)
    throughput.add(30, 1.0, persisting=True)
    assert throughput.impact_ratio == pytest.approx(0.4)


def test_a_rate_of_zero_has_no_impact_ratio() -> None:
    """Busy time without an event is a rate of 0, to which there is no ratio."""
    throughput = Throughput()
    throughput.add(0, 1.0, persisting=False)
    throughput.add(10, 1.0, persisting=True)
    assert throughput.rate(persisting=False) == 0
    assert math.isnan(throughput.impact_ratio)


def test_a_negative_impact_is_shown_as_it_is() -> None:
    """Chance may make persisting look faster, and then the impact is negative."""
    throughput = Throughput()
    throughput.add(10, 1.0, persisting=False)
    throughput.add(20, 1.0, persisting=True)
    assert throughput.impact_ratio == -1


def test_measurements_lose_weight_by_the_busy_time_of_their_phase() -> None:
    """A measurement a minute of busy time ago counts half. Each phase ages by its own busy time."""
    throughput = Throughput()
    for _ in range(6000):
        throughput.add(10, 0.01, persisting=False)
    throughput.add(1, 1.0, persisting=True)
    before = throughput._seconds[False]
    for _ in range(6000):
        throughput.add(30, 0.01, persisting=False)
    assert throughput._seconds[False] == pytest.approx(before * 1.5, rel=1e-3)
    assert throughput.rate(persisting=False) == pytest.approx((1000 * 0.5 + 3000) / 1.5, rel=1e-2)
    assert throughput.rate(persisting=True) == 1
    for _ in range(60_000):
        throughput.add(5, 0.01, persisting=False)
    assert throughput.rate(persisting=False) == pytest.approx(500, rel=1e-2)


def test_a_steady_rate_does_not_depend_on_the_intervals() -> None:
    """The result for a steady rate is that rate, for intervals of any length."""
    rng = random.Random(1)
    throughput = Throughput()
    for _ in range(1000):
        seconds = rng.random() ** 8 * 100
        throughput.add(round(seconds * 1e6), seconds, persisting=rng.random() < 0.3)
    for persisting in (False, True):
        assert throughput.rate(persisting=persisting) == pytest.approx(1e6, rel=1e-6)
    assert throughput.impact_ratio == pytest.approx(0, abs=1e-6)


def test_short_times_give_no_impact_ratio() -> None:
    """A few small blocks in one phase are not enough for a ratio."""
    throughput = Throughput()
    throughput.add(1_000_000, 1.0, persisting=False)
    throughput.add(10, 0.09, persisting=True)
    assert math.isnan(throughput.impact_ratio)
    throughput.add(10, 0.02, persisting=True)
    assert throughput.impact_ratio > 0.99
