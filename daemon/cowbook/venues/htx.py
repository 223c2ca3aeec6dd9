"""HTX (Huobi), spot and derivatives: `mbp`, `mbp.refresh`, `depth.step0`, `depth.size_N.high_freq`, `trade.detail` and `bbo`.

Spot, changes of the best 5, 10, 20, 150 or 400 levels, and the answer to a request for all of them:

```
{"ch":"market.btcusdt.mbp.150","ts":1573199608679,"tick":{"seqNum":100020146795,"prevSeqNum":100020146794,
 "bids":[],"asks":[[645.14,26.755]]}}
{"id":"id21","rep":"market.btcusdt.mbp.150","status":"ok","data":{"seqNum":100020142010,"bids":[[618.37,71.594],...],"asks":[...]}}
```

Pictures of the best levels, `depth.step0` and `mbp.refresh.20`:

```
{"ch":"market.trioeth.depth.step0","ts":1618678069870,"tick":{"bids":[[9.121E-7,92730.24],...],"asks":[[9.28E-7,4342.25],...],
 "version":100182534697,"ts":1618678069868}}
```

Derivatives, changes of the best 20 or 150 levels:

```
{"ch":"market.BTC_CW.depth.size_20.high_freq","tick":{"asks":[[11785.6,132]],"bids":[],
 "ch":"market.BTC_CW.depth.size_20.high_freq","event":"update","id":94213098921,"mrid":94213098921,"ts":1597930123330,
 "version":225462220},"ts":1597930123331}
```

Trades:

```
{"ch":"market.trioeth.trade.detail","ts":1618678027942,"tick":{"id":100182534526,"ts":1618678027940,"data":[
 {"id":100182534526255757567432481,"ts":1618678027940,"tradeId":100045088885,"amount":20995.88,"price":9.2E-7,"direction":"buy"}]}}
```

* Continuity: `mbp.N`: `prevSeqNum` is the `seqNum` of the message before; an answer is joined by the change whose `prevSeqNum` is
  its `seqNum`. `high_freq`: `version` is the last one plus one, and a snapshot stands in the stream. Pictures show no loss.
* Proof of the book: none but the ids. A `mbp.refresh` with the id of the book judges it.
* Depth: N levels a side are kept. `depth.step0` has at most 150.
* Channels: each is a book of its own. `depth.step1` to `step5` and `step7` to `step11` merge prices, so they are not used.
* Markets: symbols of spot (`btcusdt`), of swaps (`BTC-USDT`, `BTC-USD`) and of futures (`BTC_CW`) differ. Sizes of derivatives
  are in contracts, and the size of their trades counts both sides.
* The trade's `id` has 27 digits; `tradeId` is the one that is used, where there is one. `direction` is the aggressor's.

Sources: huobi.com/support 900000047626, 900001078223, 900001526643 and 900000455606; docs.tardis.dev, huobi and huobi-dm.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    LAST_ID,
    ONLY_ID,
    PREV_ID,
    PRICE,
    SIZE,
    TIME,
    Holes,
    Shape,
    side,
    symbol_between,
    trades_of,
)
from cowbook.input.numerals import MAX_ID
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import CHAIN, COUNTER, RANGE_WITH_PREVIOUS, UNNUMBERED
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

_PICTURES = {"depth.step0": 1, "depth.step6": 2, "mbp.refresh.5": 3, "mbp.refresh.10": 4, "mbp.refresh.20": 5}
_DEPTHS = {f"mbp.{depth}": depth for depth in (5, 10, 20, 150, 400)}
_HIGH_FREQ = {f"depth.size_{depth}.high_freq": depth for depth in (20, 150)}
_CHANNELS = _PICTURES | {name: number for number, name in enumerate((*_DEPTHS, *_HIGH_FREQ), start=len(_PICTURES) + 1)}
"""The books' numbers."""

_BEST = BestKeys("bid", "bidSize", "ask", "askSize")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    key = "ch" if "ch" in found else "rep"
    if key not in found:
        if found.keys() & {"ping", "pong", "op", "subbed", "unsubbed", "err-code"}:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    market, _, rest = text(found, key).partition(".")
    symbol, _, channel = rest.partition(".")
    if market != "market" or channel not in (*_CHANNELS, "trade.detail", "bbo"):
        return UNUSED
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if key == "rep":
        content = found.get("data", found.get("tick"))
        return UNUSED if content is None else _decode_answer(found, an_object(content, '"data"'), settings, channel)
    tick = an_object(found.get("tick"), '"tick"')
    if channel in _DEPTHS:
        return _decode_change(found, tick, settings, channel)
    if channel in _HIGH_FREQ:
        return _decode_high_freq(found, tick, settings, channel)
    if channel in _PICTURES:
        return _decode_picture(found, tick, settings, channel)
    return _decode_best(tick, settings) if channel == "bbo" else _decode_trades(tick, settings)


def _decode_change(found: Object, tick: Object, settings: DecoderSettings, channel: str) -> DecodedMessage:
    number, previous = integer(tick, "seqNum"), integer(tick, "prevSeqNum")
    time = milliseconds(found, "ts")
    sides = _sides(tick)
    message = DecodedMessage(DIFF, fitting_id("seqNum", number), rule=RANGE_WITH_PREVIOUS, ts_event=time)
    message.first_id, message.prev_id = number, fitting_id("prevSeqNum", previous)
    return _of_channel(message, sides, settings, channel)


def _decode_answer(found: Object, data: Object, settings: DecoderSettings, channel: str) -> Decoded:
    """Decode the answer to a request: of a channel of changes all levels that it keeps, beside the stream."""
    if channel in _PICTURES:
        return _decode_picture(found, data, settings, channel)
    if channel not in _DEPTHS:
        return UNUSED
    number = integer(data, "seqNum")
    time = milliseconds(found, "ts") if "ts" in found else NONE
    message = DecodedMessage(SNAPSHOT, fitting_id("seqNum", number), rule=RANGE_WITH_PREVIOUS, ts_event=time)
    return _of_channel(message, _sides(data), settings, channel)


def _decode_high_freq(found: Object, tick: Object, settings: DecoderSettings, channel: str) -> DecodedMessage:
    event = tick.get("event")
    if event not in ("snapshot", "update"):
        refuse("unknown", f"a book with the event {shown(event)}")
    number = integer(tick, "version")
    time = milliseconds(tick, "ts") if "ts" in tick else milliseconds(found, "ts")
    sides = _sides(tick)
    kind = SNAPSHOT if event == "snapshot" else DIFF
    message = DecodedMessage(kind, fitting_id("version", number), rule=COUNTER, ts_event=time, first_id=number)
    return _of_channel(message, sides, settings, channel, resets=True)


def _of_channel(
    message: DecodedMessage, sides: tuple[Levels, Levels], settings: DecoderSettings, channel: str, *, resets: bool = False
) -> DecodedMessage:
    """Complete a message of a channel with changes."""
    message.channel = _CHANNELS[channel]
    message.depth = _DEPTHS[channel] if channel in _DEPTHS else _HIGH_FREQ[channel]
    return with_book(message, *sides, settings, resets=resets)


def _decode_picture(found: Object, tick: Object, settings: DecoderSettings, channel: str) -> DecodedMessage:
    """Decode the best levels. Tardis has stored only what differs from the picture before, with a flag."""
    time = milliseconds(tick, "ts") if "ts" in tick else milliseconds(found, "ts")
    sides = _sides(tick)
    if found.get("update") is True:
        message = DecodedMessage(DIFF, NONE, rule=UNNUMBERED, ts_event=time, channel=_CHANNELS[channel])
        return with_book(message, *sides, settings)
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=_CHANNELS[channel])
    key = "version" if channel.startswith("depth") else "seqNum"
    if key in tick:
        message.rule, message.last_id = CHAIN, fitting_id(key, integer(tick, key))
    return with_book(message, *sides, settings)


def _sides(tick: Object) -> tuple[Levels, Levels]:
    """Bids and asks. A side without changes may be missing, or null."""
    bids, asks = (levels([] if tick.get(key) is None else tick[key], f'"{key}"') for key in ("bids", "asks"))
    return bids, asks


def _decode_best(tick: Object, settings: DecoderSettings) -> Decoded:
    """Decode a ticker. Derivatives have the best levels as arrays."""
    best = dict(tick)
    for price, size in (("bid", "bidSize"), ("ask", "askSize")):
        level = tick.get(price)
        if isinstance(level, list):
            if len(level) < 2:
                return UNUSED
            best[price], best[size] = level[0], level[1]
    return loose_ticker(best, settings, _BEST)


def _decode_trades(tick: Object, settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    data = an_array(tick.get("data"), '"data"')
    for entry in data:
        trade = an_object(entry, "a trade")
        number = trade.get("tradeId", trade.get("id"))
        number = number if type(number) is int and 0 <= number <= MAX_ID else NONE
        trades.add(
            trade.get("price"), trade.get("amount"), milliseconds(trade, "ts"), number, sold=is_sell(trade.get("direction"))
        )
    return trades.to_message() if data else UNUSED


_CHANNEL: Holes = {"ch": symbol_between("market.")}
_BOTH: Holes = {"tick.bids": BIDS, "tick.asks": ASKS}
_IGNORED: Holes = {"ts": ANY, "tick.id": ANY, "tick.mrid": ANY, "tick.ch": ANY}
_CHAIN: Holes = {"ts": TIME, "tick.seqNum": ONLY_ID, "tick.prevSeqNum": PREV_ID}
_TRADE = {"ts": TIME, "price": PRICE, "amount": SIZE, "direction": side()}
_SHAPES = (
    *(Shape({**_CHANNEL, **_CHAIN, **sides}) for sides in (_BOTH, {"tick.bids": BIDS}, {"tick.asks": ASKS}, {})),
    Shape({**_CHANNEL, **_BOTH, "tick.version": ONLY_ID, "tick.ts": TIME}, _IGNORED),
    Shape({**_CHANNEL, **_BOTH, "tick.version": LAST_ID, "tick.ts": TIME}, _IGNORED),
    Shape({**_CHANNEL, **_BOTH, "tick.seqNum": LAST_ID, "ts": TIME}),
    Shape({**_CHANNEL, "tick.data": trades_of({**_TRADE, "tradeId": LAST_ID})}, {"ts": ANY, "tick.id": ANY, "tick.ts": ANY}),
    ticker_shape(_BEST, "tick", _CHANNEL, {"ts": ANY}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    snapshots="depth",
    channels=_CHANNELS,
)
