"""What can be read of a book between two messages, be it the live one of `replay` or a copy that stays."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cowbook.library.numbers import Numbers, Scale
from cowbook.library.times import to_datetime
from cowbook.plain.messages import NONE
from cowbook.query.times import iso

_BPS = 10_000


class Levels(NamedTuple):
    """The best levels of both sides, best first: four arrays. The sides may have different numbers of levels."""

    bid_prices: npt.NDArray[Any]
    bid_sizes: npt.NDArray[Any]
    ask_prices: npt.NDArray[Any]
    ask_sizes: npt.NDArray[Any]


class Trades(NamedTuple):
    """Trades in the order of their events: arrays of shape (trades,)."""

    time: npt.NDArray[np.int64]
    """Event times, ns since 1970."""
    price: npt.NDArray[Any]
    size: npt.NDArray[Any]
    side: npt.NDArray[np.int8]
    """1 where the aggressor bought, -1 where he sold."""
    id: npt.NDArray[np.int64]
    """The venue's ids; the least int64 where a trade has none."""


class Side(Protocol):
    """One side of a book, best price first, in fixed-point numbers."""

    def __len__(self) -> int:
        """Number of levels."""

    def levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(prices, sizes) of the best `depth` levels, best first; None for all."""


Best = tuple[int, int, int, int]
"""Best bid's price and size, best ask's price and size, fixed-point; `messages.NONE` for an empty side."""


class BookReading:
    """Figures of a book, made from its levels. Prices and sizes are what `numbers` of `replay` says: floats by default.

    They are those of the book as it is. Whether it can be trusted, `synced` says, and how far `known_to` of each side. A figure
    that the book does not have, such as the mid of an empty book, is None.
    """

    id: str
    """The name that the configuration or `Capture` gives the symbol: its name, unless another one is given."""
    symbol: str
    """The symbol's name in its records."""
    format: str
    """The format of its records, such as "binance"."""
    _price: Scale
    _size: Scale

    if TYPE_CHECKING:  # properties of the live book, and fields of a copy

        @property
        def instant(self) -> int | None:
            """The time for which the book is shown."""

        @property
        def synced(self) -> bool:
            """Whether it can be trusted."""

        @property
        def bids(self) -> Side:
            """The bid side."""

        @property
        def asks(self) -> Side:
            """The ask side."""

    def _best(self) -> Best:
        raise NotImplementedError

    @property
    def datetime(self) -> datetime | None:
        """`instant` as an aware datetime in UTC, which has microseconds."""
        instant = self.instant
        return None if instant is None else to_datetime(instant)

    @property
    def bid_size(self) -> Any:
        """Size of the best bid; None without bids."""
        size = self._best()[1]
        return None if size == NONE else self._size.value(size)

    @property
    def ask_size(self) -> Any:
        """Size of the best ask; None without asks."""
        size = self._best()[3]
        return None if size == NONE else self._size.value(size)

    @property
    def bid_price(self) -> Any:
        """The best bid's price; None without bids."""
        price = self._best()[0]
        return None if price == NONE else self._price.value(price)

    @property
    def ask_price(self) -> Any:
        """The best ask's price; None without asks."""
        price = self._best()[2]
        return None if price == NONE else self._price.value(price)

    @property
    def mid(self) -> Any:
        """The mean of the best prices; None unless both sides have levels. With numbers = "int64" a float in the same unit."""
        bid, _, ask, _ = self._best()
        return None if NONE in (bid, ask) else self._price.mean(bid + ask, 2)

    @property
    def spread(self) -> Any:
        """Best ask less best bid: 0 if locked, negative if crossed. None unless both sides have levels."""
        bid, _, ask, _ = self._best()
        return None if NONE in (bid, ask) else self._price.value(ask - bid)

    @property
    def microprice(self) -> Any:
        """The best prices' mean, each weighted with the other side's size: (bid * ask size + ask * bid size) / (sum of sizes).

        None unless both sides have levels. With numbers = "int64" a float in the same unit.
        """
        bid, bid_size, ask, ask_size = self._best()
        if NONE in (bid, ask):
            return None
        return self._price.mean(bid * ask_size + ask * bid_size, bid_size + ask_size)

    def imbalance(self, levels: int = 1) -> float | None:
        """(bid size - ask size) / (bid size + ask size) of the best `levels` (1) of each side: -1 to 1.

        None for an empty book.
        """
        bid, ask = (int(side.levels(levels)[1].sum()) for side in (self.bids, self.asks))
        return (bid - ask) / (bid + ask) if bid + ask else None

    def depth_within(self, bps: float) -> tuple[Any, Any] | None:
        """(bid size, ask size) of all levels at most `bps` hundredths of a percent of the mid away from it.

        None unless both sides have levels. It takes microseconds for each hundred levels that are near enough.
        """
        best_bid, _, best_ask, _ = self._best()
        if NONE in (best_bid, best_ask):
            return None
        middle = best_bid + best_ask  # twice the mid
        distance = abs(middle) * bps / _BPS
        bid = _size_within(self.bids, lambda prices: 2 * prices >= middle - distance)
        ask = _size_within(self.asks, lambda prices: 2 * prices <= middle + distance)
        return self._size.value(bid), self._size.value(ask)

    def levels(self, depth: int | None = None, numbers: Numbers | None = None) -> Levels:
        """The best `depth` (None: all) levels of both sides, best first, as new arrays.

        `numbers` is "float64", "int64" or "decimal"; None: as `replay` was told.
        """
        price, size = self._price, self._size
        if numbers is not None:
            price, size = Scale(price.decimals, numbers), Scale(size.decimals, numbers)
        (bid_prices, bid_sizes), (ask_prices, ask_sizes) = self.bids.levels(depth), self.asks.levels(depth)
        return Levels(price.array(bid_prices), size.array(bid_sizes), price.array(ask_prices), size.array(ask_sizes))

    def __repr__(self) -> str:
        """One line: whose book, when, its best levels, and whether it is synced."""
        best = self._best()
        instant = self.instant
        sides = [
            "nothing" if size == NONE else f"{_text(self._price, price)} x {_text(self._size, size)}"
            for price, size in (best[:2], best[2:])
        ]
        state = "synced" if self.synced else "not synced"
        at = "before any message" if instant is None else f"at {iso(instant)}"
        return f"<book of {self.id} {at}: {sides[0]} | {sides[1]}, {state}, {len(self.bids)} bids, {len(self.asks)} asks>"


def _text(scale: Scale, number: int) -> str:
    text = f"{Scale(scale.decimals, 'decimal').value(number):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _size_within(side: Side, is_near: Any) -> int:
    """The sum of the sizes of the best levels, up to the first that is not near."""
    depth = 64
    while True:
        prices, sizes = side.levels(depth)
        near = is_near(prices)
        count = len(prices) if near.all() else int(near.argmin())
        if count < len(prices) or len(prices) < depth:
            return int(sizes[:count].sum())
        depth *= 4
