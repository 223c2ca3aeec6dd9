"""How long properties are searched for a counterexample: shortly and always alike, or at random and for long."""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
"""`default`: the same examples each time. `search`: others each time, as many as the property is worth. `slice`: a quarter of
those. `campaign`: 20,000.
"""

_SHARES = {"default": 10, "slice": 4}


def examples(count: int) -> int:
    """How many examples to try, where a search tries `count`."""
    return max(count // _SHARES.get(PROFILE, 1), min(count, 10))
