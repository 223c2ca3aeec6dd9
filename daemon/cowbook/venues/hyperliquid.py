"""Hyperliquid: `l2Book`, `trades` and `bbo`.

```
{"channel":"l2Book","data":{"coin":"BTC","time":1730160007687,"levels":[[{"px":"68000.0","sz":"1.25","n":3},...],
 [{"px":"68001.0","sz":"0.5","n":1},...]]}}
{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"68001.0","sz":"0.01","hash":"0x...","time":1730160007700,
 "tid":118906512037719,"users":["0x...","0x..."]}]}
{"channel":"bbo","data":{"coin":"BTC","time":1730160007701,"bbo":[{"px":"68000.0","sz":"1.25","n":3},null]}}
```

* Continuity: each record of `l2Book` shows the best 20 levels of both sides anew, at most every half second. There are no ids, so
  nothing shows a lost one; the next one is the book again.
* `fastBook`, which Tardis' raw replay adds, is unused: no description of it was found, and nothing says that it is the same book.
* Proof of the book: none. `bbo` has no ids, so only its rate says something.
* A subscription with `nSigFigs` gets levels of merged prices, which are not the book. The records do not say so. Its
  confirmation, where it was recorded, is refused.
* Trades: side `B` is a buying aggressor, `A` a selling one. The first record of a subscription has older trades, and nothing
  says so.
* Markets: perpetuals (`BTC`), spot (`@107`) and those of builders (`xyz:NVDA`) have names of their own.

Sources: Hyperliquid's documentation, "WebSocket / Subscriptions"; hyperliquid-python-sdk#324; tardis-dev/tardis-node,
src/mappers/hyperliquid.ts.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    LAST_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Shape,
    asks_of,
    bids_of,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
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
    ticker_shape,
    with_book,
)

_CHANNELS = {"l2Book": 1}
_BEST = BestKeys("0.px", "0.sz", "1.px", "1.sz")
"""Paths in the array of the best bid and ask."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "channel" not in found:
        if "method" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel = text(found, "channel")
    if channel == "trades":
        return _decode_trades(an_array(found.get("data"), '"data"'), settings)
    if channel == "subscriptionResponse":
        return _decode_subscription(found.get("data"), settings)
    if channel not in ("l2Book", "bbo"):
        return UNUSED
    data = an_object(found.get("data"), '"data"')
    coin = text(data, "coin")
    if coin != settings.name:
        return OtherSymbol(coin)
    return _decode_picture(data, settings) if channel == "l2Book" else _decode_best(data.get("bbo"), settings)


def _decode_picture(data: Object, settings: DecoderSettings) -> DecodedMessage:
    time = milliseconds(data, "time")
    sides = an_array(data.get("levels"), '"levels"')
    if len(sides) != 2:
        refuse("malformed", f'"levels" has {len(sides)} sides, not two')
    bids, asks = (levels(side_, '"levels"', "px", "sz") for side_ in sides)
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=_CHANNELS["l2Book"])
    return with_book(message, bids, asks, settings)


def _decode_best(best: object, settings: DecoderSettings) -> Decoded:
    if not isinstance(best, list) or len(best) != 2 or not all(isinstance(level, dict) for level in best):
        return UNUSED
    values = (best[0].get("px"), best[0].get("sz"), best[1].get("px"), best[1].get("sz"))
    return loose_ticker(dict(zip(_BEST, values, strict=True)), settings, _BEST)


def _decode_trades(data: list[object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    own = [trade for entry in data if text(trade := an_object(entry, "a trade"), "coin") == settings.name]
    for trade in own:
        number = fitting_id("tid", integer(trade, "tid"))
        trades.add(
            trade.get("px"), trade.get("sz"), milliseconds(trade, "time"), number, sold=is_sell(trade.get("side"), "B", "A")
        )
    if own:
        return trades.to_message()
    return OtherSymbol(text(an_object(data[0], "a trade"), "coin")) if data else UNUSED


def _decode_subscription(data: object, settings: DecoderSettings) -> Decoded:
    """A subscription's confirmation: of merged prices no book can be made, and the records of its books do not say it."""
    wanted = data.get("subscription") if isinstance(data, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") != "l2Book" or wanted.get("coin") != settings.name:
        return UNUSED
    if wanted.get("nSigFigs") is not None:
        refuse(
            "unknown", f"a subscription with nSigFigs = {shown(wanted['nSigFigs'])}: its l2Book has merged prices, not the book"
        )
    return UNUSED


_LEVEL = {"px": PRICE, "sz": SIZE}
_SHAPES = (
    Shape(
        {"data.coin": SYMBOL, "data.time": TIME, "data.levels.0": bids_of(_LEVEL), "data.levels.1": asks_of(_LEVEL)},
        where={"channel": "l2Book"},
    ),
    Shape({"data": trades_of({"coin": SYMBOL, "side": side("B", "A"), **_LEVEL, "time": TIME, "tid": LAST_ID})}),
    ticker_shape(_BEST, "data.bbo", {"data.coin": SYMBOL}, {"data.time": ANY}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    channels=_CHANNELS,
)
