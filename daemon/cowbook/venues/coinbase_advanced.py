"""Coinbase Advanced Trade: `level2` and `market_trades`.

```
{"channel":"l2_data","client_id":"","timestamp":"2023-11-14T22:13:20.000Z","sequence_num":0,
 "events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2023-11-14T22:13:20.000Z",
 "price_level":"10.0","new_quantity":"2.44"},...]}]}
{"channel":"l2_data",...,"sequence_num":1,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer",...}]}]}
{"channel":"market_trades",...,"sequence_num":2,"events":[{"type":"update","trades":[{"trade_id":"1","product_id":"BTC-USD",
 "price":"10.0","size":"3.89","side":"SELL","time":"2023-11-14T22:13:21.789Z"}]}]}
{"channel":"heartbeats",...,"sequence_num":3,"events":[{"heartbeat_counter":"3"}]}
```

A trade's `side` is the maker's; the aggressor's is the opposite.

* Continuity: every record of a connection, of any channel and product, has the previous `sequence_num` plus one, from 0 on.
* Proof of the book: none but these numbers.
* Markets: spot and futures look alike.

Source: docs.cdp.coinbase.com, Advanced Trade, "WebSocket channels".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ISO_TIME,
    PRICE,
    SEQUENCE_FROM_0,
    SIZE,
    SYMBOL,
    TEXT_ID,
    Shape,
    changes_of,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Content, Decoded, DecodedMessage, OtherSymbol, Sequenced, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, iso_time, levels, text, text_id, with_book


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "channel" not in found:
        if "type" in found:  # requests that were sent, and error answers
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    sequence = fitting_id("sequence_num", integer(found, "sequence_num")) + 1
    return Sequenced(_decode_channel(text(found, "channel"), found, settings), sequence)


def _decode_channel(channel: str, found: Object, settings: DecoderSettings) -> Content:
    if channel not in ("l2_data", "market_trades"):
        return UNUSED
    events = [an_object(event, "an event") for event in an_array(found.get("events"), '"events"')]
    if channel == "l2_data":
        return _decode_book(events, iso_time(found.get("timestamp")), settings)
    return _decode_trades(events, settings)


def _decode_book(events: list[Object], time: int, settings: DecoderSettings) -> Content:
    symbols = [text(event, "product_id") for event in events]
    ours = [event for event, symbol in zip(events, symbols, strict=True) if symbol == settings.name]
    if not ours:
        return OtherSymbol(symbols[0] if symbols else "")
    kinds = {text(event, "type") for event in ours}
    if kinds not in ({"snapshot"}, {"update"}) or (len(ours) > 1 and kinds == {"snapshot"}):
        refuse("unknown", f"events of the types {shown(', '.join(sorted(kinds)))} in one record")
    sides: tuple[list[object], list[object]] = [], []
    for event in ours:
        for entry in an_array(event.get("updates"), '"updates"'):
            update = an_object(entry, "an update")
            side = update.get("side")
            sides[is_sell(side, "bid", "ask" if side == "ask" else "offer")].append(update)
    bids, asks = (_read_levels(side) for side in sides)
    kind = SNAPSHOT if kinds == {"snapshot"} else DIFF
    return with_book(DecodedMessage(kind, NONE, rule=UNNUMBERED, ts_event=time), bids, asks, settings)


def _read_levels(updates: list[object]) -> Levels:
    return levels(updates, '"updates"', "price_level", "new_quantity")


def _decode_trades(events: list[Object], settings: DecoderSettings) -> Content:
    trades = Trades(settings)
    symbols = []
    for event in events:
        if event.get("type") == "snapshot":
            continue  # its trades are older than the subscription
        for entry in an_array(event.get("trades"), '"trades"'):
            trade = an_object(entry, "a trade")
            symbols.append(text(trade, "product_id"))
            if symbols[-1] == settings.name:
                sold, number = not is_sell(trade.get("side"), "BUY", "SELL"), text_id(trade.get("trade_id"))
                trades.add(trade.get("price"), trade.get("size"), iso_time(trade.get("time")), number, sold=sold)
    if settings.name in symbols:
        return trades.to_message()
    return OtherSymbol(symbols[0]) if symbols else UNUSED


_UPDATES = changes_of({"side": side("bid", "offer"), "price_level": PRICE, "new_quantity": SIZE})
_TRADES = trades_of(
    {
        "product_id": SYMBOL,
        "trade_id": TEXT_ID,
        "price": PRICE,
        "size": SIZE,
        "time": ISO_TIME,
        "side": side("SELL", "BUY"),  # the maker's
    }
)
_SHAPES = (
    Shape({"sequence_num": SEQUENCE_FROM_0, "timestamp": ISO_TIME, "events.0.product_id": SYMBOL, "events.0.updates": _UPDATES}),
    Shape({"sequence_num": SEQUENCE_FROM_0, "events.0.trades": _TRADES}, {"timestamp": ANY}),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), has_ids=False, snapshots="all", numbers_connection=True)
