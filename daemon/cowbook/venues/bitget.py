"""Bitget spot v1: `books`, `books1`, `books5`, `books15`, `trade` and `ticker`.

```
{"action":"snapshot","arg":{"instType":"sp","channel":"books","instId":"STGUSDT"},
 "data":[{"asks":[["2.917","60.424"],...],"bids":[["2.861","10.542"],...],"checksum":-1605082578,"ts":"1649290077498"}]}
{"action":"update","arg":{"instType":"sp","channel":"books","instId":"GOGUSDT"},
 "data":[{"asks":[["0.5625","16.3333"],...],"bids":[...,["0.5410","15.0000"]],"checksum":871848329,"ts":"1649290078141"}]}
{"action":"update","arg":{"instType":"sp","channel":"trade","instId":"STGUSDT"},"data":[["1649290090204","2.879","3.104","buy"]]}
```

* Continuity: records have no ids, so only a failing checksum shows a lost one.
* Proof of the book: a CRC-32 in every book record, over the 25 best levels of each side, with numerals as they were sent.
* Markets: spot only.

Source: Bitget's API documentation, "Depth channel".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    CHECKSUM,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Shape,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import BITGET, UNNUMBERED
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
    ticker_shape,
    with_book,
)

_BOOKS = {"books": 1, "books1": 2, "books5": 3, "books15": 4}
"""Numbers of the channels. All but `books` have no changes: each record shows the best levels anew."""

_BEST = BestKeys("bestBid", "bidSz", "bestAsk", "askSz")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    if value == "pong":
        return UNUSED
    found = an_object(value, "the record")
    if "event" in found or "op" in found:
        return UNUSED
    if "arg" not in found or "data" not in found:
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    argument = an_object(found["arg"], '"arg"')
    channel, action = text(argument, "channel"), found.get("action")
    if channel not in (*_BOOKS, "trade", "ticker"):
        return UNUSED
    symbol = text(argument, "instId")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    data = an_array(found["data"], '"data"')
    if channel == "ticker":
        return loose_ticker(data[0], settings, _BEST) if len(data) == 1 else UNUSED
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
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    if channel == _BOOKS["books"]:
        return with_book(message, bids, asks, settings, a_checksum(book, "checksum"))
    message.flags = IS_PICTURE  # a checksum is of 25 levels
    return with_book(message, bids, asks, settings)


def _decode_trades(data: list[object], settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    for entry in data:
        trade = an_array(entry, "a trade")
        if len(trade) < 4:
            refuse("malformed", f"a trade without time, price, size and side: {shown(trade)}")
        trades.add(trade[1], trade[2], milliseconds({"time": trade[0]}, "time"), NONE, sold=is_sell(trade[3]))
    return trades.to_message()


_TRADES = trades_of({"0": TIME, "1": PRICE, "2": SIZE, "3": side()})
_SHAPES = (
    Shape(
        {"arg.instId": SYMBOL, "data.0.asks": ASKS, "data.0.bids": BIDS, "data.0.ts": TIME},
        {"data.0.checksum": CHECKSUM, "ts": ANY},
    ),
    Shape({"arg.instId": SYMBOL, "data": _TRADES}, {"ts": ANY}),
    ticker_shape(_BEST, "data.0", {"arg.instId": SYMBOL}, {"ts": ANY}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    checksum=BITGET,
    snapshots="all",
    channels=_BOOKS,
)
