"""What a checkpoint costs after its freeze: as long as its snapshot is held, the first change of a block of the book copies it.

An engine applies diffs of ten levels a side, near the best levels or all over the book, without a snapshot, and then behind one
that is held to the end. In a daemon it is held until its levels are gathered, so this is the most that a checkpoint can cost.

python tests/bench/slowdown.py [--rounds N]
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.plain.messages import DIFF, IS_RESET, NONE, SNAPSHOT, EventBatch
from cowbook.plain.schemes import RANGE

_DIFFS = 50_000
_LEVELS_A_SIDE = 10
_AT_A_TIME = 500  # diffs of a batch; a batch is a point of the curve
_NEAR = 500  # levels of a side that are near the best
_PRICE_UNIT = 100


def make_batches(half: int, near: int, seed: int, first_id: int) -> list[EventBatch]:
    """Diffs that set sizes of levels that are there, among the best `near` of each side."""
    rng = np.random.default_rng(seed)
    batches = []
    per_diff = 2 * _LEVELS_A_SIDE
    for start in range(0, _DIFFS, _AT_A_TIME):
        batch = EventBatch.allocate(_AT_A_TIME, per_diff * _AT_A_TIME)
        depths = rng.integers(0, near, (_AT_A_TIME, 2, _LEVELS_A_SIDE))
        depths[:, 0], depths[:, 1] = half - depths[:, 0], half + 1 + depths[:, 1]
        batch.prices[:] = depths.ravel() * _PRICE_UNIT
        batch.sizes[:] = rng.integers(1, 10**6, len(batch.sizes))
        _fill(batch, DIFF, np.arange(_AT_A_TIME) + start + first_id, _LEVELS_A_SIDE)
        batches.append(batch)
    return batches


def _fill(batch: EventBatch, kind: int, ids: np.ndarray[tuple[int], np.dtype[np.int64]], a_side: int) -> None:
    messages = batch.messages
    messages["kind"], messages["rule"], messages["flags"] = kind, RANGE, IS_RESET if kind == SNAPSHOT else 0
    messages["ts_event"], messages["ts_recv"] = 1_700_000_000_000_000_000 + ids, NONE
    messages["first_id"], messages["last_id"], messages["prev_id"] = ids, ids, NONE
    places = 2 * a_side * np.arange(len(messages))
    messages["bid_start"], messages["ask_start"] = places, places + a_side
    messages["bid_count"] = messages["ask_count"] = a_side
    batch.message_count, batch.level_count = len(messages), len(batch.prices)


def make_engine(half: int) -> OrderBookEngine:
    """An engine with a book of `half` levels a side, which writes no rows."""
    engine = OrderBookEngine(EngineSettings(streams=(), part_events=1 << 40))
    batch = EventBatch.allocate(1, 2 * half)
    prices = np.concatenate([np.arange(half, 0, -1), np.arange(half + 1, 2 * half + 1)])
    batch.prices[:], batch.sizes[:] = prices * _PRICE_UNIT, 1
    _fill(batch, SNAPSHOT, np.array([1]), half)
    apply_batch(engine, batch)
    return engine


def apply_batch(engine: OrderBookEngine, batch: EventBatch) -> float:
    """Apply all of a batch. Returns the seconds of the processor that it took."""
    started = time.thread_time()
    place = 0
    while place < batch.message_count:
        applied = engine.apply(batch, place)
        place = applied.consumed
        if applied.cut:
            engine.take_open_rows()
    return time.thread_time() - started


def measure(half: int, near: int, rounds: int) -> tuple[float, float, float, float, float]:
    """Medians of what the table has: seconds of a batch without a snapshot, and of the first one behind it.

    Then seconds more in the batches that copied blocks, the diffs in these, and the blocks.
    """
    found = []
    for number in range(rounds):
        engine = make_engine(half)
        usual = statistics.median(apply_batch(engine, batch) for batch in make_batches(half, near, number, 2))
        batches = make_batches(half, near, number + rounds, 2 + _DIFFS)
        copies = [engine.pool_statistics()["block_copies"]]
        snapshot = engine.snapshot()
        held = []
        for batch in batches:
            held.append(apply_batch(engine, batch))
            copies.append(engine.pool_statistics()["block_copies"])
        snapshot.release()
        assert engine.value("diffs") == 2 * _DIFFS
        copying = sum(before != after for before, after in itertools.pairwise(copies))
        more = sum(seconds - usual for seconds in held[:copying])
        found.append((usual, held[0], more, copying * _AT_A_TIME, copies[-1] - copies[0]))
    usual, first, more, diffs, blocks = (statistics.median(values) for values in zip(*found, strict=True))
    return usual, first, more, diffs, blocks


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    table = Table(title=f"applying diffs of {2 * _LEVELS_A_SIDE} levels behind a freeze, the snapshot held; ns a level")
    for column in (
        "levels",
        "changes",
        "without",
        f"first {_AT_A_TIME} diffs",
        "ms more in all",
        "within diffs",
        "blocks copied",
    ):
        table.add_column(column, justify="right")
    for levels in (10_000, 100_000, 1_000_000):
        for near, where in ((_NEAR, "near the best"), (levels // 2, "all over")):
            usual, first, more, diffs, blocks = measure(levels // 2, near, rounds)
            nanoseconds = 1e9 / (_AT_A_TIME * 2 * _LEVELS_A_SIDE)
            figures = (f"{usual * nanoseconds:.0f}", f"{first * nanoseconds:.0f}", f"{more * 1e3:.2f}")
            table.add_row(f"{levels:,}", where, *figures, f"{diffs:,.0f}", f"{blocks:,.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
