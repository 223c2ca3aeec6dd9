"""KuCoin: what each record means."""

from __future__ import annotations

from typing import Any

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import DIFF, IS_UNLABELLED, NONE, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADE
from cowbook.plain.schemes import RANGE
from cowbook.venues import load_venue
from support.in_memory import go_through, lines_of
from support.venue_samples import text_of

SETTINGS = DecoderSettings("A-B", 2, 3, 10_000)
NOW = 1_700_000_000_000


def decode(record: Any, venue: str = "kucoin", before: str = "") -> Decoded:
    """What a record is."""
    decode_record = load_venue(venue).decode_record
    assert decode_record is not None
    return decode_record(before.encode() + text_of(record), SETTINGS)


def message_of(record: Any, venue: str = "kucoin", before: str = "") -> DecodedMessage:
    """A record that is a message."""
    decoded = decode(record, venue, before)
    assert isinstance(decoded, DecodedMessage), decoded
    return decoded


def update(first: int, last: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    """An update of the spot book."""
    changes = {"bids": list(bids), "asks": list(asks)}
    data = {"sequenceStart": first, "sequenceEnd": last, "symbol": "A-B", "changes": changes, "time": NOW + last}
    return {"type": "message", "topic": "/market/level2:A-B", "subject": "trade.l2update", "data": data}


def test_changes_are_in_the_order_of_their_sequences_and_the_price_0_is_none() -> None:
    """The same level may be there twice."""
    diff = message_of(update(5, 8, [["1.5", "7", "8"], ["0", "0", "6"], ["1.5", "2", "5"]], [["0.00", "0", "7"]]))
    assert (diff.kind, diff.rule, diff.first_id, diff.last_id) == (DIFF, RANGE, 5, 8)
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices) == ([150, 150], [2000, 7000], [])
    assert isinstance(decode(update(5, 8, [["1.5", "7"]])), Rejected)
    book = go_through("kucoin", "A-B", [lines_of(update(5, 8, [["1.5", "7", "8"], ["1.5", "2", "5"]]))]).book
    assert book == ({15: 700}, {})


def test_answers_tickers_and_trades() -> None:
    """A trade's id is no number; a ticker without a side has null there."""
    answer = {"code": "200000", "data": {"time": NOW, "sequence": "7", "bids": [["1.5", "2"]], "asks": []}}
    assert message_of(answer).flags == IS_UNLABELLED
    address = "https://api.kucoin.com/api/v3/market/orderbook/level2?symbol={} -> 1700000000.5: "
    labelled = message_of(answer, before=address.format("A-B"))
    assert (labelled.kind, labelled.flags, labelled.last_id, labelled.ts_event) == (SNAPSHOT, 0, 7, NOW * 10**6)
    assert decode(answer, before=address.format("X-Y")) == OtherSymbol("X-Y")
    assert decode({"code": "200000", "data": {"serverTime": 1}}) is UNUSED
    best = {"sequence": "7", "bestBid": "1.5", "bestBidSize": "2", "bestAsk": None, "bestAskSize": None, "time": NOW}
    ticker = message_of({"type": "message", "topic": "/market/ticker:A-B", "subject": "trade.ticker", "data": best})
    assert (ticker.kind, ticker.last_id, ticker.bid_prices, ticker.ask_prices, ticker.ask_sizes) == (TICKER, 7, [150], [0], [0])
    trade = {"side": "sell", "size": "1", "price": "1.5", "time": "1700000000123456789", "tradeId": "6085c09769bc506996295e36"}
    sold = message_of({"type": "message", "topic": "/market/match:A-B", "subject": "trade.l3match", "data": trade})
    assert (sold.kind, sold.flags, sold.last_id, sold.ts_event) == (TRADE, SELL_AGGRESSOR, NONE, 1_700_000_000_123_456_789)
    assert decode({"id": "x", "type": "welcome"}) is UNUSED
    assert isinstance(decode({"topic": "orderbook.50.A-B"}), Rejected)


def test_futures_have_one_change_a_record() -> None:
    """As text: price, side and contracts."""
    data = {"sequence": 9, "change": "1.5,sell,2", "timestamp": NOW}
    record = {"type": "message", "topic": "/contractMarket/level2:A-B", "subject": "level2", "sn": 9, "data": data}
    diff = message_of(record, "kucoin_futures")
    assert (diff.first_id, diff.last_id, diff.ask_prices, diff.ask_sizes, diff.bid_prices) == (9, 9, [150], [2000], [])
    nothing = message_of(record | {"data": data | {"change": "0,buy,0"}}, "kucoin_futures")
    assert (nothing.last_id, nothing.bid_prices, nothing.ask_prices) == (9, [], [])
    for bad in ("1.5,sell", "1.5,up,2", "x,buy,1"):
        assert isinstance(decode(record | {"data": data | {"change": bad}}, "kucoin_futures"), Rejected)
    answer = {"code": "200000", "data": {"symbol": "A-B", "sequence": 8, "bids": [[1.5, 7]], "asks": [], "ts": NOW * 10**6}}
    snapshot = message_of(answer, "kucoin_futures")
    assert (snapshot.kind, snapshot.last_id, snapshot.flags, snapshot.bid_sizes) == (SNAPSHOT, 8, 0, [7000])
    other = {"code": "200000", "data": {"symbol": "C", "sequence": 8, "bids": [], "asks": []}}
    assert decode(other, "kucoin_futures") == OtherSymbol("C")
