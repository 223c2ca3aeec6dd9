"""Makes text from outside safe to show: names of files, symbols and records may hold anything.

A terminal obeys escape sequences, a log's reader believes that a line is a line, and text that changes its direction reads
otherwise than it is. So whatever a person is shown passes through `escaped` at the last step: console logs, tables and lines of
commands, error messages, the status line, the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def escaped(text: str) -> str:
    r"""Returns a text with everything that is not printable as `\n`, `\x1b`, `\u202e` and the like.

    The result is one line and can be encoded as UTF-8. Bytes of a file name that are not UTF-8 become `\xff`. Escaping the
    result again changes nothing.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def escaped_all(value: Any) -> Any:
    """As `escaped`, for every text in a value of mappings and sequences. Values of other types are returned as they are."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {escaped_all(key): escaped_all(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(escaped_all, value)) if type(value) in (tuple, list) else value
    return value
