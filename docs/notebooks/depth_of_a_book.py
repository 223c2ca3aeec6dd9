# %% [markdown]
# # The depth of a book
#
# How much could be sold within ten basis points of the mid, at each of some instants? The whole book is made for each of them,
# and it says how much of itself is known.

# %%
from datetime import UTC, datetime, timedelta

import numpy as np

import cowbook

DATA = "build/demo/data"
START = datetime(2024, 8, 8, 23, 54, 30, tzinfo=UTC)

# %%
books = [cowbook.book_at(DATA, "BTCUSDT", START + timedelta(seconds=20 * step)) for step in range(4)]
print([(book.time, len(book.bids), len(book.asks), book.synced) for book in books])

# %% [markdown]
# Depth within a distance is a sum over the levels. It is exact as long as the known levels reach that far: `known` counts those
# that the input proves, and behind them a level shows only once it changes.

# %%
BASIS_POINTS = 10


def depth(book: cowbook.InstantBook) -> tuple[float, bool]:
    """The size of bids within so many basis points of the mid, and whether all of them are known."""
    prices, sizes = book.bids.floats()
    asks, _ = book.asks.floats(1)
    lowest = (prices[0] + asks[0]) / 2 * (1 - BASIS_POINTS / 10_000)
    inside = prices >= lowest
    known = book.bids.known
    return float(sizes[inside].sum()), known is not None and int(inside.sum()) < known


depths = [depth(book) for book in books]
print(depths)

# %% [markdown]
# The shape of the last book: cumulated size against the distance from the best price.

# %%
prices, sizes = books[-1].bids.floats(200)
distance = prices[0] - prices
cumulated = np.cumsum(sizes)
print(np.column_stack([distance, cumulated])[::25])
