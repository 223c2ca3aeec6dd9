"""Binance's historical futures depth (`T_DEPTH`): CSV files of snapshots, and of updates, whose ids make a chain.

A message is a run of rows with the same ids; `pu` is -1 on snapshots. `paths` names the file of snapshots first: of several in
one file the newest counts, and updates before it are stale. Source: the files' own columns.
"""

from __future__ import annotations

from cowbook.input.tables.table import Table
from cowbook.input.venue import Venue
from cowbook.plain.schemes import RANGE_WITH_PREVIOUS

_BOOK = Table(
    {
        "symbol": ("symbol",),
        "ts_event": ("timestamp",),
        "first_id": ("first_update_id",),
        "last_id": ("last_update_id",),
        "side": ("side",),
        "is_snapshot": ("update_type",),
        "price": ("price",),
        "size": ("qty",),
        "prev_id": ("pu",),
    },
    sides=("b", "a"),
    snapshot=("set", "snap"),
    rule=RANGE_WITH_PREVIOUS,
    resets=False,
)

VENUE = Venue(tables=(_BOOK,))
