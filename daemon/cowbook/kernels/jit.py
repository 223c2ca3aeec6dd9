"""The decorator of compiled functions, and how they run uncompiled under a debugger.

A kernel gets arrays and numbers, allocates nothing, touches no Python object, and holds no lock. With `NUMBA_DISABLE_JIT=1` in
the environment every kernel is the plain Python function that it looks like: breakpoints and coverage work, and everything
takes a thousand times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import config, types
from numba.core.registry import CPUDispatcher

from cowbook.kernels.cache import KernelCache
from cowbook.kernels.compiling import Part, RootCompiler

IS_COMPILED = not config.DISABLE_JIT
"""Whether kernels are machine code in this process."""

if not IS_COMPILED:
    np.seterr(over="ignore")  # bitmaps use all bits of an int64, and wrap around

_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",  # dividing as C does
    # No counting of references: kernels allocate nothing, and counting would make the ladder three times as slow (ADR 1).
    "_nrt": False,
    "boundscheck": None,
    "no_cfunc_wrapper": True,
    "forceinline": False,  # else what an inlined kernel calls would be inlined, too
}

KERNELS: dict[str, Kernel] = {}
"""All kernels that are loaded, by module and name."""


class Kernel(CPUDispatcher):  # type: ignore[misc] # numba has no types
    """A compiled function, which the cache on disk knows by everything that is frozen in it."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], *, is_rare: bool) -> None:
        super().__init__(py_func=function, locals={}, targetoptions=options, pipeline_class=RootCompiler)
        self.is_rare = is_rare
        self._cache = self.cache = KernelCache(self)
        self._part = Part(function, options, is_rare=is_rare)

    def get_call_template(self, args: Sequence[Any], kws: dict[str, Any]) -> Any:
        """How another kernel calls this one; a constant argument does not make a version of its own (150 to 117 versions)."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return self._part.get_call_template([types.unliteral(kind) for kind in args], plain)

    def get_overload(self, signature: Any) -> Any:
        """What another kernel's code finds this one by."""
        return self._part.get_overload(signature)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called with arguments of such types, or load it from the cache."""
    return _compiled(function, _OPTIONS)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, for what is called at one place, or is a few instructions: it becomes part of its callers' machine code.

    Handing over groups of arrays takes longer than what most of these do.
    """
    return _compiled(function, _OPTIONS | {"forceinline": True})


def rare_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, for what is seldom called: it stays apart from its callers, which are compiled the sooner for it."""
    return _compiled(function, _OPTIONS, is_rare=True)


def _compiled(function: Callable[..., Any], options: dict[str, Any], *, is_rare: bool = False) -> Any:
    if not IS_COMPILED:
        function.py_func = function  # type: ignore[attr-defined] # as compiled ones have
        return function
    compiled = Kernel(function, options, is_rare=is_rare)
    KERNELS[f"{function.__module__}.{function.__qualname__}"] = compiled
    return compiled


class _Record(np.record):  # type: ignore[misc] # numpy calls it final, and documents it as a base
    """A record whose fields come before what numpy calls so itself, such as `size` and `flags`."""

    def __getattribute__(self, name: str) -> Any:
        fields = np.void.__getattribute__(self, "dtype").fields
        return self.getfield(*fields[name][:2]) if name in fields else super().__getattribute__(name)


def as_records(group: Any) -> Any:
    """Arrays as a kernel takes them: an array, or a named tuple of arrays and groups.

    In kernels that run uncompiled the records of structured arrays have their fields as attributes, as in compiled ones.
    """
    if IS_COMPILED:
        return group
    if isinstance(group, tuple):
        return type(group)(*map(as_records, group))
    if isinstance(group, np.ndarray) and group.dtype.names is not None:
        return group.view(np.dtype((_Record, group.dtype)))
    return group
