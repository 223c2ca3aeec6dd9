"""The state of a book, beside its levels and rows: everything that it counts and remembers, by name.

One record, so that a snapshot is one small copy and a checkpoint has every field by its name.
"""

from __future__ import annotations

import numpy as np

from cowbook.plain.streams import OPEN_COUNTS
from cowbook.plain.vocabulary import AUDIT_FIELDS, OUTCOMES, REASONS

WAITING_LIMIT = 16_384
"""Diffs kept while not synced, and tickers kept until their depth message comes."""

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
    *(f"{field}_{outcome}" for field in AUDIT_FIELDS.values() for outcome in OUTCOMES),
    "depth_events",  # levels of applied depth messages
    "synced_events",  # those of them that were synced
    "compared",  # depth messages after which something that proves or disproves the book was held against it
    "refuted",  # those of them where that failed
)

WAITING_FIELDS = ("flags", "checksum", "price_decimals", "size_decimals", "depth", "rule", "channel")
"""Of a snapshot that waits for a time, beside its id and levels."""

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
            *OPEN_COUNTS,  # valid entries of the open rows' arrays
        )
    ]
)

PLACES = {name: place for place, name in enumerate(STATE.names or ())}
"""Place of each field among the state's int64 words."""

DIFF_ENTRY = np.dtype(
    [(name, np.int64) for name in ("rule", "first_id", "last_id", "prev_id", "level_start", "bid_count", "ask_count")]
)
"""A buffered diff; its levels, bids first, stand in Logs.diff_prices and diff_sizes."""

TICKER_ENTRY = np.dtype([(name, np.int64) for name in ("id", "bid_price", "bid_size", "ask_price", "ask_size")])


# What came of comparing the last depth message (`STATE.verdict`).
NOT_COMPARED = 0
COMPARED = 1
REFUTED = 2
