"""Records of each venue and what they mean; what is broken is named, and nothing crashes a decoder."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from cowbook.event_batch import DIFF, HAS_CHECKSUM, IS_RESET, NONE, SELL_AGGRESSOR, SNAPSHOT, TRADE, TRADES
from cowbook.input.decoding import UNUSED, Decoded, DecodedMessage, DecoderSettings, OtherSymbol, Rejected, Subscription
from cowbook.schemes import CHAIN, RANGE, UNNUMBERED
from cowbook.venues import load_venue, venue_names

SETTINGS = DecoderSettings("A-B", 2, 3, 10_000)

BYBIT: dict[str, Any] = {
    "topic": "orderbook.50.A-B",
    "type": "delta",
    "ts": 1_672_304_484_978,
    "data": {"s": "A-B", "b": [["1.5", "2"]], "a": [["1.6", "0"], ["1.7", "3.125"]], "u": 177400507, "seq": 66544703342},
    "cts": 1_672_304_484_976,
}


def decode(venue: str, record: object, settings: DecoderSettings = SETTINGS) -> Decoded:
    """What a record is."""
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    return load_venue(venue).decode_record(content, settings)


def message_of(venue: str, record: object) -> DecodedMessage:
    """A record that is a message."""
    decoded = decode(venue, record)
    assert isinstance(decoded, DecodedMessage), decoded
    return decoded


def test_bybit() -> None:
    """No capture of it is at hand: these are as its documentation has them."""
    diff = message_of("bybit", BYBIT)
    assert (diff.kind, diff.rule, diff.first_id, diff.last_id) == (DIFF, RANGE, 177400507, 177400507)
    assert diff.ts_event == 1_672_304_484_976_000_000
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices, diff.ask_sizes) == ([150], [2000], [160, 170], [0, 3125])
    snapshot = message_of("bybit", BYBIT | {"type": "snapshot"})
    assert (snapshot.kind, snapshot.flags) == (SNAPSHOT, IS_RESET)
    trade = {"T": 1672304486865, "s": "A-B", "S": "Sell", "v": "0.001", "p": "16578.50", "i": "20f43950-d8dd"}
    one = message_of("bybit", {"topic": "publicTrade.A-B", "type": "snapshot", "ts": 1, "data": [trade]})
    assert (one.kind, one.flags, one.last_id, one.bid_prices, one.bid_sizes) == (TRADE, SELL_AGGRESSOR, NONE, [1657850], [1])
    several = [trade, trade | {"S": "Buy", "i": "2290000000", "T": 1672304486866}]
    both = message_of("bybit", {"topic": "publicTrade.A-B", "type": "snapshot", "ts": 1, "data": several})
    assert (both.kind, both.ts_event, both.bid_prices) == (TRADES, 1_672_304_486_866_000_000, [1657850, 1657850])
    assert both.ask_prices == [1_672_304_486_865_000_000, 1_672_304_486_866_000_000, NONE, 2290000000]
    assert both.ask_sizes == [SELL_AGGRESSOR, 0, 0, 0]
    assert decode("bybit", BYBIT | {"topic": "orderbook.50.X"}) == OtherSymbol("X")
    assert decode("bybit", {"op": "subscribe", "success": True}) is UNUSED


def test_okx_with_ids() -> None:
    """A chain of seqIds, and a checksum of 0, which is none."""
    book = {"asks": [["1.6", "1", "0", "1"]], "bids": [], "ts": "1652459225464", "checksum": 0, "prevSeqId": 9, "seqId": 12}
    record = {"arg": {"channel": "books", "instId": "A-B"}, "action": "update", "data": [book]}
    diff = message_of("okx", record)
    assert (diff.rule, diff.prev_id, diff.last_id, diff.flags) == (CHAIN, 9, 12, 0)
    old = {key: value for key, value in book.items() if "eqId" not in key} | {"checksum": -5}
    diff = message_of("okx", record | {"data": [old]})
    assert (diff.rule, diff.last_id, diff.flags, diff.checksum) == (UNNUMBERED, NONE, HAS_CHECKSUM, 2**32 - 5)


def test_kraken_depth() -> None:
    """The answer to a subscription says how deep the book is kept; only that of the symbol counts."""
    answer = {"method": "subscribe", "result": {"channel": "book", "depth": 25, "symbol": "A-B"}, "success": True}
    assert decode("kraken", answer) == Subscription(25)
    assert decode("kraken", answer | {"result": {"channel": "book", "depth": 25, "symbol": "X"}}) == OtherSymbol("X")
    assert decode("kraken", answer | {"method": "unsubscribe"}) is UNUSED
    two_parts = [1, {"a": [["1.60", "1.000", "1.5"]]}, {"b": [["1.50", "2.000", "2.25", "r"]], "c": "7"}, "book-10", "A-B"]
    diff = message_of("kraken", two_parts)
    assert (diff.depth, diff.checksum, diff.price_decimals, diff.size_decimals) == (10, 7, 2, 3)
    assert (diff.bid_prices, diff.ask_prices, diff.ts_event) == ([150], [160], 2_250_000_000)


def test_numbers_as_they_are_written() -> None:
    """JSON numbers are text to us: with exponents, too; what does not fit names the setting."""
    book = {"time": 1618677881.385007, "checksum": 1, "bids": [[1e-05, 12.35]], "asks": [], "action": "update"}
    record = {"channel": "orderbook", "market": "A-B", "type": "update", "data": book}
    rejected = decode("ftx", record)
    assert isinstance(rejected, Rejected)
    assert rejected == Rejected("out_of_range", "price 0.00001 has 5 decimals: price_decimals = 5 would fit")
    wide = decode("ftx", record, DecoderSettings("A-B", 8, 3, 10_000))
    assert isinstance(wide, DecodedMessage)
    assert (wide.bid_prices, wide.bid_sizes, wide.ts_event) == ([1000], [12350], 1_618_677_881_385_007_000)


@pytest.mark.parametrize("venue", [name for name in venue_names() if name != "binance"])
@pytest.mark.parametrize(
    "record", [b"", b" ", b"{", b"[]", b"{}", b"1", b'"x"', b"null", b"\xff", b"x" * 20_000, b"[" * 500, b"9" * 400]
)
def test_garbage(venue: str, record: bytes) -> None:
    """Is rejected by name, never raised."""
    decoded = decode(venue, record)
    assert not isinstance(decoded, DecodedMessage)


_BASES: dict[str, list[Any]] = {
    "bybit": [BYBIT],
    "okx": [
        {
            "arg": {"channel": "books", "instId": "A-B"},
            "action": "update",
            "data": [{"asks": [["1", "1"]], "bids": [], "ts": "5"}],
        }
    ],
    "bitget": [
        {
            "arg": {"channel": "books", "instId": "A-B"},
            "action": "snapshot",
            "data": [{"asks": [["1", "1"]], "bids": [], "ts": "5"}],
        }
    ],
    "ftx": [
        {
            "channel": "trades",
            "market": "A-B",
            "type": "update",
            "data": [{"id": 1, "price": 1, "size": 1, "side": "buy", "time": "2021-04-17T16:44:40+00:00"}],
        }
    ],
    "coinbase": [
        {"type": "l2update", "product_id": "A-B", "changes": [["buy", "1", "1"]], "time": "2021-04-17T16:43:37.075687Z"}
    ],
    "deribit": [
        {
            "method": "subscription",
            "params": {
                "channel": "book.A-B.raw",
                "data": {
                    "type": "change",
                    "timestamp": 5,
                    "instrument_name": "A-B",
                    "change_id": 2,
                    "prev_change_id": 1,
                    "bids": [["new", 1.5, 2.0]],
                    "asks": [],
                },
            },
        }
    ],
    "kraken": [
        [1, {"a": [["1", "1", "1.5"]], "c": "1"}, "book-10", "A-B"],
        {"channel": "book", "type": "update", "data": [{"symbol": "A-B", "bids": [], "asks": [{"price": 1.5, "qty": 2}]}]},
    ],
    "kraken_futures": [{"feed": "book", "product_id": "A-B", "side": "sell", "seq": 3, "price": 1.5, "qty": 2.0, "timestamp": 5}],
}


@pytest.mark.parametrize("venue", sorted(_BASES))
def test_any_damage_is_a_verdict(venue: str) -> None:
    """Whatever stands in a field: the decoder says what it is, and raises nothing."""
    rng = random.Random(5)
    odd: list[Any] = [None, True, -1, 0, 1.5, 10**30, "", "x", "-1", "1.5", [], {}, [[]], [{}], [None], [["1"]], "9" * 60]

    def damaged(value: Any) -> Any:
        if rng.random() < 0.15:
            return rng.choice(odd)
        if isinstance(value, dict):
            return {key: damaged(entry) for key, entry in value.items() if rng.random() > 0.05}
        if isinstance(value, list):
            return [damaged(entry) for entry in value]
        return value

    verdicts = set()
    for base in _BASES[venue]:
        assert isinstance(decode(venue, base), DecodedMessage)
        for _ in range(2_000):
            verdicts.add(type(decode(venue, damaged(base))))
    assert Rejected in verdicts
