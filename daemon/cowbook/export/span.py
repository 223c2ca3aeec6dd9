"""A span of a symbol's published events: the book at its start, and the rows behind it, cut by cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.errors import ExportError, QueryError, UsageError
from cowbook.plain.messages import NONE
from cowbook.query.columns import PartReader
from cowbook.query.fold import Folding, check_events
from cowbook.query.instant import Instant, at_end, describe_span, find_time
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous
from cowbook.query.times import iso

Integers = npt.NDArray[np.int64]

DAY_NS = 86_400 * 10**9

_DEPTH = ("event_index", "ts_event", "ts_recv", "update_id", "side", "price", "size", "kind", "is_last", "synced")
_TRADES = ("event_index", "ts_event", "ts_recv", "trade_id", "side", "price", "size")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of a stream, column by column as `PartReader.read` gives them. All columns have one length, 0 included."""

    columns: dict[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column."""
        return self.columns[name]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns["event_index"])


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The rows of `depth` and `trades` of one cut that lie in the span."""

    depth: Rows
    trades: Rows


@dataclass(frozen=True, slots=True, eq=False)
class StartBook:
    """The book in front of a span: prices and sizes of a side, best first, as fixed-point ints."""

    bids: tuple[Integers, Integers]
    asks: tuple[Integers, Integers]
    time: int  # event time in ns of its last message
    update_id: int  # NONE where the venue has no ids
    synced: bool

    def __len__(self) -> int:
        """Number of levels."""
        return len(self.bids[0]) + len(self.asks[0])


def check_order(start: int | None, end: int | None) -> None:
    """Raises UsageError if nothing lies between two times."""
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--to {iso(end)} is not behind --from {iso(start)}: nothing lies between")


class Span:
    """Events of a symbol from the first one whose time is at least `start` to the last one before `end` (ns).

    Time is the running maximum of event time, as `cowbook book --at` takes it (ADR 20), so a span is one run of events. None is
    the beginning or the end of the output.
    """

    def __init__(self, output_dir: Path, symbol: str, start: int | None, end: int | None) -> None:
        """Finds the parts. Raises QueryError if there are none, one is missing, or the span has no event."""
        check_order(start, end)
        self.output = SymbolOutput(output_dir, symbol)
        self.start_time, self.end_time = start, end
        self.output.need("depth", "which is to be written")
        cuts = self.output.cuts
        before = None if start is None else find_time(self.output, start - 1)
        last = at_end(self.output) if end is None else find_time(self.output, end - 1)
        first_event = cuts[0].first if before is None else before.event + 1
        if last is None or last.event < first_event:
            raise QueryError(f"{output_dir} has no event of {symbol} in that span: {describe_span(self.output)}")
        self._first_event, self._last = first_event, last
        self._before = before
        self._first_cut = 0 if before is None else before.cut
        check_contiguous(cuts[self._first_cut : last.cut + 1])
        first_with_depth = next(cut for cut in range(len(cuts)) if "depth" in cuts[cut].parts)
        self.price_decimals, self.size_decimals = _decimals(PartReader("depth", cuts[first_with_depth].parts["depth"]))

    def start_book(self) -> StartBook | None:
        """The whole book in front of the first event. None where there is none: nothing of `depth` lies before it."""
        before = self._before
        if before is None:
            if self.output.cuts[0].first == 0:
                return None
            before = Instant(0, self.output.cuts[0].first - 1, None, is_at_end=False)
        if before.event < 0:
            return None
        if self.output.cuts[0].first == 0 and not self._has_depth(before):
            return None
        fold = Folding(self.output, before).run()
        if (fold.price_decimals, fold.size_decimals) != (self.price_decimals, self.size_decimals):
            raise QueryError(f"{self.output.output_dir} has parts with different decimals of {self.output.symbol}")
        last = fold.last or fold.frame
        if last is None:
            return None
        return StartBook(fold.bids, fold.asks, last.time, last.update_id, last.synced)

    def pieces(self) -> Iterator[Piece]:
        """The rows, cut by cut. Raises QueryError if a part is missing or damaged."""
        for cut in range(self._first_cut, self._last.cut + 1):
            self.output.check_depth(cut)
            yield Piece(self._rows("depth", cut, _DEPTH), self._rows("trades", cut, _TRADES))
            self.output.forget(cut)

    def _rows(self, stream: str, cut: int, names: tuple[str, ...]) -> Rows:
        reader = self.output.reader(stream, cut)
        if reader is None:
            return Rows({name: np.empty(0, np.int64) for name in names})
        self._check_decimals(reader)
        columns = reader.read(*names)
        of = self.output.cuts[cut]
        check_events(reader, columns[0], of.first, of.last)
        begin, end = np.searchsorted(columns[0], (self._first_event, self._last.event + 1))
        return Rows(dict(zip(names, (column[begin:end] for column in columns), strict=True)))

    def _check_decimals(self, reader: PartReader) -> None:
        if _decimals(reader) != (self.price_decimals, self.size_decimals):
            raise QueryError(f"{reader.part.path} has other decimals of price and size than the parts before it")

    def _has_depth(self, before: Instant) -> bool:
        for cut in self.output.cuts[: before.cut + 1]:
            if "depth" in cut.parts:
                (events,) = PartReader("depth", cut.parts["depth"]).read("event_index", rows=1)
                return bool(events[0] <= before.event)
        return False


def _decimals(reader: PartReader) -> tuple[int, int]:
    """Decimals of prices and sizes. Raises QueryError for doubles, of which no exact steps can be told."""
    prices, sizes = reader.decimals("price"), reader.decimals("size")
    if prices is None or sizes is None:
        raise QueryError(f'{reader.part.path} has doubles, which are not exact; it needs [output] numbers = "decimal" or "int64"')
    return prices, sizes


def rising(times: Integers, newest: int, what: str) -> Integers:
    """The running maximum of times (ns) from `newest` on, for programs that take no time that goes back.

    Raises ExportError where a time lies more than a day behind the maximum: then a time before it is wrong, and would move all
    that follow.
    """
    if not len(times):
        return times
    highest = np.maximum(np.maximum.accumulate(times), newest)
    wrong = highest - times > DAY_NS
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ExportError(
            f"{what} falls from {iso(int(highest[row]))} to {iso(int(times[row]))}, more than a day: one of them is wrong; "
            "export what lies before and behind it with --from and --to"
        )
    return highest


def receive_times(rows: Rows) -> Integers:
    """`ts_recv`, and `ts_event` where the capture has none."""
    return np.where(rows["ts_recv"] == NONE, rows["ts_event"], rows["ts_recv"])


def step(values: list[Integers]) -> int:
    """The greatest common divisor of all values; 0 if none differs from 0."""
    return int(np.gcd.reduce([int(np.gcd.reduce(each)) for each in values if len(each)] or [0]))


def trailing_decimals(value: int, decimals: int) -> int:
    """How many of `decimals` digits multiples of a fixed-point value need."""
    while decimals and value % 10 == 0:
        value //= 10
        decimals -= 1
    return decimals
