"""MEXC futures: `push.depth`, `push.depth.full`, `push.deal` and `push.ticker`.

```
{"channel":"push.depth","data":{"asks":[[6859.5,3251,1]],"bids":[],"version":96801927},"symbol":"BTC_USDT","ts":1587442022003}
{"channel":"push.depth","data":{"asks":[],"bids":[[7.548E+4,0,0]],"begin":41770922519,"end":41770922520,"version":41770922520,
 "cts":1789498321780},"symbol":"BTC_USDT","ts":1789498321789}
{"channel":"push.deal","data":[{"p":115309.8,"v":55,"T":2,"O":3,"M":1,"t":1755487578276,"i":"8123"}],"symbol":"BTC_USDT",
 "ts":1755487578276}
```

A level is `[price, contracts, number of orders]`.

* Continuity: `version` is the last one plus one. A record of several versions has `begin` and `end`, and then `begin` is. The
  snapshot is a REST answer, `{"success":true,"code":0,"data":{"asks":...,"bids":...,"version":...}}`, whose symbol is only in the
  address. Tardis adds one with `"generated":true`, as `push.depth` or as `push.depth.snapshot`.
* Proof of the book: `push.depth.full` shows the best 20 levels anew each time, and judges a book that has its version.
* `push.depth.step` merges prices, so it is not used.
* Trades: `T` is 1 for a buying aggressor, 2 for a selling one. Older records have one trade, no array, and no id.
* Sizes are in contracts. Symbols (`BTC_USDT`) differ from those of spot.

Sources: mexc.com, futures API, "Incremental order book maintenance mechanism"; tardis-dev/tardis-node,
src/mappers/mexcfutures.ts, which takes the number of orders for the size.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASK_PRICE,
    ASKS,
    BID_PRICE,
    BIDS,
    FIRST_ID,
    LAST_ID,
    ONLY_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, IS_UNLABELLED, SNAPSHOT
from cowbook.plain.schemes import RANGE
from cowbook.venues.answers import path_of
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    levels,
    loose_ticker,
    milliseconds,
    text,
    text_id,
    whole_number,
    with_book,
)

_CHANNELS = {"depth": 1, "depth.full": 2}
_BEST = BestKeys("bid1", "bid1Size", "ask1", "ask1Size")  # tickers have no sizes
_SIDES = {1: False, 2: True}
"""Types of trades, and whether the aggressor sold."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "channel" not in found:
        if "success" in found:
            return _decode_answer(found, settings, IS_UNLABELLED)
        if "method" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel = text(found, "channel")
    if channel not in ("push.depth", "push.depth.full", "push.depth.snapshot", "push.deal", "push.ticker"):
        return UNUSED
    symbol = text(found, "symbol")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if channel == "push.ticker":
        return loose_ticker(found.get("data"), settings, _BEST)
    if channel == "push.deal":
        data = found.get("data")
        return _decode_trades(data if isinstance(data, list) else [data], settings)
    data = an_object(found.get("data"), '"data"')
    if channel == "push.depth.full":
        return _decode_whole(data, settings, milliseconds(found, "ts"), IS_PICTURE, "depth.full")
    if channel == "push.depth.snapshot" or found.get("generated") is True:
        return _decode_whole(data, settings, milliseconds(found, "ts"), 0, "depth")
    return _decode_change(data, settings, milliseconds(found, "ts"))


def _decode_change(data: Object, settings: DecoderSettings, time: int) -> DecodedMessage:
    has_range = "begin" in data and "end" in data
    first, last = (whole_number(data, key) for key in (("begin", "end") if has_range else ("version", "version")))
    message = DecodedMessage(DIFF, last, rule=RANGE, ts_event=time, first_id=first, channel=_CHANNELS["depth"])
    return with_book(message, levels(data.get("bids"), '"bids"'), levels(data.get("asks"), '"asks"'), settings)


def _decode_whole(data: Object, settings: DecoderSettings, time: int, flags: int, channel: str) -> DecodedMessage:
    """Decode all levels that a record shows; their `version` is that of the changes."""
    number = whole_number(data, "version")
    message = DecodedMessage(SNAPSHOT, number, rule=RANGE, ts_event=time, flags=flags, channel=_CHANNELS[channel])
    sides = levels(data.get("bids"), '"bids"'), levels(data.get("asks"), '"asks"')
    return with_book(message, *sides, settings, resets=False)


def _decode_answer(found: Object, settings: DecoderSettings, flags: int) -> Decoded:
    """Decode a REST answer: the levels up to its limit, beside the stream."""
    data = found.get("data")
    if not isinstance(data, dict) or "version" not in data:
        return UNUSED
    return _decode_whole(data, settings, milliseconds(data, "timestamp"), flags, "depth")


def _decode_addressed(value: object, address: str, settings: DecoderSettings) -> Decoded:
    """Decode an answer, whose address names the symbol."""
    place, _, symbol = path_of(address).rpartition("/")
    if not isinstance(value, dict) or not place.endswith("/contract/depth"):
        return UNUSED
    return _decode_answer(value, settings, 0) if symbol == settings.name else OtherSymbol(symbol)


def _decode_trades(data: list[object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    for entry in an_array(data, '"data"'):
        trade = an_object(entry, "a trade")
        kind = trade.get("T")
        if type(kind) is not int or kind not in _SIDES:
            refuse("malformed", f"{shown(kind)} is no type of a trade")
        trades.add(trade.get("p"), trade.get("v"), milliseconds(trade, "t"), text_id(trade.get("i")), sold=_SIDES[kind])
    return trades.to_message() if data else UNUSED


_NEW: Holes = {"symbol": SYMBOL, "ts": TIME, "data.asks": ASKS, "data.bids": BIDS}
_RANGE: Holes = {"data.begin": FIRST_ID, "data.end": LAST_ID}
_TRADE = {"p": PRICE, "v": SIZE, "t": TIME, "T": side("1", "2")}
_SHAPES = (
    Shape({**_NEW, **_RANGE}, {"data.version": ANY, "data.cts": ANY}, where={"channel": "push.depth"}),
    Shape({**_NEW, "data.version": ONLY_ID}, {"data.cts": ANY}, where={"channel": "push.depth"}),
    Shape({**_NEW, "data.version": LAST_ID}, {"data.cts": ANY}, where={"channel": "push.depth.full"}),
    Shape({"symbol": SYMBOL, "data": trades_of({**_TRADE, "i": TEXT_ID})}, {"ts": ANY}, where={"channel": "push.deal"}),
    Shape({"symbol": SYMBOL, "data": trades_of(_TRADE)}, {"ts": ANY}, where={"channel": "push.deal"}),
    Shape({"symbol": SYMBOL, "data.bid1": BID_PRICE, "data.ask1": ASK_PRICE}, {"ts": ANY}, "data", {"channel": "push.ticker"}),
)

VENUE = Venue(
    json_records(_decode, _decode_addressed),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    channels=_CHANNELS,
)
