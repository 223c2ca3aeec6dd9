"""How fast a worker processes, while a checkpoint is persisted and otherwise: what persisting costs, measured."""

from __future__ import annotations

import math

_HALF_LIFE_SECONDS = 60.0
"""Of busy time, in each phase: what was measured longer ago counts for less."""

_ENOUGH_SECONDS = 0.1
"""Of busy time, in each phase: a few small blocks say nothing of how fast one phase is against the other."""


class Throughput:
    """Events per busy second by phase. Busy is the time in which records are decoded and applied, not that of waiting."""

    def __init__(self) -> None:
        self._events = [0.0, 0.0]
        self._seconds = [0.0, 0.0]

    def add(self, events: int, seconds: float, *, persisting: bool) -> None:
        """`events` were processed in `seconds` of busy time, while a checkpoint was persisted or not."""
        if seconds <= 0:
            return
        decay = 0.5 ** (seconds / _HALF_LIFE_SECONDS)
        self._events[persisting] = self._events[persisting] * decay + events
        self._seconds[persisting] = self._seconds[persisting] * decay + seconds

    def rate(self, *, persisting: bool) -> float:
        """Events per busy second; NaN until it is known."""
        seconds = self._seconds[persisting]
        return self._events[persisting] / seconds if seconds else math.nan

    @property
    def impact_ratio(self) -> float:
        """1 - rate while persisting / rate otherwise; NaN until both were measured for long enough."""
        if min(self._seconds) < _ENOUGH_SECONDS or not self._events[False]:
            return math.nan
        return 1.0 - self.rate(persisting=True) / self.rate(persisting=False)
