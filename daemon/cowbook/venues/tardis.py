"""Tardis.dev's CSV files: `incremental_book_L2` and `trades`, of any venue.

```
exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
deribit,BTC-PERPETUAL,1585699200245000,1585699200355684,true,ask,6421.5,18640

exchange,symbol,timestamp,local_timestamp,id,side,price,amount
bitmex,XBTUSD,1583020803145000,1583020803307160,ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf,sell,8531.5,2152
```

Rows with the same `local_timestamp` are one message. Rows with `is_snapshot` are a snapshot, which replaces the book.

* Continuity: rows have no ids, so nothing shows a lost one.
* Proof of the book: none.
* Markets: as the venue's. Liquidations have the columns of trades, and nothing tells them apart.
* Order of files: as in `paths`.

Source: docs.tardis.dev, downloadable CSV data types.
"""

from __future__ import annotations

from cowbook.input.tables.table import Table
from cowbook.input.venue import Venue

_TIMES = {"symbol": ("symbol",), "ts_event": ("timestamp",), "ts_recv": ("local_timestamp",)}
_BOOK = Table(_TIMES | {"is_snapshot": ("is_snapshot",), "side": ("side",), "price": ("price",), "size": ("amount",)})
_TRADES = Table(
    _TIMES | {"trade_id": ("id",), "side": ("side",), "price": ("price",), "size": ("amount",)},
    trades=True,
    sides=("buy", "sell"),
)

VENUE = Venue(tables=(_BOOK, _TRADES), has_ids=False, shows_loss=False)
