"""Finds the types of operations on numbers once, instead of at each place where they stand.

numba tries all implementations of an operator, those of NumPy among them, to find the one that two integers call for. Kernels have
thousands of such places, and a dozen kinds of them.
"""

from __future__ import annotations

import copy
from typing import Any

from numba.core import types
from numba.core.typing.context import Context

_NUMBERS = (types.Integer, types.Float, types.Boolean, types.IntegerLiteral, types.BooleanLiteral)


class TypingContext(Context):  # type: ignore[misc] # numba has no types
    """As numba's, for kernels."""

    _only: TypingContext | None = None
    _signatures: dict[Any, Any]

    @classmethod
    def of(cls, context: Context) -> TypingContext:
        """Returns the context for kernels, which shares all that numba's knows."""
        if cls._only is None:
            cls._only = copy.copy(context)
            cls._only.__class__ = cls
            cls._only._signatures = {}  # noqa: SLF001 - its own
        return cls._only

    def resolve_function_type(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Returns the signature of a call; None if there is none."""
        if keywords or isinstance(function, types.Dispatcher) or not all(isinstance(kind, _NUMBERS) for kind in arguments):
            return super().resolve_function_type(function, arguments, keywords)
        key = function, arguments
        if key not in self._signatures:
            self._signatures[key] = super().resolve_function_type(function, arguments, keywords)
        return self._signatures[key]
