"""The console on which commands print tables and text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rich.box import HEAVY_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cowbook.plain.escaping import escaped

_WIDEST = 1000
_INDENT = 4
_BETWEEN = " · "


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


def plain_console(*, stderr: bool = False) -> Console:
    """A console without markup, since ids and paths may have brackets and colons."""
    return _Console(stderr=stderr, markup=False, emoji=False)


def fits(console: Console, table: Table) -> bool:
    """Whether no cell of the table has to be broken or cut."""
    return _widest(console, table) <= console.width


def _widest(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update_width(_WIDEST)).maximum


def print_rows(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[str],
    heads: int,
    total: Sequence[str] = (),
    title: str = "",
    styles: Sequence[str] = (),
    box: Box = HEAVY_HEAD,
) -> None:
    """Print a table or, on a terminal that is too narrow for it, a block for each row.

    The first `heads` columns name a row, and head its block. Columns not in `left` are aligned to the right. `total` is a last
    row, set apart; `styles` has one for each row. What is no terminal gets the table at its full width: a line for each row.
    """
    table = Table(box=box, show_footer=bool(total), title=title or None)
    for column, sum_ in zip(columns, total or [""] * len(columns), strict=True):
        table.add_column(column, sum_, justify="left" if column in left else "right", no_wrap=True)
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*row, style=style)
    if fits(console, table):
        console.print(table)
    elif not console.is_terminal:
        _Console(file=console.file, markup=False, emoji=False, width=_widest(console, table)).print(table)
    else:
        if title:
            console.print(title)
        for row, style in zip([*rows, *([total] if total else [])], [*(styles or [""] * len(rows)), ""], strict=False):
            _print_block(console, columns, row, heads, style)


def _print_block(console: Console, columns: Sequence[str], row: Sequence[str], heads: int, style: str) -> None:
    """Print a row as its head and, indented, `column cell` for each other cell that is not empty, as many a line as fit."""
    console.print(Text(escaped("  ".join(filter(None, row[:heads]))), style=style or "bold"), overflow="fold", highlight=False)
    line = ""
    pairs = [escaped(f"{column} {cell}") for column, cell in zip(columns[heads:], row[heads:], strict=True) if cell]
    for pair in pairs:
        if line and cell_len(line) + cell_len(pair) + len(_BETWEEN) + _INDENT > console.width:
            print_indented(console, line, _INDENT)
            line = ""
        line += f"{_BETWEEN if line else ''}{pair}"
    if line:
        print_indented(console, line, _INDENT)


def print_prose(console: Console, line: str, style: str = "") -> None:
    """Print a line of words. On a terminal it is broken between words, elsewhere it stays one line. Not for what people copy."""
    if console.is_terminal:
        console.print(line, style=style, overflow="fold", highlight=False)
    else:
        console.print(line, style=style, soft_wrap=True, highlight=False)


def print_indented(console: Console, line: str, indent: int) -> None:
    """Print a line, escaped already, behind `indent` spaces. On a terminal what does not fit goes on below, indented, too."""
    if console.is_terminal:
        console.print(Padding(Text(line), (0, 0, 0, indent)), overflow="fold", highlight=False)
    else:
        console.print(Text(f"{' ' * indent}{line}"), soft_wrap=True, highlight=False)
