"""Lengths of time between the steps of a loop as a person writes them, and points of time as the loop's user sees them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from cowbook.config import parse_duration
from cowbook.errors import UsageError
from cowbook.query.times import EPOCH

Every = int | str | timedelta | np.timedelta64
"""A number of records, or a length of time such as "1s", "250ms" or a timedelta."""


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
    return EPOCH + timedelta(microseconds=ns // 1000)
