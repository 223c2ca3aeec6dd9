"""The text of a JSON message, parsed into values with their positions, and without most of its levels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(rb'[ \t\r\n]*("[^"]*"|[{}\[\],:]|[^ \t\r\n{}\[\],:"]+)')
_ELEMENT = rb"(?:\[[^][{}]*+\]|\{[^][{}]*+\})"
_ELEMENTS = re.compile(rb"(\[" + _ELEMENT + rb")(?:, ?" + _ELEMENT + rb")++(?=\])")


class Value(NamedTuple):
    """A value's position in the text."""

    start: int
    end: int
    members: dict[str, Value] | None  # of an array or object

    def text_of(self, text: bytes) -> bytes:
        """The value as it is written in `text`."""
        return text[self.start : self.end]

    def find(self, path: str) -> Value:
        """The value at a path. Raises KeyError if there is none."""
        value = self
        for key in path.split("."):
            value = (value.members or {})[key]
        return value

    def leaves(self, path: str) -> Iterator[tuple[str, Value]]:
        """All values in this one, which is at `path`, that are neither arrays nor objects, with their paths."""
        if self.members is None:
            yield path, self
            return
        for key, value in self.members.items():
            yield from value.leaves(f"{path}.{key}")

    def has(self, path: str) -> bool:
        """Returns whether there is a value at a path."""
        try:
            self.find(path)
        except KeyError:
            return False
        return True


def _read_token(text: bytes, position: int) -> tuple[bytes, int, int]:
    match = _TOKEN.match(text, position)
    if match is None:
        raise LookupError(position)
    return match[1], match.start(1), match.end()


def _read_value(text: bytes, position: int) -> Value:
    """Parse the value at a position. Raises LookupError if an object repeats a key."""
    token, start, end = _read_token(text, position)
    if token not in (b"{", b"["):
        return Value(start, end, None)
    members: dict[str, Value] = {}
    closing = b"}" if token == b"{" else b"]"
    while (_read_token(text, end))[0] != closing:
        if members:
            end = _read_token(text, end)[2]  # a comma
        key = str(len(members))
        if closing == b"}":
            name, _, end = _read_token(text, end)
            key, end = name[1:-1].decode(), _read_token(text, end)[2]  # a colon
        if key in members:
            raise LookupError(key)
        members[key] = _read_value(text, end)
        end = members[key].end
    return Value(start, _read_token(text, end)[2], members)


def parse(text: bytes) -> Value | None:
    """Parse a message that is known to be JSON. None for one with escapes or a repeated key."""
    if b"\\" in text or text[:1] not in (b"{", b"["):
        return None
    try:
        return _read_value(text, 0)
    except LookupError:
        return None


def shortened(text: bytes) -> bytes:
    """A message with only the first element of each array of flat arrays or objects, as levels are.

    Where a string has brackets in it, it may come out as something else, so whoever uses it tries the result on the whole.
    """
    return _ELEMENTS.sub(rb"\1", text)
