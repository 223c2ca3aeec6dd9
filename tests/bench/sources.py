"""What joining costs: two sources of one symbol against one, per record read; and the joining itself of ten tables by time.

python tests/bench/sources.py [--messages N] [--rows N] [--rounds N]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import structlog

from cowbook.merge.merger import BATCH_MESSAGES, Merger
from cowbook.plain.messages import DIFF, TRADE, EventBatch
from cowbook.plain.schemes import UNNUMBERED
from cowbook.simulate.capture import write_capture
from support.harness import Run, reconstruct
from support.joined import join, lossy_copies


def measure_copies(messages: int, rounds: int) -> tuple[float, float]:
    """Records a second of one source and of two copies that each lack records; best of the rounds, in turn."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        path = Path(name) / "capture.jsonl"
        write_capture(path, symbol="BTCUSDT", messages=messages, seed=1)
        lines = path.read_bytes().splitlines(keepends=True)
        copies = lossy_copies(lines, 2, random.Random(1))
        one, two = [], []
        for number in range(rounds):
            whole = reconstruct(Path(name) / f"one-{number}", {"x": b"".join(lines)}, Run())
            one.append(len(lines) / whole.summary.seconds)
            sources = {source: {"x": b"".join(copy)} for source, copy in zip("ab", copies, strict=True)}
            joined = join(Path(name) / f"two-{number}", sources, Run())
            two.append(sum(map(len, copies)) / joined.summary.seconds)
            assert joined.summary.events == whole.summary.events
    return max(one), max(two)


def _table(kind: int, rows: int, rng: np.random.Generator) -> list[EventBatch]:
    """A source's batches: trades, or changes of one level, at random times in order."""
    times = 1_700_000_000_000_000_000 + np.sort(rng.integers(0, 3_600 * 10**9, rows))
    batches = []
    for start in range(0, rows, BATCH_MESSAGES):
        count = min(BATCH_MESSAGES, rows - start)
        batch = EventBatch.allocate(BATCH_MESSAGES, BATCH_MESSAGES)
        messages = batch.messages[:count]
        messages["kind"], messages["rule"] = kind, UNNUMBERED
        messages["ts_event"] = times[start : start + count]
        messages["ts_recv"] = messages["ts_event"] + 1_000
        messages["first_id"] = messages["last_id"] = messages["prev_id"] = np.iinfo(np.int64).min
        if kind == TRADE:
            messages["last_id"] = np.arange(start, start + count) + int(rng.integers(1 << 40))
        messages["bid_start"], messages["bid_count"] = np.arange(count), 1
        batch.prices[:count] = rng.integers(1, 10**6, count)
        batch.sizes[:count] = rng.integers(1, 10**6, count)
        batch.message_count = batch.level_count = count
        batches.append(batch)
    return batches


def measure_tables(rows: int, rounds: int) -> float:
    """Rows a second that are joined, of five tables of trades and five of changes; the median."""
    rng = np.random.default_rng(1)
    tables = [_table(TRADE if number % 2 else DIFF, rows // 10, rng) for number in range(10)]
    rates = []
    for _ in range(rounds + 1):
        merger, left = Merger(len(tables)), [iter(table) for table in tables]
        batch, numbers = EventBatch.allocate(), np.zeros(1 << 14, np.int64)
        count, started = 0, time.process_time()
        while True:
            batch.clear()
            needed = merger.join(batch, numbers)
            count += batch.message_count
            if needed is None:
                break
            if needed >= 0:
                more = next(left[needed], None)
                if more is None:
                    merger.end(needed)
                else:
                    merger.append(needed, more)
        rates.append(count / (time.process_time() - started))
    return statistics.median(rates[1:])  # the first one compiles


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    print(f"joining ten tables by time: {measure_tables(arguments.rows, arguments.rounds) / 1e6:.1f} M rows/s")
    one, two = measure_copies(arguments.messages, arguments.rounds)
    print(f"one source: {one:,.0f} records/s; two copies that lack records: {two:,.0f} records/s, {two / one:.2f} x")


if __name__ == "__main__":
    main()
