"""Numbers that decoders and the book share: what the ids of a diff say of the one before it, and how checksums are taken."""

from __future__ import annotations

# Schemes of continuity (`MESSAGE.rule`).
RANGE = 0
"""first_id..last_id are dense over messages. A counter is a range of one id."""

RANGE_WITH_PREVIOUS = 1
"""prev_id names the message before; ranges are not dense."""

CHAIN = 2
"""prev_id names the message before; ids may go anywhere from there, down, too."""

UNNUMBERED = 3
"""No ids: nothing but a checksum, if there is one, can show that a message is missing."""

COUNTER = 4
"""As RANGE with one id, of a venue that may count anew: a lower number with a later time is a gap, not an old message."""

# Styles of checksums (`SETTINGS.checksum`).
NO_CHECKSUM = 0

KRAKEN = 1
"""Ten asks from the lowest, ten bids from the highest; of each price and size the digits, without point and leading zeros."""

OKX = 2
"""25 bids and asks in turn, `price:size` with colons between; numerals in their shortest form."""

BITGET = 3
"""As OKX; numerals with as many decimals as the venue writes for the symbol."""

BITFINEX = 5
"""As OKX; the sizes of asks are negative, and numerals as JavaScript writes numbers."""

FTX = 4
"""As OKX, with 100 levels a side; numerals as Python's floats are written."""
