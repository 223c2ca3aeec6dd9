"""An engine's state as plain numbers and arrays: what is gathered from a snapshot, and what an engine is restored from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.plain.rows import OpenRows


@dataclass(frozen=True, slots=True)
class EngineState:
    """State of an OrderBookEngine between two messages: the field `order_book_state` of a PipelineState.

    The names in `values` are fields of book_state.STATE.
    """

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
