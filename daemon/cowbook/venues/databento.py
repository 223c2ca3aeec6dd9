"""Databento's DBN: `mbp-10`, `mbp-1`, `trades` and `tbbo`, as lines that its container becomes (capture/dbn.py).

```
1700000000000000000 {"schema":"mbp-10","symbol":"ESZ3","publisher":1,"flags":130,"ts_event":1699999999999000000,
 "bids":[["4500.25",12],...],"asks":[["4500.5",7],...]}
1700000000000000000 {"schema":"trades","symbol":"ESZ3","publisher":1,"flags":0,"side":"A","ts_event":1699999999999000000,
 "price":"4500.25","size":3}
```

* Continuity: each record shows the best ten levels, or the best one, anew. There are no ids that count, so nothing shows a lost
  one; the next one is the book again. A picture counts where an event ends (F_LAST); the ones before it in the event are unused.
* A record whose book may be bad, since its gateway lost something (F_MAYBE_BAD_BOOK), is refused, which ends sync. The next
  picture without that mark is the book.
* Proof of the book: none.
* Trades: side `A` is a selling aggressor, `B` a buying one. Trades have no ids of their own: several may have one `sequence`.
  `N` is none, as trades of auctions have it.
* Channels: each publisher (a dataset and a venue) and each depth is a book of its own. Symbols are those of the file's mapping,
  as they were asked for; an instrument without one has its number as its name.

Source: databento.com/docs, schemas and conventions; the library databento-dbn 0.72.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import ASKS, BIDS, PRICE, SIZE, SYMBOL, TIME, Holes, Shape
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
from cowbook.venues.fields import Trades, an_object, is_sell, levels, milliseconds, text, with_book

_DEPTHS = {"mbp-1": 1, "mbp-10": 10}
_LAST = 128
"""F_LAST: the event ends with this record."""
_MAYBE_BAD_BOOK = 4
_MOST_PUBLISHERS = 999
_CHANNELS = {
    f"{schema}.{publisher}": place * (_MOST_PUBLISHERS + 1) + publisher
    for place, schema in enumerate(_DEPTHS)
    for publisher in range(1, _MOST_PUBLISHERS + 1)
}


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "schema" not in found:
        if "rtype" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    schema, symbol = text(found, "schema"), text(found, "symbol")
    if schema != "trades" and schema not in _DEPTHS:
        refuse("unknown", f"a record of the schema {shown(schema)}")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    return _decode_trade(found, settings) if schema == "trades" else _decode_picture(found, schema, settings)


def _decode_picture(found: Object, schema: str, settings: DecoderSettings) -> Decoded:
    flags, publisher = integer(found, "flags"), integer(found, "publisher")
    if flags & _MAYBE_BAD_BOOK:
        refuse("damaged", "the book may be bad, since Databento's gateway lost something (F_MAYBE_BAD_BOOK)")
    channel = _CHANNELS.get(f"{schema}.{publisher}")
    if channel is None:
        refuse("out_of_range", f"the publisher {publisher} is not between 1 and {_MOST_PUBLISHERS}")
    if not flags & _LAST:
        return UNUSED
    bids, asks = (levels(found.get(key), f'"{key}"') for key in ("bids", "asks"))
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=_time(found), flags=IS_PICTURE, channel=channel)
    return with_book(message, bids, asks, settings)


def _decode_trade(found: Object, settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    sold = None if found.get("side") == "N" else is_sell(found.get("side"), "B", "A")
    trades.add(found.get("price"), found.get("size"), _time(found), NONE, sold=sold)
    return trades.to_message()


def _time(found: Object) -> int:
    return milliseconds(found, "ts_event") if "ts_event" in found else NONE


_BOOK: Holes = {"symbol": SYMBOL, "ts_event": TIME, "bids": BIDS, "asks": ASKS}
_SHAPES = (
    Shape(_BOOK, where={"schema": "mbp-10"}),
    Shape(_BOOK, where={"schema": "mbp-1"}),
    Shape({"symbol": SYMBOL, "ts_event": TIME, "price": PRICE, "size": SIZE}, where={"schema": "trades"}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    channels=_CHANNELS,
)
