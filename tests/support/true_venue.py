"""A simulated venue that knows its true book at every update id, and captures of it with all that happens on the way.

Each id is the change of one level. Diffs take several of them together, snapshots show any id to any depth. On the way into the
capture diffs are lost, doubled and swapped, snapshots are late or early, ids begin anew, other speeds, markets and symbols stand
in between. `lies` has the levels about which some snapshot was wrong: of all others, what is called known must be true.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from support.oracle import OracleSettings

START_MS = 1_723_161_580_000
SETTINGS = OracleSettings(price_decimals=0, size_decimals=0, book_levels=4, part_interval_ns=10**18, book_interval_ns=10**8)
"""Without cuts, so that all rows stay in one place."""

LIMITS = (1, 3, 5, 8, 1000)

Record = dict[str, Any]
Book = tuple[dict[int, int], dict[int, int]]


@dataclass
class Style:
    """What a capture has in it."""

    futures: bool
    wrapped: bool
    partial: bool  # books of the best 5 levels in their wrappers
    slow: bool  # a second speed
    second_market: bool
    other_symbol: bool
    timed: bool  # snapshots have a receive time
    resets: bool
    loss: float
    trouble: float
    snapshots: float

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        """One of many."""

        def often(share: float) -> bool:
            return rng.random() < share

        return cls(
            futures=often(0.5),
            wrapped=often(0.6),
            partial=often(0.4),
            slow=often(0.3),
            second_market=often(0.25),
            other_symbol=often(0.25),
            timed=often(0.6),
            resets=often(0.3),
            loss=rng.choice([0, 0, 0.02, 0.1]),
            trouble=rng.choice([0, 0.02, 0.1]),
            snapshots=rng.choice([0.05, 0.1, 0.3]),
        )


@dataclass
class Feed:
    """The diffs of one speed: what changed since the last one."""

    stream: str
    last: int  # its last diff's u
    first: int = 0  # first id since then; 0: none
    changed: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))


@dataclass
class TrueVenue:
    """The book, the ids, and the book at every id."""

    rng: random.Random
    futures: bool
    base: int
    id: int
    now: int = START_MS
    book: Book = field(default_factory=lambda: ({}, {}))
    history: dict[int, Book] = field(default_factory=dict)
    epoch: int = 0  # the first id of this count
    feeds: list[Feed] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with some levels."""
        for _ in range(30):
            self.change()
        self.begin(self.id)

    def begin(self, number: int) -> None:
        """Count from here."""
        self.id = self.epoch = number
        self.history[number] = (dict(self.book[0]), dict(self.book[1]))
        for feed in self.feeds:
            feed.last, feed.first = number, 0
            feed.changed = (set(), set())

    def change(self) -> tuple[int, int]:
        """One level changes: its side and price."""
        rng = self.rng
        side = rng.randrange(2)
        # Prices wander, so that the best levels leave what a snapshot knew.
        self.base += rng.choice([-1, 0, 0, 0, 1])
        price = self.base + (-1 if side == 0 else 1) * int(abs(rng.gauss(0, 8)) + 1)
        if rng.random() < 0.4 and self.book[side]:
            best = max(self.book[0]) if side == 0 else min(self.book[1])
            price = rng.choice([best, *self.book[side]])
            self.book[side].pop(price)
        else:
            self.book[side][price] = rng.randrange(1, 10)
        return side, price

    def update(self) -> None:
        """The next id."""
        side, price = self.change()
        self.id += 1 + (self.rng.randrange(3) if self.futures else 0)
        self.now += self.rng.choice([0, 1, 20])
        self.history[self.id] = (dict(self.book[0]), dict(self.book[1]))
        for feed in self.feeds:
            feed.first = feed.first or self.id
            feed.changed[side].add(price)

    def diff(self, feed: Feed, symbol: str = "BTCUSDT") -> Record:
        """All that changed since the feed's last diff."""
        sides = [[[str(price), str(self.book[side].get(price, 0))] for price in sorted(feed.changed[side])] for side in (0, 1)]
        record: Record = {"e": "depthUpdate", "E": self.now, "s": symbol, "U": feed.first, "u": self.id}
        if self.futures:
            record |= {"pu": feed.last, "T": self.now}
        else:
            record["U"] = feed.last + 1
        feed.last, feed.first, feed.changed = self.id, 0, (set(), set())
        return record | {"b": sides[0], "a": sides[1]}

    def some_id(self, back: int = 12) -> int:
        """One of the latest ids of this count."""
        ids = [number for number in self.history if self.epoch <= number <= self.id]
        return self.rng.choice(ids[-back:])

    def levels(self, number: int, limit: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The best levels at an id, best first."""
        bids, asks = self.history[number]
        return sorted(bids.items(), reverse=True)[:limit], sorted(asks.items())[:limit]


@dataclass
class TrueCapture:
    """Lines, the true book at every id, and what snapshots lied about."""

    lines: list[bytes]
    history: dict[int, Book]
    lies: set[tuple[int, int]]
    style: Style


def snapshot_of(venue: TrueVenue, number: int, limit: int, lies: set[tuple[int, int]], lying: float) -> Record:
    """A snapshot; a lie shows other levels, or another moment's."""
    rng = venue.rng
    shown = number
    if rng.random() < lying / 2:
        shown = venue.some_id(40)
    bids, asks = venue.levels(shown, limit)
    if rng.random() < lying / 2:
        for levels in (bids, asks):
            if levels:
                place = rng.randrange(len(levels))
                levels[place] = (levels[place][0], levels[place][1] + 1)
    if shown != number or lying:
        truth = venue.history[number]
        for side, content in ((0, dict(bids)), (1, dict(asks))):
            lies |= {(side, price) for price in truth[side] | content if truth[side].get(price) != content.get(price)}
    return {"lastUpdateId": number} | {
        name: [[str(price), str(size)] for price, size in levels] for name, levels in (("bids", bids), ("asks", asks))
    }


def make_true_capture(seed: int, length: int, lying: float = 0.0) -> TrueCapture:
    """A capture that is a function of its arguments alone; `lying` is the share of snapshots that are not true."""
    rng = random.Random(seed)
    style = Style.draw(rng)
    venue = TrueVenue(rng, style.futures, 1000, 3_000_000)
    fast, slow = Feed("depth@100ms", venue.id), Feed("depth@500ms", venue.id)
    venue.feeds = [fast, slow] if style.slow else [fast]
    # Another market's and another symbol's ids are far away: nothing but ids could tell their snapshots.
    other = TrueVenue(rng, not style.futures, 500, 900_000_000)
    foreign = TrueVenue(rng, style.futures, 200, rng.choice([10, 500_000_000]))
    for each in (other, foreign):
        each.feeds = [Feed("depth@100ms", each.id)]
    lies: set[tuple[int, int]] = set()
    begun: set[str] = set()  # of which other books a diff was written
    placed: list[tuple[float, bytes]] = []

    def write(record: Record, stream: str = "", shift: float = 0.0) -> None:
        if stream and style.wrapped:
            record = {"stream": f"btcusdt@{stream}", "data": record}
        text = json.dumps(record, separators=(",", ":"))
        if "lastUpdateId" in record and style.timed:
            text = f"{venue.now} {text}"
        placed.append((len(placed) + shift, text.encode()))

    while len(placed) < length:
        for _ in range(rng.choice([1, 1, 2, 4])):
            venue.update()
        if rng.random() > style.loss:
            write(venue.diff(fast), fast.stream)
        else:
            venue.diff(fast)
        if rng.random() < style.trouble:
            placed.append((len(placed) + rng.uniform(0, 6), placed[-1][1] if placed else b""))
        if rng.random() < style.trouble and placed:
            placed[-1] = (placed[-1][0] - 1.5, placed[-1][1])
        if style.slow and rng.random() < 0.25:
            write(venue.diff(slow), slow.stream)
        if rng.random() < style.snapshots:
            record = snapshot_of(venue, venue.some_id(), rng.choice(LIMITS), lies, lying)
            if style.second_market and style.futures:
                record |= {"E": venue.now}
            write(record, shift=rng.choice([0, 0, 0, -4, -8, 3, 9]))
        if style.partial and style.wrapped and rng.random() < 0.2:
            write(partial_book(venue, lies, lying), "depth5", rng.choice([0, 0, -1, -3]))
        if style.second_market and rng.random() < 0.2:
            write_other(other, "market", begun, write, timed=not style.futures)
        if style.other_symbol and rng.random() < 0.2:
            write_other(foreign, "symbol", begun, write, timed=False)
        if style.resets and rng.random() < 0.02:
            venue.now += 60_000
            venue.begin(venue.epoch // 2 + rng.randrange(10))
    lines = [line for _place, line in sorted(placed, key=lambda each: each[0]) if line]
    return TrueCapture(lines, venue.history, lies, style)


def partial_book(venue: TrueVenue, lies: set[tuple[int, int]], lying: float) -> Record:
    """The best 5 levels, as spot or futures send them."""
    record = snapshot_of(venue, venue.some_id(3), 5, lies, lying)
    if not venue.futures:
        return record
    change = {"e": "depthUpdate", "E": venue.now, "s": "BTCUSDT", "U": 1, "u": record["lastUpdateId"], "pu": 0}
    return change | {"b": record["bids"], "a": record["asks"]}


def write_other(venue: TrueVenue, kind: str, begun: set[str], write: Any, *, timed: bool) -> None:
    """A diff of another market or symbol; snapshots only behind it, where the rules can tell them."""
    venue.update()
    if kind in begun and venue.rng.random() < 0.3:
        record = snapshot_of(venue, venue.some_id(), venue.rng.choice(LIMITS), set(), 0.0)
        write(record | ({"E": venue.now} if timed else {}), shift=0.0)
        return
    begun.add(kind)
    record = venue.diff(venue.feeds[0], "BTCUSDT" if kind == "market" else "ETHUSDT")
    write(record)
