"""Crypto Lake's Parquet files, `book_delta_v2` and `trades`: rows with times, and a sequence number that proves nothing.

There are no snapshots among the deltas. Columns go by the names of the files, and by those that the vendor's library gives
them. Prices and sizes are doubles: each stands for the decimal number that it is nearest to. Source: crypto-lake.com/data and
the vendor's library lakeapi.
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
