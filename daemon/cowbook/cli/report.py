"""`cowbook report`: shows what can be trusted, per symbol and day."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.table import Table

from cowbook.cli.console import percent, plain_console, print_rows
from cowbook.plain.destination import replace
from cowbook.plain.escaping import escaped
from cowbook.plain.merge_state import COUNTED_KINDS, SourceFigures
from cowbook.report.day_report import DayQuality, count_verdicts, iso, make_total, read_report, read_sources, several_days
from cowbook.report.page import make_report_page
from cowbook.report.verdict import WORDS, judge_day

_LEFT = ("symbol", "day", "source", "verdict", "why", "first", "last")
_VERDICT_COLUMNS = ("symbol", "day", "verdict", "synced", "best known", "grid known", "why")
_COUNT_COLUMNS = (
    *("symbol", "day", "events", "verified", "refuted", "unsynced", "uncheckable", "gaps", "missing", "judged", "wrong"),
    *("near tickers", "duplicates", "crossed", "dead letters", "first", "last"),
)
_SOURCE_COLUMNS = (
    *("symbol", "source", "messages", "first", "skipped", "late", "contradicting"),
    *(f"missed {kind}" for kind in COUNTED_KINDS),
)
_Table = tuple[Sequence[str], list[list[str]], list[str]]
_LEGEND = WORDS | {
    "?": "the output directory alone does not know it: report on the state directory",
    "synced": "share of the levels of depth messages whose rows are synced",
    "best known": "share of event time in which the best bid and the best ask were known",
    "grid known": "share of event time in which all levels of a row of the stream book were known",
    "verified": "depth messages that matched, of those after which the synced book could be compared with something",
    "refuted": "depth messages after which a comparison failed while the book was synced",
    "unsynced": "depth messages after which the book was compared while it was not synced: neither verified nor refuted",
    "uncheckable": "depth messages after which nothing was there to compare the book with",
    "gaps, missing": "places where ids show that messages are missing, and how many ids, where that can be known",
    "judged, wrong": "depth snapshots that judged a synced book, and those that differed from what was known",
    "near tickers": "share of the tickers without ids that show a best bid and ask which the book had within 8 depth messages",
    "duplicates": "trades and depth messages that were there already, and were skipped",
    "crossed": "depth messages (in an output directory: rows of bbo) after which the best bid was above the best ask",
    "dead letters": "records that were rejected",
    "source": "of a symbol with several: its messages, those that it was the first with, those that another one had brought "
    "before, those that came too late, those that contradict the others, and what it alone would have missed",
    "first, last": "event times of the first and the latest message (in an output directory: row), in UTC",
}
"""What the words and columns mean."""

_NOT_OF_TOTALS = (
    "symbol",
    "day",
    "verdict",
    "reason",
    "gap_sizes",
    "gap_times",
    "first_time",
    "last_time",
    "first_snapshot_time",
)


def main(arguments: argparse.Namespace) -> int:
    """Print the days as a table, JSON or Markdown, or write a page. Raises as `read_report`, and ExportError for the page."""
    days = read_report(arguments.directory, arguments.symbol)
    sources = read_sources(arguments.directory, arguments.symbol)
    if arguments.json:
        total = {name: value for name, value in make_total(days).to_json().items() if name not in _NOT_OF_TOTALS}
        total["verdicts"] = count_verdicts(days)
        own = {name: [source.to_json() for source in figures] for name, figures in sources.items()}
        print(json.dumps({"days": [day.to_json() for day in days], "total": total, "sources": own, "legend": _LEGEND}, indent=2))
    elif arguments.markdown:
        print("\n".join(_markdown(_tables(days, sources))))
    elif arguments.html is not None:
        page = make_report_page(days, _tables(days, sources), _LEGEND)
        replace(arguments.html, page.encode())
    else:
        _print_tables(_tables(days, sources))
    return 0


def _print_tables(tables: Sequence[_Table]) -> None:
    console = plain_console()
    for columns, rows, total in tables:
        heads = columns.index("verdict") + 1 if "verdict" in columns else 2
        print_rows(console, columns, rows, left=_LEFT, heads=heads, total=total, box=SIMPLE)
    width = max(map(len, _LEGEND))
    console.print()
    legend = Table.grid(padding=(0, 2))
    legend.add_column(min_width=width, no_wrap=True)
    legend.add_column(overflow="fold")
    for word, meaning in _LEGEND.items():
        legend.add_row(word, meaning)
    if console.is_terminal:
        console.print(legend, highlight=False)
        return
    for word, meaning in _LEGEND.items():
        console.print(f"{word:{width}}  {meaning}", soft_wrap=True, highlight=False)


def _markdown(tables: Sequence[_Table]) -> list[str]:
    lines = []
    for columns, rows, total in tables:
        bold = [f"**{cell}**" if cell else "" for cell in total]
        table = [list(columns), ["---"] * len(columns), *rows, bold]
        lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in table]
        lines.append("")
    return [escaped(line) for line in lines] + [f"* **{word}**: {meaning}" for word, meaning in _LEGEND.items()]


def _tables(days: Sequence[DayQuality], sources: Mapping[str, Sequence[SourceFigures]]) -> list[_Table]:
    """Returns columns, rows and totals of the table of verdicts, of that of counts, and of that of sources, if there are any."""
    total, name = make_total(days), ["total", several_days(len(days))]
    verdicts = ", ".join(f"{word}: {several_days(count)}" for word, count in count_verdicts(days).items())
    judged = [[day.symbol, day.day, judge_day(day).word, *_shares(day), judge_day(day).reason] for day in days]
    counted = [[day.symbol, day.day, *_counts(day), _clock(day.first_time), _clock(day.last_time)] for day in days]
    return [
        (_VERDICT_COLUMNS, judged, [*name, "", *_shares(total), verdicts]),
        (_COUNT_COLUMNS, counted, [*name, *_counts(total), "", ""]),
        *([_source_table(sources)] if sources else []),
    ]


def _source_table(sources: Mapping[str, Sequence[SourceFigures]]) -> _Table:
    rows = [
        [symbol, source.name, *map(_count, counts), *(_missed(source, kind) for kind in COUNTED_KINDS)]
        for symbol, figures in sources.items()
        for source in figures
        for counts in [(source.messages, source.first, source.duplicates, source.late_records, source.contradictions)]
    ]
    return _SOURCE_COLUMNS, rows, [""] * len(_SOURCE_COLUMNS)


def _missed(source: SourceFigures, kind: str) -> str:
    """How many messages of a kind the source alone would have missed; a dash where it has none of the kind."""
    return _count(source.missed[kind]) if kind in source.missed else "-"


def _shares(day: DayQuality) -> list[str]:
    none = "?" if day.depth_messages is None else "-"  # not known, or there is nothing to have a share of
    shares = (day.synced_percent, day.best_known_percent, day.grid_known_percent)
    return [none if share is None else percent(share, 2) for share in shares]


def _counts(day: DayQuality) -> list[str]:
    verified = "?" if day.verified is None else f"{day.verified:,} of {day.comparable:,}"
    compared = (day.refuted, day.compared_unsynced, day.uncheckable)
    missing = (day.gaps, day.missing_updates, day.snapshots_judged, day.snapshots_wrong)
    others = (day.duplicates, day.crossed, day.dead_letters)
    near = "?" if day.tickers_near is None else "-" if day.near_percent is None else percent(day.near_percent, 2)
    return [_count(day.events), verified, *(_count(value) for value in (*compared, *missing)), near, *map(_count, others)]


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _clock(time: int | None) -> str:
    text = iso(time)
    return "" if text is None else text[11:19]
