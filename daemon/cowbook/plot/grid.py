"""Folds `depth` onto a grid of time and price: what the book has at each column's end, without a loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.plain.vocabulary import CLEAR
from cowbook.plot.window import Integers, Window, as_whole
from cowbook.query.fold import Folding

Numbers = npt.NDArray[Any]
"""Sizes: int64 or doubles."""
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


class PriceAxis:
    """Rows of equal height, and one more at each end for all that is beyond."""

    def __init__(self, low: int, high: int, rows: int, tick: int) -> None:
        """`low`, `high`: lowest and highest price to show. At most about `rows` rows, each of a whole number of ticks."""
        self.tick = tick
        self.height = max(1, -(-(high - low) // (rows * tick))) * tick
        self.low = low // self.height * self.height - tick // 2  # prices stand in the middle of rows of one tick
        self.rows = int(-(-(high + 1 - self.low) // self.height))

    @property
    def high(self) -> int:
        """Where the highest row ends."""
        return self.low + self.rows * self.height

    def row_of(self, prices: Integers) -> Integers:
        """The rows of prices: 0 below all, `rows` + 1 above all."""
        return np.clip((prices - self.low) // self.height + 1, 0, self.rows + 1)


class SideGrid:
    """One side of the book over time: sum of sizes and number of levels, columns x rows."""

    def __init__(self, columns: int, axis: PriceAxis) -> None:
        self._axis = axis
        self._shape = columns, axis.rows + 2
        self._sizes = np.zeros(self._shape)  # what changes, until `finish`
        self._counts = np.zeros(self._shape, np.int64)
        self._live: tuple[Integers, Numbers] = np.empty(0, np.int64), np.empty(0, np.int64)

    def start(self, prices: Integers, sizes: Numbers) -> None:
        """The levels with which the first column begins."""
        self._live = prices, sizes
        self._add(np.zeros(len(prices), np.int64), prices, sizes, np.ones(len(prices), np.int64))

    def add(self, columns: Integers, prices: Integers, sizes: Numbers, is_clear: Booleans) -> None:
        """Add rows of `depth` in their order. A size is the level's new one."""
        held, lasting = len(self._live[0]), ~is_clear
        segments = np.concatenate([np.zeros(held, np.int64), np.cumsum(is_clear)[lasting]])
        places = np.concatenate([np.zeros(held, np.int64), columns[lasting]])
        prices = np.concatenate([self._live[0], prices[lasting]])
        sizes = np.concatenate([self._live[1], sizes[lasting]])
        order = np.lexsort((np.arange(len(prices)), prices, segments))
        is_new = order >= held
        segments, places, prices, sizes = segments[order], places[order], prices[order], sizes[order]
        is_same = np.zeros(len(prices) + 1, np.bool_)  # as the row before
        is_same[1:-1] = (prices[1:] == prices[:-1]) & (segments[1:] == segments[:-1])
        before = np.where(is_same[:-1], np.concatenate([[0], sizes[:-1]]), 0)[: len(prices)]
        self._add(
            places[is_new],
            prices[is_new],
            (sizes - before)[is_new],
            ((sizes != 0).astype(np.int64) - (before != 0))[is_new],
        )
        is_last = ~is_same[1:] & (sizes != 0)
        clears = columns[is_clear]
        gone = is_last & (segments < len(clears))
        self._add(clears[segments[gone]], prices[gone], -sizes[gone], np.full(int(gone.sum()), -1))
        left = is_last & ~gone
        self._live = prices[left], sizes[left]

    def _add(self, columns: Integers, prices: Integers, sizes: Numbers, counts: Integers) -> None:
        cells = columns * self._shape[1] + self._axis.row_of(prices)
        length = self._shape[0] * self._shape[1]
        self._sizes += np.bincount(cells, sizes, length).reshape(self._shape)
        self._counts += np.bincount(cells, counts, length).astype(np.int64).reshape(self._shape)

    def finish(self) -> tuple[Floats, Integers]:
        """Sum of sizes and number of levels, in each column and row."""
        sizes, counts = np.cumsum(self._sizes, 0), np.cumsum(self._counts, 0)
        sizes[counts == 0] = 0
        return sizes, counts


def fold_onto(window: Window, axis: PriceAxis) -> tuple[SideGrid, SideGrid]:
    """Bids and asks of a window on a grid. Raises QueryError if a part is damaged."""
    sides = SideGrid(window.columns, axis), SideGrid(window.columns, axis)
    if window.begin is not None:
        fold = Folding(window.output, window.begin).run()
        for side, levels in zip(sides, (fold.bids, fold.asks), strict=True):
            side.start(as_whole(levels[0]), levels[1])
    for _, times, which, prices, sizes, kinds in window.read("depth", "side", "price", "size", "kind"):
        columns = window.column_of(times)
        for number, side in enumerate(sides):
            own = which == number
            side.add(columns[own], prices[own], sizes[own], kinds[own] == CLEAR)
    return sides
