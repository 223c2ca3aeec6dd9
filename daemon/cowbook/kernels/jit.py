"""The decorators of compiled functions. They also let kernels run uncompiled, under a debugger.

A kernel takes arrays, groups of them (named tuples) and numbers, allocates nothing, uses no Python object, and holds no lock.
With `NUMBA_DISABLE_JIT=1` in the environment every kernel is a plain Python function. Breakpoints and coverage then work, and it
runs a thousand times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

import numpy as np
from numba import config, typeof, types
from numba.core.registry import CPUDispatcher

from cowbook.kernels.cache import KernelCache
from cowbook.kernels.compiling import Part, RootCompiler, with_deep_stack

IS_COMPILED = not config.DISABLE_JIT
"""True if kernels are machine code in this process."""


_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",  # integer division as in C
    # No reference counting: kernels allocate nothing, and counting would make the ladder three times slower (ADR 1).
    "_nrt": False,
    "boundscheck": None,
    "no_cfunc_wrapper": True,
    "forceinline": False,  # otherwise the callees of an inlined kernel would be inlined, too
}

KERNELS: dict[str, Kernel] = {}
"""All kernels of the imported modules, by module and name."""


class Kernel(CPUDispatcher):  # type: ignore[misc] # numba has no types
    """A compiled function. The cache on disk finds it by a digest of everything that is frozen in it."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], *, is_rare: bool) -> None:
        super().__init__(py_func=function, locals={}, targetoptions=options, pipeline_class=RootCompiler)
        self.is_rare = is_rare
        self._cache = self.cache = KernelCache(self)
        self._part = Part(function, options, is_rare=is_rare)

    def compile(self, signature: Any) -> Any:
        """As in numba: compile the version for these types of arguments, or load it."""
        return with_deep_stack(super().compile, signature)

    def get_call_template(self, args: Sequence[Any], kws: dict[str, Any]) -> Any:
        """As in numba, for a call from another kernel. Constants get no version of their own (117 versions instead of 150)."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return self._part.get_call_template([types.unliteral(kind) for kind in args], plain)

    def get_overload(self, signature: Any) -> Any:
        """As in numba, for a call from another kernel: the name of the part."""
        return self._part.get_overload(signature)


def kernel(function: Callable[..., Any]) -> Any:
    """Make a kernel. Its first call with given types of arguments compiles it, or loads it from the cache."""
    return _compiled(function, _OPTIONS)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, for a function with one call site or a few instructions. It is inlined into its callers' machine code.

    Passing groups of arrays would take longer than most of these functions run.
    """
    return _compiled(function, _OPTIONS | {"forceinline": True})


def rare_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, for a function that is seldom called. It is never inlined, so that its callers compile faster."""
    return _compiled(function, _OPTIONS, is_rare=True)


def _compiled(function: Callable[..., Any], options: dict[str, Any], *, is_rare: bool = False) -> Any:
    if not IS_COMPILED:
        return _uncompiled(function)
    compiled = Kernel(function, options, is_rare=is_rare)
    KERNELS[f"{function.__module__}.{function.__qualname__}"] = compiled
    return compiled


def entry_of(compiled: Any, *arguments: Any) -> Callable[..., Any]:
    """Returns the machine code of a kernel for arguments of these types, to be called with arguments of exactly these types.

    numba looks at the types of all arguments in each call. With groups of arrays that takes 6 µs, and the call itself 0.4.
    """
    if not IS_COMPILED:
        return cast("Callable[..., Any]", compiled)
    signature = tuple(map(_type_of, arguments))
    if signature not in compiled.overloads:  # numba's lock, which compile takes, is one for all threads
        compiled.compile(signature)
    entry: Callable[..., Any] = compiled.overloads[signature].entry_point
    return entry


_ARRAY_TYPES: dict[tuple[Any, ...], types.Type] = {}


def _type_of(argument: Any) -> types.Type:
    """Returns what numba.typeof does. That takes 2 ms for an engine, since it looks at each field of each record."""
    if isinstance(argument, tuple):
        return types.BaseTuple.from_types(tuple(map(_type_of, argument)), type(argument))
    if not isinstance(argument, np.ndarray):
        return typeof(argument)
    flags = argument.flags
    key = argument.dtype, argument.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    if key not in _ARRAY_TYPES:
        _ARRAY_TYPES[key] = typeof(argument)
    return _ARRAY_TYPES[key]


def _uncompiled(function: Callable[..., Any]) -> Any:
    """The Python function itself, in whose integers overflows wrap around, as in machine code: bitmaps use all 64 bits."""

    @wraps(function)
    def run(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*arguments)

    run.py_func = function  # type: ignore[attr-defined] # as compiled ones have
    return run


class _Record(np.record):  # type: ignore[misc] # numpy calls it final, and documents it as a base
    """A record whose fields take precedence over numpy's attributes of the same name, such as `size` and `flags`."""

    def __getattribute__(self, name: str) -> Any:
        fields = np.void.__getattribute__(self, "dtype").fields
        return self.getfield(*fields[name][:2]) if name in fields else super().__getattribute__(name)


def as_records(group: Any) -> Any:
    """Returns the argument of a kernel, an array or a named tuple of arrays and groups, in the form that the kernel needs.

    If kernels run uncompiled, the records of structured arrays get their fields as attributes, as they have in compiled kernels.
    """
    if IS_COMPILED:
        return group
    if isinstance(group, tuple):
        return type(group)(*map(as_records, group))
    if isinstance(group, np.ndarray) and group.dtype.names is not None:
        return group.view(np.dtype((_Record, group.dtype)))
    return group
