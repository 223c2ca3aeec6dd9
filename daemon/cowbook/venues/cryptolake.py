"""Crypto Lake's Parquet files: `book_delta_v2` and `trades`, of any venue.

| table | columns that are used |
|---|---|
| `book_delta_v2` | `origin_time`, `received_time`, `sequence_number`, `side_is_bid`, `price`, `size` |
| `trades` | `origin_time`, `received_time`, `trade_id`, `side`, `price`, `quantity` |

For example 2023-11-14 22:13:20.000, 22:13:20.000250, 1, true, 10.0, 2.44 is one bid level. The names that the vendor's library
gives to columns are known, too. Prices and sizes are doubles; each means its shortest decimal form.

* Continuity: `sequence_number` proves nothing, so nothing shows a lost row.
* Proof of the book: none. There are no snapshots among the deltas, so the book is never synced.
* Markets: as the venue's; nothing in the rows tells them apart.

Source: crypto-lake.com/data and the vendor's library lakeapi.
"""

from __future__ import annotations

from cowbook.input.tables.table import Table
from cowbook.input.venue import Venue

_TIMES = {
    "symbol": ("symbol",),
    "ts_event": ("origin_time", "timestamp"),
    "ts_recv": ("received_time", "receipt_timestamp"),
}
_BOOK = Table(
    _TIMES | {"last_id": ("sequence_number",), "is_bid": ("side_is_bid",), "price": ("price",), "size": ("size",)},
    optional=("symbol",),
)
_TRADES = Table(
    _TIMES | {"trade_id": ("trade_id", "id"), "side": ("side",), "price": ("price",), "size": ("quantity", "amount")},
    trades=True,
    optional=("symbol", "trade_id"),
    sides=("buy", "sell"),
)

VENUE = Venue(tables=(_BOOK, _TRADES), has_ids=False, shows_loss=False)
