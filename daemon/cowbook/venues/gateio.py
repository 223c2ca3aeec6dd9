"""Gate.io spot: `spot.order_book_update`, `spot.obu`, `spot.order_book`, `spot.trades`, `spot.book_ticker` and `spot.tickers`.

```
{"time":1619093532,"channel":"spot.order_book_update","event":"update","result":{"t":1619093532978,"e":"depthUpdate",
 "E":1619093532,"s":"HAI_ETH","U":2691446,"u":2691447,"b":[["0.00010322","5360.209"],...],"a":[...]}}
{"channel":"spot.obu","event":"update","time_ms":...,"result":{"t":...,"full":true,"s":"ob.BTC_USDT.50","u":9,"b":[...],"a":[...]}}
{"time":1619093543,"channel":"spot.trades","event":"update","result":{"id":816995772,"create_time":1619093543,
 "create_time_ms":"1619093543708.2642","side":"sell","currency_pair":"DIS_USDT","amount":"0.2010000000","price":"121.58"}}
https://api.gateio.ws/api/v4/spot/order_book?currency_pair=HAI_ETH&with_id=true -> ...: {"id":2691446,"asks":[...],"bids":[...]}
{"method":"depth.update","params":[true,{"bids":[["1.0","2.0"]],"asks":[]},"BTC_USDT"],"id":null}
```

* Continuity: each update's `U` is the last one's `u` plus one. The first one behind an answer with the id L has U <= L + 1 <= u.
  A record with `full` replaces the book. The records of the oldest interface (`depth.update`, `trades.update`) have no ids.
* Proof of the book: these ids, and answers to `order_book`, which judge a synced book.
* Channels: `spot.order_book_update`, each depth of `spot.obu`, and `depth.update` are books of their own. Of `spot.obu` the best
  levels are kept. `spot.order_book` has no changes: each record shows the best levels anew.
* Markets: spot only. Futures have a format of their own.

Source: gate.io, API v4 and articles 19776 and 45317; records of 2021.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    FIRST_ID,
    LAST_ID,
    MILLISECONDS_TIME,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Holes,
    Shape,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import RANGE, UNNUMBERED
from cowbook.venues.answers import parameter, path_of, snapshot_beside_stream
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    fractional_milliseconds,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    seconds_time,
    text,
    ticker_shape,
    with_book,
)

_UPDATES, _PICTURES, _OLDEST = 1, 2, 3
"""Numbers of the channels but `spot.obu`, of which each depth has its own as a number."""

_TICKERS = {
    "spot.book_ticker": ("s", BestKeys("b", "B", "a", "A")),
    "spot.tickers": ("currency_pair", BestKeys("highest_bid", "highest_size", "lowest_ask", "lowest_size")),
}


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "method" in found:
        return _decode_oldest(found, settings)
    if "channel" not in found:
        if found.keys() >= {"id", "asks", "bids"}:
            return _decode_snapshot(found, "", settings)
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel = text(found, "channel")
    if "." not in channel:
        refuse("unknown", f"a record of the channel {shown(channel)}")
    if found.get("event") != "update":
        return UNUSED
    decode = _CHANNELS.get(channel)
    return decode(channel, an_object(found.get("result"), '"result"'), settings) if decode is not None else UNUSED


def _decode_ticker(channel: str, ticker: Object, settings: DecoderSettings) -> Decoded:
    key, best = _TICKERS[channel]
    symbol = text(ticker, key)
    return loose_ticker(ticker, settings, best) if symbol == settings.name else OtherSymbol(symbol)


def _decode_picture(_channel: str, book: Object, settings: DecoderSettings) -> Decoded:
    symbol = text(book, "s")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    time = milliseconds(book, "t")
    picture = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=_PICTURES)
    return with_book(picture, levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"'), settings)


def split_stream(stream: str) -> tuple[str, int]:
    """Symbol and depth of `ob.BTC_USDT.50`."""
    prefix, _, rest = stream.partition(".")
    symbol, _, depth = rest.rpartition(".")
    if prefix != "ob" or not (depth.isascii() and depth.isdigit() and len(depth) < 9):
        refuse("malformed", f"{shown(stream)} is not ob.<symbol>.<depth>")
    return symbol, int(depth)


def _decode_update(channel: str, book: Object, settings: DecoderSettings) -> Decoded:
    symbol, depth = text(book, "s"), 0
    if channel == "spot.obu":
        symbol, depth = split_stream(symbol)
    if symbol != settings.name:
        return OtherSymbol(symbol)
    last = fitting_id("u", integer(book, "u"))
    is_full = book.get("full") is True
    first = NONE if is_full else fitting_id("U", integer(book, "U"))
    message = DecodedMessage(
        SNAPSHOT if is_full else DIFF,
        last,
        rule=RANGE,
        ts_event=milliseconds(book, "t"),
        first_id=first,
        depth=depth,
        channel=depth or _UPDATES,
    )
    return with_book(message, _side(book, "b"), _side(book, "a"), settings)


def _side(book: Object, key: str) -> Levels:
    """The levels of a side, which may be absent."""
    return levels(book.get(key, []), f'"{key}"')


def _decode_trade(_channel: str, trade: Object, settings: DecoderSettings) -> Decoded:
    symbol = text(trade, "currency_pair")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    trades = Trades(settings)
    number = fitting_id("id", integer(trade, "id"))
    time, sold = fractional_milliseconds(trade.get("create_time_ms")), is_sell(trade.get("side"))
    trades.add(trade.get("price"), trade.get("amount"), time, number, sold=sold)
    return trades.to_message()


def _decode_answer(value: object, address: str, settings: DecoderSettings) -> Decoded:
    if not path_of(address).endswith("/order_book") or not isinstance(value, dict) or "id" not in value:
        return UNUSED
    symbol = parameter(address, "currency_pair")
    return _decode_snapshot(value, symbol, settings) if symbol in ("", settings.name) else OtherSymbol(symbol)


def _decode_snapshot(book: Object, symbol: str, settings: DecoderSettings) -> DecodedMessage:
    number = fitting_id("id", integer(book, "id"))
    time = milliseconds(book, "update") if "update" in book else NONE
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    message = snapshot_beside_stream(number, RANGE, time, bids, asks, symbol, settings)
    message.channel = _UPDATES
    return message


def _decode_oldest(found: Object, settings: DecoderSettings) -> Decoded:
    """Decode a record of the oldest interface. CoinEx sends the same words, but its symbols have no underscore."""
    method = found["method"]
    if method not in ("depth.update", "trades.update"):
        return UNUSED
    parameters = an_array(found.get("params"), '"params"')
    is_trades = method == "trades.update"
    place = 0 if is_trades else 2
    symbol = parameters[place] if len(parameters) > place else None
    if not isinstance(symbol, str) or "_" not in symbol:
        refuse("unknown", f"{method} of {shown(symbol)}, which is not a pair such as BTC_USDT")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if is_trades:
        return _decode_oldest_trades(an_array(parameters[1] if len(parameters) > 1 else None, "the trades"), settings)
    if parameters[0] not in (True, False):
        refuse("malformed", f"{shown(parameters[0])} does not say whether the book is full")
    kind = SNAPSHOT if parameters[0] else DIFF
    book = an_object(parameters[1], "the book")
    return with_book(
        DecodedMessage(kind, NONE, rule=UNNUMBERED, channel=_OLDEST), _side(book, "bids"), _side(book, "asks"), settings
    )


def _decode_oldest_trades(entries: list[object], settings: DecoderSettings) -> Decoded:
    trades = Trades(settings)
    for entry in reversed(entries):  # the newest comes first
        trade = an_object(entry, "a trade")
        number = fitting_id("id", integer(trade, "id"))
        time, sold = seconds_time(trade.get("time")), is_sell(trade.get("type"))
        trades.add(trade.get("price"), trade.get("amount"), time, number, sold=sold)
    return trades.to_message() if entries else UNUSED


_CHANNELS = {
    "spot.order_book_update": _decode_update,
    "spot.obu": _decode_update,
    "spot.order_book": _decode_picture,
    "spot.trades": _decode_trade,
    **dict.fromkeys(_TICKERS, _decode_ticker),
}

_RECORD: Holes = {"time": ANY, "time_ms": ANY}
_SHAPES = (
    Shape(
        {"result.s": SYMBOL, "result.U": FIRST_ID, "result.u": LAST_ID, "result.t": TIME, "result.b": BIDS, "result.a": ASKS},
        _RECORD | {"result.E": ANY},
    ),
    Shape(
        {
            "result.currency_pair": SYMBOL,
            "result.id": LAST_ID,
            "result.create_time_ms": MILLISECONDS_TIME,
            "result.price": PRICE,
            "result.amount": SIZE,
        },
        _RECORD | {"result.create_time": ANY, "result.range": ANY, "result.id_market": ANY},
    ),
    ticker_shape(_TICKERS["spot.book_ticker"][1], "result", {"result.s": SYMBOL}, _RECORD),
)

VENUE = Venue(
    json_records(_decode, _decode_answer),
    make_scanner=shaped(*_SHAPES),
    shows_loss=False,
    channels={
        "spot.order_book_update": _UPDATES,
        "spot.order_book": _PICTURES,
        "depth.update": _OLDEST,
        "spot.obu.50": 50,
        "spot.obu.400": 400,
    },
)
