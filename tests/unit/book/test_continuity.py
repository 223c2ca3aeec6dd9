"""The continuity rules as a table."""

from __future__ import annotations

import pytest

from cowbook.book.continuity import APPLY, GAP, STALE, judge
from cowbook.plain.messages import NONE
from cowbook.plain.schemes import NEWEST_PER_LEVEL, RANGE, RANGE_WITH_PREVIOUS, RISING

SPOT = [
    # last, U, u, verdict, expected id, received id
    pytest.param(NONE, 5, 9, APPLY, NONE, NONE, id="without_last_id"),
    pytest.param(10, 5, 9, STALE, NONE, NONE, id="before_last_id"),
    pytest.param(10, 5, 10, STALE, NONE, NONE, id="ends_at_last_id"),
    pytest.param(10, 5, 11, APPLY, NONE, NONE, id="overlaps_last_id"),
    pytest.param(10, 11, 11, APPLY, NONE, NONE, id="only_id_follows"),
    pytest.param(10, 11, 15, APPLY, NONE, NONE, id="range_follows"),
    pytest.param(10, 12, 15, GAP, 11, 12, id="leaves_gap"),
    pytest.param(0, 1, 1, APPLY, NONE, NONE, id="follows_id_0"),
    pytest.param(0, 0, 0, STALE, NONE, NONE, id="repeats_id_0"),
]

FUTURES = [
    # last, is_first, U, u, pu, verdict, expected id, received id
    pytest.param(NONE, False, 5, 9, 4, APPLY, NONE, NONE, id="without_last_id"),
    pytest.param(10, False, 5, 9, 4, STALE, NONE, NONE, id="before_last_id"),
    pytest.param(10, False, 5, 10, 4, STALE, NONE, NONE, id="ends_at_last_id"),
    pytest.param(10, True, 5, 10, 4, APPLY, NONE, NONE, id="ends_at_snapshot"),
    pytest.param(10, True, 11, 15, 10, APPLY, NONE, NONE, id="names_snapshot"),
    pytest.param(10, True, 9, 15, 8, APPLY, NONE, NONE, id="straddles_snapshot"),
    pytest.param(10, True, 10, 15, 9, APPLY, NONE, NONE, id="begins_at_snapshot"),
    pytest.param(10, True, 11, 15, 9, GAP, 10, 9, id="after_snapshot_names_other"),
    pytest.param(10, False, 9, 15, 8, GAP, 10, 8, id="straddles_diff"),
    pytest.param(10, False, 20, 25, 10, APPLY, NONE, NONE, id="names_last_id"),
    pytest.param(10, False, 20, 25, 19, GAP, 10, 19, id="leaves_gap"),
    pytest.param(10, True, 20, 25, 19, GAP, 10, 19, id="leaves_gap_after_snapshot"),
]


@pytest.mark.parametrize(("last", "first_id", "last_id", "verdict", "expected", "received"), SPOT)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_range_must_join_the_last_id(
    last: int, first_id: int, last_id: int, verdict: int, expected: int, received: int, is_first: bool
) -> None:
    """Ranges that join apply, whether the last message was a snapshot or a diff."""
    assert judge(RANGE, last, is_first, first_id, last_id, NONE) == (verdict, expected, received)
    assert judge.py_func(RANGE, last, is_first, first_id, last_id, NONE) == (verdict, expected, received)


@pytest.mark.parametrize(("last", "is_first", "first_id", "last_id", "prev_id", "verdict", "expected", "received"), FUTURES)
def test_a_diff_names_its_predecessor_and_only_the_first_may_straddle_the_snapshot(
    last: int, is_first: bool, first_id: int, last_id: int, prev_id: int, verdict: int, expected: int, received: int
) -> None:
    """Each message names the one before; only the first after a snapshot may straddle it."""
    outcome = (verdict, expected, received)
    assert judge(RANGE_WITH_PREVIOUS, last, is_first, first_id, last_id, prev_id) == outcome
    assert judge.py_func(RANGE_WITH_PREVIOUS, last, is_first, first_id, last_id, prev_id) == outcome


@pytest.mark.parametrize("rule", [RISING, NEWEST_PER_LEVEL])
@pytest.mark.parametrize(("last", "last_id", "verdict"), [(NONE, 5, APPLY), (10, 9, STALE), (10, 10, STALE), (10, 11, APPLY)])
def test_ids_that_only_rise_never_leave_a_gap(rule: int, last: int, last_id: int, verdict: int) -> None:
    """Whatever the step is."""
    assert judge(rule, last, False, last_id, last_id, NONE) == (verdict, NONE, NONE)
    assert judge.py_func(rule, last, False, last_id + 90, last_id, NONE) == (verdict, NONE, NONE)
