"""Makes Arrow arrays from int64 arrays, without copying contiguous ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.plain.messages import NONE

TIME = pa.timestamp("ns", tz="UTC")


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
