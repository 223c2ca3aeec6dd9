"""Numbers of the continuity rules, shared by decoders, which name a rule, and the book, which follows it."""

from __future__ import annotations

BINANCE_SPOT = 0
"""Diffs with U and u: ranges that join."""

BINANCE_FUTURES = 1
"""Diffs with U, u and pu: each names the one before it."""
