"""Bitstamp: `diff_order_book_<pair>`, `order_book_<pair>` and `live_trades_<pair>`.

```
{"data":{"timestamp":"1641343691","microtimestamp":"1641343691244908","bids":[["1.15979","993.02588113"],...],"asks":[...]},
 "channel":"diff_order_book_bateur","event":"data"}
{"data":{"id":216000477,"timestamp":"1641343699","amount":0.0792,"amount_str":"0.07920000","price":3805.44,"price_str":"3805.44",
 "type":0,"microtimestamp":"1641343699596000",...},"channel":"live_trades_ethusd","event":"trade"}
https://www.bitstamp.net/api/v2/order_book/sgbeur -> ...: {"timestamp": "1641343695", "microtimestamp": "1641343695572693",
 "bids": [["0.14695", "4567.41344936"],...], "asks": [...]}
{"event":"bts:request_reconnect","channel":"","data":""}
```

* Continuity: a record's `microtimestamp` is its id. One that is not above the last is stale; nothing shows that one is missing.
  `bts:request_reconnect` announces a new connection, between which and the old one changes are lost: it ends sync.
* Proof of the book: answers to `order_book`, which judge a synced book. One without `microtimestamp` is not used, because nothing
  says which changes are in it. Nor is one of single orders (`group` 0 or 2).
* Channels: `order_book_<pair>` has no changes: each record shows the best hundred levels anew. `detail_order_book` is not used.
* Markets: spot only; the symbol is the pair as channels write it, such as "ethusd".

Source: bitstamp.net, websocket API v2; tardis-dev/tardis-node, src/mappers/bitstamp.ts; records of 2022.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    LAST_ID,
    PRICE,
    SIZE,
    SYMBOL_BEHIND_UNDERSCORE,
    TIME,
    TIME_ID,
    Shape,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import BREAK, DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import RISING
from cowbook.venues.answers import parameter, path_of, snapshot_beside_stream
from cowbook.venues.fields import Trades, an_object, levels, milliseconds, text, whole_number, with_book

_DIFFS, _PICTURES = 1, 2


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "event" not in found:
        if found.keys() >= {"microtimestamp", "bids", "asks"}:
            return _decode_snapshot(found, "", settings)
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    event = text(found, "event")
    if event == "bts:request_reconnect":
        return DecodedMessage(BREAK, NONE)
    if event not in ("data", "trade") or "channel" not in found:
        return UNUSED
    channel, _, symbol = text(found, "channel").rpartition("_")
    if (channel, event) not in (("diff_order_book", "data"), ("order_book", "data"), ("live_trades", "trade")):
        return UNUSED
    if symbol != settings.name:
        return OtherSymbol(symbol)
    data = an_object(found.get("data"), '"data"')
    return _decode_trade(data, settings) if event == "trade" else _decode_book(data, settings, is_diff=channel[0] == "d")


def _decode_book(book: Object, settings: DecoderSettings, *, is_diff: bool) -> DecodedMessage:
    number, time = whole_number(book, "microtimestamp"), milliseconds(book, "microtimestamp")
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    message = DecodedMessage(DIFF, number, rule=RISING, ts_event=time, first_id=number, channel=_DIFFS)
    if not is_diff:
        message.kind, message.first_id, message.flags, message.channel = SNAPSHOT, NONE, IS_PICTURE, _PICTURES
    return with_book(message, bids, asks, settings)


def _decode_trade(trade: Object, settings: DecoderSettings) -> DecodedMessage:
    number, time = fitting_id("id", integer(trade, "id")), milliseconds(trade, "microtimestamp")
    kind = trade.get("type")
    if type(kind) is not int or kind not in (0, 1):
        refuse("malformed", f'"type" is not 0 or 1: {shown(kind)}')
    trades = Trades(settings)
    trades.add(text(trade, "price_str"), text(trade, "amount_str"), time, number, sold=kind == 1)
    return trades.to_message()


def _decode_answer(value: object, address: str, settings: DecoderSettings) -> Decoded:
    path, _, symbol = path_of(address).rpartition("/")
    if not path.endswith("/order_book") or not isinstance(value, dict) or parameter(address, "group") in ("0", "2"):
        return UNUSED
    if "microtimestamp" not in value:
        return UNUSED
    return _decode_snapshot(value, symbol, settings) if symbol == settings.name else OtherSymbol(symbol)


def _decode_snapshot(book: Object, symbol: str, settings: DecoderSettings) -> DecodedMessage:
    number, time = whole_number(book, "microtimestamp"), milliseconds(book, "microtimestamp")
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    message = snapshot_beside_stream(number, RISING, time, bids, asks, symbol, settings)
    message.channel = _DIFFS
    return message


_TRADE = {
    "channel": SYMBOL_BEHIND_UNDERSCORE,
    "data.id": LAST_ID,
    "data.price_str": PRICE,
    "data.amount_str": SIZE,
    "data.microtimestamp": TIME,
}
_SHAPES = (
    Shape(
        {
            "channel": SYMBOL_BEHIND_UNDERSCORE,
            "data.microtimestamp": TIME_ID,
            "data.bids": BIDS,
            "data.asks": ASKS,
        },
        {"data.timestamp": ANY},
    ),
    Shape(
        _TRADE,
        dict.fromkeys(("data.timestamp", "data.amount", "data.price", "data.buy_order_id", "data.sell_order_id"), ANY),
    ),
)

VENUE = Venue(
    json_records(_decode, _decode_answer),
    make_scanner=shaped(*_SHAPES),
    shows_loss=False,
    channels={"diff_order_book": _DIFFS, "order_book": _PICTURES},
)
