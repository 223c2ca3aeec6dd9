"""The console that commands print tables and text on."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console that shows brackets and colons as they are: ids and paths may have them, and are not markup."""
    return Console(stderr=stderr, markup=False, emoji=False)
