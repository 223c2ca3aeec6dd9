"""Features of the book on a grid of time, of records or of traded volume, measured in the pass that applies the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from numbers import Real
from os import PathLike
from pathlib import Path

import pyarrow as pa

from cowbook.book.apply import CUT, DONE
from cowbook.errors import InputError, UsageError
from cowbook.kernels.jit import as_records, entry_of
from cowbook.library import features_kernel as kernel
from cowbook.library.feature_table import FeatureTable
from cowbook.library.inputs import Input, Paths, make_inputs
from cowbook.library.output_features import read_output
from cowbook.library.source import Source
from cowbook.library.steps import StepPlanner
from cowbook.library.times import Every, parse_every
from cowbook.query.times import Time, iso, parse_time

_MOST_LEVELS = 1000
_MOST_TRADED = 1 << 62


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

    * `paths`: paths, captures or a configuration file. Instead: an output directory, of which `depth` and `trades` are read.
    * `symbol`, None: one symbol; None: all that `paths` names, one after the other.
    * `every`, 1s: a time, or a number of records; of an output directory, of messages with rows.
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
    * `buy_volume`, `sell_volume`, `buy_count`, `sell_count`: trades since the row before, by the side of the aggressor. Those
      whose side is not told are in none of them, and are not traded for `volume` either.

    A value is null where it is not known: while the book is not synced, and beyond what is known of its sides. The order flow of
    a level is null if it was unknown at any moment since the row before. A price is null where a side is known to be empty.
    Everything but counts and times is float64.

    Of an output directory a value is null, too, where the output does not show that it is known: where nothing of `frame`, `bbo`
    or `book` has shown it since the book was synced, and between the last message before a loss of sync, or a snapshot that
    replaced the book, and that one. With the streams of `[output] streams` alone, sizes farther from the mid than the levels of
    `book` become known with the first `frame`. Trades are null if there is no stream of them. `format` and the decimals are not
    needed. The exact ones of a running daemon are in its stream `features`.

    The kernel that measures is compiled at the first call, which takes some seconds, and cached. Raises as `replay` does, of an
    output directory as `book_at`, and InputError if there is no row.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= _MOST_LEVELS:
        raise UsageError(f"levels = {levels!r}: must be a number from 1 to {_MOST_LEVELS}")
    if not isinstance(bps, Iterable) or any(not isinstance(distance, Real) or not 0 < distance <= 10_000 for distance in bps):
        raise UsageError(f"bps = {bps!r}: must be a sequence of numbers above 0, at most 10000")
    distances = sorted(set(bps))
    if volume is not None and not (isinstance(volume, Real) and 0 < volume < inf):
        raise UsageError(f"volume = {volume!r}: must be a number above 0")
    records, interval = parse_every(every) if volume is None else (1 << 62, 0)
    begins, ends = parse_time(start, "start"), parse_time(end, "end")

    if begins is not None and ends is not None and begins >= ends:
        raise UsageError(f"start = {iso(begins)} is not before end = {iso(ends)}")

    def make_planner() -> StepPlanner:
        return StepPlanner(records, interval, None, ends, has_clocks=False)

    def make_table(decimals: int) -> FeatureTable:
        return FeatureTable(levels, distances, 0 if volume is None else min(max(1, round(volume * 10**decimals)), _MOST_TRADED))

    if isinstance(paths, str | PathLike) and Path(paths).is_dir():
        tables = read_output(Path(paths), symbol, make_planner, make_table, begins, interval)
    else:
        common = {"format": format, "price_decimals": price_decimals, "size_decimals": size_decimals}
        inputs = make_inputs(paths, None if symbol is None else [symbol], common, None)
        tables = [MeasuredSource(given, make_planner(), make_table(given.config.size_decimals)).table(begins) for given in inputs]
    table = pa.concat_tables(tables)
    if not len(table):
        raise InputError("there is no row: nothing is between start and end, or less was traded than a row needs")
    return table


class MeasuredSource(Source):
    """A book that is measured while it goes through its input."""

    def __init__(self, given: Input, planner: StepPlanner, measured: FeatureTable) -> None:
        super().__init__(given, planner, "float64", 1 << 20, ())
        self.measure_features(measured.levels, measured.distances)
        self._measured = measured
        self._measure: Callable[..., tuple[int, int]] | None = None

    def table(self, begins: int | None) -> pa.Table:
        """Go through the input. Rows before `begins` are left out."""
        while self._find_steps():
            if self._is_ended:
                if self._measured.is_by_volume:
                    break
                self._measured.set_stops(self._plan)
            self._apply_to(self._place if self._is_ended else self._plan.count)
        return self._measured.finish(self.id, (self.settings.price_decimals, self.settings.size_decimals), begins)

    def _begin_batch(self) -> None:
        super()._begin_batch()
        self._measured.set_stops(self._plan)

    def _apply_to(self, stop: int) -> None:
        """Apply the messages of the batch up to before `stop`, and measure them."""
        place, batch, measures = self._place, self._arrays, as_records(self._measured.measures)
        if batch is None:  # nothing was ever read
            return
        if self._measure is None:
            self._measure = entry_of(kernel.measure, as_records(self.arrays), batch, 0, 0, measures, False)
        has_applied = False
        while True:
            why, consumed = self._measure(as_records(self.arrays), batch, place, stop, measures, has_applied)
            if why == DONE:
                break
            place = consumed
            if why == CUT:
                self.take_open_rows()
            else:  # what waited comes with the message behind which it was due, or before which it is
                is_behind = consumed == int(measures.mark["group_end"][0])
                place, is_cut = self._apply(batch, consumed, consumed if is_behind else consumed + 1)
                if is_cut:
                    self.take_open_rows()
            has_applied = True
        self._place = stop
        self._last = stop - 1
        self._measured.take_rows()
