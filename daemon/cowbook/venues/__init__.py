"""The venues that cowbook knows, a module each: its name is the `format`, and its `VENUE` says everything of it.

Adding one: docs/adding-a-venue.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from cowbook.input.venue import Venue

_NO_VENUES = ("decoders", "fields", "recognise")
"""Modules of this room that are none."""


def venue_names() -> tuple[str, ...]:
    """All names, without loading anything."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_VENUES))


@cache
def load_venue(name: str) -> Venue:
    """The venue of a name; raises KeyError for one that there is not."""
    if name not in venue_names():
        raise KeyError(name)
    venue = importlib.import_module(f"{__name__}.{name}").VENUE
    assert isinstance(venue, Venue)
    return venue
