"""Makes Arrow arrays from int64 arrays, without copying contiguous ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cowbook.plain.messages import NONE

TIME = pa.timestamp("ns", tz="UTC")

NumberKind = Literal["decimal", "float64", "int64"]
"""How prices and sizes are written: exact decimals, the nearest doubles, or whole numbers of 10^-decimals."""


def required(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """A column without nulls, from int64 values: integers, times or decimals."""
    contiguous = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(contiguous), [None, pa.py_buffer(contiguous)], null_count=0)


def optional(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """As `required`, but NONE becomes null."""
    contiguous = np.ascontiguousarray(values)
    present = contiguous != NONE
    nulls = len(contiguous) - int(np.count_nonzero(present))
    validity = pa.py_buffer(np.packbits(present, bitorder="little")) if nulls else None
    return pa.Array.from_buffers(kind, len(contiguous), [validity, pa.py_buffer(contiguous)], null_count=nulls)


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Makes columns of prices or of sizes, from whole numbers of 10^-decimals."""

    decimals: int
    kind: NumberKind

    @property
    def type(self) -> pa.DataType:
        """The column's type: decimal64(18, decimals), float64 or int64."""
        return {"decimal": pa.decimal64(18, self.decimals), "float64": pa.float64(), "int64": pa.int64()}[self.kind]

    def make(self, values: npt.NDArray[np.generic], *, may_be_null: bool = False) -> pa.Array:
        """A column of int64 values, in which NONE becomes null if it `may_be_null`."""
        if self.kind != "float64":
            return (optional if may_be_null else required)(values, self.type)
        # Both operands are exact below 2^53, and a division rounds once: the result is the double that is nearest to the decimal.
        numbers = pa.array(np.asarray(values, np.int64) / 10.0**self.decimals)
        return pc.if_else(pa.array(values != NONE), numbers, None) if may_be_null else numbers


def boolean(values: npt.NDArray[np.generic]) -> pa.Array:
    """A column of booleans: whether each number is not 0."""
    bits = np.packbits(values != 0, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)], null_count=0)


def choice(values: npt.NDArray[np.generic], names: tuple[str, ...]) -> pa.Array:
    """A column of strings, from indices into `names`."""
    return pa.DictionaryArray.from_arrays(
        required(values.astype(np.int8, copy=False), pa.int8()), pa.array(names, pa.string()), safe=False
    )


def fixed_point_text(value: int, decimals: int) -> str:
    """A fixed-point number as text, with all its decimals."""
    if decimals == 0:
        return str(value)
    whole, fraction = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{fraction:0{decimals}d}"
