"""The state of a book besides its levels and rows: everything that it counts and remembers, by name.

It is one record, so that a snapshot takes one small copy, and a checkpoint has every field by its name.
"""

from __future__ import annotations

import numpy as np

from cowbook.plain.streams import OPEN_COUNTS
from cowbook.plain.vocabulary import AUDIT_FIELDS, OUTCOMES, REASONS

WAITING_LIMIT = 16_384
"""Most diffs kept while the book is not synced, and most tickers that wait for their depth message."""

_COUNTERS = (
    "messages",  # accepted messages
    "gaps",
    "missing_updates",  # in gaps of known size
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
    "synced_events",  # those of them that were applied while synced
    "compared",  # depth messages after which the book was compared with a ticker or checksum
    "refuted",  # those of them where a comparison failed
)

WAITING_FIELDS = ("flags", "checksum", "price_decimals", "size_decimals", "depth", "rule", "channel")
"""Fields of a waiting snapshot, besides its id and levels."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "last_id",  # update id of the last applied depth message
            "is_first",  # 1 if that message was a depth snapshot
            "synced",
            "next_event",  # index of the next event
            "newest",  # running maximum of accepted messages' event times
            "last_time",  # event time of the last accepted message
            "last_depth_time",  # event time of the last applied depth message
            "cut_first",  # first event of the open cut
            "grid_due",  # 1 if a depth message was applied since the last grid row
            # The last bbo row. The next one is written when a value differs.
            "bbo_written",
            "bbo_bid_price",
            "bbo_bid_size",
            "bbo_ask_price",
            "bbo_ask_size",
            "bbo_synced",
            # A snapshot that waits for a time. Its levels are in Logs.snapshot_prices and snapshot_sizes.
            "snapshot_waits",
            "waiting_id",
            "waiting_bid_count",
            "waiting_ask_count",
            *(f"waiting_{name}" for name in WAITING_FIELDS),
            # Valid ranges of the append-only logs.
            "diff_start",
            "diff_end",
            "diff_level_end",
            "ticker_start",
            "ticker_end",
            "depth",  # levels of each side that the venue keeps; 0: all
            "channel",  # the channel whose snapshots and diffs make up the book
            "is_numbered",  # 1 if the last depth message had ids, by which the loss of one would show
            # Most decimals seen, for checksums that depend on them.
            "price_decimals",
            "size_decimals",
            "last_sequence",  # sequence number of the connection's last record; 0 before the first
            "sequence_checked",  # 1 if the sequence number of the next record is already checked
            # The UTC day of `newest`: its end, the time of its first message, and the number of earlier days in Logs.days.
            "day_end",
            "day_first_time",
            "day_count",
            "verdict",  # of the last depth message: NOT_COMPARED, COMPARED or REFUTED
            # The ids at the gap at which the engine halted.
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
"""A buffered diff. Its levels, bids first, are in Logs.diff_prices and diff_sizes."""

TICKER_ENTRY = np.dtype([(name, np.int64) for name in ("id", "bid_price", "bid_size", "ask_price", "ask_size")])


# Results of comparing the book after the last depth message (`STATE.verdict`).
NOT_COMPARED = 0
COMPARED = 1
REFUTED = 2
