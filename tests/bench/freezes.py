"""How long checkpoints stop a daemon that follows a growing file: what its own metric of the freeze says, over many checkpoints.

python tests/bench/freezes.py [--checkpoints 300] [--levels N…]

The daemon is a process of its own, with its default settings. A file grows by some lines every few milliseconds, all over the
book, while checkpoints are asked for one after the other. A second process keeps another core busy. In one of the cases
`/metrics` is asked for without a pause.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from support.daemon_process import DaemonProcess

_CONFIG = """
[checkpoint]
every_events = 1_000_000_000
every = "1h"
min_pause = "0s"
[log]
format = "json"
[[symbol]]
name = "X"
format = "binance"
paths = ["{path}"]
follow = true
max_line_bytes = 268_435_456
"""
_APPEND_SECONDS = 0.004
_LINES = 5  # of an append
_LEVELS = 20  # of a line
_START_MS = 1_700_000_000_000
_PATIENCE_SECONDS = 60.0
BARS = {"p50": 30.0, "p99": 100.0, "p99, scraped": 1000.0}
"""Most microseconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """A depth of the book, and whether metrics are asked for without a pause."""

    levels: int
    is_scraped: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.levels:,} levels" + (", scraped" if self.is_scraped else "")


def snapshot_line(levels: int) -> str:
    """A depth snapshot: half of the levels on each side."""
    half = levels // 2
    bids = ",".join(f'["{half - place}.00","1.{place % 10}"]' for place in range(half))
    asks = ",".join(f'["{half + 1 + place}.00","1.{place % 10}"]' for place in range(half))
    return f'{{"lastUpdateId":1,"E":{_START_MS},"bids":[{bids}],"asks":[{asks}]}}\n'


def diff_lines(rng: random.Random, first: int, half: int) -> bytes:
    """Some diffs all over the book, from an id on."""
    lines = []
    for number in range(first, first + _LINES):
        sides = []
        for lowest in (1, half + 1):
            prices = (lowest + rng.randrange(half) for _ in range(_LEVELS // 2))
            sides.append(",".join(f'["{price}.00","{rng.randrange(1, 9)}.5"]' for price in prices))
        head = f'{{"e":"depthUpdate","E":{_START_MS + number},"s":"X","U":{number},"u":{number}'
        lines.append(f'{head},"b":[{sides[0]}],"a":[{sides[1]}]}}\n')
    return "".join(lines).encode()


class Appender(threading.Thread):
    """Has the file grow, until it is stopped."""

    def __init__(self, path: Path, levels: int) -> None:
        super().__init__(daemon=True)
        self._path, self._half = path, levels // 2
        self._ends = threading.Event()

    def run(self) -> None:
        """Append some lines, and wait."""
        rng, number = random.Random(self._half), 2
        with self._path.open("ab", buffering=0) as file:
            while not self._ends.wait(_APPEND_SECONDS):
                file.write(diff_lines(rng, number, self._half))
                number += _LINES

    def stop(self) -> None:
        """Stop."""
        self._ends.set()
        self.join()


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes without a pause."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def scraping(daemon: DaemonProcess) -> Iterator[None]:
    """Ask for /metrics without a pause."""
    ends = threading.Event()

    def scrape() -> None:
        while not ends.is_set():
            with suppress(OSError):
                daemon.get("/metrics")

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


class Log:
    """What a daemon has logged since it was last looked at."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def freezes(self) -> list[float]:
        """Microseconds of the freezes of new checkpoints."""
        return [json.loads(line)["frozen_ms"] * 1e3 for line in self._file if b'"checkpoint"' in line and b"frozen_ms" in line]


def measure(directory: Path, case: Case, checkpoints: int) -> list[float]:
    """Microseconds of so many freezes."""
    directory.mkdir()
    capture, config = directory / "capture.jsonl", directory / "cowbook.toml"
    capture.write_text(snapshot_line(case.levels))
    config.write_text(_CONFIG.format(path=capture))
    with ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(config))
        appender = Appender(capture, case.levels)
        appender.start()
        stack.callback(appender.stop)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b"ready" not in daemon.log_path.read_bytes():
            assert time.monotonic() < deadline, daemon.log_path.read_text()
            time.sleep(0.1)
        time.sleep(1.0)
        stack.enter_context(busy_core())
        if case.is_scraped:
            stack.enter_context(scraping(daemon))
        log = Log(daemon.log_path)
        seconds: list[float] = []
        while len(seconds) < checkpoints + 1:
            daemon.send(signal.SIGUSR1)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not (new := log.freezes()):
                assert time.monotonic() < deadline, "no checkpoint"
                time.sleep(0.002)
            seconds += new
        daemon.stop()
    return seconds[1:]  # without that of the snapshot


def main() -> int:
    """Measure, print, and say whether the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=300)
    parser.add_argument("--levels", type=int, nargs="*", default=[1_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    cases = [*(Case(levels) for levels in arguments.levels), *(Case(levels, is_scraped=True) for levels in arguments.levels[:2])]
    table = Table(title=f"the freeze in a daemon that follows a file, {arguments.checkpoints} checkpoints each, µs")
    for column in ("", "p50", "p90", "p99", "max", "bars"):
        table.add_column(column, justify="right" if column else "left")
    holds = True
    with tempfile.TemporaryDirectory() as temporary:
        for number, case in enumerate(cases):
            times = sorted(measure(Path(temporary) / str(number), case, arguments.checkpoints))
            p50, p90, p99 = statistics.median(times), times[int(len(times) * 0.9)], times[int(len(times) * 0.99)]
            good = p99 <= BARS["p99, scraped"] if case.is_scraped else p50 <= BARS["p50"] and p99 <= BARS["p99"]
            holds = holds and good
            table.add_row(case.name, f"{p50:.0f}", f"{p90:.0f}", f"{p99:.0f}", f"{times[-1]:.0f}", "held" if good else "missed")
    Console(width=100).print(table)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
