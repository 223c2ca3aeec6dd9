"""Captures in which the rules collide: few ids, few prices, snapshots and tickers around every edge, mangled text.

Where `generated_captures` is a plausible venue with trouble on the way, this is trouble: ids come from a window of a few,
so that stale, joining, equal and missing ones meet all the time, and `oddity` says how often a record's text is mangled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from support.generated_captures import Capture
from support.oracle import OPTIONAL_STREAMS, OracleSettings

START_NS = 1_723_161_580 * 10**9  # shortly before midnight
MS = 10**6
LARGEST = 10**18 - 1

Record = dict[str, Any]
Levels = list[tuple[int, int]]

# What a value of the wrong type, form or size may be.
_VALUES: list[Any] = [None, True, -1, 1.5, "1", "x", "", [], {}, [["1"]], [["1", 1]], ["11"], {"1": "2"}, [["1", "1", "1"]]]
_VALUES += [0, LARGEST, LARGEST + 1, 10**30]
_NUMERALS = ["1e3", "-1", "+1", "", ".", "1.", ".5", "1 ", "1.0000000000000000000", "0.0000000000000000001", "9" * 40]
_TIMES = [0, 10**11 - 1, 10**11, 10**14 - 1, 10**14, 10**17 - 1, 10**17, 2**63 - 1, 2**63, 9223372036, 9223372037]
_TIMES += [9223372036854, 9223372036855]
_LEVELS: list[Any] = [["1", "1", None], ["1"], [], [1, "1"], ["1", "x"], ["0", "0"], ["1" * 30, "1"], "12", None]
_STREAMS: list[Any] = ["ethusdt@x", "nope", "", "@x", "btcusdt@depth5", "btcusdt@depth20@100ms", "BtcUsdt@a@b", 3, None]
_PREFIXES = ["0", "007", "1.", ".5", "-1", "1e3", "9" * 20, "9223372036854775807", "9223372036854775808", "1" * 70, "0.0"]
_PREFIXES += ["9223372036.854775807", "9223372036.854775808", "100000000000.5", "1.5.5", "1::", "99999999999", "\u0661"]
_DOUBLED = [',"u":1}', ',"e":"trade"}', ',"s":"BTCUSDT"}', ',"b":[]}', ',"E":5}', ',"data":{}}']
_BYTES = [b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x1f", b"\\", b'"', b"", b"\r", b"\xe2\x82"]
_LINES = [b"", b" ", b"\t ", b"\r", b"\x00" * 7, b"{}", b"[]", b"null", b"1 ", b"1 {}", b"1 1", b"NaN", b"nan", b"{" * 200]
_LINES += [b'{"result":null}', b'{"error":1,"e":"x"}', b'{"e":"\\ud800"}', b'{"result":"\\ud83d\\ude00"}', b'{"result":-0}']
_LINES += [b'{"result":1e999}', b'{"result":01}', b"\xef\xbb\xbf{}", b"[" * 60 + b"]" * 60, b" " * 400, b"x" * 400]


@dataclass
class HostileVenue:
    """A book over a dozen prices, and records about it of which many are wrong."""

    rng: random.Random
    decimals: tuple[int, int]
    futures: bool
    base_id: int
    base_price: int
    step: int
    untimed: float
    below: int = 0  # so much lower are all prices that it writes
    now: int = START_NS
    id: int = 0
    book: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))

    @classmethod
    def draw(cls, rng: random.Random) -> HostileVenue:
        """One of many."""
        base_id = rng.choice([0, 1, 3, 1000, LARGEST - 60])
        decimals = rng.choice([(8, 8), (8, 8), (0, 0), (2, 1), (18, 18), (1, 17)])
        base_price = rng.choice([0, 0, LARGEST - 30, 10**6])
        venue = cls(rng, decimals, rng.random() < 0.5, base_id, base_price, rng.choice([1, 1, 7, 10**3]), rng.random())
        venue.id = base_id
        return venue

    def any_id(self) -> int:
        """An id of the window."""
        return min(self.base_id + self.rng.randrange(14), LARGEST)

    def tick(self) -> int:
        """The clock goes on, stands, or jumps."""
        self.now += self.rng.choice([0, 0, 1, 50, 400, 1000, 1000]) * MS
        if self.rng.random() < 0.05:
            self.now += self.rng.choice([-1, 1]) * self.rng.choice([1, 30, 3600, 90_000]) * 10**9
        return self.now

    def time(self, ns: int) -> int:
        """A time in one of the units."""
        return ns // self.rng.choice([MS, MS, MS, 1000, 1, 10**9])

    def text(self, value: int, which: int) -> str:
        """A numeral of a price (0) or size (1): full, short, or with needless zeros."""
        rng, decimals = self.rng, self.decimals[which]
        value -= 0 if which else self.below
        sign, value = "-" if value < 0 else "", abs(value)
        text = str(value)
        if decimals:
            whole, fraction = divmod(value, 10**decimals)
            text = f"{whole}.{fraction:0{decimals}d}"
            if rng.random() < 0.3:
                text = text.rstrip("0").rstrip(".")
            elif rng.random() < 0.05:
                text += "0" * rng.choice([1, 5, 30])
        return sign + ("0" * rng.choice([1, 3, 25]) if rng.random() < 0.03 else "") + text

    def levels(self, counts: list[int]) -> Levels:
        """Levels over few prices, of which many are of size 0."""
        rng = self.rng
        sizes = [0, 0, 1, 2, LARGEST, rng.randrange(10**12)]
        prices = [min(self.base_price + place * self.step, LARGEST) for place in range(9)]
        return [(rng.choice(prices), rng.choice(sizes)) for _ in range(rng.choice(counts))]

    def texts(self, levels: Levels) -> list[list[Any]]:
        """Levels as a record has them, sometimes with a further element."""
        rng = self.rng
        return [[self.text(price, 0), self.text(size, 1), *(["x"] if rng.random() < 0.01 else [])] for price, size in levels]

    def diff(self) -> tuple[Record, str]:
        """Mostly the next diff, else one of any ids; sometimes one is left out before the next."""
        rng = self.rng
        sides = self.levels([0, 1, 1, 2, 3]), self.levels([0, 1, 1, 2])
        first, last, prev = self.any_id(), self.any_id(), self.any_id()
        if rng.random() < 0.8:
            prev = self.id
            first = prev + 1 + (rng.randrange(3) if self.futures else 0)
            last = first + rng.choice([0, 0, 1, 2])
            self.id = last
            for side, levels in zip(self.book, sides, strict=True):
                side.update(levels)
        if rng.random() < 0.07:
            self.id += rng.randrange(3)
        record = {"e": "depthUpdate", "E": self.time(self.tick()), "U": first, "u": last}
        record |= {"b": self.texts(sides[0]), "a": self.texts(sides[1])}
        if self.futures != (rng.random() < 0.02):
            record["pu"] = prev
        if self.futures and rng.random() < 0.9:
            record["T"] = self.time(self.now - rng.choice([0, MS]))
        return record, "depth@100ms"

    def snapshot(self) -> tuple[Record, str]:
        """A snapshot around the last id, right or not, with a time or without."""
        rng = self.rng
        last = max(0, self.id + rng.choice([0, 0, 0, 0, -1, -2, -3, 1, 2])) if rng.random() < 0.9 else self.any_id()
        if last > self.id and rng.random() < 0.5:
            self.id = last
        sides = [list(side.items()) for side in self.book]
        if rng.random() < 0.5:
            sides = [self.levels([0, 1, 3, 6]) for _ in range(2)]
        record: Record = {"lastUpdateId": last, "bids": self.texts(sides[0]), "asks": self.texts(sides[1])}
        if rng.random() > self.untimed:
            record["E"] = self.time(self.now)
        if rng.random() < ("E" in record) / 2 + 0.01:
            record["T"] = self.time(self.now)
        if rng.random() < 0.1:
            record["symbol"] = "BTCUSDT"
        return record, "depth"

    def trade(self) -> tuple[Record, str]:
        """A trade, single or aggregated."""
        rng = self.rng
        aggregate = rng.random() < 0.5
        ((price, size),) = self.levels([1])
        record = {"e": "aggTrade" if aggregate else "trade", "E": self.time(self.tick()), "m": rng.random() < 0.5}
        record |= {"a" if aggregate else "t": self.any_id(), "p": self.text(price, 0), "q": self.text(size, 1)}
        if rng.random() < 0.5:
            record["T"] = self.time(self.now)
        return record, "trade"

    def ticker(self) -> tuple[Record, str]:
        """A ticker at or around the last id, mostly right for it."""
        rng = self.rng
        last = max(0, self.id + rng.choice([0, 0, 0, 0, 1, 1, 2, 3, -1])) if rng.random() < 0.9 else self.any_id()
        bids, asks = ({price: size for price, size in side.items() if size} for side in self.book)
        bid, ask = max(bids, default=0), min(asks, default=0)
        pairs = [(bid, bids.get(bid, 0)), (ask, asks.get(ask, 0))]
        if rng.random() < 0.3:
            pairs[rng.randrange(2)] = self.levels([1])[0]
        names = zip(("b", "B", "a", "A"), (value for pair in pairs for value in pair), (0, 1, 0, 1), strict=True)
        record: Record = {"u": last} | {name: self.text(value, which) for name, value, which in names}
        return (record | {"e": "bookTicker"} if rng.random() < 0.5 else record), "bookTicker"


@dataclass
class HostileWriter:
    """Puts records into lines, in the collector's style, and mangles some of them."""

    rng: random.Random
    oddity: float
    prefix: str
    wrapped: str

    def chance(self, share: float = 1.0) -> bool:
        """Whether something odd happens here."""
        return self.rng.random() < self.oddity * share

    def mangle(self, record: Record) -> Record:
        """Change what a record says."""
        rng = self.rng
        place = rng.choice(list(record))
        side = rng.choice(["b", "a", "bids", "asks"])
        levels = record[side] if isinstance(record.get(side), list) else []
        changes: list[Callable[[], Record]] = [
            lambda: {key: value for key, value in record.items() if key != place},
            lambda: record | {place: rng.choice(_VALUES)},
            lambda: record | {rng.choice(["b", "p", "A"]): rng.choice(_NUMERALS)},
            lambda: record | {"s": rng.choice(["BTCUSDT", "ETHUSDT", "btcusdt", 5, None])},
            lambda: record | {"symbol": rng.choice(["BTCUSDT", "ETHUSDT", 1])},
            lambda: record | {"extra": rng.choice(["}", '\\"', "\n", {"e": "trade"}, [1, [2]], 1e300, "\U0001f600"])},
            lambda: record | {"e": rng.choice(["kline", "depthUpdate", "trade", "bookTicker", 7, None, "aggTrade"])},
            lambda: record | {rng.choice(["pu", "T", "E", "u", "U"]): rng.choice(_TIMES)},
            lambda: record | {rng.choice(["result", "error"]): None},
            lambda: record | {"m": rng.choice([0, 1, None, "true"])},
            lambda: record | {side: [*levels, rng.choice(_LEVELS)]},
        ]
        return rng.choice(changes)()

    def wrap(self, record: Record, stream: str) -> Any:
        """A record in a wrapper, which may be odd too."""
        rng = self.rng
        name: Any = rng.choice(_STREAMS) if self.chance() else f"btcusdt@{stream}"
        wrapper: Record = {"stream": name, "data": record}
        if rng.random() < 0.1:
            wrapper = {"data": record, "stream": name, "x": 1}
        if self.chance(0.3):
            return rng.choice([{"stream": "btcusdt@x", "data": wrapper}, {"stream": "a@b", "data": [record]}, [wrapper]])
        return wrapper

    def received(self, now: int) -> str:
        """A receive time with what parts it from the record."""
        rng = self.rng
        ns = now + rng.choice([-1250, 3, 10]) * MS
        style = rng.choice(["none", "s", "ms", "us", "ns", "fraction"]) if self.prefix == "mixed" else self.prefix
        tail = rng.choice(["", "", "999", "9" * 20])
        text = {
            "none": "",
            "s": str(ns // 10**9),
            "ms": str(ns // MS),
            "us": str(ns // 1000),
            "ns": str(ns),
            "fraction": f"{ns // 10**9}.{ns % 10**9:09d}{tail}"[: rng.choice([12, 15, 17, 40])],
        }[style]
        if self.chance(0.3):
            text = rng.choice(_PREFIXES)
        if not text:
            return ""
        return text + (rng.choice(["", "  ", " \t", " : ", ":", " :"]) if self.chance(0.3) else rng.choice([" ", " ", ": "]))

    def line(self, record: Record, stream: str, now: int) -> bytes:
        """The line of a record, without a terminator."""
        rng = self.rng
        if "lastUpdateId" not in record and rng.random() < 0.9:
            record = record | {"s": "BTCUSDT"}
        if self.chance():
            record = self.mangle(record)
        if rng.random() < 0.1:
            record = dict(rng.sample(list(record.items()), len(record)))
        value: Any = record
        if self.wrapped == "yes" or (self.wrapped == "mixed" and rng.random() < 0.5):
            value = self.wrap(record, stream)
        separators = (",", ":") if rng.random() < 0.95 else (" , ", " : ")
        text = json.dumps(value, separators=separators, ensure_ascii=rng.random() < 0.5)
        if self.chance(0.3) and text.endswith("}"):
            text = text[:-1] + rng.choice(_DOUBLED)
        if self.chance(0.3):
            text = rng.choice(["%s ", "\t%s", " %s", "%s\r", "%s}", "%s,", "%s x", "\ufeff%s"]) % text
        line = (self.received(now) + text).encode("utf-8", "surrogatepass")
        if self.chance(0.3):
            place = rng.randrange(len(line))
            line = line[:place] + rng.choice(_BYTES) + line[place + rng.choice([0, 1]) :]
        return line.replace(b"\n", b" ")


def hostile_lines(
    rng: random.Random, length: int, oddity: float, signs: random.Random | None = None
) -> tuple[list[bytes], HostileVenue]:
    """The lines of a capture: about `length` records, some of them doubled, swapped or mangled.

    `signs` decides whether prices are negative; without it they are not.
    """
    venue = HostileVenue.draw(rng)
    if signs is not None and signs.random() < 0.2:
        venue.below = min(venue.base_price + signs.choice([4 * venue.step, 4 * venue.step, 10**4, LARGEST]), LARGEST)
    prefix = rng.choice(["none", "none", "none", "s", "ms", "us", "ns", "fraction", "mixed"])
    writer = HostileWriter(rng, oddity, prefix, rng.choice(["no", "no", "yes", "mixed"]))
    kinds = [venue.diff, venue.ticker, venue.snapshot, venue.trade]
    lines: list[bytes] = []
    for number in range(length):
        # Snapshots and tickers before anything else are where most of the rules are.
        weights = [60, 18, 12, 10] if number >= 5 else [35, 20, 40, 5]
        record, stream = rng.choices(kinds, weights)[0]()
        lines.append(writer.line(record, stream, venue.now))
        if rng.random() < 0.03:
            lines.append(rng.choice(lines[-6:]))
        if rng.random() < 0.05 and len(lines) > 1:
            lines[-1], lines[-2] = lines[-2], lines[-1]
        if writer.chance():
            lines.append(rng.choice(_LINES))
    return lines, venue


def make_hostile_capture(seed: int, length: int, oddity: float = 0.03) -> Capture:
    """A capture that is a function of its arguments alone; without `oddity` (0 to 1) all its text is good."""
    rng = random.Random(seed)
    lines, venue = hostile_lines(rng, length, oddity, random.Random(f"signs {seed}"))
    is_filled = random.Random(f"fill {seed}").random() < 0.25  # with few points in a day
    settings = OracleSettings(
        price_decimals=venue.decimals[0],
        size_decimals=venue.decimals[1],
        on_gap=rng.choice(["continue"] * 7 + ["halt"]),
        max_line_bytes=rng.choice([300, 1 << 20, 1 << 20]),
        streams=rng.choice([OPTIONAL_STREAMS, OPTIONAL_STREAMS, OPTIONAL_STREAMS, ("book",), ("depth", "bbo"), ()]),
        book_levels=rng.choice([1, 2, 20]),
        book_interval_ns=max(rng.choice([1, 10**6, 10**8, 10**9, 10**10]), 600 * 10**9 if is_filled else 0),
        book_fill=is_filled,
        part_events=rng.choice([1, 2, 5, 20, 10**6]),
        part_interval_ns=rng.choice([1, 60, 3600, 86_400]) * 10**9,
        most_open_rows=random.Random(seed).choice([1, 2, 3, 8, 100_000, 100_000]),
    )
    ending = rng.choice([b"\n", b"\n", b"\r\n"])
    cuts = sorted(rng.choices(range(len(lines) + 1), k=rng.choice([0, 1, 3])))
    files = []
    for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        content = ending.join(lines[start:end])
        if content:
            content += rng.choice([ending, ending, ending, ending, b"", b"\r"])
        files.append((b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + content)
    return Capture(files, settings)


hostile_captures = st.builds(
    make_hostile_capture,
    seed=st.integers(0, 2**48),
    length=st.integers(1, 120),
    oddity=st.sampled_from([0.0, 0.03, 0.2]),
)
"""Captures of up to about 250 lines; a few of them halt at a gap."""
