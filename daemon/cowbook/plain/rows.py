"""Plain data between the book and the sink: the open rows, those since the last cut, append-only (ADR 3).

The engine only ever writes behind the counts, so that a snapshot may keep a reference to the arrays and the counts of its moment.
When an array is full it is replaced by a larger copy, never moved in place.

Times are ns since 1970, prices and sizes int64 fixed-point; `messages.NONE` stands for null.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.plain.streams import ROW_ARRAYS, STREAM_NAMES

Rows: Any = namedtuple("Rows", [array.name for array in ROW_ARRAYS])  # type: ignore[misc] # noqa: PYI024 - its fields follow from the table
"""The arrays that hold the open rows, one for each of `streams.ROW_ARRAYS`; how many entries are valid stands in the state."""

_LEAST_ROWS = 1 << 14
_LEAST_LEVELS = 1 << 16
"""Entries of a new array. Memory that is not touched costs nothing; asking for more room now and then does."""


def allocate_rows(capacity: Mapping[str, int], book_levels: int) -> Any:
    """Empty `Rows` with room for at least the given numbers of entries, by the array's name."""
    arrays = []
    for array in ROW_ARRAYS:
        count = max(capacity.get(array.name, 0), _LEAST_LEVELS if array.most_per_level else _LEAST_ROWS)
        arrays.append(np.empty((count, 4 * book_levels) if array.is_grid else count, array.dtype))
    return Rows(*arrays)


DAY_ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "day",  # since 1970
            "first_time",  # of its first accepted message
            "last_time",  # the running maximum of event time at its end
            # Counts since the start of the input, at its end.
            "events",
            "depth_events",
            "synced_events",
            "depth_messages",
            "compared",
            "refuted",
            "gaps",
            "missing_updates",
            "crossed",
            "drifts",
            "dead_letters",
        )
    ]
)
"""A UTC day of the running maximum of event time."""


@dataclass(frozen=True, slots=True)
class OpenRows:
    """The rows of one cut, or of a tail: exactly the valid ones, and the range of events that they belong to.

    `rows["trades"]` is an array of that stream's rows, dtype `Stream.row`; so for each of `streams.ROW_ARRAYS`.
    """

    first: int
    """First event of the cut; its name."""
    last: int
    """Last event; first - 1 without events."""
    newest: int
    """Running maximum of event time at the cut's last accepted message; `messages.NONE` without any."""
    arrays: Mapping[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The entries of one array."""
        return self.arrays[name]

    @property
    def is_empty(self) -> bool:
        """Whether no stream has a row."""
        return not any(len(self.arrays[name]) for name in STREAM_NAMES)
