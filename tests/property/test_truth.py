"""The engine, behind its real decoder, against a venue that knows its true book.

What is called known is true, and nearly all that could be called known is.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from cowbook.book.state import ALL_OF_ASKS, ALL_OF_BIDS, NOTHING_OF_ASKS, NOTHING_OF_BIDS
from cowbook.plain.messages import NONE
from support.claimable import Claims
from support.in_memory import book_of
from support.oracle_pipeline import Pipeline
from support.search import examples
from support.true_venue import SETTINGS, TrueCapture, make_true_capture

LENGTH = 150


class Judge:
    """Goes through a capture record by record, and counts levels."""

    def __init__(self, capture: TrueCapture) -> None:
        self.capture = capture
        diffs = [line for line in capture.lines if b"depthUpdate" in line and b"ETHUSDT" not in line and b"depth5" not in line]
        channel = ""
        if (b'"pu"' in diffs[0]) != capture.style.futures:  # the first diff is of the other market: a person must say which
            channel = "futures" if capture.style.futures else "spot"
        self.pipeline = Pipeline(replace(SETTINGS, channel=channel))
        self.claims = Claims(capture)
        self.counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """To the end."""
        for number, line in enumerate(self.capture.lines):
            self.claims.read(line)
            # A file of its own for each record.
            self.pipeline.feed(line + b"\n")
            self.judge(number)
        engine = self.pipeline.engine
        self.counts.update(
            {name: engine.value(name) for name in ("gaps", "time_resets", "stale", "unused", "witnesses", "snapshots")}
        )
        self.counts.update({f"audits.{name}": number for name, number in engine.audit_statistics()["snapshot"].items()})
        return self.counts

    def judge(self, line: int) -> None:
        """Compare the book with the truth."""
        engine = self.pipeline.engine
        last = engine.last_id
        if last == NONE:
            return
        assert last in self.capture.history, f"line {line}: the book is at {last}, which is no id of this venue"
        bounds = engine.value("bid_bound"), engine.value("ask_bound")
        assert engine.synced or bounds == (NOTHING_OF_BIDS, NOTHING_OF_ASKS)
        claims = self.claims.range_at(last)
        for side, name in enumerate(("bids", "asks")):
            book, truth = book_of(engine)[side], self.capture.history[last][side]
            for price in truth | book:
                is_known = is_inside(side, price, bounds[side])
                if truth.get(price) != book.get(price) and is_known:
                    assert (side, price) in self.capture.lies, f"line {line}, id {last}: {name} {price} is called known"
                    self.counts["wrong by lies"] += 1
                self.counts["known"] += is_known
                claim = claims[side]
                if price in truth and claim is not None and (price >= claim if side == 0 else price <= claim):
                    self.counts["claimable"] += 1
                    self.counts["claimed"] += is_known
            self.counts["levels"] += len(truth)


def is_inside(side: int, price: int, bound: int) -> bool:
    """As docs/rules.md says it."""
    if side == 0:
        return bound != NOTHING_OF_BIDS and (bound == ALL_OF_BIDS or price >= bound)
    return bound != NOTHING_OF_ASKS and (bound == ALL_OF_ASKS or price <= bound)


def totals(seeds: list[int], lying: float) -> Counter[str]:
    """Of all captures with these seeds."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            found = Judge(make_true_capture(seed, LENGTH, lying)).run()
        except AssertionError as error:
            error.add_note(f"make_true_capture({seed}, {LENGTH}, {lying})")
            raise
        if not lying:
            assert found["audits.failed"] == 0, seed
        counts += found
    print(f"lying {lying}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    print(f"claimed {counts['claimed'] / counts['claimable']:.4f}, of all levels {counts['known'] / counts['levels']:.4f}")
    return counts


def test_what_is_called_known_is_true_and_nearly_all_that_can_be_is_known(seed: int) -> None:
    """Snapshots of all limits, late, early, doubled; gaps; ids that begin anew; other speeds, markets and symbols."""
    rng = random.Random(seed)
    counts = totals([rng.randrange(10**9) for _ in range(examples(320))], 0.0)
    assert counts["claimed"] >= 0.99 * counts["claimable"]
    assert counts["witnesses"] > 100
    assert counts["gaps"] > 100


@pytest.mark.parametrize("lying", [0.05, 0.3])
def test_a_lie_is_all_that_can_be_wrong(lying: float, seed: int) -> None:
    """Some snapshots show other levels, or another moment."""
    rng = random.Random(seed)
    counts = totals([rng.randrange(10**9) for _ in range(examples(320))], lying)
    assert counts["audits.failed"] > 10
