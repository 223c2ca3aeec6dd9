"""Gate.io futures: `futures.order_book_update`, `futures.obu`, `futures.order_book`, `futures.trades` and `futures.book_ticker`.

```
{"time":1615366381,"channel":"futures.order_book_update","event":"update","result":{"t":1615366381417,"s":"BTC_USD",
 "U":2517661101,"u":2517661113,"b":[{"p":"54672.1","s":95}],"a":[{"p":"54743.6","s":0}]}}
{"channel":"futures.order_book","event":"all","time":1541500161,"result":{"t":1541500161123,"contract":"BTC_USD","id":93973511,
 "asks":[{"p":"97.1","s":2245}],"bids":[{"p":"97.2","s":2245}]}}
{"channel":"futures.order_book","event":"update","time":1541500162,"result":[{"p":"49525.6","s":-7726,"c":"BTC_USD","id":93973512}]}
{"channel":"futures.trades","event":"update","time":1541503698,"result":[{"size":-108,"id":27753479,"create_time":1545136464,
 "create_time_ms":1545136464123,"price":"96.4","contract":"BTC_USD"}]}
https://api.gateio.ws/api/v4/futures/usdt/order_book?contract=BTC_USDT&with_id=true -> ...: {"id":2517661100,
 "current":1623898993.123,"update":1623898993.121,"asks":[{"p":"1.52","s":100}],"bids":[]}
```

Sizes are contracts. A negative size is an ask's, and a trade's whose aggressor sold.

* Continuity: each update's `U` is the last one's `u` plus one. The first one behind an answer with the id L has U <= L + 1 <= u.
  A record with `full` replaces the book. The records of `futures.order_book` have no ids of the book.
* Proof of the book: these ids, and answers to `order_book`, which judge a synced book.
* Channels: `futures.order_book_update`, each depth of `futures.obu`, and `futures.order_book` are books of their own. Of
  `futures.obu` the best levels are kept.
* Markets: perpetual and delivery contracts look alike. Spot has a format of its own.

Source: gate.io, futures websocket, "Local order book maintenance"; tardis-dev/tardis-node, src/mappers/gateiofutures.ts.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    FIRST_ID,
    LAST_ID,
    MILLISECONDS_TIME,
    PRICE,
    SIGNED_SIZE,
    SIZE,
    SYMBOL,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.answers import parameter, path_of, snapshot_beside_stream
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    fractional_milliseconds,
    levels,
    loose_ticker,
    milliseconds,
    numeral,
    seconds_time,
    split_sign,
    text,
    ticker_shape,
    with_book,
)
from cowbook.venues.gateio import split_stream

_UPDATES, _OLD = 1, 2
"""Numbers of the channels but `futures.obu`, of which each depth has its own as a number."""

_BEST = BestKeys("b", "B", "a", "A")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "channel" not in found:
        if found.keys() >= {"id", "asks", "bids"}:
            return _decode_snapshot(found, "", settings)
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel, event = text(found, "channel"), found.get("event")
    if "." not in channel:
        refuse("unknown", f"a record of the channel {shown(channel)}")
    if event not in ("update", "all"):
        return UNUSED
    if channel == "futures.order_book":
        return _decode_old_book(found, settings)
    if channel == "futures.trades":
        return _decode_trades(an_array(found.get("result"), '"result"'), settings)
    if channel == "futures.book_ticker":
        ticker = an_object(found.get("result"), '"result"')
        symbol = text(ticker, "s")
        return loose_ticker(ticker, settings, _BEST) if symbol == settings.name else OtherSymbol(symbol)
    if channel not in ("futures.order_book_update", "futures.obu"):
        return UNUSED
    book = an_object(found.get("result"), '"result"')
    symbol, depth = text(book, "s"), 0
    if channel == "futures.obu":
        symbol, depth = split_stream(symbol)
    return _decode_book(book, settings, depth) if symbol == settings.name else OtherSymbol(symbol)


def _decode_book(book: Object, settings: DecoderSettings, depth: int) -> DecodedMessage:
    """Decode an update. `depth` is that of `futures.obu`, 0 for `futures.order_book_update`."""
    last = fitting_id("u", integer(book, "u"))
    is_full = book.get("full") is True
    first = NONE if is_full else fitting_id("U", integer(book, "U"))
    kind, time = SNAPSHOT if is_full else DIFF, milliseconds(book, "t")
    message = DecodedMessage(kind, last, rule=RANGE, ts_event=time, first_id=first, depth=depth, channel=depth or _UPDATES)
    return with_book(message, _side(book, "b"), _side(book, "a"), settings)


def _side(book: Object, key: str) -> Levels:
    """The levels of a side, which may be absent: objects or, in `futures.obu`, arrays."""
    entries = an_array(book.get(key, []), f'"{key}"')
    is_array = bool(entries) and isinstance(entries[0], list)
    return levels(entries, f'"{key}"') if is_array else levels(entries, f'"{key}"', "p", "s")


def _decode_old_book(found: Object, settings: DecoderSettings) -> Decoded:
    """Decode a record of `futures.order_book`: a snapshot, or changes whose size has the side's sign."""
    is_snapshot = found["event"] == "all"
    if is_snapshot:
        book = an_object(found.get("result"), '"result"')
        symbol = text(book, "contract")
        bids, asks = an_array(book.get("bids"), '"bids"'), an_array(book.get("asks"), '"asks"')
    else:
        changes = [an_object(change, "a change") for change in an_array(found.get("result"), '"result"')]
        if not changes:
            return UNUSED
        symbol = text(changes[0], "c")
        bids, asks = _split_changes([change for change in changes if text(change, "c") == symbol])
    if symbol != settings.name:
        return OtherSymbol(symbol)
    time = seconds_time(found.get("time"))
    message = DecodedMessage(SNAPSHOT if is_snapshot else DIFF, NONE, rule=UNNUMBERED, ts_event=time, channel=_OLD)
    return with_book(message, levels(bids, "the bids", "p", "s"), levels(asks, "the asks", "p", "s"), settings)


def _split_changes(changes: list[Object]) -> tuple[list[object], list[object]]:
    """Split changes by the sign of their size. One of size 0 does not say its side, and removes the level on both."""
    sides: tuple[list[object], list[object]] = [], []
    for change in changes:
        size, is_ask = split_sign(change.get("s"))
        for side in {is_ask} if size != "0" else (False, True):
            sides[side].append({"p": change.get("p"), "s": size})
    return sides


def _decode_trades(entries: list[object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    others: list[str] = []
    own = 0
    for entry in entries:
        trade = an_object(entry, "a trade")
        symbol = text(trade, "contract")
        if symbol != settings.name:
            others.append(symbol)
            continue
        own += 1
        number = fitting_id("id", integer(trade, "id"))
        has_milliseconds = "create_time_ms" in trade
        time = fractional_milliseconds(trade["create_time_ms"]) if has_milliseconds else seconds_time(trade.get("create_time"))
        size, sold = split_sign(trade.get("size"))
        trades.add(trade.get("price"), size, time, number, sold=sold)
    if own:
        return trades.to_message()
    return OtherSymbol(others[0]) if others else UNUSED


def _decode_answer(value: object, address: str, settings: DecoderSettings) -> Decoded:
    if not path_of(address).endswith("/order_book") or not isinstance(value, dict) or "id" not in value:
        return UNUSED
    symbol = parameter(address, "contract")
    return _decode_snapshot(value, symbol, settings) if symbol in ("", settings.name) else OtherSymbol(symbol)


def _decode_snapshot(book: Object, symbol: str, settings: DecoderSettings) -> DecodedMessage:
    number = fitting_id("id", integer(book, "id"))
    time = seconds_time(numeral(book["update"])) if "update" in book else NONE
    bids, asks = levels(book.get("bids"), '"bids"', "p", "s"), levels(book.get("asks"), '"asks"', "p", "s")
    message = snapshot_beside_stream(number, RANGE, time, bids, asks, symbol, settings)
    message.channel = _UPDATES
    return message


_LEVEL = {"p": PRICE, "s": SIZE}
_RECORD: Holes = {"time": ANY, "time_ms": ANY}
_TRADES = trades_of({"contract": SYMBOL, "id": LAST_ID, "create_time_ms": MILLISECONDS_TIME, "price": PRICE, "size": SIGNED_SIZE})
_SHAPES = (
    Shape(
        {
            "result.s": SYMBOL,
            "result.U": FIRST_ID,
            "result.u": LAST_ID,
            "result.t": TIME,
            "result.b": bids_of(_LEVEL),
            "result.a": asks_of(_LEVEL),
        },
        _RECORD,
    ),
    Shape({"result": _TRADES}, _RECORD),
    ticker_shape(_BEST, "result", {"result.s": SYMBOL}, _RECORD),
)

VENUE = Venue(
    json_records(_decode, _decode_answer),
    make_scanner=shaped(*_SHAPES),
    shows_loss=False,
    channels={
        "futures.order_book_update": _UPDATES,
        "futures.order_book": _OLD,
        "futures.obu.50": 50,
        "futures.obu.400": 400,
    },
)
