"""Gemini's two generations: without ids and times, and with both; and a recorded capture of the first."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cowbook import replay
from cowbook.input.settings import DecoderSettings
from cowbook.input.venue import Connection
from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.plain.messages import DIFF, IS_LOOSE, IS_RESET, NONE, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADE
from cowbook.plain.schemes import RANGE
from cowbook.venues import load_venue
from cowbook.venues.recognise import formats_of
from support.verdicts import SETTINGS, book_of, decode

NS = 1_751_508_260_659_505_382


def with_time(record: dict[str, Any]) -> bytes:
    """A record behind its receive time."""
    return b"1700000000.5: " + json.dumps(record).encode()


def test_the_first_record_of_a_symbol_is_told_by_what_else_is_in_it() -> None:
    """It has trades and auctions of before. The time is the receive time."""
    record = {"type": "l2_updates", "symbol": "A-B", "changes": [["buy", "1.5", "2"], ["sell", "1.6", "0"]]}
    diff = decode("gemini", with_time(record))
    assert (diff.kind, diff.flags, diff.ts_event) == (DIFF, 0, 1_700_000_000_500_000_000)  # type: ignore[union-attr]
    assert (diff.bid_prices, diff.ask_sizes) == ([150], [0])  # type: ignore[union-attr]
    for key in ("trades", "auction_events"):
        first = decode("gemini", with_time(record | {key: []}))
        assert (first.kind, first.flags, first.ts_event) == (SNAPSHOT, IS_RESET, NONE)  # type: ignore[union-attr]
    assert isinstance(decode("gemini", record), Rejected)  # nothing has a time
    assert decode("gemini", record | {"symbol": "X"}) == OtherSymbol("X")
    assert decode("gemini", {"type": "heartbeat", "timestamp": 1}) is UNUSED
    trade = {"type": "trade", "symbol": "A-B", "event_id": 4, "timestamp": 5, "price": "1.5", "quantity": "2", "side": "sell"}
    found = decode("gemini", trade)
    assert (found.kind, found.last_id, found.flags) == (TRADE, 4, SELL_AGGRESSOR)  # type: ignore[union-attr]


UPDATE = {"e": "depthUpdate", "E": NS, "s": "A-B", "U": 11, "u": 12, "b": [["1.5", "2"]], "a": []}


def test_the_address_says_that_a_connection_begins_with_all_levels() -> None:
    """Only the first record behind it; another connection without that begins with changes."""
    decode_record = load_venue("gemini").decode_on_connection
    assert decode_record is not None
    update = json.dumps(UPDATE).encode()
    seen: list[int | None] = []
    connection: Connection = {}
    for record in (
        update,
        b"wss://ws.gemini.com?snapshot=-1 <-> 1700000000.5",
        json.dumps(UPDATE | {"s": "X"}).encode(),
        update,
        update,
        b"wss://ws.gemini.com?snapshot=-1 <-> 1700000001.5",
        b"wss://ws.gemini.com <-> 1700000002.5",
        update,
    ):
        decoded, connection = decode_record(record, SETTINGS, connection)
        seen.append(getattr(decoded, "kind", None))
    assert seen == [DIFF, None, None, SNAPSHOT, DIFF, None, None, DIFF]
    diff, _ = decode_record(update, SETTINGS, {})
    assert (diff.rule, diff.first_id, diff.last_id, diff.ts_event) == (RANGE, 11, 12, NS)  # type: ignore[union-attr]


def test_the_address_is_known_in_every_container_that_has_it(tmp_path: Path) -> None:
    """In the text of cryptofeed, and in its JSON lines; without an address there is no first book."""
    update, whole = UPDATE | {"U": 13, "u": 13}, {**UPDATE, "a": [["1.6", "1"]]}
    text = [b"wss://ws.gemini.com?snapshot=-1 <-> 1700000000.5", with_time(whole), with_time(update)]

    def received(record: dict[str, Any]) -> dict[str, Any]:
        return {"t": "recv", "conn": "c1", "ts": 1_700_000_001.5, "data": json.dumps(record)}

    opened = {"t": "connect", "conn": "c1", "addr": "wss://ws.gemini.com?snapshot=-1", "ts": 1_700_000_000.5}
    header = {"t": "header", "format": 2, "exchange": "GEMINI", "config": {}, "ts": 1_700_000_000.0}
    lines = [json.dumps(record).encode() for record in (header, opened, received(whole), received(update))]
    for place, content in enumerate((text, lines, [text[1], text[2]])):
        path = tmp_path / str(place)
        path.write_bytes(b"\n".join([*content, b""]))
        *_, engine = replay(str(path), "A-B", every=10**9, format="gemini", price_decimals=2, size_decimals=3)
        assert (engine.value("snapshots"), engine.value("diffs"), engine.synced) == ((1, 1, True) if place < 2 else (0, 2, False))
        assert book_of(engine) == ({150: 2000}, {160: 1000})


def test_trades_and_tickers_of_the_successor() -> None:
    """`m` is true if the buyer was the maker. Partial books name nobody."""
    trade = decode("gemini", {"E": NS, "s": "A-B", "t": 9, "p": "1.5", "q": "2", "m": True})
    assert (trade.kind, trade.last_id, trade.flags) == (TRADE, 9, SELL_AGGRESSOR)  # type: ignore[union-attr]
    ticker = decode("gemini", {"u": 3, "E": NS, "s": "A-B", "b": "1.5", "B": "2", "a": "1.6", "A": "1"})
    assert (ticker.kind, ticker.flags) == (TICKER, IS_LOOSE)  # type: ignore[union-attr]
    assert decode("gemini", {"lastUpdateId": 3, "bids": [], "asks": []}) is UNUSED


def test_only_times_in_ns_tell_its_records_from_binances() -> None:
    """The same record with a time in ms is one of Binance's."""
    settings = DecoderSettings("A/B", 8, 8, 10_000)
    assert formats_of(json.dumps(UPDATE).encode(), settings) == ["gemini"]
    assert formats_of(json.dumps(UPDATE | {"E": NS // 10**6}).encode(), settings) == ["binance"]


SYMBOLS = ("BTCGBP", "LINKETH", "FILUSD", "ZECLTC", "BATBTC", "ETHEUR", "LTCETH", "GRTUSD", "ANKRUSD", "ALCXUSD")


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_recorded_capture_gives_the_book_of_a_dictionary(shared_data: Path, symbol: str) -> None:
    """Messages and trades are all there, and the book at the end is what a few lines of Python make of the capture."""
    path = shared_data / "cryptofeed/GEMINI.ws.1.0"
    records = [json.loads(line.partition(b": ")[2]) for line in path.read_bytes().splitlines() if line[:1].isdigit()]
    book: dict[str, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}
    messages = trades = 0
    for record in records:
        if record.get("symbol") != symbol:
            continue
        trades += record["type"] == "trade"
        for side, price, size in record.get("changes", ()):
            book[side][Decimal(price)] = Decimal(size)
        messages += record["type"] == "l2_updates"
    *_, engine = replay(str(path), symbol, every=10**9, format="gemini")
    assert (engine.value("snapshots"), engine.value("snapshots") + engine.value("diffs")) == (1, messages)
    assert engine.value("trades") == trades
    assert sum(engine.dead_letter_statistics().values()) == 0
    assert (engine.synced, engine.value("crossed")) == (True, 0)
    expected = [{int(price * 10**8): int(size * 10**8) for price, size in levels.items() if size} for levels in book.values()]
    assert list(book_of(engine)) == expected
