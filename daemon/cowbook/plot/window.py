"""The part of a symbol's output that a picture shows: its cuts, its rows stream by stream, and columns of time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cowbook.errors import QueryError
from cowbook.plain.messages import NONE
from cowbook.plain.streams import STREAMS
from cowbook.query.columns import Array, PartReader
from cowbook.query.instant import Instant, at_end, at_time
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous
from cowbook.query.times import iso

Integers = npt.NDArray[np.int64]

_DECIMALS_OF_DOUBLES = 8
_EVENT_STREAMS = tuple(stream.name for stream in STREAMS if stream.are_events)


class Window:
    """A span of event time, divided into columns of equal width. A column shows the state at its end."""

    def __init__(self, output: SymbolOutput, start: int | None, end: int | None, columns: int) -> None:
        """`start` and `end`: ns since 1970; None: where the output begins or ends, and never beyond.

        Raises QueryError if the output has nothing in the span, or a part of it is missing.
        """
        self.output = output
        first, last = _first_time(output), _last_time(output)
        begins = first if start is None else max(start, first)
        ends = last if end is None else min(end, last)
        if begins >= ends:
            asked = f"{'its beginning' if start is None else iso(start)} to {'its end' if end is None else iso(end)}"
            raise QueryError(
                f"{output.output_dir} has nothing of {output.symbol} to show from {asked}: it has {iso(first)} to {iso(last)}"
            )
        self.begin = _before(output, begins) if begins == first else at_time(output, begins)
        """The instant at which the first column begins; None if there is nothing before it."""
        self.end = at_end(output) if ends == last else at_time(output, ends)
        self.edges: Integers = np.unique([begins + (ends - begins) * place // columns for place in range(columns + 1)])
        """Where columns begin and end, in ns: one more than there are columns."""
        first_cut = 0 if self.begin is None else self.begin.cut
        self.cuts = range(first_cut, self.end.cut + 1)
        check_contiguous(output.cuts[first_cut : self.end.cut + 1])
        for cut in self.cuts:
            output.check_depth(cut)
            output.forget(cut)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.edges) - 1

    @property
    def first_event(self) -> int:
        """The first event in it."""
        return self.output.cuts[0].first if self.begin is None else self.begin.event + 1

    def readers(self, stream: str) -> Iterator[PartReader]:
        """The stream's parts, in their order."""
        for cut in self.cuts:
            reader = self.output.reader(stream, cut)
            if reader is not None:
                yield reader
                self.output.forget(cut)

    def read(self, stream: str, *names: str) -> Iterator[list[Array]]:
        """Yields the columns `event_index`, `ts_event` and `names` of each part: the rows that are in the window.

        Times are running maxima: what is written later counts later. Prices are whole numbers, as `read_whole` makes them.
        """
        # The rows of other streams name the next event.
        late = 0 if stream in (*_EVENT_STREAMS, "bbo") else 1
        for reader in self.readers(stream):
            events, times, *others = read_whole(reader, "event_index", "ts_event", *names)
            if not len(events):
                continue
            running = np.maximum.accumulate(times)
            inside = (events >= self.first_event) & (events <= self.end.event + late)
            if late:
                inside &= (running >= self.edges[0]) & (running <= self.edges[-1])
            yield [column[inside] for column in (events, running, *others)]

    def column_of(self, times: Integers) -> Integers:
        """The columns at whose ends what happens at these times has happened."""
        return np.searchsorted(self.edges[1:-1], times, "left")


def decimals_of(reader: PartReader, name: str) -> int:
    """Decimals of the whole numbers for prices, or of the numbers for sizes: those of the column `price` or `size`."""
    decimals = reader.decimals(name)
    if decimals is not None:
        return decimals
    return _DECIMALS_OF_DOUBLES if name == "price" else 0


def read_whole(reader: PartReader, *names: str) -> list[Array]:
    """Columns as the reader has them, but prices that are doubles as whole numbers of 10^-8: a picture needs no more."""
    columns = reader.read(*names)
    return [column if name.endswith("size") else as_whole(column) for name, column in zip(names, columns, strict=True)]


def as_whole(prices: Array) -> Array:
    """Doubles as whole numbers of 10^-8; anything else as it is."""
    if prices.dtype != np.float64:
        return prices
    missing = prices == float(NONE)
    return np.where(missing, NONE, np.rint(np.where(missing, 0, prices) * 10.0**_DECIMALS_OF_DOUBLES)).astype(np.int64)


def _before(output: SymbolOutput, time: int) -> Instant | None:
    """The instant before all events of the output: None, or the frame with which its first cut begins."""
    first = output.cuts[0].first
    return Instant(0, first - 1, time, is_at_end=False) if first else None


def _first_time(output: SymbolOutput) -> int:
    """Event time in ns of the first row that is an event."""
    found: list[tuple[int, int]] = []
    for cut in range(len(output.cuts)):
        for stream in _EVENT_STREAMS:
            reader = output.reader(stream, cut)
            if reader is not None and reader.row_count:
                events, times = reader.read("event_index", "ts_event")
                found.append((int(events[0]), int(times[0])))
        if found:
            return min(found)[1]
    raise QueryError(f"{output.output_dir} has no row of depth or trades of {output.symbol}")


def _last_time(output: SymbolOutput) -> int:
    """The latest event time in ns of the last cut that has events."""
    for cut in reversed(range(len(output.cuts))):
        found = [
            int(reader.read("ts_event")[0].max())
            for reader in (output.reader(stream, cut) for stream in _EVENT_STREAMS)
            if reader is not None and reader.row_count
        ]
        if found:
            return max(found)
    raise QueryError(f"{output.output_dir} has no row of depth or trades of {output.symbol}")
