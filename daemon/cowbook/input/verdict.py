"""What may come out of a record: a message, nothing, another symbol's record, or a rejection."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Final, Literal

from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import Reason

MAX_OTHER_SYMBOLS = 16
"""Names of other symbols that are kept for a person."""

SHOWN = 60  # characters of an odd value that a detail quotes


@dataclass(slots=True)
class DecodedMessage:
    """One message with its levels; the fields are those of `event_batch.MESSAGE`.

    Times are ns since 1970, prices and sizes fixed-point. What is absent is NONE.
    """

    kind: int
    last_id: int
    rule: int = 0
    ts_event: int = NONE
    ts_recv: int = NONE
    first_id: int = NONE
    prev_id: int = NONE
    flags: int = 0
    bid_prices: list[int] = field(default_factory=list)
    bid_sizes: list[int] = field(default_factory=list)
    ask_prices: list[int] = field(default_factory=list)
    ask_sizes: list[int] = field(default_factory=list)
    checksum: int = 0
    price_decimals: int = 0
    size_decimals: int = 0
    depth: int = 0
    channel: int = 0


PLAIN_FIELDS = tuple(each.name for each in fields(DecodedMessage) if not each.name.startswith(("bid_", "ask_")))
"""Those that `event_batch.MESSAGE` has by the same names; levels stand elsewhere."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that becomes a dead letter; `detail` is one line for a person."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class OtherSymbol:
    """A record of another symbol than the file's."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A record that says to how many levels a side the venue keeps the book from here on."""

    depth: int


class Nothing(Enum):
    """Records without content for the book."""

    UNUSED = "unused"  # of a known kind that says nothing about the book
    BLANK = "blank"


Content = DecodedMessage | OtherSymbol | Subscription | Literal[Nothing.UNUSED]


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A record that a connection numbers: every one of the connection has the next number, the first has 1."""

    decoded: Content
    sequence: int


UNUSED: Final = Nothing.UNUSED
BLANK: Final = Nothing.BLANK

Decoded = Content | Rejected | Sequenced | Literal[Nothing.BLANK]


def shown(value: object) -> str:
    """A value as a detail quotes it: on one line, and not too long."""
    text = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
