"""The console on which commands print tables and text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cowbook.plain.escaping import escaped


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, with the text escaped: all plain text that is printed comes by here, the cells of tables, too.

        Pass a `Text` for lines that are meant as lines.
        """
        return super().render_str(escaped(text), **options)


def percent(value: float, decimals: int = 1) -> str:
    """A share in percent. It is rounded down, so that 100 % means all."""
    scale = 10**decimals
    return f"{int(value * scale + 1e-9) / scale:.{decimals}f} %"


def plain_console(*, stderr: bool = False, at_least: int = 0) -> Console:
    """A console without markup, since ids and paths may have brackets and colons.

    `at_least` is the least width in columns. A wider table is then wrapped by the terminal instead of being squeezed.
    """
    console = _Console(stderr=stderr, markup=False, emoji=False)
    if console.width < at_least:
        console = _Console(stderr=stderr, markup=False, emoji=False, width=at_least)
    return console
