"""Tardis.dev's CSV files: `incremental_book_L2`, `trades`, `quotes` (`book_ticker`) and `book_snapshot_5` or `_25`, of any venue.

```
exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
deribit,BTC-PERPETUAL,1585699200245000,1585699200355684,true,ask,6421.5,18640

exchange,symbol,timestamp,local_timestamp,id,side,price,amount
bitmex,XBTUSD,1583020803145000,1583020803307160,ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf,sell,8531.5,2152

exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount
huobi-dm-swap,BTC-USD,1588291201099000,1588291201234268,5494,8629.3,8629.2,806

exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,asks[1].price,...
binance-futures,BTCUSDT,1598918403696000,1598918403810979,11657.08,1.714,11657.07,10.896,11657.54,...
```

Each row of `quotes` and `book_snapshot_*` is a picture: the best levels, and nothing of what lies behind them. Where a side has
fewer levels, the columns of the others are empty. Pictures of so many levels make a book of their own.

Rows with the same `local_timestamp` are one message, whatever their `timestamp`s. Its event time is the latest of these. Rows
with `is_snapshot` that follow each other are one snapshot, which replaces the book. Its rows may have several `local_timestamp`s.
What pandas writes is read, too: `True` and `False`, times as floats, a column of row numbers.

* Continuity: rows have no ids, so nothing shows a lost one. A file begins with a snapshot. What stands before it does not follow
  the file before.
* Proof of the book: none.
* Markets: as the venue's. The `exchange` tells books of one symbol apart: each is a channel. Liquidations have the columns of
  trades, and nothing tells them apart. Each number of levels of pictures is a channel of the exchange, too.
* Order of files: as in `paths`.

Source: docs.tardis.dev, downloadable CSV data types and their FAQ.
"""

from __future__ import annotations

from cowbook.input.tables.table import LevelColumns, Table
from cowbook.input.venue import Venue

_WHOSE = {"exchange": ("exchange",), "symbol": ("symbol",), "ts_event": ("timestamp",), "ts_recv": ("local_timestamp",)}
_BOOK = Table(
    _WHOSE | {"is_snapshot": ("is_snapshot",), "side": ("side",), "price": ("price",), "size": ("amount",)},
    optional=("exchange",),
    snapshot_too=("False", "True"),
    by_receipt=True,
    opens_with_snapshot=True,
)
_TRADES = Table(
    _WHOSE | {"trade_id": ("id",), "side": ("side",), "price": ("price",), "size": ("amount",)},
    trades=True,
    optional=("exchange",),
    sides=("buy", "sell"),
    no_side="unknown",
)

_QUOTES = Table(
    _WHOSE, optional=("exchange",), levels=LevelColumns("bid_price", "bid_amount", "ask_price", "ask_amount"), channel=1
)
_PICTURES = Table(
    _WHOSE,
    optional=("exchange",),
    levels=LevelColumns("bids[{}].price", "bids[{}].amount", "asks[{}].price", "asks[{}].amount"),
    channel=2,
)

VENUE = Venue(tables=(_BOOK, _TRADES, _QUOTES, _PICTURES), has_ids=False, shows_loss=False)
