"""Machine instructions that Python has no operator for, as intrinsics for the kernels.

All of them work on int64, because numba computes in floats where int64 meets uint64. Each also has a Python function, for kernels
that run uncompiled. It returns int64, so that later arithmetic wraps around as in machine code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cowbook.kernels.jit import IS_COMPILED

_WORD = (1 << 64) - 1


def _instruction(python: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Make a decorator that returns the intrinsic, or the function `python` if kernels run uncompiled."""
    return lambda definition: intrinsic(definition) if IS_COMPILED else python


def _trailing_zeros(value: np.int64) -> np.int64:
    word = int(value) & _WORD
    return np.int64((word & -word).bit_length() - 1)


@_instruction(_trailing_zeros)
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Returns the number of zero bits below the lowest set bit. `value` must not be 0."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


def _highest_bit(value: np.int64) -> np.int64:
    return np.int64((int(value) & _WORD).bit_length() - 1)


@_instruction(_highest_bit)
def highest_bit(typing_context: Any, value: Any) -> Any:
    """Returns the position of the highest set bit, 0 to 63. `value` must not be 0."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.int64), codegen


def _load64(buffer: npt.NDArray[np.uint8], index: np.int64) -> np.int64:
    return np.int64(int.from_bytes(buffer[index : index + 8].tobytes(), "little", signed=True))


@_instruction(_load64)
def load64(typing_context: Any, buffer: Any, index: Any) -> Any:
    """Returns the 8 bytes of a uint8 array from `index` on as a little-endian int64, at any alignment.

    The array must have at least `index + 8` bytes. This is not checked.
    """
    signature = types.int64(buffer, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        word = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return signature, codegen


def _store64(buffer: npt.NDArray[np.uint8], index: np.int64, value: np.int64) -> None:
    buffer[index : index + 8] = np.frombuffer((int(value) & _WORD).to_bytes(8, "little"), np.uint8)


@_instruction(_store64)
def store64(typing_context: Any, buffer: Any, index: Any, value: Any) -> Any:
    """Write an int64 as 8 little-endian bytes into a uint8 array from `index` on, at any alignment.

    The array must have at least `index + 8` bytes. This is not checked.
    """
    signature = types.void(buffer, types.int64, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        word = builder.store(args[2], builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return context.get_dummy_value()

    return signature, codegen


def _shifted(value: np.int64, by: np.int64) -> np.int64:
    word = (int(value) & _WORD) >> int(by)
    return np.int64(word - (1 << 64) if word >> 63 else word)


@_instruction(_shifted)
def shifted(typing_context: Any, value: Any, by: Any) -> Any:
    """Returns the 64 bits of `value`, shifted down by 0 to 63 with zeros behind them: `>>` would keep the sign."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.lshr(args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


def _as_float(value: np.int64) -> np.float64:
    return np.float64(struct.unpack("<d", struct.pack("<q", int(value)))[0])


@_instruction(_as_float)
def as_float(typing_context: Any, value: Any) -> Any:
    """Returns the double that has these 64 bits."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen
