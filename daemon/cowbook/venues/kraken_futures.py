"""Kraken Futures: `book` and `trade`.

```
{"feed":"book_snapshot","product_id":"FI_BCHUSD_210730","timestamp":1626994925378,"seq":91192,"tickSize":null,
 "bids":[{"price":439.3,"qty":20108.0},...],"asks":[...]}
{"feed":"book","product_id":"PI_ETHUSD","side":"sell","seq":26660860,"price":2004.85,"qty":4787.0,"timestamp":1626994927744}
{"feed":"trade","product_id":"FI_BCHUSD_210730","uid":"8b3e7e72-...","side":"buy","type":"fill","seq":1487,
 "time":1626994887094,"qty":50.0,"price":439.2}
```

A book record has one level.

* Continuity: each book record's `seq` is the product's last one plus one; trades have numbers of their own. A lower `seq` with a
  later time means that the venue counts anew.
* Proof of the book: none but these numbers.
* Markets: inverse (`PI_`, `FI_`) and linear (`PF_`) products look alike.

Source: docs.kraken.com, futures websocket, "Book".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import ANY, LAST_ID, ONLY_ID, PRICE, SIZE, SYMBOL, TIME, Shape
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import COUNTER
from cowbook.venues.fields import Trades, an_object, is_sell, levels, milliseconds, text, with_book


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    feed = found.get("feed")
    if feed not in ("book", "book_snapshot", "trade") or "event" in found:
        if isinstance(feed, str) or "event" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    symbol = text(found, "product_id")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    number = fitting_id("seq", integer(found, "seq"))
    if feed == "trade":
        trades = Trades(settings)
        trades.add(found.get("price"), found.get("qty"), milliseconds(found, "time"), number, sold=is_sell(found.get("side")))
        return trades.to_message()
    time = milliseconds(found, "timestamp") if "timestamp" in found else NONE
    if feed == "book_snapshot":
        message = DecodedMessage(SNAPSHOT, number, rule=COUNTER, ts_event=time)
        bids, asks = (levels(found.get(side), f'"{side}"', "price", "qty") for side in ("bids", "asks"))
        return with_book(message, bids, asks, settings)
    message = DecodedMessage(DIFF, number, rule=COUNTER, ts_event=time, first_id=number)
    level, nothing = levels([found], "the record", "price", "qty"), levels([], "")
    return with_book(message, *((nothing, level) if is_sell(found.get("side")) else (level, nothing)), settings)


_SHAPES = (
    Shape({"product_id": SYMBOL, "seq": ONLY_ID, "price": PRICE, "qty": SIZE, "timestamp": TIME}),
    Shape({"product_id": SYMBOL, "seq": LAST_ID, "price": PRICE, "qty": SIZE, "time": TIME}, {"uid": ANY}),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), snapshots="all")
