"""The fold: what anyone needs to make books of `depth` rows, and whether they are the books of `bbo`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Fold = tuple[dict[Any, Any], dict[Any, Any]]


def fold_row(book: Fold, row: dict[str, Any]) -> None:
    """A `clear` empties its side, every other row sets its level, size 0 removes it."""
    side = book[("bid", "ask").index(row["side"])]
    if row["kind"] == "clear":
        side.clear()
    elif row["size"]:
        side[row["price"]] = row["size"]
    else:
        side.pop(row["price"], None)


def fold(rows: Iterable[dict[str, Any]]) -> Fold:
    """Bids and asks by price, after these rows."""
    book: Fold = ({}, {})
    for row in rows:
        fold_row(book, row)
    return book


def best(book: Fold) -> tuple[Any, Any, Any, Any]:
    """Price and size of the best bid and of the best ask, None where a side is empty."""
    bid, ask = max(book[0], default=None), min(book[1], default=None)
    return bid, book[0].get(bid), ask, book[1].get(ask)


def best_levels(book: Fold, number: int) -> tuple[list[Any], list[Any]]:
    """The best levels of bids and asks, as (price, size)."""
    return sorted(book[0].items(), reverse=True)[:number], sorted(book[1].items())[:number]


def check_fold(
    depth: Sequence[dict[str, Any]],
    bbo: Sequence[dict[str, Any]],
    after: Callable[[dict[str, Any], Fold], None] | None = None,
) -> Fold:
    """Hold the fold against `bbo` after each row that is its message's last; the fold at the end.

    The rows of `bbo` are those of the same run, all of them. Something must be there to compare. `after` sees each of these
    rows and the fold.
    """
    book: Fold = ({}, {})
    place = compared = 0
    for row in depth:
        fold_row(book, row)
        if not row["is_last"]:
            continue
        while place < len(bbo) and bbo[place]["event_index"] <= row["event_index"]:
            place += 1
        assert place, f"no bbo row up to event {row['event_index']}"
        found = best(book)
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        expected = tuple(bbo[place - 1][name] for name in names)
        assert found == expected, f"event {row['event_index']}: depth folds to {found}, bbo says {expected}"
        compared += 1
        if after is not None:
            after(row, book)
    assert compared, "no message of depth ends"
    assert depth[-1]["is_last"], "the last message of depth does not end"
    return book
