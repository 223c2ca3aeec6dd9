"""Plain data between decoders and the book: messages and their levels, columnar.

A decoder appends messages to an `EventBatch`, the engine consumes them. Nothing here knows of bytes, files or books.
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
SUBSCRIPTION = 7  # nothing about the book, but how deep it is kept: `depth`
TRADES = 8  # several trades of one record

# An absent id or time. No venue uses it, and it sorts before every real one.
NONE = np.iinfo(np.int64).min

# Bits of `MESSAGE.flags`.
SELL_AGGRESSOR = 1  # trade: the aggressor sold
IS_AGGREGATE = 2  # trade: several fills in one record
IS_RESET = 4  # snapshot: in the stream itself, thus newer than whatever came before it
IS_NO_DEPTH = 64  # dead letter, whose reason is in the bits below: it was no depth message, whatever it was
HAS_CHECKSUM = 8  # depth message: `checksum` is that of the book after it

MESSAGE = np.dtype(
    [
        ("kind", np.int64),
        ("rule", np.int64),  # diff: index into continuity.RULES
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
        ("checksum", np.int64),  # depth message with HAS_CHECKSUM, of its low 32 bits
        ("price_decimals", np.int64),  # the same, and snapshot: most decimals that its prices are written with
        ("size_decimals", np.int64),
        ("depth", np.int64),  # subscription, and depth message of a venue that needs it: levels a side, 0 = not said
        ("channel", np.int64),  # depth message of a venue that has several of one symbol: a number of it; 0 = there is only one
        ("sequence", np.int64),  # of its connection, from 1 on, of whatever kind it is; 0 = it has none
        ("end_offset", np.int64),  # decoded offset in its file just after the record and its terminator
    ]
)
"""One record. A trade has its price and size as its only bid level; a ticker has one bid and one ask level.

Of several trades the bid levels have prices and sizes; the ask levels first the times and flags (SELL_AGGRESSOR), then the ids.
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was rejected: where it stands, why, and its first 4,096 bytes."""

    file: str
    offset: int
    length: int
    reason: str  # overlong, not_utf8, malformed, unknown, out_of_range
    content: bytes
    detail: str  # one line for a person: what is wrong and, where a setting would help, which


@dataclass(slots=True)
class EventBatch:
    """Messages in input order, with their levels, in preallocated arrays that are reused.

    `messages` has dtype `MESSAGE`; the first `message_count` are valid. `prices` and `sizes` are int64 fixed-point;
    the first `level_count` are valid. `dead_letters` has one entry for each message of kind `DEAD_LETTER`, in order.
    """

    messages: npt.NDArray[np.void]
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    message_count: int = 0
    level_count: int = 0
    dead_letters: list[DeadLetter] = field(default_factory=list)

    @classmethod
    def allocate(cls, message_capacity: int = 1 << 14, level_capacity: int = 1 << 17) -> EventBatch:
        """An empty batch with room for the given numbers of messages and levels."""
        return cls(
            np.zeros(message_capacity, MESSAGE),
            np.zeros(level_capacity, np.int64),
            np.zeros(level_capacity, np.int64),
        )

    def clear(self) -> None:
        """Forget all messages; the arrays stay."""
        self.message_count = 0
        self.level_count = 0
        self.dead_letters.clear()

    def grow_levels(self, level_capacity: int) -> None:
        """Make room for at least `level_capacity` levels, keeping those that are there."""
        for name in ("prices", "sizes"):
            old = getattr(self, name)
            new = np.zeros(level_capacity, np.int64)
            new[: self.level_count] = old[: self.level_count]
            setattr(self, name, new)
