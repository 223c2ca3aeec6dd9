"""Binance's archive (data.binance.vision, and its historical futures depth): CSV files.

| file | first line |
|---|---|
| `T_DEPTH` | `symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu` |
| `bookTicker` | `update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time` |
| `trades`, futures | `id,price,qty,quote_qty,time,is_buyer_maker` |
| `aggTrades`, futures | `agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker` |
| `trades`, spot | none; the columns are those of futures, and one more |
| `aggTrades`, spot | none; the columns are those of futures, and one more |

Futures' files of trades have no first line before 2022. Of `T_DEPTH` there are files of snapshots and of updates. A message is a
run of rows with the same ids; of two snapshots with one id, the second begins where a side comes again with another time. `pu` is
-1 in snapshots, and files of 2020 lack it.

```
BTCUSDT,1667346579146,2098021528332,2098021528332,b,snap,20377.00,1.770,-1
BTCUSDT,1667347199939,2098041693435,2098041696700,a,set,20472.80,0.000,2098041693400
1612406,16512.10,1.500,16512.20,0.730,1672531200012,1672531200015
2345,16541.77,0.00300,49.62,1672531200150,True,True
```

* Continuity: of `T_DEPTH`, `pu` equals `last_update_id` of the message before, as on the futures' websocket. Without `pu` the ids
  rise, but are not dense: they show what is old, and not what is lost. Nothing shows a lost row of `bookTicker`.
* Proof of the book: none but the ids.
* `bookTicker`: each row is a picture of the best level of each side. Alone it makes a book of these.
* `bookDepth` is refused by name: it has sums of sizes within percentages of the price, of which no book can be made.
* Channels: "depth" and "bookTicker".
* Markets: nothing in files of trades and of `bookTicker` names symbol or market: they are those of the symbol's `paths`.
* Order of files: `paths` must name the file of snapshots before the file of updates. Of several snapshots in one file the newest
  counts, and updates older than it are stale.

Source: the columns of the files; the README of binance/binance-public-data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cowbook.input.tables.table import LevelColumns, Table
from cowbook.input.venue import Venue
from cowbook.plain.schemes import RANGE_WITH_PREVIOUS, RISING

_DEPTH, _BOOK_TICKER = 1, 2
_CHANNELS = {"depth": _DEPTH, "bookTicker": _BOOK_TICKER}

_OF_BOOK = {
    "symbol": ("symbol",),
    "ts_event": ("timestamp",),
    "first_id": ("first_update_id",),
    "last_id": ("last_update_id",),
    "side": ("side",),
    "is_snapshot": ("update_type",),
    "price": ("price",),
    "size": ("qty",),
}
_BOOK = Table(
    {**_OF_BOOK, "prev_id": ("pu",)},
    sides=("b", "a"),
    snapshot=("set", "snap"),
    rule=RANGE_WITH_PREVIOUS,
    resets=False,
    channel=_DEPTH,
)
_BOOK_OF_2020 = Table(_OF_BOOK, sides=("b", "a"), snapshot=("set", "snap"), rule=RISING, resets=False, channel=_DEPTH)
_BEST = Table(
    {"last_id": ("update_id",), "ts_event": ("transaction_time",)},
    levels=LevelColumns("best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty"),
    rule=RANGE_WITH_PREVIOUS,
    channel=_BOOK_TICKER,
)
_PERCENTAGES = Table(  # a percentage below 0 is of bids
    {"ts_event": ("timestamp",), "side": ("percentage",), "size": ("depth",), "price": ("notional",)},
    refusal="is Binance's bookDepth: it has sums of sizes within percentages of the price, of which no book can be made; T_DEPTH "
    "and bookTicker have levels",
)
_SIZE, _TIME, _BOOLEAN = rb"[0-9]+(?:\.[0-9]+)?", rb"[0-9]{13}(?:[0-9]{3})?", rb"(?:[Tt]rue|[Ff]alse)"
_PRICE = rb"-?" + _SIZE


_ID = rb"[0-9]+"


def _trades(
    columns: Mapping[str, tuple[str, ...]], names: tuple[str, ...], fields: tuple[bytes, ...], *, aggregates: bool
) -> Table:
    """A table of trades. Where a file has no first line, its columns are `names`, and a row looks like `fields`."""
    return Table(
        {**columns, "is_sell": ("is_buyer_maker", "isBuyerMaker")},
        trades=True,
        aggregates=aggregates,
        sides=("false", "true"),
        sides_too=("False", "True"),
        names_without_header=names,
        row_without_header=re.compile(rb",".join(fields)),
    )


_OF_TRADES = {"trade_id": ("id",), "ts_event": ("time",), "price": ("price",), "size": ("qty",)}
_OF_AGGREGATES = {"trade_id": ("agg_trade_id",), "ts_event": ("transact_time",), "price": ("price",), "size": ("quantity",)}
_NAMES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_AGGREGATE_NAMES = ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time", "is_buyer_maker")
_FIELDS = (_ID, _PRICE, _SIZE, _PRICE, _TIME, _BOOLEAN)
_AGGREGATE_FIELDS = (_ID, _PRICE, _SIZE, _ID, _ID, _TIME, _BOOLEAN)
_OF_SPOT = ("is_best_match",), (_BOOLEAN,)

VENUE = Venue(
    tables=(
        _BOOK,
        _BOOK_OF_2020,
        _BEST,
        _PERCENTAGES,
        _trades(_OF_TRADES, _NAMES, _FIELDS, aggregates=False),
        _trades(_OF_TRADES, _NAMES + _OF_SPOT[0], _FIELDS + _OF_SPOT[1], aggregates=False),
        _trades(_OF_AGGREGATES, _AGGREGATE_NAMES, _AGGREGATE_FIELDS, aggregates=True),
        _trades(_OF_AGGREGATES, _AGGREGATE_NAMES + _OF_SPOT[0], _AGGREGATE_FIELDS + _OF_SPOT[1], aggregates=True),
    ),
    channels=_CHANNELS,
    shows_loss=False,
)
