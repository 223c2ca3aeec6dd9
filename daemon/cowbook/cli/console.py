"""The console that commands print tables and text on."""

from __future__ import annotations

from rich.console import Console


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of the output went away: for the command to know. rich would end the process with a failure."""
        raise BrokenPipeError


def plain_console(*, stderr: bool = False, at_least: int = 0) -> Console:
    """A console that shows brackets and colons as they are: ids and paths may have them, and are not markup.

    With `at_least` columns, a wide table is left to the terminal to wrap instead of being squeezed.
    """
    console = _Console(stderr=stderr, markup=False, emoji=False)
    if console.width < at_least:
        console = _Console(stderr=stderr, markup=False, emoji=False, width=at_least)
    return console
