"""Names that users see in rows, reports and metrics, each list once; kernels know them by their places."""

from __future__ import annotations

from typing import Literal

Reason = Literal["overlong", "not_utf8", "malformed", "unknown", "out_of_range"]

REASONS: tuple[Reason, ...] = ("overlong", "not_utf8", "malformed", "unknown", "out_of_range")
"""Why a record was rejected; a message of kind DEAD_LETTER has the reason's place in its flags."""

AUDIT_FIELDS = {"bookTicker": "audit", "checksum": "checksum"}
"""Kinds of audits, and what the state calls the counters of each."""

AUDIT_KINDS = tuple(AUDIT_FIELDS)
BOOK_TICKER, CHECKSUM = range(len(AUDIT_KINDS))

OUTCOMES = ("matched", "failed", "matched_unsynced", "failed_unsynced", "not_comparable")
"""What comes of an audit."""

MATCHED, FAILED, MATCHED_UNSYNCED, FAILED_UNSYNCED, NOT_COMPARABLE = range(len(OUTCOMES))
