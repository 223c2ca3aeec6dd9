"""What happens to captures, at every venue that it can happen to: each test is named by the rule (docs/rules.md).

`depth` folds to the engine's book behind every message of all of these (support/in_memory.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.in_memory import SETTINGS, go_through, lines_of


def spot_diff(first: int, last: int, bids: Any = (), asks: Any = (), time: int = 1_700_000_000_000) -> dict[str, Any]:
    """A diff of Binance's spot."""
    return {"e": "depthUpdate", "E": time + last, "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": list(asks)}


def rest(number: int, bids: Any, asks: Any, **more: Any) -> dict[str, Any]:
    """A depth snapshot."""
    return {"lastUpdateId": number, "bids": list(bids), "asks": list(asks)} | more


def test_depth_a_witness_keeps_to_it() -> None:
    """What a witness shows beyond the depth is neither learned nor blamed."""
    bids = [["10.0", "1"], ["9.9", "1"], ["9.8", "1"]]
    asks = [["11.0", "1"], ["11.1", "1"], ["11.2", "1"]]
    missed = [["10.1", "1"], *bids]
    records = [
        spot_diff(1, 5),
        rest(5, bids, asks),
        rest(5, bids, asks),
        spot_diff(6, 6, [["9.7", "2"]]),
        rest(6, missed, asks),  # the book lacks its best bid: one of the two is wrong
    ]
    outcome = go_through("binance", "BTCUSDT", [lines_of(*records)], settings=replace(SETTINGS, depth=2))
    assert outcome.count("witnesses") == 2
    assert outcome.book == ({101: 100, 100: 100}, {110: 100, 111: 100})
    learned = [(row["price"], row["size"]) for row in outcome.rows["depth"] if row["kind"] == "learned"]
    assert learned == [(101, 100), (99, 0)]
    assert outcome.engine.audit_statistics()["snapshot"]["matched"] == 1
    assert outcome.engine.audit_statistics()["snapshot"]["failed"] == 1
