"""`cowbook compact`: joins the parts of closed days."""

from __future__ import annotations

import argparse
from datetime import date

from cowbook.cli.console import plain_console, print_prose
from cowbook.errors import UsageError
from cowbook.plain.counting import counted
from cowbook.query.compact import compact


def main(arguments: argparse.Namespace) -> int:
    """Join them, and say of each day what was done. Raises QueryError and StorageError as `compact` does."""
    console = plain_console()
    days = 0
    for day in compact(arguments.directory, _check_date(arguments.before)):
        days += 1
        parts = f"{counted(day.parts_before, 'part')} in {day.parts_after}"
        print_prose(console, f"{day.symbol} {day.date} {day.stream}: {parts}, {counted(day.rows, 'row')}")
    if not days:
        print_prose(console, f"{arguments.directory} has no closed day whose parts could be joined")
    return 0


def _check_date(text: str | None) -> str | None:
    """Raises UsageError for what is no date."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--before {text}: must be a date such as 2024-08-09") from error
