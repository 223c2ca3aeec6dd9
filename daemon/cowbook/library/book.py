"""The live book that `replay` yields, and a copy of it that stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cowbook.book.ladder import BID
from cowbook.book.ladder_view import Ladder
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.library.numbers import Numbers, Scale
from cowbook.library.reading import Best, BookReading, Trades
from cowbook.plain.book_state import PLACES
from cowbook.plain.messages import MESSAGE, NONE
from cowbook.plain.vocabulary import TRADE_SIDES

Kind = Literal[
    "diff", "snapshot", "trade", "ticker", "dead_letter", "other_symbol", "unused", "subscription", "trades", "break", "nothing"
]
KINDS: tuple[Kind, ...] = (
    *("diff", "snapshot", "trade", "ticker", "dead_letter", "other_symbol", "unused", "subscription", "trades"),
    "break",
)
"""Names of the kinds of messages, by their numbers in plain/messages.py."""

_SIGNS = np.array([{"buy": 1, "sell": -1}.get(side, 0) for side in TRADE_SIDES], np.int8)
_WORDS = MESSAGE.itemsize // 8
_NAMES = MESSAGE.names or ()
_KIND, _RECEIVED = _NAMES.index("kind"), _NAMES.index("ts_recv")
_BID_PRICE, _BID_SIZE, _ASK_PRICE, _ASK_SIZE = (
    PLACES[f"bbo_{name}"] for name in ("bid_price", "bid_size", "ask_price", "ask_size")
)
_LAST_TIME, _NEXT_EVENT, _BEST_IS_KNOWN = (PLACES[name] for name in ("last_time", "next_event", "best_is_known"))


class ReplayedBook(OrderBookEngine, BookReading):
    """The book of one symbol, as `replay` shows it between two records. It is one object, which goes on with the loop.

    Everything is read from the book as it stands now; keep `copy()` of it, not the object. It is an `OrderBookEngine`, too:
    `bids` and `asks` have the exact fixed-point levels and what of them is known. Prices and sizes of all else are what `numbers`
    of `replay` says: floats by default.
    """

    def __init__(self, settings: EngineSettings, identity: tuple[str, str, str], numbers: Numbers) -> None:
        """`identity` is id, symbol and format."""
        super().__init__(settings)
        self.id, self.symbol, self.format = identity
        self._price = Scale(self.settings.price_decimals, numbers)
        self._size = Scale(self.settings.size_decimals, numbers)
        # As floats they are read in every step: a division is all that it takes.
        self._price_divisor = 10**self.settings.price_decimals if numbers == "float64" else 0
        self._bids, self._asks = super().bids, super().asks  # views that follow the book
        self._instant: int | None = None
        self._records = memoryview(b"")  # of the batch: words of MESSAGE, as int64
        self._last = -1  # the last record's place in it
        self._first_event = 0  # of the step
        self._trades_before: list[npt.NDArray[np.void]] = []  # the step's trades that a cut has taken from the open rows
        # No message has written the best levels yet.
        for place in (_BID_PRICE, _BID_SIZE, _ASK_PRICE, _ASK_SIZE):
            self._view[place] = NONE

    def _best(self) -> Best:
        view = self._view
        return view[_BID_PRICE], view[_BID_SIZE], view[_ASK_PRICE], view[_ASK_SIZE]

    @property
    def bids(self) -> Ladder:
        """The live bid side, highest price first, in exact fixed-point numbers."""
        return self._bids

    @property
    def asks(self) -> Ladder:
        """The live ask side, lowest price first, in exact fixed-point numbers."""
        return self._asks

    @property
    def time(self) -> int | None:
        """Event time of the last accepted depth message or trade, ns since 1970. None before the first one."""
        time: int = self._view[_LAST_TIME]
        return None if time == NONE else time

    @property
    def instant(self) -> int | None:
        """The time for which the book is shown, ns since 1970: the point of the grid if `every` is a time, else `time`."""
        return self.time if self._instant is None else self._instant

    @property
    def bid_price(self) -> Any:
        """The best bid's price; None without bids."""
        price: int = self._view[_BID_PRICE]
        if price == NONE:
            return None
        return price / self._price_divisor if self._price_divisor else self._price.value(price)

    @property
    def ask_price(self) -> Any:
        """The best ask's price; None without asks."""
        price: int = self._view[_ASK_PRICE]
        if price == NONE:
            return None
        return price / self._price_divisor if self._price_divisor else self._price.value(price)

    @property
    def best_is_known(self) -> bool:
        """True if the best prices are known on both sides: the book is synced, and no better level can be missing."""
        return bool(self._view[_BEST_IS_KNOWN])

    @property
    def kind(self) -> Kind:
        """What the last record is: "diff", "snapshot", "trade", "trades" (several), "ticker", or nothing that a book is made of.

        That is "dead_letter" (rejected), "other_symbol", "unused", "subscription" or "break". "nothing": no record was read yet.
        """
        return "nothing" if self._last < 0 else KINDS[self._records[self._last * _WORDS + _KIND]]

    @property
    def received(self) -> int | None:
        """When the recorder received the last record, ns since 1970; None if the record does not say it."""
        time: int = NONE if self._last < 0 else self._records[self._last * _WORDS + _RECEIVED]
        return None if time == NONE else time

    @property
    def trades(self) -> Trades:
        """The trades of the records since the last step: arrays of time, price, size, side and id, made when asked for.

        Behind the loop there are none: keep those of the last step inside.
        """
        rows = self._trades_since(self.open_rows()["trades"])
        if self._trades_before:
            rows = np.concatenate([*self._trades_before, rows])
        side = _SIGNS[rows["is_sell"]]
        price, size = self._price.array(rows["price"].copy()), self._size.array(rows["size"].copy())
        return Trades(rows["ts_event"].copy(), price, size, side, rows["trade_id"].copy())

    def _trades_since(self, rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Those of the step."""
        return rows[int(np.searchsorted(rows["event_index"], self._first_event)) :]

    def copy(self, depth: int | None = None) -> BookCopy:
        """Returns a copy that stays as the book is now, of the best `depth` levels of each side; None for all.

        It takes a microsecond for some hundred levels. `snapshot()` is quicker for deep books, but only two may be held.
        """
        return BookCopy(
            id=self.id,
            symbol=self.symbol,
            format=self.format,
            time=self.time,
            instant=self.instant,
            received=self.received,
            kind=self.kind,
            synced=self.synced,
            best_is_known=self.best_is_known,
            event_count=self.event_count,
            last_id=self.last_id,
            trades=self.trades,
            bids=SideCopy.of(self.bids, depth),
            asks=SideCopy.of(self.asks, depth),
            _price=self._price,
            _size=self._size,
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SideCopy:
    """One side of a book that stays, in fixed-point numbers, best price first. It reads like `Ladder`."""

    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    side_number: int
    """0 for bids, 1 for asks."""
    known_to: int | None
    """The worst price to which every level is known; None if nothing is known."""
    is_whole: bool
    """True if every level of the side is known, and that there are no others. It says nothing of levels that were not copied."""

    @classmethod
    def of(cls, side: Ladder, depth: int | None) -> SideCopy:
        """Copy the best `depth` levels of a side; None for all."""
        return cls(*side.levels(depth), side.side_number, side.known_to, side.is_whole)

    def __len__(self) -> int:
        """Number of levels that were copied."""
        return len(self.prices)

    def best(self) -> tuple[int, int] | None:
        """(price, size) of the best level; None for an empty side."""
        return (int(self.prices[0]), int(self.sizes[0])) if len(self.prices) else None

    def levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(prices, sizes) of the best `depth` levels, best first; None for all."""
        return self.prices[:depth], self.sizes[:depth]

    def size_at(self, price: int) -> int:
        """Size at a price; 0 where there is no level."""
        found = np.flatnonzero(self.prices == price)
        return int(self.sizes[found[0]]) if len(found) else 0

    def is_known(self, price: int) -> bool:
        """True if the size at a price is known, be it 0."""
        if self.known_to is None:
            return False
        return price >= self.known_to if self.side_number == BID else price <= self.known_to

    def known_levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """As `levels`, without the levels that are not known."""
        prices, sizes = self.levels(depth)
        if self.known_to is None:
            return prices[:0], sizes[:0]
        known = prices >= self.known_to if self.side_number == BID else prices <= self.known_to
        return prices[known], sizes[known]


@dataclass(frozen=True, eq=False, repr=False)
class BookCopy(BookReading):
    """A copy of a `ReplayedBook` that stays as it was. It reads like it, but cannot be applied to."""

    id: str
    symbol: str
    format: str
    time: int | None
    instant: int | None
    received: int | None
    kind: Kind
    synced: bool
    best_is_known: bool
    event_count: int
    last_id: int
    trades: Trades
    bids: SideCopy
    asks: SideCopy
    _price: Scale
    _size: Scale

    def _best(self) -> Best:
        return *(self.bids.best() or (NONE, NONE)), *(self.asks.best() or (NONE, NONE))
