"""Where a replay stops: the places in a batch of records behind which the book is shown, and for what time.

A batch is planned before it is applied, so that a book never stands further than the time for which it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cowbook.plain.messages import DIFF, NONE, OTHER_SYMBOL, SNAPSHOT, TRADE, TRADES
from cowbook.query.times import DAY_NS

_TIMED_KINDS = np.zeros(16, bool)
_TIMED_KINDS[[DIFF, SNAPSHOT, TRADE, TRADES]] = True


@dataclass(slots=True)
class Plan:
    """The steps of one batch."""

    stops: list[int] = field(default_factory=list)
    """Before which message each step ends; ascending."""
    instants: list[int] | None = None
    """For which time each step's book is shown; None: that of the book."""
    clocks: list[int] | None = None
    """The clock at each step, if it is asked for."""
    count: int = 0
    """How many messages of the batch are to be applied."""


class StepPlanner:
    """Finds the steps. The clock is the running maximum of the event times of the symbol's depth messages and trades.

    A time more than a day back sets the clock back, as it does in the output (docs/rules.md, section 3).
    """

    def __init__(self, records: int, interval: int, start: int | None, end: int | None, *, has_clocks: bool) -> None:
        """A step is `records` long, or `interval` ns if `records` is 0. `has_clocks`: several books are merged by the clock.

        Then records of other symbols are no records of this one.
        """
        self._records, self._interval = records, interval
        self._start, self._end = start, end
        self._has_clocks = has_clocks
        self._left = 0  # records since the last step
        self._is_left_early = True  # none of them is at `start` or later
        self._clock = NONE
        self.first: int | None = None
        """The clock at the first record that has a time."""
        self.is_over = False
        """True once a record at `end` or later was met."""

    @property
    def last(self) -> int | None:
        """The clock at the last record that was planned."""
        return None if self._clock == NONE else self._clock

    def plan(self, messages: npt.NDArray[np.void], first: int = 0) -> Plan:
        """The steps of a batch of messages. None is before the message `first`."""
        needs_times = self._interval or self._has_clocks or self._start is not None or self._end is not None
        before = self._clock
        clocks = self._clocks(messages) if needs_times else None
        count = len(messages)
        if clocks is not None and self._end is not None:
            late = np.flatnonzero(clocks >= self._end)
            if len(late):
                self.is_over, count = True, int(late[0])
        if self._interval:
            assert clocks is not None
            plan = self._at_points(clocks, before, count)
        else:
            plan = self._behind_records(messages, clocks, count)
        if first:
            kept = [place for place, stop in enumerate(plan.stops) if stop > first]
            plan.stops = [plan.stops[place] for place in kept]
            plan.instants = None if plan.instants is None else [plan.instants[place] for place in kept]
            plan.clocks = None if plan.clocks is None else [plan.clocks[place] for place in kept]
        return plan

    def plan_end(self) -> Plan:
        """The last step, behind the end of the input. Without a stop if nothing was left since the one before."""
        if not self._interval:
            is_left = self._left > 0 and not (self._start is not None and self._is_left_early)
            clocks = [self._clock] if self._has_clocks else None
            return Plan([0], None, clocks) if is_left else Plan()
        point = self._point_behind(self._clock) if self._clock != NONE and not self.is_over else NONE
        if point == NONE or not self._is_within(point):
            return Plan()
        return Plan([0], [point], [point])

    def _clocks(self, messages: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
        """The clock behind each message; NONE before the first time."""
        times = messages["ts_event"]
        places = np.flatnonzero(_TIMED_KINDS[messages["kind"]] & (times != NONE))
        if not len(places):
            return np.full(len(messages), self._clock)
        running = np.concatenate([[self._clock], running_clock(times[places], self._clock)])
        if self.first is None:
            self.first = int(running[1])
        self._clock = int(running[-1])
        which = np.zeros(len(messages), np.int64)
        which[places] = 1
        return running[np.cumsum(which)]

    def _behind_records(self, messages: npt.NDArray[np.void], clocks: npt.NDArray[np.int64] | None, count: int) -> Plan:
        if clocks is None and self._records == 1:
            return Plan(list(range(1, count + 1)), count=count)
        counted = np.ones(count, bool) if not self._has_clocks else messages["kind"][:count] != OTHER_SYMBOL
        number = self._left + np.cumsum(counted)
        stops = np.flatnonzero(counted & (number % self._records == 0)) + 1
        total = int(number[-1]) if count else self._left
        self._left = total % self._records
        if clocks is None:
            return Plan(stops.tolist(), count=count)
        if count:
            self._is_left_early = self._start is not None and bool(clocks[count - 1] < self._start)
        if self._start is not None:
            stops = stops[clocks[stops - 1] >= self._start]
        return Plan(stops.tolist(), None, clocks[stops - 1].tolist(), count)

    def _at_points(self, clocks: npt.NDArray[np.int64], before: int, count: int) -> Plan:
        """Before each record that is behind a point of the grid: as many points as lie between."""
        known = np.concatenate([[before], clocks])[: len(clocks) + 1]
        # Points are counted from 1970; that of a clock is the first at it or later.
        points = -(-known // self._interval)
        points[known == NONE] = NONE
        places = np.flatnonzero((points[1:] > points[:-1]) & (known[:-1] != NONE))
        places = places[: np.searchsorted(places, count, side="right")]
        passed = points[places + 1] - points[places]
        passed[passed > DAY_NS // self._interval] = (
            1  # a silence of more than a day may be a wrong clock: no grid goes through it
        )
        ends = np.cumsum(passed)
        which = np.repeat(np.arange(len(places)), passed)
        instants = (points[places][which] + np.arange(len(which)) - (ends - passed)[which]) * self._interval
        is_within = np.ones(len(which), bool)
        if self._start is not None:
            is_within &= instants >= self._start
        if self._end is not None:
            is_within &= instants < self._end
        instants = instants[is_within].tolist()
        return Plan(places[which][is_within].tolist(), instants, instants, count)

    def _is_within(self, instant: int) -> bool:
        return (self._start is None or instant >= self._start) and (self._end is None or instant < self._end)

    def _point_behind(self, clock: int) -> int:
        return -(-clock // self._interval) * self._interval


def running_clock(times: npt.NDArray[np.int64], clock: int) -> npt.NDArray[np.int64]:
    """The running maximum of times, from `clock` on (NONE: from the first). A time more than a day behind it sets it back."""
    running = np.empty(len(times), np.int64)
    start = 0
    while start < len(times):
        part = np.maximum.accumulate(times[start:])
        if clock != NONE:
            np.maximum(part, clock, out=part)
        earlier = np.concatenate([[part[0] if clock == NONE else clock], part[:-1]])
        back = np.flatnonzero(times[start:] < earlier - DAY_NS)
        end = start + int(back[0]) if len(back) else len(times)
        running[start:end] = part[: end - start]
        if end < len(times):
            running[end] = clock = times[end]
            end += 1
        start = end
    return running
