"""Books of exported events, one event at a time in dictionaries. Prices and sizes are fixed-point ints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Quote = tuple[tuple[int, int] | None, tuple[int, int] | None]
"""Price and size of the best bid and ask; None where a side is empty."""


class NaiveBook:
    """Two dictionaries."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def clear(self) -> None:
        """Empty both sides."""
        self.bids.clear()
        self.asks.clear()

    def set(self, *, is_bid: bool, price: int, size: int) -> None:
        """Set a level; size 0 removes it."""
        side = self.bids if is_bid else self.asks
        if size:
            side[price] = size
        else:
            side.pop(price, None)

    @property
    def quote(self) -> Quote:
        """The best levels."""
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        return (
            None if bid is None else (bid, self.bids[bid]),
            None if ask is None else (ask, self.asks[ask]),
        )

    @property
    def levels(self) -> tuple[dict[int, int], dict[int, int]]:
        """A copy of both sides."""
        return dict(self.bids), dict(self.asks)


def fold_rows(rows: Iterable[dict[str, Any]]) -> NaiveBook:
    """The book of rows of `depth`."""
    book = NaiveBook()
    for row in rows:
        if row["kind"] == "clear":
            (book.bids if row["side"] == "bid" else book.asks).clear()
        else:
            book.set(is_bid=row["side"] == "bid", price=row["price"], size=row["size"])
    return book
