"""Makes the files of a cut's rows, stream by stream, from the one table of streams (plain/streams.py).

Streams whose columns are numbers, flags and choices are encoded by kernels; what pyarrow takes for a row of `depth` is more than
everything before it takes (ADR 24). The rare streams, which have texts, sums or quotients, are tables that pyarrow encodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.plain.frame import Frame
from cowbook.plain.messages import DeadLetter
from cowbook.plain.parts import ROWS_OF_CUT, describe_rows
from cowbook.plain.rows import OpenRows
from cowbook.plain.streams import STREAMS, Column, Kind, Stream
from cowbook.sink import pages
from cowbook.sink.columns import NumberColumn, NumberKind
from cowbook.sink.encoding import encode
from cowbook.sink.number_kernel import columns_of
from cowbook.sink.parquet_file import Leaf, Logical, ParquetFile, Physical
from cowbook.sink.rare_tables import RARE_KINDS, RareTables

_Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StreamFile:
    """A stream's rows of one cut, as the bytes of a Parquet file."""

    stream: str
    rows: int
    content: memoryview


class StreamFiles:
    """Makes the files of a symbol's streams."""

    def __init__(
        self,
        price_decimals: int,
        size_decimals: int,
        book_levels: int,
        *,
        has_ids: bool = True,
        numbers: NumberKind = "decimal",
        compression: str = "zstd",
    ) -> None:
        """`has_ids`: every depth message and every trade has an id. Otherwise the columns of ids may be null.

        `compression` is "zstd" (at a fast level), "lz4", "snappy" or "none".
        """
        self._has_ids = has_ids
        self._book_levels = book_levels
        self._prices, self._sizes = NumberColumn(price_decimals, numbers), NumberColumn(size_decimals, numbers)
        # Whole numbers say nothing without their decimals.
        self._metadata = {"price_decimals": str(price_decimals), "size_decimals": str(size_decimals)}
        if numbers != "int64":
            self._metadata = {}
        self._compression = compression
        self._rare = RareTables(self._prices, self._sizes, has_ids=has_ids)

    def make(self, rows: OpenRows, dead_letters: Sequence[DeadLetter], frame: Frame | None = None) -> Iterator[StreamFile]:
        """Yields the files of the streams that have rows in this cut. `dead_letters` are those of its `dead_letter` rows.

        `frame` is the book at the cut before. A cut without other rows has no part of it.

        The metadata of each file say how many rows all streams have in this cut: any one shows whether another is missing.
        """
        frame = None if rows.is_empty else frame
        metadata = self._metadata | {ROWS_OF_CUT: describe_rows(_count_rows(rows, frame))}
        for stream in STREAMS:
            if stream.is_frame:
                if frame is not None:
                    yield self._frame_file(stream, frame, metadata)
            elif not len(rows[stream.name]):
                continue
            elif any(stream.has(kind) for kind in RARE_KINDS):
                table = self._rare.make(stream, rows, dead_letters, metadata)
                yield StreamFile(stream.name, table.num_rows, memoryview(encode(stream, table, self._compression)))
            elif stream.has(Kind.LEVELS):
                yield self._levels_file(stream, rows, metadata)
            else:
                yield self._rows_file(stream, rows, metadata)

    def _rows_file(self, stream: Stream, rows: OpenRows, metadata: dict[str, str]) -> StreamFile:
        """A file of a stream with a record for each row."""
        own = rows[stream.name]
        with pages.scratch_for(len(own)) as scratch:
            file = ParquetFile(len(own), self._compression, metadata)
            for column in stream.columns:
                if column.kind is Kind.GRID:
                    self._add_grid(file, scratch, rows[f"{stream.name}_levels"])
                else:
                    self._add_rows(file, scratch, column, own[column.fields[0]])
            return StreamFile(stream.name, len(own), file.finish())

    def _levels_file(self, stream: Stream, rows: OpenRows, metadata: dict[str, str]) -> StreamFile:
        """A file of a stream with a record for each message, which has a row for each of its levels."""
        own, prices = rows[stream.name], rows[f"{stream.name}_prices"]
        with pages.scratch_for(max(len(own), len(prices))) as scratch:
            messages = _messages(scratch, own)
            file = ParquetFile(len(prices), self._compression, metadata)
            for column in stream.columns:
                match column.kind:
                    case Kind.LEVELS:
                        self._add_levels(file, scratch, messages, prices, rows[f"{stream.name}_sizes"])
                    case Kind.LAST:
                        file.add(_leaf_of_flag(column), messages.ends(_of(own, column)))
                    case _ if column.name == "event_index":
                        file.add(self._leaf(column), messages.rising(_of(own, column)))
                    case _:
                        self._add_messages(file, messages, column, _of(own, column))
            return StreamFile(stream.name, len(prices), file.finish())

    def _frame_file(self, stream: Stream, frame: Frame, metadata: dict[str, str]) -> StreamFile:
        """The file of a frame, which has one record: the book."""
        own = frame.row
        with pages.scratch_for(len(frame)) as scratch:
            messages = _messages(scratch, own)
            file = ParquetFile(len(frame), self._compression, metadata)
            for column in stream.columns:
                if column.kind is Kind.LEVELS:
                    self._add_levels(file, scratch, messages, frame.prices, frame.sizes)
                elif column.name == "known":
                    known, bids = np.zeros(len(frame), np.int64), int(own["bid_count"][0])
                    known[: own["bids_known"][0]] = known[bids : bids + own["asks_known"][0]] = 1
                    file.add(_leaf_of_flag(column), pages.flags(scratch, known))
                else:
                    self._add_messages(file, messages, column, _of(own, column))
            return StreamFile(stream.name, len(frame), file.finish())

    def _add_rows(self, file: ParquetFile, scratch: pages.Scratch, column: Column, values: _Values) -> None:
        """Write a column with a value for each row."""
        values = np.ascontiguousarray(values)
        match column.kind:
            case Kind.FLAG:
                file.add(_leaf_of_flag(column), pages.flags(scratch, values))
            case Kind.CHOICE:
                file.add(_leaf_of_choice(column), pages.choices(scratch, values, column.names))
            case Kind.SMALL:
                file.add(Leaf(column.name, Physical.INT32, Logical.SHORT), pages.small_numbers(scratch, values))
            case Kind.PRICE | Kind.SIZE:
                made = self._prices if column.kind is Kind.PRICE else self._sizes
                self._add_numbers(file, scratch, made, column.name, values, optional=column.optional)
            case _:
                leaf = self._leaf(column)
                file.add(leaf, pages.numbers(scratch, values, optional=leaf.optional, has_statistics=column.statistics))

    def _add_messages(self, file: ParquetFile, messages: pages.Messages, column: Column, values: _Values) -> None:
        """Write a column with a value for each message."""
        match column.kind:
            case Kind.FLAG:
                file.add(_leaf_of_flag(column), messages.flags(values))
            case Kind.CHOICE:
                file.add(_leaf_of_choice(column), messages.choices(values, column.names))
            case _:
                leaf = self._leaf(column)
                file.add(leaf, messages.numbers(values, optional=leaf.optional, has_statistics=column.statistics))

    def _add_levels(
        self, file: ParquetFile, scratch: pages.Scratch, messages: pages.Messages, prices: _Values, sizes: _Values
    ) -> None:
        """Write side, price and size."""
        file.add(Leaf("side", Physical.BYTE_ARRAY, Logical.TEXT), messages.sides())
        self._add_numbers(file, scratch, self._prices, "price", prices)
        self._add_numbers(file, scratch, self._sizes, "size", sizes)

    def _add_grid(self, file: ParquetFile, scratch: pages.Scratch, levels: _Values) -> None:
        """Write price and size of the best levels of both sides."""
        columns = np.empty((4 * self._book_levels, len(levels)), np.int64)
        columns_of(levels, columns)
        sides = (("bid_px", self._prices), ("bid_sz", self._sizes), ("ask_px", self._prices), ("ask_sz", self._sizes))
        for level in range(self._book_levels):
            for place, (name, made) in enumerate(sides):
                self._add_numbers(file, scratch, made, f"{name}_{level:02d}", columns[4 * level + place], optional=True)

    def _add_numbers(
        self,
        file: ParquetFile,
        scratch: pages.Scratch,
        made: NumberColumn,
        name: str,
        values: _Values,
        *,
        optional: bool = False,
    ) -> None:
        """Write prices or sizes."""
        match made.kind:
            case "decimal":
                leaf = Leaf(name, Physical.INT64, Logical.DECIMAL, optional, made.decimals)
            case "int64":
                leaf = Leaf(name, Physical.INT64, optional=optional)
            case _:
                leaf = Leaf(name, Physical.DOUBLE, optional=optional)
        divisor = 10.0**made.decimals if made.kind == "float64" else None
        file.add(leaf, pages.numbers(scratch, values, optional=optional, dictionary=True, divisor=divisor))

    def _leaf(self, column: Column) -> Leaf:
        """An integer, a time or an id."""
        optional = column.optional or (column.kind is Kind.ID and not self._has_ids)
        return Leaf(column.name, Physical.INT64, Logical.TIME if column.kind is Kind.TIME else Logical.INTEGER, optional)


def _count_rows(rows: OpenRows, frame: Frame | None) -> dict[str, int]:
    """How many rows each stream has in a cut."""
    counts = {}
    for stream in STREAMS:
        if stream.is_frame:
            counts[stream.name] = 0 if frame is None else len(frame)
        else:
            counts[stream.name] = len(rows[f"{stream.name}_prices" if stream.has(Kind.LEVELS) else stream.name])
    return counts


def _messages(scratch: pages.Scratch, own: _Values) -> pages.Messages:
    return pages.Messages(scratch, *(np.ascontiguousarray(own[name]) for name in ("bid_count", "ask_count")))


def _of(own: _Values, column: Column) -> _Values:
    return np.ascontiguousarray(own[column.fields[0]])


def _leaf_of_flag(column: Column) -> Leaf:
    return Leaf(column.name, Physical.BOOLEAN)


def _leaf_of_choice(column: Column) -> Leaf:
    return Leaf(column.name, Physical.BYTE_ARRAY, Logical.TEXT)
