"""`cowbook run`: shows progress while it runs, and a table at its end."""

from __future__ import annotations

import argparse
import asyncio
import glob
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cowbook.cli.console import fits, percent, plain_console, print_prose, print_rows
from cowbook.cli.progress import make_reporter
from cowbook.config import Config, load_config, output_directory_name
from cowbook.log import configure_logging
from cowbook.report.day_report import DayQuality, count_verdicts, several_days, split_days
from cowbook.report.verdict import judge_day, worst_of
from cowbook.symbol.input_check import refuse_unusable
from cowbook.symbol.summary import SymbolSummary

_SIDE_BY_SIDE = 4  # up to so many symbols get a column each; more get a line each, of at most 80 characters
_IN_A_LINE = ("symbol", "state", "verdict", "events", "gaps", "dead letters", "synced")


def main(arguments: argparse.Namespace) -> int:
    """Run as a service until stopped or, with --once, to the end of the input. Returns 1 if a symbol failed."""
    config = _load(arguments)
    refuse_unusable(config, str(arguments.config), once=arguments.once)
    configure_logging(config.log.level, config.log.format)
    if arguments.engine:
        from cowbook.cli.cluster import run_on_cluster

        return run_on_cluster(arguments, lambda: _load(arguments))
    if not arguments.once:
        return _serve(arguments, config)
    from cowbook.service.service import run_once

    # Progress goes to standard error, as the logs do, so that standard output has the result only.
    with make_reporter(plain_console(stderr=True), len(config.symbol)) as reporter:
        summaries = run_once(
            config, allow_fresh=arguments.allow_fresh, progress=reporter.update, compiling=reporter.update_compiling
        )
    print_summaries(summaries, config, as_json=arguments.json)
    return 1 if any(summary.state == "failed" for summary in summaries) else 0


def print_summaries(summaries: Sequence[SymbolSummary], config: Config, *, as_json: bool) -> None:
    """Print what came of a run with --once."""
    if as_json:
        print(json.dumps([to_json(summary) for summary in summaries], indent=2))
    else:
        show(summaries, config, plain_console())


def _serve(arguments: argparse.Namespace, config: Config) -> int:
    from cowbook.service.service import Service
    from cowbook.symbol.symbol_thread import LOOPS

    service = Service(lambda: _load(arguments), os.environ, allow_fresh=arguments.allow_fresh)
    with asyncio.Runner(loop_factory=LOOPS[config.service.loop]) as runner:
        return runner.run(service.run())


def _load(arguments: argparse.Namespace) -> Config:
    return load_config(arguments.config, os.environ, arguments.shard).of_shard()


def to_json(summary: SymbolSummary) -> dict[str, Any]:
    """A summary as JSON values: all figures, the worst verdict, and that on each day."""
    verdicts = {day.day: judge_day(day) for day in _days(summary)}
    days = [{"day": day, "verdict": verdict.word, "reason": verdict.reason} for day, verdict in verdicts.items()]
    return asdict(replace(summary, days=None)) | {"verdict": _worst(summary), "days": days}


def _days(summary: SymbolSummary) -> list[DayQuality]:
    return [] if summary.days is None else split_days(summary.id, summary.days)


def _worst(summary: SymbolSummary) -> str | None:
    """The verdict on the worst day; None without a day."""
    words = [judge_day(day).word for day in _days(summary)]
    return worst_of(words) if words else None


def _describe_verdict(summary: SymbolSummary) -> str:
    """The verdict on the only day, with its reason, or how many days have each."""
    days = _days(summary)
    if len(days) == 1:
        verdict = judge_day(days[0])
        return f"{verdict.word}: {verdict.reason}"
    return ", ".join(f"{word}: {several_days(count)}" for word, count in count_verdicts(days).items())


def show(summaries: Sequence[SymbolSummary], config: Config, console: Console) -> None:
    """Print a run's table, its warnings and errors, where the parts are, and a query over them."""
    if not summaries:
        console.print(f"Shard {config.service.shard} has no symbol: nothing was to be done.")
        return
    _print_table(summaries, config.output.book_levels, console)
    for summary in summaries:
        for warning in summary.warnings:
            print_prose(console, f"note: {summary.id}: {warning}")
        if summary.error is not None:
            print_prose(console, f"failed: {summary.id}: {summary.error}", style="red")
    written = [summary for summary in summaries if summary.parts]
    if written:
        console.print(f"The parts are in {written[0].output}/<stream>/symbol=<id>/date=<day>/.", soft_wrap=True)
    query = _make_query(written, config)
    if query:
        console.print("A query for DuckDB:")
        console.print()
        console.print(Text(query), soft_wrap=True, highlight=False)


def _print_table(summaries: Sequence[SymbolSummary], book_levels: int, console: Console) -> None:
    """The table of a run: few symbols side by side with all figures if that fits, else a line each with the main ones."""
    rows = [_make_row(summary, book_levels) for summary in summaries]
    if len(rows) <= _SIDE_BY_SIDE:
        table = Table(title="cowbook", show_header=False)
        table.add_column(style="bold", no_wrap=True)
        for _ in rows:
            table.add_column(justify="right", overflow="fold")
        for key in rows[0]:
            if any(row[key] for row in rows):
                table.add_row(key, *(row[key] for row in rows))
        if len(rows) == 1 or fits(console, table):
            console.print(table)
            return
    lines = []
    for summary, row in zip(summaries, rows, strict=True):
        cells = row | {"gaps": f"{summary.gaps:,}", "verdict": _worst(summary) or "-"}
        lines.append([cells[column] for column in _IN_A_LINE])
    print_rows(console, _IN_A_LINE, lines, left=("symbol", "verdict"), heads=3, title="cowbook")


def _make_row(summary: SymbolSummary, book_levels: int) -> dict[str, str]:
    """A symbol's figures for the table, by their label; empty where there is nothing to say."""
    rate = (summary.events - summary.recovered_events) / max(summary.seconds, 1e-9)
    return {
        "symbol": summary.id,
        "state": summary.state,
        "verdict": _describe_verdict(summary),
        "events": f"{summary.events:,}",
        "messages": f"{summary.messages:,}",
        "gaps": f"{summary.gaps:,} ({summary.missing_updates:,} ids missing)" if summary.gaps else "0",
        "stale": f"{summary.stale:,}",
        "snapshots": _describe_snapshots(summary),
        "known": _describe_known(summary, book_levels),
        "audits": _describe_audits(summary),
        "books": _describe_books(summary),
        "tickers": _describe_tickers(summary),
        "duplicates": _describe_duplicates(summary),
        "time resets": f"{summary.time_resets:,}" if summary.time_resets else "",
        "foreign snapshots": f"{summary.foreign_snapshots:,}" if summary.foreign_snapshots else "",
        "crossed": f"{summary.crossed:,}",
        "dead letters": f"{sum(summary.dead_letters.values()):,}",
        "synced": "yes" if summary.synced else "no",
        "parts": f"{summary.parts:,} ({summary.part_bytes / 1e6:.1f} MB)",
        "checkpoints": _describe_checkpoints(summary),
        "seconds": f"{summary.seconds:.1f} ({rate / 1e6:.1f} M events/s)",
    }


def _describe_books(summary: SymbolSummary) -> str:
    """How many books, one after each depth message, were compared with something, and the outcomes."""
    verified = summary.compared - summary.compared_unsynced - summary.refuted
    uncheckable = summary.depth_messages - summary.compared
    unsynced = f", {summary.compared_unsynced:,} unsynced" if summary.compared_unsynced else ""
    return f"{verified:,} verified, {summary.refuted:,} refuted{unsynced}, {uncheckable:,} uncheckable"


def _describe_snapshots(summary: SymbolSummary) -> str:
    """How many snapshots judged the book, and what became of their levels."""
    text = f"{summary.witnesses:,} judged"
    if summary.witnesses:
        text += (
            f", {summary.levels_compared:,} levels compared, {summary.levels_wrong:,} wrong, {summary.levels_learned:,} learned"
        )
    return text


def _describe_known(summary: SymbolSummary, book_levels: int) -> str:
    """During which share of event time the best levels, and all levels of the grid, were known."""
    best, grid = summary.known.get("best"), summary.known.get("grid")
    if best is None or grid is None:
        return "no time has passed"
    return f"best {percent(100 * best)}, {book_levels} levels {percent(100 * grid)} of the time"


def _describe_audits(summary: SymbolSummary) -> str:
    """The outcomes of all comparisons. Those of an unsynced book prove nothing, and stand apart."""

    def count(outcome: str) -> int:
        return sum(outcomes[outcome] for outcomes in summary.audits.values())

    text = f"{count('matched'):,} matched, {count('failed'):,} failed"
    matched, failed = count("matched_unsynced"), count("failed_unsynced")
    return text + (f"; unsynced: {matched:,} matched, {failed:,} failed" if matched or failed else "")


def _describe_tickers(summary: SymbolSummary) -> str:
    """How many tickers without ids show a state that the book had shortly before or after them."""
    near, far = summary.tickers_near, summary.tickers_far
    return f"{near:,} near the book, {far:,} far from it ({percent(100 * near / (near + far))} near)" if near + far else ""


def _describe_duplicates(summary: SymbolSummary) -> str:
    counts = {"trades": summary.duplicate_trades, "messages": summary.duplicate_messages}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _describe_checkpoints(summary: SymbolSummary) -> str:
    text = f"{summary.checkpoints:,} taken"
    if summary.checkpoints_failed:
        text += f", {summary.checkpoints_failed:,} failed"
    if summary.recovered_epoch is not None:
        text += f", continued from {summary.recovered_epoch}"
    if summary.restarts:
        text += f", {summary.restarts:,} restarts"
    return text


def _make_query(written: Sequence[SymbolSummary], config: Config) -> str | None:
    """A query over the `bbo` of the first symbol that has a book, to paste into DuckDB; None if none was written.

    DuckDB truncates only times in µs, hence the cast. A plain UTC time looks the same everywhere and needs no pytz in Python.
    """
    symbol = next((summary for summary in written if summary.depth_messages), None)
    if symbol is None or "bbo" not in config.output.streams:
        return None
    place = f"{symbol.output}/bbo/symbol={output_directory_name(symbol.id)}"  # a URL, maybe
    pattern = f"{glob.escape(place)}/*/*.parquet".replace("'", "''")
    return (
        "SELECT date_trunc('minute', ts_event::TIMESTAMPTZ AT TIME ZONE 'UTC') AS minute,\n"
        "       arg_max(bid_price, event_index) AS bid, arg_max(ask_price, event_index) AS ask,\n"
        "       avg(ask_price - bid_price) AS spread, count(*) AS changes\n"
        f"FROM read_parquet('{pattern}', hive_partitioning = true)\n"
        "WHERE synced GROUP BY minute ORDER BY minute;"
    )
