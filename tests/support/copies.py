"""Copies of made-up captures of every venue, as recorders with losses and clocks of their own would have made them."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import zstandard

from cowbook.book.order_book_engine import EngineSettings
from support.harness import Reconstruction, Run
from support.joined import lossy_copies
from support.venue_captures import Capture
from support.venue_samples import (
    LINES,
    Event,
    binance_csv,
    bitfinex_opening,
    cryptofeed_3_of,
    cryptolake,
    framed,
    make_events,
    packets_of,
    prefixed,
    records_of,
    tar_gz_of,
    tardis_csv,
    tardis_parquet,
    tardis_pictures,
    tardis_pictures_csv,
    tardis_rows,
    zip_of,
)

_SHIFT_NS, _JITTER_NS = 3_000_000_000, 50_000_000
_COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, zstandard.compress, bz2.compress)
_RECEIVED = re.compile(rb"([0-9]{10})\.([0-9]+)(?=: )|([0-9]{19})(?= [0-9]+\n)")
_OPENING_LINES = 200  # of a recorded capture: they say what the records behind them mean
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


def with_clock(line: bytes, clock: Clock) -> bytes:
    """A line of a recorded capture as a recorder with this clock would have written it; unchanged if no time stands in front."""
    found = _RECEIVED.match(line)
    if found is None:
        return line
    seconds, fraction, nanoseconds = found.groups()
    if nanoseconds is not None:  # of a .cbcap
        return b"%d" % clock.read(int(nanoseconds)) + line[found.end() :]
    return b"%d.%09d" % divmod(clock.read(int(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0"))), 10**9) + line[found.end() :]


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


_Rows = list[dict[str, Any]]
"""Of one message."""


def _received(messages: Sequence[_Rows], clock: Clock) -> _Rows:
    """The rows of messages with the receive times of a clock. Those of one message stay together."""
    found = []
    for rows in messages:
        later = clock.read(0) // 1_000
        found += [row | {"local_timestamp": row["local_timestamp"] + later} for row in rows]
    return found


def _rows_by_message(rows: _Rows) -> list[_Rows]:
    """Rows by the millisecond of their event times, in which no two messages of the samples are."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row["timestamp"] // 1_000)]


def _tardis_csv(events: Sequence[Event], clock: Clock, *, trades: bool = False) -> bytes:
    head, *lines = tardis_csv(events, "BTCUSDT", trades=trades).splitlines()
    out, times = [head], {}
    for line in lines:
        fields = line.split(b",")
        if fields[3] not in times:
            times[fields[3]] = clock.read(int(fields[3]) * 1_000) // 1_000
        out.append(b",".join([*fields[:3], b"%d" % times[fields[3]], *fields[4:]]))
    return b"\n".join([*out, b""])


TABLES: dict[str, tuple[str, str, Callable[[Sequence[Any], Clock], bytes]]] = {
    "tardis-csv": ("tardis", "BTCUSDT", _tardis_csv),
    "tardis-trades-csv": ("tardis", "BTCUSDT", lambda events, clock: _tardis_csv(events, clock, trades=True)),
    "tardis-parquet": ("tardis", "BTCUSDT", lambda rows, clock: tardis_parquet(_received(rows, clock))),
    "tardis-pictures-csv": ("tardis", "BTCUSDT", lambda rows, clock: tardis_pictures_csv(_received(rows, clock))),
    "binance-csv": ("binance_csv", "BTCUSDT", lambda events, _: binance_csv(events, "BTCUSDT")),
    "cryptolake-book": ("cryptolake", "BTC-USDT", lambda events, _: cryptolake(events, trades=False)),
    "cryptolake-trades": ("cryptolake", "BTC-USDT", lambda events, _: cryptolake(events, trades=True)),
}
"""Of each table: the format, the symbol, and what writes it."""

_ROWS = {"tardis-parquet": tardis_rows, "tardis-pictures-csv": tardis_pictures}
"""The rows of tables that are made of all events: which ones a recorder has lost changes none."""

COPY_IDS = (*LINES, *TABLES)
"""All that copies are made of."""
GROWING_IDS = (*LINES, *(sample_id for sample_id in TABLES if sample_id.endswith("csv")))
"""Those whose files may grow: Parquet is read once it is whole."""


@dataclass(frozen=True, slots=True)
class _Feed:
    """What a venue sends, and how it is written."""

    format: str
    name: str
    records: Sequence[Any]
    write: Callable[[Sequence[Any], Clock], bytes]
    first: int = 1
    """How many records all recorders have."""


def _feed(sample_id: str, seed: int, count: int) -> _Feed:
    events = make_events(seed, count)
    if sample_id not in TABLES:
        format_name, name = LINES[sample_id][:2]
        return _Feed(format_name, name, records_of(sample_id, events), _write_lines(sample_id), _OPENING.get(sample_id, 1))
    format_name, name, write = TABLES[sample_id]
    wanted = ("trade",) if "trades" in sample_id else ("snapshot", "diff") if "binance" in sample_id else None
    records: Sequence[Any] = [event for event in events if wanted is None or event.kind in wanted]
    if sample_id in _ROWS:
        records = _rows_by_message(_ROWS[sample_id](events, name))
    return _Feed(format_name, name, records, write)


def _run_of(feed: _Feed) -> Run:
    engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
    return Run("X", feed.name, feed.format, price_decimals=1, size_decimals=2, engine=engine)


def make_copies(sample_id: str, seed: int, count: int = 500, *, have_clocks: bool = True) -> Copies:
    """Made-up copies. Each has a clock of its own that is up to 3 s off, and jitters by 50 ms, and its own compression."""
    rng = random.Random(f"{sample_id} {seed}")
    feed = _feed(sample_id, seed, count)
    sources = {}
    for number, copy in enumerate(lossy_copies(feed.records[feed.first :], 3, rng, longest=20)):
        clock = Clock(rng.randint(-_SHIFT_NS, _SHIFT_NS), _JITTER_NS, rng) if have_clocks else _TRUE
        pack = bytes if "parquet" in sample_id or "cryptolake" in sample_id else rng.choice(_COMPRESSIONS)
        sources["abc"[number]] = {"x": pack(feed.write([*feed.records[: feed.first], *copy], clock))}
    return Copies(_run_of(feed), {"x": feed.write(feed.records, _TRUE)}, sources)


_Timed = list[tuple[bytes, bytes]]
"""Receive times in seconds, and messages."""


def _wrapped(records: _Timed) -> bytes:
    """In objects of one's own; what is no JSON as text."""
    texts = (message if message[:1] in (b"{", b"[") else json.dumps(message.decode()).encode() for _, message in records)
    return b"".join(b'{"recv":%s,"msg":%s}\n' % (time, text) for (time, _), text in zip(records, texts, strict=True))


def _lines(records: _Timed) -> bytes:
    return b"".join(b"%s: %s\n" % record for record in records)


def _array(records: _Timed) -> bytes:
    return b"[" + b",\n".join(_wrapped(records).splitlines()) + b"]\n"


CONTAINERS: dict[str, Callable[[_Timed], bytes]] = {
    "lines": _lines,
    "wrapper": _wrapped,
    "cryptofeed-3": cryptofeed_3_of,
    "packets": packets_of,
}
"""Those whose files grow, of records that are JSON. Tables have their own."""

WHOLE_CONTAINERS: dict[str, Callable[[_Timed], bytes]] = {
    "array": _array,
    "zip": lambda records: zip_of({"1": _lines(records)}),
    "tar": lambda records: gzip.decompress(tar_gz_of({"1": _lines(records)})),
}
"""Those that are read once they are whole."""


def copies_in_containers(sample_id: str, seed: int, count: int = 320, *, grow: bool = True) -> Copies:
    """As `make_copies`, with one clock, where no two copies have one container or one compression. Of CSV, compressions alone."""
    rng = random.Random(f"containers {sample_id} {seed}")
    feed = _feed(sample_id, seed, count)
    makers = CONTAINERS if grow else CONTAINERS | WHOLE_CONTAINERS
    containers, packs = rng.sample(list(makers), 3), rng.sample(_COMPRESSIONS, 3)
    sources = {}
    for number, copy in enumerate(lossy_copies(feed.records[feed.first :], 3, rng, longest=20)):
        records, container = [*feed.records[: feed.first], *copy], containers[number]
        content = feed.write(records, _TRUE) if sample_id in TABLES else makers[container](_timed(records))
        sources["abc"[number]] = {"x": content if container == "zip" else packs[number](content)}
    whole = feed.write(feed.records, _TRUE) if sample_id in TABLES else _lines(_timed(feed.records))
    return Copies(_run_of(feed), {"x": whole}, sources)


def _timed(records: Sequence[tuple[Event, bytes]]) -> _Timed:
    split = (prefixed(event, record).partition(b": ") for event, record in records)
    return [(time, message) for time, _, message in split]


def lines_of_capture(data: Path, capture: Capture) -> list[bytes]:
    """The records of a recorded capture as they stand in its files, which are read one after the other.

    The first one of DBN is what stands in front of the records.
    """
    if ".dbn" in capture.paths[0]:
        return _records_of_dbn((data / capture.paths[0]).read_bytes())
    lines = [line for path in capture.paths for line in (data / path).read_bytes().splitlines(keepends=True)]
    if ".cbcap" in capture.paths[0]:  # a line of its own has the time of each record
        lines = [lines[0], *(b"".join(pair) for pair in zip(lines[1::2], lines[2::2], strict=False))]
    return lines


def _records_of_dbn(content: bytes) -> list[bytes]:
    with zstandard.ZstdDecompressor().stream_reader(content) as reader:
        plain = reader.read()
    records, place = [], 0
    while place < len(plain):
        length = plain[place] * 4 if place else 8 + int.from_bytes(plain[4:8], "little")
        records.append(plain[place : place + length])
        place += length
    return records


def copies_of_capture(lines: Sequence[bytes], seed: int, *, have_clocks: bool = True) -> dict[str, dict[str, bytes]]:
    """Three copies of a recorded capture, as `make_copies` makes them. All begin with the same records."""
    rng = random.Random(seed)
    sources = {}
    for name, copy in zip("abc", lossy_copies(lines[_OPENING_LINES:], 3, rng), strict=True):
        clock = Clock(rng.randint(-_SHIFT_NS, _SHIFT_NS), _JITTER_NS, rng) if have_clocks else _TRUE
        content = b"".join(with_clock(line, clock) for line in (*lines[:_OPENING_LINES], *copy))
        sources[name] = {"x": rng.choice(_COMPRESSIONS)(content)}
    return sources


WITHOUT_TIMES = ("bitfinex", "gemini-v2", "bitmex-ids", "dydx", "dydx-v4")
VENUES_WITHOUT_TIMES = ("bitfinex", "gemini", "bitmex", "dydx", "kucoin", "coinbase")  # of Coinbase, snapshots lack them
"""Samples, and venues of recorded captures, of which only receive times say when the book was how: in the stream `book`, and
where `frame` is cut."""


def rows_but_for_receipt(result: Reconstruction, *, has_times: bool) -> dict[str, list[dict[str, Any]]]:
    """The rows of all streams without receive times, also where these stand in for the venue's time.

    Unless it `has_times`, nothing but those says when the book was how.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    streams = {name.partition("/")[0] for name in result.parts}
    for stream in sorted(streams if has_times else streams - {"book", "frame"}):
        rows = result.rows(stream)
        for row in rows:
            received = row.pop("ts_recv", None)
            if "ts_event" in row and row["ts_event"] == received:
                row["ts_event"] = None
        found[stream] = rows
    return found
