"""An engine's settings and arrays, in the groups that its kernels take as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.book.crc import moves
from cowbook.book.ladder import Book
from cowbook.book.level_text import LONGEST
from cowbook.plain.book_state import (
    DIFF_ENTRY,
    MOST_SLOTS,
    PLACES,
    RECENT_MESSAGES,
    RECENT_TRADES,
    SLOT,
    STATE,
    TICKER_ENTRY,
    WAITING_LIMIT,
)
from cowbook.plain.features import BEST_NAMES, FEATURE_BPS, FEATURE_LEVELS, FLOW_NAMES
from cowbook.plain.messages import MESSAGE, NONE
from cowbook.plain.rows import DAY_ROW
from cowbook.plain.streams import CHOSEN_STREAMS

# Bounds of what is known of a side.
NOTHING_OF_BIDS = ALL_OF_ASKS = 2**62
NOTHING_OF_ASKS = ALL_OF_BIDS = -(2**62)

_KNOWN_TEXTS = 1024  # a power of two: 25 levels a side rarely share a place

SETTINGS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "halt_on_gap",
            *(f"with_{stream}" for stream in CHOSEN_STREAMS),
            "with_flows",  # what features are made of is measured, be it for rows or not
            "book_levels",
            "book_interval",  # ns
            "book_fill",
            "part_events",
            "part_interval",  # ns
            "checksum",  # cowbook.plain.schemes
            "price_decimals",
            "size_decimals",
            "depth",  # levels of each side; 0: as the capture says
            "dead_letter_ends_sync",
            "snapshots_are_whole",  # they have all levels, or all that the venue keeps
            # Whose book it is. 0: of the first diff.
            "market",
            "speed",
            "channel",
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
    """What is kept for later: diffs, tickers, levels of waiting messages, ids of recent trades and messages, and the days.

    The arrays are append-only, so that a snapshot can refer to them. The state holds the valid ranges.
    """

    diffs: npt.NDArray[np.void]  # DIFF_ENTRY: the book's own diffs, by ascending id
    diff_prices: npt.NDArray[np.int64]
    diff_sizes: npt.NDArray[np.int64]
    apart: npt.NDArray[np.void]  # DIFF_ENTRY: diffs of another speed, by ascending id
    apart_prices: npt.NDArray[np.int64]
    apart_sizes: npt.NDArray[np.int64]
    tickers: npt.NDArray[np.void]  # TICKER_ENTRY
    slot_prices: npt.NDArray[np.int64]
    slot_sizes: npt.NDArray[np.int64]
    trades: npt.NDArray[np.int64]  # keys of recent trades
    recent: npt.NDArray[np.int64]  # keys of recent unnumbered depth messages
    days: npt.NDArray[np.void]  # DAY_ROW, of the days that have ended

    @classmethod
    def allocate(cls) -> Logs:
        """Returns arrays without valid entries. Untouched memory costs nothing, while enlarging an array does."""
        capacity = 2 * WAITING_LIMIT
        integers = [np.empty(32 * capacity if place < 2 else capacity, np.int64) for place in range(8)]
        return cls(
            diffs=np.empty(capacity, DIFF_ENTRY),
            diff_prices=integers[0],
            diff_sizes=integers[1],
            apart=np.empty(capacity, DIFF_ENTRY),
            apart_prices=integers[2],
            apart_sizes=integers[3],
            tickers=np.empty(capacity, TICKER_ENTRY),
            slot_prices=integers[4],
            slot_sizes=integers[5],
            trades=integers[6],
            recent=integers[7],
            days=np.empty(8, DAY_ROW),
        )


class DiffLog(NamedTuple):
    """One of the logs of diffs."""

    entries: npt.NDArray[np.void]  # DIFF_ENTRY
    levels: Levels


class Slots(NamedTuple):
    """Messages that wait, and why. Both arrays have MOST_SLOTS entries."""

    messages: npt.NDArray[np.void]  # MESSAGE; their levels are in Logs.slot_prices and slot_sizes
    info: npt.NDArray[np.void]  # SLOT

    @classmethod
    def allocate(cls) -> Slots:
        """Returns free slots."""
        return cls(np.zeros(MOST_SLOTS, MESSAGE), np.zeros(MOST_SLOTS, SLOT))


NO_SLOTS = Slots.allocate()


class Seen(NamedTuple):
    """Hash tables of the keys in Logs.trades and Logs.recent (book/recent.py). An empty place is 0."""

    trades: npt.NDArray[np.int64]
    recent: npt.NDArray[np.int64]

    @classmethod
    def allocate(cls) -> Seen:
        """Returns empty tables, twice as large as what they hold."""
        return cls(np.zeros(2 * RECENT_TRADES, np.int64), np.zeros(2 * RECENT_MESSAGES, np.int64))


class Scratch(NamedTuple):
    """Working memory for checksums. What it keeps from one message to the next changes no result."""

    levels: npt.NDArray[np.int64]  # (2, 2, 100): side; price, size
    text: npt.NDArray[np.uint8]  # of one level
    moves: npt.NDArray[np.uint32]  # constant, crc.moves
    known: npt.NDArray[np.int64]  # hash table of levels with the checksums of their texts (book/checksums.py)
    written: npt.NDArray[np.int64]  # (2,): for how many decimals of prices and sizes these are

    @classmethod
    def allocate(cls) -> Scratch:
        """Returns arrays that know nothing yet."""
        return cls(
            levels=np.zeros((2, 2, 100), np.int64),
            text=np.zeros(LONGEST, np.uint8),
            moves=moves(LONGEST).reshape(-1),
            known=np.zeros(_KNOWN_TEXTS * 4, np.int64),
            written=np.zeros(2, np.int64),
        )


class Measured(NamedTuple):
    """What features are made of (book/features.py), for so many of the best levels of each side: depth."""

    best: npt.NDArray[np.int64]  # (4, depth): bid prices, bid sizes, ask prices, ask sizes behind the last depth message
    flows: npt.NDArray[np.int64]  # (2 depth + 6,), since the last row: the order flow of each level, then trades
    now: npt.NDArray[np.int64]  # working memory of the shape of `best`
    distances: npt.NDArray[np.float64]  # constant: from the mid, in hundredths of a percent, ascending

    @classmethod
    def of_state(cls, words: npt.NDArray[np.int64]) -> Measured:
        """Returns what the stream `features` needs: views of the state's words."""
        best, flows = PLACES[f"feature_{BEST_NAMES[0]}"], PLACES[f"feature_{FLOW_NAMES[0]}"]
        return cls(
            best=words[best : best + len(BEST_NAMES)].reshape(4, FEATURE_LEVELS),
            flows=words[flows : flows + len(FLOW_NAMES)],
            now=np.zeros((4, FEATURE_LEVELS), np.int64),
            distances=np.array(FEATURE_BPS, np.float64),
        )

    @classmethod
    def allocate(cls, depth: int, distances: Sequence[float]) -> Measured:
        """Returns arrays of their own."""
        return cls(
            best=np.zeros((4, depth), np.int64),
            flows=np.zeros(2 * depth + len(FLOW_NAMES) - 2 * FEATURE_LEVELS, np.int64),
            now=np.zeros((4, depth), np.int64),
            distances=np.array(distances, np.float64),
        )


class Engine(NamedTuple):
    """All arrays that an engine's kernels work on. `words` and `state` are views of the same memory."""

    words: npt.NDArray[np.int64]  # the state, by book_state.PLACES
    state: npt.NDArray[np.void]  # STATE, (1,)
    settings: npt.NDArray[np.void]  # SETTINGS, (1,)
    book: Book
    rows: Any  # plain.rows.Rows
    logs: Logs
    room: npt.NDArray[np.int64]  # book.room
    waiting: npt.NDArray[np.void]  # MESSAGE, (1,): a message that waited, while it is applied
    slots: Slots
    seen: Seen
    scratch: Scratch
    measured: Measured


def new_state() -> npt.NDArray[np.void]:
    """Returns the state before any message: STATE, shape (1,)."""
    state = np.zeros(1, STATE)
    for name in ("last_id", "newest", "last_time", "last_depth_time", "last_diff_id", "last_diff_time", "due_time"):
        state[name] = NONE
    state["bid_bound"], state["ask_bound"] = NOTHING_OF_BIDS, NOTHING_OF_ASKS
    return state
