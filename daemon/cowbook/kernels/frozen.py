"""What is frozen in a kernel when it is compiled: its code, the kernels that it calls, and the constants that they name.

numba looks at a function's own file only, and would go on with machine code whose constants or callees have changed since. This
looks at the very values that the compiler would take, so nothing can be forgotten: what it does not know is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.types import Type
from numba.extending import _Intrinsic

_PACKAGE = __name__.partition(".")[0]

_digests: dict[Callable[..., Any], str] = {}


def digest_of(function: Callable[..., Any]) -> str:
    """SHA-256, in hex, of all that is frozen in a kernel's function; comments, docstrings and line numbers are not.

    Raises TypeError where it names something of which no digest can be made, and where kernels call each other in a circle.
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
    """A function's bytecode, and that of the functions in it."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount, code.co_flags))
    yield getattr(code, "co_exceptiontable", b"").hex()
    for place, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            first = constant.co_consts[0] if constant.co_consts else None
            yield from _code(constant, first if isinstance(first, str) else None)
        elif not (place == 0 and constant == docstring):
            yield repr(constant)


def _value(value: Any, names: list[str], callers: tuple[Any, ...]) -> Iterator[str]:  # noqa: C901 - a case for each kind
    """What a name stands for."""
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
            for name in names if value.__name__.partition(".")[0] == _PACKAGE else ():
                if hasattr(value, name):
                    yield name
                    yield from _value(getattr(value, name), names, callers)
        case type() | BuiltinFunctionType() | FunctionType() | Type():
            # No code of theirs is frozen, but the order of a named tuple's fields is.
            yield f"{getattr(value, '__module__', '')}.{value!s} {getattr(value, '_fields', '')}"
        case _:
            raise TypeError(f"{callers[0].__module__}.{callers[0].__name__} names {value!r}, of which no digest can be made")
