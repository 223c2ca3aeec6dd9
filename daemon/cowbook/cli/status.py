"""`cowbook status`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.table import Table

from cowbook.cli.clients import ask
from cowbook.cli.console import plain_console
from cowbook.errors import ServiceError
from cowbook.telemetry.status import describe_known

_COLUMNS = (
    *("id", "state", "events", "synced", "known", "gaps", "dead letters", "lag bytes"),
    *("event time", "epoch", "checkpoint time"),
)


def main(arguments: argparse.Namespace) -> int:
    """Print what a running cowbook does. Returns 1 if a symbol has failed. Raises ServiceError if there is no answer."""
    _, status = ask(arguments.url, "/status", seconds=10.0)
    if not isinstance(status, dict) or "symbols" not in status:
        raise ServiceError(f"{arguments.url} is not cowbook: its /status has no symbols")
    symbols = status["symbols"]
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        _print_table(status, symbols)
    return int(any(symbol["state"] == "failed" for symbol in symbols))


def _print_table(status: dict[str, Any], symbols: list[dict[str, Any]]) -> None:
    table = Table(title=f"cowbook {status['version']}, {'ready' if status['ready'] else 'not ready'}, since {status['started']}")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("id", "state") else "right", overflow="fold")
    for symbol in symbols:
        shown = symbol | {"known": describe_known(symbol.get("known"))}
        table.add_row(*(_cell(shown[column.replace(" ", "_")]) for column in _COLUMNS))
    console = plain_console(at_least=150)
    console.print(table)
    for symbol in symbols:
        why = symbol["waiting_for"] or symbol["error"]
        if why:
            console.print(f"{symbol['state']}: {symbol['id']}: {why}", soft_wrap=True)
        if symbol["checkpoint_error"]:
            console.print(f"checkpoint failed: {symbol['id']}: {symbol['checkpoint_error']}", soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
