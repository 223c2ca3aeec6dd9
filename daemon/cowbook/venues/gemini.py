"""Gemini: market data v2 (`l2_updates`, `trade`) and its successor (`depth`, `trade`, `bookTicker`).

v2, whose book records have no time:

```
{"type":"l2_updates","symbol":"FILUSD","changes":[["buy","58.3107","42.205"],["sell","58.5212","0"]]}
{"type":"l2_updates","symbol":"ALCXUSD","changes":[["buy","302.75","0.00001"],...],"trades":[...],"auction_events":[]}
{"type":"trade","symbol":"ALCXUSD","event_id":45465785975,"timestamp":1624493651491,"price":"302.53","quantity":"0.992143",
 "side":"buy"}
```

Its successor writes records as Binance does, with times in ns:

```
{"e":"depthUpdate","E":1751508260659505382,"s":"btcusd","U":12345677,"u":12345678,"b":[["45000.50","1.25"]],"a":[]}
{"E":1751508438600117161,"s":"btcusd","t":2840140956529623,"p":"45001.00","q":"0.25","m":false}
{"u":1751505576085,"E":1751508438600117161,"s":"btcusd","b":"45000.50","B":"1.25","a":"45001.00","A":"0.75"}
```

* Continuity, v2: no ids, so nothing shows a lost record. The first record of a symbol has all levels; that one alone has `trades`
  or `auction_events`.
* Continuity, successor: `U` is the last applied `u` plus one. The first record of a connection that was opened with `snapshot=-1`
  has all levels. Nothing in it says so, so the capture must have the connection's address (cryptofeed's and packets have it);
  without it the book is never synced.
* Proof of the book: none but the successor's ids. Whether its `bookTicker` has the same ids is not said, so it proves nothing.
* Partial books of the successor (`depth5` and others) name no symbol, and are not used.
* A trade's `side` is the taker's. `m` is true if the buyer was the maker. The trades in a first record are older.
* Markets: spot only. v2 writes symbols in upper case, its successor in lower case.

Sources: developer.gemini.com, "Stream Reference" and market data v2; tardis-dev/tardis-node, src/mappers/gemini.ts.
"""

from __future__ import annotations

import re

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import ANY, LAST_ID, PRICE, SIZE, SYMBOL, TIME, Shape, changes_of, side
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Connection, Venue, json_on_connection
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    text,
    with_book,
)

_CONNECTED = re.compile(rb"(wss?://\S*) <-> ")
_WHOLE: Connection = {"first": "whole"}
"""The connection was opened so that its first record of a symbol has all levels."""

_LEAST_NS = 10**17
_BEST = BestKeys("b", "B", "a", "A")


def _decode(value: object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    found = an_object(value, "the record")
    if found.get("e") == "depthUpdate":
        symbol = text(found, "s")
        _require_ns(found)
        if symbol != settings.name:
            return OtherSymbol(symbol), connection
        return _decode_update(found, settings, is_whole=connection == _WHOLE), {}
    return (_decode_v2(found, settings) if "type" in found else _decode_other(found, settings)), connection


def _decode_v2(found: Object, settings: DecoderSettings) -> Decoded:
    kind = text(found, "type")
    if kind == "update":
        refuse("unknown", "a record of Gemini's market data v1")
    if kind not in ("l2_updates", "trade"):
        return UNUSED
    symbol = text(found, "symbol")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if kind == "trade":
        trades = Trades(settings)
        number, time = fitting_id("event_id", integer(found, "event_id")), milliseconds(found, "timestamp")
        trades.add(found.get("price"), found.get("quantity"), time, number, sold=is_sell(found.get("side")))
        return trades.to_message()
    kind_of_book = SNAPSHOT if "trades" in found or "auction_events" in found else DIFF
    bids, asks = _split_changes(an_array(found.get("changes"), '"changes"'))
    return with_book(DecodedMessage(kind_of_book, NONE, rule=UNNUMBERED), bids, asks, settings)


def _split_changes(changes: list[object]) -> tuple[Levels, Levels]:
    """Split changes `[side, price, size]` into bids and asks."""
    sides: tuple[list[object], list[object]] = [], []
    for entry in changes:
        change = an_array(entry, "a change")
        if len(change) < 3:
            refuse("malformed", f"a change without side, price and size: {shown(change)}")
        sides[is_sell(change[0])].append(change[1:])
    return levels(sides[0], '"changes"'), levels(sides[1], '"changes"')


def _require_ns(found: Object) -> None:
    """Refuse a record whose time is not in ns: it is one of Binance's."""
    if integer(found, "E") < _LEAST_NS:
        refuse("unknown", f'"E" is not in ns: {shown(found["E"])}')


def _decode_update(found: Object, settings: DecoderSettings, *, is_whole: bool) -> DecodedMessage:
    first, last, time = integer(found, "U"), integer(found, "u"), milliseconds(found, "E")
    bids, asks = levels(found.get("b"), '"b"'), levels(found.get("a"), '"a"')
    message = DecodedMessage(SNAPSHOT if is_whole else DIFF, fitting_id("u", last), rule=RANGE, ts_event=time)
    message.first_id = fitting_id("U", first)
    return with_book(message, bids, asks, settings)


def _decode_other(found: Object, settings: DecoderSettings) -> Decoded:
    """Decode the successor's trades and tickers."""
    is_trade = found.keys() >= {"E", "s", "t", "p", "q", "m"}
    if "e" in found or not (is_trade or found.keys() >= {"u", "E", "s"}):
        if found.keys() & {"e", "id", "result", "error", "status", "lastUpdateId"}:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    symbol = text(found, "s")
    _require_ns(found)
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if not is_trade:
        return loose_ticker(found, settings, _BEST)
    number, time, is_maker = fitting_id("t", integer(found, "t")), milliseconds(found, "E"), found["m"]
    if not isinstance(is_maker, bool):
        refuse("malformed", f'"m" is not true or false: {shown(is_maker)}')
    trades = Trades(settings)
    trades.add(found["p"], found["q"], time, number, sold=is_maker)
    return trades.to_message()


_decode_message = json_on_connection(_decode)


def _open(address: str) -> Connection:
    return _WHOLE if "gemini" in address and "snapshot=-1" in address else {}


def _decode_record(record: bytes, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    connected = _CONNECTED.match(record)
    if connected is not None:
        return UNUSED, _open(connected[1].decode(errors="replace"))
    return _decode_message(record, settings, connection)


# The successor's changes have no shape: what the first one of a connection is, its bytes do not say.
_SHAPES = (
    Shape({"symbol": SYMBOL, "changes": changes_of({"0": side(), "1": PRICE, "2": SIZE})}, where={"type": "l2_updates"}),
    Shape({"symbol": SYMBOL, "event_id": LAST_ID, "timestamp": TIME, "price": PRICE, "quantity": SIZE}, {"tid": ANY}),
    Shape({"E": TIME, "s": SYMBOL, "t": LAST_ID, "p": PRICE, "q": SIZE}),
)

VENUE = Venue(
    decode_on_connection=_decode_record,
    opened=_open,
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    snapshots="all",
)
