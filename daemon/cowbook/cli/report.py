"""`cowbook report`: shows what can be trusted, per symbol and day."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from cowbook.cli.console import percent, plain_console
from cowbook.report.day_report import DayQuality, iso, make_total, read_report
from cowbook.report.verdict import WORDS, judge_day

_LEFT = ("symbol", "day", "verdict", "first", "last", "reason")
_COLUMNS = (
    *("symbol", "day", "verdict", "events", "verified", "refuted", "unsynced", "uncheckable", "synced"),
    *("best known", "grid known", "gaps", "missing", "judged", "wrong", "duplicates", "crossed", "dead letters"),
    *("first", "last", "reason"),
)
_LEGEND = WORDS | {
    "verified": "share of the depth messages after which the synced book was compared with something, and everything matched",
    "refuted": "depth messages after which a comparison failed while the book was synced",
    "unsynced": "depth messages after which the book was compared while it was not synced: neither verified nor refuted",
    "uncheckable": "depth messages after which nothing was there to compare the book with",
    "synced": "share of the levels of depth messages whose rows are synced",
    "best known": "share of event time in which the best bid and the best ask were known",
    "grid known": "share of event time in which all levels of a row of the stream book were known",
    "gaps, missing": "places where ids show that messages are missing, and how many ids, where that can be known",
    "judged, wrong": "depth snapshots that judged a synced book, and those that differed from what was known",
    "duplicates": "trades and depth messages that were there already, and were skipped",
    "crossed": "depth messages (in an output directory: rows of bbo) after which the best bid was above the best ask",
    "dead letters": "records that were rejected",
    "first, last": "times of the first and the latest event, in UTC",
}
"""What the words and columns mean."""

_WIDEST = 1000


def main(arguments: argparse.Namespace) -> int:
    """Print the days as a table, JSON or Markdown. Raises RecoveryError."""
    days = read_report(arguments.directory, arguments.symbol)
    if arguments.json:
        total = {name: value for name, value in make_total(days).to_json().items() if name not in _NOT_OF_TOTALS}
        total["verdicts"] = _count_verdicts(days)
        print(json.dumps({"days": [day.to_json() for day in days], "total": total, "legend": _LEGEND}, indent=2))
    elif arguments.markdown:
        print("\n".join(_markdown(days)))
    else:
        _print_table(days)
    return 0


_NOT_OF_TOTALS = ("symbol", "day", "verdict", "reason", "gap_sizes", "first_time", "last_time", "first_snapshot_time")


def _print_table(days: Sequence[DayQuality]) -> None:
    table = Table(box=SIMPLE, show_footer=True)
    for name, total in zip(_COLUMNS, _total_cells(days), strict=True):
        table.add_column(name, total, justify="left" if name in _LEFT else "right", no_wrap=True)
    for day in days:
        table.add_row(*_cells(day))
    console = plain_console(at_least=plain_console(at_least=_WIDEST).measure(table).maximum)
    console.print(table)
    width = max(map(len, _LEGEND))
    for word, meaning in _LEGEND.items():
        console.print(f"{word:{width}}  {meaning}", soft_wrap=True, highlight=False)


def _cells(day: DayQuality) -> list[str]:
    verdict = judge_day(day)
    return [day.symbol, day.day, verdict.word, *_figures(day), _clock(day.first_time), _clock(day.last_time), verdict.reason]


def _total_cells(days: Sequence[DayQuality]) -> list[str]:
    verdicts = ", ".join(f"{count:,} {word}" for word, count in _count_verdicts(days).items())
    return ["total", f"{len(days):,} {'day' if len(days) == 1 else 'days'}", "", *_figures(make_total(days)), "", "", verdicts]


def _count_verdicts(days: Sequence[DayQuality]) -> dict[str, int]:
    """Returns how many days have each verdict, in the order of the legend."""
    counts = Counter(judge_day(day).word for day in days)
    return {word: counts[word] for word in WORDS if counts[word]}


def _figures(day: DayQuality) -> list[str]:
    return [
        _count(day.events),
        percent(day.verified_percent, 2),
        _count(day.refuted),
        _count(day.compared_unsynced),
        _count(day.uncheckable),
        percent(day.synced_percent, 2),
        percent(day.best_known_percent, 2),
        percent(day.grid_known_percent, 2),
        _count(day.gaps),
        _count(day.missing_updates),
        _count(day.snapshots_judged),
        _count(day.snapshots_wrong),
        _count(day.duplicates),
        _count(day.crossed),
        _count(day.dead_letters),
    ]


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _clock(time: int | None) -> str:
    text = iso(time)
    return "" if text is None else text[11:19]


def _markdown(days: Sequence[DayQuality]) -> list[str]:
    total = [f"**{cell}**" if cell else "" for cell in _total_cells(days)]
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS), *(_cells(day) for day in days), total]
    table = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return [*table, "", *(f"* **{word}**: {meaning}" for word, meaning in _LEGEND.items())]
