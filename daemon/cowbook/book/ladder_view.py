"""A read-only view of one side of a book, live or frozen in a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.book import ladder
from cowbook.kernels.jit import as_records


@dataclass(frozen=True, slots=True)
class Ladder:
    """One side of a book, best price first: the highest bid, the lowest ask.

    `OrderBookEngine.bids` and `.asks` return views that follow the live book; those of `BookSnapshot` stay as they were frozen. A
    view reads the book at each call and caches nothing. A live view may be read only in the thread that applies messages.

    Prices and sizes are int64 fixed-point: divide by 10**price_decimals and 10**size_decimals (both 8 by default). No method
    raises. `side_number` is 0 for bids, 1 for asks.
    """

    side_number: int
    _book: ladder.Book

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

    def levels(self, depth: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(prices, sizes) of the best `depth` levels, best first: two new arrays, int64, of shape (levels,).

        `depth` is None by default, for the whole side. The arrays are shorter if the side has fewer levels.
        """
        count = len(self) if depth is None else min(depth, len(self))
        prices = np.empty(count, np.int64)
        sizes = np.empty(count, np.int64)
        self.fill(prices, sizes)
        return prices, sizes

    def fill(self, prices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
        """Fill two contiguous int64 arrays of one length with the best levels, best first. The side must have that many."""
        ladder.copy_levels(as_records(self._book), self.side_number, len(prices), prices, sizes, 0, 1)
