"""What a question for the book gives: its levels, what is known of them, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.plain.counting import counted
from cowbook.query.times import iso

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BookSide:
    """One side of a book, best price first. `len()` is the number of its levels."""

    prices: Integers
    """int64, in units of 10^-price_decimals."""
    sizes: Integers
    """int64, in units of 10^-size_decimals; none is 0."""
    price_decimals: int
    size_decimals: int
    known: int | None
    """How many of the levels, counted from the best, are shown to be known: at least these. 0 if the book is not synced; None
    where the output does not show it."""
    bound: int | None = None
    """The price of the last level that is shown to be known, as a fixed-point int, among all levels of the book."""

    def __len__(self) -> int:
        """Number of levels."""
        return len(self.prices)

    def __repr__(self) -> str:
        """The best level and the number of levels: the arrays would fill the screen."""
        known = "" if self.known is None else f", at least {self.known:,} known"
        return f"<BookSide of {counted(len(self), 'level')}, best {_best_text(self)}{known}>"

    @property
    def known_to(self) -> Decimal | None:
        """`bound` as an exact decimal: all levels up to this price are known. None if none is shown to be."""
        return None if self.bound is None else _decimal(self.bound, self.price_decimals)

    @property
    def best(self) -> tuple[Decimal, Decimal] | None:
        """Price and size of the best level, exact; None for an empty side."""
        return self.decimals(1)[0] if len(self) else None

    def decimals(self, levels: int | None = None) -> list[tuple[Decimal, Decimal]]:
        """(price, size) of the best `levels`, or of all: exact decimals."""
        return [
            (_decimal(price, self.price_decimals), _decimal(size, self.size_decimals))
            for price, size in zip(self.prices[:levels].tolist(), self.sizes[:levels].tolist(), strict=True)
        ]

    def floats(self, levels: int | None = None) -> tuple[Floats, Floats]:
        """Prices and sizes of the best `levels`, or of all: two float64 arrays. Each is the float nearest to the exact number."""
        return self.prices[:levels] / 10.0**self.price_decimals, self.sizes[:levels] / 10.0**self.size_decimals

    def integers(self, levels: int | None = None) -> tuple[Integers, Integers]:
        """Prices and sizes of the best `levels`, or of all: two int64 arrays, as `prices` and `sizes`."""
        return self.prices[:levels], self.sizes[:levels]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row of `gaps`, `drift` or `audits` near the instant."""

    event: int
    """The next event behind it."""
    time: int
    """Event time in ns."""
    text: str
    """What it says, for people."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"event": self.event, "time": iso(self.time), "text": self.text}


@dataclass(frozen=True, slots=True)
class Proof:
    """What the book was made of, and what the output has for and against it."""

    frame_event: int | None
    """The first event behind the frame with which it begins; None if it was made from the first event, or from a snapshot on."""
    changes: int
    """Rows of `depth` that were read behind that."""
    compared_with_bbo: int | None
    """The event of the row of `bbo` whose best prices and sizes it has; None where there is none to compare it with."""
    gaps: int
    """Rows of `gaps` behind the frame and up to the instant."""
    last_gap: Evidence | None
    next_gap: Evidence | None
    last_comparison: Evidence | None
    """The last comparison with a depth snapshot (a row of `drift`) up to the instant."""
    next_comparison: Evidence | None
    last_failure: Evidence | None
    """The last failed comparison (a row of `audits`) up to the instant."""
    next_failure: Evidence | None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.to_json() if isinstance(value, Evidence) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True, eq=False)
class InstantBook:
    """The book of a symbol at an instant, exact: that of the engine between two messages."""

    symbol: str
    bids: BookSide
    asks: BookSide
    asked_time: int | None
    """The time that was asked for, in ns; None if an event, or the end, was."""
    event: int
    """The last event before the instant."""
    time: int
    """Event time in ns since 1970 of the last depth message that has rows: since then the book is as it is."""
    update_id: int | None
    """The id of the book then; None where the venue has none."""
    synced: bool | None
    """Whether the input proves that the book follows the exchange's. None where the output does not show it: a record was
    rejected since the last depth message, and what became of sync shows only behind the next one."""
    synced_since: int | None
    """Event time in ns since when the book has been synced at least; None if it is not, or the output does not show it."""
    is_at_end: bool
    """The output has no later event. What happened between it and the time that was asked for, it does not show."""
    proof: Proof

    @property
    def datetime(self) -> datetime:
        """`time` as a datetime in UTC, cut down to microseconds."""
        return datetime.fromtimestamp(self.time // 10**9, UTC).replace(microsecond=self.time % 10**9 // 1000)

    @property
    def known(self) -> tuple[int | None, int | None]:
        """How many of the best bids and asks are shown to be known: `bids.known` and `asks.known`."""
        return self.bids.known, self.asks.known

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid, exact; None where a side is empty."""
        if self.bids.best is None or self.asks.best is None:
            return None
        return self.asks.best[0] - self.bids.best[0]

    @property
    def mid(self) -> Decimal | None:
        """The middle between best bid and best ask, exact; None where a side is empty."""
        if self.bids.best is None or self.asks.best is None:
            return None
        return (self.asks.best[0] + self.bids.best[0]) / 2

    def to_arrow(self) -> pa.Table:
        """As a table: side, price, size, known (null where the output does not show it); bids best first, then asks."""
        columns: list[list[pa.Array]] = [[], [], [], []]
        for name, side in (("bid", self.bids), ("ask", self.asks)):
            count = len(side)
            known = None if side.known is None else np.arange(count) < side.known
            columns[0].append(pa.array([name] * count, pa.string()))
            columns[1].append(_decimal_column(side.prices, side.price_decimals))
            columns[2].append(_decimal_column(side.sizes, side.size_decimals))
            columns[3].append(pa.nulls(count, pa.bool_()) if known is None else pa.array(known))
        made = [pa.chunked_array(chunks).combine_chunks() for chunks in columns]
        whole = {name: str(value) for name, value in self.to_json().items() if name not in ("bids", "asks", "proof")}
        return pa.table(
            made, ["side", "price", "size", "known"], metadata={f"cowbook.{key}": text for key, text in whole.items()}
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values: prices and sizes as text, exact; times as ISO 8601 and in ns."""
        return {
            "symbol": self.symbol,
            "asked_time": None if self.asked_time is None else iso(self.asked_time),
            "event": self.event,
            "time": iso(self.time),
            "time_ns": self.time,
            "update_id": self.update_id,
            "synced": self.synced,
            "synced_since": None if self.synced_since is None else iso(self.synced_since),
            "is_at_end": self.is_at_end,
            "bids_known": self.bids.known,
            "asks_known": self.asks.known,
            "bids_known_to": _text(self.bids.known_to),
            "asks_known_to": _text(self.asks.known_to),
            "bids": [[f"{price:f}", f"{size:f}"] for price, size in self.bids.decimals()],
            "asks": [[f"{price:f}", f"{size:f}"] for price, size in self.asks.decimals()],
            "proof": self.proof.to_json(),
        }

    def __repr__(self) -> str:
        """The best prices, and where in the output they are."""
        bid, ask = (_best_text(side) for side in (self.bids, self.asks))
        state = {True: "synced", False: "not synced", None: "synced or not"}[self.synced]
        counts = f"{counted(len(self.bids), 'bid')}, {counted(len(self.asks), 'ask')}"
        return f"<InstantBook of {self.symbol} at {iso(self.time)}, event {self.event:,}: {bid} | {ask}, {state}, {counts}>"


def _best_text(side: BookSide) -> str:
    """The best price and its size, without zeros that say nothing."""
    return " x ".join(f"{number.normalize():f}" for number in side.best) if side.best else "nothing"


def _decimal_column(values: Integers, decimals: int) -> pa.Array:
    """Fixed-point numbers as decimal128(18, decimals)."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0], words[:, 1] = values, values >> 63  # the sign
    return pa.Array.from_buffers(pa.decimal128(18, decimals), len(values), [None, pa.py_buffer(words)])


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _decimal(value: int, decimals: int) -> Decimal:
    return Decimal(int(value)).scaleb(-decimals)
