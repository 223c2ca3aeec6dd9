"""Computes features from raw numbers: of the rows of the stream `features`, and of those that `cowbook.features` measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cowbook.plain.features import (
    COUNT_NAMES,
    FEATURE_BPS,
    FEATURE_LEVELS,
    FLOW_NAMES,
    NO_ASK,
    NO_BID,
    PLACES,
    UNIT,
    VOLUME_NAMES,
    flow_names,
    within_names,
)
from cowbook.plain.messages import NONE

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class BestLevels:
    """The best levels at each row: arrays of shape (rows, depth), and how many of them are known."""

    def __init__(self, numbers: Integers, depth: int, bids_known: Integers, asks_known: Integers) -> None:
        """`numbers`, of shape (rows, 4 * depth), has all bid prices, bid sizes, ask prices and ask sizes."""
        self.bid_prices, self.bid_sizes, self.ask_prices, self.ask_sizes = (
            numbers[:, which * depth : (which + 1) * depth] for which in range(4)
        )
        self.has_bid = (bids_known > 0) & (self.bid_prices[:, 0] != NO_BID)
        self.has_ask = (asks_known > 0) & (self.ask_prices[:, 0] != NO_ASK)
        self.known = np.minimum(bids_known, asks_known)

    def quotes(self) -> Iterator[tuple[str, Integers, Booleans]]:
        """Yields the best prices and sizes by name, in fixed-point, and where they are valid."""
        yield "bid_price", self.bid_prices[:, 0], self.has_bid
        yield "bid_size", self.bid_sizes[:, 0], self.has_bid
        yield "ask_price", self.ask_prices[:, 0], self.has_ask
        yield "ask_size", self.ask_sizes[:, 0], self.has_ask

    def prices(self, price_decimals: int, size_decimals: int) -> Iterator[tuple[str, Floats, Booleans]]:
        """Yields mid, spread, micro-price and imbalances by name, and where they are valid."""
        unit, both = 10**price_decimals, self.has_bid & self.has_ask
        bids, asks = self.bid_prices[:, 0], self.ask_prices[:, 0]
        yield "mid", (bids + asks) / (2 * unit), both
        yield "spread", (asks - bids) / unit, both
        bid_sizes, ask_sizes = self.bid_sizes / 10**size_decimals, self.ask_sizes / 10**size_decimals
        with np.errstate(invalid="ignore", divide="ignore"):
            weighted = bids / unit * ask_sizes[:, 0] + asks / unit * bid_sizes[:, 0]
            yield "microprice", weighted / (bid_sizes[:, 0] + ask_sizes[:, 0]), both
            below, above = np.cumsum(bid_sizes, axis=1), np.cumsum(ask_sizes, axis=1)
            imbalance = (below - above) / (below + above)
        for level in range(imbalance.shape[1]):
            yield f"imbalance_{level + 1}", imbalance[:, level], (self.known > level) & np.isfinite(imbalance[:, level])


def masked(values: npt.NDArray[Any], valid: Booleans) -> pa.Array:
    """An Arrow array that is null where a value is not valid."""
    return pa.array(values, mask=~valid)


def stream_columns(numbers: Integers, price_decimals: int, size_decimals: int) -> Iterator[tuple[str, pa.Array]]:
    """Yields the columns of the stream `features` behind its best prices and sizes, from `NUMBER_NAMES` of each row."""
    best = best_of(numbers)
    for name, values, valid in best.prices(price_decimals, size_decimals):
        yield name, masked(values, valid)
    flows = wide(numbers, FLOW_NAMES[0], FEATURE_LEVELS, size_decimals)
    within = wide(numbers, f"bid_within_{FEATURE_BPS[0]}_high", 2 * len(FEATURE_BPS), size_decimals)
    for names, columns in ((flow_names(FEATURE_LEVELS), flows), (within_names(FEATURE_BPS), within)):
        for name, column in zip(names, columns, strict=True):
            yield name, column
    for name, column in zip(VOLUME_NAMES, wide(numbers, "bought_high", 2, size_decimals), strict=True):
        yield name, column
    for name, count in zip(COUNT_NAMES, ("buys", "sells"), strict=True):
        yield name, pa.array(numbers[:, PLACES[count]])


def best_of(numbers: Integers) -> BestLevels:
    """The best levels in `NUMBER_NAMES` of each row."""
    known = (numbers[:, PLACES[name]] for name in ("bids_known", "asks_known"))
    return BestLevels(numbers[:, : 4 * FEATURE_LEVELS], FEATURE_LEVELS, *known)


def wide(numbers: Integers, first: str, count: int, decimals: int) -> list[pa.Array]:
    """Columns of `count` numbers of two words each, of which the first word of the first is called `first`."""
    place = PLACES[first]
    high, low = numbers[:, place : place + 2 * count : 2], numbers[:, place + 1 : place + 1 + 2 * count : 2]
    valid = high != NONE
    # Both words get the sign of the number: a small negative one would lose its last digits beside 10^18.
    is_negative = high < 0
    values = ((high + is_negative) * float(UNIT) + (low - is_negative * UNIT)) / 10.0**decimals
    return [masked(values[:, column], valid[:, column]) for column in range(count)]
