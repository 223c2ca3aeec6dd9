"""Hyperliquid: a picture of both sides each time, trades, best prices, and subscriptions to merged prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.plain.messages import IS_LOOSE, IS_PICTURE, NONE, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADE, TRADES
from support.verdicts import book_of, decode, engine_after, message_of


def level(price: str, size: str) -> dict[str, Any]:
    """A level of one order."""
    return {"px": price, "sz": size, "n": 1}


def picture(time: int, bids: list[dict[str, Any]], asks: list[dict[str, Any]], coin: str = "A-B") -> dict[str, Any]:
    """A record of `l2Book`."""
    return {"channel": "l2Book", "data": {"coin": coin, "time": time, "levels": [bids, asks]}}


def test_each_picture_is_the_book(tmp_path: Path) -> None:
    """What it does not show is not there any more; it is known as far as it goes. A repeated one changes nothing."""
    first = picture(1_730_160_007_687, [level("1.5", "2"), level("1.4", "3")], [level("1.6", "1")])
    message = message_of("hyperliquid", first)
    assert (message.kind, message.flags, message.last_id) == (SNAPSHOT, IS_PICTURE, NONE)
    second = picture(1_730_160_008_187, [level("1.4", "3"), level("1.3", "9")], [level("1.6", "1")])
    engine = engine_after(tmp_path, "hyperliquid", [first, second, first])
    assert book_of(engine) == ({140: 3000, 130: 9000}, {160: 1000})
    assert (engine.synced, engine.value("duplicate_messages")) == (True, 1)
    assert (engine.value("bid_bound"), engine.value("ask_bound") > 10**18) == (130, True)


@pytest.mark.parametrize("coin", ["@107", "xyz:NVDA", "币安人生"])
def test_any_name_is_a_symbol(coin: str) -> None:
    """Spot, markets of builders, and names that are no ASCII."""
    record = picture(1_730_160_007_687, [], [], coin)
    settings = DecoderSettings(coin, 2, 3, 10_000)
    assert message_of("hyperliquid", record, settings).kind == SNAPSHOT
    assert decode("hyperliquid", record) == OtherSymbol(coin)


def test_trades_name_their_coins() -> None:
    """Those of others are left out; a record with none of the symbol's is another's."""
    trade = {"coin": "A-B", "side": "A", "px": "1.5", "sz": "2", "time": 1_730_160_007_700, "tid": 7, "users": ["0x1", "0x2"]}
    one = message_of("hyperliquid", {"channel": "trades", "data": [trade, trade | {"coin": "X"}]})
    assert (one.kind, one.flags, one.last_id, one.bid_prices) == (TRADE, SELL_AGGRESSOR, 7, [150])
    two = message_of("hyperliquid", {"channel": "trades", "data": [trade, trade | {"side": "B", "tid": 8}]})
    assert (two.kind, two.ask_prices[2:], two.ask_sizes[:2]) == (TRADES, [7, 8], [SELL_AGGRESSOR, 0])
    assert decode("hyperliquid", {"channel": "trades", "data": [trade | {"coin": "X"}]}) == OtherSymbol("X")
    assert decode("hyperliquid", {"channel": "trades", "data": []}) is UNUSED


def test_best_prices_are_a_loose_ticker_where_both_sides_are_there() -> None:
    """A side may be null."""
    best = {"coin": "A-B", "time": 1_730_160_007_701, "bbo": [level("1.5", "2"), level("1.6", "1")]}
    message = message_of("hyperliquid", {"channel": "bbo", "data": best})
    assert (message.kind, message.flags, message.bid_prices, message.ask_sizes) == (TICKER, IS_LOOSE, [150], [1000])
    assert decode("hyperliquid", {"channel": "bbo", "data": best | {"bbo": [level("1.5", "2"), None]}}) is UNUSED


@pytest.mark.parametrize(
    ("extra", "refused"), [({}, False), ({"nSigFigs": None, "mantissa": None}, False), ({"nSigFigs": 5}, True)]
)
def test_a_subscription_to_merged_prices_is_refused(extra: dict[str, Any], refused: bool) -> None:
    """Its records look like the book and are none."""
    subscription = {"type": "l2Book", "coin": "A-B"} | extra
    record = {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": subscription}}
    decoded = decode("hyperliquid", record)
    assert isinstance(decoded, Rejected) if refused else decoded is UNUSED
