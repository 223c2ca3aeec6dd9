"""KuCoin spot: `/market/level2`, `/spotMarket/level2Depth5` and `50`, `/market/match` and `/market/ticker`.

```
{"type":"message","topic":"/market/level2:BCHSV-USDT","subject":"trade.l2update","data":{"sequenceStart":1613277183874,
 "sequenceEnd":1613277183875,"symbol":"BCHSV-USDT","changes":{"asks":[["0","0","1613277183874"]],"bids":[["242.6","5","1613277183875"]]},
 "time":1700000000000}}
{"type":"message","topic":"/market/match:DAPPT-BTC","subject":"trade.l3match","data":{"symbol":"DAPPT-BTC","sequence":"1612701563869",
 "side":"buy","size":"81.8814","price":"0.0000001117","time":"1619378327739050725","tradeId":"6085c09769bc506996295e36",...}}
{"type":"message","topic":"/market/ticker:SNX-BTC","subject":"trade.ticker","data":{"sequence":"1612844051653","bestAsk":"0.00028717",
 "bestAskSize":"14.0","bestBid":"0.00028678","bestBidSize":"3.7","price":"0.00028676","size":"0.01","time":1619378326323}}
https://api.kucoin.com/api/v3/market/orderbook/level2?symbol=BCHSV-USDT -> ...: {"code":"200000","data":{"time":1619378326628,
 "sequence":"1613277183892","bids":[["242.649","5"],...],"asks":[...]}}
```

A change is price, size and sequence. One of the price 0 counts, and changes nothing.

* Continuity: each update's `sequenceStart` is the last one's `sequenceEnd` plus one. The first one behind an answer with the
  sequence L has sequenceStart <= L + 1 <= sequenceEnd. The changes of one update are applied in the order of their own sequences.
* Proof of the book: these numbers, answers to `level2`, which judge a synced book, and tickers with the sequence of an update.
* Channels: `level2Depth5` and `level2Depth50` have no changes: each record shows the best levels anew.
* Time: updates have one since 2023; before, the receive time is used. A trade's id is text, and no number.
* Markets: spot only. Futures have a format of their own.

Source: kucoin.com/docs-new, "Level2 Market Data"; Kucoin/kucoin-api-docs issue 305; records of 2021.
"""

from __future__ import annotations

from collections.abc import Callable

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASK_PRICE,
    ASK_SIZE,
    BID_PRICE,
    BID_SIZE,
    FIRST_ID,
    LAST_ID,
    PRICE,
    PRICE_UNLESS_0,
    RISING,
    SIZE,
    SYMBOL_BEHIND_COLON,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT, TICKER
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.answers import parameter, path_of, snapshot_beside_stream
from cowbook.venues.fields import (
    Trades,
    an_array,
    an_object,
    is_sell,
    levels,
    milliseconds,
    text,
    text_id,
    whole_number,
    with_book,
)

_UPDATES = 1


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "topic" not in found:
        if "code" in found:
            return _decode_snapshot(found, "", settings)
        if "type" in found and "id" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    topic, _, symbol = text(found, "topic").rpartition(":")
    if not topic.startswith("/"):
        refuse("unknown", f"a record of the topic {shown(found['topic'])}")
    decode = _TOPICS.get(topic)
    if decode is None or found.get("type") != "message":
        return UNUSED
    if symbol != settings.name:
        return OtherSymbol(symbol)
    return decode(an_object(found.get("data"), '"data"'), settings)


def _decode_update(book: Object, settings: DecoderSettings) -> DecodedMessage:
    changes = an_object(book.get("changes"), '"changes"')
    message = DecodedMessage(
        DIFF,
        whole_number(book, "sequenceEnd"),
        rule=RANGE,
        ts_event=milliseconds(book, "time") if "time" in book else NONE,
        first_id=whole_number(book, "sequenceStart"),
        channel=_UPDATES,
    )
    return with_book(message, _read_changes(changes, "bids"), _read_changes(changes, "asks"), settings)


def _read_changes(changes: Object, key: str) -> Levels:
    """Prices and sizes of changes `[price, size, sequence]` in the order of their sequences, without those of the price 0."""
    numbered = []
    for entry in an_array(changes.get(key), f'"{key}"'):
        change = an_array(entry, "a change")
        if len(change) < 3:
            refuse("malformed", f'"{key}" has a change that is not price, size, sequence: {shown(change)}')
        numbered.append((whole_number({"sequence": change[2]}, "sequence"), change))
    ordered: list[object] = [change for _, change in sorted(numbered, key=lambda each: each[0])]
    prices, sizes = levels(ordered, f'"{key}"')
    places = [place for place, price in enumerate(prices) if price.strip("-0.")]
    return [prices[place] for place in places], [sizes[place] for place in places]


def _decode_stream_snapshot(book: Object, settings: DecoderSettings) -> DecodedMessage:
    """Decode an answer that a recorder has put into the stream under the topic `/market/level2Snapshot`."""
    return _to_snapshot(book, settings.name, settings)


def _decode_answer(value: object, address: str, settings: DecoderSettings) -> Decoded:
    path = path_of(address)
    if "/orderbook/level2" not in path or not isinstance(value, dict):
        return UNUSED
    symbol = parameter(address, "symbol")
    return _decode_snapshot(value, symbol, settings) if symbol in ("", settings.name) else OtherSymbol(symbol)


def _decode_snapshot(found: Object, symbol: str, settings: DecoderSettings) -> Decoded:
    data = found.get("data")
    if not isinstance(data, dict) or not data.keys() >= {"sequence", "bids", "asks"} or "symbol" in data:
        return UNUSED  # another answer
    return _to_snapshot(data, symbol, settings)


def _to_snapshot(book: Object, symbol: str, settings: DecoderSettings) -> DecodedMessage:
    number = whole_number(book, "sequence")
    time = milliseconds(book, "time") if "time" in book else NONE
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    message = snapshot_beside_stream(number, RANGE, time, bids, asks, symbol, settings)
    message.channel = _UPDATES
    return message


def _decode_picture(depth: int, book: Object, settings: DecoderSettings) -> DecodedMessage:
    time = milliseconds(book, "timestamp")
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=depth)
    return with_book(message, levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"'), settings)


def _decode_trade(trade: Object, settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    time, sold = milliseconds(trade, "time"), is_sell(trade.get("side"))
    trades.add(trade.get("price"), trade.get("size"), time, text_id(trade.get("tradeId")), sold=sold)
    return trades.to_message()


def _decode_ticker(ticker: Object, settings: DecoderSettings) -> DecodedMessage:
    filled = {key: "0" if value is None else value for key, value in ticker.items()}  # null: there is no such level
    bid, ask = (levels([filled], "the ticker", f"best{side}", f"best{side}Size") for side in ("Bid", "Ask"))
    return with_book(DecodedMessage(TICKER, whole_number(ticker, "sequence")), bid, ask, settings)


_TOPICS: dict[str, Callable[[Object, DecoderSettings], Decoded]] = {
    "/market/level2": _decode_update,
    "/market/level2Snapshot": _decode_stream_snapshot,
    "/spotMarket/level2Depth5": lambda book, settings: _decode_picture(5, book, settings),
    "/spotMarket/level2Depth50": lambda book, settings: _decode_picture(50, book, settings),
    "/market/match": _decode_trade,
    "/market/ticker": _decode_ticker,
}

_CHANGE = {"0": PRICE_UNLESS_0, "1": SIZE, "2": RISING}
_BOOK: Holes = {
    "topic": SYMBOL_BEHIND_COLON,
    "data.sequenceStart": FIRST_ID,
    "data.sequenceEnd": LAST_ID,
    "data.changes.bids": bids_of(_CHANGE),
    "data.changes.asks": asks_of(_CHANGE),
}
_TRADE: Holes = {"topic": SYMBOL_BEHIND_COLON, "data.price": PRICE, "data.size": SIZE, "data.tradeId": TEXT_ID, "data.time": TIME}
_TICKER: Holes = {
    "topic": SYMBOL_BEHIND_COLON,
    "data.sequence": LAST_ID,
    "data.bestBid": BID_PRICE,
    "data.bestBidSize": BID_SIZE,
    "data.bestAsk": ASK_PRICE,
    "data.bestAskSize": ASK_SIZE,
}
_SHAPES = (
    Shape(_BOOK | {"data.time": TIME}, {"data.symbol": ANY}),
    Shape(_BOOK, {"data.symbol": ANY}),
    Shape(_TRADE, dict.fromkeys(("data.symbol", "data.sequence", "data.takerOrderId", "data.makerOrderId"), ANY)),
    Shape(_TICKER, dict.fromkeys(("data.price", "data.size", "data.time"), ANY)),
)

VENUE = Venue(
    json_records(_decode, _decode_answer),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    channels={"level2": _UPDATES, "level2Depth5": 5, "level2Depth50": 50},
)
