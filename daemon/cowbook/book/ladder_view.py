"""A read-only view of one side of a book, live or frozen in a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.book import ladder
from cowbook.book.state import ALL_OF_ASKS, ALL_OF_BIDS, NOTHING_OF_ASKS, NOTHING_OF_BIDS
from cowbook.kernels.jit import as_records, entry_of


@dataclass(frozen=True, slots=True)
class Ladder:
    """One side of a book, best price first: the highest bid, the lowest ask.

    `OrderBookEngine.bids` and `.asks` return views that follow the live book; those of `BookSnapshot` stay as they were frozen. A
    view reads the book at each call and caches nothing. A live view may be read only in the thread that applies messages.

    Prices and sizes are int64 fixed-point: divide by 10**price_decimals and 10**size_decimals (both 8 by default). No method
    raises. `side_number` is 0 for bids, 1 for asks.

    What a capture never showed is not in the book. `known_to`, `is_whole`, `is_known` and `known_levels` say how far every level
    is known (docs/rules.md, section 2).
    """

    side_number: int
    _book: ladder.Book
    _state: npt.NDArray[np.void] | None = None  # STATE, of shape (1,); without it nothing is known

    def __len__(self) -> int:
        """Number of price levels. The time does not depend on it."""
        return int(self._book.sides["level_count"][self.side_number])

    def best(self) -> tuple[int, int] | None:
        """(price, size) of the best level, as two fixed-point ints; None for an empty side."""
        prices, sizes = self.levels(1)
        return (int(prices[0]), int(sizes[0])) if prices.size else None

    def size_at(self, price: int) -> int:
        """Size at a fixed-point price, as a fixed-point int; 0 where there is no level."""
        return int(ladder.find_size(as_records(self._book), self.side_number, price))

    @property
    def known_to(self) -> int | None:
        """The worst price to which every level is known, as a fixed-point int; None if nothing is known, as while not synced.

        Bids at this price and above are known, asks at this price and below. Of a side that is known as a whole it is a price
        beyond any other, -2**62 for bids and 2**62 for asks, so that the comparison holds there, too.
        """
        bound = self._bound
        return None if bound == (NOTHING_OF_BIDS, NOTHING_OF_ASKS)[self.side_number] else bound

    @property
    def is_whole(self) -> bool:
        """True if every level of the side is known, and that there are no others."""
        return self._bound == (ALL_OF_BIDS, ALL_OF_ASKS)[self.side_number]

    def is_known(self, price: int) -> bool:
        """True if the size at a fixed-point price is known, be it 0."""
        return price >= self._bound if self.side_number == ladder.BID else price <= self._bound

    def known_levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """As `levels`, without the levels that are not known. The known ones are always the best ones."""
        prices, sizes = self.levels(depth)
        known = prices >= self._bound if self.side_number == ladder.BID else prices <= self._bound
        return prices[known], sizes[known]

    @property
    def _bound(self) -> int:
        if self._state is None:
            return (NOTHING_OF_BIDS, NOTHING_OF_ASKS)[self.side_number]
        return int(self._state[("bid_bound", "ask_bound")[self.side_number]][0])

    def levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(prices, sizes) of the best `depth` levels, best first: two new arrays, int64, of shape (levels,).

        `depth` is None by default, for the whole side. The arrays are shorter if the side has fewer levels.
        """
        count = len(self) if depth is None else min(depth, len(self))
        prices = np.empty(count, np.int64)
        sizes = np.empty(count, np.int64)
        _copy_levels(as_records(self._book), self.side_number, prices, sizes)
        return prices, sizes

    def fill(self, prices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
        """Fill two contiguous int64 arrays of one length with the best levels, best first. The side must have that many."""
        ladder.copy_levels(as_records(self._book), self.side_number, len(prices), prices, sizes, 0, 1)


def _copy_levels(book: ladder.Book, side_number: int, prices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
    """Call the kernel by its entry: numba would look at the types of all arrays, which takes longer than copying ten levels."""
    arguments = book, side_number, len(prices), prices, sizes, 0, 1
    if not _ENTRIES:
        _ENTRIES.append(entry_of(ladder.copy_levels, *arguments))
    _ENTRIES[0](*arguments)


_ENTRIES: list[Callable[..., Any]] = []
