"""FTX's archives: `orderbook` and `trades`.

```
{"channel":"orderbook","market":"THETAHEDGE/USD","type":"partial","data":{"time":1618677881.2639272,"checksum":3276145593,
 "bids":[[24.89,145.67],...],"asks":[[25.455,182.75],...],"action":"partial"}}
{"channel":"orderbook","market":"SXPBULL/USD","type":"update","data":{"time":1618677881.385007,"checksum":117816834,
 "bids":[[51.05,12.35]],"asks":[],"action":"update"}}
{"channel":"trades","market":"XRP/USD","type":"update","data":[{"id":797752957,"price":1.59075,"size":1.0,"side":"buy",
 "liquidation":false,"time":"2021-04-17T16:45:00.310313+00:00"}]}
```

* Continuity: records have no ids, so only a failing checksum shows a lost one.
* Proof of the book: a CRC-32 in every book record, over the 100 best levels of each side, with numbers as Python writes floats.
* Markets: spot and futures look alike.

Source: FTX's API documentation of 2022, "Orderbooks".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ASKS,
    BIDS,
    CHECKSUM,
    ISO_TIME,
    LAST_ID,
    PRICE,
    SECONDS_TIME,
    SIZE,
    SYMBOL,
    Shape,
    side,
    trades_of,
)
from cowbook.input.numerals import MAX_ID
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import FTX, UNNUMBERED
from cowbook.venues.fields import (
    Trades,
    a_checksum,
    an_array,
    an_object,
    is_sell,
    iso_time,
    levels,
    seconds_time,
    text,
    with_book,
)

_KINDS = {"partial": SNAPSHOT, "update": DIFF}


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        if isinstance(kind, str) or "op" in found:  # subscribed, unsubscribed, info, error, pong
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel = text(found, "channel")
    if channel not in ("orderbook", "trades"):
        return UNUSED
    symbol = text(found, "market")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if channel == "orderbook":
        book = an_object(found.get("data"), '"data"')
        message = DecodedMessage(_KINDS[kind], NONE, rule=UNNUMBERED, ts_event=seconds_time(book.get("time")))
        bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
        return with_book(message, bids, asks, settings, a_checksum(book, "checksum"))
    data = an_array(found.get("data"), '"data"')
    trades = Trades(settings)
    for entry in data:
        trade = an_object(entry, "a trade")
        trade_id = trade.get("id")
        number = trade_id if type(trade_id) is int and 0 <= trade_id <= MAX_ID else NONE
        time, sold = iso_time(trade.get("time")), is_sell(trade.get("side"))
        trades.add(trade.get("price"), trade.get("size"), time, number, sold=sold)
    return trades.to_message() if data else UNUSED


_TRADES = trades_of({"id": LAST_ID, "price": PRICE, "size": SIZE, "side": side(), "time": ISO_TIME})
_SHAPES = (
    Shape({"market": SYMBOL, "data.bids": BIDS, "data.asks": ASKS, "data.time": SECONDS_TIME}, {"data.checksum": CHECKSUM}),
    Shape({"market": SYMBOL, "data": _TRADES}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    checksum=FTX,
    snapshots="depth",
)
