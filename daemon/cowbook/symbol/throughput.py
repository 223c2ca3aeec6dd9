"""Measures a worker's speed while a checkpoint is persisted and otherwise, and so the cost of persisting."""

from __future__ import annotations

import math

_HALF_LIFE_SECONDS = 60.0
"""Half-life of a measurement, in busy time of its phase. Older measurements count for less."""

_ENOUGH_SECONDS = 0.1
"""Least busy time in each phase for a comparison. A few small blocks are not enough to compare the phases."""


class Throughput:
    """Events per busy second, by phase. Busy time is spent decoding and applying records, not waiting."""

    def __init__(self) -> None:
        self._events = [0.0, 0.0]
        self._seconds = [0.0, 0.0]

    def add(self, events: int, seconds: float, *, persisting: bool) -> None:
        """Add `events` that took `seconds` of busy time. `persisting` says whether a checkpoint was being persisted."""
        if seconds <= 0:
            return
        decay = 0.5 ** (seconds / _HALF_LIFE_SECONDS)
        self._events[persisting] = self._events[persisting] * decay + events
        self._seconds[persisting] = self._seconds[persisting] * decay + seconds

    def rate(self, *, persisting: bool) -> float:
        """Returns events per busy second of a phase; NaN before the first measurement."""
        seconds = self._seconds[persisting]
        return self._events[persisting] / seconds if seconds else math.nan

    @property
    def impact_ratio(self) -> float:
        """1 - rate while persisting / rate otherwise; NaN until both phases were measured for long enough."""
        if min(self._seconds) < _ENOUGH_SECONDS or not self._events[False]:
            return math.nan
        return 1.0 - self.rate(persisting=True) / self.rate(persisting=False)
