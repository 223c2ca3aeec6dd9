"""What the stream `features` measures, and where its raw numbers stand in a row and in the state of a book."""

from __future__ import annotations

from collections.abc import Sequence

FEATURE_LEVELS = 5
"""How many of the best levels of each side are looked at."""

FEATURE_BPS = (1, 5, 10)
"""Distances from the mid, in hundredths of a percent, for the sizes within them."""

_SIDES = ("bid", "ask")

BEST_NAMES = tuple(f"{side}_{what}_{level}" for side in _SIDES for what in ("price", "size") for level in range(FEATURE_LEVELS))
"""Best levels: all bid prices, bid sizes, ask prices, ask sizes. A level that there is not has the price NO_BID or NO_ASK."""

_WIDE_FLOWS = tuple(f"order_flow_{level}" for level in range(FEATURE_LEVELS)), ("bought", "sold")
_WITHIN = tuple(f"{side}_within_{distance}" for side in _SIDES for distance in FEATURE_BPS)


def _words(names: tuple[str, ...]) -> tuple[str, ...]:
    """Two words of each number, which may exceed 64 bits: it is high * 10**18 + low."""
    return tuple(f"{name}_{word}" for name in names for word in ("high", "low"))


FLOW_NAMES = (*_words(_WIDE_FLOWS[0]), *_words(_WIDE_FLOWS[1]), "buys", "sells")
"""What is summed up between two rows: the order flow of each level, and sizes and numbers of trades."""

NUMBER_NAMES = (*BEST_NAMES, "bids_known", "asks_known", *FLOW_NAMES, *_words(_WITHIN))
"""Raw numbers of a row, int64. The first word of a wide one is NONE for null."""

PLACES = {name: place for place, name in enumerate(NUMBER_NAMES)}

FEATURE_STATE = (
    "feature_known",  # the fewest best levels that were known on both sides at any moment since the last row
    *(f"feature_{name}" for name in BEST_NAMES),  # behind the last depth message
    *(f"feature_{name}" for name in FLOW_NAMES),
)
"""Fields of the state of a book."""

NO_BID = -(2**62)
NO_ASK = 2**62
"""Prices of levels that there are not. With a size of 0 they make the order flow of a level that comes or goes."""

UNIT = 10**18


def flow_names(depth: int) -> list[str]:
    """The names of the columns of order flow."""
    return [f"ofi_{level + 1}" for level in range(depth)]


def within_names(distances: Sequence[float]) -> list[str]:
    """The names of the columns of sizes within distances from the mid."""
    return [f"{side}_size_{distance:g}bps" for side in _SIDES for distance in distances]


VOLUME_NAMES = ("buy_volume", "sell_volume")
COUNT_NAMES = ("buy_count", "sell_count")
QUOTE_NAMES = ("bid_price", "bid_size", "ask_price", "ask_size")
RATIO_NAMES = ("mid", "spread", "microprice", *(f"imbalance_{level + 1}" for level in range(FEATURE_LEVELS)))
"""Names of the stream's columns, in their order: these, flows, sizes within distances, and trades."""
