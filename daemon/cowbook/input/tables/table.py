"""Describes tables of market data (CSV or Parquet, one row per level or trade) by what their columns mean (ADR 11).

In a table of book changes, a message is a run of rows with the same key: all rows of one snapshot, or rows with equal times and
ids. Where the vendor writes down what it received, it is a run of rows that were received together (`Table.by_receipt`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.input.tables.table_scanner import (
    EXCHANGE,
    FIRST_ID,
    IS_BID,
    IS_SNAPSHOT,
    LAST_ID,
    PREV_ID,
    PRICE,
    SIDE,
    SIZE,
    SKIPPED,
    SYMBOL,
    TRADE_ID,
    TS_EVENT,
    TS_RECV,
    WORDS,
)
from cowbook.input.text.text_scanner import word
from cowbook.plain.schemes import UNNUMBERED

MEANINGS = {
    "symbol": SYMBOL,
    "ts_event": TS_EVENT,
    "ts_recv": TS_RECV,
    "is_snapshot": IS_SNAPSHOT,
    "side": SIDE,
    "is_bid": IS_BID,
    "price": PRICE,
    "size": SIZE,
    "first_id": FIRST_ID,
    "last_id": LAST_ID,
    "prev_id": PREV_ID,
    "trade_id": TRADE_ID,
    "exchange": EXCHANGE,
}
"""The possible meanings of a column, by name. A `prev_id` of -1 means none, and so does a `trade_id` that is not a number."""


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of table."""

    columns: Mapping[str, tuple[str, ...]]
    """The names that a column may have, by its meaning (MEANINGS). A column is required unless its meaning is in `optional`."""
    trades: bool = False
    optional: tuple[str, ...] = ()
    sides: tuple[str, str] = ("bid", "ask")
    """The values of the side's column: bid and ask, or aggressor bought and sold. At most 7 characters each."""
    snapshot: tuple[str, str] = ("false", "true")
    """The values of `is_snapshot` for rows of a diff and of a snapshot. At most 7 characters each."""
    snapshot_too: tuple[str, str] | None = None
    """Another spelling of these values."""
    rule: int = UNNUMBERED
    resets: bool = True
    """True if snapshots are part of the stream (plain.messages.IS_RESET) rather than in a file of their own."""
    by_receipt: bool = False
    """True if a message is what was received at one time, and a snapshot may take several (runs.py)."""
    opens_with_snapshot: bool = False
    """True if a file that begins with other rows does not follow the file before it (plain.messages.BREAK)."""

    def plan(self, names: Sequence[str]) -> npt.NDArray[np.int64] | None:
        """The meaning of each column as int64, SKIPPED for unused ones. None if these are not the columns of this table."""
        plan = np.full(len(names), SKIPPED, np.int64)
        for meaning, known in self.columns.items():
            places = [place for place, name in enumerate(names) if name in known]
            if len(places) > 1 or (not places and meaning not in self.optional):
                return None
            plan[places] = MEANINGS[meaning]
        return plan

    def words(self) -> npt.NDArray[np.void]:
        """The texts of sides and snapshots as words that the kernels compare: WORDS of shape (1,)."""
        texts = (*self.sides, *self.snapshot, *(self.snapshot_too or self.snapshot))
        assert all(len(text) < 8 for text in texts)
        return np.array([tuple(word(text.encode()) for text in texts)], WORDS)

    def described(self) -> str:
        """The required columns, for an error message."""
        return ",".join(names[0] for meaning, names in self.columns.items() if meaning not in self.optional)
