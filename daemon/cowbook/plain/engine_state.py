"""An engine's state as plain numbers and arrays. It is gathered from a snapshot, and an engine can be restored from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.plain.rows import OpenRows


@dataclass(frozen=True, slots=True)
class EngineState:
    """The state of an OrderBookEngine between two messages. It is the field `order_book_state` of a PipelineState.

    The names in `values` are fields of book_state.STATE. Levels are best first.
    """

    values: dict[str, int]
    bid_prices: npt.NDArray[np.int64]
    bid_sizes: npt.NDArray[np.int64]
    ask_prices: npt.NDArray[np.int64]
    ask_sizes: npt.NDArray[np.int64]
    rows: OpenRows
    diffs: npt.NDArray[np.void]  # DIFF_ENTRY; `level_start` counts from 0
    diff_prices: npt.NDArray[np.int64]
    diff_sizes: npt.NDArray[np.int64]
    apart: npt.NDArray[np.void]  # DIFF_ENTRY, as `diffs`
    apart_prices: npt.NDArray[np.int64]
    apart_sizes: npt.NDArray[np.int64]
    tickers: npt.NDArray[np.void]  # TICKER_ENTRY
    slots: npt.NDArray[np.void]  # WAITING: messages that wait
    slot_prices: npt.NDArray[np.int64]
    slot_sizes: npt.NDArray[np.int64]
    trades: npt.NDArray[np.int64]  # keys of recent trades
    recent: npt.NDArray[np.int64]  # keys of recent unnumbered depth messages
    days: npt.NDArray[np.void]  # DAY_ROW; the last day has not ended
