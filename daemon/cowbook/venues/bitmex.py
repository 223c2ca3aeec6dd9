"""BitMEX: `orderBookL2`, `orderBookL2_25`, `orderBook10`, `trade` and `quote`.

```
{"table":"orderBookL2","action":"partial","keys":[...],"types":{...},"filter":{"symbol":"XBTUSD"},
 "data":[{"symbol":"XBTUSD","id":8796768450,"side":"Sell","size":1000,"price":32315.5},...]}
{"table":"orderBookL2","action":"insert","data":[{"symbol":"SOLUSDT","id":54899972480,"side":"Sell","size":991,"price":27.52}]}
{"table":"orderBookL2","action":"update","data":[{"symbol":"XBTUSD","id":8796768450,"side":"Sell","size":1,"price":32315.5,
 "timestamp":"2024-01-01T00:00:00.119Z","transactTime":"2024-01-01T00:00:00.119Z"}]}
{"table":"orderBookL2","action":"delete","data":[{"symbol":"BCHUSD","id":40199991245,"side":"Buy"}]}           before 2023-04
{"table":"trade","action":"insert","data":[{"timestamp":"2021-07-22T22:36:10.014Z","symbol":"UNIUSDT","side":"Buy","size":52,
 "price":17.297,"trdMatchID":"39744121-c20e-44ba-8cc8-a6b8cdf72885",...}]}
```

* Prices: before 2023-04 `update` and `delete` name a level by its id alone. Then the price is (base - id) x tick: the base is the
  next multiple of 10^8 above the ids, and the tick follows from the first level with a price. Since 2023-06 ids are arbitrary,
  and every record has prices.
* Continuity: records have no ids of their own. A `partial` replaces the book; changes before the first one that need a price are
  not used. A loss shows only where an `insert` names a level that the book has, or an `update` or `delete` one that it has not:
  that is a gap.
* Proof of the book: none.
* Channels: `orderBookL2` and `orderBookL2_25` are books of their own. `orderBook10` has no changes: each record shows the best
  ten levels anew.
* Time: records have one since 2022-02; before, the receive time is used. A trade's id is text, and no number. Sizes are
  contracts.

Source: bitmex.com, websocket API; blog.bitmex.com, API announcements; tardis-dev/tardis-node, src/mappers/bitmex.ts; records of
2021.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import ANY, ISO_TIME, PRICE, SIZE, SYMBOL, Shape, changes_of, side, trades_of
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Connection, Venue, json_on_connection
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, LEVELS_ARE_KNOWN, LEVELS_ARE_NEW, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    is_sell,
    iso_time,
    latest,
    levels,
    loose_ticker,
    text,
    with_book,
)

_BOOKS = {"orderBookL2": 1, "orderBookL2_25": 2}
_PICTURES = 3
_ACTIONS = {"partial": 0, "insert": LEVELS_ARE_NEW, "update": LEVELS_ARE_KNOWN, "delete": LEVELS_ARE_KNOWN}
"""What each action says of its levels (`MESSAGE.flags`)."""
_BEST = BestKeys("bidPrice", "bidSize", "askPrice", "askSize")
_IDS_OF_SYMBOL = 10**8
"""Ids of a symbol count downwards from a multiple of this, in ticks."""


def _decode(value: object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    found = an_object(value, "the record")
    if "table" not in found:
        if any(key in found for key in ("success", "info", "error", "request", "op")):
            return UNUSED, connection
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    table, action = text(found, "table"), found.get("action")
    if table not in (*_BOOKS, "orderBook10", "trade", "quote"):
        return UNUSED, connection
    if not isinstance(action, str) or action not in _ACTIONS:
        refuse("unknown", f"{table} with the action {shown(action)}")
    rows = [an_object(row, "a row") for row in an_array(found.get("data"), '"data"')]
    own = [row for row in rows if text(row, "symbol") == settings.name]
    if not own and not (action == "partial" and table in _BOOKS and _is_filtered(found, settings.name)):
        return OtherSymbol(text(rows[0], "symbol")) if rows else UNUSED, connection
    if table in _BOOKS:
        return _decode_book(own, action, settings, connection, _BOOKS[table])
    if table == "quote":
        return loose_ticker(own[-1], settings, _BEST), connection
    if table == "trade":
        return _decode_trades(own, settings) if action == "insert" else UNUSED, connection
    return _decode_picture(own[-1], settings), connection


def _is_filtered(found: Object, symbol: str) -> bool:
    """Whether a record's rows are those of one symbol, so that without rows it has an empty book."""
    chosen = found.get("filter")
    return isinstance(chosen, dict) and chosen.get("symbol") == symbol


def _decode_book(
    rows: list[Object], action: str, settings: DecoderSettings, connection: Connection, channel: int
) -> tuple[Decoded, Connection]:
    """Decode changes or a whole book. The connection's state says how ids become prices, once a record has shown it."""
    has_prices = all("price" in row for row in rows)
    if has_prices and rows and not connection:
        connection = _learn_prices(rows)
    if not has_prices and not connection:
        return UNUSED, connection  # before the first record with prices
    sides: tuple[list[object], list[object]] = [], []
    for row in rows:
        price = row["price"] if "price" in row else _price_of(row, connection)
        if action == "delete" and "size" in row:
            refuse("malformed", f"a delete with a size: {shown(row['size'])}")
        size = "0" if action == "delete" else row.get("size")
        sides[is_sell(row.get("side"), "Buy", "Sell")].append([price, size])
    message = DecodedMessage(
        SNAPSHOT if action == "partial" else DIFF,
        NONE,
        rule=UNNUMBERED,
        ts_event=latest(iso_time(row["timestamp"]) for row in rows if "timestamp" in row),
        flags=_ACTIONS[action],
        channel=channel,
    )
    bids, asks = levels(sides[0], "the bids"), levels(sides[1], "the asks")
    return with_book(message, bids, asks, settings), connection


def _learn_prices(rows: list[Object]) -> Connection:
    """How the ids of levels with prices become these prices. The tick is empty if they do not."""
    first = fitting_id("id", integer(rows[0], "id"))
    base = (first // _IDS_OF_SYMBOL + 1) * _IDS_OF_SYMBOL
    with localcontext(prec=50):
        tick = _number(rows[0]) / (base - first)
        fits = all(_number(row) == tick * (base - fitting_id("id", integer(row, "id"))) for row in rows)
    return {"base": str(base), "tick": format(tick, "f") if fits else ""}


def _number(row: Object) -> Decimal:
    (price,), _ = levels([[row["price"], "0"]], "the record")
    return Decimal(price)


def _price_of(row: Object, connection: Connection) -> str:
    """The price of a level that is named by its id alone."""
    number = fitting_id("id", integer(row, "id"))
    ticks = int(connection["base"]) - number
    if not connection["tick"] or not 0 < ticks <= _IDS_OF_SYMBOL:
        refuse("malformed", f"a level without a price, whose id {shown(number)} does not say it")
    return format(Decimal(connection["tick"]) * ticks, "f")


def _decode_picture(row: Object, settings: DecoderSettings) -> DecodedMessage:
    time = iso_time(row["timestamp"]) if "timestamp" in row else NONE
    message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time, flags=IS_PICTURE, channel=_PICTURES)
    return with_book(message, levels(row.get("bids"), '"bids"'), levels(row.get("asks"), '"asks"'), settings)


def _decode_trades(rows: list[Object], settings: DecoderSettings) -> DecodedMessage:
    trades = Trades(settings)
    for row in rows:
        time, sold = iso_time(row.get("timestamp")), is_sell(row.get("side"), "Buy", "Sell")
        trades.add(row.get("price"), row.get("size"), time, NONE, sold=sold)
    return trades.to_message()


_LEVEL = {"symbol": SYMBOL, "side": side("Buy", "Sell"), "price": PRICE}
_SHAPES = (
    Shape({"data": trades_of(_LEVEL | {"size": SIZE, "timestamp": ISO_TIME, "trdMatchID": ANY})}),
    Shape({"data": changes_of(_LEVEL | {"size": SIZE}, {"timestamp": ISO_TIME})}),
    Shape({"data": changes_of(_LEVEL, {"timestamp": ISO_TIME})}),
)

VENUE = Venue(
    decode_on_connection=json_on_connection(_decode),
    make_scanner=shaped(*_SHAPES, learns_unused=False),
    has_ids=False,
    shows_loss=False,
    snapshots="all",
    channels={**_BOOKS, "orderBook10": _PICTURES},
)
