"""Where a replay stops, against a loop over the records one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.library.steps import StepPlanner, running_clock
from cowbook.plain.messages import DIFF, MESSAGE, NONE, OTHER_SYMBOL, TICKER, TRADE
from cowbook.query.times import DAY_NS

HOUR = DAY_NS // 24

RECORDS = st.lists(
    st.tuples(
        st.sampled_from([DIFF, TRADE, TICKER, OTHER_SYMBOL]),
        st.one_of(st.just(NONE), st.integers(0, 40), st.integers(0, 60).map(lambda hours: hours * HOUR)),
    ),
    max_size=40,
)
BOUNDS = st.one_of(st.none(), st.integers(0, 40), st.integers(0, 60).map(lambda hours: hours * HOUR))

Step = tuple[int, int | None]
"""How many records are applied, and the instant of the grid."""


def clocks_of(records: list[tuple[int, int]]) -> list[int]:
    """The running maximum, set back by more than a day; NONE before the first time."""
    clock, clocks = NONE, []
    for kind, time in records:
        if kind in (DIFF, TRADE) and time != NONE:
            clock = time if clock == NONE or time < clock - DAY_NS else max(clock, time)
        clocks.append(clock)
    return clocks


def naive_points(records: list[tuple[int, int]], interval: int, start: int | None, end: int | None) -> list[Step]:
    """Before each record that is later than the next point: that point, and those up to the record; one in a long silence."""
    steps: list[Step] = []
    before = NONE
    is_over = False
    for number, clock in enumerate(clocks_of(records)):
        if before != NONE and clock > before:
            first = -(-before // interval) * interval
            last = -(-clock // interval) * interval
            points = range(first, last, interval) if last - first <= DAY_NS or last == first + interval else [first]
            steps += [(number, point) for point in points]
        if end is not None and clock >= end:
            is_over = True
            break
        before = clock
    if before != NONE and not is_over:
        steps.append((len(records), -(-before // interval) * interval))
    return [(n, at) for n, at in steps if at is not None and (start is None or at >= start) and (end is None or at < end)]


def naive_records(records: list[tuple[int, int]], every: int, start: int | None, end: int | None, *, merged: bool) -> list[Step]:
    """Behind every `every` records, and behind the last one."""
    steps: list[Step] = []
    left, clock = 0, NONE
    applied = 0
    for number, ((kind, _), clock_then) in enumerate(zip(records, clocks_of(records), strict=True), start=1):
        if end is not None and clock_then >= end:
            break
        applied, clock = number, clock_then
        if merged and kind == OTHER_SYMBOL:
            continue
        left += 1
        if left == every:
            left = 0
            if start is None or clock >= start:
                steps.append((number, None))
    if left and (start is None or clock >= start):
        steps.append((applied, None))
    return steps


def planned(planner: StepPlanner, records: list[tuple[int, int]], cut: int) -> list[Step]:
    """What the planner says, in batches of `cut` records."""
    messages = np.zeros(len(records), MESSAGE)
    for place, (kind, time) in enumerate(records):
        messages["kind"][place], messages["ts_event"][place] = kind, time
    steps: list[Step] = []
    applied = 0
    for first in range(0, len(records), cut):
        if planner.is_over:
            break
        plan = planner.plan(messages[first : first + cut])
        instants = plan.instants if plan.instants is not None else [None] * len(plan.stops)
        steps += [(first + stop, instant) for stop, instant in zip(plan.stops, instants, strict=True)]
        assert plan.stops == sorted(plan.stops)
        assert not plan.stops or plan.stops[-1] <= plan.count
        applied = first + plan.count
    plan = planner.plan_end()
    instants = plan.instants if plan.instants is not None else [None] * len(plan.stops)
    return steps + [(applied, instant) for _, instant in zip(plan.stops, instants, strict=True)]


@given(RECORDS, st.integers(1, 50), st.sampled_from([1, 3, 10, HOUR]), BOUNDS, BOUNDS)
def test_points_of_time(records: list[tuple[int, int]], cut: int, interval: int, start: int | None, end: int | None) -> None:
    """Whatever the batches, each point has all records up to it and none later."""
    if interval < HOUR and max([0, *(time for _, time in records)]) > 40:
        interval = HOUR  # else there would be 10^14 points
    expected = naive_points(records, interval, start, end)
    assert planned(StepPlanner(0, interval, start, end, has_clocks=False), records, cut) == expected


@given(RECORDS, st.integers(1, 50), st.integers(1, 5), BOUNDS, BOUNDS, st.booleans())
def test_numbers_of_records(
    records: list[tuple[int, int]], cut: int, every: int, start: int | None, end: int | None, merged: bool
) -> None:
    """Whatever the batches, a step has so many records."""
    expected = naive_records(records, every, start, end, merged=merged)
    assert planned(StepPlanner(every, 0, start, end, has_clocks=merged), records, cut) == expected


def test_a_wrong_clock_does_not_stop_the_grid() -> None:
    """One record of next year, and then the time goes on as before."""
    times = np.array([5, 400 * DAY_NS, 6, 7, 8])
    assert running_clock(times, NONE).tolist() == [5, 400 * DAY_NS, 6, 7, 8]
    planner = StepPlanner(0, 1, None, None, has_clocks=False)
    steps = planned(planner, [(DIFF, time) for time in times.tolist()], 10)
    assert steps == [(1, 5), (3, 6), (4, 7), (5, 8)]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_silence_of_more_than_a_day_has_one_point(cut: int) -> None:
    """The grid goes on at the record behind it."""
    steps = planned(StepPlanner(0, HOUR, None, None, has_clocks=False), [(DIFF, 1), (DIFF, 100 * HOUR + 1)], cut)
    assert steps == [(1, HOUR), (2, 101 * HOUR)]
