"""Finds the types of operations once, instead of at each place where they stand.

numba tries all implementations of an operator, those of NumPy among them, to find the one that two integers call for. Kernels
have thousands of such places, and a dozen kinds of them.
"""

from __future__ import annotations

import copy
from typing import Any

from numba import types
from numba.core.typing.context import Context


class TypingContext(Context):  # type: ignore[misc] # numba has no types
    """As numba's, for kernels."""

    _only: TypingContext | None = None
    _known: dict[Any, Any]

    @classmethod
    def of(cls, context: Context) -> TypingContext:
        """Returns the context for kernels, which shares all that numba's knows."""
        if cls._only is None:
            cls._only = copy.copy(context)
            cls._only.__class__ = cls
            cls._only._known = {}  # noqa: SLF001 - its own
        return cls._only

    def resolve_function_type(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Returns the signature of a call; None if there is none."""
        if keywords or isinstance(function, types.Dispatcher | types.BoundFunction):
            return super().resolve_function_type(function, arguments, keywords)
        # By identity, since types of records take long to compare. What is kept with the signature keeps its identity.
        key = (id(function), *map(id, arguments))
        if key not in self._known:
            signature = super().resolve_function_type(function, arguments, keywords)
            self._known[key] = signature, function, arguments
        return self._known[key][0]
