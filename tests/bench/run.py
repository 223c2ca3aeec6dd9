"""Speed, as ratios against what people use today, measured in turn in one run on one core.

python tests/bench/run.py [--messages N] [--rounds N] [--history FILE] [CAPTURE NAME]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.baselines import prepare_nautilus, run_dict_loop, run_nautilus, run_order_book
from bench.pipeline import LoadedCapture, depth_levels, run_ladder, run_stages
from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.symbol.warm import warm

_REPOSITORY = Path(__file__).resolve().parents[2]
_CONFIG = """
[service]
output_dir = "data"
state_dir = "state"
[[symbol]]
name = "{name}"
format = "binance"
paths = ["{path}"]
"""


def run_pipeline(capture: LoadedCapture, directory: Path) -> tuple[int, float]:
    """The whole of it, from the file to published parts of all streams: (events, seconds)."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config_path = directory / "cowbook.toml"
    config_path.write_text(_CONFIG.format(name=capture.name, path=capture.path))
    config = load_config(config_path, {})
    started = time.perf_counter()
    (summary,) = run_once(config)
    assert summary.state == "done", summary.error
    return summary.events, time.perf_counter() - started


def nanoseconds(result: tuple[int, float]) -> float:
    """Nanoseconds a level."""
    return result[1] / result[0] * 1e9


def measure(subjects: dict[str, Callable[[], tuple[int, float]]], rounds: int) -> dict[str, list[float]]:
    """Nanoseconds a level of each subject in each round, after one round that does not count."""
    results: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, subject in subjects.items():
            figure = nanoseconds(subject())
            if number:
                results[name].append(figure)
    return results


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", type=Path, help="a plain Binance capture with 19-digit receive times")
    parser.add_argument("name", nargs="?", default="BTCUSDT")
    parser.add_argument("--messages", type=int, default=150_000, help="depth diffs of the simulated capture")
    parser.add_argument("--history", type=Path, help="append what was measured to this file, as a line of JSON")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warm()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        path = arguments.capture
        if path is None:
            path = directory / "capture.jsonl"
            write_capture(path, symbol=arguments.name, messages=arguments.messages, seed=7)
        console = Console(width=110)
        versions = f"Python {platform.python_version()}, numpy {np.__version__}"
        console.print(f"{versions}, one core, {arguments.rounds} rounds in turn, medians")
        capture = LoadedCapture(path.resolve(), arguments.name)
        captures = {"with tickers": report(capture, directory / "run", arguments.rounds, console)}
        without_tickers = directory / "without_tickers.jsonl"
        without_tickers.write_bytes(b"".join(line + b"\n" for line in capture.lines if b"bookTicker" not in line))
        del capture
        second = LoadedCapture(without_tickers, arguments.name)
        captures["without tickers"] = report(second, directory / "run", arguments.rounds, console, alone=True)
    if arguments.history is not None:
        append_history(arguments.history, arguments.rounds, captures)


def append_history(path: Path, rounds: int, captures: dict[str, Any]) -> None:
    """Append a line that says what was measured, of which commit, where, and against what."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=_REPOSITORY)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "peer": f"order-book {importlib.metadata.version('order-book')}",
        "rounds": rounds,
        "captures": captures,
    }
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def machine() -> str:
    """What this is measured on."""
    names = {line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line}
    return f"{', '.join(sorted(names)) or platform.machine()}, {os.cpu_count()} cores"


def report(capture: LoadedCapture, directory: Path, rounds: int, console: Console, *, alone: bool = False) -> dict[str, Any]:
    """Measure all subjects on a capture and print them; the ladder alone, too, if asked.

    Returns of each subject: ns a level, and how many times as fast as order-book it is, as median, least and greatest.
    """
    events, _ = run_stages(capture, apply=True)
    results = measure(
        {
            "order-book": lambda: (events, run_order_book(capture.lines)[1]),
            "dict loop": lambda: (events, run_dict_loop(capture.lines)[1]),
            "decode": lambda: (events, run_stages(capture, apply=False)[1]),
            "decode + apply": lambda: run_stages(capture, apply=True),
            "whole pipeline": lambda: run_pipeline(capture, directory),
        },
        rounds,
    )
    order_book = f"orjson + order-book {importlib.metadata.version('order-book')}"
    megabytes = capture.size_bytes / 1e6
    table = Table(title=f"{capture.path.name}: {megabytes:.0f} MB, {len(capture.lines):,} records, {events:,} levels and trades")
    found: dict[str, Any] = {}
    for column in ("", "ns/level", "M levels/s", f"x {order_book}", "least to greatest", "x dict loop"):
        table.add_column(column, justify="right" if column else "left")
    for name, figures in results.items():
        ratios, to_dicts = (
            sorted(base / figure for base, figure in zip(results[other], figures, strict=True))
            for other in ("order-book", "dict loop")
        )
        median, ratio = statistics.median(figures), statistics.median(ratios)
        spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        table.add_row(name, f"{median:.1f}", f"{1000 / median:.2f}", f"{ratio:.1f}", spread, f"{statistics.median(to_dicts):.1f}")
        found[name] = {
            "ns": round(median, 1),
            "ratio": round(ratio, 1),
            "least": round(ratios[0], 1),
            "most": round(ratios[-1], 1),
        }
    console.print(table)
    if alone:
        report_ladder(capture, rounds, console)
    return found


def report_ladder(capture: LoadedCapture, rounds: int, console: Console) -> None:
    """The ladder alone, against nautilus_trader's book where that is installed."""
    messages = depth_levels(capture, 600_000)
    prepared = prepare_nautilus(messages)
    levels = np.array([level for message in messages for level in message], np.int64)
    own: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        own.append(nanoseconds(run_ladder(levels)))
        if prepared is not None:
            ratios.append(nanoseconds(run_nautilus(prepared)) / own[-1])
    text = f"ladder alone: {statistics.median(own):.1f} ns/level, {1000 / statistics.median(own):.0f} M levels/s"
    if ratios:
        version = importlib.metadata.version("nautilus_trader")
        text += f", {statistics.median(ratios):.1f} x nautilus_trader {version}'s apply_deltas"
    else:
        text += " (nautilus_trader is not installed)"
    console.print(text)


if __name__ == "__main__":
    main()
