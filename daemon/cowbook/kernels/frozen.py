"""Computes a digest of everything that compiling freezes into a kernel: its code, its callees, and the constants that they name.

numba's own cache checks the function's file only, and would use machine code whose constants or callees have changed since. The
digest covers the very values that the compiler would use. A value of an unknown kind is an error, so none is left out (ADR 13).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.types import Type
from numba.extending import _Intrinsic

_FOREIGN = {"builtins", "llvmlite", "numba", "numpy"} | sys.stdlib_module_names
"""Modules whose versions stand for what they hold."""

_digests: dict[Callable[..., Any], str] = {}


def digest_of(function: Callable[..., Any]) -> str:
    """Returns the SHA-256, in hex, of everything that is frozen in a kernel's function.

    Comments, docstrings and line numbers do not count. Raises TypeError if the function names a value of which no digest can be
    made, or if kernels call each other in a circle.
    """
    return _digest_of(function, ())


def _digest_of(function: Any, callers: tuple[Any, ...]) -> str:
    if function in callers:
        raise TypeError(f"{function.__module__}.{function.__name__} calls itself: kernels do not")
    known = _digests.get(function)
    if known is None:
        digest = hashlib.sha256()
        for text in _frozen_in(function, (*callers, function)):
            digest.update(text.encode() + b"\0")
        _digests[function] = known = digest.hexdigest()
    return known


def _frozen_in(function: FunctionType, callers: tuple[Any, ...]) -> Iterator[str]:
    yield function.__name__
    yield from _code(function.__code__, function.__doc__)
    names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
    for name in names:
        if name in function.__globals__:
            yield name
            yield from _value(function.__globals__[name], names, callers)
    for cell in function.__closure__ or ():
        yield from _value(cell.cell_contents, names, callers)
    yield repr((function.__defaults__, function.__kwdefaults__))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _code(code: CodeType, docstring: str | None) -> Iterator[str]:
    """Yields a function's bytecode and constants, and those of the functions defined in it."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount, code.co_flags))
    yield getattr(code, "co_exceptiontable", b"").hex()
    for place, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            first = constant.co_consts[0] if constant.co_consts else None
            yield from _code(constant, first if isinstance(first, str) else None)
        elif not (place == 0 and constant == docstring):
            yield repr(constant)


def _value(value: Any, names: list[str], callers: tuple[Any, ...]) -> Iterator[str]:  # noqa: C901, PLR0912 - a case for each kind
    """Yields the value that a name stands for, as text."""
    match value:
        case int() | float() | str() | bytes() | None | np.dtype() | np.generic():
            yield repr(value)
        case tuple():
            yield f"{type(value).__qualname__} of {len(value)} {getattr(value, '_fields', '')}"
            for each in value:
                yield from _value(each, names, callers)
        case np.ndarray():
            yield f"{value.dtype!r} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        case Dispatcher():
            is_rare = getattr(value, "is_rare", False)
            yield f"{sorted(value.targetoptions.items())!r} {is_rare} {_digest_of(value.py_func, callers)}"
        case _Intrinsic():
            yield _digest_of(value._defn, callers)  # noqa: SLF001 - numba names it nowhere else
        case ModuleType():
            yield value.__name__
            for name in names if value.__name__.partition(".")[0] not in _FOREIGN else ():
                if hasattr(value, name):
                    yield name
                    yield from _value(getattr(value, name), names, callers)
        case Type():
            yield repr(value)
        case FunctionType():
            # A plain function is called by an intrinsic's definition, or only has the name of something else.
            yield from _code(value.__code__, value.__doc__)
        case type() if issubclass(value, tuple) or value.__module__.partition(".")[0] in _FOREIGN:
            yield f"{value.__module__}.{value.__qualname__} {getattr(value, '_fields', '')}"
        case BuiltinFunctionType():
            yield f"{value.__module__}.{value.__qualname__}"
        case _:
            raise TypeError(f"{callers[0].__module__}.{callers[0].__name__} names {value!r}, of which no digest can be made")
