"""Plain data between the book and the sink: the open rows, those since the last cut, append-only.

The engine only ever writes behind the counts, so that a snapshot may keep a reference to the arrays and the counts
of its moment. When an array is full it is replaced by a larger copy, never moved in place.

Times are ns since 1970, prices and sizes int64 fixed-point; `event_batch.NONE` stands for null.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DEPTH_MESSAGE = np.dtype(
    [
        ("level_start", np.int64),  # first level in depth_prices and depth_sizes; bids first, then asks
        ("bid_count", np.int64),
        ("ask_count", np.int64),
        ("event_index", np.int64),  # of the first level
        ("ts_event", np.int64),
        ("ts_recv", np.int64),
        ("update_id", np.int64),
        ("is_snapshot", np.int64),
        ("synced", np.int64),
    ]
)
"""One applied depth message with at least one level; `depth` has a row for each of its levels."""

TRADE_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts_event", np.int64),
        ("ts_recv", np.int64),
        ("trade_id", np.int64),
        ("price", np.int64),
        ("size", np.int64),
        ("is_sell", np.int64),
        ("is_aggregate", np.int64),
    ]
)

BBO_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts_event", np.int64),
        ("ts_recv", np.int64),
        ("update_id", np.int64),
        ("bid_price", np.int64),
        ("bid_size", np.int64),
        ("ask_price", np.int64),
        ("ask_size", np.int64),
        ("synced", np.int64),
    ]
)

BOOK_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts", np.int64),
        ("update_id", np.int64),
        ("synced", np.int64),
    ]
)
"""A grid row; its levels are the same row of `book_levels`: bid price, bid size, ask price, ask size of each level."""

GAP_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts_event", np.int64),
        ("expected_id", np.int64),
        ("received_id", np.int64),
        ("missing", np.int64),
    ]
)

DRIFT_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts_event", np.int64),
        ("update_id", np.int64),
        ("was_synced", np.int64),
        ("levels_compared", np.int64),
        ("levels_missing", np.int64),
        ("levels_extra", np.int64),
        ("levels_differing", np.int64),
        ("size_error_high", np.int64),  # size_error = high * 10**18 + low
        ("size_error_low", np.int64),
    ]
)

AUDIT_ROW = np.dtype(
    [
        ("event_index", np.int64),
        ("ts_event", np.int64),
        ("update_id", np.int64),
        ("kind", np.int64),
        ("expected_bid_price", np.int64),
        ("expected_bid_size", np.int64),
        ("expected_ask_price", np.int64),
        ("expected_ask_size", np.int64),
        ("found_bid_price", np.int64),
        ("found_bid_size", np.int64),
        ("found_ask_price", np.int64),
        ("found_ask_size", np.int64),
    ]
)


DAY_ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "day",  # since 1970
            "first_time",  # of its first accepted message
            "last_time",  # the running maximum of event time at its end
            # Counts since the start of the input, at its end.
            "events",
            "depth_events",
            "synced_events",
            "depth_messages",
            "compared",
            "refuted",
            "gaps",
            "missing_updates",
            "crossed",
            "drifts",
            "dead_letters",
        )
    ]
)
"""A UTC day of the running maximum of event time."""


@dataclass(frozen=True, slots=True)
class OpenRows:
    """The rows of one cut, or of a tail: arrays of exactly the valid rows, and the range of events that they belong to.

    `first` and `last` name the cut (last = first - 1 without events), `newest` is the running maximum of event time at its
    last accepted message, `event_batch.NONE` without any. `dead_events` has the event_index of each dead letter.
    """

    first: int
    last: int
    newest: int
    depth_messages: npt.NDArray[np.void]
    depth_prices: npt.NDArray[np.int64]
    depth_sizes: npt.NDArray[np.int64]
    trades: npt.NDArray[np.void]
    bbo: npt.NDArray[np.void]
    book: npt.NDArray[np.void]
    book_levels: npt.NDArray[np.int64]
    gaps: npt.NDArray[np.void]
    drift: npt.NDArray[np.void]
    audits: npt.NDArray[np.void]
    dead_events: npt.NDArray[np.int64]

    @property
    def is_empty(self) -> bool:
        """Whether no stream has a row."""
        arrays = (self.depth_messages, self.trades, self.bbo, self.book, self.gaps, self.drift, self.audits, self.dead_events)
        return not any(len(array) for array in arrays)
