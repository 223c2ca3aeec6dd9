"""Reports what can be trusted, per symbol and UTC day, from a state directory's newest checkpoints or from published parts.

A checkpoint counts all comparisons. Parts record only the failed ones, so a report from parts never says "verified".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cowbook.checkpoint.listing import newest_checkpoint
from cowbook.checkpoint.load import Checkpoint
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.errors import RecoveryError
from cowbook.plain.merge_state import SourceFigures
from cowbook.plain.vocabulary import AUDIT_FIELDS, AUDIT_KINDS, REASONS
from cowbook.query.columns import UNREADABLE, unreadable
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous, retrying
from cowbook.report.gap_times import find_gaps
from cowbook.report.verdict import WORDS, judge_day

_EPOCH = date(1970, 1, 1)
_FROM_BOTH = (
    *("events", "depth_events", "synced_events", "refuted", "levels_compared", "levels_wrong", "levels_learned"),
    *("gaps", "missing_updates", "crossed", "dead_letters"),
)
_FROM_STATE = (
    *("depth_messages", "unsynced_messages", "early_messages", "unnumbered", "compared", "compared_unsynced", "failed_unsynced"),
    *("snapshots", "duplicate_trades", "duplicate_messages", "foreign_snapshots", "time_resets"),
    *("time_total", "time_best_known", "time_grid_known", "tickers_near", "tickers_far"),
)
_COUNTS = (*_FROM_BOTH, *_FROM_STATE)
"""Counts of DAY_ROW that a day has under the same name."""


@dataclass(slots=True)
class DayQuality:
    """One symbol's figures of one day. The day is that of the running maximum of event time. None: the source does not know."""

    symbol: str
    day: str
    events: int = 0
    depth_events: int = 0  # levels of depth messages
    synced_events: int = 0  # of these, the synced ones
    depth_messages: int | None = None
    unsynced_messages: int | None = None  # of these, those after which the book was not synced
    early_messages: int | None = None  # of these, those before the input's first depth snapshot
    unnumbered: int | None = None  # diffs of which nothing would show the loss
    compared: int | None = None  # depth messages after which the book was compared with something
    compared_unsynced: int | None = None  # of these, those after which it was not synced
    refuted: int = 0  # of the others, those where a comparison failed
    matched: dict[str, int] | None = None  # comparisons with a synced book, by kind
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(AUDIT_KINDS, 0))
    failed_unsynced: int | None = None  # comparisons of an unsynced book that failed
    snapshots: int | None = None  # depth snapshots that replaced the book
    snapshots_judged: int = 0  # depth snapshots that judged the book
    levels_compared: int = 0  # by them
    levels_wrong: int = 0  # of these, inside of what was known
    levels_learned: int = 0  # beyond it
    tickers_near: int | None = None  # tickers without ids that show a state which the book had shortly before or after them
    tickers_far: int | None = None  # those that do not
    gaps: int = 0
    missing_updates: int = 0  # in the gaps of known size
    gap_sizes: tuple[int | None, ...] | None = None  # of each gap, None for an unknown size
    gap_times: tuple[int, ...] | None = None  # event time in ns of each gap
    duplicate_trades: int | None = None
    duplicate_messages: int | None = None
    foreign_snapshots: int | None = None
    time_resets: int | None = None
    crossed: int = 0  # depth messages (from parts: rows of bbo) after which the book was crossed
    dead_letters: int = 0
    time_total: int | None = None  # ns of event time
    time_best_known: int | None = None  # of it, while the best levels of both sides were known
    time_grid_known: int | None = None  # of it, while all levels of the grid were known
    first_time: int | None = None  # event time in ns of its first event
    last_time: int | None = None  # latest event time in ns
    first_snapshot_time: int = 0  # event time in ns of the input's first depth snapshot; 0 before it, and from parts

    @property
    def comparable(self) -> int | None:
        """Number of depth messages after which the synced book was compared with something."""
        if self.compared is None or self.compared_unsynced is None:
            return None
        return self.compared - self.compared_unsynced

    @property
    def verified(self) -> int | None:
        """Number of those where everything matched."""
        return None if self.comparable is None else self.comparable - self.refuted

    @property
    def comparable_percent(self) -> float | None:
        """Share of the depth messages that are comparable. Most venues say only of a few what the book must be."""
        return _percent(self.comparable, self.depth_messages)

    @property
    def verified_percent(self) -> float | None:
        """Share of the comparable depth messages that are verified."""
        return _percent(self.verified, self.comparable)

    @property
    def uncheckable(self) -> int | None:
        """Number of depth messages after which nothing was there to compare the book with."""
        return None if self.compared is None or self.depth_messages is None else self.depth_messages - self.compared

    @property
    def synced_percent(self) -> float | None:
        """Share of the levels of depth messages that were synced."""
        return _percent(self.synced_events, self.depth_events)

    @property
    def best_known_percent(self) -> float | None:
        """Share of event time in which the best levels of both sides were known."""
        return _percent(self.time_best_known, self.time_total)

    @property
    def grid_known_percent(self) -> float | None:
        """Share of event time in which all levels of the grid were known."""
        return _percent(self.time_grid_known, self.time_total)

    @property
    def near_percent(self) -> float | None:
        """Share of the tickers without ids that show a state which the book had shortly before or after them."""
        if self.tickers_near is None or self.tickers_far is None:
            return None
        return _percent(self.tickers_near, self.tickers_near + self.tickers_far)

    @property
    def snapshots_wrong(self) -> int:
        """Number of depth snapshots that judged the book and disagreed with it inside of what was known."""
        return self.failed["snapshot"]

    @property
    def duplicates(self) -> int | None:
        """Number of trades and depth messages that were there already."""
        if self.duplicate_trades is None or self.duplicate_messages is None:
            return None
        return self.duplicate_trades + self.duplicate_messages

    def to_json(self) -> dict[str, Any]:
        """As JSON values: the verdict, all figures, the shares, and times as text."""
        verdict = judge_day(self)
        shares = (
            *("synced_percent", "best_known_percent", "grid_known_percent", "comparable_percent", "verified_percent"),
            "near_percent",
        )
        counts = ("comparable", "verified", "uncheckable", "snapshots_wrong", "duplicates")
        return (
            {"symbol": self.symbol, "day": self.day, "verdict": verdict.word, "reason": verdict.reason}
            | asdict(self)
            | {name: getattr(self, name) for name in (*shares, *counts)}
            | {"first_time": iso(self.first_time), "last_time": iso(self.last_time)}
            | {"first_snapshot_time": iso(self.first_snapshot_time or None)}
            | {"gap_times": None if self.gap_times is None else [iso(time) for time in self.gap_times]}
        )

    def add(self, other: DayQuality) -> None:
        """Add the figures of another row: of the same day, or for a total. What one of them does not know is unknown."""
        for name in (*_COUNTS, "snapshots_judged"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, None if mine is None or theirs is None else mine + theirs)
        for kind, count in other.failed.items():
            self.failed[kind] += count
        if self.matched is None or other.matched is None:
            self.matched = None
        else:
            self.matched = {kind: count + other.matched[kind] for kind, count in self.matched.items()}
        if other.last_time is not None:
            self.last_time = max(other.last_time, other.last_time if self.last_time is None else self.last_time)
        self.first_snapshot_time = self.first_snapshot_time or other.first_snapshot_time


def _percent(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole


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
    checkpoint = _newest_checkpoint(root, wanted)
    if checkpoint is not None:
        days = _split_state(unquote(root.name), checkpoint.state)
        _add_gaps(days, checkpoint, root.name)
        yield from days


def _newest_checkpoint(root: Path, wanted: str | None) -> Checkpoint | None:
    """The newest valid checkpoint; None without one, or for another symbol than the wanted one."""
    symbol = unquote(root.name)
    return newest_checkpoint(root, symbol) if wanted in (None, symbol) else None


def read_sources(directory: Path, symbol: str | None = None) -> dict[str, tuple[SourceFigures, ...]]:
    """Returns what came of the sources of each symbol that has several, by its id, from the checkpoints of a state directory.

    Raises RecoveryError as `read_report`. An output directory says nothing of sources.
    """
    found: dict[str, tuple[SourceFigures, ...]] = {}
    for root in sorted(path for path in directory.iterdir() if (path / "checkpoints").is_dir()):
        checkpoint = _newest_checkpoint(root, symbol)
        if checkpoint is not None and checkpoint.state.merge is not None:
            found[checkpoint.state.id] = checkpoint.state.merge.figures
    return found


def _add_gaps(days: Sequence[DayQuality], checkpoint: Checkpoint, directory_name: str) -> None:
    """Add the gaps' times to the days of which the output has all."""
    output_dir, rows = checkpoint.manifest.output_dir, checkpoint.state.order_book_state.rows
    counts = {day.day: day.gaps for day in days if day.gaps}
    found = find_gaps(Path(output_dir), directory_name, rows, counts) if output_dir and counts else {}
    for day in days:
        if day.day in found:
            day.gap_times, day.gap_sizes = map(tuple, zip(*found[day.day], strict=True))


def _split_state(symbol: str, state: PipelineState) -> list[DayQuality]:
    """A symbol's days in their order; a row without a day if no message was accepted."""
    days = split_days(symbol, state.order_book_state.days)
    if not days:
        values = state.order_book_state.values
        days = [_make_nothing(symbol)]
        days[0].dead_letters = sum(values.get(f"dead_{reason}", 0) for reason in REASONS)
    return days


def split_days(symbol: str, rows: npt.NDArray[np.void]) -> list[DayQuality]:
    """A symbol's days in their order, of its DAY_ROWs. Those of a day that event time came back to are added."""
    days: dict[str, DayQuality] = {}
    before = np.zeros((), rows.dtype)
    for row in rows:
        day = _make_day(symbol, row, before)
        if day.day in days:
            days[day.day].add(day)
        else:
            days[day.day] = day
        before = row
    return [days[name] for name in sorted(days)]


def _make_day(symbol: str, row: Any, before: Any) -> DayQuality:
    """Returns what a DAY_ROW adds to the one before it."""

    def count(name: str) -> int:
        return int(row[name]) - int(before[name])

    day = DayQuality(symbol, (_EPOCH + timedelta(days=int(row["day"]))).isoformat())
    for name in _COUNTS:
        setattr(day, name, count(name))
    day.snapshots_judged = count("witnesses")
    day.matched = {kind: count(f"{field}_matched") for kind, field in AUDIT_FIELDS.items()}
    day.failed = {kind: count(f"{field}_failed") for kind, field in AUDIT_FIELDS.items()}
    day.first_time, day.last_time = int(row["first_time"]), int(row["last_time"])
    day.first_snapshot_time = int(row["first_snapshot_time"])
    return day


def _list_symbols(output_dir: Path) -> list[str]:
    return sorted({unquote(path.name.removeprefix("symbol=")) for path in output_dir.glob("[!.]*/symbol=*")})


def _read_parts(output_dir: Path, symbol: str) -> Iterator[DayQuality]:
    retrying(lambda: _check_parts(output_dir, symbol))
    days: dict[str, DayQuality] = {}
    firsts: dict[str, int] = {}
    for directory in sorted(output_dir.glob("[!.]*/symbol=*/date=*")):
        if unquote(directory.parent.name.removeprefix("symbol=")) != symbol:
            continue
        day = days.setdefault(directory.name.removeprefix("date="), DayQuality(symbol, directory.name.removeprefix("date=")))
        for path in sorted(directory.glob("*.parquet")):
            try:
                _add_part(day, directory.parent.parent.name, pq.ParquetFile(path), firsts)
            except UNREADABLE as error:
                raise unreadable(path, error) from error
    yield from (days[name] for name in sorted(days))


def _check_parts(output_dir: Path, symbol: str) -> None:
    """Raises QueryError if a part is missing: what it had would be missing in the report."""
    output = SymbolOutput(output_dir, symbol)
    check_contiguous(output.cuts)
    for number in range(len(output.cuts)):
        output.check_parts(number, *output.streams)


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
        table = part.read(["ts_event", "missing"])
        sizes = table["missing"].to_pylist()
        day.gaps += rows
        day.missing_updates += sum(size for size in sizes if size is not None)
        day.gap_sizes = (*(day.gap_sizes or ()), *sizes)
        day.gap_times = (*(day.gap_times or ()), *table["ts_event"].cast(pa.int64()).to_pylist())
    elif stream == "bbo":
        table = part.read(["bid_price", "ask_price"])
        day.crossed += pc.sum(pc.greater(table["bid_price"], table["ask_price"])).as_py() or 0
    elif stream == "drift":
        _add_drift(day, part)
    elif stream == "audits":
        day.refuted += rows
        for kind in part.read(["kind"])["kind"].to_pylist():
            day.failed[kind] += 1
    elif stream == "dead_letter":
        day.dead_letters += rows


def _add_drift(day: DayQuality, part: pq.ParquetFile) -> None:
    """Add the comparisons with snapshots that judged a synced book. Parts of an older release do not tell them apart."""
    names = ["was_synced", "levels_compared", "levels_missing", "levels_extra", "levels_differing", "levels_learned"]
    if "levels_learned" not in part.schema_arrow.names:
        return
    table = part.read(names)
    table = table.filter(table["was_synced"])
    total = {name: pc.sum(table[name]).as_py() or 0 for name in names[1:]}
    day.snapshots_judged += table.num_rows
    day.levels_compared += total["levels_compared"]
    day.levels_wrong += total["levels_missing"] + total["levels_extra"] + total["levels_differing"]
    day.levels_learned += total["levels_learned"]


def make_total(days: Sequence[DayQuality]) -> DayQuality:
    """Returns the sums over all days."""
    total = _make_nothing("total")
    for day in days:
        total.add(day)
    return total


def count_verdicts(days: Sequence[DayQuality]) -> dict[str, int]:
    """Returns how many days have each verdict, in the order of the legend."""
    counts = Counter(judge_day(day).word for day in days)
    return {word: counts[word] for word in WORDS if counts[word]}


def several_days(count: int) -> str:
    """A number of days in words."""
    return f"{count:,} {'day' if count == 1 else 'days'}"


def _make_nothing(name: str) -> DayQuality:
    """Returns a row of zeros without a day."""
    nothing = DayQuality(name, "", matched=dict.fromkeys(AUDIT_KINDS, 0))
    for count in _FROM_STATE:
        setattr(nothing, count, 0)
    return nothing
