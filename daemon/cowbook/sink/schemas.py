"""The streams: their columns, and the table of each from the rows of a cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.plain.book_state import AUDIT_KINDS, CHECKSUM
from cowbook.plain.messages import DeadLetter
from cowbook.plain.rows import OpenRows
from cowbook.sink.columns import TIME, boolean, choice, fixed_point_text, optional, required
from cowbook.sink.depth_kernel import spread

STREAMS = ("depth", "trades", "bbo", "book", "gaps", "drift", "audits", "dead_letter")
"""All streams, in the order in which their parts are written."""


class StreamTables:
    """Makes the tables of a symbol's streams; prices and sizes are decimal64(18, decimals)."""

    def __init__(self, price_decimals: int, size_decimals: int, book_levels: int, *, has_ids: bool = True) -> None:
        """`has_ids` says that every depth message and trade has one; otherwise these columns may be null."""
        self._has_ids = has_ids
        self._price = pa.decimal64(18, price_decimals)
        self._size = pa.decimal64(18, size_decimals)
        self._price_decimals = price_decimals
        self._size_decimals = size_decimals
        self._book_levels = book_levels
        # Kept between cuts: touching fresh memory costs more than filling it.
        self._times = np.empty((4, 0), np.int64)
        self._flags = np.empty((3, 0), np.int8)

    def make(self, rows: OpenRows, dead_letters: Sequence[DeadLetter]) -> dict[str, pa.Table]:
        """Tables of the streams that have rows in this cut, by name; `dead_letters` are those of `rows.dead_events`.

        The tables are valid until the next call.
        """
        makers: dict[str, tuple[int, Callable[[], pa.Table]]] = {
            "depth": (len(rows.depth_messages), lambda: self._depth(rows)),
            "trades": (len(rows.trades), lambda: self._trades(rows)),
            "bbo": (len(rows.bbo), lambda: self._bbo(rows)),
            "book": (len(rows.book), lambda: self._book(rows)),
            "gaps": (len(rows.gaps), lambda: self._gaps(rows)),
            "drift": (len(rows.drift), lambda: self._drift(rows)),
            "audits": (len(rows.audits), lambda: self._audits(rows)),
            "dead_letter": (len(rows.dead_events), lambda: self._dead_letter(rows, dead_letters)),
        }
        return {stream: makers[stream][1]() for stream in STREAMS if makers[stream][0]}

    def _depth(self, rows: OpenRows) -> pa.Table:
        count = len(rows.depth_prices)
        if self._times.shape[1] < count:
            self._times = np.empty((4, count), np.int64)
            self._flags = np.empty((3, count), np.int8)
        times = [column[:count] for column in self._times]
        flags = [column[:count] for column in self._flags]
        spread(rows.depth_messages, *times, *flags)
        event_index, ts_event, ts_recv, update_id = times
        side, is_snapshot, synced = flags
        return _table(
            ("event_index", required(event_index, pa.int64()), False),
            ("ts_event", required(ts_event, TIME), False),
            ("ts_recv", optional(ts_recv, TIME), True),
            self._id("update_id", update_id),
            ("side", choice(side, ("bid", "ask")), False),
            ("price", required(rows.depth_prices, self._price), False),
            ("size", required(rows.depth_sizes, self._size), False),
            ("is_snapshot", boolean(is_snapshot), False),
            ("synced", boolean(synced), False),
        )

    def _trades(self, rows: OpenRows) -> pa.Table:
        trades = rows.trades
        return _table(
            ("event_index", required(trades["event_index"], pa.int64()), False),
            ("ts_event", required(trades["ts_event"], TIME), False),
            ("ts_recv", optional(trades["ts_recv"], TIME), True),
            self._id("trade_id", trades["trade_id"]),
            ("side", choice(trades["is_sell"], ("buy", "sell")), False),
            ("price", required(trades["price"], self._price), False),
            ("size", required(trades["size"], self._size), False),
            ("is_aggregate", boolean(trades["is_aggregate"]), False),
        )

    def _bbo(self, rows: OpenRows) -> pa.Table:
        bbo = rows.bbo
        return _table(
            ("event_index", required(bbo["event_index"], pa.int64()), False),
            ("ts_event", required(bbo["ts_event"], TIME), False),
            ("ts_recv", optional(bbo["ts_recv"], TIME), True),
            self._id("update_id", bbo["update_id"]),
            ("bid_price", optional(bbo["bid_price"], self._price), True),
            ("bid_size", optional(bbo["bid_size"], self._size), True),
            ("ask_price", optional(bbo["ask_price"], self._price), True),
            ("ask_size", optional(bbo["ask_size"], self._size), True),
            ("synced", boolean(bbo["synced"]), False),
        )

    def _book(self, rows: OpenRows) -> pa.Table:
        book = rows.book
        levels = [
            (f"{name}_{level:02d}", optional(rows.book_levels[:, 4 * level + place], kind), True)
            for level in range(self._book_levels)
            for place, (name, kind) in enumerate(
                (("bid_px", self._price), ("bid_sz", self._size), ("ask_px", self._price), ("ask_sz", self._size))
            )
        ]
        return _table(
            ("event_index", required(book["event_index"], pa.int64()), False),
            ("ts", required(book["ts"], TIME), False),
            self._id("update_id", book["update_id"]),
            ("synced", boolean(book["synced"]), False),
            *levels,
        )

    def _gaps(self, rows: OpenRows) -> pa.Table:
        gaps = rows.gaps
        return _table(
            ("event_index", required(gaps["event_index"], pa.int64()), False),
            ("ts_event", required(gaps["ts_event"], TIME), False),
            ("expected_id", required(gaps["expected_id"], pa.int64()), False),
            ("received_id", required(gaps["received_id"], pa.int64()), False),
            ("missing", optional(gaps["missing"], pa.int64()), True),
        )

    def _drift(self, rows: OpenRows) -> pa.Table:
        drift = rows.drift
        counts = ("levels_compared", "levels_missing", "levels_extra", "levels_differing")
        errors = [
            Decimal(int(high) * 10**18 + int(low)).scaleb(-self._size_decimals)
            for high, low in zip(drift["size_error_high"], drift["size_error_low"], strict=True)
        ]
        return _table(
            ("event_index", required(drift["event_index"], pa.int64()), False),
            ("ts_event", required(drift["ts_event"], TIME), False),
            self._id("update_id", drift["update_id"]),
            ("was_synced", boolean(drift["was_synced"]), False),
            *((name, required(drift[name], pa.int64()), False) for name in counts),
            ("size_error", pa.array(errors, pa.decimal128(38, self._size_decimals)), False),
        )

    def _audits(self, rows: OpenRows) -> pa.Table:
        audits = rows.audits
        return _table(
            ("event_index", required(audits["event_index"], pa.int64()), False),
            ("ts_event", required(audits["ts_event"], TIME), False),
            self._id("update_id", audits["update_id"]),
            ("kind", choice(audits["kind"], AUDIT_KINDS), False),
            ("expected", pa.array([self._quote(row, "expected") for row in audits], pa.string()), False),
            ("found", pa.array([self._quote(row, "found") for row in audits], pa.string()), False),
        )

    def _id(self, name: str, values: npt.NDArray[np.generic]) -> tuple[str, pa.Array, bool]:
        return (name, required(values, pa.int64()), False) if self._has_ids else (name, optional(values, pa.int64()), True)

    def _quote(self, row: np.void, which: str) -> str:
        """Best bid and ask as text: `bid_price x bid_size / ask_price x ask_size`; of a checksum the number."""
        if row["kind"] == CHECKSUM:
            return str(row[f"{which}_bid_price"])
        sides = []
        for side in ("bid", "ask"):
            price = fixed_point_text(int(row[f"{which}_{side}_price"]), self._price_decimals)
            size = fixed_point_text(int(row[f"{which}_{side}_size"]), self._size_decimals)
            sides.append(f"{price} x {size}")
        return " / ".join(sides)

    def _dead_letter(self, rows: OpenRows, dead_letters: Sequence[DeadLetter]) -> pa.Table:
        return _table(
            ("event_index", required(rows.dead_events, pa.int64()), False),
            ("file", pa.array([letter.file for letter in dead_letters], pa.string()), False),
            ("offset", pa.array([letter.offset for letter in dead_letters], pa.int64()), False),
            ("length", pa.array([letter.length for letter in dead_letters], pa.int64()), False),
            ("reason", pa.array([letter.reason for letter in dead_letters], pa.string()), False),
            ("content", pa.array([letter.content for letter in dead_letters], pa.binary()), False),
        )


def _table(*columns: tuple[str, pa.Array, bool]) -> pa.Table:
    """A table of (name, array, nullable) columns."""
    schema = pa.schema([pa.field(name, array.type, nullable) for name, array, nullable in columns])
    return pa.Table.from_arrays([array for _, array, _ in columns], schema=schema)
