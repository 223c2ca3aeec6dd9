"""The data that decoders hand to the book: messages and their levels, columnar.

A decoder appends messages to an `EventBatch`, and the engine consumes them. Nothing here knows of bytes, files or books.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# Message kinds (`MESSAGE.kind`).
DIFF = 0
SNAPSHOT = 1
TRADE = 2
TICKER = 3
DEAD_LETTER = 4  # a rejected record; its content is in EventBatch.dead_letters, in order
OTHER_SYMBOL = 5  # a record of another symbol
UNUSED = 6  # a record of a known kind that says nothing about the book
SUBSCRIPTION = 7  # says how many levels the venue keeps: `depth`
TRADES = 8  # several trades of one record
BREAK = 9  # what comes next may not follow what came before: sync ends

# An absent id or time. No venue uses this value, and it sorts before every real one.
NONE = np.iinfo(np.int64).min

# Markets of a symbol that share its name (`MESSAGE.market`). 0: the message does not say.
SPOT = 1
FUTURES = 2
RPI = 3  # Binance's `rpiDepth`: a book with the retail price improvement orders, beside the usual one

# Bits of `MESSAGE.flags`.
SELL_AGGRESSOR = 1  # trade: the aggressor sold
IS_AGGREGATE = 2  # trade: several fills in one record
IS_RESET = 4  # snapshot: part of the stream, and so newer than all that came before it
IS_UNLABELLED = 16  # snapshot: nothing in the record says whose it is
IS_LOOSE = 32  # ticker: no id ties it to a depth message
IS_NO_DEPTH = 64  # dead letter, whose reason is in the lower bits: it was not a depth message
IS_PICTURE = 128  # snapshot: one of many that each show the best levels and nothing else, of a channel without changes
LEVELS_ARE_NEW = 256  # diff: the venue says that the book has none of its levels
LEVELS_ARE_KNOWN = 512  # diff: the venue says that the book has all of its levels
HAS_LEVEL_IDS = 1024  # snapshot: behind the asks stand, as prices, the ids of the bids, then those of the asks
IS_COVERED = 2048  # dead letter: another source of the symbol has the place, so nothing is missing there
HAS_NO_SIDE = 4096  # trade: the venue does not say which side the aggressor was on
HAS_CHECKSUM = 8  # depth message: `checksum` is that of the book after it

MESSAGE = np.dtype(
    [
        ("kind", np.int64),
        ("rule", np.int64),  # diff: its scheme (plain/schemes.py)
        ("ts_event", np.int64),  # ns since 1970, or NONE
        ("ts_recv", np.int64),  # ns since 1970, or NONE
        ("first_id", np.int64),  # diff: U
        ("last_id", np.int64),  # diff and ticker: u; snapshot: lastUpdateId; trade: trade id
        ("prev_id", np.int64),  # diff: pu, or NONE
        ("bid_start", np.int64),  # index of the first bid in EventBatch.prices and .sizes
        ("bid_count", np.int64),
        ("ask_start", np.int64),
        ("ask_count", np.int64),
        ("flags", np.int64),
        ("checksum", np.int64),  # depth message with HAS_CHECKSUM: the checksum as an unsigned 32-bit number
        ("price_decimals", np.int64),  # snapshot, and depth message with HAS_CHECKSUM: most decimals of its written prices
        ("size_decimals", np.int64),  # the same of its sizes
        ("depth", np.int64),  # subscription, and depth message of some venues: levels per side; 0 = not said
        ("channel", np.int64),  # depth message of a venue with several books of one symbol: the book's number; 0 = only one
        ("market", np.int64),  # SPOT, FUTURES or RPI; 0 = not said
        ("speed", np.int64),  # depth message: number of the stream's update speed, from 1 on; 0 = not said
        ("sequence", np.int64),  # number of the record on its connection, from 1 on; 0 = none
        ("end_offset", np.int64),  # decoded offset in its file just after the record and its terminator
    ]
)
"""One record. A trade has its price and size as its only bid level. A ticker has one bid and one ask level. Of a loose ticker a
side may be missing, and a size of -1 is not given.

Of several trades (TRADES) the bid levels hold the prices and sizes. The ask levels hold the times (as prices) and flags
(SELL_AGGRESSOR, HAS_NO_SIDE, as sizes), and after these the ids (as prices).
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record: where it is, why it was rejected, and its first 4,096 bytes."""

    file: str
    offset: int
    length: int
    reason: str  # one of vocabulary.REASONS
    content: bytes
    detail: str  # one line for the user: what is wrong and, if a setting would help, which


@dataclass(slots=True)
class EventBatch:
    """Messages in input order, with their levels, in preallocated arrays that are reused.

    `messages` has dtype `MESSAGE`; the first `message_count` are valid. `prices` and `sizes` are int64 fixed-point; the first
    `level_count` are valid. `dead_letters` has one entry per message of kind `DEAD_LETTER`, in order.
    """

    messages: npt.NDArray[np.void]
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    message_count: int = 0
    level_count: int = 0
    dead_letters: list[DeadLetter] = field(default_factory=list)

    @classmethod
    def allocate(cls, message_capacity: int = 1 << 14, level_capacity: int = 1 << 17) -> EventBatch:
        """Make an empty batch with room for this many messages and levels."""
        return cls(
            np.zeros(message_capacity, MESSAGE),
            np.zeros(level_capacity, np.int64),
            np.zeros(level_capacity, np.int64),
        )

    def clear(self) -> None:
        """Drop all messages. The arrays are kept."""
        self.message_count = 0
        self.level_count = 0
        self.dead_letters.clear()

    def grow_levels(self, level_capacity: int) -> None:
        """Make room for `level_capacity` levels, keeping the valid ones."""
        for name in ("prices", "sizes"):
            old = getattr(self, name)
            new = np.zeros(level_capacity, np.int64)
            new[: self.level_count] = old[: self.level_count]
            setattr(self, name, new)
