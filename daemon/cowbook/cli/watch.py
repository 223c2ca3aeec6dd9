"""`cowbook status --watch`: the status of a running cowbook, live, with what is wrong first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cowbook.cli.console import plain_console
from cowbook.cli.status import has_failed
from cowbook.errors import ServiceError
from cowbook.plain.escaping import escaped
from cowbook.telemetry.status import TROUBLED, problems_of, urgency

_PAUSE_SECONDS = 1.0
_COLUMNS = ("id", "state", "events", "events/s", "synced", "gaps", "lag MB", "event age", "epoch")
_UNITS = ((31_536_000, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))

Status = dict[str, Any]


def watch(fetch: Callable[[], Status], *, looks: int | None = None, pause: float = _PAUSE_SECONDS) -> int:
    """Show the status until interrupted, or `looks` times. Returns 1 if a symbol has failed by then.

    Raises ServiceError if there is no answer at first. Later it is shown, and asked again.
    """
    console = plain_console()
    status = fetch()
    asked = time.monotonic()
    rates: dict[str, float] = {}
    problem = None
    live = Live(_render(console, status, rates, problem), console=console, screen=True, auto_refresh=False)
    with suppress(KeyboardInterrupt):  # that is how one stops looking
        try:
            live.start(refresh=True)
            while looks is None or (looks := looks - 1) > 0:
                time.sleep(pause)
                try:
                    newer, now, problem = fetch(), time.monotonic(), None
                    rates = _rates(status, newer, now - asked)
                    status, asked = newer, now
                except ServiceError as error:
                    rates, problem = {}, str(error)
                live.update(_render(console, status, rates, problem), refresh=True)
        finally:
            live.stop()  # also where the interrupt came while it started: the terminal must get its own screen back
    return has_failed(status)


def _rates(before: Status, after: Status, seconds: float) -> dict[str, float]:
    """Events per second of each symbol between two looks. A symbol that has begun anew has none."""
    events = {symbol["id"]: symbol["events"] for symbol in before["symbols"]}
    rates = {}
    for symbol in after["symbols"]:
        earlier, later = events.get(symbol["id"]), symbol["events"]
        if earlier is not None and later is not None and later >= earlier:
            rates[symbol["id"]] = (later - earlier) / max(seconds, 1e-9)
    return rates


def _render(console: Console, status: Status, rates: Mapping[str, float], problem: str | None) -> Group:
    """All that is shown: a line for the whole, what is wrong, and as many symbols as fit."""
    symbols = sorted(status["symbols"], key=urgency)
    states = ", ".join(f"{count} {state}" for state, count in Counter(symbol["state"] for symbol in symbols).items())
    head = Text(f"cowbook {status['version']}, {'ready' if status['ready'] else 'not ready'}: {states}", style="bold")
    lines = [f"{problem}: asked again, shown is the last answer"] if problem is not None else []
    lines += status.get("unreachable", [])
    lines += [text for symbol in symbols for text in problems_of(symbol)]
    room = max(4, console.height - 5)
    shown = lines[: room // 2]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more problems")
    troubles = [Text(escaped(line), style="red", no_wrap=True, overflow="ellipsis") for line in shown]
    places = max(1, room - len(shown))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("id", "state") else "right", no_wrap=True, overflow="ellipsis")
    now = datetime.now(UTC)
    for symbol in symbols[:places]:
        style = "red" if urgency(symbol) <= len(TROUBLED) else "yellow" if symbol["synced"] is False else ""
        table.add_row(*_cells(symbol, rates.get(symbol["id"]), now), style=style)
    rate = f"{sum(rates.values()):,.0f} events/s" if rates else ""
    more = f"and {len(symbols) - places} more symbols" if len(symbols) > places else ""
    foot = Text("  ".join(filter(None, (more, rate, f"{now:%H:%M:%S} UTC, Ctrl-C ends"))), style="dim")
    return Group(head, *troubles, table, foot)


def _cells(symbol: Mapping[str, Any], rate: float | None, now: datetime) -> list[str]:
    lag, synced = symbol["lag_bytes"], symbol["synced"]
    return [
        symbol["id"],
        symbol["state"],
        _count(symbol["events"]),
        "-" if rate is None else f"{rate:,.0f}",
        "-" if synced is None else "yes" if synced else "no",
        _count(symbol["gaps"]),
        "-" if lag is None else f"{lag / 1e6:,.1f}",
        _age(symbol["event_time"], now),
        _count(symbol["epoch"]),
    ]


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _age(time_text: str | None, now: datetime) -> str:
    """How long ago a time was, in the largest unit that fits."""
    if time_text is None:
        return "-"
    seconds = (now - datetime.fromisoformat(time_text)).total_seconds()
    return next((f"{seconds / size:.0f} {unit}" for size, unit in _UNITS if seconds >= size), f"{seconds:.0f} s")
