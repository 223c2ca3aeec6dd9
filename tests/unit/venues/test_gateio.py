"""Gate.io: what each record means, and what answers prove."""

from __future__ import annotations

from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import DIFF, IS_PICTURE, IS_RESET, IS_UNLABELLED, NONE, SELL_AGGRESSOR, SNAPSHOT, TRADES
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues import load_venue
from support.in_memory import go_through, lines_of
from support.venue_samples import text_of

SETTINGS = DecoderSettings("BTC_USDT", 2, 3, 10_000)
NOW = 1_700_000_000_000


def decode(record: Any, venue: str = "gateio", address: str = "") -> Decoded:
    """What a record is."""
    decode_record = load_venue(venue).decode_record
    assert decode_record is not None
    return decode_record((f"{address} -> 1700000000.5: " if address else "").encode() + text_of(record), SETTINGS)


def message_of(record: Any, venue: str = "gateio", address: str = "") -> DecodedMessage:
    """A record that is a message."""
    decoded = decode(record, venue, address)
    assert isinstance(decoded, DecodedMessage), decoded
    return decoded


def update(first: int, last: int, bids: Any = (), asks: Any = (), **more: Any) -> dict[str, Any]:
    """An update of the spot book."""
    book = {"t": NOW + last, "e": "depthUpdate", "s": "BTC_USDT", "U": first, "u": last, "b": list(bids), "a": list(asks)}
    return {"time": NOW // 1000, "channel": "spot.order_book_update", "event": "update", "result": book | more}


def test_spot_updates_pictures_and_full_books() -> None:
    """An update is a range; one that says `full` replaces the book; `spot.order_book` is a picture."""
    diff = message_of(update(5, 7, [["1.5", "2"]], [["1.6", "0"]]))
    assert (diff.kind, diff.rule, diff.first_id, diff.last_id, diff.channel) == (DIFF, RANGE, 5, 7, 1)
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_sizes, diff.ts_event) == ([150], [2000], [0], (NOW + 7) * 10**6)
    full = message_of(update(5, 7, [["1.5", "2"]], full=True))
    assert (full.kind, full.flags, full.last_id) == (SNAPSHOT, IS_RESET, 7)
    deep = update(5, 7) | {"channel": "spot.obu"}
    deep["result"]["s"] = "ob.BTC_USDT.400"
    del deep["result"]["a"]  # nothing has changed there
    assert (message_of(deep).channel, message_of(deep).depth) == (400, 400)
    picture = {"t": NOW, "lastUpdateId": 9, "s": "BTC_USDT", "l": "5", "bids": [["1.5", "2"]], "asks": []}
    shown = message_of({"channel": "spot.order_book", "event": "update", "result": picture})
    assert (shown.kind, shown.flags, shown.last_id) == (SNAPSHOT, IS_PICTURE, NONE)
    assert decode(update(5, 7, s="ETH_USDT")) == OtherSymbol("ETH_USDT")
    assert decode({"channel": "spot.order_book_update", "event": "subscribe", "result": {"status": "success"}}) is UNUSED
    assert isinstance(decode(update(5, 7, U="5")), Rejected)
    assert isinstance(decode({"channel": "book", "event": "update"}), Rejected)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", IS_UNLABELLED),
        ("https://api.gateio.ws/api/v4/spot/order_book?currency_pair=BTC_USDT&with_id=true", 0),
        ("https://api.gateio.ws/api/v4/spot/order_book?with_id=true", IS_UNLABELLED),
        ("https://api.gateio.ws/api/v4/spot/order_book?currency_pair=X_Y", OtherSymbol("X_Y")),
        ("https://api.gateio.ws/api/v4/spot/tickers?currency_pair=BTC_USDT", UNUSED),
    ],
)
def test_an_answer_is_whose_its_address_says(address: str, expected: Any) -> None:
    """It does not replace a synced book."""
    answer = {"id": 7, "update": NOW, "asks": [["1.6", "1"]], "bids": []}
    decoded = decode(answer, address=address)
    if isinstance(decoded, DecodedMessage):
        assert (decoded.kind, decoded.last_id, decoded.flags, decoded.rule) == (SNAPSHOT, 7, expected, RANGE)
    else:
        assert decoded == expected


def test_the_oldest_interface_has_no_ids() -> None:
    """The newest trade comes first. The same words with a symbol without an underscore are another venue's."""
    book = {"method": "depth.update", "params": [True, {"bids": [["1.5", "2"]]}, "BTC_USDT"], "id": None}
    snapshot = decode(book, address="https://x")  # with a receive time
    assert snapshot is UNUSED  # it is no answer
    decode_record = load_venue("gateio").decode_record
    assert decode_record is not None
    decoded = decode_record(b"1700000000.5: " + text_of(book), SETTINGS)
    assert isinstance(decoded, DecodedMessage)
    assert (decoded.kind, decoded.rule, decoded.flags, decoded.last_id) == (SNAPSHOT, UNNUMBERED, IS_RESET, NONE)
    trades = [{"id": 8, "time": 1700000001.25, "price": "1.5", "amount": "2", "type": "sell"}]
    trades.append(trades[0] | {"id": 7, "type": "buy"})
    message = message_of({"method": "trades.update", "params": ["BTC_USDT", trades], "id": None})
    assert message.kind == TRADES
    assert message.ask_prices == [1_700_000_001_250_000_000] * 2 + [7, 8]
    assert message.ask_sizes == [0, SELL_AGGRESSOR, 0, 0]
    other = decode(book | {"params": [True, {}, "BTCUSDT"]})
    assert isinstance(other, Rejected)
    assert other.reason == "unknown"


def test_futures_have_objects_and_signs() -> None:
    """A negative trade sold. In the old channel a size of 0 is removed on both sides."""
    book = {"t": NOW, "s": "BTC_USDT", "U": 5, "u": 7, "b": [{"p": "1.5", "s": 2}], "a": [{"p": "1.6", "s": "0.5"}]}
    diff = message_of({"channel": "futures.order_book_update", "event": "update", "result": book}, "gateio_futures")
    assert (diff.first_id, diff.last_id, diff.bid_sizes, diff.ask_sizes) == (5, 7, [2000], [500])
    trades = [
        {
            "size": -108,
            "id": 9,
            "create_time": 1545136464,
            "create_time_ms": 1545136464123,
            "price": "96.4",
            "contract": "BTC_USDT",
        },
        {"size": 1, "id": 10, "create_time": 1545136464, "price": "96.4", "contract": "BTC_USDT"},
    ]
    found = message_of({"channel": "futures.trades", "event": "update", "result": trades}, "gateio_futures")
    assert found.bid_sizes == [108_000, 1_000]
    assert found.ask_sizes[:2] == [SELL_AGGRESSOR, 0]
    assert found.ask_prices[:2] == [1_545_136_464_123_000_000, 1_545_136_464_000_000_000]
    changes = [
        {"p": "1.5", "s": -3, "c": "BTC_USDT"},
        {"p": "1.4", "s": 0, "c": "BTC_USDT"},
        {"p": "1.3", "s": 2, "c": "BTC_USDT"},
    ]
    old = {"channel": "futures.order_book", "event": "update", "time": 1545136464, "result": changes}
    message = message_of(old, "gateio_futures")
    assert (message.bid_prices, message.bid_sizes) == ([140, 130], [0, 2000])
    assert (message.ask_prices, message.ask_sizes) == ([150, 140], [3000, 0])
    answer = {"id": 7, "current": 1700000000.5, "update": 1700000000.25, "asks": [{"p": "1.6", "s": 1}], "bids": []}
    address = "https://api.gateio.ws/api/v4/futures/usdt/order_book?contract=BTC_USDT&with_id=true"
    snapshot = message_of(answer, "gateio_futures", address)
    assert (snapshot.last_id, snapshot.flags, snapshot.ts_event) == (7, 0, 1_700_000_000_250_000_000)


def test_an_answer_judges_a_synced_book() -> None:
    """It comes late; the book is as it says, and a later one shows what a wrong update has done."""
    answer = {"id": 5, "update": NOW, "bids": [["10.0", "1"]], "asks": [["11.0", "1"]]}
    records = [answer, update(6, 8, [["9.0", "2"]]), update(9, 9, [["9.0", "0"]]), answer | {"id": 8}]
    records.append(answer | {"id": 9, "bids": [["10.0", "3"]]})
    outcome = go_through("gateio", "BTC_USDT", [lines_of(*records)])
    audits = outcome.engine.audit_statistics()["snapshot"]
    assert (audits["matched"], audits["failed"]) == (1, 1)
    assert not outcome.engine.synced
    assert outcome.engine.gap_statistics()["gaps"] == 0
