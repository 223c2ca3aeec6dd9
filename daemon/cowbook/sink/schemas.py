"""Makes the tables of a cut's rows, stream by stream, from the one table of streams (plain/streams.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.kernels.jit import as_records
from cowbook.plain.frame import Frame
from cowbook.plain.messages import NONE, DeadLetter
from cowbook.plain.rows import OpenRows
from cowbook.plain.streams import STREAMS, Column, Kind, Stream
from cowbook.plain.vocabulary import CHECKSUM, WITNESS
from cowbook.sink.columns import TIME, NumberColumn, NumberKind, boolean, choice, fixed_point_text, optional, required
from cowbook.sink.depth_kernel import spread
from cowbook.sink.feature_columns import best_of, stream_columns

_Values = npt.NDArray[Any]
_Made = tuple[str, pa.Array, bool]
"""A column's name, its values, and whether it may be null."""


class StreamTables:
    """Makes the tables of a symbol's streams."""

    def __init__(
        self,
        price_decimals: int,
        size_decimals: int,
        book_levels: int,
        *,
        has_ids: bool = True,
        numbers: NumberKind = "decimal",
    ) -> None:
        """`has_ids`: every depth message and every trade has an id. Otherwise the columns of ids may be null."""
        self._has_ids = has_ids
        self._price_decimals, self._size_decimals = price_decimals, size_decimals
        self._book_levels = book_levels
        self._types = {Kind.INTEGER: pa.int64(), Kind.ID: pa.int64(), Kind.TIME: TIME}
        self._prices, self._sizes = NumberColumn(price_decimals, numbers), NumberColumn(size_decimals, numbers)
        # Whole numbers say nothing without their decimals.
        self._metadata = {"price_decimals": str(price_decimals), "size_decimals": str(size_decimals)}
        if numbers != "int64":
            self._metadata = {}
        # Reused between cuts: the first touch of fresh memory costs more than filling it.
        self._times = np.empty((4, 0), np.int64)
        self._flags = np.empty((4, 0), np.int8)

    def make(self, rows: OpenRows, dead_letters: Sequence[DeadLetter], frame: Frame | None = None) -> dict[str, pa.Table]:
        """Make the tables of the streams that have rows in this cut, by name. `dead_letters` are those of its `dead_letter` rows.

        `frame` is the book at the cut before. A cut without other rows has no part of it. The tables are valid until the next
        call.
        """
        tables = {}
        for stream in STREAMS:
            if stream.is_frame:
                if frame is not None and not rows.is_empty:
                    tables[stream.name] = _table(self._frame_columns(stream, frame), self._metadata)
            elif len(rows[stream.name]):
                tables[stream.name] = _table(self._columns(stream, rows, dead_letters), self._metadata)
        return tables

    def _columns(self, stream: Stream, rows: OpenRows, dead_letters: Sequence[DeadLetter]) -> Iterator[_Made]:
        """All columns of a stream, in their order."""
        own = rows[stream.name]
        spreads = self._spread(own, len(rows[f"{stream.name}_prices"])) if stream.has(Kind.LEVELS) else {}
        for column in stream.columns:
            match column.kind:
                case Kind.LEVELS:
                    yield from self._levels(spreads["side"], rows[f"{stream.name}_prices"], rows[f"{stream.name}_sizes"])
                case Kind.GRID:
                    yield from self._grid(rows[f"{stream.name}_levels"])
                case Kind.FEATURES:
                    yield from self._features(rows[f"{stream.name}_numbers"])
                case Kind.RECORD:
                    yield from _records(dead_letters)
                case Kind.SIZE_SUM:
                    yield column.name, self._size_sums(*(own[field] for field in column.fields)), False
                case Kind.QUOTE:
                    yield column.name, pa.array([self._quote(row, column) for row in own], pa.string()), False
                case _:
                    yield self._plain(column, spreads[column.name] if spreads else own[column.fields[0]])

    def _frame_columns(self, stream: Stream, frame: Frame) -> Iterator[_Made]:
        """All columns of the stream of frames, in their order."""
        row, count = frame.row[0], len(frame)
        bids = int(row["bid_count"])
        is_ask, known = np.zeros(count, np.int8), np.zeros(count, np.int8)
        is_ask[bids:] = 1
        known[: row["bids_known"]] = known[bids : bids + row["asks_known"]] = 1
        for column in stream.columns:
            if column.kind is Kind.LEVELS:
                yield from self._levels(is_ask, frame.prices, frame.sizes)
            else:
                yield self._plain(column, known if column.name == "known" else np.full(count, row[column.name]))

    def _levels(self, is_ask: _Values, prices: _Values, sizes: _Values) -> Iterator[_Made]:
        """The columns of levels: 0 for a bid or 1 for an ask, and fixed-point numbers."""
        yield "side", choice(is_ask, ("bid", "ask")), False
        yield "price", self._prices.make(prices), False
        yield "size", self._sizes.make(sizes), False

    def _plain(self, column: Column, values: _Values) -> _Made:
        """A column with one value in each row."""
        if column.kind in (Kind.FLAG, Kind.LAST):
            return column.name, boolean(values), False
        if column.kind is Kind.CHOICE:
            return column.name, choice(values, column.names), False
        if column.kind is Kind.SMALL:
            return column.name, required(values.astype(np.int16), pa.int16()), False
        if column.kind in (Kind.PRICE, Kind.SIZE):
            numbers = self._prices if column.kind is Kind.PRICE else self._sizes
            return column.name, numbers.make(values, may_be_null=column.optional), column.optional
        may_be_null = column.optional or (column.kind is Kind.ID and not self._has_ids)
        return column.name, (optional if may_be_null else required)(values, self._types[column.kind]), may_be_null

    def _spread(self, messages: _Values, count: int) -> dict[str, _Values]:
        """A value for each of the `count` levels of the messages, by the column's name."""
        if self._times.shape[1] < count:
            self._times = np.empty((4, count), np.int64)
            self._flags = np.empty((4, count), np.int8)
        times = ("event_index", "ts_event", "ts_recv", "update_id")
        flags = ("side", "kind", "is_last", "synced")
        columns: dict[str, _Values] = {
            **{name: array[:count] for name, array in zip(times, self._times, strict=True)},
            **{name: array[:count] for name, array in zip(flags, self._flags, strict=True)},
        }
        spread(as_records(messages), *columns.values())
        return columns

    def _grid(self, levels: _Values) -> Iterator[_Made]:
        prices, sizes = self._prices, self._sizes
        for level in range(self._book_levels):
            for place, (name, made) in enumerate((("bid_px", prices), ("bid_sz", sizes), ("ask_px", prices), ("ask_sz", sizes))):
                yield f"{name}_{level:02d}", made.make(levels[:, 4 * level + place], may_be_null=True), True

    def _features(self, numbers: _Values) -> Iterator[_Made]:
        """Best prices and sizes, exact; everything else as doubles."""
        for name, values, valid in best_of(numbers).quotes():
            kind = self._prices if name.endswith("price") else self._sizes
            yield name, kind.make(np.where(valid, values, NONE), may_be_null=True), True
        for name, column in stream_columns(numbers, self._price_decimals, self._size_decimals):
            yield name, column, not name.endswith(("_volume", "_count"))

    def _size_sums(self, high: _Values, low: _Values) -> pa.Array:
        sums = [
            Decimal(int(units) * 10**18 + int(rest)).scaleb(-self._size_decimals) for units, rest in zip(high, low, strict=True)
        ]
        if self._sizes.kind == "float64":
            return pa.array(map(float, sums), pa.float64())
        return pa.array(sums, pa.decimal128(38, self._size_decimals))  # more than an int64 holds

    def _quote(self, row: np.void, column: Column) -> str:
        """Best bid and ask as `bid_price x bid_size / ask_price x ask_size`; for a checksum, the number."""
        bid_price, bid_size, ask_price, ask_size = (int(row[field]) for field in column.fields)
        if row["kind"] == CHECKSUM:
            return str(bid_price)
        if row["kind"] == WITNESS:  # the first level that differs
            side, price, size = ("ask", ask_price, ask_size) if bid_price < 0 else ("bid", bid_price, bid_size)
            return f"{side} {fixed_point_text(price, self._price_decimals)} x {fixed_point_text(size, self._size_decimals)}"
        sides = [
            f"{fixed_point_text(price, self._price_decimals)} x {fixed_point_text(size, self._size_decimals)}"
            for price, size in ((bid_price, bid_size), (ask_price, ask_size))
        ]
        return " / ".join(sides)


def _records(dead_letters: Sequence[DeadLetter]) -> Iterator[_Made]:
    kinds = {"file": pa.string(), "offset": pa.int64(), "length": pa.int64(), "reason": pa.string(), "content": pa.binary()}
    for name, kind in kinds.items():
        yield name, pa.array([getattr(letter, name) for letter in dead_letters], kind), False


def _table(columns: Iterator[_Made], metadata: dict[str, str]) -> pa.Table:
    made = list(columns)
    schema = pa.schema([pa.field(name, array.type, may_be_null) for name, array, may_be_null in made], metadata or None)
    return pa.Table.from_arrays([array for _, array, _ in made], schema=schema)
