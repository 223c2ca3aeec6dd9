"""An engine's settings and arrays, in the groups that its kernels take as arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.book.ladder import Book
from cowbook.plain.book_state import DIFF_ENTRY, STATE, TICKER_ENTRY
from cowbook.plain.messages import NONE
from cowbook.plain.rows import DAY_ROW
from cowbook.plain.streams import CHOSEN_STREAMS

SETTINGS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "halt_on_gap",
            *(f"with_{stream}" for stream in CHOSEN_STREAMS),
            "book_levels",
            "book_interval",  # ns
            "part_events",
            "part_interval",  # ns
            "checksum",  # cowbook.plain.schemes
            "price_decimals",
            "size_decimals",
            "depth",  # levels of each side; 0: as the capture says
            "dead_letter_ends_sync",
        )
    ]
)


class Levels(NamedTuple):
    """Fixed-point prices and sizes of levels. Each message names the range of entries that are its own."""

    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Batch(NamedTuple):
    """The arrays of an EventBatch."""

    messages: npt.NDArray[np.void]  # MESSAGE
    levels: Levels


class Logs(NamedTuple):
    """Diffs, tickers and a snapshot that wait, and the days. The state holds the valid ranges.

    The arrays are append-only, so that a snapshot can refer to them.
    """

    diffs: npt.NDArray[np.void]  # DIFF_ENTRY
    diff_prices: npt.NDArray[np.int64]
    diff_sizes: npt.NDArray[np.int64]
    tickers: npt.NDArray[np.void]  # TICKER_ENTRY
    snapshot_prices: npt.NDArray[np.int64]
    snapshot_sizes: npt.NDArray[np.int64]
    days: npt.NDArray[np.void]  # DAY_ROW, of the days that have ended

    @classmethod
    def allocate(cls, capacity: int = 64) -> Logs:
        """Returns arrays without valid entries."""
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
    """Working memory for computing a checksum. Its contents are undefined between messages."""

    levels: npt.NDArray[np.int64]  # (2, 2, 100): side; price, size
    text: npt.NDArray[np.uint8]
    crc_table: npt.NDArray[np.int64]

    @classmethod
    def allocate(cls) -> Scratch:
        """Returns arrays that are large enough for the longest text, 400 numerals of 20 characters and a colon each."""
        table = np.arange(256, dtype=np.int64)
        for _ in range(8):  # CRC-32 of ISO 3309, reflected
            table = np.where(table & 1, (table >> 1) ^ 0xEDB88320, table >> 1)
        return cls(np.zeros((2, 2, 100), np.int64), np.zeros(400 * 48, np.uint8), table)


class Engine(NamedTuple):
    """All arrays that an engine's kernels work on. `words` and `state` are views of the same memory."""

    words: npt.NDArray[np.int64]  # the state, by book_state.PLACES
    state: npt.NDArray[np.void]  # STATE, (1,)
    settings: npt.NDArray[np.void]  # SETTINGS, (1,)
    book: Book
    rows: Any  # plain.rows.Rows
    logs: Logs
    room: npt.NDArray[np.int64]  # book.room
    waiting: npt.NDArray[np.void]  # MESSAGE, (1,): the waiting snapshot while it is applied
    scratch: Scratch


def new_state() -> npt.NDArray[np.void]:
    """Returns the state before any message: STATE, shape (1,)."""
    state = np.zeros(1, STATE)
    for name in ("last_id", "newest", "last_time", "last_depth_time"):
        state[name] = NONE
    return state
