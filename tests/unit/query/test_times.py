"""Points of time as people write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from cowbook.errors import UsageError
from cowbook.query.times import iso, parse_time


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
        pytest.param(str(NOON), id="ns_on_the_command_line"),
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
    assert iso(NOON + 123_456_789) == "2024-08-09T12:00:00.123456789Z"


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


def test_a_time_is_shown_with_the_digits_that_it_needs() -> None:
    """Milliseconds at least, in groups of three; before 1970, too."""
    assert iso(NOON) == "2024-08-09T12:00:00.000Z"
    assert iso(NOON + 1_500) == "2024-08-09T12:00:00.000001500Z"
    assert iso(-1) == "1969-12-31T23:59:59.999999999Z"
