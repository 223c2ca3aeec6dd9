"""The oracle against a venue that knows its true book: what is called known is true, and `depth` folds to the book."""

from __future__ import annotations

from collections import Counter

import pytest

from support.fold import Fold, best_levels, fold_row
from support.oracle import Oracle
from support.oracle_book import is_known
from support.true_venue import SETTINGS, TrueCapture, make_true_capture

SEEDS = range(60)
LENGTH = 150


def check(capture: TrueCapture) -> Oracle:
    """Go through a capture; after each record hold fold, book and truth together."""
    oracle = Oracle(SETTINGS)
    book: Fold = ({}, {})
    folded = 0
    for number, line in enumerate(capture.lines):
        oracle.record("capture", number, line, line)
        rows = oracle.open["depth"]
        for row in rows[folded:]:
            fold_row(book, row)
        folded = len(rows)
        assert book == oracle.book, f"line {number}: depth does not fold to the book"
        assert not rows or rows[-1]["is_last"]
        assert oracle.synced or oracle.known == [None, None]
        for side in (0, 1):
            wrong = wrong_levels(capture, oracle, side)
            assert not wrong, f"line {number}, id {oracle.last}, side {side}: {wrong} are called known, and are not true"
    check_rows(capture, oracle)
    return oracle


def wrong_levels(capture: TrueCapture, oracle: Oracle, side: int) -> set[int]:
    """Prices that are called known and are not as they truly were, though nobody lied about them."""
    if oracle.last is None or oracle.known[side] is None:
        return set()
    truth, book = capture.history[oracle.last][side], oracle.book[side]
    return {
        price
        for price in truth | book
        if truth.get(price) != book.get(price) and is_known(side, oracle.known[side], price) and (side, price) not in capture.lies
    }


def check_rows(capture: TrueCapture, oracle: Oracle) -> None:
    """The best prices of `bbo` and the best levels of `book` that are called known are those of the true book."""
    for row in oracle.open["bbo"] if not capture.lies else []:
        for side, name in enumerate(("bid", "ask")):
            if row[f"{name}_known"]:
                true = best_levels(capture.history[row["update_id"]], 1)[side]
                price, size = row[f"{name}_price"], row[f"{name}_size"]
                assert ([] if price is None else [(price, size)]) == true
    for row in oracle.open["book"] if not capture.lies else []:
        for side, name in enumerate(("bid", "ask")):
            known = row[f"{name}s_known"]
            found = [(row[f"{name}_px_{place:02d}"], row[f"{name}_sz_{place:02d}"]) for place in range(known)]
            assert found == best_levels(capture.history[row["update_id"]], known)[side]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_called_known_is_true(seed: int) -> None:
    """Whatever is lost, late, early, doubled or of others; and no audit fails where nobody lies."""
    oracle = check(make_true_capture(seed, LENGTH))
    assert not {name for name in oracle.counts if name.endswith("failed")}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lie_is_all_that_can_be_wrong(seed: int) -> None:
    """Snapshots that show other levels or another moment: what nobody lied about is true all the same."""
    check(make_true_capture(seed, LENGTH, lying=0.3))


def test_all_situations_occur() -> None:
    """The captures have in them what the rules are about, and much is called known."""
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        for lying in (0.0, 0.3):
            oracle = check(make_true_capture(seed, LENGTH, lying))
            counts.update(oracle.counts)
            counts.update(f"known.{row['bid_known']}" for row in oracle.open["bbo"])
            counts.update(f"{row['kind']}.{row['synced']}" for row in oracle.open["depth"])
            counts["anew"] += sum(row["missing"] is None for row in oracle.open["gaps"])
    print(counts)
    for name in ("snapshot.matched", "snapshot.failed"):
        assert counts[f"audits.{name}"] > 100
    for name in ("gaps", "stale", "unused", "stale_snapshots", "foreign_snapshots", "replaced_witnesses", "anew", "other_symbol"):
        assert counts[name] > 10, name
    for name in ("learned.True", "learned.False", "clear.True", "change.False"):
        assert counts[name] > 100, name
    assert counts["known.True"] > counts["known.False"] / 2
