"""Copies of made-up captures of every venue, as recorders with losses and clocks of their own would have made them."""

from __future__ import annotations

import bz2
import gzip
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from cowbook.book.order_book_engine import EngineSettings
from support.harness import Reconstruction, Run
from support.joined import lossy_copies
from support.venue_samples import (
    LINES,
    Event,
    binance_csv,
    bitfinex_opening,
    cryptolake,
    framed,
    make_events,
    prefixed,
    records_of,
    tardis_csv,
    tardis_parquet,
    tardis_pictures,
    tardis_pictures_csv,
    tardis_rows,
)

_SHIFT_NS, _JITTER_NS = 3_000_000_000, 50_000_000
_COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, zstandard.compress, bz2.compress)
_OPENING = {"bitfinex": len(bitfinex_opening("tBTCUSD"))}
"""How many records agree on what those behind them mean: a recorder that has not heard them has nothing."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Of a recorder."""

    shift_ns: int
    jitter_ns: int
    rng: random.Random

    def read(self, time_ns: int) -> int:
        """What it says at a time."""
        return time_ns + self.shift_ns + self.rng.randint(-self.jitter_ns, self.jitter_ns)


_TRUE = Clock(0, 0, random.Random(0))


@dataclass(frozen=True, slots=True)
class Copies:
    """What a venue has sent, and three copies of it that each lack other bursts. Each is what a file holds, by its name."""

    run: Run
    whole: Mapping[str, bytes]
    sources: Mapping[str, Mapping[str, bytes]]


def _line(wrap: Callable[[Event, bytes], bytes], event: Event, record: bytes, clock: Clock) -> bytes:
    """A record as a recorder writes it, with the time of its clock."""
    line = wrap(event, record)
    if wrap is prefixed:
        time, _, rest = line.partition(b": ")
        at = clock.read(round(float(time) * 1e6) * 1_000)
        return b"%d.%09d: " % divmod(at, 10**9) + rest
    if wrap is framed:
        return b"%d " % clock.read(event.time_ms * 10**6 + 250_000) + record
    return line


def _write_lines(sample_id: str) -> Callable[[Sequence[Any], Clock], bytes]:
    wrap = LINES[sample_id][3]
    return lambda records, clock: b"".join(_line(wrap, event, record, clock) + b"\n" for event, record in records)


def _received(rows: list[dict[str, Any]], clock: Clock) -> list[dict[str, Any]]:
    """Rows with the receive times of a clock; those of one message stay together."""
    times: dict[int, int] = {}
    for row in rows:
        whole, rest = divmod(row["local_timestamp"], 1000)
        if whole not in times:
            times[whole] = clock.read(whole * 10**6) // 1000
        row["local_timestamp"] = times[whole] + rest
    return rows


def _tardis_csv(events: Sequence[Event], clock: Clock, *, trades: bool = False) -> bytes:
    head, *lines = tardis_csv(events, "BTCUSDT", trades=trades).splitlines()
    out, times = [head], {}
    for line in lines:
        fields = line.split(b",")
        if fields[3] not in times:
            times[fields[3]] = clock.read(int(fields[3]) * 1_000) // 1_000
        out.append(b",".join([*fields[:3], b"%d" % times[fields[3]], *fields[4:]]))
    return b"\n".join([*out, b""])


TABLES: dict[str, tuple[str, str, Callable[[Sequence[Event], Clock], bytes]]] = {
    "tardis-csv": ("tardis", "BTCUSDT", _tardis_csv),
    "tardis-trades-csv": ("tardis", "BTCUSDT", lambda events, clock: _tardis_csv(events, clock, trades=True)),
    "tardis-parquet": ("tardis", "BTCUSDT", lambda events, clock: tardis_parquet(_received(tardis_rows(events, "BTCUSDT"), clock))),
    "tardis-pictures-csv": (
        "tardis",
        "BTCUSDT",
        lambda events, clock: tardis_pictures_csv(_received(tardis_pictures(events, "BTCUSDT"), clock)),
    ),
    "binance-csv": ("binance", "BTCUSDT", lambda events, _: binance_csv(events, "BTCUSDT")),
    "cryptolake-book": ("cryptolake", "BTC-USDT", lambda events, _: cryptolake(events, trades=False)),
    "cryptolake-trades": ("cryptolake", "BTC-USDT", lambda events, _: cryptolake(events, trades=True)),
}
"""Of each table: the format, the symbol, and what writes it."""

COPY_IDS = (*LINES, *TABLES)
"""All that copies are made of."""


def make_copies(sample_id: str, seed: int, count: int = 500, *, have_clocks: bool = True) -> Copies:
    """Made-up copies. Each has a clock of its own that is up to 3 s off, and jitters by 50 ms, and its own compression."""
    rng = random.Random(f"{sample_id} {seed}")
    events = make_events(seed, count)
    records: Sequence[Any]
    if sample_id in TABLES:
        format_name, name, write = TABLES[sample_id]
        wanted = ("trade",) if "trades" in sample_id else ("snapshot", "diff") if "binance" in sample_id else None
        records = [event for event in events if wanted is None or event.kind in wanted]
        first = 1
    else:
        format_name, name = LINES[sample_id][:2]
        records, write, first = records_of(sample_id, events), _write_lines(sample_id), _OPENING.get(sample_id, 1)
    copies = lossy_copies(records[first:], 3, rng, longest=20)
    sources = {}
    for number, copy in enumerate(copies):
        clock = Clock(rng.randint(-_SHIFT_NS, _SHIFT_NS), _JITTER_NS, rng) if have_clocks else _TRUE
        pack = bytes if "parquet" in sample_id or "cryptolake" in sample_id else rng.choice(_COMPRESSIONS)
        sources["abc"[number]] = {"x": pack(write([*records[:first], *copy], clock))}
    engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
    run = Run("X", name, format_name, price_decimals=1, size_decimals=2, engine=engine)
    return Copies(run, {"x": write(records, _TRUE)}, sources)


def rows_but_for_receipt(result: Reconstruction) -> dict[str, list[dict[str, Any]]]:
    """The rows of all streams without receive times, also where these stand in for the venue's time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for stream in sorted({name.partition("/")[0] for name in result.parts}):
        rows = result.rows(stream)
        for row in rows:
            received = row.pop("ts_recv", None)
            if "ts_event" in row and row["ts_event"] == received:
                row["ts_event"] = None
        found[stream] = rows
    return found


def captured_copies(paths: Sequence[Path], seed: int) -> list[list[bytes]]:
    """Three copies of recorded lines that each lack other bursts; the first records, which say what the others mean, they all have."""
    lines = [line + b"\n" for path in paths for line in path.read_bytes().splitlines()]
    rng = random.Random(seed)
    opening = lines[:200]
    return [[*opening, *copy] for copy in lossy_copies(lines[200:], 3, rng)]
