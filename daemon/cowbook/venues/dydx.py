"""dYdX v3: `v3_orderbook` and `v3_trades`. The venue has closed.

```
{"type":"subscribed","connection_id":"60a4fc71-...","message_id":1,"channel":"v3_orderbook","id":"ETH-USD",
 "contents":{"bids":[{"price":"1","offset":"2693487298","size":"6.2"},...],"asks":[...]}}
{"type":"channel_data","connection_id":"60a4fc71-...","message_id":21,"id":"ETH-USD","channel":"v3_orderbook",
 "contents":{"offset":"2693988240","bids":[],"asks":[["4217.8","13.34"]]}}
{"type":"channel_data","connection_id":"60a4fc71-...","message_id":291,"id":"ETH-USD","channel":"v3_trades",
 "contents":{"trades":[{"size":"0.1","side":"BUY","price":"4215.6","createdAt":"2021-10-28T18:03:51.833Z"}]}}
```

* Continuity: each level keeps its own newest `offset`. A record may come behind newer ones, and then changes only the levels that
  none of these has. Levels of a snapshot, removed ones too, have offsets of their own, where `includeOffsets` was asked for.
  Nothing shows that a record is missing: `message_id` is of the connection, and its records do not come in order.
* Proof of the book: none.
* Markets: perpetual contracts. Trades have no ids.
* Time: the book's records have none; the receive time is used.

Source: docs.dydx.exchange, v3 websocket, "Orderbook"; records of 2021.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import ANY, ASKS, BIDS, ISO_TIME, ONLY_ID, PRICE, SIZE, SYMBOL, Holes, Shape, side, trades_of
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, HAS_LEVEL_IDS, NONE, SNAPSHOT
from cowbook.plain.schemes import NEWEST_PER_LEVEL
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, iso_time, levels, text, whole_number, with_book


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    channel, kind = found.get("channel"), found.get("type")
    if channel not in ("v3_orderbook", "v3_trades"):
        if kind in ("connected", "error") or (isinstance(channel, str) and channel.startswith("v3_")):
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    if kind not in ("subscribed", "channel_data"):
        return UNUSED
    symbol = text(found, "id")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    contents = an_object(found.get("contents"), '"contents"')
    if channel == "v3_orderbook":
        return _decode_snapshot(contents, settings) if kind == "subscribed" else _decode_change(contents, settings)
    return UNUSED if kind == "subscribed" else _decode_trades(contents, settings)


def _decode_snapshot(book: Object, settings: DecoderSettings) -> DecodedMessage:
    sides = [an_array(book.get(key), f'"{key}"') for key in ("bids", "asks")]
    entries = [an_object(level, "a level") for side_ in sides for level in side_]
    bids, asks = (levels(side_, "the book", "price", "size") for side_ in sides)
    ids = [whole_number(level, "offset") for level in entries] if all("offset" in level for level in entries) else []
    message = DecodedMessage(SNAPSHOT, max(ids, default=NONE), rule=NEWEST_PER_LEVEL)
    if ids:
        message.level_ids = ids
        message.flags = HAS_LEVEL_IDS
    return with_book(message, bids, asks, settings)


def _decode_change(book: Object, settings: DecoderSettings) -> DecodedMessage:
    number = whole_number(book, "offset")
    message = DecodedMessage(DIFF, number, rule=NEWEST_PER_LEVEL, first_id=number)
    return with_book(message, levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"'), settings)


def _decode_trades(contents: Object, settings: DecoderSettings) -> Decoded:
    entries = an_array(contents.get("trades"), '"trades"')
    trades = Trades(settings)
    for entry in entries:
        trade = an_object(entry, "a trade")
        time, sold = iso_time(trade.get("createdAt")), is_sell(trade.get("side"), "BUY", "SELL")
        trades.add(trade.get("price"), trade.get("size"), time, NONE, sold=sold)
    return trades.to_message() if entries else UNUSED


_RECORD: Holes = {"connection_id": ANY, "message_id": ANY}
_TRADES = trades_of({"price": PRICE, "size": SIZE, "side": side("BUY", "SELL"), "createdAt": ISO_TIME})
_SHAPES = (
    Shape({"id": SYMBOL, "contents.offset": ONLY_ID, "contents.bids": BIDS, "contents.asks": ASKS}, _RECORD),
    Shape({"id": SYMBOL, "contents.trades": _TRADES}, _RECORD),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), has_ids=False, shows_loss=False, snapshots="all")
