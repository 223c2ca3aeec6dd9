"""The live book for whoever asks: read from a snapshot in a thread of the writers, and encoded there, without holding the GIL."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cowbook.book.freeze import BookSnapshot
from cowbook.book.ladder_view import Ladder
from cowbook.plain.messages import NONE

JSON, ARROW = "json", "arrow"
FORMS = JSON, ARROW

_Values = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BookRequest:
    """What somebody asks for."""

    symbol: str  # the id
    levels: int | None  # of each side, the best; None for all
    form: str  # one of FORMS
    price_decimals: int
    size_decimals: int

    def read(self, snapshot: BookSnapshot) -> bytes:
        """Returns the book as JSON, or as an Arrow stream of one table. Any thread may call it until the snapshot is released."""
        sides = [(name, side, *side.levels(self.levels)) for name, side in (("bid", snapshot.bids), ("ask", snapshot.asks))]
        head = self._head(snapshot)
        return self._to_json(head, sides) if self.form == JSON else self._to_arrow(head, sides)

    def _head(self, snapshot: BookSnapshot) -> dict[str, object]:
        bids, asks = snapshot.bids, snapshot.asks
        last_id = snapshot.value("last_id")
        return {
            "symbol": self.symbol,
            "event": snapshot.value("next_event") - 1,
            "time_ns": _or_none(snapshot.value("last_depth_time")),
            "newest_ns": _or_none(snapshot.value("newest")),
            "update_id": _or_none(last_id),
            "synced": bool(snapshot.value("synced")),
            "bid_levels": len(bids),
            "ask_levels": len(asks),
            "bids_known_to": self._known_to(bids),
            "asks_known_to": self._known_to(asks),
            "bids_whole": bids.is_whole,
            "asks_whole": asks.is_whole,
        }

    def _known_to(self, side: Ladder) -> str | None:
        """The price to which every level is known, as text; None where none is, and where the side is known as a whole."""
        if side.known_to is None or side.is_whole:
            return None
        return str(fixed_point_texts(np.array([side.known_to]), self.price_decimals)[0].as_py())

    def _to_json(self, head: dict[str, object], sides: list[tuple[str, Ladder, _Values, _Values]]) -> bytes:
        text = json.dumps(head)[:-1]
        for name, _, prices, sizes in sides:
            price = fixed_point_texts(prices, self.price_decimals)
            size = fixed_point_texts(sizes, self.size_decimals)
            rows = pc.binary_join_element_wise('["', price, '", "', size, '"]', "")
            joined = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), ", ")
            text += f', "{name}s": [{joined[0].as_py()}]'
        return (text + "}\n").encode()

    def _to_arrow(self, head: dict[str, object], sides: list[tuple[str, Ladder, _Values, _Values]]) -> bytes:
        names, prices, sizes, known = [], [], [], []
        for name, side, price, size in sides:
            names.append(pa.repeat(name, len(price)))
            prices.append(_decimals(price, self.price_decimals))
            sizes.append(_decimals(size, self.size_decimals))
            count = len(side.known_levels(len(price))[0])
            known.append(pa.array(np.arange(len(price)) < count))
        columns = [pa.chunked_array(chunks) for chunks in (names, prices, sizes, known)]
        metadata = {f"cowbook.{key}": str(value) for key, value in head.items()}
        table = pa.table(columns, ["side", "price", "size", "known"], metadata=metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def _or_none(value: int) -> int | None:
    return None if value == NONE else value


def fixed_point_texts(values: _Values, decimals: int) -> pa.Array:
    """Fixed-point numbers as text, with all their decimals."""
    digits = pc.utf8_lpad(pc.cast(pa.array(np.abs(values)), pa.string()), decimals + 1, "0")
    if decimals:
        digits = pc.binary_join_element_wise(
            pc.utf8_slice_codeunits(digits, 0, -decimals), pc.utf8_slice_codeunits(digits, -decimals), "."
        )
    return pc.binary_join_element_wise(pc.if_else(pa.array(values < 0), "-", ""), digits, "")


def _decimals(values: _Values, decimals: int) -> pa.Array:
    """Fixed-point numbers as decimal128(18, decimals)."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0], words[:, 1] = values, values >> 63  # the sign
    return pa.Array.from_buffers(pa.decimal128(18, decimals), len(values), [None, pa.py_buffer(words)])
