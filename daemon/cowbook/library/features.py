"""Features of the book on a grid of time, of records or of traded volume, measured in the pass that applies the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.book.apply import CUT, DONE
from cowbook.errors import InputError, UsageError
from cowbook.kernels.jit import as_records, entry_of
from cowbook.library import features_kernel as kernel
from cowbook.library.inputs import Input, Paths, make_inputs
from cowbook.library.source import Source
from cowbook.library.steps import StepPlanner
from cowbook.library.times import Every, parse_every
from cowbook.plain.messages import NONE
from cowbook.query.times import Time, parse_time

_MOST_LEVELS = 1000
_MARK = np.dtype(
    [
        (name, np.int64)
        for name in (
            "is_begun",
            # What was last seen of the engine.
            "depth_events",
            "bid_bound",
            "ask_bound",
            "trades",  # open rows
            # How many of the levels are known.
            "bids_known",
            "asks_known",
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
    now: npt.NDArray[np.int64]  # (4, depth): bid prices, bid sizes, ask prices, ask sizes
    before: npt.NDArray[np.int64]  # the same, behind the last change
    order_flow: npt.NDArray[np.float64]  # (depth,), since the last row
    is_broken: npt.NDArray[np.int64]  # (depth,): the level was not known all the time
    trade_flow: npt.NDArray[np.float64]  # (4,): bought, sold, number of buys and sells
    distances: npt.NDArray[np.float64]  # in hundredths of a percent, ascending
    stops: npt.NDArray[np.int64]
    instants: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]  # (rows, 5 + 4 depth)
    figures: npt.NDArray[np.float64]  # (rows, depth + 2 distances + 4)


def features(
    paths: Paths,
    symbol: str | None = None,
    *,
    every: Every = "1s",
    volume: float | None = None,
    levels: int = 5,
    bps: Sequence[float] = (1, 5, 10),
    start: Time | None = None,
    end: Time | None = None,
    format: str = "binance",  # noqa: A002 - the name of the setting
    price_decimals: int = 8,
    size_decimals: int = 8,
) -> pa.Table:
    """Returns features of the book as an Arrow table: one row for each point of time, number of records, or traded volume.

    Rows are as in `replay`, and so are these:

    * `paths`: paths, captures or a configuration file.
    * `symbol`, None: one symbol; None: all that `paths` names, one after the other.
    * `every`, 1s: a time, or a number of records.
    * `start`, None, and `end`, None: rows from `start` on and before `end`.
    * `format`, "binance", `price_decimals`, 8, and `size_decimals`, 8.

    The others:

    * `volume`, None: instead of `every`: a row behind each message with which so much was traded since the row before. What is
      traded behind the last such row has none.
    * `levels`, 5: how many levels of each side are looked at, at most 1,000.
    * `bps`, (1, 5, 10): distances from the mid, in hundredths of a percent, for the sizes within them; () for none. Of all that a
      row has, a wide one costs most.

    The columns:

    * `symbol`; `time`, the point of the grid, or the book's time; `event_index`, the last event so far, as in the output;
      `synced`.
    * `bid_price`, `bid_size`, `ask_price`, `ask_size`, `mid`, `spread`, and `microprice`, which is
      (bid price * ask size + ask price * bid size) / (bid size + ask size).
    * `imbalance_1` to `imbalance_<levels>`: (B - A) / (B + A), where B and A are the sizes of the best so many bids and asks.
    * `ofi_1` to `ofi_<levels>`: the order flow imbalance of the first, second, … level since the row before. It is the sum over
      all changes of the book of e = [P' >= P] q' - [P' <= P] q - [R' <= R] s' + [R' >= R] s, where P and q are price and size of
      the level's bid before the change, P' and q' behind it, and R, s, R', s' those of its ask. A bracket is 1 where it holds,
      else 0. For the best level this is the e of Cont, Kukanov and Stoikov, "The Price Impact of Order Book Events", Journal of
      Financial Econometrics 12 (2014); by levels, of Xu, Gould and Howison, "Multi-Level Order-Flow Imbalance in a Limit Order
      Book" (2019). A level that there is not counts as one of size 0 beyond all others.
    * `bid_size_<bps>bps` and `ask_size_<bps>bps`: the sizes of all levels at most so far from the mid.
    * `buy_volume`, `sell_volume`, `buy_count`, `sell_count`: trades since the row before, by the side of the aggressor.

    A value is null where it is not known: while the book is not synced, and beyond what is known of its sides. The order flow of
    a level is null if it was unknown at any moment since the row before. A price is null where a side is known to be empty.
    Everything but counts and times is float64.

    The kernel that measures is compiled at the first call, which takes some seconds, and cached. Raises as `replay` does, and
    InputError if there is no row.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= _MOST_LEVELS:
        raise UsageError(f"levels = {levels!r}: must be a number from 1 to {_MOST_LEVELS}")
    distances = sorted(set(bps))
    if any(not 0 < distance <= 10_000 for distance in distances):
        raise UsageError(f"bps = {tuple(bps)!r}: must be numbers above 0, at most 10000")
    if volume is not None and not volume > 0:
        raise UsageError(f"volume = {volume!r}: must be above 0")
    records, interval = parse_every(every) if volume is None else (1 << 62, 0)
    begins, ends = parse_time(start, "start"), parse_time(end, "end")
    common = {"format": format, "price_decimals": price_decimals, "size_decimals": size_decimals}
    inputs = make_inputs(paths, None if symbol is None else [symbol], common, None)
    tables = []
    for given in inputs:
        source = MeasuredSource(given, StepPlanner(records, interval, None, ends, has_clocks=False), levels, distances, volume)
        tables.append(source.table(begins))
    table = pa.concat_tables(tables)
    if not len(table):
        raise InputError("there is no row: nothing is between start and end, or less was traded than a row needs")
    return table


class MeasuredSource(Source):
    """A book that is measured while it goes through its input."""

    def __init__(self, given: Input, planner: StepPlanner, levels: int, distances: Sequence[float], volume: float | None) -> None:
        super().__init__(given, planner, "float64", 1 << 20)
        self._distances = distances
        self._measures = Measures(
            mark=np.zeros(1, _MARK),
            now=np.zeros((4, levels), np.int64),
            before=np.zeros((4, levels), np.int64),
            order_flow=np.zeros(levels),
            is_broken=np.ones(levels, np.int64),
            trade_flow=np.zeros(4),
            distances=np.array(distances, np.float64),
            stops=np.empty(0, np.int64),
            instants=np.empty(0, np.int64),
            numbers=np.empty((0, kernel.FIRST_LEVEL + 4 * levels), np.int64),
            figures=np.empty((0, levels + 2 * len(distances) + 4)),
        )
        if volume is not None:
            self._measures.mark["traded"] = max(1, round(volume * 10**given.config.size_decimals))
        self._rows: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []
        self._measure: Callable[..., tuple[int, int]] | None = None
        self._observe: Callable[..., None] | None = None

    def table(self, begins: int | None) -> pa.Table:
        """Go through the input. Rows before `begins` are left out."""
        while self._find_steps():
            if self._is_ended:
                if self._measures.mark["traded"][0]:
                    break
                self._set_stops()
            self._apply_to(self._place if self._is_ended else self._plan.count)
        empty = self._measures.numbers[:0], self._measures.figures[:0]
        numbers = np.concatenate([empty[0], *(rows[0] for rows in self._rows)])
        figures = np.concatenate([empty[1], *(rows[1] for rows in self._rows)])
        if begins is not None:
            kept = numbers[:, kernel.INSTANT] >= begins
            numbers, figures = numbers[kept], figures[kept]
        return self._to_table(numbers, figures)

    def _begin_batch(self) -> None:
        super()._begin_batch()
        self._set_stops()

    def _set_stops(self) -> None:
        plan, measures = self._plan, self._measures
        instants = np.full(len(plan.stops), NONE) if plan.instants is None else np.array(plan.instants, np.int64)
        count = len(plan.stops) + (plan.count if measures.mark["traded"][0] else 0)
        self._measures = measures._replace(
            stops=np.array(plan.stops, np.int64),
            instants=instants,
            numbers=np.empty((count, measures.numbers.shape[1]), np.int64),
            figures=np.empty((count, measures.figures.shape[1])),
        )
        mark = measures.mark[0]
        mark["stop"], mark["stop_count"], mark["row"] = 0, len(plan.stops), 0

    def _apply_to(self, stop: int) -> None:
        """Apply the messages of the batch up to before `stop`, and measure them."""
        place, batch, measures = self._place, self._arrays, as_records(self._measures)
        if batch is None:  # nothing was ever read
            return
        if self._measure is None:
            self._measure = entry_of(kernel.measure, as_records(self.arrays), batch, 0, 0, measures, False)
            self._observe = entry_of(kernel.observe, as_records(self.arrays), measures)
        has_applied = False
        while True:
            why, consumed = self._measure(as_records(self.arrays), batch, place, stop, measures, has_applied)
            if why == DONE:
                break
            place = consumed
            if why == CUT:
                self._cut()
            else:  # what waited comes with the message behind which it was due, or before which it is
                is_behind = consumed == int(measures.mark["group_end"][0])
                place, is_cut = self._apply(batch, consumed, consumed if is_behind else consumed + 1)
                if is_cut:
                    self._cut()
            has_applied = True
        self._place = stop
        self._last = stop - 1
        count = int(measures.mark["row"][0])
        if count:
            self._rows.append((measures.numbers[:count].copy(), measures.figures[:count].copy()))
            measures.mark["row"] = 0

    def _cut(self) -> None:
        """Take the rows of a cut, of which the trades are observed first."""
        assert self._observe is not None
        measures = as_records(self._measures)
        self._observe(as_records(self.arrays), measures)
        self.take_open_rows()
        measures.mark["trades"] = 0

    def _to_table(self, numbers: npt.NDArray[np.int64], figures: npt.NDArray[np.float64]) -> pa.Table:
        depth = self._measures.now.shape[1]
        price_unit, size_unit = 10**self.settings.price_decimals, 10**self.settings.size_decimals
        bid_prices, bid_sizes, ask_prices, ask_sizes = (
            numbers[:, kernel.FIRST_LEVEL + which * depth : kernel.FIRST_LEVEL + (which + 1) * depth] for which in range(4)
        )
        bids_known, asks_known = numbers[:, kernel.BIDS_KNOWN], numbers[:, kernel.ASKS_KNOWN]
        has_bid, has_ask = bid_prices[:, 0] != kernel.NO_BID, ask_prices[:, 0] != kernel.NO_ASK
        bid_is_known, ask_is_known = (bids_known > 0) & has_bid, (asks_known > 0) & has_ask
        both = bid_is_known & ask_is_known
        bid, ask = bid_prices[:, 0] / price_unit, ask_prices[:, 0] / price_unit
        bid_size, ask_size = bid_sizes[:, 0] / size_unit, ask_sizes[:, 0] / size_unit
        with np.errstate(invalid="ignore", divide="ignore"):
            microprice = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
            bids, asks = np.cumsum(bid_sizes / size_unit, axis=1), np.cumsum(ask_sizes / size_unit, axis=1)
            imbalance = (bids - asks) / (bids + asks)
        columns: dict[str, pa.Array] = {
            "symbol": pa.array(np.full(len(numbers), self.id, object), pa.string()),
            "time": _times(numbers[:, kernel.INSTANT]),
            "event_index": pa.array(numbers[:, kernel.EVENT]),
            "synced": pa.array(numbers[:, kernel.SYNCED] != 0),
            "bid_price": _masked(bid, bid_is_known),
            "bid_size": _masked(bid_size, bid_is_known),
            "ask_price": _masked(ask, ask_is_known),
            "ask_size": _masked(ask_size, ask_is_known),
            "mid": _masked((bid_prices[:, 0] + ask_prices[:, 0]) / (2 * price_unit), both),
            "spread": _masked((ask_prices[:, 0] - bid_prices[:, 0]) / price_unit, both),
            "microprice": _masked(microprice, both),
        }
        known = np.minimum(bids_known, asks_known)
        for level in range(depth):
            columns[f"imbalance_{level + 1}"] = _masked(imbalance[:, level], (known > level) & np.isfinite(imbalance[:, level]))
        flows = [f"ofi_{level + 1}" for level in range(depth)]
        within = [f"{side}_size_{_text(distance)}bps" for side in ("bid", "ask") for distance in self._distances]
        for place, name in enumerate([*flows, *within]):
            columns[name] = _masked(figures[:, place] / size_unit, ~np.isnan(figures[:, place]))
        trades = figures[:, -4:]
        columns["buy_volume"] = pa.array(trades[:, kernel.BOUGHT] / size_unit)
        columns["sell_volume"] = pa.array(trades[:, kernel.SOLD] / size_unit)
        columns["buy_count"] = pa.array(trades[:, kernel.BUYS].astype(np.int64))
        columns["sell_count"] = pa.array(trades[:, kernel.SELLS].astype(np.int64))
        return pa.table(columns)


def _masked(values: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_]) -> Any:
    return pa.array(values, mask=~valid)


def _times(values: npt.NDArray[np.int64]) -> Any:
    return pa.array(values, mask=values == NONE).cast(pa.timestamp("ns", "UTC"))


def _text(distance: float) -> str:
    return f"{distance:g}"
