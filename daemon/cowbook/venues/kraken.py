"""Kraken spot, websocket v1 (arrays) and v2 (objects): books and trades.

v1:

```
[4528,{"as":[["0.000835600","304.30645202","1618678013.750147"],...],"bs":[["0.000833500",...],...]},"book-1000","GRT/ETH"]
[1920,{"a":[["0.043210","0.00000000","1618678137.640504"]],"c":"2745838"},"book-1000","SC/EUR"]
[1920,{"a":[["0.042990","364630.28",...]]},{"b":[["0.042990","0.00000000",...]],"c":"4105471083"},"book-1000","SC/EUR"]
[993,[["354.11000000","0.89594024","1618678142.557535","s","l",""]],"trade","XMR/USD"]
```

v2:

```
{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true,...}
{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":63388.7,"qty":0.25761908},...],"asks":[...],
 "checksum":3726153463,"timestamp":"2026-08-02T03:35:51.302928Z"}]}
{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[{"price":63005.0,"qty":2.08665551}],
 "checksum":2532652056,"timestamp":"2026-08-01T02:53:53.646219Z"}]}
{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":63005.0,"qty":0.01,"trade_id":71,
 "timestamp":"2026-08-01T02:53:54.000000Z"}]}
```

* Continuity: records have no ids, so only a failing checksum shows a lost one.
* Proof of the book: a CRC-32 over the ten best levels of each side, in every update (v1: not in snapshots).
* Depth: the venue does not remove levels that fall out of the subscribed depth, so the book is cut to it. v1's channel name says
  the depth, in v2 the answer to the subscription does. In v1 each depth is a channel, and a book of its own.
* Markets: spot only; futures have another protocol (`kraken_futures`).

Source: docs.kraken.com, book-checksum-v1 and -v2.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    CHECKSUM,
    ISO_TIME,
    LAST_ID,
    PRICE,
    SECONDS_TIME,
    SIZE,
    SYMBOL,
    Shape,
    asks_of,
    bids_of,
    side,
    trades_of,
)
from cowbook.input.numerals import MAX_ID
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, Subscription, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import KRAKEN, UNNUMBERED
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    a_checksum,
    an_array,
    an_object,
    is_sell,
    iso_time,
    latest,
    levels,
    loose_ticker,
    only_one,
    seconds_time,
    ticker_shape,
    with_book,
)

_BEST = BestKeys("bid", "bid_qty", "ask", "ask_qty")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    if isinstance(value, list):
        return _decode_v1(value, settings)
    found = an_object(value, "the record")
    channel = found.get("channel")
    if "method" in found:
        return _decode_subscription(found, settings)
    if channel is None and "event" in found:  # v1: heartbeats and status
        return UNUSED
    return _decode_v2(found, channel, settings)


def _decode_v2(found: Object, channel: object, settings: DecoderSettings) -> Decoded:
    if channel not in ("book", "trade", "ticker"):
        if isinstance(channel, str):
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    data = an_array(found.get("data"), '"data"')
    symbols = [an_object(entry, '"data"').get("symbol") for entry in data]
    if settings.name not in symbols:
        return OtherSymbol(str(symbols[0] if symbols else ""))
    if channel == "ticker":
        return loose_ticker(data[0], settings, _BEST) if len(data) == 1 else UNUSED
    if channel == "book":
        return _decode_book_v2(found, only_one(data, '"data"'), settings)
    trades = Trades(settings)
    for entry in data:
        trade = an_object(entry, '"data"')
        if trade.get("symbol") == settings.name:
            time, sold = iso_time(trade.get("timestamp")), is_sell(trade.get("side"))
            trades.add(trade.get("price"), trade.get("qty"), time, _read_trade_id(trade), sold=sold)
    return UNUSED if found.get("type") == "snapshot" else trades.to_message()  # a snapshot's are older than the subscription


def _read_trade_id(trade: Object) -> int:
    trade_id = trade.get("trade_id")
    return trade_id if type(trade_id) is int and 0 <= trade_id <= MAX_ID else NONE


def _decode_subscription(found: Object, settings: DecoderSettings) -> Decoded:
    result = found.get("result")
    if found.get("method") != "subscribe" or not isinstance(result, dict) or result.get("channel") != "book":
        return UNUSED
    depth = result.get("depth")
    if result.get("symbol") != settings.name:
        return OtherSymbol(str(result.get("symbol")))
    return Subscription(depth) if type(depth) is int and 0 < depth < 10**6 else UNUSED


def _decode_book_v2(found: Object, book: Object, settings: DecoderSettings) -> DecodedMessage:
    kind = found.get("type")
    if kind not in ("snapshot", "update"):
        refuse("unknown", f"a book of the type {shown(kind)}")
    ts_event = iso_time(book["timestamp"]) if "timestamp" in book else NONE
    bids, asks = (levels(book.get(side), f'"{side}"', "price", "qty") for side in ("bids", "asks"))
    message = DecodedMessage(SNAPSHOT if kind == "snapshot" else DIFF, NONE, rule=UNNUMBERED, ts_event=ts_event)
    return with_book(message, bids, asks, settings, a_checksum(book, "checksum"))


def _decode_v1(value: list[object], settings: DecoderSettings) -> Decoded:
    if len(value) < 4 or not isinstance(value[-1], str) or not isinstance(value[-2], str):
        refuse("unknown", f"an array that does not end with channel and pair: {shown(value)}")
    channel, pair = value[-2], value[-1]
    name, _, depth = channel.partition("-")
    if name not in ("book", "trade"):
        return UNUSED
    if pair != settings.name:
        return OtherSymbol(pair)
    if name == "trade":
        trades = Trades(settings)
        entries = an_array(value[1], "the trades")
        if not entries:
            return UNUSED
        for entry in entries:
            trade = an_array(entry, "a trade")
            if len(trade) < 4:
                refuse("malformed", f"a trade without price, size, time and side: {shown(trade)}")
            trades.add(trade[0], trade[1], seconds_time(trade[2]), NONE, sold=is_sell(trade[3], "b", "s"))
        return trades.to_message()
    if not (depth.isascii() and depth.isdigit() and 0 < int(depth) < 10**6):
        refuse("malformed", f"{shown(channel)} says no depth")
    return _decode_book_v1(value[1:-2], int(depth), settings)


def _decode_book_v1(parts: list[object], depth: int, settings: DecoderSettings) -> DecodedMessage:
    """Decode the parts of a book record: one object, or one per side with the checksum in the second."""
    merged: Object = {}
    for part in parts:
        merged |= an_object(part, "a part of the book")
    is_snapshot = "as" in merged or "bs" in merged
    keys = ("bs", "as") if is_snapshot else ("b", "a")
    sides: list[Levels] = []
    times: list[int] = []
    for key in keys:
        entries = an_array(merged.get(key, []), f'"{key}"')
        sides.append(levels(entries, f'"{key}"'))
        times += [seconds_time(entry[2]) for entry in entries if isinstance(entry, list) and len(entry) > 2]
    if not is_snapshot and "a" not in merged and "b" not in merged:
        refuse("unknown", f"a book without levels, with the keys {shown(', '.join(merged))}")
    kind = SNAPSHOT if is_snapshot else DIFF
    message = DecodedMessage(kind, NONE, rule=UNNUMBERED, ts_event=latest(times), depth=depth, channel=depth)
    return with_book(message, sides[0], sides[1], settings, a_checksum(merged, "c"))


_BIDS, _ASKS = (rows_of({"0": PRICE, "1": SIZE}, {"2": SECONDS_TIME}) for rows_of in (bids_of, asks_of))
_BIDS_V2, _ASKS_V2 = (rows_of({"price": PRICE, "qty": SIZE}) for rows_of in (bids_of, asks_of))
_TRADES = trades_of({"0": PRICE, "1": SIZE, "2": SECONDS_TIME, "3": side("b", "s")})
_TRADES_V2 = trades_of(
    {"symbol": SYMBOL, "side": side(), "price": PRICE, "qty": SIZE, "trade_id": LAST_ID, "timestamp": ISO_TIME}
)
_SHAPES = (
    # v1: a snapshot.
    Shape({"1.as": _ASKS, "1.bs": _BIDS, "3": SYMBOL}, {"0": ANY}),
    # v1: both sides in one object, in two objects, or one side alone.
    Shape({"1.a": _ASKS, "1.b": _BIDS, "3": SYMBOL}, {"0": ANY, "1.c": CHECKSUM}),
    Shape({"1.a": _ASKS, "2.b": _BIDS, "4": SYMBOL}, {"0": ANY, "2.c": CHECKSUM}),
    Shape({"1.a": _ASKS, "3": SYMBOL}, {"0": ANY, "1.c": CHECKSUM}),
    Shape({"1.b": _BIDS, "3": SYMBOL}, {"0": ANY, "1.c": CHECKSUM}),
    Shape({"1": _TRADES, "3": SYMBOL}, {"0": ANY}),
    # v2
    Shape(
        {"data.0.symbol": SYMBOL, "data.0.bids": _BIDS_V2, "data.0.asks": _ASKS_V2},
        {"data.0.checksum": CHECKSUM, "data.0.timestamp": ISO_TIME},
    ),
    Shape({"data": _TRADES_V2}),
    ticker_shape(_BEST, "data.0", {"data.0.symbol": SYMBOL}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    checksum=KRAKEN,
    snapshots="depth",
    channels={f"book-{depth}": depth for depth in (10, 25, 100, 500, 1000)},
)
