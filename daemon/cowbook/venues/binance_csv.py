"""Binance's historical futures depth (`T_DEPTH`): CSV files of snapshots and of updates.

Both have the same first line. A message is a run of rows with the same ids; `pu` is -1 in snapshots.

```
symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu
BTCUSDT,1667346579146,2098021528332,2098021528332,b,snap,20377.00,1.770,-1
BTCUSDT,1667347199939,2098041693435,2098041696700,a,set,20472.80,0.000,2098041693400
```

* Continuity: `pu` equals `last_update_id` of the message before, as on the futures' websocket.
* Proof of the book: none but the ids.
* Order of files: `paths` must name the file of snapshots before the file of updates. Of several snapshots in one file the newest
  counts, and updates older than it are stale.

Source: the columns of the files.
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
