"""Plain data between the book and the sink: the open rows, which are the rows since the last cut (ADR 3).

The arrays are append-only: the engine writes only after the valid entries. So a snapshot needs only a reference to the arrays and
a copy of the counts. A full array is replaced by a larger copy.

Times are ns since 1970. Prices and sizes are int64 fixed-point. `messages.NONE` stands for null.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.plain.lent_memory import lend
from cowbook.plain.parts import CutPlace
from cowbook.plain.streams import ROW_ARRAYS, ROW_STREAMS
from cowbook.plain.vocabulary import AUDIT_FIELDS, OUTCOMES

Rows: Any = namedtuple("Rows", [array.name for array in ROW_ARRAYS])  # type: ignore[misc] # noqa: PYI024 - its fields follow from the table
"""The arrays that hold the open rows, one for each of `streams.ROW_ARRAYS`. The state has the numbers of valid entries."""

_LEAST_MESSAGES = 1 << 14
_LEAST_LEVELS = 1 << 16
"""For so many messages or levels a new array has room. Untouched memory costs nothing, while enlarging an array does."""


def allocate_rows(capacity: Mapping[str, int], book_levels: int) -> Any:
    """Returns empty `Rows`. `capacity` is the least number of entries, by the array's name."""
    arrays = []
    for array in ROW_ARRAYS:
        count = max(capacity.get(array.name, 0), _LEAST_LEVELS if array.most_per_level else _LEAST_MESSAGES * array.most)
        width = 4 * book_levels if array.is_grid else array.width
        entries = lend(count * (width or 1), array.dtype)
        arrays.append(entries.reshape(count, width) if width else entries)
    return Rows(*arrays)


DAY_ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "day",  # days since 1970
            "first_time",  # event time of its first accepted message
            "last_time",  # running maximum of event time at the day's end
            # Counts from the start of the input to the day's end.
            "events",
            "depth_events",
            "synced_events",
            "depth_messages",
            "unsynced_messages",
            "early_messages",
            "unnumbered",
            "compared",
            "compared_unsynced",
            "refuted",
            *(f"{field}_{outcome}" for field in AUDIT_FIELDS.values() for outcome in OUTCOMES[:2]),
            "failed_unsynced",  # comparisons of all kinds
            "snapshots",
            "witnesses",
            "levels_compared",
            "levels_wrong",
            "levels_learned",
            "tickers_near",
            "tickers_far",
            "gaps",
            "missing_updates",
            "duplicate_trades",
            "duplicate_messages",
            "foreign_snapshots",
            "time_resets",
            "crossed",
            "dead_letters",
            "time_total",  # ns of event time
            "time_best_known",  # of it, while the best levels of both sides were known
            "time_grid_known",  # of it, while all levels of the grid were known
            "first_snapshot_time",  # no count: as in STATE
        )
    ]
)
"""A UTC day. Its messages are those for which the running maximum of event time is in the day.

The counts are those of book_state.STATE. After a time reset there may be two rows of one day, with others between them.
"""


@dataclass(frozen=True, slots=True)
class OpenRows:
    """The valid rows of one cut, or of the rows after the last one, and the range of their events.

    `rows["trades"]` is the array of that stream's rows, of dtype `Stream.row`. There is one for each of `streams.ROW_ARRAYS`.
    """

    first: int
    """Index of the cut's first event. It names the cut, together with `number`."""
    last: int
    """Index of the last event; first - 1 if there are no events."""
    newest: int
    """Running maximum of event time at the last accepted message; `messages.NONE` if there was no message."""
    arrays: Mapping[str, npt.NDArray[Any]]
    number: int = 0
    """How many cuts have this first event and came before this one: without an event, because too many rows were open."""

    @property
    def place(self) -> CutPlace:
        """What identifies the cut, and orders cuts."""
        return self.first, self.number

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The valid entries of one array. Raises KeyError for a name that is not in `streams.ROW_ARRAYS`."""
        return self.arrays[name]

    @property
    def is_empty(self) -> bool:
        """True if no stream has a row."""
        return not any(len(self.arrays[stream.name]) for stream in ROW_STREAMS)
