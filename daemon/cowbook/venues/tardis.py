"""Tardis.dev's CSV files, `incremental_book_L2` and `trades`, of any venue: no ids, so that nothing shows what is missing.

Rows of one message have the same `local_timestamp`; those with `is_snapshot` are a snapshot, and discard what was there
before. Files are read in the order in which `paths` names them. Liquidations have the columns of trades: nothing tells
them apart. Source: docs.tardis.dev, downloadable CSV data types.
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
