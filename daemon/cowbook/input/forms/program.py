"""What a form is to the scanner: a program of pieces, and a head. Declared here, made by shapes.py, read by the scanners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.text.scanner import Scan

# Operations: the kind of each piece of a record, and the fields of its row that are used.
DONE = 0
LITERAL = 1  # word, length, mask: up to eight bytes that must be equal
ANY = 2  # a string, a number, true, false or null that is ignored
TEXT = 3  # the part of a string before its next point, which is ignored
SYMBOL = 4  # the rest of a string behind a separator, or what stands before one; argument: which, 0 for none
LAST_ID = 5
PREV_ID = 6  # argument: 1 if -1 is allowed, for none
ONLY_ID = 7  # both first and last id
SEQUENCE = 8  # argument: a number to add
TIME = 9  # an integer of s, ms, µs or ns
ISO_TIME = 10
SECONDS_TIME = 11  # seconds with or without a fraction
CHECKSUM = 12  # argument: 1 if 0 means none
PRICE = 13  # argument, outside of rows: 1 if it is the bid's and 2 if it is the ask's of a ticker; in rows: see SCALE
SIZE = 14  # the same
LEVELS = 15  # argument: BIDS, ASKS or MIXED, and NAMED and MORE; program
SIDE = 16  # of a level or trade: word and length of bids or buying, other_word and other_length of asks or selling
TRADES_ROWS = 17  # argument: 1 if each trade names its symbol; program
TEXT_ID = 18  # of a trade: the rest of a string; NONE if it is not a number
ACTION = 19  # of a level
FIRST_ID = 20
RISING = 21  # of a level: an integer above that of the level before
MILLISECONDS_TIME = 22  # milliseconds with or without a fraction
TIME_ID = 23  # an integer of s, ms, µs or ns that is both the time and the first and last id

BEHIND_DOT, BEHIND_COLON, BEHIND_UNDERSCORE, BEFORE_DOT = 1, 2, 3, 4

BIDS, ASKS, MIXED = 0, 1, 2
NAMED = 4
"""Added to these: each level names its symbol."""
MORE = 8
"""Added to MIXED: another array of mixed levels follows. The levels of all of them are one after the other."""

SCALE = 31
"""The bits of a price's or size's argument, in rows, that say how many decimals an integer has. 0: it is a numeral."""
UNLESS_0 = 32
"""The bit of a price's argument that says that a level with the price 0 is none."""
SIGNED = 64
"""The bit of a size's argument, in rows, that says that a minus before it means selling."""


class Row(NamedTuple):
    """One piece of a form, with the fields of ROW. Fields that an operation does not use are 0."""

    operation: int
    argument: int = 0
    program: int = 0
    """First row of a level's or trade's own program; FAILED if only an empty array is known."""
    word: int = 0
    length: int = 0
    mask: int = 0
    other_word: int = 0
    other_length: int = 0


ROW = np.dtype([(name, np.int64) for name in Row._fields])


class Head(NamedTuple):
    """The properties that all records of a form share, with the fields of HEAD."""

    kind: int = 0
    rule: int = 0
    flags: int = 0
    depth: int = 0
    channel: int = 0
    market: int = 0
    single_side: int = BIDS
    """BIDS or ASKS: the side of a PRICE and SIZE outside of rows."""
    is_other: int = 0
    """1 if the form was learned from another symbol's record. It does not apply to records of this symbol."""
    measures: int = 0
    """1 if written decimals are counted, as in snapshots and in records with checksums."""
    first_row: int = 0


HEAD = np.dtype([(name, np.int64) for name in Head._fields])

FOUND = np.dtype(
    [
        (name, np.int64)
        for name in (
            "price_decimals",  # most decimals written in a price, if they are counted
            "size_decimals",
            "measures",  # as in HEAD
            "misfit",  # 1 if a numeral did not fit
            "latest",  # the latest time in the record
            "own_rows",  # number of trades that name this symbol
            # Of the last level or trade.
            "row_side",
            "row_time",
            "row_id",
            "row_deletes",
            "row_number",
            "row_is_void",
        )
    ]
)


class Forms(NamedTuple):
    """The arrays that the form scanner's kernels work on."""

    scan: Scan
    rows: npt.NDArray[np.void]  # ROW
    heads: npt.NDArray[np.void]  # HEAD
    found: npt.NDArray[np.void]  # FOUND, (1,): values found so far in the current record
