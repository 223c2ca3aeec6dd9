"""Numbers that decoders and the book share: the schemes of continuity, and the styles of checksums."""

from __future__ import annotations

# Schemes of continuity (`MESSAGE.rule`).
RANGE = 0
"""Each message covers first_id..last_id, without holes between messages."""

RANGE_WITH_PREVIOUS = 1
"""prev_id is the last_id of the message before. Ids between ranges may be missing."""

CHAIN = 2
"""prev_id is the last_id of the message before. The next id may be anything, even lower."""

UNNUMBERED = 3
"""No ids. Only a checksum, if there is one, can show that a message is missing."""

COUNTER = 4
"""As RANGE with one id per message, of a venue that may count anew: a lower id with a later time is a gap, not stale."""

RISING = 5
"""Ids that only rise. One that is not above the last is stale; that one is missing does not show."""

NEWEST_PER_LEVEL = 6
"""Each level keeps the newest id that has changed it. A message with an older id changes only levels that nothing newer has."""

# Styles of checksums (`SETTINGS.checksum`).
NO_CHECKSUM = 0

KRAKEN = 1
"""Ten asks from the lowest, then ten bids from the highest. Each price and size as digits, without point and leading zeros."""

OKX = 2
"""25 bids and asks in turn, each as `price:size`, joined by colons. Numerals in their shortest form."""

BITGET = 3
"""As OKX, but numerals have as many decimals as the venue writes for the symbol."""

BITFINEX = 5
"""As OKX, but sizes of asks are negative, and numerals are as JavaScript writes numbers."""

FTX = 4
"""As OKX, but 100 levels per side, and numerals are as Python writes floats."""
