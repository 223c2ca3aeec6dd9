"""What is shown to people is one printable line, whatever it was made of."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.plain.escaping import escaped, escaped_all


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("BTC-USDT äöü 加密 🐄", "BTC-USDT äöü 加密 🐄", id="printable"),
        pytest.param("a\nb\r\tc\0", r"a\nb\r\tc\x00", id="lines"),
        pytest.param("\x1b[31m\x1b]0;title\x07", r"\x1b[31m\x1b]0;title\x07", id="sequences_of_terminals"),
        pytest.param("\x9b31m", r"\x9b31m", id="control_beyond_ascii"),
        pytest.param("gnp.\u202eexe", r"gnp.\u202eexe", id="direction_of_writing"),
        pytest.param("a\u2028b", r"a\u2028b", id="line_of_unicode"),
        pytest.param(os.fsdecode(b"x\xff.jsonl"), r"x\xff.jsonl", id="no_utf8"),
        pytest.param("\ud800", r"\ud800", id="half_a_pair"),
        pytest.param(r"C:\new", r"C:\new", id="backslash"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    """All else stays as it is."""
    assert escaped(text) == shown


@given(st.text(st.characters(max_codepoint=sys.maxunicode, categories=None)))
def test_any_text_becomes_a_printable_line(text: str) -> None:
    """It has one line, can be written as UTF-8, and is not escaped a second time."""
    shown = escaped(text)
    assert shown.isprintable()
    shown.encode()
    assert escaped(shown) == shown


def test_every_text_inside_a_value_is_escaped() -> None:
    """In keys, lists and mappings; what is no text stays."""
    assert escaped_all({"a\n": ["\x07", ("\x1b", 1)], "b": None}) == {r"a\n": [r"\x07", (r"\x1b", 1)], "b": None}
