"""Times as people give them, and as they are shown: nanoseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from cowbook.errors import QueryError


def iso(time: int) -> str:
    """A time in ns since 1970 as ISO 8601 in UTC, with all the digits that are not 0 but at least milliseconds."""
    seconds, fraction = divmod(time, 10**9)
    digits = f"{fraction:09d}"
    while len(digits) > 3 and digits.endswith("000"):
        digits = digits[:-3]
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{digits}Z"


def parse_time(time: object) -> int:
    """A time in ns since 1970, from ISO 8601 text, a datetime, a numpy datetime64, or a number of ns. Without a zone it is UTC.

    Raises QueryError for anything else.
    """
    if isinstance(time, np.datetime64):
        return int(time.astype("datetime64[ns]").astype(np.int64))
    if isinstance(time, int | np.integer) and not isinstance(time, bool):
        return int(time)
    extra = 0
    value = time
    if isinstance(value, str):
        text, extra = _without_nanoseconds(value.strip())
        try:
            value = datetime.fromisoformat(text)
        except ValueError as error:
            example = "2024-08-09T00:34:56.789Z"
            raise QueryError(f"{time!r} is no time: give ISO 8601 such as {example}, in UTC unless it has a zone") from error
    if not isinstance(value, datetime):
        raise QueryError(f"{time!r} is no time: give ISO 8601 text, a datetime, or nanoseconds since 1970")
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    since = value - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000
    return nanoseconds + extra + int(getattr(value, "nanosecond", 0))  # pandas has it


def _without_nanoseconds(text: str) -> tuple[str, int]:
    """ISO 8601 text cut down to microseconds, and the nanoseconds that it has beyond."""
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if not dot or not 6 < len(digits) <= 9:
        return text, 0
    return f"{head}.{digits[:6]}{rest[len(digits) :]}", int(digits[6:].ljust(3, "0"))
