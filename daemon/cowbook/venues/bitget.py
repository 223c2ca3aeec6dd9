"""Bitget v1, v2 and v3: `books`, `books1`, `books5`, `books15`, `books50`, trades and `ticker`, of spot and of futures.

v1:

```
{"action":"snapshot","arg":{"instType":"sp","channel":"books","instId":"STGUSDT"},
 "data":[{"asks":[["2.917","60.424"],...],"bids":[["2.861","10.542"],...],"checksum":-1605082578,"ts":"1649290077498"}]}
{"action":"update","arg":{"instType":"sp","channel":"books","instId":"GOGUSDT"},
 "data":[{"asks":[["0.5625","16.3333"],...],"bids":[...,["0.5410","15.0000"]],"checksum":871848329,"ts":"1649290078141"}]}
{"action":"update","arg":{"instType":"sp","channel":"trade","instId":"STGUSDT"},"data":[["1649290090204","2.879","3.104","buy"]]}
```

v2 has `seq` in a book, and objects as trades:

```
{"action":"update","arg":{"instType":"SPOT","channel":"books","instId":"BTCUSDT"},
 "data":[{"asks":[["27001","0.1"]],"bids":[],"checksum":0,"seq":123,"ts":"1695716059516"}],"ts":1695716059516}
{"action":"update","arg":{"instType":"SPOT","channel":"trade","instId":"OPUSDT"},
 "data":[{"ts":"1730332800983","price":"1.717","size":"56.16","side":"buy","tradeId":"1235670816495050754"}],"ts":1730332800989}
```

v3 has other names, and the `seq` of the message before:

```
{"action":"update","arg":{"instType":"usdt-futures","topic":"books","symbol":"BTCUSDT"},
 "data":[{"a":[["110000.1","0.2"]],"b":[],"checksum":0,"pseq":1343064377779269632,"seq":1343064377779269640,"ts":"1755937421270"}],
 "ts":1755937421337}
{"action":"update","arg":{"instType":"spot","topic":"publicTrade","symbol":"BTCUSDT"},
 "data":[{"i":"1343064377779269650","p":"110000.1","v":"0.02","S":"buy","T":"1755937421300","L":"1"}],"ts":1755937421337}
```

* Continuity: v3's `pseq` is the `seq` of the message before, 0 in a snapshot. Ids may be text, and exceed 10^18. v2's `seq` only
  rises: it shows what is old. v1 has none. In both only a failing checksum shows a lost record.
* Proof of the book: a CRC-32 in a record of `books`, over the 25 best levels of each side, with numerals as they were sent. 0
  means none.
* Channels: all but `books` have no changes; each record shows the best levels anew.
* Markets: spot and futures share symbols. `instType` tells them: `sp` and `SPOT` are spot, all others futures. Sizes are in the
  base asset.

Sources: Bitget's API documentation, "Depth channel"; tardis-dev/tardis-node, src/mappers/bitget.ts; ccxt, pro/bitget.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    CHECKSUM_UNLESS_0,
    LAST_ID,
    ONLY_ID,
    PREV_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, FUTURES, IS_PICTURE, NONE, SNAPSHOT, SPOT
from cowbook.plain.schemes import BITGET, CHAIN, RISING, UNNUMBERED
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    a_checksum,
    an_array,
    an_object,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    only_one,
    text,
    text_id,
    ticker_shape,
    whole_number,
    with_book,
)

_BOOKS = {"books": 1, "books1": 2, "books5": 3, "books15": 4, "books50": 5}
"""Numbers of the channels. All but `books` have no changes: each record shows the best levels anew."""

_TRADES = ("trade", "publicTrade")

_BEST = (
    BestKeys("bestBid", "bidSz", "bestAsk", "askSz"),
    BestKeys("bidPr", "bidSz", "askPr", "askSz"),
    BestKeys("bid1Price", "bid1Size", "ask1Price", "ask1Size"),
)
"""The keys of tickers of v1, v2 and v3."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "event" in found or "op" in found:
        return UNUSED
    if "arg" not in found or "data" not in found:
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    argument = an_object(found["arg"], '"arg"')
    has_topic = "topic" in argument
    channel, action = text(argument, "topic" if has_topic else "channel"), found.get("action")
    if channel not in (*_BOOKS, *_TRADES, "ticker"):
        return UNUSED
    symbol = text(argument, "symbol" if has_topic else "instId")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    decoded = _decode_data(channel, action, an_array(found["data"], '"data"'), settings)
    if isinstance(decoded, DecodedMessage) and "instType" in argument:
        decoded.market = SPOT if text(argument, "instType").lower() in ("sp", "spot") else FUTURES
    return decoded


def _decode_data(channel: str, action: object, data: list[object], settings: DecoderSettings) -> Decoded:
    if channel == "ticker":
        if len(data) != 1 or not isinstance(data[0], dict):
            return UNUSED
        return loose_ticker(data[0], settings, next((keys for keys in _BEST if keys.bid in data[0]), _BEST[0]))
    if action not in ("snapshot", "update"):
        refuse("unknown", f"{channel} with the action {shown(action)}")
    is_snapshot = action == "snapshot"
    if channel in _BOOKS:
        if channel != "books" and not is_snapshot:
            return UNUSED
        return _decode_book(only_one(data, '"data"'), settings, _BOOKS[channel], is_snapshot=is_snapshot)
    return (
        UNUSED if is_snapshot or not data else _decode_trades(data, settings)
    )  # a snapshot's trades are older than the subscription


def _decode_book(book: Object, settings: DecoderSettings, channel: int, *, is_snapshot: bool) -> DecodedMessage:
    kind = SNAPSHOT if is_snapshot else DIFF
    message = DecodedMessage(kind, NONE, rule=UNNUMBERED, ts_event=milliseconds(book, "ts"), channel=channel)
    bids, asks = (levels(book.get(key), f'"{key}"') for key in (("b", "a") if "b" in book or "a" in book else ("bids", "asks")))
    if channel != _BOOKS["books"]:
        message.flags = IS_PICTURE  # a checksum is of 25 levels, and nothing says that ids are those of `books`
        return with_book(message, bids, asks, settings)
    if "pseq" in book:
        message.rule = CHAIN
        message.last_id, message.prev_id = whole_number(book, "seq"), whole_number(book, "pseq")
    elif "seq" in book:
        message.rule, message.last_id = RISING, whole_number(book, "seq")
        message.first_id = NONE if is_snapshot else message.last_id
    return with_book(message, bids, asks, settings, a_checksum(book, "checksum") or None)


def _decode_trades(data: list[object], settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    for entry in data:
        if isinstance(entry, list):
            if len(entry) < 4:
                refuse("malformed", f"a trade without time, price, size and side: {shown(entry)}")
            trades.add(entry[1], entry[2], milliseconds({"time": entry[0]}, "time"), NONE, sold=is_sell(entry[3]))
            continue
        trade = an_object(entry, "a trade")
        keys = ("price", "size", "ts", "tradeId", "side") if "tradeId" in trade else ("p", "v", "T", "i", "S")
        price, size, time, number, sold = (trade.get(key) for key in keys)
        trades.add(price, size, milliseconds({keys[2]: time}, keys[2]), text_id(number), sold=is_sell(sold))
    return trades.to_message()


def _book(bids: str, asks: str) -> Holes:
    level = {"0": PRICE, "1": SIZE}
    return {f"data.0.{asks}": asks_of(level), f"data.0.{bids}": bids_of(level), "data.0.ts": TIME}


_OLD: Holes = {"arg.instId": SYMBOL}
_NEW: Holes = {"arg.symbol": SYMBOL}
_IGNORED: Holes = {"ts": ANY}
_CHECKED: Holes = {"data.0.checksum": CHECKSUM_UNLESS_0, "ts": ANY}
_CHAIN: Holes = {"data.0.seq": LAST_ID, "data.0.pseq": PREV_ID}
_PICTURE: Holes = {"data.0.checksum": ANY, "data.0.seq": ANY, "data.0.pseq": ANY, "ts": ANY}


def _shapes_of_books(symbol: Holes, book: Holes, key: str) -> tuple[Shape, ...]:
    """The shapes of the channels of books; `key` is that of their name."""
    changes = {f"arg.{key}": "books"}
    return (
        Shape(symbol | book | _CHAIN, _CHECKED, where=changes),
        Shape(symbol | book | {"data.0.seq": ONLY_ID}, _CHECKED, where=changes),
        Shape(symbol | book, _CHECKED, where=changes),
        *(Shape(symbol | book, _PICTURE, where={f"arg.{key}": name}) for name in _BOOKS if name != "books"),
    )


_SHAPES = (
    *_shapes_of_books(_OLD, _book("bids", "asks"), "channel"),
    *_shapes_of_books(_NEW, _book("b", "a"), "topic"),
    Shape({**_OLD, "data": trades_of({"0": TIME, "1": PRICE, "2": SIZE, "3": side()})}, _IGNORED),
    Shape({**_OLD, "data": trades_of({"ts": TIME, "price": PRICE, "size": SIZE, "side": side(), "tradeId": TEXT_ID})}, _IGNORED),
    Shape({**_NEW, "data": trades_of({"T": TIME, "p": PRICE, "v": SIZE, "S": side(), "i": TEXT_ID})}, _IGNORED),
    *(ticker_shape(keys, "data.0", symbol, _IGNORED) for keys, symbol in zip(_BEST, (_OLD, _OLD, _NEW), strict=True)),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    checksum=BITGET,
    snapshots="all",
    channels=_BOOKS | {"spot": 0, "futures": 0},
)
