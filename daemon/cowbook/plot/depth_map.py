"""What a picture of the book shows: depth on a grid of time and price, best prices, trades, gaps, and what is known."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from cowbook.errors import QueryError
from cowbook.plain.messages import NONE
from cowbook.plot.grid import Booleans, Floats, PriceAxis, fold_onto
from cowbook.plot.known import NOTHING, read_known
from cowbook.plot.window import Integers, Window, decimals_of, read_whole
from cowbook.query.columns import Array, PartReader
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import retrying
from cowbook.query.times import parse_time

COLUMNS, ROWS = 1200, 400

_BEST = ("bid_price", "ask_price")


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades, added up by column, price row and aggressor."""

    times: Integers  # ns: the middle of the column
    prices: Floats
    sizes: Floats
    sides: Integers  # places in `plain.vocabulary.TRADE_SIDES`


@dataclass(frozen=True, slots=True)
class Gaps:
    """Rows of `gaps`."""

    times: Integers  # ns
    missing: Integers  # ids; NONE where nobody knows


@dataclass(frozen=True, slots=True)
class DepthMap:
    """The book of a span of time. A column shows the state at its end; prices and sizes are floats, for a picture only."""

    symbol: str
    edges: Integers
    """Where columns begin and end, in ns since 1970: one more than there are columns."""
    low: float
    high: float
    """Lowest and highest price of the grid."""
    tick: float
    """The finest step of prices."""
    sizes: Floats
    """Sum of the sizes of both sides, columns x rows; 0 where there is no level. Rows are of equal height, the lowest first."""
    best: tuple[Floats, Floats]
    """Best bid and best ask of each column; NaN for an empty side."""
    known: tuple[Floats, Floats]
    """Every level of the bids down to this price, and of the asks up to it, is known; NaN where nothing is shown to be."""
    is_synced: Booleans
    """Whether all of a column is synced."""
    trades: Trades
    gaps: Gaps
    failed: Integers
    """Event times in ns of comparisons that failed while the book was synced."""


def read_depth_map(
    data: str | PathLike[str], symbol: str, start: object = None, end: object = None, *, columns: int = COLUMNS, rows: int = ROWS
) -> DepthMap:
    """Reads a symbol's published output from `start` to `end` (as `cowbook.book_at` takes times; None: all there is).

    Raises QueryError if the output has no such symbol or time, or if a part that is needed is missing or damaged.
    """
    times = [parse_time(start, "start"), parse_time(end, "end")]
    return retrying(lambda: _read(Path(data), symbol, times[0], times[1], columns, rows))


def _read(data: Path, symbol: str, start: int | None, end: int | None, columns: int, rows: int) -> DepthMap:
    output = SymbolOutput(data, symbol)
    output.need("depth", "of which the picture is made")
    window = Window(output, start, end, columns)
    reader = next(window.readers("depth"), None)
    if reader is None:
        raise QueryError(f"{data} has no row of depth of {symbol} in this span")
    axis = _choose_axis(window, reader, rows)
    scales = 10.0 ** decimals_of(reader, "price"), 10.0 ** decimals_of(reader, "size")
    grids = fold_onto(window, axis)
    finished = [side.finish() for side in grids]
    known = read_known(window)
    bounds = [
        _clip_to_book(counts, axis, bound, number)
        for number, ((_, counts), bound) in enumerate(zip(finished, known.bounds, strict=True))
    ]
    best = _best(window)
    return DepthMap(
        symbol=symbol,
        edges=window.edges,
        low=axis.low / scales[0],
        high=axis.high / scales[0],
        tick=axis.tick / scales[0],
        sizes=(finished[0][0] + finished[1][0])[:, 1:-1] / scales[1],
        best=(_scaled(best[0], scales[0]), _scaled(best[1], scales[0])),
        known=(_scaled(bounds[0], scales[0]), _scaled(bounds[1], scales[0])),
        is_synced=known.is_synced,
        trades=_read_trades(window, axis, scales),
        gaps=Gaps(*_joined(window, "gaps", "missing")[1:]),
        failed=_joined(window, "audits")[1],
    )


def _scaled(prices: Integers, scale: float) -> Floats:
    return np.where(prices == NONE, np.nan, prices / scale)


def _joined(window: Window, stream: str, *names: str) -> list[Array]:
    """Events, times and columns of a stream's rows in the window."""
    parts = list(window.read(stream, *names))
    return [np.concatenate([np.empty(0, np.int64), *arrays]) for arrays in zip(*parts, strict=True)] or [
        np.empty(0, np.int64) for _ in range(2 + len(names))
    ]


def _choose_axis(window: Window, reader: PartReader, rows: int) -> PriceAxis:
    """The range of the best prices without outliers, and half as much again on each side."""
    begin = np.array([_best_at_begin(window, name) for name in _BEST])
    found: list[Integers] = [begin[begin != NONE]]
    for _, _, bids, asks in window.read("bbo", *_BEST):
        found += [bids[bids != NONE], asks[asks != NONE]]
    (changed,) = read_whole(reader, "price")
    if sum(map(len, found)) == 0:  # without `bbo`: most changes are near the best prices
        found = [np.quantile(changed, (0.25, 0.75)).astype(np.int64)]
    prices = np.concatenate(found)
    low, high = (int(price) for price in np.quantile(prices, (0.002, 0.998)))
    tick = int(np.gcd.reduce(changed)) or 1
    margin = max((high - low) // 2, int(abs(high) * 2e-4), 20 * tick)
    return PriceAxis(low - margin, high + margin, rows, tick)


def _clip_to_book(counts: Integers, axis: PriceAxis, bounds: Integers, side: int) -> Integers:
    """Bounds of what is known, none beyond the farthest level: some venues keep only so many. NONE where nothing is known."""
    there = counts > 0
    farthest = np.argmax(there, 1) if side == 0 else counts.shape[1] - 1 - np.argmax(there[:, ::-1], 1)
    if side == 0:
        clipped = np.where(farthest == 0, bounds, np.maximum(bounds, axis.low + (farthest - 1) * axis.height))
    else:
        clipped = np.where(farthest == axis.rows + 1, bounds, np.minimum(bounds, axis.low + farthest * axis.height))
    return np.where((bounds == NOTHING[side]) | ~there.any(1), NONE, clipped)


def _best(window: Window) -> tuple[Integers, Integers]:
    """Best bid and best ask at each column's end, from `bbo`; NONE where it does not show them."""
    sides = []
    for name in _BEST:
        _, times, prices = _joined(window, "bbo", name)
        columns = window.column_of(times)
        row = np.searchsorted(columns, np.arange(window.columns), "right") - 1
        sides.append(np.concatenate([[_best_at_begin(window, name)], prices])[row + 1])
    return sides[0], sides[1]


def _best_at_begin(window: Window, name: str) -> int:
    if window.begin is not None:
        for cut in range(window.begin.cut, -1, -1):
            reader = window.output.reader("bbo", cut)
            if reader is not None:
                events, prices = read_whole(reader, "event_index", name)
                count = int(np.searchsorted(events, window.begin.event, "right"))
                if count:
                    return int(prices[count - 1])
    return NONE


def _read_trades(window: Window, axis: PriceAxis, scales: tuple[float, float]) -> Trades:
    _, times, sides, prices, sizes = _joined(window, "trades", "side", "price", "size")
    rows = axis.row_of(prices)
    inside = (rows > 0) & (rows <= axis.rows)
    cells = np.stack([window.column_of(times)[inside], rows[inside], sides[inside]])
    (columns, rows, sides), places = np.unique(cells, axis=1, return_inverse=True)
    middle = (window.edges[:-1] + window.edges[1:]) // 2
    return Trades(
        middle[columns],
        (axis.low + (rows - 0.5) * axis.height) / scales[0],
        np.bincount(places.ravel(), sizes[inside], len(columns)) / scales[1],
        sides,
    )
