"""MEXC spot: `aggre.depth`, `increase.depth`, `limit.depth`, deals and `aggre.bookTicker`, in their JSON form.

Frames are protobuf today; recorders keep the JSON form of it:

```
{"channel":"spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT","symbol":"BTCUSDT","sendTime":"1746606463137","publicAggreDepths":{
 "asks":[{"price":"96000.01","quantity":"0"}],"bids":[],"eventType":"spot@public.aggre.depth.v3.api.pb@10ms",
 "fromVersion":"36913293511","toVersion":"36913293512"}}
{"channel":"spot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT","symbol":"BTCUSDT","sendTime":"1746606463140","publicAggreDeals":{
 "deals":[{"price":"96000.01","quantity":"0.00017","tradeType":1,"time":"1746606463139"}],"eventType":"..."}}
```

Until 2025 they were JSON:

```
{"c":"spot@public.increase.depth.v3.api@BTCUSDT","d":{"asks":[{"p":"20290.89","v":"0.0000"}],"bids":[],"r":"3407459756",
 "e":"spot@public.increase.depth.v3.api"},"s":"BTCUSDT","t":1661932660144}
{"c":"spot@public.deals.v3.api@BTCUSDT","d":{"deals":[{"S":1,"p":"20233.84","t":1661927587825,"v":"0.001028"}],"e":"..."},
 "s":"BTCUSDT","t":1661927587836}
```

* Continuity: `fromVersion` is the last `toVersion` plus one; the older `r` is the last one plus one. The snapshot is a REST
  answer, `{"lastUpdateId":...,"bids":[...],"asks":[...]}`, as Binance's: its symbol is only in the address. Tardis adds one with
  `"generated":true`.
* Proof of the book: none but the ids. Tickers have no ids.
* `limit.depth` shows the best 5, 10 or 20 levels anew each time.
* Trades have no ids. Type 1 is a buying aggressor, 2 a selling one.
* Two speeds of one symbol (10 and 100 ms) have the same ids, so that each may fill the other's holes.

Sources: mexc.com, spot v3 API, "How to properly maintain a local copy of the order book"; tardis-dev/tardis-node,
src/mappers/mexc.ts.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    FIRST_ID,
    LAST_ID,
    ONLY_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, IS_UNLABELLED, NONE, SNAPSHOT
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.answers import parameter
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    levels,
    loose_ticker,
    milliseconds,
    text,
    ticker_shape,
    whole_number,
    with_book,
)

_CHANNELS = {"depth": 1, "limit.depth": 2}
_BEST = BestKeys("bidPrice", "bidQuantity", "askPrice", "askQuantity")
_SIDES = {1: False, 2: True}
"""Types of trades, and whether the aggressor sold."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "lastUpdateId" in found:
        return _decode_answer(found, settings, IS_UNLABELLED)
    is_new = "channel" in found
    if not is_new and "c" not in found:
        if found.keys() & {"id", "code", "msg", "method"}:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel = text(found, "channel" if is_new else "c")
    kind = channel.removeprefix("spot@public.").partition(".v3.api")[0]
    if not channel.startswith("spot@public.") or kind not in _KINDS[is_new]:
        return UNUSED
    symbol = text(found, "symbol" if is_new else "s")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    key, decode = _KINDS[is_new][kind]
    return decode(found, an_object(found.get(key), f'"{key}"'), settings)


def _sides(content: Object, price: str, size: str) -> tuple[Levels, Levels]:
    """Bids and asks. protobuf leaves out an array without elements."""
    bids, asks = (levels(content.get(key, []), f'"{key}"', price, size) for key in ("bids", "asks"))
    return bids, asks


def _decode_change(found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    first, last = whole_number(content, "fromVersion"), whole_number(content, "toVersion")
    is_whole = found.get("generated") is True
    message = DecodedMessage(SNAPSHOT if is_whole else DIFF, last, rule=RANGE, ts_event=milliseconds(found, "sendTime"))
    message.first_id = NONE if is_whole else first
    message.channel = _CHANNELS["depth"]
    return with_book(message, *_sides(content, "price", "quantity"), settings, resets=False)


def _decode_old_change(found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    number = whole_number(content, "r")
    message = DecodedMessage(DIFF, number, rule=RANGE, ts_event=milliseconds(found, "t"), first_id=number)
    message.channel = _CHANNELS["depth"]
    return with_book(message, *_sides(content, "p", "v"), settings)


def _decode_picture(found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    return _make_picture(milliseconds(found, "sendTime"), _sides(content, "price", "quantity"), settings)


def _decode_old_picture(found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    return _make_picture(milliseconds(found, "t"), _sides(content, "p", "v"), settings)


def _make_picture(time: int, sides: tuple[Levels, Levels], settings: DecoderSettings) -> DecodedMessage:
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=_CHANNELS["limit.depth"])
    return with_book(message, *sides, settings)


def _decode_deals(_found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    return _make_trades(content, settings, ("price", "quantity", "time", "tradeType"))


def _decode_old_deals(_found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    return _make_trades(content, settings, ("p", "v", "t", "S"))


def _make_trades(content: Object, settings: DecoderSettings, keys: tuple[str, str, str, str]) -> Decoded:
    trades = Trades(settings)
    data = an_array(content.get("deals"), '"deals"')
    for entry in data:
        trade = an_object(entry, "a trade")
        price, size, time, kind = (trade.get(key) for key in keys)
        if type(kind) is not int or kind not in _SIDES:
            refuse("malformed", f"{shown(kind)} is no type of a trade")
        trades.add(price, size, milliseconds({keys[2]: time}, keys[2]), NONE, sold=_SIDES[kind])
    return trades.to_message() if data else UNUSED


def _decode_best(_found: Object, content: Object, settings: DecoderSettings) -> Decoded:
    return loose_ticker(content, settings, _BEST)


_KINDS = {
    True: {
        "aggre.depth": ("publicAggreDepths", _decode_change),
        "limit.depth": ("publicLimitDepths", _decode_picture),
        "aggre.deals": ("publicAggreDeals", _decode_deals),
        "aggre.bookTicker": ("publicAggreBookTicker", _decode_best),
    },
    False: {
        "increase.depth": ("d", _decode_old_change),
        "limit.depth": ("d", _decode_old_picture),
        "deals": ("d", _decode_old_deals),
    },
}
"""Where a kind of record has its content, and what decodes it: of records of today, and of those before."""


def _decode_answer(found: Object, settings: DecoderSettings, flags: int) -> DecodedMessage:
    """Decode a REST answer: the levels up to its limit, beside the stream."""
    number = whole_number(found, "lastUpdateId")
    time = milliseconds(found, "timestamp") if "timestamp" in found else NONE
    message = DecodedMessage(SNAPSHOT, number, rule=RANGE, ts_event=time, flags=flags, channel=_CHANNELS["depth"])
    sides = levels(found.get("bids"), '"bids"'), levels(found.get("asks"), '"asks"')
    return with_book(message, *sides, settings, resets=False)


def _decode_addressed(value: object, address: str, settings: DecoderSettings) -> Decoded:
    """Decode an answer, whose address names the symbol."""
    if not isinstance(value, dict) or "lastUpdateId" not in value:
        return UNUSED
    symbol = parameter(address, "symbol")
    return _decode_answer(value, settings, 0) if symbol == settings.name else OtherSymbol(symbol)


def _book(content: str, price: str, size: str) -> tuple[Holes, ...]:
    """Both sides, or one of them."""
    level = {price: PRICE, size: SIZE}
    bids, asks = {f"{content}.bids": bids_of(level)}, {f"{content}.asks": asks_of(level)}
    return ({**bids, **asks}, {**bids}, {**asks}, {})


_NEW: Holes = {"symbol": SYMBOL, "sendTime": TIME}
_RANGE: Holes = {"publicAggreDepths.fromVersion": FIRST_ID, "publicAggreDepths.toVersion": LAST_ID}
_IGNORED: Holes = {"symbolId": ANY, "createTime": ANY}
_OLD: Holes = {"s": SYMBOL, "t": TIME, "d.r": ONLY_ID}
_DEALS = trades_of({"price": PRICE, "quantity": SIZE, "time": TIME, "tradeType": side("1", "2")})
_OLD_DEALS = trades_of({"p": PRICE, "v": SIZE, "t": TIME, "S": side("1", "2")})
_SHAPES = (
    *(Shape({**_NEW, **_RANGE, **sides}, _IGNORED) for sides in _book("publicAggreDepths", "price", "quantity")),
    *(Shape({**_OLD, **sides}) for sides in _book("d", "p", "v")),
    Shape({"symbol": SYMBOL, "publicAggreDeals.deals": _DEALS}, {"sendTime": ANY, **_IGNORED}),
    Shape({"s": SYMBOL, "d.deals": _OLD_DEALS}, {"t": ANY}),
    ticker_shape(_BEST, "publicAggreBookTicker", {"symbol": SYMBOL}, {"sendTime": ANY, **_IGNORED}),
)

VENUE = Venue(
    json_records(_decode, _decode_addressed),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    channels=_CHANNELS,
)
