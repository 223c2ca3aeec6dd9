"""Folds the newest frame and the rows of `depth` behind it into the book, without a loop over rows (ADR 20)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.errors import QueryError
from cowbook.plain.vocabulary import CLEAR
from cowbook.query.columns import PartReader
from cowbook.query.instant import Instant
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous

_MOST_TICKS = 4_000_000
"""Up to so many ticks between the lowest and the highest price, a table with a place for each is faster than sorting."""

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""Prices or sizes as they are written: int64 in units of 10^-decimals, or doubles."""


@dataclass(frozen=True, slots=True)
class FrameStart:
    """The frame that a fold begins with."""

    event: int  # the cut's first event
    time: int  # event time in ns of the depth message before it
    update_id: int
    synced: bool
    bound: tuple[float | None, float | None]  # of bids and asks: the worst price that is known


@dataclass(frozen=True, slots=True)
class LastRow:
    """The last row of `depth` before an instant."""

    event: int
    time: int
    update_id: int
    synced: bool


@dataclass(slots=True)
class SideFold:
    """One side, gathered from its newest row to its oldest."""

    prices: list[Numbers] = field(default_factory=list)
    sizes: list[Numbers] = field(default_factory=list)
    is_cleared: bool = False  # nothing older counts

    def add_older(self, prices: Numbers, sizes: Numbers) -> None:
        """Add levels, of which each price comes once. Those of prices that have a newer one do not count."""
        if self.prices and len(prices):
            new = ~np.isin(prices, np.concatenate(self.prices))
            prices, sizes = prices[new], sizes[new]
        self.prices.append(prices)
        self.sizes.append(sizes)

    def levels(self, *, is_bid: bool) -> tuple[Numbers, Numbers]:
        """Prices and sizes, best first."""
        nothing = [np.empty(0, np.int64)]
        prices, sizes = np.concatenate(self.prices or nothing), np.concatenate(self.sizes or nothing)
        there = sizes != 0
        prices, sizes = prices[there], sizes[there]
        order = np.argsort(prices)[:: -1 if is_bid else 1]
        return prices[order], sizes[order]


@dataclass(frozen=True, slots=True)
class Fold:
    """The book at an instant, and what it was made of."""

    bids: tuple[Numbers, Numbers]
    asks: tuple[Numbers, Numbers]
    frame: FrameStart | None
    first_cut: int  # the cut with which the fold begins
    changes: int  # rows of `depth` between the frame and the instant
    last: LastRow | None  # the last of these rows; None if there is none
    restart: int | None  # last event of the last message here that cleared the book or was not synced
    synced_since: int | None  # event time in ns since when all that was read is synced
    price_decimals: int | None  # None for doubles
    size_decimals: int | None


class Folding:
    """Gathers the book from its newest cut to the oldest one that counts."""

    def __init__(self, output: SymbolOutput, instant: Instant) -> None:
        self._output, self._instant = output, instant
        self._sides = SideFold(), SideFold()
        self._decimals: tuple[int | None, int | None] | None = None
        self._changes = 0
        self._last: LastRow | None = None
        self._restart: int | None = None
        self._synced_since: int | None = None

    def run(self) -> Fold:
        """Returns the book. Raises QueryError if a part that it needs is missing or damaged."""
        cuts = self._output.cuts
        frame, number = None, self._instant.cut
        while True:
            self._add_changes(number)
            frame = self._add_frame(number)
            if frame is not None or all(side.is_cleared for side in self._sides):
                break
            if number == 0:
                if cuts[0].first != 0:
                    raise QueryError(
                        f"the book of {self._output.symbol} has no frame to begin with, and events 0 to {cuts[0].first - 1} are "
                        "in no part: restore the oldest parts, or add frame to [output] streams and make the output anew"
                    )
                break
            number -= 1
            check_contiguous(cuts[number : number + 2])
        return self._finish(frame, number)

    def _finish(self, frame: FrameStart | None, first_cut: int) -> Fold:
        if self._decimals is None:
            raise QueryError(f"{self._output.output_dir} has no row of depth of {self._output.symbol} before this instant")
        bids, asks = self._sides
        return Fold(
            bids.levels(is_bid=True),
            asks.levels(is_bid=False),
            frame,
            first_cut,
            self._changes,
            self._last,
            self._restart,
            self._synced_since,
            *self._decimals,
        )

    def _add_changes(self, number: int) -> None:
        """Add a cut's rows of `depth` up to the instant."""
        self._output.check_depth(number)
        cut, reader = self._output.cuts[number], self._output.reader("depth", number)
        if reader is None or self._instant.event < cut.first:
            return
        self._take_decimals(reader)
        (events,) = reader.read("event_index")
        check_events(reader, events, cut.first, cut.last)
        count = int(np.searchsorted(events, self._instant.event, "right"))
        if not count:
            return
        events = events[:count]
        names = ("ts_event", "update_id", "side", "price", "size", "kind", "is_last", "synced")
        times, ids, sides, prices, sizes, kinds, is_last, synced = reader.read(*names, rows=count)
        if not is_last[-1]:
            raise QueryError(f"{reader.part.path} is damaged: event {events[-1]} should end a message")
        if self._last is None:
            self._last = LastRow(int(events[-1]), int(times[-1]), int(ids[-1]), bool(synced[-1]))
        self._changes += count
        restarts = np.flatnonzero((kinds == CLEAR) | ~synced)
        if self._restart is None and len(restarts):
            last = int(restarts[-1])
            self._restart = int(events[last + int(np.argmax(is_last[last:]))])
            begin = last if synced[last] else last + 1
            if begin < count:
                self._synced_since = int(times[begin])
        for side_number, side in enumerate(self._sides):
            if not side.is_cleared:
                own = sides == side_number
                clears = np.flatnonzero(own & (kinds == CLEAR))
                if len(clears):
                    own[: clears[-1] + 1] = False
                    side.is_cleared = True
                side.add_older(*_last_of_each(prices[own], sizes[own]))

    def _add_frame(self, number: int) -> FrameStart | None:
        """Add a cut's frame, if it has one and something of it counts."""
        reader = self._output.reader("frame", number)
        if reader is None:
            return None
        self._take_decimals(reader)
        events, times, ids, sides, prices, sizes, known, synced = reader.read(
            "event_index", "ts_event", "update_id", "side", "price", "size", "known", "synced"
        )
        first = self._output.cuts[number].first
        if not len(events) or (events != first).any():
            raise QueryError(f"{reader.part.path} is damaged: a frame has levels, all of event {first}")
        bounds: list[float | None] = []
        for side_number, side in enumerate(self._sides):
            own = sides == side_number
            if (np.diff(prices[own]) * (1 if side_number else -1) <= 0).any():
                raise QueryError(f"{reader.part.path} is damaged: its levels are not in order")
            if not side.is_cleared:
                side.add_older(prices[own], sizes[own])
            shown = prices[own & known]
            bounds.append(shown[-1].item() if len(shown) else None)
        if self._restart is None and synced[0]:
            self._synced_since = int(times[0])
        return FrameStart(first, int(times[0]), int(ids[0]), bool(synced[0]), (bounds[0], bounds[1]))

    def _take_decimals(self, reader: PartReader) -> None:
        decimals = reader.decimals("price"), reader.decimals("size")
        if self._decimals not in (None, decimals):
            raise QueryError(f"{reader.part.path} has {decimals} decimals of price and size, later parts {self._decimals}")
        self._decimals = decimals


def check_events(reader: PartReader, events: Integers, first: int, last: int) -> None:
    """Raises QueryError if events are not those of the part's name, in order."""
    if len(events) and (events[0] < first or events[-1] > last or (np.diff(events) <= 0).any()):
        raise QueryError(f"{reader.part.path} is damaged: it has events that are out of order, or not {first} to {last}")


def _last_of_each(prices: Numbers, sizes: Numbers) -> tuple[Numbers, Numbers]:
    """Each price once, with its last size."""
    if len(prices) and prices.dtype == np.int64:
        low = prices.min()
        ticks = prices - low
        tick = max(int(np.gcd.reduce(ticks)), 1)
        count = int(ticks.max()) // tick + 1
        if count <= max(_MOST_TICKS, 4 * len(prices)):
            # Of an index that comes several times in an assignment, numpy keeps the last value.
            last = np.full(count, -1, np.int64)
            last[ticks // tick] = np.arange(len(prices))
            rows = last[last >= 0]
            return prices[rows], sizes[rows]
    unique, rows = np.unique(prices[::-1], return_index=True)  # by sorting: ten times as long
    return unique, sizes[::-1][rows]


def to_fixed_point(*columns: Numbers) -> tuple[list[Integers], int]:
    """Doubles as whole numbers of 10^-decimals, with the fewest decimals that give all of them back.

    Raises QueryError if none do.
    """
    for decimals in range(19):
        scale = 10.0**decimals
        whole = [np.rint(np.asarray(column, np.float64) * scale) for column in columns]
        if all((np.abs(each) < 2.0**62).all() for each in whole) and all(
            (each / scale == column).all() for each, column in zip(whole, columns, strict=True)
        ):
            return [each.astype(np.int64) for each in whole], decimals
    raise QueryError('prices or sizes are doubles that need more than 18 digits: set [output] numbers to "decimal" or "int64"')
