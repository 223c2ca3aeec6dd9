"""Points of time as people write them and as they are shown: nanoseconds since 1970, UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from cowbook.errors import UsageError
from cowbook.plain.messages import NONE

Time = int | str | date | np.datetime64
"""ns since 1970, an ISO string, a datetime (pandas' Timestamp is one), a date or numpy's datetime64. Without a zone it is UTC."""

DAY_NS = 86_400_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?))?(?:\s*(Z|[+-]\d\d(?::?\d\d)?))?")
_NANOSECONDS = re.compile(r"\d{18}|[1-8]\d{18}")  # from 1973 on, so that no date without hyphens is one
_MOST_SECONDS = 9_223_372_036  # 2262-04-11


def parse_time(value: object, name: str) -> int | None:
    """Returns a point of time in ns since 1970; None for None. Raises UsageError, which names the argument, for anything else."""
    if value is None:
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if not NONE < value < -NONE:
            raise UsageError(f"{name} = {value}: must be ns since 1970 in 64 bits")
        return int(value)
    as_numpy: Any = getattr(value, "to_datetime64", None)
    if as_numpy is not None:  # pandas' Timestamp, which has ns
        value = as_numpy()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return int(value.astype("datetime64[ns]").astype(np.int64))
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(value, date):
        return (value - EPOCH.date()).days * DAY_NS
    parsed = _parse_text(value) if isinstance(value, str) else None
    if parsed is None:
        raise UsageError(
            f'{name} = {value!r}: must be a time such as "2024-08-09T00:34:56.789Z", a datetime, or ns since 1970; '
            "without a zone it is UTC"
        )
    return parsed


def _parse_text(text: str) -> int | None:
    if _NANOSECONDS.fullmatch(text):
        return int(text)
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    day, time, zone = match[1], (match[2] or "00:00").replace(",", "."), match[3] or "Z"
    whole, _, fraction = time.partition(".")
    try:
        seconds = int((datetime.fromisoformat(f"{day}T{whole}+00:00") - EPOCH).total_seconds())
    except ValueError:
        return None
    if zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
        seconds -= (-1 if zone[0] == "-" else 1) * (3600 * hours + 60 * minutes)
    if abs(seconds) >= _MOST_SECONDS:
        return None
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0") if fraction else 0)


def iso(time: int) -> str:
    """A time in ns since 1970 as ISO 8601 in UTC, with all the digits that are not 0 but at least milliseconds."""
    seconds, fraction = divmod(time, 10**9)
    digits = f"{fraction:09d}"
    while len(digits) > 3 and digits.endswith("000"):
        digits = digits[:-3]
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{digits}Z"
