"""The continuity rules as a table."""

from __future__ import annotations

import pytest

from cowbook.book.continuity import APPLY, GAP, STALE, judge
from cowbook.plain.messages import NONE
from cowbook.plain.schemes import RANGE, RANGE_WITH_PREVIOUS

SPOT = [
    # last, U, u, verdict, expected id, received id
    (NONE, 5, 9, APPLY, NONE, NONE),
    (10, 5, 9, STALE, NONE, NONE),
    (10, 5, 10, STALE, NONE, NONE),
    (10, 5, 11, APPLY, NONE, NONE),
    (10, 11, 11, APPLY, NONE, NONE),
    (10, 11, 15, APPLY, NONE, NONE),
    (10, 12, 15, GAP, 11, 12),
    (0, 1, 1, APPLY, NONE, NONE),
    (0, 0, 0, STALE, NONE, NONE),
]

FUTURES = [
    # last, is_first, U, u, pu, verdict, expected id, received id
    (NONE, False, 5, 9, 4, APPLY, NONE, NONE),
    (10, False, 5, 9, 4, STALE, NONE, NONE),
    (10, False, 5, 10, 4, STALE, NONE, NONE),
    (10, True, 5, 10, 4, APPLY, NONE, NONE),
    (10, True, 11, 15, 10, APPLY, NONE, NONE),
    (10, True, 9, 15, 8, APPLY, NONE, NONE),
    (10, True, 10, 15, 9, APPLY, NONE, NONE),
    (10, True, 11, 15, 9, GAP, 10, 9),
    (10, False, 9, 15, 8, GAP, 10, 8),
    (10, False, 20, 25, 10, APPLY, NONE, NONE),
    (10, False, 20, 25, 19, GAP, 10, 19),
    (10, True, 20, 25, 19, GAP, 10, 19),
]


@pytest.mark.parametrize(("last", "first_id", "last_id", "verdict", "expected", "received"), SPOT)
@pytest.mark.parametrize("is_first", [True, False])
def test_spot(last: int, first_id: int, last_id: int, verdict: int, expected: int, received: int, is_first: bool) -> None:
    """Ranges that join; whether a snapshot came before makes no difference."""
    assert judge(RANGE, last, is_first, first_id, last_id, NONE) == (verdict, expected, received)
    assert judge.py_func(RANGE, last, is_first, first_id, last_id, NONE) == (verdict, expected, received)


@pytest.mark.parametrize(("last", "is_first", "first_id", "last_id", "prev_id", "verdict", "expected", "received"), FUTURES)
def test_futures(
    last: int, is_first: bool, first_id: int, last_id: int, prev_id: int, verdict: int, expected: int, received: int
) -> None:
    """Each message names the one before; only the first after a snapshot may straddle it."""
    outcome = (verdict, expected, received)
    assert judge(RANGE_WITH_PREVIOUS, last, is_first, first_id, last_id, prev_id) == outcome
    assert judge.py_func(RANGE_WITH_PREVIOUS, last, is_first, first_id, last_id, prev_id) == outcome
