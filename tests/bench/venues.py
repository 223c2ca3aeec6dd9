"""Reconstruct the recorded captures of all venues beside the checkout, each symbol by one table of a configuration.

python tests/bench/venues.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.captures import judged_and_known
from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.symbol.summary import SymbolSummary
from support.venue_captures import CAPTURES, Capture

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def reconstruct(directory: Path) -> list[SymbolSummary]:
    """Run all captures as the symbols of one configuration; parts go below `directory`."""
    text = ['[service]\noutput_dir = "data"\n[log]\nlevel = "warning"\n']
    for number, capture in enumerate(CAPTURES):
        paths = json.dumps([str(FOLDER / path) for path in capture.paths])
        text.append(
            f'[[symbol]]\nid = "{number}"\nname = "{capture.symbol}"\nformat = "{capture.venue}"\npaths = {paths}\n'
            f"price_decimals = {capture.price_decimals}\n"
        )
    path = directory / "cowbook.toml"
    path.write_text("".join(text))
    return run_once(load_config(path, {}))


def is_as_known(capture: Capture, summary: SymbolSummary) -> bool:
    """Whether all that can be checked matched, and nothing was lost."""
    checksums, tickers = summary.audits["checksum"], summary.audits["bookTicker"]
    failed = sum(outcomes["failed"] + outcomes["failed_unsynced"] for outcomes in (checksums, tickers))
    return (
        summary.state == "done"
        and (summary.synced, summary.gaps) == (capture.synced, capture.gaps)
        and summary.crossed == failed == sum(summary.dead_letters.values()) == 0
        and (checksums["matched"], tickers["matched"]) == (capture.checksums, capture.tickers)
    )


def main() -> int:
    """Print a line for each capture; 1 when anything is not as it must be."""
    if not FOLDER.is_dir():
        print(f"the recorded captures are not there: {FOLDER}")
        return 1
    with tempfile.TemporaryDirectory() as directory:
        pairs = list(zip(CAPTURES, reconstruct(Path(directory)), strict=True))
    table = Table(title="recorded captures of all venues")
    for column in (
        "format",
        "capture",
        "symbols",
        "events",
        "trades and depth messages",
        "gaps",
        "checksums",
        "tickers",
        "judged",
        "levels",
        "wrong",
        "best known",
        "grid known",
        "twice",
        "as known",
    ):
        table.add_column(column, justify="left" if column in ("format", "capture") else "right")
    for venue, paths in dict.fromkeys((capture.venue, capture.paths) for capture in CAPTURES):
        own = [(capture, summary) for capture, summary in pairs if (capture.venue, capture.paths) == (venue, paths)]
        matched = [
            f"{sum(summary.audits[kind]['matched'] for _, summary in own):,} of {known:,}" if known else ""
            for kind, known in (
                ("checksum", sum(capture.checksums for capture, _ in own)),
                ("bookTicker", sum(capture.tickers for capture, _ in own)),
            )
        ]
        table.add_row(
            venue,
            paths[-1].rpartition("/")[2] if venue == "binance" else paths[0].rpartition("/")[2],
            str(len(own)),
            f"{sum(summary.events for _, summary in own):,}",
            f"{sum(summary.messages for _, summary in own):,}",
            str(sum(summary.gaps for _, summary in own)),
            *matched,
            *judged_and_known([summary for _, summary in own]),
            f"{sum(is_as_known(*pair) for pair in own)} of {len(own)}",
        )
    Console(width=220).print(table)
    good = all(is_as_known(*pair) for pair in pairs)
    print("as known" if good else "NOT as known")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
