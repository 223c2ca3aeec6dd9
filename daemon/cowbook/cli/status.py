"""`cowbook status`: what a running cowbook does, once or, with --watch, as long as one looks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from cowbook.cli.clients import ask
from cowbook.cli.console import plain_console, print_prose, print_rows
from cowbook.errors import ServiceError
from cowbook.telemetry.status import describe_known, problems_of

_COLUMNS = (
    *("id", "state", "events", "synced", "known", "gaps", "dead letters", "lag bytes"),
    *("event time", "epoch", "checkpoint time"),
)


def main(arguments: argparse.Namespace) -> int:
    """Print what running cowbooks do. Returns 1 if a symbol has failed, or one of several does not answer.

    Raises ServiceError if none answers.
    """
    if arguments.watch:
        if not sys.stdout.isatty():
            print("cowbook status: --watch needs a terminal: without it the status is printed once", file=sys.stderr)
            return 2
        from cowbook.cli.watch import watch

        return watch(lambda: fetch_all(arguments.urls))
    status = fetch_all(arguments.urls)
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        _print_table(status, status["symbols"])
    return has_failed(status)


def fetch(url: str) -> dict[str, Any]:
    """The status of the cowbook at a URL. Raises ServiceError if there is no answer, or none of cowbook's."""
    _, status = ask(url, "/status", seconds=10.0)
    if not isinstance(status, dict) or "symbols" not in status:
        raise ServiceError(f"{url} is not cowbook: its /status has no symbols")
    return status


def fetch_all(urls: Sequence[str]) -> dict[str, Any]:
    """The status of several cowbooks as one: all symbols, ready if each is.

    Those that do not answer are told under `unreachable`. Raises ServiceError if none answers.
    """
    if len(urls) == 1:
        return fetch(urls[0])
    statuses, errors = [], []
    for url in urls:
        try:
            statuses.append(fetch(url))
        except ServiceError as error:
            errors.append(error)
    if not statuses:
        raise errors[0]
    return {
        "version": ", ".join(dict.fromkeys(status["version"] for status in statuses)),
        "started": min(status["started"] for status in statuses),
        "shard": ", ".join(status.get("shard") or "-" for status in statuses),
        "ready": not errors and all(status["ready"] for status in statuses),
        "unreachable": [str(error) for error in errors],
        "symbols": [symbol for status in statuses for symbol in status["symbols"]],
    }


def has_failed(status: dict[str, Any]) -> int:
    """1 if a symbol has failed, or one of several does not answer, else 0."""
    return int(bool(status.get("unreachable")) or any(symbol["state"] == "failed" for symbol in status["symbols"]))


def _print_table(status: dict[str, Any], symbols: list[dict[str, Any]]) -> None:
    title = f"cowbook {status['version']}, {'ready' if status['ready'] else 'not ready'}, since {status['started']}"
    rows = []
    for symbol in symbols:
        shown = symbol | {"known": describe_known(symbol.get("known"))}
        rows.append([_cell(shown[column.replace(" ", "_")]) for column in _COLUMNS])
    console = plain_console()
    print_rows(console, _COLUMNS, rows, left=("id", "state"), heads=2, title=title)
    for shard in status.get("shards", ()):
        console.print(describe_shard(shard), soft_wrap=True)
    for problem in (*status.get("unreachable", ()), *(text for symbol in symbols for text in problems_of(symbol))):
        print_prose(console, problem)


def describe_shard(shard: dict[str, Any]) -> str:
    """One line about a shard of several machines, of a driver's status."""
    where = "" if shard["node"] is None else f" on {shard['node']} for {shard['since_seconds']:.0f} s"
    text = f"shard {shard['shard']}: {shard['state']}{where}, {shard['symbols']} symbols"
    if shard["takeovers"]:
        seconds = "" if shard["takeover_seconds"] is None else f", the last in {shard['takeover_seconds']:.1f} s"
        text += f"; taken over {shard['takeovers']} times{seconds}"
    return text


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
