"""Reports what can be trusted, per symbol and UTC day, from a state directory's newest checkpoints or from published parts.

A checkpoint counts all comparisons. Parts record only the failed ones, so a report from parts never says "verified".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cowbook.checkpoint.load import read_checkpoint
from cowbook.checkpoint.manifest import DamagedError
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.store import epochs_in
from cowbook.errors import RecoveryError, StorageError
from cowbook.plain.vocabulary import REASONS

_EPOCH = date(1970, 1, 1)
_COUNTS = (
    *("events", "depth_events", "synced_events", "depth_messages", "compared", "refuted"),
    *("tickers_near", "tickers_far"),
    *("gaps", "missing_updates", "crossed", "drifts", "dead_letters"),
)


@dataclass(slots=True)
class DayQuality:
    """One symbol's figures of one day. The day is that of the running maximum of event time. None: the source does not know."""

    symbol: str
    day: str
    events: int = 0
    depth_events: int = 0  # levels of depth messages
    synced_events: int = 0  # of these, the synced ones
    depth_messages: int | None = None
    compared: int | None = None  # depth messages after which something proved or disproved the book
    refuted: int | None = None  # of these, the ones that disproved it
    tickers_near: int | None = None  # tickers without ids that show a state which the book had shortly before or after them
    tickers_far: int | None = None  # those that do not
    gaps: int = 0
    missing_updates: int = 0  # in the gaps of known size
    gap_sizes: tuple[int | None, ...] | None = None  # of each gap, None for an unknown size; only from parts
    crossed: int = 0  # depth messages (from parts: rows of bbo) after which the book was crossed
    drifts: int = 0  # depth snapshots that were compared with the book
    dead_letters: int = 0
    first_time: int | None = None  # event time in ns of its first event
    last_time: int | None = None  # latest event time in ns

    @property
    def verified_percent(self) -> float | None:
        """Share of the depth messages after which a comparison proved the book."""
        if self.compared is None or self.refuted is None or not self.depth_messages:
            return None
        return 100 * (self.compared - self.refuted) / self.depth_messages

    @property
    def uncheckable(self) -> int | None:
        """Number of depth messages after which nothing was there to compare the book with."""
        return None if self.compared is None or self.depth_messages is None else self.depth_messages - self.compared

    @property
    def synced_percent(self) -> float | None:
        """Share of the levels of depth messages that were synced."""
        return 100 * self.synced_events / self.depth_events if self.depth_events else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values: all figures, the shares, and times as text."""
        return asdict(self) | {
            "verified_percent": self.verified_percent,
            "uncheckable": self.uncheckable,
            "synced_percent": self.synced_percent,
            "first_time": iso(self.first_time),
            "last_time": iso(self.last_time),
        }


def iso(nanoseconds: int | None) -> str | None:
    """A time in ns since 1970 as ISO 8601 in UTC, to the microsecond."""
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC).isoformat()


def read_report(directory: Path, symbol: str | None = None) -> list[DayQuality]:
    """Report all days of all symbols, or of one.

    Raises RecoveryError if the directory holds neither state nor output, and StorageError for a part that cannot be read.
    """
    try:
        names = sorted(path for path in directory.iterdir() if path.is_dir())
    except OSError as error:
        raise RecoveryError(f"{directory} cannot be read: {error.strerror}") from error
    if any((path / "checkpoints").is_dir() for path in names):
        days = [day for path in names if (path / "checkpoints").is_dir() for day in _read_checkpoints(path, symbol)]
    elif any(path.glob("symbol=*") for path in names if not path.name.startswith(".")) and _list_symbols(directory):
        days = [
            day
            for symbol_id in _list_symbols(directory)
            if symbol in (None, symbol_id)
            for day in _read_parts(directory, symbol_id)
        ]
    else:
        raise RecoveryError(f"{directory} has neither checkpoints nor parts: name a state_dir or an output_dir")
    if symbol is not None and not days:
        raise RecoveryError(f"{directory} has nothing of symbol {symbol}")
    return days


def _read_checkpoints(root: Path, wanted: str | None) -> Iterator[DayQuality]:
    symbol = unquote(root.name)
    if wanted not in (None, symbol):
        return
    problems = []
    for epoch in sorted(epochs_in(root / "checkpoints"), reverse=True):
        try:
            state = read_checkpoint(root / "checkpoints" / str(epoch), symbol, root.stat().st_uid).state
        except DamagedError as error:
            problems.append(f"{epoch}: {error}")
            continue
        yield from _split_state(symbol, state)
        return
    if problems:
        raise RecoveryError(f"{root} has no valid checkpoint: {'; '.join(problems)}")


def _split_state(symbol: str, state: PipelineState) -> Iterator[DayQuality]:
    days = state.order_book_state.days
    if not len(days):  # no message was accepted
        values = state.order_book_state.values
        yield DayQuality(symbol, "", dead_letters=sum(values.get(f"dead_{reason}", 0) for reason in REASONS))
    before = dict.fromkeys(_COUNTS, 0)
    for row in days:
        counts = {name: int(row[name]) for name in _COUNTS}
        differences = {name: counts[name] - before[name] for name in _COUNTS}
        day = (_EPOCH + timedelta(days=int(row["day"]))).isoformat()
        quality = DayQuality(symbol, day, first_time=int(row["first_time"]), last_time=int(row["last_time"]))
        for name, difference in differences.items():
            setattr(quality, name, difference)
        yield quality
        before = counts


def _list_symbols(output_dir: Path) -> list[str]:
    return sorted({unquote(path.name.removeprefix("symbol=")) for path in output_dir.glob("[!.]*/symbol=*")})


def _read_parts(output_dir: Path, symbol: str) -> Iterator[DayQuality]:
    days: dict[str, DayQuality] = {}
    firsts: dict[str, int] = {}
    for directory in sorted(output_dir.glob("[!.]*/symbol=*/date=*")):
        if unquote(directory.parent.name.removeprefix("symbol=")) != symbol:
            continue
        day = days.setdefault(directory.name.removeprefix("date="), DayQuality(symbol, directory.name.removeprefix("date=")))
        for path in sorted(directory.glob("*.parquet")):
            try:
                _add_part(day, directory.parent.parent.name, pq.ParquetFile(path), firsts)
            except (pa.ArrowException, OSError) as error:
                raise StorageError(f"{path} cannot be read: {error}") from error
    yield from (days[name] for name in sorted(days))


def _add_part(day: DayQuality, stream: str, part: pq.ParquetFile, firsts: dict[str, int]) -> None:
    """Add a part's rows to its day. `firsts` holds each day's first event so far."""
    rows = part.metadata.num_rows
    if stream in ("depth", "trades") and rows:
        day.events += rows
        table = part.read(["event_index", "ts_event"])
        times, first = table["ts_event"].cast(pa.int64()), table["event_index"][0].as_py()
        if first <= firsts.setdefault(day.day, first):
            firsts[day.day], day.first_time = first, times[0].as_py()
        last = pc.max(times).as_py()
        day.last_time = last if day.last_time is None else max(day.last_time, last)
    if stream == "depth":
        day.depth_events += rows
        day.synced_events += pc.sum(part.read(["synced"])["synced"]).as_py() or 0
    elif stream == "gaps":
        sizes = part.read(["missing"])["missing"].to_pylist()
        day.gaps += rows
        day.missing_updates += sum(size for size in sizes if size is not None)
        day.gap_sizes = (*(day.gap_sizes or ()), *sizes)
    elif stream == "bbo":
        table = part.read(["bid_price", "ask_price"])
        day.crossed += pc.sum(pc.greater(table["bid_price"], table["ask_price"])).as_py() or 0
    elif stream == "drift":
        day.drifts += rows
    elif stream == "audits":
        day.refuted = (day.refuted or 0) + rows
    elif stream == "dead_letter":
        day.dead_letters += rows
