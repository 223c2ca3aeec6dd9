"""Captures as they come in practice and as they never should, for comparing cowbook with the oracle.

A small venue keeps a true book and sends diffs, snapshots, trades and tickers about it; on the way into the capture these are
lost, doubled, swapped, delayed and damaged. Beside it there may be partial books, a second speed, the symbol's other market,
its `rpiDepth`, and another symbol with ids of its own; ids begin anew, and clocks are wild.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from support.oracle import OPTIONAL_STREAMS, OracleSettings

START_NS = 1_723_161_580 * 10**9  # shortly before midnight
_INTERVALS_NS = (10**9, 10 * 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9)


@dataclass(frozen=True)
class Capture:
    """Files, by content, and the settings to read them with."""

    files: list[bytes]
    settings: OracleSettings


@dataclass
class Style:
    """How a collector writes, and what it writes."""

    futures: bool
    wrapped: bool
    prefix: str  # none, s, ms, us, ns, fraction, colon
    spaces: bool
    decimals: tuple[int, int]
    base_ticks: int
    tick: int
    timed_snapshots: bool
    labelled: float  # how often a snapshot says its symbol
    partial: float  # how often the best levels are sent
    slow: float  # how often the second speed is
    speeds: tuple[str, str]
    other_market: float
    other_symbol: float
    rpi: float
    said: float  # how often a trade says its market
    resets: float
    wild: float  # how often a clock is

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        """One of many."""
        decimals = rng.choice([(8, 8), (8, 8), (2, 3), (0, 0), (10, 4), (18, 18)])
        highest = 10 ** (18 - decimals[0]) * 10 ** decimals[0]
        tick = rng.choice([1, 10, 50, 10 ** (decimals[0] // 2)])
        base = rng.choice([0, 40, 6_000, 10**9])

        def sometimes(share: float, *values: float) -> float:
            return rng.choice(values) if rng.random() < share else 0.0

        return cls(
            futures=rng.random() < 0.5,
            wrapped=rng.random() < 0.5,
            prefix=rng.choice(["none", "none", "s", "ms", "us", "ns", "ns", "fraction", "colon"]),
            spaces=rng.random() < 0.1,
            decimals=decimals,
            base_ticks=min(base, highest // tick // 2),
            tick=tick,
            timed_snapshots=rng.random() < 0.4,
            labelled=sometimes(0.3, 0.5, 1.0),
            partial=sometimes(0.35, 0.1, 0.3),
            slow=sometimes(0.3, 0.1, 0.4),
            speeds=rng.choice([("depth@100ms", "depth@500ms"), ("depth@100ms", "depth"), ("depth@250ms", "depth@100ms")]),
            other_market=sometimes(0.2, 0.02, 0.15),
            other_symbol=sometimes(0.25, 0.02, 0.15),
            rpi=sometimes(0.1, 0.1),
            said=sometimes(0.6, 0.5, 1.0),
            resets=sometimes(0.25, 0.02, 0.05),
            wild=sometimes(0.2, 0.02, 0.1),
        )


@dataclass
class Venue:
    """The true book, and what it says of itself."""

    rng: random.Random
    style: Style
    id: int
    now: int = START_NS
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    history: list[tuple[int, dict[int, int], dict[int, int]]] = field(default_factory=list)
    symbol: str = "BTCUSDT"
    below: int = 0  # so much lower are all prices that it writes
    trades: int = 10**9
    slow_id: int = 0  # u of the second speed's last diff
    slow_first: int = 0  # the first id since then; 0: none
    slow_changes: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def __post_init__(self) -> None:
        """Both speeds begin with the first id."""
        self.slow_id = self.id

    def begin(self, number: int) -> None:
        """Count from an id on."""
        self.id = self.slow_id = min(number, 10**18 - 10**5)
        self.slow_first = 0
        self.history = [(self.id, dict(self.bids), dict(self.asks))]

    def price(self) -> int:
        """A price, mostly near the middle, sometimes a joke."""
        style = self.style
        if self.rng.random() < 0.03:
            return self.rng.choice([0, 1, 3, 10**18 - 1, 10**17 + 7, style.tick * 10**6])
        return min((style.base_ticks + self.rng.randint(0, 40)) * style.tick, 10**18 - 1)

    def size(self) -> int:
        """A size, often none."""
        if self.rng.random() < 0.35:
            return 0
        return self.rng.choice([1, 5, 10**5, 10**18 - 1, self.rng.randrange(1, 10**9)])

    def change(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Some levels change."""
        sides = []
        for side in (self.bids, self.asks):
            levels = [(self.price(), self.size()) for _ in range(self.rng.choice([0, 1, 1, 2, 5]))]
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
            sides.append(levels)
        return sides[0], sides[1]

    def tick_time(self) -> int:
        """The clock goes on, or jumps."""
        rng = self.rng
        step = rng.choice([0, 1, 50, 100, 100, 500, 2000]) * 10**6
        if rng.random() < 0.04:
            step = rng.choice([-1, 1]) * rng.choice([3, 30, 4000, 90_000]) * 10**9
        self.now += step
        return self.now

    def diff(self) -> dict[str, Any]:
        """The next diff; the book and the ids move on."""
        rng = self.rng
        previous = self.id
        first = previous + 1 + (rng.randrange(5) if self.style.futures else 0)
        last = first + rng.choice([0, 0, 1, 7])
        bids, asks = self.change()
        self.id = last
        self.history.append((last, dict(self.bids), dict(self.asks)))
        self.slow_first = self.slow_first or first
        for changed, levels in zip(self.slow_changes, (bids, asks), strict=True):
            changed.update(price for price, _size in levels)
        return self.depth_update(first, last, previous, (bids, asks), self.tick_time() // 10**6)

    def depth_update(
        self, first: int, last: int, previous: int, sides: tuple[list[tuple[int, int]], list[tuple[int, int]]], time: int
    ) -> dict[str, Any]:
        """A diff as a record."""
        if self.rng.random() < self.style.wild:
            time = self.rng.choice([1, 1000, time - 90_000_000, time + 90_000_000, 4_102_444_800_000, time + 3_600_000])
        record: dict[str, Any] = {"e": "depthUpdate", "E": time + self.rng.choice([0, 3])}
        if self.style.futures:
            record["T"] = time
        record |= {"s": self.symbol, "U": first, "u": last}
        if self.style.futures:
            record["pu"] = previous
        return record | {"b": self.texts(sides[0]), "a": self.texts(sides[1])}

    def slow_diff(self) -> dict[str, Any]:
        """All that changed since the last one of the second speed."""
        sides = tuple(
            [(price, side.get(price, 0)) for price in sorted(changed)]
            for side, changed in zip((self.bids, self.asks), self.slow_changes, strict=True)
        )
        first = self.slow_first or self.id + 1
        previous, self.slow_id, self.slow_first = self.slow_id, max(self.id, first), 0
        self.slow_changes = (set(), set())
        if not self.style.futures:
            first = min(first, previous + 1)
        return self.depth_update(first, self.slow_id, previous, (sides[0], sides[1]), self.now // 10**6)

    def begin_anew(self) -> None:
        """Ids begin anew, at a lower one; the book is another one or not."""
        rng = self.rng
        self.id = self.id // 2 if self.id > 100 else rng.randrange(3)
        self.now += rng.choice([1, 60]) * 10**9
        self.slow_id, self.slow_first = self.id, 0
        if rng.random() < 0.5:
            self.bids.clear()
            self.asks.clear()
        self.history.append((self.id, dict(self.bids), dict(self.asks)))

    def texts(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        """Levels as a venue writes them."""
        return [[self.text(price, 0), self.text(size, 1)] for price, size in levels]

    def text(self, value: int, which: int) -> str:
        """A numeral: with all decimals, or as short as can be."""
        decimals = self.style.decimals[which]
        value -= 0 if which else self.below
        sign = "-" if value < 0 else ""
        if not decimals:
            return str(value)
        whole, fraction = divmod(abs(value), 10**decimals)
        text = f"{sign}{whole}.{fraction:0{decimals}d}"
        return text.rstrip("0").rstrip(".") if self.rng.random() < 0.3 else text

    def snapshot(self, limit: int | None = None) -> dict[str, Any]:
        """A depth snapshot of some moment and some depth, mostly right."""
        rng = self.rng
        back = rng.choice([0, 0, 0, 1, 2, 5, 20])
        update_id, bids, asks = self.history[-1 - min(back, len(self.history) - 1)]
        if rng.random() < 0.15:
            update_id += rng.choice([-1, 1, 3, 30, 10**6])
        sides = [sorted(bids.items(), reverse=True), sorted(asks.items())]
        if limit or rng.random() < 0.5:
            limit = limit or rng.choice([1, 2, 4, 8])
            sides = [side[:limit] for side in sides]
        if rng.random() < 0.1:
            sides = [side[: rng.choice([0, 1, 4])] for side in sides]
        if rng.random() < 0.2:  # wrong
            for side in sides:
                if side and rng.random() < 0.7:
                    side[rng.randrange(len(side))] = (self.price(), self.size())
        record: dict[str, Any] = {"lastUpdateId": min(max(update_id, 0), 10**18 - 1)}
        if self.style.timed_snapshots:
            record |= {"E": self.now // 10**6 + 1, "T": self.now // 10**6}
        if limit is None and rng.random() < self.style.labelled:
            record["symbol"] = self.symbol
        return record | {"bids": self.texts(sides[0]), "asks": self.texts(sides[1])}

    def partial(self) -> dict[str, Any]:
        """The best levels, as the market sends them in a stream."""
        record = self.snapshot(self.rng.choice([1, 3, 5]))
        if not self.style.futures:
            return record
        update = {"e": "depthUpdate", "E": self.now // 10**6, "s": self.symbol, "U": max(self.id - 1, 0)}
        update |= {"u": record["lastUpdateId"], "pu": max(self.id - 2, 0)}
        return update | {"b": record["bids"], "a": record["asks"]}

    def ticker(self) -> dict[str, Any]:
        """Best prices at some moment, mostly the last, mostly right."""
        rng = self.rng
        back = rng.choice([0, 0, 0, 1, 3])
        update_id, bids, asks = self.history[-1 - min(back, len(self.history) - 1)]
        if rng.random() < 0.1:
            update_id += rng.choice([-1, 1, 2])
        bid, ask = max(bids, default=0), min(asks, default=0)
        values = [bid, bids.get(bid, 0), ask, asks.get(ask, 0)]
        if rng.random() < 0.1:
            values[rng.randrange(4)] += 1
        texts = [self.text(min(value, 10**18 - 1), place % 2) for place, value in enumerate(values)]
        record = {"u": max(update_id, 0), "s": self.symbol} | dict(zip("bBaA", texts, strict=True))
        return {"e": "bookTicker"} | record if self.style.futures else record

    def trade(self) -> dict[str, Any]:
        """A trade, single or aggregated."""
        rng = self.rng
        time = self.tick_time() // 10**6
        aggregate = rng.random() < 0.3
        record: dict[str, Any] = {"e": "aggTrade" if aggregate else "trade", "E": time, "s": self.symbol}
        self.trades += rng.choice([-2, -1, 0, 0, 1, 1, 1, 1, 5])
        record["a" if aggregate else "t"] = self.trades
        record |= {"p": self.text(self.price(), 0), "q": self.text(self.size(), 1)}
        if rng.random() < self.style.said:
            record |= {"X": "MARKET"} if self.style.futures else {"M": True}
        return record | {"T": time - rng.choice([0, 1]), "m": rng.random() < 0.5}


def write_record(venue: Venue, record: dict[str, Any], stream: str = "") -> bytes:
    """A record as the collector writes it; of a stream that is named it is wrapped in any case."""
    style = venue.style
    if stream or (style.wrapped and "lastUpdateId" not in record):
        usual = {"depthUpdate": style.speeds[0], "trade": "trade", "aggTrade": "aggTrade"}.get(record.get("e", ""), "bookTicker")
        record = {"stream": f"{venue.symbol.lower()}@{stream or usual}", "data": record}
    text = json.dumps(record, separators=(", ", ": ") if style.spaces else (",", ":"))
    received = venue.now + venue.rng.choice([-1_250_000_000, 3_000_000])
    seconds, fraction = divmod(received, 10**9)
    prefix = {
        "none": "",
        "s": f"{seconds} ",
        "ms": f"{received // 10**6} ",
        "us": f"{received // 10**3} ",
        "ns": f"{received} ",
        "fraction": f"{seconds}.{fraction:09d} ".replace("000 ", " "),
        "colon": f"{seconds}.{fraction // 10**3:06d}: ",
    }[style.prefix]
    return (prefix + text).encode()


def odd_line(venue: Venue) -> bytes:
    """A line that is no message of this symbol."""
    rng = venue.rng
    return rng.choice(
        [
            b"",
            b"  \t",
            b"\x00\x00",
            b"\xff\xfe\xfd",
            b"nonsense",
            b"{",
            b"[]",
            b"7",
            b'"text"',
            b'{"result":null,"id":3}',
            b'{"e":"markPriceUpdate","E":1,"s":"BTCUSDT","p":"1"}',
            b'{"e":"kline","s":"XRPUSDT"}',
            b'{"e":5}',
            b'{"a":1}',
            b'{"stream":"x@y","data":[]}',
            b'{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":5,"bids":[],"asks":[]}}',
            b'{"stream":"xrpusdt@x","data":{"lastUpdateId":5,"bids":[],"asks":[]}}',
            b'{"e":"trade","E":1723161580000,"s":"ETHUSDT","t":1,"p":"1","q":"1","m":true}',
            b'{"e":"trade","E":1723161580000,"s":"BTCUSDT","t":1,"p":"1.0000000000000000001","q":"1","m":true}',
            b'{"e":"trade","E":1723161580000,"s":"BTCUSDT","t":1,"p":"99999999999999999999","q":"1","m":true}',
            b'{"e":"trade","E":1723161580000,"s":"BTCUSDT","t":-1,"p":"1","q":"1","m":true}',
            b'{"e":"trade","E":1e3,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
            b'{"e":"trade","E":1723161580000,"s":"BTCUSDT","t":1,"p":1.5,"q":"1","m":true}',
            b'{"e":"trade","E":99999999999,"s":"BTCUSDT","t":1000000000000000000,"p":"1","q":"1","m":true}',
            b'{"e":"depthUpdate","E":1723161580000,"s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}',
            b'{"e":"depthUpdate","E":1723161580000,"s":"BTCUSDT","U":1,"u":2,"b":[]}',
            b"12 {}",
            b"x" * rng.choice([50, 1100, 5000]),
            b" " * 2000,
        ]
    )


def beside(venue: Venue) -> dict[str, Venue]:
    """The symbol's other market, its `rpiDepth`, and another symbol, each with a book of its own."""
    rng, style = venue.rng, venue.style
    near = [venue.id, venue.id + 20, max(venue.id - 20, 0), venue.id // 2 + 7]
    venues = {
        "market": Venue(rng, replace(style, futures=not style.futures), rng.choice(near)),
        "rpi": Venue(rng, replace(style, futures=True), rng.choice(near)),
        "symbol": Venue(rng, style, rng.choice(near), symbol="ETHUSDT"),
    }
    for each in venues.values():
        each.change()
        each.history.append((each.id, dict(each.bids), dict(each.asks)))
    return venues


def other_line(venues: dict[str, Venue], now: int) -> bytes | None:
    """A line of what is beside the book, if one comes now."""
    style, rng = venues["symbol"].style, venues["symbol"].rng
    shares = {"market": style.other_market, "symbol": style.other_symbol, "rpi": style.rpi}
    for name, share in shares.items():
        if rng.random() >= share:
            continue
        venue = venues[name]
        venue.now = now
        if name == "rpi":
            return write_record(venue, venue.diff(), "rpiDepth@500ms")
        make = rng.choice([venue.diff, venue.diff, venue.snapshot, venue.snapshot, venue.ticker, venue.trade])
        return write_record(venue, make())
    return None


def next_lines(venue: Venue, snapshots: float, trouble: float) -> list[bytes]:
    """What the venue sends next; nothing if it was lost."""
    rng, style = venue.rng, venue.style
    if rng.random() < style.resets:
        venue.begin_anew()
    if rng.random() < style.partial:
        wrapped = style.wrapped or rng.random() < 0.8
        return [write_record(venue, venue.partial(), rng.choice(["depth5", "depth10@100ms"]) if wrapped else "")]
    if rng.random() < style.slow:
        return [write_record(venue, venue.slow_diff(), style.speeds[1])]
    chance = rng.random()
    if chance < snapshots:
        stream = rng.choice(["depth", "@"]) if style.wrapped and rng.random() < 0.2 else ""
        return [write_record(venue, venue.snapshot(), stream)]
    if chance < snapshots + 0.12:
        return [write_record(venue, venue.trade())]
    if chance < snapshots + 0.3:
        return [write_record(venue, venue.ticker())]
    record = venue.diff()
    if rng.random() < trouble:
        return []
    lines = [write_record(venue, record)]
    if rng.random() < 0.4:  # its ticker is sent before it, as on the real venue
        lines.insert(0, write_record(venue, venue.ticker()))
    return lines


def make_lines(rng: random.Random, length: int, signs: random.Random | None = None) -> tuple[list[bytes], Style]:
    """The lines of a capture. `signs` decides whether prices are negative; without it they are not."""
    style = Style.draw(rng)
    venue = Venue(rng, style, id=rng.choice([0, 5, 100, 10**18 - 10**6]))
    if signs is not None and signs.random() < 0.2:
        around_0, below_0 = (style.base_ticks + 20) * style.tick, (style.base_ticks + 6_000) * style.tick
        venue.below = min(signs.choice([around_0, around_0, below_0, below_0, 10**18 - 1]), 10**18 - 1)
    for _ in range(rng.choice([0, 3, 10])):
        venue.change()
    venue.history.append((venue.id, dict(venue.bids), dict(venue.asks)))
    others = beside(venue)
    trouble = rng.choice([0.0, 0.02, 0.1])
    snapshots = rng.choice([0.0, 0.02, 0.1, 0.2])
    lines: list[bytes] = []
    if rng.random() < 0.2:  # before anything else
        lines += [write_record(venue, venue.snapshot()) for _ in range(rng.choice([1, 2, 4, 18]))]
    if style.other_symbol and rng.random() < 0.3:  # another symbol's, which is believed at first
        others["symbol"].begin(venue.id + rng.choice([3, 50_000]))
        lines += [write_record(venue, others["symbol"].snapshot()), write_record(venue, others["symbol"].diff())]
    while len(lines) < length:
        if rng.random() < trouble:
            lines.append(odd_line(venue))
            continue
        other = other_line(others, venue.now)
        if other is not None:
            lines.append(other)
            continue
        for line in next_lines(venue, snapshots, trouble):
            # A REST answer may reach the capture before or behind its place.
            early = b'"lastUpdateId"' in line and rng.random() < 0.3
            lines.insert(max(0, len(lines) - rng.choice([1, 3, 8])) if early else len(lines), line)
        if lines and rng.random() < trouble / 2:
            lines.append(rng.choice(lines[-8:]))  # sent again
        if rng.random() < trouble / 2 and len(lines) > 2:
            lines[-1], lines[-2] = lines[-2], lines[-1]
    return lines, style


def make_capture(seed: int, length: int) -> Capture:
    """A capture that is a function of its arguments alone."""
    rng = random.Random(seed)
    lines, style = make_lines(rng, length, random.Random(f"signs {seed}"))
    is_filled = random.Random(f"fill {seed}").random() < 0.25  # with few points in a day
    settings = OracleSettings(
        price_decimals=style.decimals[0],
        size_decimals=style.decimals[1],
        max_line_bytes=rng.choice([1024, 1 << 20]),
        streams=rng.choice([OPTIONAL_STREAMS, OPTIONAL_STREAMS, OPTIONAL_STREAMS[:4], ("bbo",), ("frame",), ()]),
        book_levels=rng.choice([1, 3, 20]),
        book_interval_ns=max(rng.choice([10**6, 10**8, 10**9, 7 * 10**9]), 600 * 10**9 if is_filled else 0),
        book_fill=is_filled,
        part_events=rng.choice([1, 7, 50, 10**6]),
        part_interval_ns=rng.choice(_INTERVALS_NS),
        most_open_rows=random.Random(seed).choice([1, 2, 3, 8, 100_000, 100_000]),
        channel=rng.choice([""] * 7 + ["spot", "futures", random.Random(seed).choice(["rpi", "depth", "depth@100ms"])]),
    )
    ending = rng.choice([b"\n", b"\n", b"\r\n"])
    cuts = sorted(rng.choices(range(len(lines) + 1), k=rng.choice([0, 0, 1, 3])))
    files = []
    for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        content = ending.join(lines[start:end])
        if content and rng.random() < 0.8:
            content += ending
        files.append((b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + content)
    return Capture(files, settings)


captures = st.builds(make_capture, seed=st.integers(0, 2**48), length=st.integers(1, 120))
"""Captures of up to about 200 lines."""


def make_long_capture(seed: int) -> Capture:
    """More than 1,000 diffs that a witness waits for, or that are of another speed; some of them doubled, lost or stale."""
    rng = random.Random(seed)
    speeds, futures, length = ("depth@100ms", "depth@500ms"), rng.random() < 0.5, rng.choice([999, 1000, 1001, 1005, 1005])

    def record(number: int, speed: str) -> bytes:
        data = {"e": "depthUpdate", "E": START_NS // 10**6 + number, "s": "BTCUSDT", "U": number, "u": number}
        data |= {"pu": number - 1} if futures else {}
        data |= {"b": [[str(number % 7), str(number % 3)]] if rng.random() < 0.1 else [], "a": []}
        return json.dumps({"stream": f"btcusdt@{speed}", "data": data}).encode()

    def snapshot(number: int, levels: int) -> bytes:
        bids = [[str(price), "1"] for price in range(levels)]
        return f"{START_NS} ".encode() + json.dumps({"lastUpdateId": number, "bids": bids, "asks": []}).encode()

    lines = [snapshot(10, 5), record(11, speeds[0])]
    if rng.random() < 0.7:
        lines.append(snapshot(rng.choice([1000, 1011, 1012, 2000, 2000, 5000, 5000]), rng.choice([2, 9])))
    speed, first = rng.choice([(speeds[0], 12), (speeds[0], 13), (speeds[1], 500), (speeds[1], 500)])
    quiet = rng.random() < 0.5
    for number in range(first, first + length):
        lines.append(record(number, speed))
        if rng.random() < 0.002:
            lines.append(rng.choice([lines[-1], lines[-2], record(5, speeds[0]), record(11, speeds[0])]))
        if not quiet and rng.random() < 0.002:
            lines.append(snapshot(max(number + rng.choice([-400, -1, 0, 2, 3000]), 0), rng.choice([1, 5])))
    lines += [snapshot(first + rng.choice([-2, 5, length]), 3), record(first + length, speed), record(12, speeds[0])]
    return Capture([b"\n".join(lines)], OracleSettings(part_events=50))


def make_frozen_capture(seed: int) -> Capture:
    """A snapshot whose id is far ahead of about 1,000 diffs: too far for ever, or so that they reach it in the end."""
    rng = random.Random(seed)
    futures, labelled, untimed, name = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.2, "btcusdt@depth"
    lines: list[bytes] = []

    def write(data: dict[str, object], stream: str) -> bytes:
        return json.dumps({"stream": stream, "data": data}).encode()

    def diff(number: int, *, behind: int = 1, symbol: str = "BTCUSDT") -> bytes:
        data: dict[str, object] = {"e": "depthUpdate", "E": START_NS // 10**6 + number, "s": symbol, "U": number, "u": number}
        data |= {"pu": number - behind} if futures else {}
        data |= {"b": [[str(number % 7), str(number % 3)]] if rng.random() < 0.1 else [], "a": []}
        return write(data, name)

    def snapshot(number: int, levels: int) -> bytes:
        data: dict[str, object] = {"lastUpdateId": number, "bids": [[str(price), "1"] for price in range(levels)], "asks": []}
        data |= {"E": START_NS // 10**6 + number} if futures else {}
        record = write(data, "btcusdt@depth20") if labelled else json.dumps(data).encode()
        return record if untimed else f"{START_NS + rng.choice([0, 10**9])} ".encode() + record

    first = 11
    if rng.random() < 0.5:  # a book that stands, and a gap
        lines += [snapshot(10, 3), diff(11), diff(12)]
        first = rng.choice([13, 20, 20])
    ahead = first + rng.choice([900, 998, 999, 1000, 1001, 1003, 10**6, 10**6])
    lines.append(snapshot(ahead, rng.choice([0, 2, 9])))
    trouble = rng.choice([0.0, 0.002, 0.01])
    for number in range(first, first + rng.choice([997, 999, 1000, 1001, 1020, 2010])):
        lines.append(diff(number, behind=2 if rng.random() < trouble else 1))
        if rng.random() < trouble:
            lines.append(rng.choice([lines[-1], lines[-2], diff(rng.randrange(9, 14)), diff(number + 1, symbol="ETHUSDT")]))
        if rng.random() < trouble:
            lines.append(snapshot(number + rng.choice([-5, 0, 1, 4, 10**5]), rng.choice([1, 9, 10])))
    last = number
    if rng.random() < 0.5:
        lines.append(snapshot(last + rng.choice([-5, 0, 3]), 4))
    lines += [diff(number) for number in range(last + 1, last + rng.choice([5, 30]))]
    return Capture([b"\n".join(lines)], OracleSettings(part_events=50))
