"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from cowbook.plain.counting import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 gaps"), (1, "1 gap"), (2, "2 gaps"), (12_000, "12,000 gaps")])
def test_only_one_of_a_thing_is_singular(number: int, text: str) -> None:
    assert counted(number, "gap") == text
