"""KuCoin futures: `/contractMarket/level2`, `/contractMarket/level2Depth5` and `50`, `/contractMarket/execution` and `tickerV2`.

```
{"type":"message","topic":"/contractMarket/level2:C98USDTM","subject":"level2","sn":1694868048361,
 "data":{"sequence":1694868048361,"change":"0.2353,buy,146","timestamp":1705881600096}}
{"type":"message","topic":"/contractMarket/execution:COMPUSDTM","subject":"match","sn":1694749771273,"data":{"symbol":"COMPUSDTM",
 "sequence":1694749771273,"side":"buy","size":102,"price":"57.75","tradeId":"1694749771273","ts":1705708799996000000,...}}
{"type":"message","topic":"/contractMarket/tickerV2:BCHUSDTM","subject":"tickerV2","data":{"symbol":"BCHUSDTM","sequence":1695158749093,
 "bestBidSize":480,"bestBidPrice":"236.76","bestAskPrice":"236.77","bestAskSize":126,"ts":1705708800078000000}}
https://api-futures.kucoin.com/api/v1/level2/snapshot?symbol=XBTUSDTM -> ...: {"code":"200000","data":{"symbol":"XBTUSDTM",
 "sequence":1697895963339,"bids":[[66968.9,7]],"asks":[[66969.0,1]],"ts":1729168101216000000}}
```

A record has one change: price, side and size in contracts. One of the price 0 counts, and changes nothing.

* Continuity: each change's `sequence` is the last one plus one, and the first one behind an answer has its sequence plus one.
* Proof of the book: these numbers, and answers to `level2/snapshot`, which judge a synced book.
* Channels: `level2Depth5` and `level2Depth50` have no changes: each record shows the best levels anew.
* Markets: inverse, linear and delivery contracts look alike. Spot has a format of its own.

Source: kucoin.com/docs-new 3470082w0; tardis-dev/tardis-node, src/mappers/kucoinfutures.ts.
"""

from __future__ import annotations

from collections.abc import Callable

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ONLY_ID,
    PRICE,
    PRICE_UNLESS_0,
    SIZE,
    SYMBOL_BEHIND_COLON,
    TEXT_ID,
    TIME,
    Parts,
    Shape,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.answers import snapshot_beside_stream
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_object,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    text,
    text_id,
    ticker_shape,
    whole_number,
    with_book,
)

_UPDATES = 1
_BEST = BestKeys("bestBidPrice", "bestBidSize", "bestAskPrice", "bestAskSize")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "topic" not in found:
        if "code" in found:
            return _decode_answer(found, "", settings)
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


def _decode_change(data: Object, settings: DecoderSettings) -> DecodedMessage:
    number, time = whole_number(data, "sequence"), milliseconds(data, "timestamp")
    parts = text(data, "change").split(",")
    if len(parts) != 3:
        refuse("malformed", f'"change" is not price, side, size: {shown(data["change"])}')
    price, side, size = parts
    change = levels([[price, size]], '"change"')
    nothing = levels([], "")
    if not price.strip("0."):
        change = nothing
    message = DecodedMessage(DIFF, number, rule=RANGE, ts_event=time, first_id=number, channel=_UPDATES)
    return with_book(message, *((nothing, change) if is_sell(side) else (change, nothing)), settings)


def _decode_answer(value: object, _address: str, settings: DecoderSettings) -> Decoded:
    """Decode an answer, which names its symbol itself."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict) or not data.keys() >= {"symbol", "sequence", "bids", "asks"}:
        return UNUSED
    symbol = text(data, "symbol")
    return _decode_snapshot(data, settings) if symbol == settings.name else OtherSymbol(symbol)


def _decode_snapshot(book: Object, settings: DecoderSettings) -> DecodedMessage:
    number = whole_number(book, "sequence")
    time = milliseconds(book, "ts") if "ts" in book else NONE
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    message = snapshot_beside_stream(number, RANGE, time, bids, asks, settings.name, settings)
    message.channel = _UPDATES
    return message


def _decode_picture(depth: int, book: Object, settings: DecoderSettings) -> DecodedMessage:
    time = milliseconds(book, "ts" if "ts" in book else "timestamp")
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=depth)
    return with_book(message, levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"'), settings)


def _decode_trade(trade: Object, settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    time, sold = milliseconds(trade, "ts"), is_sell(trade.get("side"))
    trades.add(trade.get("price"), trade.get("size"), time, text_id(trade.get("tradeId")), sold=sold)
    return trades.to_message()


_TOPICS: dict[str, Callable[[Object, DecoderSettings], Decoded]] = {
    "/contractMarket/level2": _decode_change,
    "/contractMarket/level2Snapshot": _decode_snapshot,
    "/contractMarket/level2Depth5": lambda book, settings: _decode_picture(5, book, settings),
    "/contractMarket/level2Depth50": lambda book, settings: _decode_picture(50, book, settings),
    "/contractMarket/execution": _decode_trade,
    "/contractMarket/tickerV2": lambda ticker, settings: loose_ticker(ticker, settings, _BEST),
}

_SHAPES = (
    Shape(
        {
            "topic": SYMBOL_BEHIND_COLON,
            "data.sequence": ONLY_ID,
            "data.change": Parts((PRICE_UNLESS_0, None, SIZE)),
            "data.timestamp": TIME,
        },
        {"sn": ANY},
    ),
    Shape(
        {
            "topic": SYMBOL_BEHIND_COLON,
            "data.price": PRICE,
            "data.size": SIZE,
            "data.tradeId": TEXT_ID,
            "data.ts": TIME,
        },
        dict.fromkeys(
            (
                *("sn", "data.symbol", "data.sequence", "data.takerOrderId", "data.makerOrderId", "data.takerUserId"),
                "data.makerUserId",
            ),
            ANY,
        ),
    ),
    ticker_shape(_BEST, "data", {"topic": SYMBOL_BEHIND_COLON}, {"sn": ANY}),
)

VENUE = Venue(
    json_records(_decode, _decode_answer),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    channels={"level2": _UPDATES, "level2Depth5": 5, "level2Depth50": 50},
)
