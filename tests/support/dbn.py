"""Makes Databento's files with its own library, from a random book of one instrument among others."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

databento_dbn: Any = pytest.importorskip("databento_dbn", reason="needs the extra cowbook[databento]")

START = 1_700_000_000_000_000_000
"""A time in ns on 14 November 2023."""
NUMBER, OTHER_NUMBER = 17, 18
LAST = 128
"""F_LAST: an event ends here."""
UNDEFINED = databento_dbn.UNDEF_PRICE


@dataclass
class Interval:
    """Some days of a mapping."""

    start_date: dt.date
    end_date: dt.date
    symbol: str


@dataclass
class Mapping:
    """What a symbol that was asked for means."""

    raw_symbol: str
    intervals: list[Interval]


MAPPINGS = (
    Mapping("ESZ3", [Interval(dt.date(2023, 11, 1), dt.date(2023, 12, 1), str(NUMBER))]),
    Mapping("NQZ3", [Interval(dt.date(2023, 11, 1), dt.date(2023, 12, 1), str(OTHER_NUMBER))]),
)


def metadata(schema: str | None, mappings: tuple[Mapping, ...] = MAPPINGS, **more: Any) -> bytes:
    """What stands in front of the records."""
    own = databento_dbn
    known = own.Schema.from_str(schema) if schema is not None else None
    kinds = {"stype_in": own.SType.RAW_SYMBOL, "stype_out": own.SType.INSTRUMENT_ID} | more
    symbols = [each.raw_symbol for each in mappings]
    made = own.Metadata("GLBX.MDP3", START, schema=known, symbols=symbols, mappings=list(mappings), **kinds)
    return bytes(made)


def pairs_of(bids: dict[int, int], asks: dict[int, int], depth: int) -> list[Any]:
    """The best levels of a book of sizes by price in 1e-9, as a record has them: undefined where there is none."""
    nothing = [(UNDEFINED, 0)] * depth
    best = [(sorted(bids.items(), reverse=True) + nothing)[:depth], (sorted(asks.items()) + nothing)[:depth]]
    return [
        databento_dbn.BidAskPair(bid, ask, bid_size, ask_size, bool(bid_size), bool(ask_size))
        for (bid, bid_size), (ask, ask_size) in zip(*best, strict=True)
    ]


def record(
    schema: str, time: int, action: str, side: str, price: int, size: int, flags: int, pairs: list[Any], **more: Any
) -> bytes:
    """One record. `time` is that of the event in ns; it was received 700 ns later."""
    own = databento_dbn
    common: dict[str, Any] = {"publisher_id": 1, "instrument_id": NUMBER, "ts_event": time, "ts_recv": time + 700} | more
    common |= {"price": price, "size": size, "action": own.Action.from_str(action), "side": own.Side.from_str(side)}
    common |= {"flags": flags, "depth": 0}
    if schema == "trades":
        return bytes(own.TradeMsg(**common))
    kind = own.MBP10Msg if schema == "mbp-10" else own.MBP1Msg
    return bytes(kind(**common, levels=pairs if schema == "mbp-10" else pairs[0]))


@dataclass
class Made:
    """A file, and what is to come out of it by a count of its own: the best levels after each event, and the trades."""

    content: bytes
    pictures: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]] = field(default_factory=list)
    """Time in ns, bids and asks, best first; prices in 1e-9."""
    trades: list[tuple[int, int, int, str]] = field(default_factory=list)
    """Time in ns, price in 1e-9, size, the aggressor's side."""


def make(schema: str, seed: int, count: int, *, lowest: int = 4_500 * 10**9) -> Made:
    """A random book: events of one to three records, of which the last one has F_LAST; a quarter is of another instrument."""
    rng = random.Random(seed)
    tick, time, depth = 250_000_000, START, 10 if schema == "mbp-10" else 1
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    made = Made(metadata(schema))
    pieces = [made.content]
    for _ in range(count):
        time += rng.randrange(1, 10**9)
        is_other = rng.random() < 0.25
        steps = rng.randint(1, 3)
        for step in range(steps):
            flags = 128 if step == steps - 1 else 0
            side = rng.choice("AB")
            price = lowest + tick * (rng.randrange(20) + (20 if side == "A" else 0))
            size = rng.randint(1, 900)
            is_trade = schema == "trades" or rng.random() < 0.2
            action = "T" if is_trade else "A"
            if is_other:
                pairs = pairs_of({price: 1}, {}, depth)
                pieces.append(record(schema, time, action, side, price, size, flags, pairs, instrument_id=OTHER_NUMBER))
                continue
            if is_trade:
                made.trades.append((time, price, size, "sell" if side == "A" else "buy"))
            else:
                book = asks if side == "A" else bids
                if price in book and rng.random() < 0.6:
                    del book[price]
                else:
                    book[price] = size
            pairs = pairs_of(bids, asks, depth)
            pieces.append(record(schema, time, action, side, price, size, flags, pairs))
            if flags and schema != "trades":
                best = sorted(bids.items(), reverse=True)[:depth], sorted(asks.items())[:depth]
                made.pictures.append((time, *best))
    made.content = b"".join(pieces)
    return made
