"""Reconstruct the recorded captures beside the checkout, and hold the result against what is known of them.

python tests/bench/captures.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.symbol.summary import SymbolSummary

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "hftbacktest"


@dataclass(frozen=True, slots=True)
class Capture:
    """Files that are one input, and how many of their tickers can be compared with a book (each of them matches)."""

    name: str
    files: tuple[str, ...]
    comparable: int
    trades: int


CAPTURES = {
    "spot-btcusdt": Capture("BTCUSDT", ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"), 1_072, 19_904),
    "usdm-ethusdt": Capture("ETHUSDT", ("usdm_ethusdt_20240808.gz",), 551, 14_076),
    "usdm-btcusdt": Capture("BTCUSDT", ("usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz"), 1_565, 12_935),
}


def reconstruct(directory: Path) -> list[SymbolSummary]:
    """Run all captures as the symbols of one configuration; parts go below `directory`."""
    text = ["[service]", 'output_dir = "data"']
    for symbol_id, capture in CAPTURES.items():
        paths = ", ".join(f'"{FOLDER / file}"' for file in capture.files)
        text += [
            "[[symbol]]",
            f'id = "{symbol_id}"',
            f'name = "{capture.name}"',
            'format = "binance"',
            f"paths = [{paths}]",
        ]
    path = directory / "cowbook.toml"
    path.write_text("\n".join(text))
    return run_once(load_config(path, {}))


def judged_and_known(summaries: Sequence[SymbolSummary]) -> list[str]:
    """Snapshots that judged a book, levels that they compared and that were wrong, shares of time known, and what came twice."""
    judged = sum(sum(summary.audits["snapshot"][outcome] for outcome in ("matched", "failed")) for summary in summaries)
    shares = []
    for depth in ("best", "grid"):
        known = [summary.known[depth] for summary in summaries if summary.known[depth] is not None]
        shares.append(f"{min(known):.1%}" if known else "?")
    return [
        f"{judged:,}",
        f"{sum(summary.levels_compared for summary in summaries):,}",
        f"{sum(summary.audits['snapshot']['failed'] for summary in summaries):,}",
        *shares,
        f"{sum(summary.duplicate_trades + summary.duplicate_messages for summary in summaries):,}",
    ]


def main() -> int:
    """Print the table; 1 when anything is not as it must be."""
    if not FOLDER.is_dir():
        print(f"the recorded captures are not there: {FOLDER}")
        return 1
    with tempfile.TemporaryDirectory() as directory:
        summaries = reconstruct(Path(directory))
    table = Table(title="recorded captures")
    for column in (
        "capture",
        "events",
        "trades known",
        "gaps",
        "tickers matched",
        "known",
        "failed",
        "judged",
        "levels",
        "wrong",
        "best known",
        "grid known",
        "twice",
        "dead letters",
        "M events/s",
    ):
        table.add_column(column, justify="left" if column == "capture" else "right")
    good = True
    for summary in summaries:
        capture = CAPTURES[summary.id]
        audits = summary.audits["bookTicker"]
        failed = audits["failed"] + audits["failed_unsynced"]
        dead = sum(summary.dead_letters.values())
        good &= summary.state == "done" and summary.gaps == failed == dead == 0
        good &= audits["matched"] + audits["matched_unsynced"] == capture.comparable
        table.add_row(
            summary.id,
            f"{summary.events:,}",
            f"{capture.trades:,}",
            str(summary.gaps),
            f"{audits['matched']:,}",
            f"{capture.comparable:,}",
            str(failed),
            *judged_and_known([summary]),
            str(dead),
            f"{summary.events / summary.seconds / 1e6:.1f}",
        )
    Console(width=150).print(table)
    print("as known" if good else "NOT as known")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
