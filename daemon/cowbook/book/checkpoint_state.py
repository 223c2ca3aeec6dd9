"""What of an engine goes into a checkpoint, as plain numbers and arrays, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.book.emit import fill_day
from cowbook.book.state import OPEN_ROW_COUNTS, STATE, Logs, Rows
from cowbook.rows import DAY_ROW, OpenRows

_LOG_RANGES = ("diff_start", "diff_end", "diff_level_end", "ticker_start", "ticker_end")


@dataclass(frozen=True, slots=True)
class EngineCheckpoint:
    """State of an OrderBookEngine between two messages; the fields of `values` are those of book.state.STATE."""

    values: dict[str, int]
    bid_prices: npt.NDArray[np.int64]
    bid_sizes: npt.NDArray[np.int64]
    ask_prices: npt.NDArray[np.int64]
    ask_sizes: npt.NDArray[np.int64]
    rows: OpenRows
    diffs: npt.NDArray[np.void]  # level_start counts from 0
    diff_prices: npt.NDArray[np.int64]
    diff_sizes: npt.NDArray[np.int64]
    tickers: npt.NDArray[np.void]
    snapshot_prices: npt.NDArray[np.int64]
    snapshot_sizes: npt.NDArray[np.int64]
    days: npt.NDArray[np.void]  # those that have ended, and behind them the one that has not

    @classmethod
    def gather(
        cls,
        state: np.void,
        rows: OpenRows,
        logs: Logs,
        bid_prices: npt.NDArray[np.int64],
        bid_sizes: npt.NDArray[np.int64],
        ask_prices: npt.NDArray[np.int64],
        ask_sizes: npt.NDArray[np.int64],
    ) -> EngineCheckpoint:
        """Trim the logs to what is valid; levels are best first."""
        values = {name: int(state[name]) for name in STATE.names or () if name not in (*_LOG_RANGES, *OPEN_ROW_COUNTS)}
        diffs = logs.diffs[int(state["diff_start"]) : int(state["diff_end"])].copy()
        level_end = int(state["diff_level_end"])
        level_start = int(diffs["level_start"][0]) if len(diffs) else level_end
        diffs["level_start"] -= level_start
        waiting = int(state["waiting_bid_count"] + state["waiting_ask_count"])
        return cls(
            values=values,
            bid_prices=bid_prices,
            bid_sizes=bid_sizes,
            ask_prices=ask_prices,
            ask_sizes=ask_sizes,
            rows=rows,
            diffs=diffs,
            diff_prices=logs.diff_prices[level_start:level_end],
            diff_sizes=logs.diff_sizes[level_start:level_end],
            tickers=logs.tickers[int(state["ticker_start"]) : int(state["ticker_end"])],
            snapshot_prices=logs.snapshot_prices[:waiting],
            snapshot_sizes=logs.snapshot_sizes[:waiting],
            days=days_of(state, logs),
        )

    def fill_state(self, state: npt.NDArray[np.void]) -> None:
        """Write the values into a STATE array of shape (1,)."""
        for name, value in self.values.items():
            state[name] = value
        counts = [len(array) for array in self._row_arrays()]
        for name, count in zip(OPEN_ROW_COUNTS, counts, strict=True):
            state[name] = count
        state["diff_end"] = len(self.diffs)
        state["diff_level_end"] = len(self.diff_prices)
        state["ticker_end"] = len(self.tickers)

    def to_rows(self, book_levels: int) -> Rows:
        """Open rows to append to, with the checkpoint's at the front."""
        rows = self.rows
        assert rows.book_levels.shape[1] == 4 * book_levels
        return Rows(
            rows.depth_messages.copy(),
            rows.depth_prices.copy(),
            rows.depth_sizes.copy(),
            rows.trades.copy(),
            rows.bbo.copy(),
            rows.book.copy(),
            rows.book_levels.copy(),
            rows.gaps.copy(),
            rows.drift.copy(),
            rows.audits.copy(),
            rows.dead_events.copy(),
        )

    def to_logs(self) -> Logs:
        """Logs to append to, with the checkpoint's contents at the front."""
        return Logs(
            self.diffs.copy(),
            self.diff_prices.copy(),
            self.diff_sizes.copy(),
            self.tickers.copy(),
            self.snapshot_prices.copy(),
            self.snapshot_sizes.copy(),
            self.days[: self.values.get("day_count", 0)].copy(),
        )

    def _row_arrays(self) -> tuple[npt.NDArray[np.void] | npt.NDArray[np.int64], ...]:
        """One array for each of OPEN_ROW_COUNTS."""
        rows = self.rows
        return (
            rows.depth_messages,
            rows.depth_prices,
            rows.trades,
            rows.bbo,
            rows.book,
            rows.gaps,
            rows.drift,
            rows.audits,
            rows.dead_events,
        )


def days_of(state: np.void, logs: Logs) -> npt.NDArray[np.void]:
    """All days, the one that has not ended yet, too."""
    ended = logs.days[: int(state["day_count"])]
    if state["day_end"] == 0:
        return ended
    days = np.zeros(len(ended) + 1, DAY_ROW)
    days[:-1] = ended
    fill_day(days[-1], state)
    return days
