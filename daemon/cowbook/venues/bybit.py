"""Bybit v5: `orderbook.<depth>.<symbol>`, `publicTrade.<symbol>` and `tickers.<symbol>`.

```
{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1700000000000,
 "data":{"s":"BTCUSDT","b":[["10.0","2.44"],...],"a":[["11.0","0.50"],...],"u":1,"seq":9},"cts":1700000000000}
{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1700000000619,
 "data":{"s":"BTCUSDT","b":[["9.9","0.00"]],"a":[["10.9","5.65"]],"u":2,"seq":18},"cts":1700000000619}
{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1700000001789,
 "data":[{"T":1700000001789,"s":"BTCUSDT","S":"Buy","v":"3.89","p":"10.0","i":"1"}]}
```

* Continuity: each delta's `u` is the last one plus one. A snapshot may come at any time and replaces the book. A lower `u` with a
  later time means that the venue counts anew.
* Proof of the book: none but the ids.
* Channels: each depth (50, 200, 1000) is a book of its own. Depth 1 has no changes: each record shows the best prices anew.
* Markets: spot, linear, inverse and options look alike. A trade's id is text, and a number only in some of them.

Source: bybit-exchange.github.io, v5, "Orderbook" and "Trade".
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
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import COUNTER, UNNUMBERED
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
_BEST = BestKeys("bid1Price", "bid1Size", "ask1Price", "ask1Size")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "topic" not in found:
        if "op" in found or "success" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel, _, rest = text(found, "topic").partition(".")
    if channel not in ("orderbook", "publicTrade", "tickers"):
        return UNUSED
    symbol = rest.rpartition(".")[2]
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if channel == "orderbook":
        depth = rest.partition(".")[0]
        if not (depth.isascii() and depth.isdigit() and len(depth) < 9):
            return UNUSED
        return _decode_book(found, an_object(found.get("data"), '"data"'), settings, int(depth))
    if channel == "tickers":
        return loose_ticker(found.get("data"), settings, _BEST)
    trades = Trades(settings)
    data = an_array(found.get("data"), '"data"')
    for entry in data:
        trade = an_object(entry, "a trade")
        time, sold = milliseconds(trade, "T"), is_sell(trade.get("S"), "Buy", "Sell")
        trades.add(trade.get("p"), trade.get("v"), time, text_id(trade.get("i")), sold=sold)
    return trades.to_message() if data else UNUSED


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


_BOOK: Holes = {"topic": SYMBOL_BEHIND_DOT, "data.b": BIDS, "data.a": ASKS, "data.u": ONLY_ID}
_TRADES = trades_of({"T": TIME, "S": side("Buy", "Sell"), "p": PRICE, "v": SIZE, "i": TEXT_ID})
_SHAPES = (
    Shape(_BOOK | {"cts": TIME}, {"ts": ANY, "data.s": ANY, "data.seq": ANY}),
    Shape(_BOOK | {"ts": TIME}, {"data.s": ANY, "data.seq": ANY}),
    Shape({"topic": SYMBOL_BEHIND_DOT, "data": _TRADES}, {"ts": ANY}),
    ticker_shape(_BEST, "data", {"topic": SYMBOL_BEHIND_DOT}, {"ts": ANY, "cs": ANY}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    snapshots="depth",
    channels={f"orderbook.{depth}": depth for depth in (1, 25, 50, 100, 200, 500, 1000)},
)
