"""Captures as they come in practice and as they never should, for comparing cowbook with the oracle.

A small venue keeps a true book and sends diffs, snapshots, trades and tickers about it; on the way into the capture these are
lost, doubled, swapped, delayed and damaged.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from support.oracle import OracleSettings

START_NS = 1_723_161_580 * 10**9  # shortly before midnight
_INTERVALS_NS = (10**9, 10 * 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9)


@dataclass(frozen=True)
class Capture:
    """Files, by content, and the settings to read them with."""

    files: list[bytes]
    settings: OracleSettings


@dataclass
class Style:
    """How a collector writes."""

    futures: bool
    wrapped: bool
    prefix: str  # none, s, ms, us, ns, fraction, colon
    spaces: bool
    decimals: tuple[int, int]
    base_ticks: int
    tick: int
    timed_snapshots: bool

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        """One of many."""
        decimals = rng.choice([(8, 8), (8, 8), (2, 3), (0, 0), (10, 4), (18, 18)])
        highest = 10 ** (18 - decimals[0]) * 10 ** decimals[0]
        tick = rng.choice([1, 10, 50, 10 ** (decimals[0] // 2)])
        base = rng.choice([0, 40, 6_000, 10**9])
        return cls(
            futures=rng.random() < 0.5,
            wrapped=rng.random() < 0.5,
            prefix=rng.choice(["none", "none", "s", "ms", "us", "ns", "ns", "fraction", "colon"]),
            spaces=rng.random() < 0.1,
            decimals=decimals,
            base_ticks=min(base, highest // tick // 2),
            tick=tick,
            timed_snapshots=rng.random() < 0.4,
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
        time = self.tick_time() // 10**6
        record: dict[str, Any] = {"e": "depthUpdate", "E": time + rng.choice([0, 3])}
        if self.style.futures:
            record["T"] = time
        record |= {"s": "BTCUSDT", "U": first, "u": last}
        if self.style.futures:
            record["pu"] = previous
        return record | {"b": self.texts(bids), "a": self.texts(asks)}

    def texts(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        """Levels as a venue writes them."""
        return [[self.text(price, 0), self.text(size, 1)] for price, size in levels]

    def text(self, value: int, which: int) -> str:
        """A numeral: with all decimals, or as short as can be."""
        decimals = self.style.decimals[which]
        if not decimals:
            return str(value)
        whole, fraction = divmod(value, 10**decimals)
        text = f"{whole}.{fraction:0{decimals}d}"
        return text.rstrip("0").rstrip(".") if self.rng.random() < 0.3 else text

    def snapshot(self) -> dict[str, Any]:
        """A depth snapshot of some moment, mostly right."""
        rng = self.rng
        back = rng.choice([0, 0, 0, 1, 2, 5])
        update_id, bids, asks = self.history[-1 - min(back, len(self.history) - 1)]
        if rng.random() < 0.15:
            update_id += rng.choice([-1, 1, 3])
        sides = [sorted(bids.items(), reverse=True), sorted(asks.items())]
        if rng.random() < 0.2:
            sides = [side[: rng.choice([0, 1, 4])] for side in sides]
        if rng.random() < 0.2:  # wrong
            for side in sides:
                if side and rng.random() < 0.7:
                    side[rng.randrange(len(side))] = (self.price(), self.size())
        record: dict[str, Any] = {"lastUpdateId": max(update_id, 0)}
        if self.style.timed_snapshots:
            record |= {"E": self.now // 10**6 + 1, "T": self.now // 10**6}
        return record | {"bids": self.texts(sides[0]), "asks": self.texts(sides[1])}

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
        record = {"u": max(update_id, 0), "s": "BTCUSDT"} | dict(zip("bBaA", texts, strict=True))
        return {"e": "bookTicker"} | record if self.style.futures else record

    def trade(self) -> dict[str, Any]:
        """A trade, single or aggregated."""
        rng = self.rng
        time = self.tick_time() // 10**6
        aggregate = rng.random() < 0.3
        record: dict[str, Any] = {"e": "aggTrade" if aggregate else "trade", "E": time, "s": "BTCUSDT"}
        record["a" if aggregate else "t"] = rng.randrange(10**9)
        record |= {"p": self.text(self.price(), 0), "q": self.text(self.size(), 1)}
        return record | {"T": time - rng.choice([0, 1]), "m": rng.random() < 0.5}


def write_record(venue: Venue, record: dict[str, Any]) -> bytes:
    """A record as the collector writes it."""
    style = venue.style
    is_snapshot = "lastUpdateId" in record
    if style.wrapped and not is_snapshot:
        stream = {"depthUpdate": "depth@100ms", "trade": "trade", "aggTrade": "aggTrade"}.get(record.get("e", ""), "bookTicker")
        record = {"stream": f"{record.get('s', 'BTCUSDT').lower()}@{stream}", "data": record}
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


def make_lines(rng: random.Random, length: int) -> tuple[list[bytes], Style]:
    """The lines of a capture."""
    style = Style.draw(rng)
    venue = Venue(rng, style, id=rng.choice([0, 5, 100, 10**18 - 10**6]))
    for _ in range(rng.choice([0, 3, 10])):
        venue.change()
    venue.history.append((venue.id, dict(venue.bids), dict(venue.asks)))
    trouble = rng.choice([0.0, 0.02, 0.1])
    snapshots = rng.choice([0.0, 0.02, 0.1])
    lines: list[bytes] = []
    while len(lines) < length:
        if rng.random() < trouble:
            lines.append(odd_line(venue))
            continue
        chance = rng.random()
        if chance < snapshots:
            record = venue.snapshot()
        elif chance < snapshots + 0.12:
            record = venue.trade()
        elif chance < snapshots + 0.3:
            record = venue.ticker()
        else:
            record = venue.diff()
            if rng.random() < trouble:
                continue  # lost
            if rng.random() < 0.4:  # its ticker is sent before it, as on the real venue
                lines.append(write_record(venue, venue.ticker()))
        lines.append(write_record(venue, record))
        if rng.random() < trouble / 2:
            lines.append(rng.choice(lines[-8:]))  # sent again
        if rng.random() < trouble / 2 and len(lines) > 2:
            lines[-1], lines[-2] = lines[-2], lines[-1]
    return lines, style


def make_capture(seed: int, length: int) -> Capture:
    """A capture that is a function of its arguments alone."""
    rng = random.Random(seed)
    lines, style = make_lines(rng, length)
    settings = OracleSettings(
        price_decimals=style.decimals[0],
        size_decimals=style.decimals[1],
        max_line_bytes=rng.choice([1024, 1 << 20]),
        streams=rng.choice([("depth", "trades", "bbo", "book"), ("depth", "trades", "bbo", "book"), ("bbo",), ()]),
        book_levels=rng.choice([1, 3, 20]),
        book_interval_ns=rng.choice([10**6, 10**8, 10**9, 7 * 10**9]),
        part_events=rng.choice([1, 7, 50, 10**6]),
        part_interval_ns=rng.choice(_INTERVALS_NS),
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
