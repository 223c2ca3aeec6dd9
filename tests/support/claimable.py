"""What of a true venue's book could be called known, told from the capture alone (support/true_venue.py).

A level can be called known if an honest snapshot that was read shows it, and diffs that were read lead from the snapshot's id to
the book's without a hole, in the order of ids, none of them from before a place where sync had to end. The snapshot comes before
the diffs that leave its id behind, or joins them when it comes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from support.true_venue import TrueCapture

Range = tuple[int | None, int | None]
"""The lowest bid and the highest ask that can be called known; None: nothing of that side."""


@dataclass
class _Diff:
    first: int  # the lowest id of a snapshot from which it leads on
    last: int
    prev: int | None  # futures: the only id of a diff from which it does


@dataclass
class _Shown:
    number: int
    bid: int | None
    ask: int | None
    is_proved: bool


@dataclass
class Claims:
    """Goes through a capture's lines."""

    capture: TrueCapture
    place: int | None = None  # the last diff's id
    time: int = 0
    diffs: list[_Diff] = field(default_factory=list)  # since sync had to end
    shown: list[_Shown] = field(default_factory=list)
    read_before: set[tuple[int, int]] = field(default_factory=set)
    several: bool = False  # the capture speaks of several symbols

    def read(self, line: bytes) -> None:
        """Take a line."""
        record: dict[str, Any] = json.loads(line[line.index(b"{") :])
        stream = record.get("stream", "")
        record = record.get("data", record)
        if record.get("s", "BTCUSDT") != "BTCUSDT":
            self.several = True
        elif "lastUpdateId" in record:
            self._snapshot(record["lastUpdateId"], record["bids"], record["asks"], is_labelled="depth5" in stream)
        elif "depth5" in stream:
            self._snapshot(record["u"], record["b"], record["a"], is_labelled=True)
        elif record["u"] in self.capture.history and ("pu" in record) == self.capture.style.futures:
            self._diff(record, is_slow="500ms" in stream)

    def _snapshot(self, number: int, bids: list[list[str]], asks: list[list[str]], *, is_labelled: bool) -> None:
        if number not in self.capture.history:  # of another market or symbol
            return
        sides = [{int(price): int(size) for price, size in side} for side in (bids, asks)]
        truth = self.capture.history[number]
        best = sorted(truth[0].items(), reverse=True)[: len(sides[0])], sorted(truth[1].items())[: len(sides[1])]
        if sides == [dict(side) for side in best]:
            proved = is_labelled or not self.several
            if self.place is None or number >= self.place or self._leads(number, self.place):
                self.shown.append(_Shown(number, min(sides[0], default=None), max(sides[1], default=None), proved))

    def _diff(self, record: dict[str, Any], *, is_slow: bool) -> None:
        prev = record.get("pu")
        diff = _Diff(record["U"] - 1 if prev is None else prev, record["u"], prev)
        was_read = (diff.first, diff.last) in self.read_before
        self.read_before.add((diff.first, diff.last))
        begins_anew = False
        if self.place is not None and not self._follows(diff, self.place, is_snapshots=False):
            begins_anew = diff.last <= self.place and not was_read and record["E"] > self.time
            if diff.last <= self.place and not begins_anew:  # it is late, or was read before
                return
            if is_slow and not begins_anew:
                return
            self.diffs.clear()
        for shown in self.shown:
            shown.is_proved |= shown.number <= diff.last
        self.diffs.append(diff)
        self.place, self.time = diff.last, record["E"]

    def range_at(self, number: int) -> Range:
        """What can be called known of the book at an id."""
        bids, asks = [], []
        for shown in self.shown:
            if shown.is_proved and self._leads(shown.number, number):
                bids += [] if shown.bid is None else [shown.bid]
                asks += [] if shown.ask is None else [shown.ask]
        return min(bids, default=None), max(asks, default=None)

    def _follows(self, diff: _Diff, number: int, *, is_snapshots: bool) -> bool:
        if diff.prev is None or is_snapshots:
            return diff.first <= number < diff.last
        return diff.prev == number

    def _leads(self, start: int, end: int) -> bool:
        """Whether diffs lead from a snapshot's id to another id."""
        number = start
        for diff in self.diffs:
            if diff.last > number and not self._follows(diff, number, is_snapshots=number == start):
                return False
            number = max(number, diff.last)
            if number >= end:
                break
        return number == end
