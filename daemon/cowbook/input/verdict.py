"""What a record may decode to: a message, nothing, another symbol's record, or a rejection."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Final, Literal

from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import Reason

MAX_OTHER_SYMBOLS = 16
"""How many names of other symbols are kept to be shown to the user."""

SHOWN = 60  # characters of a bad value that a detail quotes


@dataclass(slots=True)
class DecodedMessage:
    """One message with its levels; the fields are those of `plain.messages.MESSAGE`.

    Times are ns since 1970, prices and sizes fixed-point. An absent value is NONE.
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
    market: int = 0
    speed: int = 0
    level_ids: list[int] = field(default_factory=list)
    """Ids of a snapshot's levels, bids first, with HAS_LEVEL_IDS."""


PLAIN_FIELDS = tuple(each.name for each in fields(DecodedMessage) if not each.name.startswith(("bid_", "ask_", "level_")))
"""The fields that `plain.messages.MESSAGE` has by the same names: all but the levels."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that becomes a dead letter. `detail` is one line for the user."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class OtherSymbol:
    """A record of a symbol other than the configured one."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A record that says how many levels per side the venue keeps from here on."""

    depth: int


class Nothing(Enum):
    """A record that says nothing about the book."""

    UNUSED = "unused"  # of a known kind that is not used
    BLANK = "blank"


Content = DecodedMessage | OtherSymbol | Subscription | Literal[Nothing.UNUSED]


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A record with its number on the connection, which numbers all its records from 1."""

    decoded: Content
    sequence: int


UNUSED: Final = Nothing.UNUSED
BLANK: Final = Nothing.BLANK

Decoded = Content | Rejected | Sequenced | Literal[Nothing.BLANK]


def shown(value: object) -> str:
    """A value as a detail quotes it: on one line, cut to SHOWN characters."""
    text = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
