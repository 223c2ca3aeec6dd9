"""How long properties are searched for a counterexample: shortly and always alike, or at random and for long."""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
"""`default`: the same examples each time. `search`: others each time, as many as the property is worth. `campaign`: 20,000."""


def examples(count: int) -> int:
    """How many examples to try, where a search tries `count`."""
    return max(count // 10, min(count, 10)) if PROFILE == "default" else count
