"""Writes a realistic capture of a simulated venue.

This module decides which diffs are lost and when snapshots are taken, and writes the file; `simulate.venue` makes the messages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, cast

import zstandard
from isal import igzip

from cowbook.simulate.venue import INTERVAL_NS, STYLES, SimulatedVenue, SnapshotPlan

SNAPSHOT_EVERY = 6_000  # diffs, which is ten minutes
DIFFS_PER_GAP = 24  # at least, so that a gap, the snapshot after it and a quiet stretch fit
SHORTEST_INTERVAL_NS = 10_000_000  # the last 2 ms of an interval are the diff's
WRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What a capture holds. `events` counts levels of diffs and snapshots, and trades."""

    path: Path
    messages: int  # depth diffs
    events: int
    trades: int
    snapshots: int
    tickers: int
    gaps: int
    size_bytes: int


def write_capture(
    path: str | Path,
    *,
    symbol: str,
    messages: int,
    seed: int,
    gaps: int = 0,
    futures: bool = False,
    interval_ns: int = INTERVAL_NS,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> SimulationSummary:
    """Write a capture with `messages` depth diffs, trades, tickers and snapshots to `path`, replacing what is there.

    The bytes depend on the arguments alone. A `.gz` or `.zst` suffix compresses. The file appears whole or not at all. In each
    of the `gaps`, one to three diffs are missing and a snapshot follows. A diff comes every `interval_ns`: where that is long
    the market is quiet, and the diffs are as large. `progress` is told now and then how many diffs are made, and of how many.

    Raises ValueError if `messages` is below 1, the gaps do not fit, or `interval_ns` is below a hundredth of a second, and
    OSError if `path` cannot be written.
    """
    if messages < 1:
        raise ValueError(f"messages = {messages}: a capture has at least one depth diff")
    if not 0 <= gaps <= messages // DIFFS_PER_GAP:
        raise ValueError(
            f"gaps = {gaps}: {messages} diffs have room for {messages // DIFFS_PER_GAP}; "
            f"give at least {DIFFS_PER_GAP} messages for each gap"
        )
    if interval_ns < SHORTEST_INTERVAL_NS:
        raise ValueError(f"interval_ns = {interval_ns}: must be at least {SHORTEST_INTERVAL_NS}")
    path = Path(path)
    venue = SimulatedVenue(symbol, Random(seed), futures, interval_ns)
    plan = _make_plan(messages, gaps, venue.random)
    with _open_replacement(path) as file:
        pending: list[str] = []
        pending_bytes = 0
        for index in range(plan.diffs):
            lines = venue.next_interval(index in plan.dropped, plan.snapshots.get(index))
            pending += lines
            pending_bytes += sum(map(len, lines))
            if pending_bytes >= WRITE_BYTES:
                file.write("".join(pending).encode())
                pending.clear()
                pending_bytes = 0
                progress(index + 1, plan.diffs)
        pending += venue.late_snapshots()
        file.write("".join(pending).encode())
    counts = venue.counts
    return SimulationSummary(
        path, messages, counts.events, counts.trades, counts.snapshots, counts.tickers, gaps, path.stat().st_size
    )


@contextmanager
def _open_replacement(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, compressed by the suffix of `path`, that replaces `path` at the end. After an error nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                # Name and time in the header would make the bytes differ from run to run.
                with igzip.IGzipFile(filename="", mode="wb", compresslevel=2, fileobj=raw, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            elif path.suffix == ".zst":
                with zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as packed:
                    yield packed
            else:
                yield raw
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class _Plan:
    """Which intervals lose their diff, and which have a snapshot."""

    diffs: int  # including lost ones
    dropped: set[int] = field(default_factory=set)
    snapshots: dict[int, SnapshotPlan] = field(default_factory=dict)


def _make_plan(messages: int, gaps: int, random: Random) -> _Plan:
    """Place the gaps and snapshots. Each gap, with its snapshot, has a stretch of the capture to itself."""
    first = min(2, messages - 1)
    plan = _Plan(messages, snapshots={first: SnapshotPlan("late", delay=2)})
    quiet_from = first + 4
    kept = quiet_from
    for gap in range(gaps):
        stretch = (messages - quiet_from) // gaps
        position = gap * stretch + random.randrange(1, stretch // 3)
        lost = random.randint(1, 3)
        start = quiet_from + position + len(plan.dropped)
        plan.dropped.update(range(start, start + lost))
        style = random.choice(STYLES)
        taken = start + lost + 1 + random.randrange(min(30, stretch // 3))
        plan.snapshots[taken] = SnapshotPlan(style, delay=random.randint(1, 3) if style == "late" else 0)
        _add_regular_snapshots(plan, kept, start)
        kept = taken + 4
    plan.diffs = messages + len(plan.dropped)
    _add_regular_snapshots(plan, kept, plan.diffs)
    return plan


def _add_regular_snapshots(plan: _Plan, start: int, stop: int) -> None:
    """Add an exact snapshot at each multiple of `SNAPSHOT_EVERY` in a stretch without gaps."""
    for index in range(-(-start // SNAPSHOT_EVERY) * SNAPSHOT_EVERY, stop, SNAPSHOT_EVERY):
        plan.snapshots[index] = SnapshotPlan("exact")
