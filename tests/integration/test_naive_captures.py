"""Recorded captures of venues, rebuilt line by line with plain dictionaries: the same books, and the same counts.

Nothing of cowbook is used to read them here: each venue's rule is a few lines.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cowbook import OrderBookEngine, replay

Side = dict[Decimal, Decimal]


@dataclass
class Naive:
    """One symbol's book, and what became of the records."""

    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    last: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    newest: dict[tuple[str, Decimal], int] = field(default_factory=dict)
    price_decimals: int = 0
    size_decimals: int = 0

    def put(self, side: str, price: Any, size: Any) -> None:
        """Set a level."""
        levels, key, value = getattr(self, side), Decimal(price), Decimal(size)
        self.price_decimals = max(self.price_decimals, -int(key.as_tuple().exponent))
        self.size_decimals = max(self.size_decimals, -int(value.as_tuple().exponent))
        if value:
            levels[key] = value
        else:
            levels.pop(key, None)

    def set_book(self, bids: list[Any], asks: list[Any], last: int | None = None) -> None:
        """Replace the book."""
        self.bids, self.asks, self.last = {}, {}, last
        for side, levels in (("bids", bids), ("asks", asks)):
            for price, size in levels:
                self.put(side, price, size)
        self.counts["snapshots"] += 1

    def diff(self, first: int, last: int, bids: list[Any], asks: list[Any]) -> None:
        """A diff whose ids have no holes; without `first` they only rise."""
        assert self.last is not None
        if last <= self.last:
            self.counts["stale"] += 1
            return
        assert first <= self.last + 1
        for side, levels in (("bids", bids), ("asks", asks)):
            for price, size in levels:
                self.put(side, price, size)
        self.last = last
        self.counts["diffs"] += 1


Books = dict[str, Naive]


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Address of an answer, and the record, of each line that a venue sent."""
    for line in path.read_text().splitlines():
        head, _, text = line.partition(": ")
        address = head.partition(" -> ")[0] if head.startswith("http") else ""
        if (address or head[:1].isdigit()) and text[:1] == "{":
            yield address, json.loads(text, parse_float=Decimal)


def gateio(data: Path) -> Books:
    """Snapshots by address, then updates."""
    books: Books = {}
    for address, record in records(data / "GATEIO.http.0.0"):
        books[address.partition("currency_pair=")[2].partition("&")[0]] = book = Naive()
        book.set_book(record["bids"], record["asks"], record["id"])
    for _, record in records(data / "GATEIO.ws.1.0"):
        result = record["result"]
        if record["channel"] == "spot.order_book_update" and record["event"] == "update":
            books[result["s"]].diff(result["U"], result["u"], result["b"], result["a"])
        if record["channel"] == "spot.trades" and record["event"] == "update" and result["currency_pair"] in books:
            books[result["currency_pair"]].counts["trades"] += 1
    return books


def kucoin(data: Path) -> Books:
    """As Gate.io; a change has a number of its own, and one of the price 0 is none. A ticker is of the book with its number."""
    books: Books = {}
    for address, record in records(data / "KUCOIN.http.0.0"):
        books[address.partition("symbol=")[2]] = book = Naive()
        book.set_book(record["data"]["bids"], record["data"]["asks"], int(record["data"]["sequence"]))
    waiting: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _, record in records(data / "KUCOIN.ws.1.0"):
        name = record.get("topic", "").partition(":")[2]
        found, subject = record.get("data", {}), record.get("subject")
        if subject == "trade.l3match":
            books[name].counts["trades"] += 1
        if subject == "trade.ticker":
            waiting.setdefault((name, int(found["sequence"])), []).append(found)
        if subject == "trade.l2update":
            sides = [sorted(found["changes"][side], key=lambda each: int(each[2])) for side in ("bids", "asks")]
            levels = [[change[:2] for change in side if change[0] != "0"] for side in sides]
            books[name].diff(found["sequenceStart"], found["sequenceEnd"], *levels)
        if subject in ("trade.ticker", "trade.l2update"):
            book = books[name]
            assert book.last is not None
            for ticker in waiting.pop((name, book.last), []):
                bid, ask = max(book.bids), min(book.asks)
                best = [bid, book.bids[bid], ask, book.asks[ask]]
                assert best == [Decimal(ticker[key]) for key in ("bestBid", "bestBidSize", "bestAsk", "bestAskSize")]
                book.counts["tickers"] += 1
    return books


def bitstamp(data: Path) -> Books:
    """Ids are times."""
    books: Books = {}
    for address, record in records(data / "BITSTAMP.http.0.0"):
        books[address.rpartition("/")[2]] = book = Naive()
        book.set_book(record["bids"], record["asks"], int(record["microtimestamp"]))
    for _, record in records(data / "BITSTAMP.ws.1.0"):
        name = record.get("channel", "").rpartition("_")[2]
        if record["event"] == "trade":
            books[name].counts["trades"] += 1
        if record["event"] == "data":
            time = int(record["data"]["microtimestamp"])
            books[name].diff(0, time, record["data"]["bids"], record["data"]["asks"])
    return books


def bitmex(data: Path) -> Books:
    """Levels are known by their ids."""
    books: Books = {}
    prices: dict[tuple[str, int], Decimal] = {}
    for _, record in records(data / "BITMEX.ws.1.0"):
        if record.get("table") == "trade" and record["action"] == "insert":
            for row in record["data"]:
                books[row["symbol"]].counts["trades"] += 1
        if record.get("table") == "trade" and record["action"] == "partial":
            books.setdefault(record["filter"]["symbol"], Naive())
        if record.get("table") != "orderBookL2":
            continue
        for row in record["data"]:
            if "price" in row:
                prices[row["symbol"], row["id"]] = Decimal(row["price"])
        levels: dict[str, list[Any]] = {"Buy": [], "Sell": []}
        for row in record["data"]:
            levels[row["side"]].append([prices[row["symbol"], row["id"]], row.get("size", 0)])
        book = books.setdefault(record["data"][0]["symbol"], Naive())
        if record["action"] == "partial":
            book.set_book(levels["Buy"], levels["Sell"], 0)
        else:
            assert book.last is not None
            book.diff(0, book.last + 1, levels["Buy"], levels["Sell"])
    return books


def phemex(data: Path) -> Books:
    """Scaled integers."""
    books: Books = {}
    for _, record in records(data / "PHEMEX.ws.1.0"):
        name = record.get("symbol", "")
        price_unit, size_unit = (Decimal("1e-8"), Decimal("1e-8")) if name[:1] == "s" else (Decimal("1e-4"), Decimal(1))
        if "trades" in record and record["type"] == "incremental":
            books[name].counts["trades"] += len(record["trades"])
        if "book" not in record:
            continue
        bids, asks = ([[p * price_unit, q * size_unit] for p, q in record["book"][side]] for side in ("bids", "asks"))
        book = books.setdefault(name, Naive())
        if record["type"] == "snapshot":
            book.set_book(bids, asks, record["sequence"])
        else:
            book.diff(0, record["sequence"], bids, asks)
    return books


def dydx(data: Path) -> Books:
    """Each level has the newest offset that has changed it."""
    books: Books = {}
    for _, record in records(data / "DYDX.ws.1.0"):
        name, contents = record.get("id", ""), record.get("contents", {})
        book = books.setdefault(name, Naive())
        if record.get("channel") == "v3_trades" and record["type"] == "channel_data":
            book.counts["trades"] += len(contents["trades"])
        if record.get("channel") != "v3_orderbook":
            continue
        is_snapshot = record["type"] == "subscribed"
        changed = 0
        for side in ("bids", "asks"):
            for level in contents[side]:
                price, size = (level["price"], level["size"]) if is_snapshot else level
                offset = int(level["offset"] if is_snapshot else contents["offset"])
                if book.newest.get((side, Decimal(price)), -1) < offset:
                    book.newest[side, Decimal(price)] = offset
                    book.put(side, price, size)
                    changed += 1
        book.counts["snapshots" if is_snapshot else "diffs" if changed else "stale"] += 1
    return {name: book for name, book in books.items() if name}


VENUES: dict[str, tuple[Callable[[Path], Books], tuple[str, ...], dict[str, int]]] = {
    "gateio": (gateio, ("GATEIO.http.0.0", "GATEIO.ws.1.0"), {"diffs": 159, "stale": 13, "trades": 9}),
    "kucoin": (kucoin, ("KUCOIN.http.0.0", "KUCOIN.ws.1.0"), {"trades": 18}),
    "bitstamp": (bitstamp, ("BITSTAMP.http.0.0", "BITSTAMP.ws.1.0"), {"diffs": 615, "stale": 102, "trades": 10}),
    "bitmex": (bitmex, ("BITMEX.ws.1.0",), {"snapshots": 10, "diffs": 1969}),
    "phemex": (phemex, ("PHEMEX.ws.1.0",), {"snapshots": 13, "diffs": 1324}),
    "dydx": (dydx, ("DYDX.ws.1.0",), {"snapshots": 10, "diffs": 4653, "stale": 34}),
}
"""By format: how the capture is rebuilt, its files, and counts that its description has."""


def levels_of(engine: OrderBookEngine, price_decimals: int, size_decimals: int) -> tuple[Side, Side]:
    """Both sides of a book, exactly."""
    sides = []
    for view in (engine.bids, engine.asks):
        prices, sizes = (array.tolist() for array in view.levels())
        exact = (
            [Decimal(price).scaleb(-price_decimals) for price in prices],
            [Decimal(size).scaleb(-size_decimals) for size in sizes],
        )
        sides.append(dict(zip(*exact, strict=True)))
    return sides[0], sides[1]


@pytest.mark.long
@pytest.mark.parametrize("venue", VENUES)
def test_a_recorded_capture_gives_the_books_and_counts_of_a_naive_script(shared_data: Path, venue: str) -> None:
    """Of each symbol: the last book, level by level, and what was applied, stale, traded and compared. No gap, all synced."""
    rebuild, files, totals = VENUES[venue]
    books = rebuild(shared_data / "cryptofeed")
    paths = [str(shared_data / "cryptofeed" / file) for file in files]
    seen: Counter[str] = Counter()
    for name, naive in books.items():
        if not (naive.counts["snapshots"] or naive.counts["diffs"]):
            continue
        decimals = naive.price_decimals, naive.size_decimals
        *_, engine = replay(paths, name, every=10**9, format=venue, price_decimals=decimals[0], size_decimals=decimals[1])
        statistics = engine.gap_statistics()
        audits = engine.audit_statistics()["bookTicker"]
        found = Counter({key: engine.value(key) for key in ("diffs", "snapshots", "trades")})
        found += Counter({"stale": statistics["stale"], "tickers": audits["matched"]})
        assert found == +naive.counts, name
        assert levels_of(engine, *decimals) == (naive.bids, naive.asks), name
        assert statistics["gaps"] == audits["failed"] == sum(engine.dead_letter_statistics().values()) == 0, name
        assert engine.synced, name
        seen += found
    assert {key: seen[key] for key in totals} == totals
