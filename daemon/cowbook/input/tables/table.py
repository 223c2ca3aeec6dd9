"""Describes tables of market data (CSV or Parquet) by what their columns mean (ADR 11).

In most, a row is a level or a trade. In a table of book changes, a message is a run of rows with the same key: all rows of one
snapshot, or rows with equal times and ids. Where the vendor writes down what it received, it is a run of rows that were received
together (`Table.by_receipt`). In a table of pictures (`Table.levels`) each row is a message: all of the best levels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.tables.table_scanner import (
    EXCHANGE,
    FIRST_ID,
    IS_BID,
    IS_SELL,
    IS_SNAPSHOT,
    LAST_ID,
    LEVELS,
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
from cowbook.plain.messages import IS_AGGREGATE, IS_PICTURE, IS_RESET
from cowbook.plain.schemes import UNNUMBERED
from cowbook.plain.table_header import Header, read_header

MEANINGS = {
    "symbol": SYMBOL,
    "ts_event": TS_EVENT,
    "ts_recv": TS_RECV,
    "is_snapshot": IS_SNAPSHOT,
    "side": SIDE,
    "is_bid": IS_BID,
    "is_sell": IS_SELL,
    "price": PRICE,
    "size": SIZE,
    "first_id": FIRST_ID,
    "last_id": LAST_ID,
    "prev_id": PREV_ID,
    "trade_id": TRADE_ID,
    "exchange": EXCHANGE,
}
"""The possible meanings of a column, by name. A `prev_id` of -1 means none, and so does a `trade_id` that is not a number."""


class LevelColumns(NamedTuple):
    """Names of the columns of a level in a table of pictures. `{}` stands for the level's place, from 0 on, best first."""

    bid_price: str
    bid_size: str
    ask_price: str
    ask_size: str

    @property
    def count_is_fixed(self) -> bool:
        """Whether there is one level a side, whose columns have no number."""
        return "{}" not in self.bid_price


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of table."""

    columns: Mapping[str, tuple[str, ...]]
    """The names that a column may have, by its meaning (MEANINGS). A column is required unless its meaning is in `optional`."""
    levels: LevelColumns | None = None
    """The columns of the levels of pictures; None if a row is one level or one trade."""
    trades: bool = False
    aggregates: bool = False
    """True if each of the trades may be several fills."""
    optional: tuple[str, ...] = ()
    sides: tuple[str, str] = ("bid", "ask")
    """The values of the side's column: bid and ask, or aggressor bought and sold. At most 7 characters each."""
    sides_too: tuple[str, str] | None = None
    """Another spelling of these values."""
    no_side: str = ""
    """The side of trades whose aggressor the vendor does not know; empty if it knows all. At most 7 characters."""
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
    channel: int = 0
    """Tells the table's book from those of the venue's other tables of one symbol (`MESSAGE.channel`). 0: it is the only one."""
    names_without_header: tuple[str, ...] = ()
    """The names of the columns of files that have rows only; empty if all have a first line with names."""
    row_without_header: re.Pattern[bytes] | None = None
    """What a row of such a file looks like."""
    refusal: str = ""
    """Why no book can be made of the table, if so: files of it are refused by its name."""

    def plan(self, names: Sequence[str]) -> npt.NDArray[np.int64] | None:
        """The meaning of each column as int64, SKIPPED for unused ones. None if these are not the columns of this table."""
        plan = np.full(len(names), SKIPPED, np.int64)
        for meaning, known in self.columns.items():
            places = [place for place, name in enumerate(names) if name in known]
            if len(places) > 1 or (not places and meaning not in self.optional):
                return None
            plan[places] = MEANINGS[meaning]
        return plan if self.levels is None or _plan_levels(plan, names, self.levels) else None

    def words(self) -> npt.NDArray[np.void]:
        """The texts of sides and snapshots as words that the kernels compare: WORDS of shape (1,)."""
        sides = (*self.sides, *(self.sides_too or self.sides), self.no_side or self.sides[0])
        texts = (*sides, *self.snapshot, *(self.snapshot_too or self.snapshot))
        assert all(len(text) < 8 for text in texts)
        return np.array([tuple(word(text.encode()) for text in texts)], WORDS)

    @property
    def message_flags(self) -> int:
        """Flags of the table's trades and snapshots (`MESSAGE.flags`)."""
        if self.trades:
            return IS_AGGREGATE if self.aggregates else 0
        if self.levels is not None:
            return IS_PICTURE
        return IS_RESET if self.resets else 0

    def described(self) -> str:
        """The required columns, for an error message."""
        names = [names[0] for meaning, names in self.columns.items() if meaning not in self.optional]
        return ",".join(names + [name.format(0) for name in self.levels or ()])


def _plan_levels(plan: npt.NDArray[np.int64], names: Sequence[str], columns: LevelColumns) -> bool:
    """Write into the plan which level each column belongs to (LEVELS). Returns whether the levels are whole, from 0 on."""
    places = {name: place for place, name in enumerate(names)}
    level = 0
    while level == 0 or not columns.count_is_fixed:
        of_level = [places.get(name.format(level)) for name in columns]
        if None in of_level:
            break
        for part, place in enumerate(of_level):
            plan[place] = LEVELS + 4 * level + part
        level += 1
    return level > 0


def level_count(plan: npt.NDArray[np.int64]) -> int:
    """Levels of each side in a plan of a table of pictures; 0 for others."""
    return max(0, int(plan.max(initial=0)) - LEVELS + 4) // 4


class FoundTable(NamedTuple):
    """Which table a file is."""

    table: Table
    header: Header
    plan: npt.NDArray[np.int64]


def find_table(tables: Sequence[Table], header: Header) -> FoundTable | None:
    """The table that a file is, by its first line; None if it is none of them.

    Of a file without names the first line is its first row, and the header that is returned is empty.
    """
    for table in tables:
        plan = table.plan(header.names)
        if plan is not None:
            return FoundTable(table, header, plan)
    row = header.line.rstrip(b"\r\n")
    for table in tables:
        if table.row_without_header is not None and table.row_without_header.fullmatch(row):
            plan = table.plan(table.names_without_header)
            assert plan is not None
            return FoundTable(table, Header(b"", table.names_without_header), plan)
    return None


def find_table_of(tables: Sequence[Table], head: bytes) -> FoundTable | None:
    """As `find_table`, of a file's first bytes or its first line."""
    header = read_header(head) or read_header(head + b"\n")
    return find_table(tables, header) if header is not None else None
