"""Phemex: `orderbook` and `trade`, and `orderbook_p` and `trade_p` of the newer perpetual contracts.

```
{"book":{"asks":[[330005000,0]],"bids":[[329365000,120]]},"depth":30,"sequence":17650891984,"symbol":"YFIUSD",
 "timestamp":1625342241732802237,"type":"incremental"}
{"sequence":146074875,"symbol":"sSUSHIUSDT","trades":[[1625342244127840967,"Buy",769100000,168200000]],"type":"incremental"}
{"depth":30,"orderbook_p":{"asks":[["20702.9","0.718"]],"bids":[["20700.3","1.622"]]},"sequence":77668172,"symbol":"BTCUSDT",
 "timestamp":1666854171201355264,"type":"snapshot"}
{"sequence":77663551,"symbol":"BTCUSDT","trades_p":[[1666856062351916300,"Sell","20700.3","1.622"]],"type":"incremental"}
```

Integers are scaled: prices have 4 decimals and sizes none, but spot symbols, which begin with a small s, have 8 of both.

* Continuity: `sequence` rises, by any steps. One that is not above the last is stale; nothing shows that one is missing. A
  snapshot may come at any time and replaces the book. A lower `sequence` with a later time means that the venue counts anew.
* Proof of the book: none. New snapshots in the stream repair what was lost.
* Channels: each depth is a book of its own. The venue keeps the best `depth` levels of a side, all of them if it is 0.
* Markets: spot (`sBTCUSDT`), inverse (`BTCUSD`) and linear contracts (`BTCUSDT`). Trades have no ids.

Source: phemex/phemex-api-docs; tardis-dev/tardis-node, src/mappers/phemex.ts; records of 2021.
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import FormScanner
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    ONLY_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    scaled,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import RISING
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, levels, milliseconds, text, with_book

_KINDS = {"snapshot": SNAPSHOT, "incremental": DIFF}
_UNUSED_KEYS = ("result", "error", "method", "market24h", "market24h_p", "spot_market24h", "kline", "kline_p", "tick", "tick_p")
_DEEPEST = 1_000


def _scales(symbol: str) -> tuple[int, int]:
    """How many of the last digits of a price and of a size are decimals."""
    is_spot = symbol.startswith("s") and symbol[1:2].isupper()
    return (8, 8) if is_spot else (4, 0)


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    kinds = ("book", "orderbook_p", "trades", "trades_p") if "sequence" in found else ()
    kind = next((key for key in kinds if key in found), None)
    if kind is None:
        if any(key in found for key in _UNUSED_KEYS):
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    symbol = text(found, "symbol")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    is_scaled = not kind.endswith("_p")
    if kind.startswith("trades"):
        return _decode_trades(found, kind, settings, is_scaled=is_scaled)
    return _decode_book(found, an_object(found[kind], f'"{kind}"'), settings, is_scaled=is_scaled)


def _decode_book(found: Object, book: Object, settings: DecoderSettings, *, is_scaled: bool) -> DecodedMessage:
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        refuse("unknown", f"a book of the type {shown(kind)}")
    number = fitting_id("sequence", integer(found, "sequence"))
    depth = integer(found, "depth") if "depth" in found else 0
    if depth > _DEEPEST:
        refuse("malformed", f'"depth" is more than {_DEEPEST}: {shown(depth)}')
    message = DecodedMessage(
        _KINDS[kind],
        number,
        rule=RISING,
        ts_event=milliseconds(found, "timestamp"),
        first_id=number if kind == "incremental" else NONE,
        depth=depth,
        channel=depth + 1,
    )
    read = _scaled_levels if is_scaled else _plain_levels
    return with_book(message, read(book, "bids", settings.name), read(book, "asks", settings.name), settings)


def _plain_levels(book: Object, key: str, _symbol: str) -> Levels:
    return levels(book.get(key), f'"{key}"')


def _scaled_levels(book: Object, key: str, symbol: str) -> Levels:
    """Prices and sizes of levels that are scaled integers, as numerals."""
    entries: list[object] = []
    for entry in an_array(book.get(key), f'"{key}"'):
        level = an_array(entry, "a level")
        if len(level) < 2:
            refuse("malformed", f'"{key}" has a level without price and size: {shown(level)}')
        entries.append(_with_points(level[0], level[1], symbol))
    return levels(entries, f'"{key}"')


def _with_points(price: object, size: object, symbol: str) -> list[str]:
    """The numerals of a price and a size that are integers of which the last digits are decimals."""
    return [_with_point(value, scale) for value, scale in zip((price, size), _scales(symbol), strict=True)]


def _with_point(value: object, scale: int) -> str:
    """The numeral of an integer of which the last digits are decimals."""
    if type(value) is not int:
        refuse("malformed", f"{shown(value)} is not an integer")
    digits = str(abs(value)).rjust(scale + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def _decode_trades(found: Object, kind: str, settings: DecoderSettings, *, is_scaled: bool) -> Decoded:
    entries = an_array(found[kind], f'"{kind}"')
    if found.get("type") != "incremental" or not entries:
        return UNUSED  # trades of before the subscription
    trades = Trades(settings)
    for entry in entries:
        trade = an_array(entry, "a trade")
        if len(trade) < 4:
            refuse("malformed", f"a trade that is not time, side, price, size: {shown(trade)}")
        time, sold = milliseconds({"time": trade[0]}, "time"), is_sell(trade[1], "Buy", "Sell")
        price, size = trade[2:4]
        if is_scaled:
            price, size = _with_points(price, size, settings.name)
        trades.add(price, size, time, NONE, sold=sold)
    return trades.to_message()


def _make_scanner(settings: DecoderSettings) -> FormScanner:
    """The scanner with the scales of the symbol."""
    price, size = (scaled(hole, scale) for hole, scale in zip((PRICE, SIZE), _scales(settings.name), strict=True))
    book: Holes = {"symbol": SYMBOL, "sequence": ONLY_ID, "timestamp": TIME}
    level = {"0": price, "1": size}
    trade = {"0": TIME, "1": side("Buy", "Sell")}
    shapes = (
        Shape(book | {"book.bids": bids_of(level), "book.asks": asks_of(level)}),
        Shape(book | {"orderbook_p.bids": BIDS, "orderbook_p.asks": ASKS}),
        Shape({"symbol": SYMBOL, "trades": trades_of(trade | {"2": price, "3": size})}, {"sequence": ANY}),
        Shape({"symbol": SYMBOL, "trades_p": trades_of(trade | {"2": PRICE, "3": SIZE})}, {"sequence": ANY}),
    )
    return FormScanner(settings, shapes)


VENUE = Venue(
    json_records(_decode),
    make_scanner=_make_scanner,
    has_ids=False,
    shows_loss=False,
    snapshots="depth",
    channels={f"orderbook.{depth}": depth + 1 for depth in (0, 1, 5, 10, 30)},
)
