"""The table of output streams. One entry defines everything about a stream.

`STREAMS` determines the fields of the open rows, the arrays that hold them, the room that a message needs in these, the files of
a checkpoint, the columns of the Parquet files, and the names that `[output] streams` accepts. To add a stream,
add an entry here, and a function in book/emit.py that writes its rows.

`frame` alone has no open rows: no message writes it. Its rows are the book at the moment of the cut before (plain/frame.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from cowbook.plain.features import NUMBER_NAMES
from cowbook.plain.vocabulary import AUDIT_KINDS, DEPTH_KINDS, TRADE_SIDES


class Kind(Enum):
    """The kind of a column's values. In the open rows they are all int64, with `messages.NONE` for null."""

    INTEGER = auto()
    SMALL = auto()  # an integer below 2^15
    TIME = auto()  # ns since 1970, UTC
    PRICE = auto()  # fixed-point with the symbol's price_decimals
    SIZE = auto()  # fixed-point with the symbol's size_decimals
    FLAG = auto()  # 0 or 1
    CHOICE = auto()  # an index into `Column.names`
    ID = auto()  # an integer; null only for venues whose messages have no ids
    SIZE_SUM = auto()  # two fields, high and low, of high * 10**18 + low; fixed-point with size_decimals
    QUOTE = auto()  # four fields: price and size of the best bid and ask, or a checksum; written as text
    GRID = auto()  # price and size of the best `book_levels` bids and asks: four columns for each level
    LEVELS = auto()  # a run of levels of a message, or of a book: each is a row with side, price and size
    LAST = auto()  # whether the run is the message's last; its last level alone has it
    FEATURES = auto()  # raw numbers, of which the sink makes a column for each feature
    RECORD = auto()  # a dead letter's position, reason and content, which are kept in Python


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a stream's files."""

    name: str
    kind: Kind
    optional: bool = False  # may be null
    names: tuple[str, ...] = ()  # the texts of a CHOICE
    field: str = ""  # name of its field of the open rows, if it differs from `name`
    statistics: bool = False  # the file has the lowest and highest value

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the column's fields in an open row."""
        name = self.field or self.name
        match self.kind:
            case Kind.SIZE_SUM:
                return f"{name}_high", f"{name}_low"
            case Kind.QUOTE:
                return tuple(f"{name}_{side}_{what}" for side in ("bid", "ask") for what in ("price", "size"))
            case Kind.LEVELS:
                return "level_start", "bid_count", "ask_count"
            case Kind.GRID | Kind.FEATURES | Kind.RECORD:
                return ()
            case _:
                return (name,)


@dataclass(frozen=True, slots=True)
class Stream:
    """An output stream: its columns, and how many rows a message may add."""

    name: str  # also of its directory
    columns: tuple[Column, ...]
    most_rows: int  # upper bound for one message
    most_rows_per_level: int = 0  # upper bound of further rows for each level of the message
    chosen: bool = False  # True if it is written only when `[output] streams` names it
    is_usual: bool = True  # False if it is not among the streams that are chosen by default
    is_frame: bool = False  # True if its rows are the book's levels at the cut before, and never open
    are_events: bool = False  # True if each row is an event, so that `part_events` bounds the open ones

    @property
    def row(self) -> np.dtype[np.void]:
        """The dtype of an open row; all fields are int64."""
        return np.dtype([(field, np.int64) for column in self.columns for field in column.fields])

    def has(self, kind: Kind) -> bool:
        """Returns whether one of the columns is of this kind."""
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
            _TS_EVENT,
            _TS_RECV,
            _UPDATE_ID,
            Column("levels", Kind.LEVELS),
            Column("kind", Kind.CHOICE, names=DEPTH_KINDS),
            Column("is_last", Kind.LAST),
            _SYNCED,
        ),
        most_rows=2,
        chosen=True,
        are_events=True,
    ),
    Stream(
        "trades",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _TS_RECV,
            Column("trade_id", Kind.ID, statistics=True),
            Column("side", Kind.CHOICE, names=TRADE_SIDES, field="is_sell"),
            Column("price", Kind.PRICE),
            Column("size", Kind.SIZE),
            Column("is_aggregate", Kind.FLAG),
        ),
        most_rows=1,
        most_rows_per_level=1,
        chosen=True,
        are_events=True,
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
            Column("bid_known", Kind.FLAG),
            Column("ask_known", Kind.FLAG),
        ),
        most_rows=1,
        chosen=True,
    ),
    Stream(
        "book",
        (
            EVENT_INDEX,
            Column("ts", Kind.TIME, statistics=True),
            _UPDATE_ID,
            _SYNCED,
            Column("bids_known", Kind.SMALL),
            Column("asks_known", Kind.SMALL),
            Column("levels", Kind.GRID),
        ),
        most_rows=1,
        chosen=True,
    ),
    Stream(
        "features",
        (
            EVENT_INDEX,
            Column("ts", Kind.TIME, statistics=True),
            _UPDATE_ID,
            _SYNCED,
            Column("numbers", Kind.FEATURES),
        ),
        most_rows=1,
        chosen=True,
        is_usual=False,
    ),
    Stream(
        "frame",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _UPDATE_ID,
            Column("levels", Kind.LEVELS),
            Column("known", Kind.FLAG),
            _SYNCED,
        ),
        most_rows=0,
        chosen=True,
        is_frame=True,
    ),
    Stream(
        "gaps",
        (
            EVENT_INDEX,
            _TS_EVENT,
            Column("expected_id", Kind.INTEGER, optional=True),
            Column("received_id", Kind.INTEGER, optional=True),
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
            Column("levels_learned", Kind.INTEGER),
        ),
        most_rows=1,
    ),
    Stream(
        "audits",
        (
            EVENT_INDEX,
            _TS_EVENT,
            _UPDATE_ID,
            Column("kind", Kind.CHOICE, names=AUDIT_KINDS),
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
"""The streams that `[output] streams` may name. The others are always written."""

USUAL_STREAMS = tuple(stream.name for stream in STREAMS if stream.chosen and stream.is_usual)
"""Those of them that are written unless it is set otherwise."""

ROW_STREAMS = tuple(stream for stream in STREAMS if not stream.is_frame)
"""The streams that have open rows."""

MOST_OPEN_ROWS = 100_000
"""So many open rows of a stream whose rows are no events make a cut."""

BOUNDED_STREAMS = tuple(stream for stream in ROW_STREAMS if not stream.are_events)
"""The streams for which that holds."""


@dataclass(frozen=True, slots=True)
class RowArray:
    """One of the append-only arrays that hold the open rows."""

    name: str
    dtype: np.dtype[np.void] | np.dtype[np.int64]
    count: str
    """Names the field of the state that has the number of valid entries, `open_<count>`."""
    most: int  # upper bound of the entries that one message appends
    most_per_level: int = 0  # upper bound of further entries for each of its levels
    is_grid: bool = False  # shape (rows, 4 * book_levels)
    width: int = 0  # shape (rows, width), unless it is 0


def _row_arrays(stream: Stream) -> tuple[RowArray, ...]:
    rows = RowArray(stream.name, stream.row, stream.name, stream.most_rows, stream.most_rows_per_level)
    integers = np.dtype(np.int64)
    if stream.has(Kind.LEVELS):
        count = f"{stream.name}_levels"
        return rows, *(RowArray(f"{stream.name}_{what}", integers, count, 0, 1) for what in ("prices", "sizes"))
    if stream.has(Kind.GRID):
        return rows, RowArray(f"{stream.name}_levels", integers, stream.name, stream.most_rows, is_grid=True)
    if stream.has(Kind.FEATURES):
        return rows, RowArray(f"{stream.name}_numbers", integers, stream.name, stream.most_rows, width=len(NUMBER_NAMES))
    return (rows,)


ROW_ARRAYS = tuple(array for stream in ROW_STREAMS for array in _row_arrays(stream))
"""A stream's rows are in the array of its name. Its levels are in `<name>_prices` and `<name>_sizes`, or in `<name>_levels`; its
raw numbers in `<name>_numbers`."""

OPEN_COUNTS = tuple(dict.fromkeys(f"open_{array.count}" for array in ROW_ARRAYS))
"""Fields of the state with the numbers of valid entries of the arrays."""
