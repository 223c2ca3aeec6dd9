"""What people do today, as honestly as we can write it: the loops that cowbook is measured against."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from typing import Any

import orjson


def _messages(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        message = orjson.loads(line[20:])
        yield message.get("data", message)


def run_dict_loop(lines: list[bytes]) -> tuple[int, float]:
    """Plain dictionaries, floats, best prices by max and min: (levels, seconds)."""
    started = time.perf_counter()
    levels = 0
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    best = None
    for message in _messages(lines):
        if message.get("e") == "depthUpdate":
            for side, changes in ((bids, message["b"]), (asks, message["a"])):
                for price_text, size_text in changes:
                    price, size = float(price_text), float(size_text)
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)
                levels += len(changes)
            if bids and asks:
                best = max(bids), min(asks)
        elif "lastUpdateId" in message:
            bids = {float(price): float(size) for price, size in message["bids"]}
            asks = {float(price): float(size) for price, size in message["asks"]}
            levels += len(bids) + len(asks)
    assert best is not None
    return levels, time.perf_counter() - started


def run_order_book(lines: list[bytes]) -> tuple[int, float]:
    """The C extension order-book with orjson and floats, best level of both sides after each message: (levels, seconds)."""
    from order_book import OrderBook

    started = time.perf_counter()
    levels = 0
    book = OrderBook()
    best = None
    for message in _messages(lines):
        if message.get("e") == "depthUpdate":
            for side, changes in ((book.bids, message["b"]), (book.asks, message["a"])):
                for price_text, size_text in changes:
                    price, size = float(price_text), float(size_text)
                    if size:
                        side[price] = size
                    elif price in side:
                        del side[price]
                levels += len(changes)
            if len(book.bids) and len(book.asks):
                best = book.bids.index(0), book.asks.index(0)
        elif "lastUpdateId" in message:
            book.bids = {float(price): float(size) for price, size in message["bids"]}
            book.asks = {float(price): float(size) for price, size in message["asks"]}
            levels += len(book.bids) + len(book.asks)
    assert best is not None
    return levels, time.perf_counter() - started


def prepare_nautilus(messages: list[list[tuple[int, int, int]]]) -> list[Any] | None:
    """nautilus_trader's objects for `run_nautilus`, None where it is not installed.

    `messages` has (side, price, size) of each level, both with 8 decimals.
    """
    if importlib.util.find_spec("nautilus_trader") is None:
        return None
    from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
    from nautilus_trader.model.enums import BookAction, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.objects import Price, Quantity

    instrument = InstrumentId.from_str("BTCUSDT.BINANCE")
    sides = (OrderSide.BUY, OrderSide.SELL)
    prepared = []
    for sequence, message in enumerate(messages):
        deltas = []
        for side, price, size in message:
            action = BookAction.UPDATE if size else BookAction.DELETE
            order = BookOrder(sides[side], Price(price / 1e8, 2), Quantity(size / 1e8, 8), price)
            deltas.append(OrderBookDelta(instrument, action, order, 0, sequence, 0, 0))
        if deltas:
            prepared.append(OrderBookDeltas(instrument, deltas))
    return prepared


def run_nautilus(prepared: list[Any]) -> tuple[int, float]:
    """nautilus_trader's book alone, `apply_deltas` of prepared deltas: (levels, seconds)."""
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType

    book = OrderBook(prepared[0].instrument_id, BookType.L2_MBP)
    started = time.perf_counter()
    for deltas in prepared:
        book.apply_deltas(deltas)
    seconds = time.perf_counter() - started
    return sum(len(deltas.deltas) for deltas in prepared), seconds
