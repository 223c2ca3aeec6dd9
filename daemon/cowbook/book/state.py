"""An engine's settings and arrays, as its kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.plain.book_state import DIFF_ENTRY, STATE, TICKER_ENTRY
from cowbook.plain.messages import NONE
from cowbook.plain.rows import AUDIT_ROW, BBO_ROW, BOOK_ROW, DAY_ROW, DEPTH_MESSAGE, DRIFT_ROW, GAP_ROW, TRADE_ROW

SETTINGS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "halt_on_gap",
            "with_depth",
            "with_trades",
            "with_bbo",
            "with_book",
            "book_levels",
            "book_interval",  # ns
            "part_events",
            "part_interval",  # ns
            "checksum",  # cowbook.plain.schemes
            "price_decimals",
            "size_decimals",
            "depth",  # levels a side, 0 = what the capture says
            "dead_letter_ends_sync",
        )
    ]
)


class Batch(NamedTuple):
    """The arrays of an EventBatch."""

    messages: npt.NDArray[np.void]  # MESSAGE
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Rows(NamedTuple):
    """The open rows (cowbook.plain.rows); how many are valid stands in the state."""

    depth_messages: npt.NDArray[np.void]
    depth_prices: npt.NDArray[np.int64]
    depth_sizes: npt.NDArray[np.int64]
    trades: npt.NDArray[np.void]
    bbo: npt.NDArray[np.void]
    book: npt.NDArray[np.void]
    book_levels: npt.NDArray[np.int64]  # (rows, 4 * book_levels)
    gaps: npt.NDArray[np.void]
    drift: npt.NDArray[np.void]
    audits: npt.NDArray[np.void]
    dead: npt.NDArray[np.int64]  # event_index of each dead letter

    @classmethod
    def allocate(cls, capacity: dict[str, int], book_levels: int) -> Rows:
        """Empty arrays with at least the given numbers of rows, by field name."""

        def size(name: str) -> int:
            return capacity.get(name, 64)

        return cls(
            np.empty(size("depth_messages"), DEPTH_MESSAGE),
            np.empty(size("depth_prices"), np.int64),
            np.empty(size("depth_sizes"), np.int64),
            np.empty(size("trades"), TRADE_ROW),
            np.empty(size("bbo"), BBO_ROW),
            np.empty(size("book"), BOOK_ROW),
            np.empty((size("book_levels"), 4 * book_levels), np.int64),
            np.empty(size("gaps"), GAP_ROW),
            np.empty(size("drift"), DRIFT_ROW),
            np.empty(size("audits"), AUDIT_ROW),
            np.empty(size("dead"), np.int64),
        )


class Logs(NamedTuple):
    """What waits: append-only, so that a snapshot can refer to it. The valid ranges stand in the state."""

    diffs: npt.NDArray[np.void]  # DIFF_ENTRY
    diff_prices: npt.NDArray[np.int64]
    diff_sizes: npt.NDArray[np.int64]
    tickers: npt.NDArray[np.void]  # TICKER_ENTRY
    snapshot_prices: npt.NDArray[np.int64]
    snapshot_sizes: npt.NDArray[np.int64]
    days: npt.NDArray[np.void]  # DAY_ROW, of the days that have ended

    @classmethod
    def allocate(cls, capacity: int = 64) -> Logs:
        """Empty arrays."""
        return cls(
            np.empty(capacity, DIFF_ENTRY),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int64),
            np.empty(capacity, TICKER_ENTRY),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int64),
            np.empty(8, DAY_ROW),
        )


class Scratch(NamedTuple):
    """What computing a checksum needs; of no meaning between messages."""

    levels: npt.NDArray[np.int64]  # (2, 2, 100): side; price, size
    text: npt.NDArray[np.uint8]
    crc_table: npt.NDArray[np.int64]

    @classmethod
    def allocate(cls) -> Scratch:
        """For the longest text: 400 numerals of 20 characters and a colon."""
        table = np.arange(256, dtype=np.int64)
        for _ in range(8):  # CRC-32 of ISO 3309, reflected
            table = np.where(table & 1, (table >> 1) ^ 0xEDB88320, table >> 1)
        return cls(np.zeros((2, 2, 100), np.int64), np.zeros(400 * 48, np.uint8), table)


def new_state() -> npt.NDArray[np.void]:
    """The state before any message, shape (1,)."""
    state = np.zeros(1, STATE)
    for name in ("last_id", "newest", "last_time", "last_depth_time"):
        state[name] = NONE
    return state
