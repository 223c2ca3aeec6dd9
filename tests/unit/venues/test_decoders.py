"""Records of each venue and what they mean; what is broken is named, and nothing crashes a decoder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.venue import Connection
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected, Sequenced, Subscription
from cowbook.inspection.pieces import go_through, settings_of
from cowbook.plain.messages import DIFF, HAS_CHECKSUM, IS_RESET, NONE, SELL_AGGRESSOR, SNAPSHOT, TRADE, TRADES
from cowbook.plain.schemes import CHAIN, COUNTER, UNNUMBERED
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
    found = load_venue(venue)
    if found.decode_on_connection is not None:
        return found.decode_on_connection(content, settings, {"7": "book A-B", "8": "trades A-B", "9": "raw A-B"})[0]
    assert found.decode_record is not None
    return found.decode_record(content, settings)


def message_of(venue: str, record: object) -> DecodedMessage:
    """A record that is a message."""
    decoded = decode(venue, record)
    assert isinstance(decoded, DecodedMessage), decoded
    return decoded


def test_bybit_snapshots_deltas_and_trades() -> None:
    """No capture of it is at hand: these are as its documentation has them."""
    diff = message_of("bybit", BYBIT)
    assert (diff.kind, diff.rule, diff.first_id, diff.last_id) == (DIFF, COUNTER, 177400507, 177400507)
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


def test_okx_ids_chain_and_a_checksum_of_0_is_none() -> None:
    """A chain of seqIds, and a checksum of 0, which is none."""
    book = {"asks": [["1.6", "1", "0", "1"]], "bids": [], "ts": "1652459225464", "checksum": 0, "prevSeqId": 9, "seqId": 12}
    record = {"arg": {"channel": "books", "instId": "A-B"}, "action": "update", "data": [book]}
    diff = message_of("okx", record)
    assert (diff.rule, diff.prev_id, diff.last_id, diff.flags) == (CHAIN, 9, 12, 0)
    old = {key: value for key, value in book.items() if "eqId" not in key} | {"checksum": -5}
    diff = message_of("okx", record | {"data": [old]})
    assert (diff.rule, diff.last_id, diff.flags, diff.checksum) == (UNNUMBERED, NONE, HAS_CHECKSUM, 2**32 - 5)


def test_kraken_depth_comes_from_the_own_subscription() -> None:
    """The answer to a subscription says how deep the book is kept; only that of the symbol counts."""
    answer = {"method": "subscribe", "result": {"channel": "book", "depth": 25, "symbol": "A-B"}, "success": True}
    assert decode("kraken", answer) == Subscription(25)
    assert decode("kraken", answer | {"result": {"channel": "book", "depth": 25, "symbol": "X"}}) == OtherSymbol("X")
    assert decode("kraken", answer | {"method": "unsubscribe"}) is UNUSED
    two_parts = [1, {"a": [["1.60", "1.000", "1.5"]]}, {"b": [["1.50", "2.000", "2.25", "r"]], "c": "7"}, "book-10", "A-B"]
    diff = message_of("kraken", two_parts)
    assert (diff.depth, diff.checksum, diff.price_decimals, diff.size_decimals) == (10, 7, 2, 3)
    assert (diff.bid_prices, diff.ask_prices, diff.ts_event) == ([150], [160], 2_250_000_000)


def test_json_numbers_are_taken_as_text() -> None:
    """JSON numbers are text to us: with exponents, too; what does not fit names the setting."""
    book = {"time": 1618677881.385007, "checksum": 1, "bids": [[1e-05, 12.35]], "asks": [], "action": "update"}
    record = {"channel": "orderbook", "market": "A-B", "type": "update", "data": book}
    rejected = decode("ftx", record)
    assert isinstance(rejected, Rejected)
    assert rejected == Rejected("out_of_range", "price 0.00001 has 5 decimals: price_decimals = 5 would fit")
    wide = decode("ftx", record, DecoderSettings("A-B", 8, 3, 10_000))
    assert isinstance(wide, DecodedMessage)
    assert (wide.bid_prices, wide.bid_sizes, wide.ts_event) == ([1000], [12350], 1_618_677_881_385_007_000)


@pytest.mark.parametrize("venue", [name for name in venue_names() if name != "binance" and not load_venue(name).tables])
@pytest.mark.parametrize(
    "record",
    [b"", b" ", b"{", b"[]", b"{}", b"1", b'"x"', b"null", b"\xff", b"x" * 20_000, b"[" * 500, b"9" * 400],
    ids=[
        *("empty", "space", "cut", "array", "object", "number", "string", "null"),
        *("not_utf8", "overlong", "nested", "many_digits"),
    ],
)
def test_garbage_is_rejected_and_never_raised(venue: str, record: bytes) -> None:
    """Is rejected by name, never raised."""
    decoded = decode(venue, record)
    assert not isinstance(decoded, DecodedMessage)


def on_bitfinex(record: str, connection: Connection) -> tuple[Decoded, Connection]:
    """What a record is on a connection, with a receive time before it."""
    decode_record = load_venue("bitfinex").decode_on_connection
    assert decode_record is not None
    return decode_record(b"1618677543.5: " + record.encode(), DecoderSettings("tAB", 8, 8, 10_000), connection)


def test_bitfinex_channels_are_known_by_number() -> None:
    """Channels are known by number; what is agreed on is never changed in place."""
    empty: Connection = MappingProxyType({})
    decoded, one = on_bitfinex('{"event":"subscribed","channel":"book","chanId":7,"symbol":"tAB","prec":"P0","len":"25"}', empty)
    assert (decoded, one) == (UNUSED, {"7": "book tAB"})
    decoded, two = on_bitfinex('{"event":"subscribed","channel":"trades","chanId":8,"symbol":"tAB"}', MappingProxyType(dict(one)))
    assert (decoded, two) == (UNUSED, {"7": "book tAB", "8": "trades tAB"})
    decoded, three = on_bitfinex('{"event":"subscribed","channel":"book","chanId":9,"symbol":"tX","prec":"R0"}', two)
    assert decoded == OtherSymbol("tX")
    assert on_bitfinex('{"event":"unsubscribed","status":"OK","chanId":7}', three)[1] == {"8": "trades tAB", "9": "raw tX"}
    assert on_bitfinex('{"event":"info","version":2}', three) == (UNUSED, {})
    assert on_bitfinex('{"event":"conf","status":"OK"}', three) == (UNUSED, three)

    snapshot, _ = on_bitfinex("[7,[[0.5,1,2],[0.25,3,-1.5e-7]],12]", two)
    assert isinstance(snapshot, Sequenced)
    assert snapshot.sequence == 12
    book = snapshot.decoded
    assert isinstance(book, DecodedMessage)
    assert (book.kind, book.flags, book.bid_prices, book.bid_sizes) == (SNAPSHOT, IS_RESET, [50_000_000], [200_000_000])
    assert (book.ask_prices, book.ask_sizes, book.ts_recv) == ([25_000_000], [15], 1_618_677_543_500_000_000)
    removed, _ = on_bitfinex("[7,[0.5,0,-1],13,1618677543000]", two)
    assert isinstance(removed, Sequenced)
    assert isinstance(removed.decoded, DecodedMessage)
    assert (removed.decoded.kind, removed.decoded.ask_prices, removed.decoded.ask_sizes) == (DIFF, [50_000_000], [0])
    assert removed.decoded.ts_event == 1_618_677_543_000_000_000
    unnumbered, _ = on_bitfinex("[7,[0.5,1,3]]", two)
    assert isinstance(unnumbered, DecodedMessage)
    assert (unnumbered.bid_sizes, unnumbered.ts_event) == ([300_000_000], 1_618_677_543_500_000_000)
    checksum, _ = on_bitfinex('[7,"cs",-7,14]', two)
    assert isinstance(checksum, Sequenced)
    assert isinstance(checksum.decoded, DecodedMessage)
    assert (checksum.decoded.flags, checksum.decoded.checksum) == (HAS_CHECKSUM, 2**32 - 7)
    trade, _ = on_bitfinex('[8,"te",[670155031,1618677442819,-0.5,60410],15]', two)
    assert isinstance(trade, Sequenced)
    assert isinstance(trade.decoded, DecodedMessage)
    assert (trade.decoded.kind, trade.decoded.flags, trade.decoded.last_id) == (TRADE, SELL_AGGRESSOR, 670155031)
    for same in ('[8,"tu",[670155031,1618677442819,-0.5,60410],16]', "[8,[[1,2,3,4]],16]", '[7,"hb",16]', '[0,"hb",16]'):
        assert on_bitfinex(same, two)[0] == Sequenced(UNUSED, 16)
    assert on_bitfinex("[9,[1,2,3],17]", three)[0] == Sequenced(OtherSymbol("tX"), 17)
    assert on_bitfinex("[10,[1,2,3],17]", three)[0] == Sequenced(OtherSymbol("channel 10"), 17)
    assert isinstance(on_bitfinex("[9,[1,2,3],17]", {"9": "raw tAB"})[0], Rejected)


def test_coinbase_advanced_numbers_every_record() -> None:
    """No capture of it is at hand: these are as its documentation has them. Every record has a number, from 0 on."""
    level = {"side": "bid", "event_time": "1970-01-01T00:00:00Z", "price_level": "21921.73", "new_quantity": "0.063"}
    book = {
        "channel": "l2_data",
        "client_id": "",
        "timestamp": "2023-02-09T20:32:50.714964855Z",
        "sequence_num": 0,
        "events": [
            {"type": "update", "product_id": "X", "updates": [level]},
            {"type": "update", "product_id": "A-B", "updates": [level, level | {"side": "offer", "new_quantity": "0"}]},
        ],
    }
    decoded = decode("coinbase_advanced", book)
    assert isinstance(decoded, Sequenced)
    assert decoded.sequence == 1
    diff = decoded.decoded
    assert isinstance(diff, DecodedMessage)
    assert (diff.kind, diff.rule, diff.ts_event) == (DIFF, UNNUMBERED, 1_675_974_770_714_964_855)
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices, diff.ask_sizes) == ([2192173], [63], [2192173], [0])
    other = decode("coinbase_advanced", book | {"events": book["events"][:1]})  # type: ignore[index]
    assert other == Sequenced(OtherSymbol("X"), 1)
    trade = {
        "trade_id": "12345",
        "product_id": "A-B",
        "price": "1.5",
        "size": "2",
        "side": "SELL",
        "time": "2023-02-09T20:19:35Z",
    }
    trades = {"channel": "market_trades", "timestamp": "x", "sequence_num": 7, "events": [{"type": "update", "trades": [trade]}]}
    decoded = decode("coinbase_advanced", trades)
    assert isinstance(decoded, Sequenced)
    assert isinstance(decoded.decoded, DecodedMessage)
    assert (decoded.decoded.kind, decoded.decoded.flags, decoded.decoded.last_id) == (TRADE, 0, 12345)
    before = trades | {"events": [{"type": "snapshot", "trades": [trade]}]}
    assert decode("coinbase_advanced", before) == Sequenced(UNUSED, 8)
    for channel in ("heartbeats", "subscriptions", "ticker"):
        assert decode("coinbase_advanced", {"channel": channel, "sequence_num": 8, "events": []}) == Sequenced(UNUSED, 9)
    assert decode("coinbase_advanced", {"type": "subscribe", "product_ids": []}) is UNUSED


_BASES: dict[str, list[Any]] = {
    "bitfinex": [[7, [1.5, 1, -2], 5, 1618677442819], [8, "te", [1, 1618677442819, -0.5, 60410]]],
    "coinbase_advanced": [
        {
            "channel": "l2_data",
            "timestamp": "2023-02-09T20:32:50.7Z",
            "sequence_num": 0,
            "events": [
                {
                    "type": "snapshot",
                    "product_id": "A-B",
                    "updates": [{"side": "offer", "price_level": "21.73", "new_quantity": "0.063"}],
                }
            ],
        }
    ],
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
        {
            "channel": "book",
            "type": "update",
            "data": [
                {"symbol": "A-B", "bids": [], "asks": [{"price": 1.5, "qty": 2}], "timestamp": "2026-08-02T03:36:03.328024Z"}
            ],
        },
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
        assert isinstance(decode(venue, base), DecodedMessage | Sequenced)
        for _ in range(2_000):
            verdicts.add(type(decode(venue, damaged(base))))
    assert Rejected in verdicts


@pytest.mark.parametrize(
    ("venue", "symbol", "record", "kind"),
    [
        pytest.param(
            "binance",
            "BTCUSDT",
            b'{"stream":"btcusdt@depthSnapshot","generated":true,"data":{"lastUpdateId":160,"bids":[["1","2"]],"asks":[["3","4"]]}}',
            SNAPSHOT,
            id="depthSnapshot",
        ),
        pytest.param(
            "kucoin",
            "BTC-USDT",
            b'{"type":"message","generated":true,"topic":"/market/level2Snapshot:BTC-USDT","subject":"trade.l2Snapshot",'
            b'"data":{"time":1714521600000,"sequence":"10","bids":[["1","2"]],"asks":[["3","4"]]}}',
            SNAPSHOT,
            id="level2Snapshot",
        ),
        pytest.param(
            "mexc_futures",
            "BTC_USDT",
            b'{"channel":"push.depth.snapshot","symbol":"BTC_USDT","generated":true,'
            b'"data":{"asks":[[3,4,1]],"bids":[[1,2,1]],"version":10,"timestamp":1714521600000},"ts":1714521600000}',
            SNAPSHOT,
            id="push.depth.snapshot",
        ),
        pytest.param(
            "htx",
            "btcusdt",
            b'{"ch":"market.btcusdt.depth.step0","ts":1714521600000,"update":true,'
            b'"tick":{"bids":[[1,2]],"asks":[],"version":3,"ts":1714521600000}}',
            DIFF,
            id="depth_with_update",
        ),
    ],
)
def test_records_that_tardis_adds_to_raw_data_are_read(tmp_path: Path, venue: str, symbol: str, record: bytes, kind: int) -> None:
    """Snapshots that it has asked for, and books of which only the changes are kept."""
    path = tmp_path / "x"
    path.write_bytes(b"2024-05-01T00:00:00.0123456Z " + record + b"\n")
    pieces = go_through(path, venue, settings_of(symbol))
    assert [int(message["kind"]) for piece in pieces for message in piece.messages()] == [kind]
