"""The state of a book besides its levels and rows: everything that it counts and remembers, by name.

It is one record, so that a snapshot takes one small copy, and a checkpoint has every field by its name.
"""

from __future__ import annotations

import numpy as np

from cowbook.plain.features import FEATURE_STATE
from cowbook.plain.messages import MESSAGE
from cowbook.plain.streams import OPEN_COUNTS
from cowbook.plain.vocabulary import AUDIT_FIELDS, OUTCOMES, REASONS

WAITING_LIMIT = 16_384
"""Most diffs that are kept, and most tickers that wait for their depth message."""

KEPT_LEVELS_LIMIT = 1 << 22
"""Most levels of kept diffs: 64 MiB. The oldest diffs are dropped beyond that."""

RECENT_TRADES = 65_536
RECENT_MESSAGES = 4_096
"""How many ids of trades, and how many unnumbered depth messages, are remembered, so that one that comes twice counts once."""

NEARNESS = 8
"""Among the states of the book behind so many depth messages before a loose ticker, and after it, its own is looked for."""

PATIENCE = 1_000
"""A witness that so many applied diffs have not reached is dropped. So many diffs in a row that are of another speed, or stale
against one snapshot, are a gap."""

MOST_UNTIMED = 16
MOST_FOREIGN = 16
MOST_SLOTS = MOST_UNTIMED + MOST_FOREIGN + 4
"""Most snapshots that wait for a time, and that wait for a diff that shows whose they are; and one of each other purpose."""

TOOK_OVER = -1

# What a message in a slot waits for (`SLOT.purpose`).
FREE = 0
UNTIMED = 1  # a snapshot, for a message that gives it a time
FOREIGN = 2  # a snapshot, for the diff that shows that it is of this symbol
AHEAD = 3  # a witness, for the diff that reaches its id
STALE_ONE = 4  # the newest snapshot that was stale since the last applied diff: ids may begin anew
HELD = 5  # the first diff of ids that may begin anew, for the second
BELIEVED = 6  # an unlabelled snapshot that replaced the book, for the first diff that joins it
STANDS = 7  # any other snapshot that replaced the book, likewise: its id may be too high for any diff
IN_HAND = 8  # it is being processed

SLOT = np.dtype([(name, np.int64) for name in ("purpose", "order", "since", "is_due")])
"""Why a message waits, its place in the order of arrival, the number of applied diffs then, and not 0 if its turn has come."""

WAITING = np.dtype([*MESSAGE.descr, *SLOT.descr, ("level_start", np.int64)])
"""A message that waits, in a checkpoint."""

REPLACES_BOOK = 2
"""`SLOT.is_due` of a witness that is to replace the book."""

_COUNTERS = (
    "messages",  # accepted messages
    "gaps",
    "missing_updates",  # in gaps of known size
    "stale",
    "stale_snapshots",
    "foreign_snapshots",  # that no diff of this symbol joined
    "replaced_witnesses",  # that waited when a better one came
    "time_resets",
    "duplicate_trades",
    "duplicate_messages",
    "witnesses",  # snapshots that were compared with the book
    "levels_compared",  # with a witness
    "levels_wrong",  # of those: blamed
    "levels_learned",  # from witnesses
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
    "unsynced_messages",  # depth messages after which the book was not synced
    "early_messages",  # of these, those before the first snapshot that was applied
    "unnumbered",  # applied diffs of which nothing would show the loss
    "compared",  # depth messages after which the book was compared with something
    "compared_unsynced",  # of these, those after which it was not synced
    "refuted",  # of the others, those where a comparison failed
    "connection_records",  # with a number of their connection
    "connection_gaps",  # in these numbers
    "connection_missing",  # numbers in these gaps, where the later one is higher
    "tickers_near",  # loose tickers that show a state which the book had shortly before or after them
    "tickers_far",  # those that do not
    # Event time in ns: all of it, and while the best levels, or the levels of the grid, were known.
    "time_total",
    "time_best_known",
    "time_grid_known",
)

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "last_id",  # update id of the last applied depth message
            "is_first",  # 1 if that message was a depth snapshot
            "synced",
            # Every bid of at least `bid_bound` and every ask of at most `ask_bound` is known.
            "bid_bound",
            "ask_bound",
            "best_is_known",
            "grid_is_known",  # at the last grid point
            "last_diff_id",  # of the last applied diff
            "last_diff_time",
            "next_event",  # index of the next event
            "newest",  # running maximum of accepted messages' event times
            "last_time",  # event time of the last accepted message
            "last_depth_time",  # event time of the last applied depth message
            "cut_first",  # first event of the open cut
            "cut_number",  # how many cuts before it have the same first event
            "grid_due",  # 1 if a depth message was applied since the last grid row
            "grid_next",  # the grid points before it have had their turn; 0 at first, and after a time reset
            *FEATURE_STATE,
            # The last bbo row. The next one is written when a value differs.
            "bbo_written",
            "bbo_bid_price",
            "bbo_bid_size",
            "bbo_ask_price",
            "bbo_ask_size",
            "bbo_synced",
            "bbo_bid_known",
            "bbo_ask_known",
            # Messages that wait. They are in the slots, their levels in Logs.slot_prices and slot_sizes.
            "slot_count",
            "slot_order",  # how many ever waited
            "slot_level_end",
            "due_count",
            "due_time",  # what the snapshots that wait for a time get; NONE while nothing gives them one
            "resets",  # 1 while the held diff, which proved to begin the ids anew, is applied
            # Valid ranges of the append-only logs.
            "diff_start",
            "diff_end",
            "diff_level_end",
            "apart_start",
            "apart_end",
            "apart_level_end",
            "ticker_start",
            "ticker_end",
            "trade_start",
            "trade_end",
            "recent_start",
            "recent_end",
            "market",  # whose book it is; 0 until a diff says it
            "markets_seen",  # a bit for each market of which there was a diff
            "speed",  # of the last applied diff that said it
            "apart_run",  # diffs of another speed that were not used since the last applied diff
            "apart_speed",  # of the last of them
            "stale_run",  # diffs that were stale against the snapshot on which the book stands
            "takes_over",  # a speed that is to become the book's: its diffs become the kept ones; TOOK_OVER when they are
            "depth",  # levels of each side that the venue keeps; 0: all
            "channel",  # the channel whose snapshots and diffs make up the book
            # The last ones that were read and are not the book's; 0 for none.
            "other_channel",
            "other_speed",
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
            "first_snapshot_time",  # event time of the first snapshot that was applied; 0 before it
            "verdict",  # of the last depth message: NOT_COMPARED or COMPARED
            # The ids at the gap at which the engine halted.
            "gap_expected",
            "gap_received",
            "has_loose_tickers",  # 1 once one was read while the book was synced: the tickers that wait are loose ones
            "past_count",  # depth messages since then, or since sync began
            *(f"past_{place}" for place in range(4 * NEARNESS)),  # the last best levels: bid price and size, ask price and size
            *_COUNTERS,
            *OPEN_COUNTS,  # valid entries of the open rows' arrays
        )
    ]
)

PLACES = {name: place for place, name in enumerate(STATE.names or ())}
"""Place of each field among the state's int64 words."""

DIFF_ENTRY = np.dtype(
    [(name, np.int64) for name in ("rule", "first_id", "last_id", "prev_id", "speed", "level_start", "bid_count", "ask_count")]
)
"""A kept diff. Its levels, bids first, are in the prices and sizes of the same log."""

TICKER_ENTRY = np.dtype([(name, np.int64) for name in ("id", "bid_price", "bid_size", "ask_price", "ask_size")])


# Whether the book after the last depth message was compared with something (`STATE.verdict`).
NOT_COMPARED = 0
COMPARED = 1
