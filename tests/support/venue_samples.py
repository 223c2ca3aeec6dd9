"""Made-up captures of every venue, in every container: one random book, written as each venue would have sent it.

Nothing here is cowbook's: ids, checksums and numerals are made from the venues' descriptions, and the books are plain dicts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from support.packets import SWITCHED, Connection, frame, pcap, upgrade

Side = dict[int, int]
"""Lots by tick: a price is a tenth of its tick, a size a hundredth of its lots."""

START_MS = 1_700_000_000_000
LEVELS = 8
"""Levels a side at most: fewer than any checksum looks at."""


@dataclass(frozen=True, slots=True)
class Event:
    """What the venue does."""

    kind: str  # snapshot, diff, trade, other (another symbol's), noise (of no symbol)
    time_ms: int
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    book: tuple[Side, Side] = field(default_factory=lambda: ({}, {}))  # after it
    number: int = 0  # counts diffs and snapshots, from 1
    update_id: int = 0  # counts diffs, from 2: a snapshot has that of the diff before it
    trade: tuple[int, int, int, bool] = (0, 0, 0, False)  # id, tick, lots, whether the aggressor sold


def make_events(seed: int, count: int, weights: Sequence[int] = (70, 12, 8, 6, 4)) -> list[Event]:
    """A snapshot, then diffs, trades, records of others, noise, and other snapshots, so often each."""
    rng = random.Random(seed)
    time = START_MS
    sides: tuple[Side, Side] = ({100 - place: rng.randint(1, 900) for place in range(5)}, {110 + place: 50 for place in range(5)})
    number, trade = 1, 0
    events = [Event("snapshot", time, dict(sides[0]), dict(sides[1]), (dict(sides[0]), dict(sides[1])), number, 1)]
    update_id = 1
    while len(events) < count:
        time += rng.randint(1, 900)
        kind = rng.choices(["diff", "trade", "other", "noise", "snapshot"], weights)[0]
        if kind == "trade":
            trade += 1
            events.append(Event(kind, time, trade=(trade, rng.randint(95, 115), rng.randint(1, 500), rng.random() < 0.5)))
        elif kind == "diff":
            number += 1
            changes: tuple[Side, Side] = ({}, {})
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(2)
                tick = rng.randint(90, 104) if place == 0 else rng.randint(105, 119)
                known = tick in sides[place]
                lots = 0 if known and (rng.random() < 0.4 or len(sides[place]) >= LEVELS) else rng.randint(1, 900)
                if not known and len(sides[place]) >= LEVELS:
                    continue
                changes[place][tick] = lots
                if lots:
                    sides[place][tick] = lots
                else:
                    del sides[place][tick]
            if changes == ({}, {}):
                number -= 1
                continue
            update_id += 1
            events.append(Event(kind, time, *changes, (dict(sides[0]), dict(sides[1])), number, update_id))
        elif kind == "snapshot":
            number += 1
            book = dict(sides[0]), dict(sides[1])
            events.append(Event(kind, time, *book, book, number, update_id))
        else:
            events.append(Event(kind, time))
    return events


_BELOW = [0]


@contextmanager
def prices_lower_by(ticks: int) -> Iterator[None]:
    """All prices that are written meanwhile are so much lower."""
    _BELOW[0] = ticks
    try:
        yield
    finally:
        _BELOW[0] = 0


def price(tick: int) -> str:
    """With one decimal."""
    tick -= _BELOW[0]
    return f"{'-' if tick < 0 else ''}{abs(tick) // 10}.{abs(tick) % 10}"


def size(lots: int) -> str:
    """With two decimals."""
    return f"{lots // 100}.{lots % 100:02d}"


def number_of(text: str) -> Any:
    """A JSON number with the value of a numeral, as Python writes it."""
    value = float(text)
    return int(value) if value.is_integer() else value


def best_first(book: tuple[Side, Side]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Both sides as lists."""
    return sorted(book[0].items(), reverse=True), sorted(book[1].items())


def interleaved(book: tuple[Side, Side], write: Callable[[str], str], minus: str = "") -> int:
    """CRC-32 of bids and asks in turn."""
    bids, asks = best_first(book)
    pieces = []
    for place in range(max(len(bids), len(asks))):
        for side, sign in ((bids, ""), (asks, minus)):
            if place < len(side):
                pieces += [write(price(side[place][0])), sign + write(size(side[place][1]))]
    return zlib.crc32(":".join(pieces).encode())


def shortest(text: str) -> str:
    """Without zeros at its end."""
    return format(Decimal(text).normalize(), "f")


def signed(checksum: int) -> int:
    """As 32 bits with a sign."""
    return checksum - 2**32 if checksum >= 2**31 else checksum


def kraken_checksum(book: tuple[Side, Side]) -> int:
    """Digits of asks and bids."""
    bids, asks = best_first(book)
    digits = [part.replace(".", "").lstrip("0") for tick, lots in (*asks, *bids) for part in (price(tick), size(lots))]
    return zlib.crc32("".join(digits).encode())


def iso(time_ms: int) -> str:
    """UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"


def pairs(side: Side, *more: Any) -> list[list[Any]]:
    """Levels as arrays of texts."""
    return [[price(tick), size(lots), *more] for tick, lots in side.items()]


def number_pairs(side: Side) -> list[list[Any]]:
    """Levels as arrays of numbers."""
    return [[number_of(price(tick)), number_of(size(lots))] for tick, lots in side.items()]


def binance(event: Event, name: str) -> list[Any]:
    """Spot, with a ticker before each diff."""
    if event.kind == "snapshot":
        return [{"lastUpdateId": event.update_id, "E": event.time_ms, "bids": pairs(event.bids), "asks": pairs(event.asks)}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        fields = {"e": "trade", "E": event.time_ms, "T": event.time_ms, "s": name, "t": trade_id, "m": sold}
        return [fields | {"p": price(tick), "q": size(lots)}]
    if event.kind == "noise":
        return [{"result": None, "id": 1}]
    diff = {"e": "depthUpdate", "E": event.time_ms, "s": name, "U": event.update_id, "u": event.update_id}
    diff |= {"b": pairs(event.bids), "a": pairs(event.asks)}
    (bid, bid_size), (ask, ask_size) = (side[0] if side else (0, 0) for side in best_first(event.book))
    ticker = {"u": event.update_id, "s": name, "b": price(bid), "B": size(bid_size), "a": price(ask), "A": size(ask_size)}
    return [ticker, diff] if event.kind == "diff" else [diff | {"s": "OTHER", "U": 1, "u": 1}]


def kraken_v1(event: Event, name: str) -> list[Any]:
    """Arrays; asks and bids in an object each."""
    if event.kind == "noise":
        return [{"event": "heartbeat"}]
    time = f"{event.time_ms / 1000:.6f}"
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        return [[0, [[price(tick), size(lots), time, "s" if sold else "b", "l", ""]], "trade", name]]
    if event.kind == "snapshot":
        return [[0, {"as": pairs(event.asks, time), "bs": pairs(event.bids, time)}, "book-10", name]]
    if event.kind == "other":
        return [[0, {"a": [["1.0", "1.00", time]], "c": "1"}, "book-10", "OTHER/X"]]
    changes = [{key: pairs(side, time)} for key, side in (("a", event.asks), ("b", event.bids)) if side]
    changes[-1]["c"] = str(kraken_checksum(event.book))  # type: ignore[assignment]
    return [[0, *changes, "book-10", name]]


def kraken_v2(event: Event, name: str) -> list[Any]:
    """Objects; numerals are numbers with all their decimals, as text for the moment."""
    if event.kind == "noise":
        return [{"channel": "heartbeat"}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"symbol": name, "side": "sell" if sold else "buy", "price": f"#{price(tick)}#", "qty": f"#{size(lots)}#"}
        return [{"channel": "trade", "type": "update", "data": [trade | {"trade_id": trade_id, "timestamp": iso(event.time_ms)}]}]
    sides = {
        key: [{"price": f"#{price(tick)}#", "qty": f"#{size(lots)}#"} for tick, lots in side.items()]
        for key, side in (("bids", event.bids), ("asks", event.asks))
    }
    book = {"symbol": name if event.kind != "other" else "OTHER/X", **sides, "checksum": kraken_checksum(event.book)}
    kind = "snapshot" if event.kind == "snapshot" else "update"
    return [{"channel": "book", "type": kind, "data": [book | {"timestamp": iso(event.time_ms)}]}]


def okx(event: Event, name: str, *, ids: bool = False) -> list[Any]:
    """With checksums, or with the chain of ids."""
    if event.kind == "noise":
        return [{"event": "subscribe", "arg": {"channel": "books"}}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"instId": name, "tradeId": str(trade_id), "px": price(tick), "sz": size(lots), "ts": str(event.time_ms)}
        return [{"arg": {"channel": "trades", "instId": name}, "data": [trade | {"side": "sell" if sold else "buy"}]}]
    book: dict[str, Any] = {"asks": pairs(event.asks, "0", "1"), "bids": pairs(event.bids, "0", "1"), "ts": str(event.time_ms)}
    book["checksum"] = 0 if ids else signed(interleaved(event.book, shortest))
    if ids:
        previous = -1 if event.kind == "snapshot" else 7 * (event.number - 1)
        book |= {"seqId": 7 * event.number, "prevSeqId": previous}
    argument = {"channel": "books", "instId": name if event.kind != "other" else "OTHER"}
    return [{"arg": argument, "action": "snapshot" if event.kind == "snapshot" else "update", "data": [book]}]


def okx_chain(event: Event, name: str) -> list[Any]:
    """As it is sent today."""
    return okx(event, name, ids=True)


def bitget(event: Event, name: str) -> list[Any]:
    """Checksums of the texts as they are sent."""
    if event.kind == "noise":
        return [b"pong"]
    argument = {"instType": "sp", "channel": "trade" if event.kind == "trade" else "books"}
    argument["instId"] = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        trade = [str(event.time_ms), price(tick), size(lots), "sell" if sold else "buy"]
        return [{"arg": argument, "action": "update", "data": [trade]}]
    book = {"asks": pairs(event.asks), "bids": pairs(event.bids), "ts": str(event.time_ms)}
    book["checksum"] = signed(interleaved(event.book, str))  # type: ignore[assignment]
    return [{"action": "snapshot" if event.kind == "snapshot" else "update", "arg": argument, "data": [book]}]


def bitget_v2(event: Event, name: str) -> list[Any]:
    """Checksums, a number in each book that proves nothing, and objects as trades."""
    if event.kind == "noise":
        return [{"event": "subscribe", "arg": {"instType": "SPOT", "channel": "books", "instId": name}}]
    data: dict[str, Any]
    argument = {"instType": "SPOT", "channel": "trade" if event.kind == "trade" else "books"}
    argument["instId"] = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"ts": str(event.time_ms), "price": price(tick), "size": size(lots), "side": "sell" if sold else "buy"}
        data = trade | {"tradeId": str(10**18 + trade_id)}
    else:
        data = {"asks": pairs(event.asks), "bids": pairs(event.bids)}
        data |= {"checksum": signed(interleaved(event.book, str)), "seq": 7 * event.number, "ts": str(event.time_ms)}
    action = "snapshot" if event.kind == "snapshot" else "update"
    return [{"action": action, "arg": argument, "data": [data], "ts": event.time_ms}]


def bitget_v3(event: Event, name: str) -> list[Any]:
    """A chain of ids above 10^18, which are text in a snapshot; no checksums."""
    if event.kind == "noise":
        return [b"pong"]
    argument = {"instType": "usdt-futures", "topic": "publicTrade" if event.kind == "trade" else "books"}
    argument["symbol"] = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"i": str(10**18 + trade_id), "p": price(tick), "v": size(lots), "S": "sell" if sold else "buy"}
        return [{"action": "update", "arg": argument, "data": [trade | {"T": str(event.time_ms), "L": "1"}], "ts": event.time_ms}]
    number = 10**18 + 7 * event.number
    book: dict[str, Any] = {"a": pairs(event.asks), "b": pairs(event.bids), "checksum": 0}
    if event.kind == "snapshot":
        book |= {"pseq": 0, "seq": str(number), "ts": str(event.time_ms)}
        return [{"action": "snapshot", "arg": argument, "data": [book], "ts": event.time_ms}]
    book |= {"pseq": number - 7, "seq": number, "ts": str(event.time_ms)}
    return [{"action": "update", "arg": argument, "data": [book], "ts": event.time_ms}]


def ftx(event: Event, name: str) -> list[Any]:
    """Numbers."""
    if event.kind == "noise":
        return [{"type": "subscribed", "channel": "orderbook", "market": name}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"id": trade_id, "price": number_of(price(tick)), "size": number_of(size(lots))}
        trade |= {"side": "sell" if sold else "buy", "time": iso(event.time_ms).replace("Z", "000+00:00")}
        return [{"channel": "trades", "market": name, "type": "update", "data": [trade]}]
    kind = "partial" if event.kind == "snapshot" else "update"
    book = {"time": event.time_ms / 1000, "bids": number_pairs(event.bids), "asks": number_pairs(event.asks), "action": kind}
    book["checksum"] = interleaved(event.book, lambda text: repr(float(text)))
    return [{"channel": "orderbook", "market": name if event.kind != "other" else "OTHER", "type": kind, "data": book}]


def bitfinex(event: Event, _name: str) -> list[Any]:
    """One record for each change, a checksum behind them; all of them are numbered by `Numbered`."""
    if event.kind == "noise":
        return [[7, "hb"]]
    if event.kind == "other":
        return [[8, [1.5, 1, 2]]]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        amount = number_of(size(lots))
        trade = [trade_id, event.time_ms, -amount if sold else amount, number_of(price(tick))]
        return [[9, "te", trade], [9, "tu", trade]]
    entries = []
    for side, sign in ((event.bids, 1), (event.asks, -1)):
        for tick, lots in side.items():
            entries.append([number_of(price(tick)), int(lots > 0), sign * number_of(size(lots)) if lots else sign])
    if event.kind == "snapshot":
        return [[7, entries]]
    return [*([7, entry] for entry in entries), [7, "cs", signed(interleaved(event.book, shortest, "-"))]]


def bitfinex_opening(name: str) -> list[Any]:
    """What a connection begins with."""
    return [
        {"event": "info", "version": 2, "serverId": "x", "platform": {"status": 1}},
        {"event": "conf", "status": "OK", "flags": 196608},
        {"event": "subscribed", "channel": "book", "chanId": 7, "symbol": name, "prec": "P0", "freq": "F0", "len": "25"},
        {"event": "subscribed", "channel": "book", "chanId": 8, "symbol": "tOTHER", "prec": "P0", "freq": "F0", "len": "25"},
        {"event": "subscribed", "channel": "trades", "chanId": 9, "symbol": name},
    ]


def coinbase(event: Event, name: str) -> list[Any]:
    """No ids on changes."""
    product = {"product_id": name if event.kind != "other" else "OTHER"}
    if event.kind == "noise":
        return [{"type": "ticker", **product}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"type": "match", "trade_id": trade_id, "price": price(tick), "size": size(lots)}
        return [trade | product | {"side": "buy" if sold else "sell", "time": iso(event.time_ms)}]
    if event.kind == "snapshot":
        return [{"type": "snapshot", **product, "bids": pairs(event.bids), "asks": pairs(event.asks), "time": iso(event.time_ms)}]
    changes = [[side, *pair] for side, levels in (("buy", event.bids), ("sell", event.asks)) for pair in pairs(levels)]
    return [{"type": "l2update", **product, "changes": changes, "time": iso(event.time_ms)}]


def coinbase_advanced(event: Event, name: str) -> list[Any]:
    """All of them are numbered by `Numbered`."""
    frame = {"client_id": "", "timestamp": iso(event.time_ms)}
    if event.kind == "noise":
        return [{"channel": "heartbeats", **frame, "events": [{"heartbeat_counter": "3"}]}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"trade_id": str(trade_id), "product_id": name, "price": price(tick), "size": size(lots)}
        trade |= {"side": "BUY" if sold else "SELL", "time": iso(event.time_ms)}
        return [{"channel": "market_trades", **frame, "events": [{"type": "update", "trades": [trade]}]}]
    updates = [
        {"side": side, "event_time": iso(event.time_ms), "price_level": price(tick), "new_quantity": size(lots)}
        for side, levels in (("bid", event.bids), ("offer", event.asks))
        for tick, lots in levels.items()
    ]
    kind = "snapshot" if event.kind == "snapshot" else "update"
    book = {"type": kind, "product_id": name if event.kind != "other" else "OTHER", "updates": updates}
    return [{"channel": "l2_data", **frame, "events": [book]}]


def bybit(event: Event, name: str) -> list[Any]:
    """Ids without holes; a snapshot has its own."""
    if event.kind == "noise":
        return [{"op": "pong", "success": True}]
    symbol = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {
            "T": event.time_ms,
            "s": name,
            "S": "Sell" if sold else "Buy",
            "v": size(lots),
            "p": price(tick),
            "i": str(trade_id),
        }
        return [{"topic": f"publicTrade.{name}", "type": "snapshot", "ts": event.time_ms, "data": [trade]}]
    data = {"s": symbol, "b": pairs(event.bids), "a": pairs(event.asks), "u": event.number, "seq": 9 * event.number}
    kind = "snapshot" if event.kind == "snapshot" else "delta"
    return [{"topic": f"orderbook.50.{symbol}", "type": kind, "ts": event.time_ms, "data": data, "cts": event.time_ms}]


def bybit_v2(event: Event, name: str) -> list[Any]:
    """Of 2021: levels by what becomes of them, ids that rise by any steps."""
    if event.kind == "noise":
        return [{"success": True, "ret_msg": "", "conn_id": "x"}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"symbol": name, "price": price(tick), "size": number_of(size(lots)), "side": "Sell" if sold else "Buy"}
        trade |= {"trade_time_ms": str(event.time_ms), "trade_id": f"{trade_id:08x}-x"}
        return [{"topic": f"trade.{name}", "data": [trade]}]
    symbol = "OTHER" if event.kind == "other" else name
    found = {"topic": f"orderBookL2_25.{symbol}", "type": "delta", "data": {}}
    found |= {"cross_seq": str(7 * event.number * event.number), "timestamp_e6": str(event.time_ms * 1000)}
    levels = [
        {"price": price(tick), "symbol": name, "id": str(tick), "side": side, "size": number_of(size(lots))}
        for side, changes in (("Buy", event.bids), ("Sell", event.asks))
        for tick, lots in changes.items()
    ]
    if event.kind == "snapshot":
        return [found | {"type": "snapshot", "data": {"order_book": levels} if event.number % 2 else levels}]
    deleted = [{key: value for key, value in level.items() if key != "size"} for level in levels if not level["size"]]
    there = [level for level in levels if level["size"]]
    return [found | {"data": {"delete": deleted, "update": there[1:], "insert": there[:1]}}]


def deribit(event: Event, name: str) -> list[Any]:
    """A chain of ids that go up by any steps."""
    if event.kind == "noise":
        return [{"jsonrpc": "2.0", "id": 1, "result": "ok"}]
    instrument = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"trade_seq": trade_id, "timestamp": event.time_ms, "instrument_name": name}
        trade |= {"price": number_of(price(tick)), "amount": number_of(size(lots)), "direction": "sell" if sold else "buy"}
        return [{"jsonrpc": "2.0", "method": "subscription", "params": {"channel": f"trades.{name}.raw", "data": [trade]}}]
    is_snapshot = event.kind == "snapshot"
    book: dict[str, Any] = {"type": "snapshot" if is_snapshot else "change", "timestamp": event.time_ms}
    book |= {"instrument_name": instrument, "change_id": 5 * event.number}
    if not is_snapshot:
        book["prev_change_id"] = 5 * (event.number - 1)
    for key, side in (("bids", event.bids), ("asks", event.asks)):
        book[key] = [
            ["change" if lots else "delete", number_of(price(tick)), number_of(size(lots))] for tick, lots in side.items()
        ]
    return [{"jsonrpc": "2.0", "method": "subscription", "params": {"channel": f"book.{instrument}.raw", "data": book}}]


def htx_mbp(event: Event, name: str) -> list[Any]:
    """Changes of one or two sides, a chain; whole books are answers beside the stream, in the numbers of the changes."""
    if event.kind == "noise":
        return [{"ping": event.time_ms}]
    if event.kind == "trade":
        return htx_trade(event, name)
    sides = {key: number_pairs(side) for key, side in (("bids", event.bids), ("asks", event.asks)) if side}
    if event.kind == "snapshot":
        data: dict[str, Any] = {"seqNum": 10**11 + 3 * event.number, "bids": [], "asks": []} | sides
        return [{"id": "1", "rep": f"market.{name}.mbp.20", "status": "ok", "ts": event.time_ms, "data": data}]
    tick = {"seqNum": 10**11 + 3 * event.number, "prevSeqNum": 10**11 + 3 * (event.number - 1)} | sides
    symbol = name if event.kind != "other" else "other"
    return [{"ch": f"market.{symbol}.mbp.20", "ts": event.time_ms, "tick": tick}]


def htx_trade(event: Event, name: str) -> list[Any]:
    """With an id of 27 digits, and one that is used."""
    trade_id, tick, lots, sold = event.trade
    trade = {"id": 10**26 + trade_id, "ts": event.time_ms, "tradeId": trade_id, "amount": number_of(size(lots))}
    trade |= {"price": number_of(price(tick)), "direction": "sell" if sold else "buy"}
    content = {"id": 10**12, "ts": event.time_ms, "data": [trade]}
    return [{"ch": f"market.{name}.trade.detail", "ts": event.time_ms, "tick": content}]


def htx_high_freq(event: Event, name: str) -> list[Any]:
    """A counter; whole books are part of the stream."""
    if event.kind == "noise":
        return [{"id": "1", "status": "ok", "subbed": f"market.{name}.depth.size_20.high_freq", "ts": event.time_ms}]
    if event.kind == "trade":
        return htx_trade(event, name)
    channel = f"market.{name if event.kind != 'other' else 'OTHER'}.depth.size_20.high_freq"
    tick: dict[str, Any] = {"asks": number_pairs(event.asks), "bids": number_pairs(event.bids), "ch": channel}
    tick |= {"event": "snapshot" if event.kind == "snapshot" else "update", "id": event.number, "mrid": event.number}
    return [{"ch": channel, "tick": tick | {"ts": event.time_ms, "version": event.number}, "ts": event.time_ms + 1}]


def htx_step0(event: Event, name: str) -> list[Any]:
    """The whole book each time."""
    if event.kind == "noise":
        return [{"ping": event.time_ms}]
    if event.kind == "trade":
        return htx_trade(event, name)
    bids, asks = (number_pairs(dict(side)) for side in best_first(event.book))
    symbol = name if event.kind != "other" else "other"
    tick = {"bids": bids, "asks": asks, "version": 10**11 + 7 * event.number, "ts": event.time_ms}
    return [{"ch": f"market.{symbol}.depth.step0", "ts": event.time_ms + 2, "tick": tick}]


def hyperliquid(event: Event, name: str) -> list[Any]:
    """The whole book each time, in objects."""
    if event.kind == "noise":
        return [
            {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {"type": "trades", "coin": name}}}
        ]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"coin": name, "side": "A" if sold else "B", "px": price(tick), "sz": size(lots), "hash": "0x1", "tid": trade_id}
        return [{"channel": "trades", "data": [trade | {"time": event.time_ms, "users": ["0xa", "0xb"]}]}]
    sides = [[{"px": price(tick), "sz": size(lots), "n": 1} for tick, lots in side] for side in best_first(event.book)]
    coin = name if event.kind != "other" else "OTHER"
    return [{"channel": "l2Book", "data": {"coin": coin, "time": event.time_ms, "levels": sides}}]


def databento(event: Event, name: str) -> list[Any]:
    """The best ten levels each time, in the lines that a file of packed records becomes. Noise is in the middle of an event."""
    symbol = name if event.kind != "other" else "OTHER"
    common = {"symbol": symbol, "publisher": 1, "flags": 0 if event.kind == "noise" else 130}
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        trade = {"side": "A" if sold else "B", "ts_event": event.time_ms * 10**6, "price": price(tick), "size": f"#{size(lots)}#"}
        return [{"schema": "trades", **common, **trade}]
    bids, asks = ([[price(tick), f"#{size(lots)}#"] for tick, lots in side] for side in best_first(event.book))
    return [{"schema": "mbp-10", **common, "ts_event": event.time_ms * 10**6, "bids": bids, "asks": asks}]


def gemini_v2(event: Event, name: str) -> list[Any]:
    """No ids and no times on changes; the first record of a symbol has all levels, and old trades beside them."""
    symbol = {"symbol": name if event.kind != "other" else "OTHER"}
    if event.kind == "noise":
        return [{"type": "heartbeat", "timestamp": event.time_ms}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"type": "trade", **symbol, "event_id": trade_id, "timestamp": event.time_ms, "price": price(tick)}
        return [trade | {"quantity": size(lots), "side": "sell" if sold else "buy"}]
    changes = [[side, *pair] for side, levels in (("buy", event.bids), ("sell", event.asks)) for pair in pairs(levels)]
    record: dict[str, Any] = {"type": "l2_updates", **symbol, "changes": changes}
    return [record | {"trades": [], "auction_events": []} if event.kind == "snapshot" else record]


def gemini_on_connections(events: Sequence[Event], name: str) -> bytes:
    """Its successor: each connection begins with all levels, which only the connection's address says."""
    out = []
    for event in events:
        time, text = event.time_ms * 10**6, f"{event.time_ms / 1000 + 0.25:.6f}"
        trade_id, tick, lots, sold = event.trade
        symbol = "other" if event.kind == "other" else name
        record: dict[str, Any] = {"e": "depthUpdate", "E": time, "s": symbol, "U": event.update_id, "u": event.update_id}
        record |= {"b": pairs(event.bids), "a": pairs(event.asks)}
        if event.kind == "snapshot":
            out.append(f"wss://ws.gemini.com?snapshot=-1 <-> {text}".encode())
        elif event.kind == "trade":
            record = {"E": time, "s": name, "t": trade_id, "p": price(tick), "q": size(lots), "m": sold}
        elif event.kind == "noise":
            record = {"id": "1", "status": 200}
        out.append(f"{text}: ".encode() + text_of(record))
    return b"\n".join([*out, b""])


def mexc(event: Event, name: str) -> list[Any]:
    """Ranges of ids, which are text; a side without changes is left out. Answers are as Binance's."""
    if event.kind == "noise":
        return [{"id": 0, "code": 0, "msg": "spot@public.aggre.depth.v3.api.pb@10ms@X"}]
    symbol = name if event.kind != "other" else "OTHER"
    time = str(event.time_ms)
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        trade = {"price": price(tick), "quantity": size(lots), "tradeType": 2 if sold else 1, "time": time}
        deals = {"deals": [trade], "eventType": "spot@public.aggre.deals.v3.api.pb@10ms"}
        channel = f"spot@public.aggre.deals.v3.api.pb@10ms@{name}"
        return [{"channel": channel, "symbol": name, "sendTime": time, "publicAggreDeals": deals}]
    if event.kind == "snapshot":
        book = {"lastUpdateId": 10 * event.number, "bids": pairs(event.bids), "asks": pairs(event.asks)}
        return [book | {"timestamp": event.time_ms}]
    sides = {
        key: [{"price": price(tick), "quantity": size(lots)} for tick, lots in side.items()]
        for key, side in (("asks", event.asks), ("bids", event.bids))
        if side
    }
    last = 10 * max(event.number, 1)
    ids = {"fromVersion": str(last - 9), "toVersion": str(last)}
    depths = sides | {"eventType": "spot@public.aggre.depth.v3.api.pb@10ms"} | ids
    channel = f"spot@public.aggre.depth.v3.api.pb@10ms@{symbol}"
    return [{"channel": channel, "symbol": symbol, "sendTime": time, "publicAggreDepths": depths}]


def mexc_futures(event: Event, name: str) -> list[Any]:
    """Records of one version and of several; levels have a number of orders."""
    if event.kind == "noise":
        return [{"channel": "rs.sub.depth", "data": "success", "ts": event.time_ms}]
    symbol = name if event.kind != "other" else "OTHER"
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"p": number_of(price(tick)), "v": number_of(size(lots)), "T": 2 if sold else 1, "O": 3, "M": 1}
        data = [trade | {"t": event.time_ms, "i": str(trade_id)}]
        return [{"channel": "push.deal", "data": data, "symbol": name, "ts": event.time_ms}]
    last = 10 * max(event.number, 1)
    book: dict[str, Any] = {
        key: [[*pair, 1] for pair in number_pairs(side)] for key, side in (("asks", event.asks), ("bids", event.bids))
    }
    if event.kind == "snapshot":
        record = {"channel": "push.depth", "generated": True, "symbol": name, "ts": event.time_ms}
        return [record | {"data": book | {"version": last}}]
    book |= {"begin": last - 9, "end": last, "version": last}
    return [{"channel": "push.depth", "data": book, "symbol": symbol, "ts": event.time_ms}]


def okx_history(event: Event, name: str) -> list[Any]:
    """Books of the past, without anything around them."""
    if event.kind in ("trade", "noise"):
        return okx(event, name)
    book = {"instId": name if event.kind != "other" else "OTHER", "action": "snapshot" if event.kind == "snapshot" else "update"}
    return [book | {"ts": str(event.time_ms), "asks": pairs(event.asks, "1"), "bids": pairs(event.bids, "1")}]


class KrakenFutures:
    """One level a record; numbers go on over them."""

    def __init__(self) -> None:
        self._number = 100

    def __call__(self, event: Event, name: str) -> list[Any]:
        """The records of an event."""
        if event.kind == "noise":
            return [{"event": "subscribed", "feed": "book"}]
        if event.kind == "other":
            return [
                {"feed": "book", "product_id": "OTHER", "side": "buy", "seq": 1, "price": 1, "qty": 1, "timestamp": event.time_ms}
            ]
        if event.kind == "trade":
            trade_id, tick, lots, sold = event.trade
            trade = {
                "feed": "trade",
                "product_id": name,
                "side": "sell" if sold else "buy",
                "seq": trade_id,
                "time": event.time_ms,
            }
            return [trade | {"qty": number_of(size(lots)), "price": number_of(price(tick))}]
        sides = (("buy", event.bids), ("sell", event.asks))
        if event.kind == "snapshot":
            self._number += 1
            levels = {
                key: [{"price": number_of(price(tick)), "qty": number_of(size(lots))} for tick, lots in side.items()]
                for key, (_, side) in zip(("bids", "asks"), sides, strict=True)
            }
            return [{"feed": "book_snapshot", "product_id": name, "timestamp": event.time_ms, "seq": self._number} | levels]
        records = []
        for side, levels_ in sides:
            for tick, lots in levels_.items():
                self._number += 1
                record = {"feed": "book", "product_id": name, "side": side, "seq": self._number, "timestamp": event.time_ms}
                records.append(record | {"price": number_of(price(tick)), "qty": number_of(size(lots))})
        return records


def scaled(text: str, decimals: int) -> int:
    """A numeral as an integer whose last digits are decimals."""
    return int(Decimal(text).scaleb(decimals))


def gateio(event: Event, name: str) -> list[Any]:
    """Spot; answers to requests say nothing of their symbol."""
    if event.kind == "snapshot":
        return [{"id": event.update_id, "update": event.time_ms, "asks": pairs(event.asks), "bids": pairs(event.bids)}]
    frame: dict[str, Any] = {"time": event.time_ms // 1000, "time_ms": event.time_ms, "event": "update"}
    if event.kind == "noise":
        return [frame | {"channel": "spot.pong", "event": "", "result": None}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade: dict[str, Any] = {"id": trade_id, "create_time": event.time_ms // 1000, "create_time_ms": f"{event.time_ms}.25"}
        trade |= {"side": "sell" if sold else "buy", "currency_pair": name, "amount": size(lots), "price": price(tick)}
        return [frame | {"channel": "spot.trades", "result": trade}]
    book = {"t": event.time_ms, "e": "depthUpdate", "E": event.time_ms // 1000, "s": name if event.kind != "other" else "OTHER_X"}
    book |= {"U": event.update_id, "u": event.update_id, "b": pairs(event.bids), "a": pairs(event.asks)}
    return [frame | {"channel": "spot.order_book_update", "result": book}]


def gateio_futures(event: Event, name: str) -> list[Any]:
    """Levels are objects; a negative trade sold. Sizes are numbers, here with decimals."""
    sides = [[{"p": price(tick), "s": number_of(size(lots))} for tick, lots in side.items()] for side in (event.bids, event.asks)]
    if event.kind == "snapshot":
        return [{"id": event.update_id, "current": 1.5, "update": event.time_ms / 1000, "asks": sides[1], "bids": sides[0]}]
    frame: dict[str, Any] = {"time": event.time_ms // 1000, "event": "update"}
    if event.kind == "noise":
        return [frame | {"channel": "futures.order_book_update", "event": "subscribe", "result": {"status": "success"}}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        amount = number_of(size(lots))
        trade = {"size": -amount if sold else amount, "id": trade_id, "create_time": event.time_ms // 1000}
        trade |= {"create_time_ms": event.time_ms, "price": price(tick), "contract": name}
        return [frame | {"channel": "futures.trades", "result": [trade]}]
    book = {"t": event.time_ms, "s": name if event.kind != "other" else "OTHER_X", "U": event.update_id, "u": event.update_id}
    return [frame | {"channel": "futures.order_book_update", "result": book | {"b": sides[0], "a": sides[1]}}]


def kucoin(event: Event, name: str) -> list[Any]:
    """Ten sequences an update, some of which only count; a ticker before it."""
    last = 10 * max(1, event.update_id)
    if event.kind == "snapshot":
        book = {"time": event.time_ms, "sequence": str(last), "bids": pairs(event.bids), "asks": pairs(event.asks)}
        return [{"code": "200000", "data": book}]
    if event.kind == "noise":
        return [{"id": "x", "type": "pong"}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"symbol": name, "sequence": "7", "side": "sell" if sold else "buy", "size": size(lots), "price": price(tick)}
        trade |= {"time": str(event.time_ms * 10**6), "tradeId": f"60ab{trade_id:020x}"}
        return [{"type": "message", "topic": f"/market/match:{name}", "subject": "trade.l3match", "data": trade}]
    numbers = iter(range(last - 9, last + 1))
    changes = {
        key: [[price(tick), size(lots), str(next(numbers))] for tick, lots in side.items()] + [["0", "0", str(next(numbers))]]
        for key, side in (("asks", event.asks), ("bids", event.bids))
    }
    symbol = name if event.kind != "other" else "OTHER-X"
    data = {"sequenceStart": last - 9, "sequenceEnd": last, "symbol": symbol, "changes": changes, "time": event.time_ms}
    diff = {"type": "message", "topic": f"/market/level2:{symbol}", "subject": "trade.l2update", "data": data}
    if event.kind == "other":
        return [diff]
    (bid, bid_size), (ask, ask_size) = (side[0] if side else (0, 0) for side in best_first(event.book))
    best: dict[str, Any] = {"sequence": str(last), "bestBid": price(bid), "bestBidSize": size(bid_size), "bestAsk": price(ask)}
    best |= {"bestAskSize": size(ask_size), "price": "1.0", "size": "1", "time": event.time_ms}
    return [{"type": "message", "topic": f"/market/ticker:{name}", "subject": "trade.ticker", "data": best}, diff]


class KuCoinFutures:
    """One change a record; sequences go on over them. Answers name their symbol."""

    def __init__(self) -> None:
        self._number = 100

    def __call__(self, event: Event, name: str) -> list[Any]:
        """The records of an event."""
        if event.kind == "snapshot":
            book = {"symbol": name, "sequence": self._number, "ts": event.time_ms * 10**6}
            return [{"code": "200000", "data": book | {"bids": number_pairs(event.bids), "asks": number_pairs(event.asks)}}]
        if event.kind == "noise":
            return [{"id": "x", "type": "ack"}]
        if event.kind == "trade":
            trade_id, tick, lots, sold = event.trade
            trade = {"symbol": name, "sequence": 7, "side": "sell" if sold else "buy", "size": number_of(size(lots))}
            trade |= {"price": price(tick), "tradeId": str(trade_id), "ts": event.time_ms * 10**6}
            return [{"type": "message", "topic": f"/contractMarket/execution:{name}", "subject": "match", "sn": 7, "data": trade}]
        if event.kind == "other":
            changes = ["1.0,buy,1"]
        else:
            changes = [f"{price(tick)},buy,{size(lots)}" for tick, lots in event.bids.items()]
            changes += [f"{price(tick)},sell,{size(lots)}" for tick, lots in event.asks.items()]
            changes.append("0,buy,0")
        records = []
        for change in changes:
            self._number += event.kind == "diff"
            topic = f"/contractMarket/level2:{name if event.kind == 'diff' else 'OTHER'}"
            data = {"sequence": self._number, "change": change, "timestamp": event.time_ms}
            records.append({"type": "message", "topic": topic, "subject": "level2", "sn": self._number, "data": data})
        return records


def bitstamp(event: Event, name: str) -> list[Any]:
    """Ids are times."""
    if event.kind == "noise":
        return [{"event": "bts:subscription_succeeded", "channel": f"diff_order_book_{name}", "data": {}}]
    times = {"timestamp": str(event.time_ms // 1000), "microtimestamp": str(1000 * event.time_ms)}
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"id": trade_id, "amount": number_of(size(lots)), "amount_str": size(lots), "price": number_of(price(tick))}
        trade |= times | {"price_str": price(tick), "type": int(sold), "buy_order_id": 1, "sell_order_id": 2}
        return [{"data": trade, "channel": f"live_trades_{name}", "event": "trade"}]
    book = times | {"bids": pairs(event.bids), "asks": pairs(event.asks)}
    if event.kind == "snapshot":
        return [book]
    return [{"data": book, "channel": f"diff_order_book_{name if event.kind == 'diff' else 'other'}", "event": "data"}]


class BitMEX:
    """A record for each kind of change. Levels of the old form, of which `with_prices` is false, are named by ids alone."""

    def __init__(self, *, with_prices: bool) -> None:
        self._with_prices = with_prices
        self._book: tuple[Side, Side] = ({}, {})

    def __call__(self, event: Event, name: str) -> list[Any]:
        """The records of an event."""
        if event.kind == "noise":
            return [{"success": True, "subscribe": f"orderBookL2:{name}", "request": {"op": "subscribe"}}]
        if event.kind == "trade":
            _, tick, lots, sold = event.trade
            trade = {"timestamp": iso(event.time_ms), "symbol": name, "side": "Sell" if sold else "Buy"}
            trade |= {"size": number_of(size(lots)), "price": number_of(price(tick)), "trdMatchID": "39744121-c20e"}
            return [{"table": "trade", "action": "insert", "data": [trade]}]
        if event.kind == "other":
            level = {"symbol": "OTHER", "id": 7, "side": "Buy", "size": 1, "price": 1}
            return [{"table": "orderBookL2", "action": "insert", "data": [level]}]
        if event.kind == "snapshot":
            rows = self._rows(event, name, "partial", (event.bids, event.asks))
            self._book = (dict(event.bids), dict(event.asks))
            return [{"table": "orderBookL2", "action": "partial", "filter": {"symbol": name}, "data": rows}]
        wanted: dict[str, tuple[Side, Side]] = {action: ({}, {}) for action in ("delete", "update", "insert")}
        for place, changes in enumerate((event.bids, event.asks)):
            for tick, lots in changes.items():
                if not lots and tick not in self._book[place]:
                    continue  # it came and went
                action = "delete" if not lots else "update" if tick in self._book[place] else "insert"
                wanted[action][place][tick] = lots
                if lots:
                    self._book[place][tick] = lots
                else:
                    self._book[place].pop(tick, None)
        records = [(action, self._rows(event, name, action, sides)) for action, sides in wanted.items()]
        return [{"table": "orderBookL2", "action": action, "data": rows} for action, rows in records if rows]

    def _rows(self, event: Event, name: str, action: str, sides: tuple[Side, Side]) -> list[dict[str, Any]]:
        rows = []
        for side, levels in zip(("Buy", "Sell"), sides, strict=True):
            for tick, lots in levels.items():
                row: dict[str, Any] = {"symbol": name, "id": 5 * 10**8 - tick, "side": side}
                if action != "delete":
                    row["size"] = number_of(size(lots))
                if self._with_prices or action in ("partial", "insert"):
                    row["price"] = number_of(price(tick))
                rows.append(row | ({"timestamp": iso(event.time_ms)} if self._with_prices else {}))
        return rows


def phemex(event: Event, name: str) -> list[Any]:
    """Spot, of scaled integers; or a newer perpetual, of texts."""
    is_spot = name.startswith("s")
    if event.kind == "noise":
        return [{"error": None, "id": 1, "result": {"status": "success"}}]
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        values = [scaled(price(tick), 8), scaled(size(lots), 8)] if is_spot else [price(tick), size(lots)]
        trade = [event.time_ms * 10**6, "Sell" if sold else "Buy", *values]
        return [{"sequence": 7, "symbol": name, "trades" if is_spot else "trades_p": [trade], "type": "incremental"}]
    sides = {
        key: [[scaled(price(tick), 8), scaled(size(lots), 8)] for tick, lots in side.items()] if is_spot else pairs(side)
        for key, side in (("asks", event.asks), ("bids", event.bids))
    }
    kind = "snapshot" if event.kind == "snapshot" else "incremental"
    record = {"book" if is_spot else "orderbook_p": sides, "depth": 30, "sequence": 3 * event.number}
    return [record | {"symbol": name if event.kind != "other" else "OTHER", "timestamp": event.time_ms * 10**6, "type": kind}]


def dydx(event: Event, name: str) -> list[Any]:
    """Offsets on every change, and on every level of a snapshot."""
    record: dict[str, Any] = {"connection_id": "60a4fc71-1312", "message_id": 7, "id": name}
    if event.kind == "noise":
        return [{"type": "connected", "connection_id": "60a4fc71-1312", "message_id": 0}]
    if event.kind == "trade":
        _, tick, lots, sold = event.trade
        trade = {"size": size(lots), "side": "SELL" if sold else "BUY", "price": price(tick), "createdAt": iso(event.time_ms)}
        return [record | {"type": "channel_data", "channel": "v3_trades", "contents": {"trades": [trade]}}]
    if event.kind == "snapshot":
        sides = {
            key: [{"price": price(tick), "offset": str(9 * event.number), "size": size(lots)} for tick, lots in side.items()]
            for key, side in (("bids", event.bids), ("asks", event.asks))
        }
        return [record | {"type": "subscribed", "channel": "v3_orderbook", "contents": sides}]
    contents = {"offset": str(9 * event.number), "bids": pairs(event.bids), "asks": pairs(event.asks)}
    whose = record | ({"id": "OTHER-X"} if event.kind == "other" else {})
    return [whose | {"type": "channel_data", "channel": "v3_orderbook", "contents": contents}]


def dydx_v4(event: Event, name: str) -> list[Any]:
    """All of them are numbered by `Numbered`. A few changes are in two pieces."""
    record: dict[str, Any] = {"connection_id": "67838890-75de", "id": name, "version": "1.0.0"}
    if event.kind == "noise":
        return [{"type": "subscribed", "connection_id": "67838890-75de", "channel": "v4_markets", "contents": {}}]
    if event.kind == "trade":
        trade_id, tick, lots, sold = event.trade
        trade = {"id": f"{trade_id:024x}", "size": size(lots), "price": price(tick), "side": "SELL" if sold else "BUY"}
        contents: Any = {"trades": [trade | {"createdAt": iso(event.time_ms), "type": "LIMIT"}]}
        return [record | {"type": "channel_data", "channel": "v4_trades", "contents": contents}]
    if event.kind == "snapshot":
        contents = {
            key: [{"price": price(tick), "size": size(lots)} for tick, lots in side.items()]
            for key, side in (("bids", event.bids), ("asks", event.asks))
        }
        return [record | {"type": "subscribed", "channel": "v4_orderbook", "contents": contents}]
    contents = {key: pairs(side) for key, side in (("bids", event.bids), ("asks", event.asks)) if side}
    whose = record
    if event.kind == "other":
        whose, contents = record | {"id": "OTHER-X"}, {"bids": [["1.0", "1.00"]]}
    if event.kind == "diff" and event.number % 40 == 0:
        pieces = [{key: levels} for key, levels in contents.items()]
        return [whose | {"type": "channel_batch_data", "channel": "v4_orderbook", "contents": pieces}]
    return [whose | {"type": "channel_data", "channel": "v4_orderbook", "contents": contents}]


class Numbered:
    """Gives every record of a connection its number."""

    def __init__(self, write: Callable[[Event, str], list[Any]], *, key: str = "", first: int = 1) -> None:
        self._write, self._key, self._next = write, key, first

    def __call__(self, event: Event, name: str) -> list[Any]:
        """The records of an event."""
        records = self._write(event, name)
        for record in records:
            if self._key:
                record[self._key] = self._next
            else:
                record.append(self._next)
            self._next += 1
        return records


def text_of(record: Any) -> bytes:
    """JSON, with numerals between `#` as numbers of that very text; bytes as they are."""
    if isinstance(record, bytes):
        return record
    return json.dumps(record, separators=(",", ":")).replace('"#', "").replace('#"', "").encode()


def prefixed(event: Event, record: bytes) -> bytes:
    """As cryptofeed's collector writes it."""
    return f"{event.time_ms / 1000 + 0.25:.6f}: ".encode() + record


def framed(event: Event, record: bytes) -> bytes:
    """As a cbcap file has it."""
    return f"{event.time_ms * 10**6 + 250_000} {len(record)}\n".encode() + record


def bare(_event: Event, record: bytes) -> bytes:
    """Nothing around it."""
    return record


def tardis_csv(events: Sequence[Event], name: str, *, trades: bool) -> bytes:
    """One of the two tables."""
    out = [f"exchange,symbol,timestamp,local_timestamp,{'id' if trades else 'is_snapshot'},side,price,amount"]
    for event in events:
        at = f"x,{name},{event.time_ms * 1000},{event.time_ms * 1000 + 250}"
        if trades and event.kind == "trade":
            trade_id, tick, lots, sold = event.trade
            out.append(f"{at},{trade_id},{'sell' if sold else 'buy'},{price(tick)},{size(lots)}")
        elif not trades and event.kind in ("snapshot", "diff"):
            for side, levels in (("bid", event.bids), ("ask", event.asks)):
                is_snapshot = "true" if event.kind == "snapshot" else "false"
                out += [f"{at},{is_snapshot},{side},{price(tick)},{size(lots)}" for tick, lots in levels.items()]
        elif not trades and event.kind == "other":
            out.append(f"x,OTHER,{event.time_ms * 1000},{event.time_ms * 1000 + 250},false,bid,1,1")
    return "\n".join([*out, ""]).encode()


def tardis_rows(events: Sequence[Event], name: str) -> list[dict[str, Any]]:
    """Of the book, as the vendor may have them.

    Changes of one message have several event times, and a snapshot has two receive times. Some rows are of the same symbol at
    another exchange.
    """
    rows: list[dict[str, Any]] = []
    for event in events:
        at = event.time_ms * 1000
        common = {"exchange": "x", "symbol": name, "timestamp": at, "local_timestamp": at + 250, "is_snapshot": False}
        if event.kind in ("snapshot", "diff"):
            for side, levels in (("bid", event.bids), ("ask", event.asks)):
                is_snapshot = event.kind == "snapshot"
                for tick, lots in levels.items():
                    later = {"timestamp": at + len(rows) % 3, "local_timestamp": at + 250 + (is_snapshot and side == "ask")}
                    level = {"side": side, "price": float(price(tick)), "amount": float(size(lots))}
                    rows.append(common | later | level | {"is_snapshot": is_snapshot})
        elif event.kind in ("other", "noise"):
            whose = {"symbol": "OTHER"} if event.kind == "other" else {"exchange": "another exchange"}
            rows.append(common | whose | {"side": "bid", "price": 1.0, "amount": 1.0})
    return rows


def tardis_through_pandas(rows: Sequence[dict[str, Any]]) -> bytes:
    """As a person's script has written them anew: row numbers, floats, `True`, other places of columns."""
    names = ("amount", "price", "side", "is_snapshot", "local_timestamp", "timestamp", "symbol", "exchange")
    lines = [",".join(("", *names))]
    for place, row in enumerate(rows):
        fields = row | {"timestamp": float(row["timestamp"]), "local_timestamp": float(row["local_timestamp"])}
        lines.append(",".join(map(str, (place, *(fields[name] for name in names)))))
    return "\n".join([*lines, ""]).encode()


def tardis_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """The same in Parquet. Some receive times are null."""
    table = pa.Table.from_pylist(list(rows))
    for name in ("timestamp", "local_timestamp"):
        times = [None if name[0] == "l" and row["timestamp"] % 7 == 0 else float(row[name]) for row in rows]
        table = table.set_column(table.column_names.index(name), name, pa.array(times, pa.float64()))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=37)
    return sink.getvalue()


def tardis_days(events: Sequence[Event], name: str, write: Callable[[Sequence[dict[str, Any]]], bytes]) -> dict[str, bytes]:
    """Three days. The second one begins with a change, the third one with a snapshot. A day without rows has no file."""
    kinds = [event.kind for event in events]
    last = len(kinds) - 1 - kinds[::-1].index("snapshot")
    second = kinds.index("diff", last // 3)
    bounds = (0, second, max(second, last), len(kinds))
    days = {f"{day}-book": tardis_rows(events[start:end], name) for day, (start, end) in enumerate(pairwise(bounds), 1)}
    return {day: write(rows) for day, rows in days.items() if rows}


def tardis_pictures(events: Sequence[Event], name: str) -> list[dict[str, Any]]:
    """Rows of `book_snapshot_8`: the whole book after each change of it. Some rows are of others."""
    rows = []
    for event in events:
        if event.kind == "trade":
            continue
        at = event.time_ms * 1000
        row: dict[str, Any] = {"exchange": "x", "symbol": name, "timestamp": at, "local_timestamp": at + 250}
        if event.kind in ("other", "noise"):
            row |= {"symbol": "OTHER"} if event.kind == "other" else {"exchange": "another exchange"}
        for side, levels in zip(("bids", "asks"), best_first(event.book), strict=True):
            for place in range(LEVELS):
                there = levels[place] if place < len(levels) else None
                row[f"{side}[{place}].price"] = float(price(there[0])) if there is not None else None
                row[f"{side}[{place}].amount"] = float(size(there[1])) if there is not None else None
        rows.append(row)
    return rows


def tardis_pictures_csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """As the vendor has it: what is not there is empty."""
    lines = [",".join(rows[0]), *(",".join("" if value is None else str(value) for value in row.values()) for row in rows)]
    return "\n".join([*lines, ""]).encode()


def tardis_pictures_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """What is not there is null."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, row_group_size=37)
    return sink.getvalue()


def binance_csv(events: Sequence[Event], name: str) -> bytes:
    """Snapshots and updates in one file."""
    out = ["symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu"]
    for event in numbered_by_diffs(events):
        if event.kind in ("snapshot", "diff"):
            kind, previous = ("snap", -1) if event.kind == "snapshot" else ("set", 10 * (event.update_id - 1))
            for side, levels in (("b", event.bids), ("a", event.asks)):
                ids = f"{10 * event.update_id - 3 if event.kind == 'diff' else 10 * event.update_id},{10 * event.update_id}"
                out += [
                    f"{name},{event.time_ms},{ids},{side},{kind},{price(tick)},{size(lots)},{previous}"
                    for tick, lots in levels.items()
                ]
    return "\n".join([*out, ""]).encode()


def cryptolake(events: Sequence[Event], *, trades: bool) -> bytes:
    """One of the two tables."""
    rows: list[dict[str, Any]] = []
    for event in events:
        times = {"origin_time": event.time_ms * 10**6, "received_time": event.time_ms * 10**6 + 250_000}
        if trades and event.kind == "trade":
            trade_id, tick, lots, sold = event.trade
            values = {"side": "sell" if sold else "buy", "quantity": float(size(lots)), "price": float(price(tick))}
            rows.append(times | values | {"trade_id": str(trade_id)})
        elif not trades and event.kind in ("snapshot", "diff"):
            for is_bid, levels in ((True, event.bids), (False, event.asks)):
                for tick, lots in levels.items():
                    values = {"sequence_number": event.number, "side_is_bid": is_bid}
                    rows.append(times | values | {"price": float(price(tick)), "size": float(size(lots))})
    table = pa.Table.from_pylist(rows)
    for name in ("origin_time", "received_time"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.timestamp("ns")))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=37)
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class Sample:
    """A capture that grows once: two sets of files, of which the second holds what the first does, and more."""

    id: str
    format: str
    name: str
    phases: tuple[dict[str, bytes], ...]
    events: tuple[Event, ...]
    proof: str
    """What shows that a record of the book is missing: ids, connection, checksum, nothing."""

    @property
    def files(self) -> dict[str, bytes]:
        """All of it."""
        return self.phases[-1]

    @property
    def final_book(self) -> tuple[Side, Side]:
        """The book at the end."""
        return next(event.book for event in reversed(self.events) if event.kind in ("snapshot", "diff"))


LINES: dict[str, tuple[str, str, Callable[[], Callable[[Event, str], list[Any]]], Callable[[Event, bytes], bytes], str]] = {
    "binance": ("binance", "BTCUSDT", lambda: binance, prefixed, "ids"),
    "kraken-v1": ("kraken", "XBT/USD", lambda: kraken_v1, prefixed, "checksum"),
    "kraken-v2-frames": ("kraken", "BTC/USD", lambda: kraken_v2, framed, "checksum"),
    "okx": ("okx", "BTC-USDT", lambda: okx, prefixed, "checksum"),
    "okx-chain": ("okx", "BTC-USDT", lambda: okx_chain, bare, "ids"),
    "bitget": ("bitget", "BTCUSDT", lambda: bitget, prefixed, "checksum"),
    "bitget-v2": ("bitget", "BTCUSDT", lambda: bitget_v2, prefixed, "checksum"),
    "bitget-v3": ("bitget", "BTCUSDT", lambda: bitget_v3, bare, "ids"),
    "ftx": ("ftx", "BTC-PERP", lambda: ftx, bare, "checksum"),
    "bitfinex": ("bitfinex", "tBTCUSD", lambda: Numbered(bitfinex), prefixed, "connection"),
    "coinbase": ("coinbase", "BTC-USD", lambda: coinbase, prefixed, "nothing"),
    "coinbase-advanced": (
        "coinbase_advanced",
        "BTC-USD",
        lambda: Numbered(coinbase_advanced, key="sequence_num", first=0),
        bare,
        "connection",
    ),
    "bybit": ("bybit", "BTCUSDT", lambda: bybit, bare, "ids"),
    "bybit-v2": ("bybit", "BTCUSDT", lambda: bybit_v2, prefixed, "nothing"),
    "deribit": ("deribit", "BTC-PERPETUAL", lambda: deribit, bare, "ids"),
    "kraken-futures": ("kraken_futures", "PI_XBTUSD", KrakenFutures, prefixed, "ids"),
    "htx-mbp": ("htx", "btcusdt", lambda: htx_mbp, prefixed, "ids"),
    "htx-high-freq": ("htx", "BTC-USDT", lambda: htx_high_freq, bare, "ids"),
    "htx-step0": ("htx", "btcusdt", lambda: htx_step0, bare, "nothing"),
    "hyperliquid": ("hyperliquid", "BTC", lambda: hyperliquid, bare, "nothing"),
    "databento": ("databento", "ESZ3", lambda: databento, prefixed, "nothing"),
    "gemini-v2": ("gemini", "BTCUSD", lambda: gemini_v2, prefixed, "nothing"),
    "mexc": ("mexc", "BTCUSDT", lambda: mexc, bare, "ids"),
    "mexc-futures": ("mexc_futures", "BTC_USDT", lambda: mexc_futures, prefixed, "ids"),
    "okx-history": ("okx", "BTC-USDT", lambda: okx_history, bare, "nothing"),
    "gateio": ("gateio", "BTC_USDT", lambda: gateio, prefixed, "ids"),
    "gateio-futures": ("gateio_futures", "BTC_USDT", lambda: gateio_futures, bare, "ids"),
    "kucoin": ("kucoin", "BTC-USDT", lambda: kucoin, prefixed, "ids"),
    "kucoin-futures": ("kucoin_futures", "XBTUSDTM", KuCoinFutures, bare, "ids"),
    "bitstamp": ("bitstamp", "btcusd", lambda: bitstamp, bare, "nothing"),
    "bitmex": ("bitmex", "XBTUSD", lambda: BitMEX(with_prices=True), bare, "nothing"),
    "bitmex-ids": ("bitmex", "XBTUSD", lambda: BitMEX(with_prices=False), prefixed, "nothing"),
    "phemex": ("phemex", "sBTCUSDT", lambda: phemex, prefixed, "nothing"),
    "phemex-perpetual": ("phemex", "BTCUSDT", lambda: phemex, bare, "nothing"),
    "dydx": ("dydx", "BTC-USD", lambda: dydx, prefixed, "nothing"),
    "dydx-v4": ("dydx_v4", "BTC-USD", lambda: Numbered(dydx_v4, key="message_id", first=0), prefixed, "connection"),
}
"""Of each sample of records: the format, the symbol, what writes its records, their container, and what shows a loss."""
"""Format, name, records of an event, what stands around each, and what shows loss."""

BESIDE_STREAM = ("binance", "gateio", "gateio-futures", "kucoin", "kucoin-futures", "bitstamp", "htx-mbp", "mexc", "mexc-futures")
"""Samples whose snapshots stand beside the stream, and have the id of a change before them."""

_ARRAYS = ("bybit", "kraken-v1")
SAMPLE_IDS = (
    *LINES,
    *(f"{name}-array" for name in _ARRAYS),
    *("tardis-csv", "tardis-csv-gz", "tardis-pandas-csv", "tardis-parquet", "tardis-pictures-csv", "tardis-pictures-parquet"),
    *("binance-csv", "cryptolake-parquet", "okx-zst", "gemini-connections"),
)
"""All samples."""

_CORE_IDS = (
    *("binance", "kraken-v2-frames", "okx-chain", "bitget-v3", "coinbase", "deribit", "htx-mbp", "hyperliquid", "gateio"),
    *("bitmex", "phemex", "dydx", "bybit-array", "tardis-csv", "tardis-pictures-parquet", "binance-csv"),
)
"""One sample for each kind of rule, proof and container."""

_FURTHER_SAMPLES = 4


def tried_samples(seed: str) -> tuple[str, ...]:
    """The samples with which the long tests of every venue are run: one of each kind, and some others that follow from the seed.

    `COWBOOK_TEST_VENUES=all` has them run with all samples, which takes twice as long as all other tests.
    """
    if os.environ.get("COWBOOK_TEST_VENUES") == "all":
        return (*SAMPLE_IDS, *CONTAINER_IDS)
    others = [name for name in (*SAMPLE_IDS, *CONTAINER_IDS) if name not in _CORE_IDS]
    return (*_CORE_IDS, *random.Random(seed).sample(others, _FURTHER_SAMPLES))


CONTAINER_IDS = ("kraken-v1-tar-gz", "okx-zip", "okx-cryptofeed-3", "kraken-v1-packets")
"""Samples of some of these formats in containers of their own."""


def numbered_by_diffs(events: Sequence[Event]) -> list[Event]:
    """The events as a venue numbers them whose snapshots stand beside the stream: a snapshot has the id of the diff before it."""
    numbered = []
    number = 1
    for event in events:
        number += event.kind == "diff"
        numbered.append(replace(event, number=number) if event.kind in ("diff", "snapshot") else event)
    return numbered


def records_of(sample_id: str, events: Sequence[Event]) -> list[tuple[Event, bytes]]:
    """The records that a venue sends, without a container, with their events."""
    _, name, make, _, _ = LINES[sample_id]
    numbered = numbered_by_diffs(events) if sample_id in BESIDE_STREAM else events
    write = make()
    records = []
    if sample_id == "bitfinex":
        records = [(events[0], text_of(record)) for record in bitfinex_opening(name)]
    sent = zip(events, numbered, strict=True)
    return records + [(event, text_of(record)) for event, as_sent in sent for record in write(as_sent, name)]


def make_sample(sample_id: str, seed: int = 1, count: int = 150) -> Sample:
    """A sample of `count` events, two thirds of them in the first phase."""
    events = tuple(make_events(seed, count))
    first = 2 * count // 3
    if sample_id in LINES:
        format_name, name, _, wrap, proof = LINES[sample_id]
        records = records_of(sample_id, events)
        lines = [wrap(event, record) for event, record in records]
        cut = next(place for place, (event, _) in enumerate(records) if event is events[first])
        whole = b"\n".join([*lines, b""])
        if sample_id == "kraken-v2-frames":
            whole = b"CBCAP1 kraken x 1\n" + whole
        size_before = len(whole) - len(b"\n".join([*lines[cut:], b""])) + len(lines[cut]) // 2  # in the middle of a record
        return Sample(sample_id, format_name, name, ({"a": whole[:size_before]}, {"a": whole}), events, proof)
    if sample_id.endswith("-array"):
        venue = sample_id.removesuffix("-array")
        format_name, name, _, _, proof = LINES[venue]
        records = records_of(venue, events)
        cut = len(records) // 2
        arrays = [b"[" + b",\n ".join(record for _, record in part) + b"]\n" for part in (records[:cut], records[cut:])]
        return Sample(sample_id, format_name, name, ({"a": arrays[0]}, {"a": arrays[0], "b": arrays[1]}), events, proof)
    if sample_id in CONTAINER_IDS:
        return _in_container(sample_id, events)
    return _make_tables(sample_id, events, first)


def _in_container(sample_id: str, events: tuple[Event, ...]) -> Sample:
    """Records in an archive, or as lines and packets of cryptofeed 3, of which a part is there before."""
    venue = next(name for name in LINES if sample_id.startswith(f"{name}-"))
    format_name, name, _, _, proof = LINES[venue]
    lines = [prefixed(event, record) for event, record in records_of(venue, events)]
    cut = len(lines) // 2
    if sample_id.endswith(("-tar-gz", "-zip")):
        make = tar_gz_of if sample_id.endswith("gz") else zip_of
        halves = [make({"2": b"\n".join(part[9:]), "1": b"\n".join(part[:9])}) for part in (lines[:cut], lines[cut:])]
        phases: tuple[dict[str, bytes], ...] = ({"a": halves[0]}, {"a": halves[0], "b": halves[1]})
    else:
        timed = [(time.rstrip(b":"), message) for time, _, message in (line.partition(b" ") for line in lines)]
        write = packets_of if sample_id.endswith("-packets") else cryptofeed_3_of
        before, whole = write(timed[:cut]), write(timed)
        assert whole.startswith(before)
        phases = ({"a": before}, {"a": whole})
    return Sample(sample_id, format_name, name, phases, events, proof)


def tar_gz_of(members: dict[str, bytes]) -> bytes:
    """A compressed tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)


def zip_of(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def cryptofeed_3_of(records: list[tuple[bytes, bytes]]) -> bytes:
    """JSON lines of cryptofeed 3, from times and messages."""
    entries = [b'{"t":"header","format":2,"exchange":"X"}', b'{"t":"connect","conn":"1","addr":"wss://x/ws","ts":1}']
    entries += [
        b'{"t":"recv","conn":"1","ts":%s,"data":%s}' % (time, json.dumps(text.decode()).encode()) for time, text in records
    ]
    return b"\n".join([*entries, b""])


def packets_of(records: list[tuple[bytes, bytes]]) -> bytes:
    """A capture of packets with one WebSocket, from times and messages."""
    connection = Connection(segment_bytes=300)
    connection.open(1)
    connection.send(1, upgrade(), from_server=False)
    connection.send(1, SWITCHED, from_server=True)
    for time, message in records:
        connection.send(nanoseconds_of(time), frame(message), from_server=True)
    return pcap(connection.segments)


def nanoseconds_of(time: bytes) -> int:
    """A time as a record has it in front, of whatever unit."""
    whole, _, fraction = time.partition(b".")
    if fraction or len(whole) < 12:
        return int(whole) * 10**9 + int(fraction.ljust(9, b"0") or b"0")
    return int(whole.ljust(19, b"0"))


def _make_tables(sample_id: str, events: tuple[Event, ...], first: int) -> Sample:
    name = "BTCUSDT"
    if sample_id == "okx-zst":
        plain = make_sample("okx", 1, len(events))
        phases = tuple({"a.zst": zstandard.compress(phase["a"].rpartition(b"\n")[0] + b"\n")} for phase in plain.phases)
        return Sample(sample_id, "okx", plain.name, phases, plain.events, "checksum")
    if sample_id == "gemini-connections":
        parts = tuple({"a": gemini_on_connections(known, "btcusd")} for known in (events[:first], events))
        return Sample(sample_id, "gemini", "btcusd", parts, events, "ids")
    if sample_id in ("tardis-pandas-csv", "tardis-parquet"):
        days = tardis_days(events, name, tardis_parquet if sample_id.endswith("parquet") else tardis_through_pandas)
        trades = tardis_csv(events, name, trades=True)
        return Sample(sample_id, "tardis", name, ({"1-book": days["1-book"]}, days | {"4-trades": trades}), events, "nothing")
    if sample_id.startswith("tardis-pictures"):
        write = tardis_pictures_csv if sample_id.endswith("csv") else tardis_pictures_parquet
        before = {"1-book": write(tardis_pictures(events[:first], name))}
        later = {"2-book": write(tardis_pictures(events[first:], name)), "3-trades": tardis_csv(events, name, trades=True)}
        return Sample(sample_id, "tardis", name, (before, before | later), events, "nothing")
    if sample_id.startswith("tardis-csv"):
        book, trades = (tardis_csv(events, name, trades=is_trades) for is_trades in (False, True))
        before = {"1-book": tardis_csv(events[:first], name, trades=False)}
        after = {"1-book": book, "2-trades": trades}
        if sample_id.endswith("gz"):
            # The last message may go on in what follows.
            before, after = ({key: gzip.compress(value, mtime=0) for key, value in phase.items()} for phase in (before, after))
        return Sample(sample_id, "tardis", name, (before, after), events, "nothing")
    if sample_id == "binance-csv":
        phases = ({"a": binance_csv(events[:first], name)[:-9]}, {"a": binance_csv(events, name)})
        return Sample(sample_id, "binance_csv", name, phases, events, "ids")
    before = {"1-book": cryptolake(events[:first], trades=False)}
    after = before | {"2-book": cryptolake(events[first:], trades=False), "3-trades": cryptolake(events, trades=True)}
    return Sample(sample_id, "cryptolake", name, (before, after), events, "nothing")


def disturbed(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Lines that are lost, come twice, late, in pieces."""
    placed: list[tuple[float, bytes]] = []
    for place, line in enumerate(lines):
        fate = rng.random()
        if fate < 0.04:
            continue
        placed.append((place + rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 1.5, 6.5]), line))
        if fate > 0.92:
            placed.append((place + rng.uniform(0, 12), line))
        if 0.04 <= fate < 0.06:
            placed.append((place + 0.25, line[: len(line) // 2]))
    return [line for _place, line in sorted(placed, key=lambda each: each[0])]
