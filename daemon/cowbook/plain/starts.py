"""Names of what a start of a symbol's worker makes: nobody else makes the same ones, on whatever machine."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = re.compile(r"(?:([1-9]\d*)-)?(\d+)")


class Start(NamedTuple):
    """A start of a symbol's worker."""

    claim: int
    """Number of the claim of its process in the symbol's commit log."""
    number: int
    """Of the starts of this symbol so far; it grows from one to the next inside a process."""

    @property
    def name(self) -> str:
        """What is private to the start is named by both: two processes may count alike, but never have the same claim."""
        return f"{self.claim}-{self.number}"


def parse_start(name: str) -> Start | None:
    """The start of that name, with claim 0 if it was made before there were claims; None for any other name."""
    match = _NAME.fullmatch(name) if name.isascii() else None
    return None if match is None else Start(int(match[1] or 0), int(match[2]))
