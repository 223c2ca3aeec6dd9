"""Measures a book while it goes through its messages, and makes a table of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.library import features_kernel as kernel
from cowbook.library.steps import Plan
from cowbook.plain.features import flow_names, within_names
from cowbook.plain.messages import NONE
from cowbook.sink.feature_columns import BestLevels, masked

_MARK = np.dtype(
    [
        (name, np.int64)
        for name in (
            "stop",  # the next one
            "stop_count",
            "row",  # the next one
            "group_end",  # of the messages in hand
            "traded",  # the volume of a row; 0: rows are at stops
        )
    ]
)


class Measures(NamedTuple):
    """What the kernel works on beside the engine. Depth is the number of levels."""

    mark: npt.NDArray[np.void]  # _MARK, (1,)
    sums: npt.NDArray[np.int64]  # (4 distances,): the sizes within them, of bids and asks, two words each
    stops: npt.NDArray[np.int64]
    instants: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]  # (rows, 5 + 4 depth)
    figures: npt.NDArray[np.float64]  # (rows, depth + 2 distances + 4)


class FeatureTable:
    """What a kernel measures, and the rows so far."""

    def __init__(self, levels: int, distances: Sequence[float], traded: int) -> None:
        """`traded`: the volume of a row in fixed-point; 0: rows are at the stops of plans."""
        self.levels, self.distances = levels, distances
        self.measures = Measures(
            mark=np.zeros(1, _MARK),
            sums=np.zeros(4 * len(distances), np.int64),
            stops=np.empty(0, np.int64),
            instants=np.empty(0, np.int64),
            numbers=np.empty((0, kernel.FIRST_LEVEL + 4 * levels), np.int64),
            figures=np.empty((0, levels + 2 * len(distances) + 4)),
        )
        """The arrays that the kernel works on. The tuple is replaced by each plan."""
        self.measures.mark["traded"] = traded
        self._rows: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []

    @property
    def is_by_volume(self) -> bool:
        """Whether rows are due by traded volume."""
        return bool(self.measures.mark["traded"][0])

    def set_stops(self, plan: Plan) -> None:
        """Write the next rows at the stops of this plan."""
        measures = self.measures
        instants = np.full(len(plan.stops), NONE) if plan.instants is None else np.array(plan.instants, np.int64)
        count = len(plan.stops) + (plan.count if self.is_by_volume else 0)
        self.measures = measures._replace(
            stops=np.array(plan.stops, np.int64),
            instants=instants,
            numbers=np.empty((count, measures.numbers.shape[1]), np.int64),
            figures=np.empty((count, measures.figures.shape[1])),
        )
        mark = measures.mark[0]
        mark["stop"], mark["stop_count"], mark["row"] = 0, len(plan.stops), 0

    def take_rows(self) -> None:
        """Take the rows that the kernel has written."""
        measures = self.measures
        count = int(measures.mark["row"][0])
        if count:
            self._rows.append((measures.numbers[:count].copy(), measures.figures[:count].copy()))
            measures.mark["row"] = 0

    def finish(self, symbol: str, decimals: tuple[int, int], begins: int | None, *, has_trades: bool = True) -> pa.Table:
        """Returns all rows, without those before `begins`. `decimals` are those of prices and sizes."""
        empty = self.measures.numbers[:0], self.measures.figures[:0]
        numbers = np.concatenate([empty[0], *(rows[0] for rows in self._rows)])
        figures = np.concatenate([empty[1], *(rows[1] for rows in self._rows)])
        if begins is not None:
            kept = numbers[:, kernel.INSTANT] >= begins
            numbers, figures = numbers[kept], figures[kept]
        depth, (price_decimals, size_decimals) = self.levels, decimals
        best = BestLevels(numbers[:, kernel.FIRST_LEVEL :], depth, numbers[:, kernel.BIDS_KNOWN], numbers[:, kernel.ASKS_KNOWN])
        columns: dict[str, pa.Array] = {
            "symbol": pa.array(np.full(len(numbers), symbol, object), pa.string()),
            "time": _times(numbers[:, kernel.INSTANT]),
            "event_index": pa.array(numbers[:, kernel.EVENT]),
            "synced": pa.array(numbers[:, kernel.SYNCED] != 0),
        }
        for name, values, valid in best.quotes():
            columns[name] = masked(values / 10 ** (price_decimals if name.endswith("price") else size_decimals), valid)
        for name, doubles, valid in best.prices(price_decimals, size_decimals):
            columns[name] = masked(doubles, valid)
        size_unit = 10**size_decimals
        for place, name in enumerate([*flow_names(depth), *within_names(self.distances)]):
            columns[name] = masked(figures[:, place] / size_unit, ~np.isnan(figures[:, place]))
        trades, valid = figures[:, -4:], np.full(len(figures), has_trades)
        columns["buy_volume"] = masked(trades[:, kernel.BUY_VOLUME] / size_unit, valid)
        columns["sell_volume"] = masked(trades[:, kernel.SELL_VOLUME] / size_unit, valid)
        columns["buy_count"] = masked(trades[:, kernel.BUY_COUNT].astype(np.int64), valid)
        columns["sell_count"] = masked(trades[:, kernel.SELL_COUNT].astype(np.int64), valid)
        return pa.table(columns)


def _times(values: npt.NDArray[np.int64]) -> Any:
    return pa.array(values, mask=values == NONE).cast(pa.timestamp("ns", "UTC"))
