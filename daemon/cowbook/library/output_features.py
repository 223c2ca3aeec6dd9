"""Features of the book from published output: its rows of `depth` and `trades`, applied again and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from cowbook.book.ladder import OK
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.errors import BookMemoryError, UsageError
from cowbook.kernels.jit import as_records, entry_of
from cowbook.library import features_kernel as kernel
from cowbook.library.feature_table import FeatureTable
from cowbook.library.output_messages import OutputMessages, OutputRows
from cowbook.library.steps import StepPlanner
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import list_symbols, retrying


def read_output(
    data: Path,
    symbol: str | None,
    make_planner: Callable[[], StepPlanner],
    make_table: Callable[[int], FeatureTable],
    begins: int | None,
    interval: int,
) -> list[pa.Table]:
    """Returns a table of features for each symbol, or for one. `make_table` takes the decimals of sizes.

    Rows before `begins` are left out. With an `interval` in ns between two rows, what lies far before them is not read, else all.
    Raises QueryError for what the output does not have, and UsageError where rows are due by trades that it does not have.
    """

    def read(name: str) -> pa.Table:
        output = SymbolOutput(data, name)
        output.need("depth", "of which features are made")
        return _Reading(output, make_planner(), make_table).table(begins, interval)

    names = sorted(list_symbols(data)) if symbol is None else [symbol]
    return [retrying(lambda name=name: read(name)) for name in names]  # type: ignore[misc] # a lambda with a default


class _Reading:
    """One pass over the output of a symbol."""

    def __init__(self, output: SymbolOutput, planner: StepPlanner, make_table: Callable[[int], FeatureTable]) -> None:
        self._output, self._planner = output, planner
        self._messages = OutputMessages(output)
        self._decimals = self._messages.decimals
        self._measured = make_table(self._decimals[1])
        self._engine = OrderBookEngine(EngineSettings(streams=()))
        self._engine.measure_features(self._measured.levels, self._measured.distances)
        self._measure: Callable[..., tuple[int, int]] | None = None

    def table(self, begins: int | None, interval: int) -> pa.Table:
        """Go through the output."""
        has_trades = self._messages.has_trades
        if self._measured.is_by_volume and not has_trades:
            raise UsageError(f"volume: {self._output.output_dir} has no trades of {self._output.symbol}: leave it out")
        first = self._messages.first_cut(begins, interval)
        for rows in self._messages.read(first):
            self._apply(rows)
            if self._planner.is_over:
                break
        plan = self._planner.plan_end()
        if plan.stops and not self._measured.is_by_volume:
            self._measured.set_stops(plan)
            self._run(OutputRows.nothing(), 0)
        return self._measured.finish(self._output.symbol, self._decimals, begins, has_trades=has_trades)

    def _apply(self, rows: OutputRows) -> None:
        plan = self._planner.plan(rows.messages)
        self._measured.set_stops(plan)
        self._run(rows, plan.count)

    def _run(self, rows: OutputRows, count: int) -> None:
        """Apply messages, and measure them."""
        arguments = as_records(self._engine.arrays), as_records(rows), 0, count, as_records(self._measured.measures)
        if self._measure is None:
            self._measure = entry_of(kernel.measure_rows, *arguments)
        why, _place = self._measure(*arguments)
        if why != OK:
            raise BookMemoryError(f"the book of {self._output.symbol} in {self._output.output_dir} needs more than 1 GiB")
        self._measured.take_rows()
