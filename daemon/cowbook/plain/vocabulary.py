"""Names that users see in rows, reports and metrics. Each list is defined once, and kernels use the indices into it."""

from __future__ import annotations

from typing import Literal

Reason = Literal["overlong", "not_utf8", "malformed", "unknown", "out_of_range", "damaged"]

REASONS: tuple[Reason, ...] = ("overlong", "not_utf8", "malformed", "unknown", "out_of_range", "damaged")
"""Why a record was rejected. A message of kind DEAD_LETTER has the reason's index in its flags.

`damaged` is no record, but a place in a damaged file, with the unfinished record in front of it.
"""

DAMAGED = REASONS.index("damaged")

AUDIT_FIELDS = {"bookTicker": "audit", "checksum": "checksum", "snapshot": "witness"}
"""Kinds of audits, and how the names of their counters in the state begin."""

AUDIT_KINDS = tuple(AUDIT_FIELDS)
BOOK_TICKER, CHECKSUM, WITNESS = range(len(AUDIT_KINDS))

DEPTH_KINDS = ("clear", "snapshot", "change", "learned", "dropped")
"""Kinds of rows of `depth` (docs/rules.md, section 3)."""

CLEAR, OF_SNAPSHOT, CHANGE, LEARNED, DROPPED = range(len(DEPTH_KINDS))

TRADE_SIDES = ("buy", "sell", "unknown")
"""Sides of a trade's aggressor. Some venues do not say it of some trades, those of auctions for one."""

BOUGHT, SOLD, UNTOLD = range(len(TRADE_SIDES))

MARKET_NAMES = ("spot", "futures", "rpi")
"""Markets of Binance that share the names of symbols, as `[[symbol]] channel` names them (docs/rules.md, section 2)."""

SPEED_NAMES = ("depth", "depth@100ms", "depth@500ms", "depth@250ms")
"""Speeds of Binance's diffs, as the names of its streams say them. `MESSAGE.speed` is the place in this list, from 1 on."""

GAP_STATISTICS = (
    *("gaps", "missing_updates", "stale", "stale_snapshots", "foreign_snapshots", "replaced_witnesses"),
    *("time_resets", "duplicate_trades", "duplicate_messages"),
)
"""Names of counters of what is missing, what was not applied, and what came twice."""

OUTCOMES = ("matched", "failed", "matched_unsynced", "failed_unsynced", "not_comparable")
"""Outcomes of an audit."""

MATCHED, FAILED, MATCHED_UNSYNCED, FAILED_UNSYNCED, NOT_COMPARABLE = range(len(OUTCOMES))
