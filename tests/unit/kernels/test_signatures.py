"""The types of operations in kernels are those that numba finds."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from numba import types
from numba.core.registry import cpu_target

from cowbook.kernels.signatures import TypingContext

NUMBERS = (types.int64, types.uint64, types.uint8, types.boolean, types.float64, types.literal(5), types.int32)
ARRAY = types.Array(types.int64, 1, "C")


@pytest.mark.parametrize(
    "operation", [operator.add, operator.sub, operator.lt, operator.eq, operator.and_, operator.rshift, operator.floordiv]
)
def test_signatures_are_those_of_numba(operation: Any) -> None:
    """Of any two numbers, the first time and later."""
    context = cpu_target.typing_context
    context.refresh()
    own = TypingContext.of(context)
    for left in NUMBERS:
        for right in NUMBERS:
            try:
                expected = context.resolve_function_type(operation, (left, right), {})
            except Exception as error:  # noqa: BLE001 - which kind is for numba to say
                with pytest.raises(type(error)):
                    own.resolve_function_type(operation, (left, right), {})
                continue
            assert own.resolve_function_type(operation, (left, right), {}) == expected
            assert own.resolve_function_type(operation, (left, right), {}) == expected


def test_arrays_of_different_kinds_are_told_apart() -> None:
    """Types that are equal may be two objects, and others share a name."""
    own = TypingContext.of(cpu_target.typing_context)
    records = types.Array(types.Record.make_c_struct([("one", types.int64)]), 1, "C")
    for array, member in ((ARRAY, types.int64), (records, records.dtype), (ARRAY.copy(), types.int64)):
        signature = own.resolve_function_type(operator.getitem, (array, types.int64), {})
        assert signature.return_type == member
