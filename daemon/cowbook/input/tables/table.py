"""Tables of market data, as CSV or Parquet: one row per level or trade, and what the columns of each known table mean.

A message of a book's table is a run of rows with the same key: all of a snapshot, or what has the same times and ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.input.tables.table_scanner import (
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
}
"""What a column may say, by name. `prev_id` may be -1 for none; a `trade_id` that is no number is none."""


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of table: the names of its columns, by what they mean."""

    columns: Mapping[str, tuple[str, ...]]
    """By meaning (MEANINGS), the names that the column goes by; it must be there, unless the meaning is in `optional`."""
    trades: bool = False
    optional: tuple[str, ...] = ()
    sides: tuple[str, str] = ("bid", "ask")
    """What a side's column says of bids and asks, or of aggressors that bought and sold: at most 7 characters."""
    snapshot: tuple[str, str] = ("false", "true")
    """What `is_snapshot` says of a diff's and of a snapshot's rows: at most 7 characters."""
    rule: int = UNNUMBERED
    resets: bool = True
    """Whether a snapshot stands in the stream itself (event_batch.IS_RESET), not in a file of its own."""

    def plan(self, names: Sequence[str]) -> npt.NDArray[np.int64] | None:
        """The meaning of each column, SKIPPED for those of no use; None when these are not the columns of this table."""
        plan = np.full(len(names), SKIPPED, np.int64)
        for meaning, known in self.columns.items():
            places = [place for place, name in enumerate(names) if name in known]
            if len(places) > 1 or (not places and meaning not in self.optional):
                return None
            plan[places] = MEANINGS[meaning]
        return plan

    def words(self) -> npt.NDArray[np.void]:
        """`sides` and `snapshot` as the kernels compare them, WORDS of shape (1,)."""
        texts = (*self.sides, *self.snapshot)
        assert all(len(text) < 8 for text in texts)
        return np.array([tuple(word(text.encode()) for text in texts)], WORDS)

    def described(self) -> str:
        """The columns, for a person."""
        return ",".join(names[0] for meaning, names in self.columns.items() if meaning not in self.optional)
