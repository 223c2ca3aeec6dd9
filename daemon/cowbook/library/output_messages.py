"""Published rows as messages again, cut by cut, with what the output shows to be known.

The output says less than the book knew, and nothing here says more than the output. After a message that was synced, the book
counts as synced only if the next depth message finds it so: what ends sync between two messages may leave no row. How far a side
is known shows in `frame`, `bbo` and `book`. What a row shows counts from the next message on, since what is known does not shrink
while the book stays synced and is not replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.book.state import ALL_OF_ASKS, ALL_OF_BIDS, NOTHING_OF_ASKS, NOTHING_OF_BIDS
from cowbook.errors import QueryError
from cowbook.plain.messages import DIFF, NONE, TRADE
from cowbook.plain.vocabulary import CLEAR
from cowbook.query.columns import PartReader
from cowbook.query.fold import check_events
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous

Integers = npt.NDArray[np.int64]

MESSAGE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",  # DIFF: whatever changes the book; TRADE
            "ts_event",
            "event",  # its last one
            # Its range of the rows; of a trade there is none.
            "first_row",
            "row_count",
            "was_synced",  # right behind it
            "synced",  # up to the next message
            "is_clear",  # it replaces the book
            # What is shown before it of what is known.
            "bid_bound",
            "ask_bound",
            # Of a trade.
            "is_sell",
            "size",
        )
    ]
)

_DOUBLES = 8
"""Decimals of prices and sizes that were written as doubles."""


class OutputRows(NamedTuple):
    """Messages, and their rows of `depth`: 0 for a bid or 1 for an ask, and fixed-point numbers."""

    messages: npt.NDArray[np.void]  # MESSAGE
    sides: Integers
    prices: Integers
    sizes: Integers
    is_clear: npt.NDArray[np.bool_]

    @classmethod
    def nothing(cls) -> OutputRows:
        """No message."""
        empty = np.empty(0, np.int64)
        return cls(np.zeros(0, MESSAGE), empty, empty, empty, np.empty(0, np.bool_))


class OutputMessages:
    """The messages of a symbol's output."""

    def __init__(self, output: SymbolOutput) -> None:
        """Raises QueryError if a part that is needed is missing or damaged."""
        self._output = output
        first = next(reader for cut in range(len(output.cuts)) if (reader := output.reader("depth", cut)) is not None)
        decimals = first.decimals("price"), first.decimals("size")
        self.decimals = _DOUBLES if decimals[0] is None else decimals[0], _DOUBLES if decimals[1] is None else decimals[1]
        """Of prices and sizes."""

    @property
    def has_trades(self) -> bool:
        """Whether the output has trades; also if there were none, as far as it shows."""
        if "trades" in self._output.streams:
            return True
        readers = (self._output.reader("depth", cut) for cut in range(len(self._output.cuts)))
        return sum(reader.row_count for reader in readers if reader is not None) == sum(
            cut.event_count for cut in self._output.cuts
        )

    def first_cut(self, begins: int | None, interval: int) -> int:
        """The cut to begin with, so that a row lies before the first one from `begins` on, all of it behind a frame."""
        cuts = self._output.cuts
        days = [cut.date for cut in cuts]
        if begins is not None and interval and days == sorted(days):
            for cut in range(len(cuts) - 1, 0, -1):
                reader = self._output.reader("frame", cut)
                extremes = None if reader is None else reader.extremes("ts_event")
                if extremes is not None and extremes[1] < begins - 2 * interval:
                    return cut
                self._output.forget(cut)
        if cuts[0].first != 0 and "frame" not in cuts[0].parts:
            raise QueryError(
                f"the book of {self._output.symbol} has no frame to begin with, and events 0 to {cuts[0].first - 1} are "
                "in no part: restore the oldest parts, or add frame to [output] streams and make the output anew"
            )
        return 0

    def read(self, first: int) -> Iterator[OutputRows]:
        """Yield the messages of each cut from `first` on, the book at its start as a message of its own."""
        check_contiguous(self._output.cuts[first:])
        held: OutputRows | None = None
        for cut in range(first, len(self._output.cuts)):
            self._output.check_depth(cut)
            if cut == first and (start := self._start(cut)) is not None:
                yield start
            rows = self._read_cut(cut)
            self._output.forget(cut)
            if not len(rows.messages):
                continue
            if held is not None:
                if (rows.messages["kind"] == DIFF).any():
                    _end_sync_before(held.messages, rows.messages)
                    yield held
                    held = rows
                else:
                    held = _joined(held, rows)
            else:
                held = rows
        if held is not None:
            self._end_sync_at_end(held.messages)
            yield held

    def _end_sync_at_end(self, messages: npt.NDArray[np.void]) -> None:
        """End sync behind the last depth message, if something that may end it is the last that the output has."""
        depth = np.flatnonzero(messages["kind"] == DIFF)
        if not len(depth):
            return
        for cut in range(len(self._output.cuts)):
            if self._output.cuts[cut].last < messages["event"][depth[-1]]:
                continue
            for stream in ("gaps", "audits", "dead_letter"):
                reader = self._output.reader(stream, cut)
                if reader is not None and (reader.read("event_index")[0] > messages["event"][depth[-1]]).any():
                    messages["synced"][depth[-1]] = 0

    def _start(self, cut: int) -> OutputRows | None:
        """The frame of a cut as a message that replaces the book; None if it has none."""
        reader = self._output.reader("frame", cut)
        if reader is None:
            return None
        times, sides, synced = reader.read("ts_event", "side", "synced")
        count = len(sides)
        message = np.zeros(1, MESSAGE)
        message["kind"], message["ts_event"], message["event"] = DIFF, times[0], self._output.cuts[cut].first - 1
        message["row_count"], message["synced"], message["is_clear"] = count, synced[0], 1
        message["bid_bound"], message["ask_bound"] = NOTHING_OF_BIDS, NOTHING_OF_ASKS
        return OutputRows(
            message, sides.astype(np.int64), self._fixed(reader, "price"), self._fixed(reader, "size"), np.zeros(count, np.bool_)
        )

    def _read_cut(self, cut: int) -> OutputRows:
        of, output = self._output.cuts[cut], self._output
        depth, trades = output.reader("depth", cut), output.reader("trades", cut)
        parts, rows = [np.zeros(0, MESSAGE)], OutputRows.nothing()
        if depth is not None:
            messages, rows = self._read_depth(depth, of.first, of.last)
            parts.append(messages)
        if trades is not None:
            events, times, is_sell = trades.read("event_index", "ts_event", "side")
            check_events(trades, events, of.first, of.last)
            made = np.zeros(len(events), MESSAGE)
            made["kind"], made["event"], made["ts_event"], made["is_sell"] = TRADE, events, times, is_sell
            made["size"] = self._fixed(trades, "size")
            parts.append(made)
        messages = np.concatenate(parts)
        messages = messages[np.argsort(messages["event"], kind="stable")]
        self._note_known(cut, messages)
        return rows._replace(messages=messages)

    def _read_depth(self, reader: PartReader, first: int, last: int) -> tuple[npt.NDArray[np.void], OutputRows]:
        names = ("event_index", "ts_event", "side", "kind", "is_last", "synced")
        events, times, sides, kinds, is_last, synced = reader.read(*names)
        check_events(reader, events, first, last)
        if not len(events) or not is_last[-1]:
            raise QueryError(f"{reader.part.path} is damaged: its last row should end a message")
        ends = np.flatnonzero(is_last)
        starts = np.concatenate([[0], ends[:-1] + 1])
        messages = np.zeros(len(ends), MESSAGE)
        messages["kind"], messages["event"], messages["ts_event"] = DIFF, events[ends], times[ends]
        messages["first_row"], messages["row_count"] = starts, ends - starts + 1
        messages["is_clear"] = kinds[starts] == CLEAR
        stays = synced[ends].copy()
        messages["was_synced"] = stays
        stays[:-1] &= synced[ends[1:]] & (kinds[starts[1:]] != CLEAR)
        messages["synced"] = stays
        prices, sizes = self._fixed(reader, "price"), self._fixed(reader, "size")
        return messages, OutputRows(messages, sides.astype(np.int64), prices, sizes, kinds == CLEAR)

    def _note_known(self, cut: int, messages: npt.NDArray[np.void]) -> None:
        """Note what the cut's rows of `frame`, `bbo` and `book` show, in the messages behind them."""
        messages["bid_bound"], messages["ask_bound"] = NOTHING_OF_BIDS, NOTHING_OF_ASKS
        if not len(messages):
            return
        for events, synced, bounds in self._shown(cut):
            places = np.searchsorted(messages["event"], events, "right")
            counts = synced & (places < len(messages))
            for name, bound, widen in (("bid_bound", bounds[0], np.minimum), ("ask_bound", bounds[1], np.maximum)):
                widen.at(messages[name], places[counts], bound[counts])

    def _shown(self, cut: int) -> Iterator[tuple[Integers, npt.NDArray[np.bool_], list[Integers]]]:
        """Yield the events, whether the book was synced, and the bounds of bids and asks that rows of each stream show."""
        frame, bbo, book = (self._output.reader(stream, cut) for stream in ("frame", "bbo", "book"))
        nothing, everything = (NOTHING_OF_BIDS, NOTHING_OF_ASKS), (ALL_OF_BIDS, ALL_OF_ASKS)
        if frame is not None:
            events, sides, known, synced = frame.read("event_index", "side", "known", "synced")
            prices = self._fixed(frame, "price")
            bounds = [np.where(known & (sides == number), prices, nothing[number]) for number in (0, 1)]
            yield events - 1, synced, bounds
        if bbo is not None:
            events, synced, *is_known = bbo.read("event_index", "synced", "bid_known", "ask_known")
            bounds = []
            for number, name in enumerate(("bid_price", "ask_price")):
                prices = self._fixed(bbo, name)
                bounds.append(np.where(is_known[number], np.where(prices == NONE, everything[number], prices), nothing[number]))
            yield events, synced, bounds
        if book is not None:
            events, synced, *counts = book.read("event_index", "synced", "bids_known", "asks_known")
            bounds = []
            for number, side in enumerate(("bid", "ask")):
                bound = np.full(len(events), nothing[number])
                for count in np.unique(counts[number][counts[number] > 0]).tolist():
                    rows = counts[number] == count
                    bound[rows] = self._fixed(book, f"{side}_px_{count - 1:02d}")[rows]
                bounds.append(bound)
            yield events, synced, bounds

    def _fixed(self, reader: PartReader, name: str) -> Integers:
        """A column of prices or sizes in fixed-point. Raises QueryError if its doubles have more decimals than are looked for."""
        (values,) = reader.read(name)
        written = reader.decimals(name)
        wanted = self.decimals["size" in name or "_sz_" in name]
        if written is not None:
            if written != wanted:
                raise QueryError(f"{reader.part.path} has {written} decimals of {name}, other parts {wanted}")
            return values
        present = values != NONE
        scaled = np.rint(np.where(present, values, 0.0) * 10.0**wanted)
        if (np.abs(scaled) >= 2.0**62).any() or (scaled / 10.0**wanted != np.where(present, values, 0.0)).any():
            what = f"{reader.part.path}: {name} has doubles of more than {wanted} decimals"
            raise QueryError(f'{what}: set [output] numbers to "decimal" or "int64"')
        return np.where(present, scaled.astype(np.int64), NONE)


def _end_sync_before(messages: npt.NDArray[np.void], later: npt.NDArray[np.void]) -> None:
    """End sync behind the last depth message, if the first one of the next cut does not find the book synced."""
    depth, following = np.flatnonzero(messages["kind"] == DIFF), later[later["kind"] == DIFF][0]
    if len(depth) and (not following["was_synced"] or following["is_clear"]):
        messages["synced"][depth[-1]] = 0


def _joined(one: OutputRows, other: OutputRows) -> OutputRows:
    """The messages of a cut, and of the next one, which has trades alone."""
    return one._replace(messages=np.concatenate([one.messages, other.messages]))
