"""What checkpoints cost: how long the freeze stops processing, what throughput they take, and how long recovery needs.

python tests/bench/checkpoints.py [--checkpoints N] [--rounds N] [--gigabytes G]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import prometheus_client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from bench.memory import make_capture
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.capture.follower import Follower
from cowbook.checkpoint.load import read_checkpoint
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import MANUAL, TriggerSettings
from cowbook.config import load_config
from cowbook.input.settings import DecoderSettings
from cowbook.service.service import run_once
from cowbook.symbol.attempt import Outcome
from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.symbol_worker import SymbolWorker
from cowbook.symbol.warm import warm

_BLOCK_BYTES = 1 << 17
_NEVER = TriggerSettings(every_events=10**14, every=10**18, min_pause=0)


@dataclass(slots=True)
class Measured:
    """What a run with many checkpoints showed."""

    freeze_seconds: list[float] = field(default_factory=list)
    blocks_used: list[int] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)
    block_copies: int = 0
    block_bytes: int = 0
    kept_bytes: list[int] = field(default_factory=list)


class PacedWorker(SymbolWorker):
    """Takes a checkpoint after every block, goes on with the next block meanwhile, and then waits for the checkpoint."""

    measured: Measured

    def _note_outcome(self, outcome: Outcome) -> None:
        super()._note_outcome(outcome)
        if outcome.trigger == MANUAL:
            self.measured.freeze_seconds.append(outcome.frozen_seconds)

    async def _consume(self, pipeline: Pipeline) -> None:
        measured = self.measured = Measured()
        process = psutil.Process()
        follower = pipeline.follower
        assert isinstance(follower, Follower)
        while (block := await follower.next_block()) is not None and not block.final:
            if pipeline.engine.event_count == 0:  # the snapshot is a line of many blocks
                await pipeline.process(block)
                continue
            request = pipeline.checkpointer.request()
            await pipeline.process(block)
            following = await follower.next_block()
            if following is None or following.final:
                break
            await pipeline.process(following)
            measured.blocks_used.append(pipeline.engine.pool_statistics()["blocks_used"])
            measured.kept_bytes.append(pipeline.engine.kept_bytes)
            await request
            measured.resident_bytes.append(process.memory_info().rss)
        statistics_now = pipeline.engine.pool_statistics()
        measured.block_copies, measured.block_bytes = statistics_now["block_copies"], statistics_now["block_bytes"]


def write_deep_capture(path: Path, levels: int, blocks: int) -> None:
    """A snapshot with `levels` levels, and diffs all over them: as much as `blocks` blocks."""
    rng = random.Random(levels)
    half = levels // 2
    with path.open("w") as file:
        bids = ",".join(f'["{half - place}.00","1.{place % 10}"]' for place in range(half))
        asks = ",".join(f'["{half + 1 + place}.00","1.{place % 10}"]' for place in range(half))
        file.write(f'{{"lastUpdateId":1,"E":1700000000000,"bids":[{bids}],"asks":[{asks}]}}\n')
        written = 0
        for number in itertools.count(2):
            sides = []
            for first in (1, half + 1):
                prices = (first + rng.randrange(half) for _ in range(10))
                sides.append(",".join(f'["{price}.00","{rng.randrange(1, 9)}.5"]' for price in prices))
            line = (
                f'{{"e":"depthUpdate","E":{1700000000000 + number},"s":"BTCUSDT","U":{number},"u":{number},'
                f'"b":[{sides[0]}],"a":[{sides[1]}]}}\n'
            )
            written += file.write(line)
            if written > blocks * _BLOCK_BYTES:
                return


def settings(directory: Path, path: Path) -> WorkerSettings:
    """A worker on one file, without triggers of its own."""
    return WorkerSettings(
        id="BTCUSDT",
        directory_name="BTCUSDT",
        format="binance",
        paths=(path,),
        state_dir=directory / "state",
        output_dir=directory / "data",
        on_bad_record="skip",
        decoder=DecoderSettings("BTCUSDT", 8, 8, 1 << 28),
        engine=EngineSettings(),
        compression="zstd",
        fingerprint={"price_decimals": 8, "size_decimals": 8},
        checkpoints=CheckpointSettings(_NEVER),
        block_bytes=_BLOCK_BYTES,
    )


def measure_freezes(directory: Path, levels: int, checkpoints: int) -> Measured:
    """Many checkpoints of a book of so many levels."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    path = directory / "capture.jsonl"
    write_deep_capture(path, levels, 2 * checkpoints + 8)
    gc.collect()
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
        worker = PacedWorker(settings(directory, path), readers, writers)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            summary = runner.run(worker.run())
    assert summary.state == "done", summary.error
    assert len(worker.measured.freeze_seconds) >= checkpoints
    return worker.measured


class Scraper(threading.Thread):
    """Renders metrics as often as it can."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        registry = prometheus_client.CollectorRegistry()
        histogram = prometheus_client.Histogram("seconds", "times", ["symbol"], registry=registry)
        for number in range(50):
            histogram.labels(str(number)).observe(0.1)
        self._registry = registry
        self._ends = threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        while not self._ends.wait(0.001):
            prometheus_client.generate_latest(self._registry)

    def stop(self) -> None:
        """Stop."""
        self._ends.set()
        self.join()


def report_freezes(directory: Path, checkpoints: int, console: Console) -> None:
    """Freeze, copies, pool and memory by the number of levels."""
    table = Table(title=f"freeze, over {checkpoints} checkpoints each")
    for name in (
        "levels",
        "p50 µs",
        "p99 µs",
        "max µs",
        "copies each",
        "pool MB, least to most",
        "kept diffs MB, most",
        "RSS MB after 1/6, 3/6, 4/6, 5/6, all",
    ):
        table.add_column(name, justify="right")
    for levels, scrapes in ((1_000, False), (100_000, False), (1_000_000, False), (100_000, True)):
        scraper = Scraper()
        if scrapes:
            scraper.start()
        measured = measure_freezes(directory, levels, checkpoints)
        if scrapes:
            scraper.stop()
        times = sorted(seconds * 1e6 for seconds in measured.freeze_seconds)
        count = len(times)
        pool = [used * measured.block_bytes / 1e6 for used in measured.blocks_used]
        table.add_row(
            f"{levels:,}" + (", scraped" if scrapes else ""),
            f"{times[count // 2]:.0f}",
            f"{times[int(count * 0.99)]:.0f}",
            f"{times[-1]:.0f}",
            f"{measured.block_copies / count:.0f}",
            f"{min(pool):.1f} to {max(pool):.1f}",
            f"{max(measured.kept_bytes) / 1e6:.1f}",
            " / ".join(f"{measured.resident_bytes[count * part // 6 - 1] / 1e6:.0f}" for part in (1, 3, 4, 5, 6)),
        )
    console.print(table)


_CONFIG = """
[service]
output_dir = "data"
state_dir = "state"
[checkpoint]
every_events = {every_events}
every = "{every}"
min_pause = "{min_pause}"
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["{directory}/capture-*.jsonl"]
"""

_VARIANTS = {
    "no checkpoints": (10**14, "366d", "1s"),
    "default triggers": (1_000_000, "5min", "1s"),
    "every 1M events, no pause": (1_000_000, "5min", "0s"),
}


def run_variant(directory: Path, variant: str) -> tuple[float, int]:
    """Events per second, and checkpoints, of a whole run."""
    shutil.rmtree(directory / "run", ignore_errors=True)
    (directory / "run").mkdir()
    path = directory / "run" / "cowbook.toml"
    every_events, every, min_pause = _VARIANTS[variant]
    path.write_text(_CONFIG.format(every_events=every_events, every=every, min_pause=min_pause, directory=directory))
    started = time.perf_counter()
    (summary,) = run_once(load_config(path, {}))
    seconds = time.perf_counter() - started
    assert summary.state == "done", summary.error
    return summary.events / seconds, summary.checkpoints


def report_throughput(directory: Path, rounds: int, gigabytes: float, console: Console) -> None:
    """Throughput with and without checkpoints, in turn."""
    make_capture(directory, int(gigabytes * 1e9))
    rates: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    counts = {}
    for number in range(rounds + 1):
        names = list(_VARIANTS) if number % 2 else list(reversed(_VARIANTS))
        for name in names:
            rate, counts[name] = run_variant(directory, name)
            if number:
                rates[name].append(rate)
    table = Table(title=f"throughput, {rounds} rounds in turn, medians")
    for column in ("", "M events/s", "checkpoints", "x no checkpoints"):
        table.add_column(column, justify="right" if column else "left")
    for name, figures in rates.items():
        ratio = statistics.median(mine / base for mine, base in zip(figures, rates["no checkpoints"], strict=True))
        table.add_row(name, f"{statistics.median(figures) / 1e6:.2f}", str(counts[name]), f"{ratio:.3f}")
    console.print(table)


def report_recovery(directory: Path, console: Console) -> None:
    """Loading and verifying a checkpoint with 100,000 levels, and a whole process from its start to the first event."""
    measure_freezes(directory, 100_000, 3)
    checkpoints = directory / "state" / "BTCUSDT" / "checkpoints"
    newest = max(checkpoints.iterdir(), key=lambda path: int(path.name))
    times = []
    for _ in range(20):
        started = time.perf_counter()
        checkpoint = read_checkpoint(newest, "BTCUSDT", os.getuid())
        OrderBookEngine.restore(EngineSettings(), checkpoint.state.order_book_state)
        times.append((time.perf_counter() - started) * 1e3)
    rows = len(checkpoint.state.order_book_state.rows["depth_prices"])
    levels = checkpoint.state.levels
    console.print(
        f"recovery of {levels:,} levels and {rows:,} open rows: load, verify and restore in {statistics.median(times):.0f} ms "
        f"(worst of 20: {max(times):.0f} ms)"
    )
    console.print(f"process start to the first event after recovery: {restart_seconds(directory):.2f} s (best of 3)")


def restart_seconds(directory: Path) -> float:
    """From starting a process that recovers to its first message applied, as its log says; the best of three."""
    run = directory / "restart"
    run.mkdir()
    capture = directory / "capture.jsonl"
    config = run / "cowbook.toml"
    config.write_text(
        _CONFIG.format(every_events=10**14, every="366d", min_pause="1s", directory=run) + "max_line_bytes = 268435456\n"
    )
    content = capture.read_bytes()
    cuts = [content.rfind(b"\n", 0, int(len(content) * share)) + 1 for share in (0.4, 0.6, 0.8, 1)]
    target = run / "capture-0.jsonl"
    seconds: list[float] = []
    for cut in cuts:
        target.write_bytes(content[:cut])
        started = time.time()
        command = [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
        environment = os.environ | {"COWBOOK_LOG__FORMAT": "json"}
        result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        lines = [json.loads(line) for line in result.stderr.splitlines() if "first messages after recovery" in line]
        seconds += [datetime.fromisoformat(line["timestamp"]).timestamp() - started for line in lines]
    assert len(seconds) == len(cuts) - 1
    return min(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    warm()
    gc.collect()
    gc.freeze()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as temporary:
        report_freezes(Path(temporary) / "freeze", arguments.checkpoints, console)
        report_recovery(Path(temporary) / "recovery", console)
        report_throughput(Path(temporary), arguments.rounds, arguments.gigabytes, console)


if __name__ == "__main__":
    main()
