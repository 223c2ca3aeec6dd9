"""An engine's settings and arrays, in the groups that its kernels take."""

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
            "depth",  # levels a side, 0 = what the capture says
            "dead_letter_ends_sync",
        )
    ]
)


class Levels(NamedTuple):
    """Prices and sizes of levels, fixed-point; messages say which of them are theirs."""

    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Batch(NamedTuple):
    """The arrays of an EventBatch."""

    messages: npt.NDArray[np.void]  # MESSAGE
    levels: Levels


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


class Engine(NamedTuple):
    """All that the kernels of an engine work on. `words` and `state` are the same memory."""

    words: npt.NDArray[np.int64]  # the state, by book_state.PLACES
    state: npt.NDArray[np.void]  # STATE, (1,)
    settings: npt.NDArray[np.void]  # SETTINGS, (1,)
    book: Book
    rows: Any  # plain.rows.Rows
    logs: Logs
    room: npt.NDArray[np.int64]  # book.room
    waiting: npt.NDArray[np.void]  # MESSAGE, (1,): the snapshot that waited, while it is applied
    scratch: Scratch


def new_state() -> npt.NDArray[np.void]:
    """The state before any message, shape (1,)."""
    state = np.zeros(1, STATE)
    for name in ("last_id", "newest", "last_time", "last_depth_time"):
        state[name] = NONE
    return state
