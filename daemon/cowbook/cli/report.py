"""`cowbook report`: shows what can be trusted, per symbol and day."""

from __future__ import annotations

import argparse
import json

from rich.box import SIMPLE
from rich.table import Table

from cowbook.cli.console import plain_console
from cowbook.report.day_report import DayQuality, iso, read_report

_COLUMNS = (
    *("symbol", "day", "events", "verified", "refuted", "uncheckable", "synced", "gaps", "missing", "crossed", "drift"),
    *("dead letters", "first", "last"),
)

_WIDEST = 1000


def main(arguments: argparse.Namespace) -> int:
    """Print the days as a table, JSON or Markdown. Raises RecoveryError."""
    days = read_report(arguments.directory, arguments.symbol)
    if arguments.json:
        print(json.dumps([day.to_json() for day in days], indent=2))
    elif arguments.markdown:
        print("\n".join(_markdown(days)))
    else:
        table = Table(box=SIMPLE)
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in ("symbol", "day", "first", "last") else "right", no_wrap=True)
        for day in days:
            table.add_row(*_cells(day))
        plain_console(at_least=plain_console(at_least=_WIDEST).measure(table).maximum).print(table)
    return 0


def _cells(day: DayQuality) -> list[str]:
    return [
        day.symbol,
        day.day,
        _count(day.events),
        _percent(day.verified_percent),
        _count(day.refuted),
        _count(day.uncheckable),
        _percent(day.synced_percent),
        _count(day.gaps),
        _count(day.missing_updates),
        _count(day.crossed),
        _count(day.drifts),
        _count(day.dead_letters),
        _clock(day.first_time),
        _clock(day.last_time),
    ]


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    """Rounded down, so that 100 % means all."""
    return "?" if value is None else f"{int(value * 100) / 100:.2f} %"


def _clock(time: int | None) -> str:
    text = iso(time)
    return "" if text is None else text[11:19]


def _markdown(days: list[DayQuality]) -> list[str]:
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS), *(_cells(day) for day in days)]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
