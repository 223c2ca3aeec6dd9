"""Several connections in one capture: the book is that of one address, and a connection that is opened again ends sync."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from cowbook.input.decoder import Decoder
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import BREAK, DIFF, SNAPSHOT, TRADE, TRADES, UNUSED, EventBatch
from cowbook.venues.decoders import make_decoder

LINEAR, SPOT = "wss://stream.bybit.com/v5/public/linear", "wss://stream.bybit.com/v5/public/spot"


def record(kind: str, conn: str, **members: Any) -> dict[str, Any]:
    """A record of cryptofeed 3."""
    return {"t": kind, "conn": conn, "ts": 1_700_000_000.25, **members}


def received(conn: str, message: dict[str, Any]) -> dict[str, Any]:
    """A message as text in a record."""
    return record("recv", conn, data=json.dumps(message, separators=(",", ":")))


def book(conn: str, number: int, kind: str = "delta") -> dict[str, Any]:
    """A book message of Bybit."""
    data = {"s": "BTCUSDT", "b": [["10.5", "2"]], "a": [["11.5", "3"]], "u": number, "seq": number}
    return received(
        conn, {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1_700_000_000_000, "data": data, "cts": 1_700_000_000_000}
    )


def trade(conn: str, number: int) -> dict[str, Any]:
    """A trade of Bybit."""
    data = [{"T": 1_700_000_000_000, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "11", "i": str(number)}]
    return received(conn, {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1_700_000_000_000, "data": data})


def capture(*records: dict[str, Any]) -> bytes:
    """A capture of cryptofeed 3."""
    header = {"t": "header", "format": 2, "exchange": "BYBIT"}
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in (header, *records))


def settings(address: str = "") -> DecoderSettings:
    """The settings of BTCUSDT."""
    return DecoderSettings("BTCUSDT", 8, 8, 1 << 20, address=address)


def decode(content: bytes, decoder: Decoder, sizes: list[int], start: int = 0) -> list[tuple[int, ...]]:
    """All messages from an offset on, of blocks of these sizes: kind, last id, sequence and end offset."""
    batch = EventBatch.allocate(7, 64)
    found: list[tuple[int, ...]] = []
    place = start
    for size in [*sizes, len(content)]:
        end = min(place + size, len(content))
        while True:
            is_last = end == len(content)
            buffer = np.zeros(end - start + PADDING, np.uint8)
            buffer[: end - start] = np.frombuffer(content[start:end], np.uint8)
            block = Block(buffer, 0, end - start, "file", start, final=is_last, head=content[:1024])
            is_full = decoder.decode(block, batch)
            messages = batch.messages[: batch.message_count]
            found += [tuple(int(each[name]) for name in ("kind", "last_id", "sequence", "end_offset")) for each in messages]
            start += block.start
            batch.clear()
            if not is_full:
                break
        place = end
        if place == len(content):
            break
    assert start == len(content)
    return found


RECORDS = (
    record("connect", "1", addr=LINEAR),
    record("connect", "2", addr=SPOT),
    record("connect", "3", addr=LINEAR),
    book("1", 5, "snapshot"),
    book("2", 90, "snapshot"),
    trade("2", 1),
    book("1", 6),
    trade("3", 2),
    book("2", 91),
    record("connect", "2", addr=SPOT),
    record("connect", "3", addr=LINEAR),
    record("connect", "1", addr=LINEAR),
    book("1", 70, "snapshot"),
)
CONTENT = capture(*RECORDS)


def kinds(found: list[tuple[int, ...]]) -> list[int]:
    """The kinds of messages, those of one trade and of several alike."""
    return [TRADE if kind == TRADES else kind for kind, *_ in found]


def test_the_book_is_of_the_address_of_the_first_depth_message() -> None:
    """What is of another address is unused, trades as well; another connection of the same one is used."""
    found = decode(CONTENT, make_decoder("bybit", settings()), [])
    opened = [UNUSED] * 3
    assert kinds(found) == [
        UNUSED, *opened, SNAPSHOT, UNUSED, UNUSED, DIFF, TRADE, UNUSED, UNUSED, UNUSED, BREAK, SNAPSHOT
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("wss://stream.binance.com:9443/ws/btcusdt@depth", "wss://stream.binance.com:443/stream?streams=btcusdt@trade", True),
        ("wss://ws.kraken.com", "ws://ws.kraken.com/", True),
        ("wss://stream.binance.com:9443/ws", "wss://fstream.binance.com/ws", False),
        (LINEAR, SPOT, False),
        (LINEAR, "", True),
    ],
)
def test_addresses_of_one_market_are_one(first: str, second: str, is_one: bool) -> None:
    """Ports, and what was asked for, tell no markets apart. Of a connection without an address everything is used."""
    content = capture(
        record("connect", "1", addr=first), record("connect", "2", addr=second), book("1", 5, "snapshot"), trade("2", 1)
    )
    assert kinds(decode(content, make_decoder("bybit", settings()), []))[-1] == (TRADE if is_one else UNUSED)


def test_a_configured_address_is_the_books() -> None:
    """The other market is unused then."""
    found = decode(CONTENT, make_decoder("bybit", settings(SPOT)), [])
    assert kinds(found)[4:] == [UNUSED, SNAPSHOT, TRADE, UNUSED, UNUSED, DIFF, BREAK, UNUSED, UNUSED, UNUSED]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_depends_on_blocks_or_on_where_it_is_gone_on(seed: int) -> None:
    """A decoder with the state behind any message goes on as the first one would have."""
    rng = random.Random(seed)
    sizes = [rng.randrange(1, 400) for _ in range(40)]
    whole = decode(CONTENT, make_decoder("bybit", settings()), [])
    assert decode(CONTENT, make_decoder("bybit", settings()), sizes) == whole
    first = make_decoder("bybit", settings())
    batch = EventBatch.allocate()
    buffer = np.zeros(len(CONTENT) + PADDING, np.uint8)
    buffer[: len(CONTENT)] = np.frombuffer(CONTENT, np.uint8)
    first.decode(Block(buffer, 0, len(CONTENT), "file", 0, final=True, head=CONTENT[:1024]), batch)
    place = rng.randrange(len(whole) + 1)
    second = make_decoder("bybit", settings())
    second.restore_connection(first.connection_after(place))
    start = whole[place - 1][3] if place else 0
    assert decode(CONTENT, second, sizes, start) == whole[place:]


def test_numbers_of_another_connection_are_not_the_books() -> None:
    """Each connection numbers its own records."""

    def advanced(conn: str, channel: str, number: int, kind: str) -> dict[str, Any]:
        updates = [{"side": "bid", "event_time": "2024-01-01T00:00:00Z", "price_level": "1", "new_quantity": "1"}]
        events = [{"type": kind, "product_id": "BTC-USD", "updates": updates}]
        message = {
            "channel": channel,
            "client_id": "",
            "timestamp": "2024-01-01T00:00:00Z",
            "sequence_num": number,
            "events": events,
        }
        return received(conn, message)

    content = capture(
        record("connect", "1", addr="wss://c"),
        record("connect", "2", addr="wss://c"),
        advanced("2", "heartbeats", 3, "x"),
        advanced("1", "l2_data", 0, "snapshot"),
        advanced("2", "heartbeats", 4, "x"),
        advanced("1", "l2_data", 1, "update"),
    )
    decoder = make_decoder("coinbase_advanced", DecoderSettings("BTC-USD", 8, 8, 1 << 20))
    found = decode(content, decoder, [])
    assert [sequence for _, _, sequence, _ in found[3:]] == [0, 1, 0, 2]


def test_a_blank_line_of_tardis_raw_slices_is_a_lost_connection() -> None:
    """In no other file does it say anything."""
    line = b'2024-05-01T00:00:00.0123456Z {"e":"kline"}\n'
    found = decode(line + b"\n" + line, make_decoder("binance", settings()), [])
    assert [kind for kind, *_ in found] == [UNUSED, BREAK, UNUSED]
    found = decode(line.replace(b"56Z", b"Z") + b"\n" + line, make_decoder("binance", settings()), [])
    assert [kind for kind, *_ in found] == [UNUSED, UNUSED]


def test_channels_of_two_connections_are_two() -> None:
    """Bitfinex numbers its channels anew on each connection."""

    def subscribed(conn: str, number: int, symbol: str) -> dict[str, Any]:
        fields = {
            "event": "subscribed",
            "channel": "book",
            "chanId": number,
            "symbol": symbol,
            "prec": "P0",
            "freq": "F0",
            "len": "25",
        }
        return received(conn, {**fields, "pair": symbol[1:]})

    content = capture(
        record("connect", "1", addr="wss://b"),
        record("connect", "2", addr="wss://b"),
        subscribed("1", 17, "tBTCUSD"),
        subscribed("2", 17, "tETHUSD"),
        record("recv", "1", data="[17,[[10,1,2],[11,1,-3]]]"),
        record("recv", "2", data="[17,[[20,1,2],[21,1,-3]]]"),
        record("recv", "1", data="[17,[9,1,2]]"),
    )
    decoder = make_decoder("bitfinex", DecoderSettings("tBTCUSD", 8, 8, 1 << 20))
    found = decode(content, decoder, [])
    assert [kind for kind, *_ in found if kind in (SNAPSHOT, DIFF)] == [SNAPSHOT, DIFF]
