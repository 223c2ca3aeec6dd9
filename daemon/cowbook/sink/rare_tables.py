"""Makes the tables of the rare streams, which have texts, sums or quotients, for pyarrow to encode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.plain.features import COUNT_NAMES, VOLUME_NAMES
from cowbook.plain.messages import NONE, DeadLetter
from cowbook.plain.rows import OpenRows
from cowbook.plain.streams import Column, Kind, Stream
from cowbook.plain.vocabulary import CHECKSUM, WITNESS
from cowbook.sink.columns import TIME, NumberColumn, boolean, choice, fixed_point_text, optional, required
from cowbook.sink.feature_columns import best_of, stream_columns

RARE_KINDS = (Kind.SIZE_SUM, Kind.QUOTE, Kind.FEATURES, Kind.RECORD)
"""A stream that has a column of one of these kinds is a table."""

_Values = npt.NDArray[Any]
_Made = tuple[str, pa.Array, bool]
"""A column's name, its values, and whether it may be null."""


class RareTables:
    """Makes the tables of a symbol's rare streams."""

    def __init__(self, prices: NumberColumn, sizes: NumberColumn, *, has_ids: bool) -> None:
        self._prices, self._sizes = prices, sizes
        self._has_ids = has_ids

    def make(self, stream: Stream, rows: OpenRows, dead_letters: Sequence[DeadLetter], metadata: dict[str, str]) -> pa.Table:
        """The table of a stream's rows. `dead_letters` are those of the rows of `dead_letter`."""
        made = list(self._columns(stream, rows, dead_letters))
        schema = pa.schema([pa.field(name, array.type, may_be_null) for name, array, may_be_null in made], metadata)
        return pa.Table.from_arrays([array for _, array, _ in made], schema=schema)

    def _columns(self, stream: Stream, rows: OpenRows, dead_letters: Sequence[DeadLetter]) -> Iterator[_Made]:
        """All columns of a stream, in their order."""
        own = rows[stream.name]
        for column in stream.columns:
            match column.kind:
                case Kind.FEATURES:
                    yield from self._features(rows[f"{stream.name}_numbers"])
                case Kind.RECORD:
                    yield from _records(dead_letters)
                case Kind.SIZE_SUM:
                    yield column.name, self._size_sums(*(own[field] for field in column.fields)), False
                case Kind.QUOTE:
                    yield column.name, pa.array([self._quote(row, column) for row in own], pa.string()), False
                case _:
                    yield self._plain(column, own[column.fields[0]])

    def _plain(self, column: Column, values: _Values) -> _Made:
        """A column with one value in each row."""
        if column.kind is Kind.FLAG:
            return column.name, boolean(values), False
        if column.kind is Kind.CHOICE:
            return column.name, choice(values, column.names), False
        may_be_null = column.optional or (column.kind is Kind.ID and not self._has_ids)
        kind = TIME if column.kind is Kind.TIME else pa.int64()
        return column.name, (optional if may_be_null else required)(values, kind), may_be_null

    def _features(self, numbers: _Values) -> Iterator[_Made]:
        """Best prices and sizes, exact; everything else as doubles."""
        for name, values, valid in best_of(numbers).quotes():
            kind = self._prices if name.endswith("price") else self._sizes
            yield name, kind.make(np.where(valid, values, NONE), may_be_null=True), True
        for name, column in stream_columns(numbers, self._prices.decimals, self._sizes.decimals):
            yield name, column, name not in (*VOLUME_NAMES, *COUNT_NAMES)

    def _size_sums(self, high: _Values, low: _Values) -> pa.Array:
        decimals = self._sizes.decimals
        sums = [Decimal(int(units) * 10**18 + int(rest)).scaleb(-decimals) for units, rest in zip(high, low, strict=True)]
        if self._sizes.kind == "float64":
            return pa.array(map(float, sums), pa.float64())
        return pa.array(sums, pa.decimal128(38, decimals))  # more than an int64 holds

    def _quote(self, row: np.void, column: Column) -> str:
        """Best bid and ask as `bid_price x bid_size / ask_price x ask_size`; for a checksum, the number."""
        bid_price, bid_size, ask_price, ask_size = (int(row[field]) for field in column.fields)
        if row["kind"] == CHECKSUM:
            return str(bid_price)
        if row["kind"] == WITNESS:  # the first level that differs
            side, price, size = ("ask", ask_price, ask_size) if bid_price == NONE else ("bid", bid_price, bid_size)
            return f"{side} {self._level(price, size)}"
        return " / ".join(self._level(price, size) for price, size in ((bid_price, bid_size), (ask_price, ask_size)))

    def _level(self, price: int, size: int) -> str:
        return f"{fixed_point_text(price, self._prices.decimals)} x {fixed_point_text(size, self._sizes.decimals)}"


def _records(dead_letters: Sequence[DeadLetter]) -> Iterator[_Made]:
    kinds = {"file": pa.string(), "offset": pa.int64(), "length": pa.int64(), "reason": pa.string(), "content": pa.binary()}
    for name, kind in kinds.items():
        yield name, pa.array([getattr(letter, name) for letter in dead_letters], kind), False
