"""Records as JSON."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from cowbook.input.text import json_fields


def test_nesting_is_counted_outside_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a loop over brackets and strings counts it, which is what long records did not have the time for."""
    monkeypatch.setattr(json_fields, "MAX_NESTING", 4)
    rng = random.Random(1)

    def value(depth: int) -> Any:
        if depth == 0 or rng.random() < 0.2:
            return rng.choice([1, "x", "", "[{", "]}", '"', []])
        values = [value(depth - 1) for _ in range(rng.randrange(1, 4))]
        return values if rng.random() < 0.5 else {f"{{{number}": each for number, each in enumerate(values)}

    def depth_of(each: Any) -> int:
        children = list(each.values()) if isinstance(each, dict) else each if isinstance(each, list) else None
        return 0 if children is None else 1 + max(map(depth_of, children), default=0)

    found = set()
    for _ in range(3_000):
        each = value(rng.randrange(7))
        is_deep = depth_of(each) > 4
        found.add(is_deep)
        assert json_fields._is_deep(json.dumps(each).encode()) == is_deep, each
    assert found == {False, True}
