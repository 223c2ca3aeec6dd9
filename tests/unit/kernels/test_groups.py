"""Kernels hand each other groups of arrays as Python functions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pytest

from cowbook.kernels.jit import IS_COMPILED, as_records, inlined_kernel, kernel, rare_kernel

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="kernels run uncompiled")

PAIR = np.dtype([("number", np.int64), ("other", np.int64)])


class Pair(NamedTuple):
    """Two arrays of one kind."""

    one: npt.NDArray[np.int64]
    two: npt.NDArray[np.int64]


class Whole(NamedTuple):
    """A group in a group, a record, and a number."""

    pair: Pair
    records: npt.NDArray[np.void]
    factor: int


def make(seed: int = 0) -> Whole:
    """Of different numbers everywhere."""
    numbers = np.arange(seed, seed + 10, dtype=np.int64)
    records = np.zeros(3, PAIR)
    records["number"], records["other"] = numbers[:3] * 7, numbers[:3] * 11
    return Whole(Pair(numbers[:6] * 3, numbers[6:] * 5), records, 13)


@rare_kernel
def _first_of(pair):  # type: ignore[no-untyped-def]
    return pair.one[0] + 2 * pair.two[0]


@inlined_kernel
def _swapped(pair):  # type: ignore[no-untyped-def]
    return Pair(pair.two, pair.one)


@kernel
def _rebuilt(whole, factor):  # type: ignore[no-untyped-def]
    return Whole(_swapped(whole.pair), whole.records, factor)


@kernel
def read_members(whole, _number):  # type: ignore[no-untyped-def]
    """A member of a member is reached through other kernels."""
    return _first_of(whole.pair) * whole.factor + whole.records[1].other


@kernel
def return_groups(whole, number):  # type: ignore[no-untyped-def]
    """A group that a kernel made outlives it."""
    other = _rebuilt(whole, number)
    again = _rebuilt(other, number + 1)
    return _first_of(other.pair) * 1000 + _first_of(again.pair) * again.factor + again.records[2].number


@kernel
def choose_a_group(whole, number):  # type: ignore[no-untyped-def]
    """A variable may stand for one group or another."""
    pair = whole.pair
    if number > 3:
        pair = _swapped(whole.pair)
    total = 0
    for index in range(number):
        made = Pair(pair.one[index:], pair.two) if index % 2 == 0 else Pair(pair.two, pair.one[1:])
        total = total * 17 + _first_of(made)
    return total


@kernel
def write_through_groups(whole, number):  # type: ignore[no-untyped-def]
    """The arrays of a group are the caller's."""
    other = _rebuilt(whole, number)
    other.pair.one[0] = number
    other.records[0].other = number + 1
    return whole.pair.two[0] * 100 + whole.records[0].other


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("compiled", [read_members, return_groups, choose_a_group, write_through_groups])
def test_groups_mean_what_they_mean_in_python(compiled: Any, number: int) -> None:
    """A compiled kernel returns what its Python function does, and changes the same."""
    mine, other = make(1), make(1)
    uncompiled: Callable[..., int] = compiled.py_func
    assert compiled(as_records(mine), number) == uncompiled(Whole(other.pair, other.records.view(np.recarray), 13), number)
    for one, two in zip((*mine.pair, mine.records), (*other.pair, other.records), strict=True):
        assert one.tolist() == two.tolist()


def test_functions_of_others_take_groups_as_always() -> None:
    """What numba compiles beside kernels is not changed by them."""
    whole = make(2)
    assert read_members(whole, 0) == read_members.py_func(whole._replace(records=whole.records.view(np.recarray)), 0)
    first = numba.njit(lambda pair: pair.one[0] + pair.two[1])
    assert numba.njit(lambda group: first(group.pair) + group.factor)(whole) == whole.pair.one[0] + whole.pair.two[1] + 13


@numba.njit
def _foreign(pair):  # type: ignore[no-untyped-def]
    return pair.one[0]


@kernel
def call_foreign(pair):  # type: ignore[no-untyped-def]
    """Hand a group to what is no kernel."""
    return _foreign(pair)


def test_a_group_is_for_kernels_only() -> None:
    """Other functions would take its address for its arrays."""
    with pytest.raises(Exception, match="hands a group to _foreign, which is none"):
        call_foreign(make().pair)
