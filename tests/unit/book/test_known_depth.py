"""What the library says of known depth, live and frozen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook import Ladder, OrderBookEngine, replay

SNAPSHOT = {"lastUpdateId": 10, "E": 1, "bids": [["9", "1"], ["8", "2"]], "asks": [["11", "1"]]}
"""It has fewer asks than bids, so that no limit has cut the asks: they are known as a whole."""


def diff(first: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    """A diff of one id."""
    return {"e": "depthUpdate", "E": first, "s": "X", "U": first, "u": first, "b": bids, "a": asks}


def books(directory: Path, *records: dict[str, Any]) -> Iterator[OrderBookEngine]:
    """The book after each record, prices as whole numbers."""
    (directory / "capture").write_text("".join(json.dumps(record) + "\n" for record in records))
    return replay(str(directory / "capture"), "X", price_decimals=0, size_decimals=0)


def known(ladder: Ladder) -> tuple[int | None, bool, list[int]]:
    """All that it says, with the prices of the known levels."""
    return ladder.known_to, ladder.is_whole, ladder.known_levels()[0].tolist()


def test_nothing_is_known_before_a_snapshot_and_after_a_gap(tmp_path: Path) -> None:
    """The levels are there, but none is known."""
    gap = diff(20, [["9", "3"]], [["12", "1"]])
    before, synced, after = (
        (known(book.bids), known(book.asks)) for book in books(tmp_path, diff(10, [["9", "1"]], []), SNAPSHOT, gap)
    )
    assert before == ((None, False, []), (None, False, []))
    assert synced == ((8, False, [9, 8]), (2**62, True, [11]))
    assert after == before


def test_levels_beyond_the_bound_are_not_known(tmp_path: Path) -> None:
    """A diff sets levels wherever it likes, and moves no bound."""
    *_, book = books(tmp_path, SNAPSHOT, diff(11, [["7", "1"]], [["99", "1"]]))
    assert book.bids.levels()[0].tolist() == [9, 8, 7]
    assert known(book.bids) == (8, False, [9, 8])
    assert known(book.asks) == (2**62, True, [11, 99])
    assert [book.bids.known_levels(depth)[0].tolist() for depth in (0, 1, 3)] == [[], [9], [9, 8]]


@pytest.mark.parametrize(("price", "is_known"), [(10, True), (9, True), (8, True), (7, False)])
def test_an_empty_price_inside_the_bound_is_known_too(tmp_path: Path, price: int, is_known: bool) -> None:
    """Known is that there is nothing at 10, or that the size is what it is at the bound; nothing is known below it."""
    (book,) = books(tmp_path, SNAPSHOT)
    assert book.bids.is_known(price) == is_known
    assert book.bids.known_to is not None
    assert (price >= book.bids.known_to) == is_known
    assert book.asks.is_known(10**17)


def test_a_snapshot_of_the_engine_keeps_what_was_known(tmp_path: Path) -> None:
    """It stays as it was frozen while the live book forgets."""
    frozen = None
    for book in books(tmp_path, SNAPSHOT, diff(20, [["9", "3"]], [])):
        frozen = frozen or book.snapshot()
    assert frozen is not None
    assert (known(frozen.bids), known(frozen.asks)) == ((8, False, [9, 8]), (2**62, True, [11]))
    assert book.bids.known_to is None
    frozen.release()
