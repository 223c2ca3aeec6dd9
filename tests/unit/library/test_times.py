"""Lengths of time between steps, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from cowbook.errors import UsageError
from cowbook.library.times import parse_every, to_datetime

NOON = 1_723_204_800_000_000_000
"""2024-08-09T12:00:00Z"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, (1, 0)),
        ("1s", (0, 10**9)),
        ("250ms", (0, 250 * 10**6)),
        (timedelta(seconds=2), (0, 2 * 10**9)),
        (np.timedelta64(5, "us"), (0, 5000)),
    ],
)
def test_every_is_records_or_a_time(value: Any, expected: tuple[int, int]) -> None:
    """One of both is 0."""
    assert parse_every(value) == expected


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "0s", "1", "1 fortnight", timedelta(0), timedelta(seconds=-1), None])
def test_steps_of_nothing_are_refused(value: Any) -> None:
    """They would never end, or never begin."""
    with pytest.raises(UsageError, match="every"):
        parse_every(value)


def test_a_datetime_is_aware() -> None:
    """In UTC, cut to microseconds."""
    assert to_datetime(NOON + 1_999) == datetime(2024, 8, 9, 12, 0, 0, 1, tzinfo=UTC)
