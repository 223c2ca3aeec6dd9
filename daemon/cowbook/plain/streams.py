"""The table of output streams: one entry each, from which everything else about a stream follows.

From `STREAMS` follow the fields of the open rows, the arrays that hold them and the room that a message needs there, the files of
a checkpoint, the columns and encodings of the Parquet files, and what `[output] streams` may name. A new stream is an entry
here, and a function in book/emit.py that writes its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from cowbook.plain.vocabulary import AUDIT_KINDS


class Kind(Enum):
    """What the values of a column are. In the open rows all of them are int64, and `messages.NONE` where there is none."""

    INTEGER = auto()
    TIME = auto()  # ns since 1970, UTC
    PRICE = auto()  # fixed-point with the symbol's price_decimals
    SIZE = auto()  # fixed-point with the symbol's size_decimals
    FLAG = auto()  # 0 or 1
    CHOICE = auto()  # a place in `Column.names`
    ID = auto()  # an integer; null only of venues whose messages have none
    SIZE_SUM = auto()  # two fields, high and low: high * 10**18 + low, fixed-point with size_decimals
    QUOTE = auto()  # four fields: price and size of the best bid and ask, or a checksum; written as text
    GRID = auto()  # price and size of the best bids and asks, to `book_levels`: four columns a level
    LEVELS = auto()  # the levels of a message: side, price and size, each in a row of its own
    RECORD = auto()  # where a dead letter stood, why it is one, and what it holds; Python keeps that


class Encoding(Enum):
    """How a column is written; by measurement (ADR 4)."""

    USUAL = auto()  # numbers as differences, everything else plain
    PLAIN = auto()
    DICTIONARY = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a stream's files."""

    name: str
    kind: Kind
    optional: bool = False  # may be null
    names: tuple[str, ...] = ()  # of a CHOICE
    field: str = ""  # of the open rows, where it is called otherwise
    encoding: Encoding = Encoding.USUAL
    statistics: bool = False  # lowest and highest value stand in the file

    @property
    def fields(self) -> tuple[str, ...]:
        """Its fields of an open row."""
        name = self.field or self.name
        match self.kind:
            case Kind.SIZE_SUM:
                return f"{name}_high", f"{name}_low"
            case Kind.QUOTE:
                return tuple(f"{name}_{side}_{what}" for side in ("bid", "ask") for what in ("price", "size"))
            case Kind.LEVELS:
                return "level_start", "bid_count", "ask_count"
            case Kind.GRID | Kind.RECORD:
                return ()
            case _:
                return (name,)


@dataclass(frozen=True, slots=True)
class Stream:
    """An output stream, and its rows since the last cut."""

    name: str  # of its directory
    columns: tuple[Column, ...]
    most_rows: int  # that one message, with a snapshot that waited for it, writes
    most_rows_per_level: int = 0  # more, for each level of the message
    chosen: bool = False  # written only where `[output] streams` names it

    @property
    def row(self) -> np.dtype[np.void]:
        """An open row: all fields int64."""
        return np.dtype([(field, np.int64) for column in self.columns for field in column.fields])

    def has(self, kind: Kind) -> bool:
        """Whether a column is of this kind."""
        return any(column.kind is kind for column in self.columns)


EVENT_INDEX = Column("event_index", Kind.INTEGER, statistics=True)
_TS_EVENT = Column("ts_event", Kind.TIME, statistics=True)
_TS_RECV = Column("ts_recv", Kind.TIME, optional=True)
_UPDATE_ID = Column("update_id", Kind.ID, statistics=True)
_SYNCED = Column("synced", Kind.FLAG)

STREAMS = (
    Stream(
        "depth",
        (
            EVENT_INDEX,
            Column("ts_event", Kind.TIME, encoding=Encoding.PLAIN, statistics=True),
            Column("ts_recv", Kind.TIME, optional=True, encoding=Encoding.PLAIN),
            Column("update_id", Kind.ID, encoding=Encoding.PLAIN, statistics=True),
            Column("levels", Kind.LEVELS),
            Column("is_snapshot", Kind.FLAG),
            _SYNCED,
        ),
        most_rows=2,
        chosen=True,
    ),
    Stream(
        "trades",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _TS_RECV,
            Column("trade_id", Kind.ID, statistics=True),
            Column("side", Kind.CHOICE, names=("buy", "sell"), field="is_sell", encoding=Encoding.DICTIONARY),
            Column("price", Kind.PRICE),
            Column("size", Kind.SIZE),
            Column("is_aggregate", Kind.FLAG),
        ),
        most_rows=1,
        most_rows_per_level=1,
        chosen=True,
    ),
    Stream(
        "bbo",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _TS_RECV,
            _UPDATE_ID,
            Column("bid_price", Kind.PRICE, optional=True),
            Column("bid_size", Kind.SIZE, optional=True),
            Column("ask_price", Kind.PRICE, optional=True),
            Column("ask_size", Kind.SIZE, optional=True),
            _SYNCED,
        ),
        most_rows=2,
        chosen=True,
    ),
    Stream(
        "book",
        (EVENT_INDEX, Column("ts", Kind.TIME, statistics=True), _UPDATE_ID, _SYNCED, Column("levels", Kind.GRID)),
        most_rows=2,
        chosen=True,
    ),
    Stream(
        "gaps",
        (
            EVENT_INDEX,
            _TS_EVENT,
            Column("expected_id", Kind.INTEGER),
            Column("received_id", Kind.INTEGER),
            Column("missing", Kind.INTEGER, optional=True),
        ),
        most_rows=2,
    ),
    Stream(
        "drift",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _UPDATE_ID,
            Column("was_synced", Kind.FLAG),
            Column("levels_compared", Kind.INTEGER),
            Column("levels_missing", Kind.INTEGER),
            Column("levels_extra", Kind.INTEGER),
            Column("levels_differing", Kind.INTEGER),
            Column("size_error", Kind.SIZE_SUM),
        ),
        most_rows=2,
    ),
    Stream(
        "audits",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _UPDATE_ID,
            Column("kind", Kind.CHOICE, names=AUDIT_KINDS, encoding=Encoding.DICTIONARY),
            Column("expected", Kind.QUOTE),
            Column("found", Kind.QUOTE),
        ),
        most_rows=4,
    ),
    Stream("dead_letter", (EVENT_INDEX, Column("record", Kind.RECORD)), most_rows=1),
)
"""All streams, in the order in which their parts are written."""

BY_NAME = {stream.name: stream for stream in STREAMS}
STREAM_NAMES = tuple(BY_NAME)
CHOSEN_STREAMS = tuple(stream.name for stream in STREAMS if stream.chosen)
"""Those that `[output] streams` chooses from; the others are always written."""


@dataclass(frozen=True, slots=True)
class RowArray:
    """One of the append-only arrays that hold the open rows."""

    name: str
    dtype: np.dtype[np.void] | np.dtype[np.int64]
    count: str
    """How many of its entries are valid: the array that its field of the state, `open_<count>`, is named after."""
    most: int  # entries that one message appends at most
    most_per_level: int = 0  # more, for each of its levels
    is_grid: bool = False  # shape (rows, 4 * book_levels)


def _row_arrays(stream: Stream) -> tuple[RowArray, ...]:
    rows = RowArray(stream.name, stream.row, stream.name, stream.most_rows, stream.most_rows_per_level)
    integers = np.dtype(np.int64)
    if stream.has(Kind.LEVELS):
        count = f"{stream.name}_levels"
        return rows, *(RowArray(f"{stream.name}_{what}", integers, count, 0, 1) for what in ("prices", "sizes"))
    if stream.has(Kind.GRID):
        return rows, RowArray(f"{stream.name}_levels", integers, stream.name, stream.most_rows, is_grid=True)
    return (rows,)


ROW_ARRAYS = tuple(array for stream in STREAMS for array in _row_arrays(stream))
"""A stream's rows have its name; beside them stand `<name>_prices` and `<name>_sizes`, or `<name>_levels`."""

OPEN_COUNTS = tuple(dict.fromkeys(f"open_{array.count}" for array in ROW_ARRAYS))
"""Fields of the state that say how many entries of the arrays are valid."""
