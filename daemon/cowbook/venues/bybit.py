"""Bybit v5: `orderbook.<depth>.<symbol>`, `publicTrade.<symbol>` and `tickers.<symbol>`; its history (`ob500`, `ob200`), and v2.

```
{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1700000000000,
 "data":{"s":"BTCUSDT","b":[["10.0","2.44"],...],"a":[["11.0","0.50"],...],"u":1,"seq":9},"cts":1700000000000}
{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1700000000619,
 "data":{"s":"BTCUSDT","b":[["9.9","0.00"]],"a":[["10.9","5.65"]],"u":2,"seq":18},"cts":1700000000619}
{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1700000001789,
 "data":[{"T":1700000001789,"s":"BTCUSDT","S":"Buy","v":"3.89","p":"10.0","i":"1"}]}
```

Files of the history have the same records, without `cts`. Of v2, until 2023, `orderBookL2_25.<symbol>`,
`orderBook_200.100ms.<symbol>` and `trade.<symbol>` are read:

```
{"topic":"orderBookL2_25.BCHUSDT","type":"snapshot","data":{"order_book":[{"price":"1053.05","symbol":"BCHUSDT","id":"10530500",
 "side":"Buy","size":2.63},...]},"cross_seq":"864131773","timestamp_e6":"1618677786389362"}
{"topic":"orderBookL2_25.BCHUSDT","type":"delta","data":{"delete":[{"price":"1053.90","symbol":"BCHUSDT","id":"10539000",
 "side":"Buy"}],"update":[{...,"side":"Buy","size":6.22}],"insert":[...]},"cross_seq":"864131821","timestamp_e6":"1618677786589984"}
{"topic":"trade.BCHUSDT","data":[{"symbol":"BCHUSDT","tick_direction":"MinusTick","price":"1053.90","size":0.14,
 "timestamp":"2021-04-17T16:43:05.000Z","trade_time_ms":"1618677785116","side":"Buy","trade_id":"01cacfe9-8d1c-..."}]}
```

* Continuity, v2: `cross_seq` grows, but not by one: it shows what is old, and not what is lost.
* Continuity, v5: each delta's `u` is the last one plus one. A snapshot may come at any time and replaces the book. A lower `u`
  with a later time means that the venue counts anew.
* Proof of the book: none but the ids.
* Channels: each depth (50, 200, 1000) is a book of its own. Depth 1 has no changes: each record shows the best prices anew.
* Markets: spot, linear, inverse and options look alike. A trade's id is text, and a number only in some of them.

Source: bybit-exchange.github.io, v5, "Orderbook" and "Trade"; a recording of v2.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    ONLY_ID,
    PRICE,
    SIZE,
    SYMBOL_BEHIND_DOT,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    changes_of,
    side,
    trades_of,
)
from cowbook.input.numerals import nanoseconds
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import COUNTER, RISING, UNNUMBERED
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
    text_id,
    ticker_shape,
    with_book,
)

_KINDS = {"snapshot": SNAPSHOT, "delta": DIFF}
_V2_BOOKS = {"orderBookL2_25": 2_025, "orderBook_200": 2_200}
"""Numbers of the channels of v2."""
_CHANNELS = ("orderbook", "publicTrade", "tickers", "trade", *_V2_BOOKS)
_LONGEST_NUMBER = 19  # digits
_BEST = BestKeys("bid1Price", "bid1Size", "ask1Price", "ask1Size")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "topic" not in found:
        if "op" in found or "success" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel, _, rest = text(found, "topic").partition(".")
    if channel not in _CHANNELS:
        return UNUSED
    symbol = rest.rpartition(".")[2]
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if channel == "orderbook":
        depth = rest.partition(".")[0]
        if not (depth.isascii() and depth.isdigit() and len(depth) < 9):
            return UNUSED
        return _decode_book(found, an_object(found.get("data"), '"data"'), settings, int(depth))
    if channel in _V2_BOOKS:
        return _decode_v2_book(found, settings, _V2_BOOKS[channel])
    if channel == "tickers":
        return loose_ticker(found.get("data"), settings, _BEST)
    entries = [an_object(entry, "a trade") for entry in an_array(found.get("data"), '"data"')]
    return _decode_trades(entries, settings) if channel == "publicTrade" else _decode_v2_trades(entries, settings)


def _decode_trades(entries: list[Object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    for trade in entries:
        time, sold = milliseconds(trade, "T"), is_sell(trade.get("S"), "Buy", "Sell")
        trades.add(trade.get("p"), trade.get("v"), time, text_id(trade.get("i")), sold=sold)
    return trades.to_message() if entries else UNUSED


def _decode_book(found: Object, book: Object, settings: DecoderSettings, channel: int) -> Decoded:
    """Decode a book record; `channel` is its depth."""
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        refuse("unknown", f"a book of the type {shown(kind)}")
    number = fitting_id("u", integer(book, "u"))
    if channel == 1:
        return _decode_picture(found, book, settings) if kind == "snapshot" else UNUSED
    time = milliseconds(found, "cts" if "cts" in found else "ts")
    message = DecodedMessage(_KINDS[kind], number, rule=COUNTER, ts_event=time, first_id=number, channel=channel)
    return with_book(message, levels(book.get("b"), '"b"'), levels(book.get("a"), '"a"'), settings)


def _decode_picture(found: Object, book: Object, settings: DecoderSettings) -> DecodedMessage:
    """Decode the best prices (depth 1), which come anew each time. Their `u` is not that of the other depths."""
    time = milliseconds(found, "cts" if "cts" in found else "ts")
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=1)
    return with_book(message, levels(book.get("b"), '"b"'), levels(book.get("a"), '"a"'), settings)


def _decode_v2_book(found: Object, settings: DecoderSettings, channel: int) -> Decoded:
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        refuse("unknown", f"a book of the type {shown(kind)}")
    number = fitting_id("cross_seq", _number(found, "cross_seq"))
    time = _v2_time(found, "timestamp_e6")
    sides: tuple[list[object], list[object]] = [], []
    for level in _v2_levels(found.get("data"), is_snapshot=kind == "snapshot"):
        sides[is_sell(level.get("side"), "Buy", "Sell")].append(level)
    bids, asks = (levels(side, '"data"', "price", "size") for side in sides)
    message = DecodedMessage(_KINDS[kind], number, rule=RISING, ts_event=time, first_id=number, channel=channel)
    return with_book(message, bids, asks, settings)


def _v2_levels(data: object, *, is_snapshot: bool) -> list[Object]:
    """The levels of a snapshot, or those that are deleted, then those that are changed, then the new ones."""
    if is_snapshot:
        entries = data["order_book"] if isinstance(data, dict) and "order_book" in data else data
        return [an_object(entry, "a level") for entry in an_array(entries, '"data"')]
    changes = an_object(data, '"data"')
    found = []
    for name in ("delete", "update", "insert"):
        for entry in an_array(changes.get(name, []), f'"{name}"'):
            level = an_object(entry, "a level")
            found.append({**level, "size": "0"} if name == "delete" else level)
    return found


def _decode_v2_trades(entries: list[Object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    for trade in entries:
        time, sold = _v2_time(trade, "trade_time_ms"), is_sell(trade.get("side"), "Buy", "Sell")
        trades.add(trade.get("price"), trade.get("size"), time, text_id(trade.get("trade_id")), sold=sold)
    return trades.to_message() if entries else UNUSED


def _v2_time(found: Object, key: str) -> int:
    time = nanoseconds(_number(found, key))
    if time is None:
        refuse("out_of_range", f'the time "{key}" is not below 2^63 ns: {shown(found[key])}')
    return time


def _number(found: Object, key: str) -> int:
    """A whole number, which may be text."""
    value = found.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    return integer(found, key)


_BOOK: Holes = {"topic": SYMBOL_BEHIND_DOT, "data.b": BIDS, "data.a": ASKS, "data.u": ONLY_ID}
_TRADES = trades_of({"T": TIME, "S": side("Buy", "Sell"), "p": PRICE, "v": SIZE, "i": TEXT_ID})
_V2_TRADES = trades_of({"trade_time_ms": TIME, "side": side("Buy", "Sell"), "price": PRICE, "size": SIZE, "trade_id": TEXT_ID})
_V2_BOOK: Holes = {"topic": SYMBOL_BEHIND_DOT, "cross_seq": ONLY_ID, "timestamp_e6": TIME}
_V2_DELETED = {"price": PRICE, "side": side("Buy", "Sell")}
_V2_LEVEL = _V2_DELETED | {"size": SIZE}
_V2_CHANGES: Holes = {
    "data.delete": changes_of(_V2_DELETED, more=True),
    "data.update": changes_of(_V2_LEVEL, more=True),
    "data.insert": changes_of(_V2_LEVEL),
}
_SHAPES = (
    Shape(_BOOK | {"cts": TIME}, {"ts": ANY, "data.s": ANY, "data.seq": ANY}),
    Shape(_BOOK | {"ts": TIME}, {"data.s": ANY, "data.seq": ANY}),
    Shape({"topic": SYMBOL_BEHIND_DOT, "data": _TRADES}, {"ts": ANY}),
    Shape({"topic": SYMBOL_BEHIND_DOT, "data": _V2_TRADES}),
    Shape(_V2_BOOK | _V2_CHANGES, where={"type": "delta"}),
    Shape(_V2_BOOK | {"data.order_book": changes_of(_V2_LEVEL)}, where={"type": "snapshot"}),
    Shape(_V2_BOOK | {"data": changes_of(_V2_LEVEL)}, where={"type": "snapshot"}),
    ticker_shape(_BEST, "data", {"topic": SYMBOL_BEHIND_DOT}, {"ts": ANY, "cs": ANY}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    snapshots="depth",
    channels={f"orderbook.{depth}": depth for depth in (1, 25, 50, 100, 200, 500, 1000)} | _V2_BOOKS,
    shows_loss=False,  # v2 has no ids; a bad record of v5 ends no sync, for its ids do show it
)
