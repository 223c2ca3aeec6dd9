"""Points and lengths of time as a person writes them, in ns since 1970 and ns."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from cowbook.config import parse_duration
from cowbook.errors import UsageError
from cowbook.plain.messages import NONE

Time = int | str | date | np.datetime64
"""ns since 1970, an ISO string, a datetime (pandas' Timestamp is one), a date or numpy's datetime64. Without a zone it is UTC."""

Every = int | str | timedelta | np.timedelta64
"""A number of records, or a length of time such as "1s", "250ms" or a timedelta."""

DAY_NS = 86_400_000_000_000
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?))?(?:\s*(Z|[+-]\d\d:?\d\d))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_SECONDS = 9_223_372_036  # 2262-04-11


def parse_time(value: Time | None, name: str) -> int | None:
    """Returns a point of time in ns since 1970; None for None. Raises UsageError, which names the argument, for anything else."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if not NONE < value < -NONE:
            raise UsageError(f"{name} = {value}: must be ns since 1970 in 64 bits")
        return value
    as_numpy: Any = getattr(value, "to_datetime64", None)
    if as_numpy is not None:  # pandas' Timestamp, which has ns
        value = as_numpy()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return int(value.astype("datetime64[ns]").astype(np.int64))
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(value, date):
        return (value - _EPOCH.date()).days * DAY_NS
    parsed = _parse_text(value) if isinstance(value, str) else None
    if parsed is None:
        raise UsageError(
            f'{name} = {value!r}: must be a time such as "2024-08-09T00:34:56.789Z", a datetime, or ns since 1970; '
            "without a zone it is UTC"
        )
    return parsed


def _parse_text(text: str) -> int | None:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    day, time, zone = match[1], (match[2] or "00:00").replace(",", "."), match[3] or "Z"
    whole, _, fraction = time.partition(".")
    try:
        seconds = int((datetime.fromisoformat(f"{day}T{whole}+00:00") - _EPOCH).total_seconds())
    except ValueError:
        return None
    if zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        seconds -= (-1 if zone[0] == "-" else 1) * (3600 * hours + 60 * minutes)
    if abs(seconds) >= _MOST_SECONDS:
        return None
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0") if fraction else 0)


def parse_every(value: Every) -> tuple[int, int]:
    """Returns (records, ns) between two steps, of which one is 0. Raises UsageError for what is neither, and for 0 and below."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise UsageError(f"every = {value}: must be at least 1 record")
        return value, 0
    length = None
    if isinstance(value, timedelta):
        length = value // timedelta(microseconds=1) * 1000
    elif isinstance(value, np.timedelta64) and not np.isnat(value):
        length = int(value.astype("timedelta64[ns]").astype(np.int64))
    elif isinstance(value, str):
        try:
            length = parse_duration(value)
        except ValueError as error:
            raise UsageError(f"every = {value!r}: {error}") from error
    if length is None or length < 1:
        raise UsageError(f'every = {value!r}: must be a number of records, or a time such as "1s"')
    return 0, length


def to_datetime(ns: int) -> datetime:
    """A point of time as an aware datetime in UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def show_time(ns: int) -> str:
    """A point of time as ISO text, with as many digits as it needs."""
    text = str(np.datetime64(ns, "ns"))
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
