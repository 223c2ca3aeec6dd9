"""The venues that cowbook knows, one module each. The module's name is the `format` in the configuration; `VENUE` describes it.

Each module's docstring shows one raw record of each kind, the rule of continuity, and what proves the book. To add a venue, see
docs/adding-a-venue.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from cowbook.input.venue import Venue

_NO_VENUES = ("answers", "decoders", "fields", "recognise", "unsupported")
"""Modules of this package that are not venues."""


@cache
def venue_names() -> tuple[str, ...]:
    """The names of all venues. Loads none of them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_VENUES))


@cache
def load_venue(name: str) -> Venue:
    """Load a venue by its name. Raises KeyError for an unknown one."""
    if name not in venue_names():
        raise KeyError(name)
    venue = importlib.import_module(f"{__name__}.{name}").VENUE
    assert isinstance(venue, Venue)
    return venue
