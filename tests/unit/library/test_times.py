"""Points and lengths of time as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from cowbook.errors import UsageError
from cowbook.library.times import parse_every, parse_time, show_time, to_datetime


class Timestamp(datetime):
    """As pandas' one: a datetime that knows its nanoseconds."""

    def to_datetime64(self) -> np.datetime64:
        """A nanosecond behind noon."""
        return np.datetime64(NOON + 1, "ns")


NOON = 1_723_204_800_000_000_000
"""2024-08-09T12:00:00Z"""


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NOON, id="ns"),
        pytest.param("2024-08-09T12:00", id="without_seconds"),
        pytest.param("2024-08-09 12:00:00Z", id="with_a_space"),
        pytest.param("2024-08-09T14:00:00.000000000+02:00", id="of_a_zone"),
        pytest.param("2024-08-09T06:30:00-0530", id="of_a_zone_without_colon"),
        pytest.param(datetime(2024, 8, 9, 12), id="naive_datetime_is_utc"),  # noqa: DTZ001 - this is what is tested
        pytest.param(datetime(2024, 8, 9, 14, tzinfo=timezone(timedelta(hours=2))), id="aware_datetime"),
        pytest.param(np.datetime64("2024-08-09T12:00"), id="numpy"),
    ],
)
def test_one_time_in_many_forms(value: Any) -> None:
    """All of them are the same ns since 1970."""
    assert parse_time(value, "start") == NOON


def test_nanoseconds_are_kept() -> None:
    """A float of seconds, or a datetime, would lose them."""
    assert parse_time("2024-08-09T12:00:00.123456789Z", "start") == NOON + 123_456_789
    assert parse_time(Timestamp(2024, 8, 9, 12), "start") == NOON + 1
    assert show_time(NOON + 123_456_789) == "2024-08-09T12:00:00.123456789Z"


def test_a_date_is_its_midnight_and_nothing_is_nothing() -> None:
    """None is no bound."""
    assert parse_time(date(2024, 8, 9), "end") == NOON - 12 * 3_600 * 10**9
    assert parse_time("1969-12-31T23:59:59.5", "end") == -500_000_000
    assert parse_time(None, "end") is None


@pytest.mark.parametrize("value", ["noon", "2024-13-01", "2024-08-09T25:00", "9999-01-01", 1.5, True, 2**63, float("nan"), []])
def test_what_is_no_time_is_refused_by_the_name_of_the_argument(value: Any) -> None:
    """The error says what it must be."""
    with pytest.raises(UsageError, match=r"^start = .*must be"):
        parse_time(value, "start")


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
