"""dYdX v4: `v4_orderbook` and `v4_trades`.

```
{"type":"connected","connection_id":"67838890-...","message_id":0}
{"type":"subscribed","connection_id":"67838890-...","message_id":7,"channel":"v4_orderbook","id":"GRT-USD",
 "contents":{"bids":[{"price":"0.1547","size":"35520"}],"asks":[{"price":"0.155","size":"3220"}]}}
{"type":"channel_data","connection_id":"67838890-...","message_id":10290,"id":"EOS-USD","channel":"v4_orderbook","version":"1.0.0",
 "contents":{"bids":[["0.1003","2017130"]]}}
{"type":"channel_batch_data",...,"channel":"v4_orderbook","contents":[{"bids":[["0.1003","0"]]},{"asks":[["0.1005","10"]]}]}
{"type":"channel_data",...,"message_id":15897,"id":"BTC-USD","channel":"v4_trades","contents":{"trades":[
 {"id":"0165e6170000000200000002","size":"0.0001","price":"60392","side":"BUY","createdAt":"2024-08-23T00:00:57.627Z","type":"LIMIT"}]}}
```

* Continuity: every record of a connection, of any channel, has the previous `message_id` plus one. The book's records have no
  other id. A subscription's snapshot replaces the book.
* Proof of the book: these numbers.
* Markets: the venue's books are crossed at times: its nodes do not see all orders in the same order.
* Time: the book's records have none; the receive time is used. A trade's id is text, and no number.

Source: docs.dydx.exchange, indexer websocket; tardis-dev/tardis-node, src/mappers/dydxv4.ts. No record of it was at hand.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    ISO_TIME,
    PRICE,
    SEQUENCE_FROM_0,
    SIZE,
    SYMBOL,
    Holes,
    Shape,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Content, Decoded, DecodedMessage, OtherSymbol, Sequenced, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, iso_time, levels, text, with_book

_TYPES = ("subscribed", "channel_data", "channel_batch_data")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "message_id" not in found:
        if "type" in found:
            return UNUSED  # what was sent to the venue
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    number = fitting_id("message_id", integer(found, "message_id"))
    return Sequenced(_decode_content(found, settings), number + 1)


def _decode_content(found: Object, settings: DecoderSettings) -> Content:
    channel, kind = found.get("channel"), found.get("type")
    if isinstance(channel, str) and not channel.startswith("v4_"):
        refuse("unknown", f"a record of the channel {shown(channel)}")
    if channel not in ("v4_orderbook", "v4_trades") or kind not in _TYPES:
        return UNUSED
    symbol = text(found, "id")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    contents = found.get("contents")
    parts = an_array(contents, '"contents"') if kind == "channel_batch_data" else [contents]
    objects = [an_object(part, "the contents") for part in parts]
    if channel == "v4_trades":
        return UNUSED if kind == "subscribed" else _decode_trades(objects, settings)
    return _decode_book(objects, settings, is_snapshot=kind == "subscribed")


def _decode_book(parts: list[Object], settings: DecoderSettings, *, is_snapshot: bool) -> DecodedMessage:
    message = DecodedMessage(SNAPSHOT if is_snapshot else DIFF, NONE, rule=UNNUMBERED)
    price, size = ("price", "size") if is_snapshot else (0, 1)
    sides: list[Levels] = []
    for key in ("bids", "asks"):
        entries = [level for part in parts for level in an_array(part.get(key, []), f'"{key}"')]
        sides.append(levels(entries, f'"{key}"', price, size))
    return with_book(message, sides[0], sides[1], settings)


def _decode_trades(parts: list[Object], settings: DecoderSettings) -> Content:
    entries = [entry for part in parts for entry in an_array(part.get("trades"), '"trades"')]
    trades = Trades(settings)
    for entry in entries:
        trade = an_object(entry, "a trade")
        time, sold = iso_time(trade.get("createdAt")), is_sell(trade.get("side"), "BUY", "SELL")
        trades.add(trade.get("price"), trade.get("size"), time, NONE, sold=sold)
    return trades.to_message() if entries else UNUSED


_RECORD: Holes = {"id": SYMBOL, "message_id": SEQUENCE_FROM_0}
_IGNORED: Holes = {"connection_id": ANY, "version": ANY}
_TRADES = trades_of({"price": PRICE, "size": SIZE, "side": side("BUY", "SELL"), "createdAt": ISO_TIME})
_SHAPES = (
    Shape(_RECORD | {"contents.bids": BIDS, "contents.asks": ASKS}, _IGNORED),
    Shape(_RECORD | {"contents.bids": BIDS}, _IGNORED),
    Shape(_RECORD | {"contents.asks": ASKS}, _IGNORED),
    Shape(_RECORD | {"contents.trades": _TRADES}, _IGNORED),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), has_ids=False, snapshots="all", numbers_connection=True)
"""`shows_loss` holds by the numbers of the connection."""
