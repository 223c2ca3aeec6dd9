"""Everything of a book, beside its levels and rows, that decides a later byte of output, and its settings and arrays.

One record, so that a snapshot is one small copy and a checkpoint has every field by its name.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.event_batch import NONE
from cowbook.rows import AUDIT_ROW, BBO_ROW, BOOK_ROW, DAY_ROW, DEPTH_MESSAGE, DRIFT_ROW, GAP_ROW, TRADE_ROW

WAITING_LIMIT = 16_384
"""Diffs kept while not synced, and tickers kept until their depth message comes."""

REASONS = ("overlong", "not_utf8", "malformed", "unknown", "out_of_range")
"""Reasons of dead letters; a message of kind DEAD_LETTER has the reason's place in `flags`."""

AUDIT_KINDS = ("bookTicker", "checksum")
"""Names of the audit kinds, by their number in `AUDIT_ROW.kind`."""

OUTCOMES = ("matched", "failed", "matched_unsynced", "failed_unsynced", "not_comparable")
"""Outcomes of audits."""

_COUNTERS = (
    "messages",  # accepted ones
    "gaps",
    "missing_updates",  # over the gaps whose size is known
    "stale",
    "stale_snapshots",
    "snapshots",  # applied
    "diffs",  # applied
    "trades",
    "other_symbol",
    "unused",
    "crossed",
    "locked",
    "drifts",
    *(f"dead_{reason}" for reason in REASONS),
    *(f"audit_{outcome}" for outcome in OUTCOMES),  # of tickers
    *(f"checksum_{outcome}" for outcome in OUTCOMES),
    "depth_events",  # levels of applied depth messages
    "synced_events",  # those of them that were synced
    "compared",  # depth messages after which something that proves or disproves the book was held against it
    "refuted",  # those of them where that failed
)

WAITING_FIELDS = ("flags", "checksum", "price_decimals", "size_decimals", "depth", "rule", "channel")
"""Of a snapshot that waits for a time, beside its id and levels."""

OPEN_ROW_COUNTS = (
    "depth_messages",
    "depth_levels",
    "trade_rows",
    "bbo_rows",
    "book_rows",
    "gap_rows",
    "drift_rows",
    "audit_rows",
    "dead_rows",
)
"""Fields of the state that say how many of the open rows are valid, in the order of their arrays in Rows."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "last_id",  # update id of the last applied depth message
            "is_first",  # that message was a depth snapshot
            "synced",
            "next_event",  # index that the next event gets
            "newest",  # running maximum of accepted messages' event times
            "last_time",  # event time of the last accepted message
            "last_depth_time",  # event time of the last applied depth message
            "cut_first",  # first event of the open cut
            "grid_due",  # a depth message was applied since the last grid row
            # The last bbo row, to see what differs from it.
            "bbo_written",
            "bbo_bid_price",
            "bbo_bid_size",
            "bbo_ask_price",
            "bbo_ask_size",
            "bbo_synced",
            # A snapshot that waits for a time; its levels stand in Logs.snapshot_prices and snapshot_sizes.
            "snapshot_waits",
            "waiting_id",
            "waiting_bid_count",
            "waiting_ask_count",
            *(f"waiting_{name}" for name in WAITING_FIELDS),
            # Ranges in use of the append-only logs.
            "diff_start",
            "diff_end",
            "diff_level_end",
            "ticker_start",
            "ticker_end",
            # Levels a side that the venue keeps, 0 = all; most decimals seen where checksums need them.
            "depth",
            "channel",  # whose snapshots and diffs the book is made of
            "is_numbered",  # the last depth message had ids: these show, too, whether a record that cannot be read was one
            "price_decimals",
            "size_decimals",
            # Number of the last record of the connection, 0 before the first; whether that of the next one was looked at already.
            "last_sequence",
            "sequence_checked",
            # The UTC day of `newest`: when it ends, its first message, and how many days before it stand in Logs.days.
            "day_end",
            "day_first_time",
            "day_count",
            "verdict",  # on the last depth message: NOT_COMPARED, COMPARED or REFUTED
            # Where a halt at a gap stands.
            "gap_expected",
            "gap_received",
            *_COUNTERS,
            *OPEN_ROW_COUNTS,
        )
    ]
)

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
            "checksum",  # cowbook.schemes
            "price_decimals",
            "size_decimals",
            "depth",  # levels a side, 0 = what the capture says
            "dead_letter_ends_sync",
        )
    ]
)

DIFF_ENTRY = np.dtype(
    [(name, np.int64) for name in ("rule", "first_id", "last_id", "prev_id", "level_start", "bid_count", "ask_count")]
)
"""A buffered diff; its levels, bids first, stand in Logs.diff_prices and diff_sizes."""

TICKER_ENTRY = np.dtype([(name, np.int64) for name in ("id", "bid_price", "bid_size", "ask_price", "ask_size")])


# What came of comparing the last depth message (`STATE.verdict`).
NOT_COMPARED = 0
COMPARED = 1
REFUTED = 2


class Batch(NamedTuple):
    """The arrays of an EventBatch."""

    messages: npt.NDArray[np.void]  # MESSAGE
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Rows(NamedTuple):
    """The open rows (cowbook.rows); how many are valid stands in the state."""

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
