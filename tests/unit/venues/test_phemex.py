"""Phemex: scaled integers, and ids that only rise."""

from __future__ import annotations

from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import NONE, SELL_AGGRESSOR
from cowbook.venues import load_venue
from support.in_memory import go_through, lines_of
from support.venue_samples import text_of

NOW = 1_700_000_000_000_000_000


def book(sequence: int, bids: Any = (), asks: Any = (), kind: str = "incremental", time: int = 0, **more: Any) -> dict[str, Any]:
    """A record of a book of texts."""
    record = {"depth": 30, "orderbook_p": {"bids": list(bids), "asks": list(asks)}, "sequence": sequence, "symbol": "A"}
    return record | {"timestamp": NOW + (time or sequence), "type": kind} | more


def decode(record: Any, name: str) -> Any:
    """What a record is."""
    decode_record = load_venue("phemex").decode_record
    assert decode_record is not None
    return decode_record(text_of(record), DecoderSettings(name, 8, 8, 10_000))


@pytest.mark.parametrize(
    ("name", "price", "size"),
    [("BTCUSD", 32991.5, 120.0), ("cETHUSD", 32991.5, 120.0), ("sBTCUSDT", 3.29915, 0.0000012), ("s1", 32991.5, 120.0)],
)
def test_integers_are_scaled_by_the_kind_of_symbol(name: str, price: float, size: float) -> None:
    """Spot symbols have a small s in front of a capital."""
    record = {"book": {"bids": [[329915000, 120]], "asks": []}, "depth": 30, "sequence": 1, "symbol": name}
    message = decode(record | {"timestamp": NOW, "type": "incremental"}, name)
    assert isinstance(message, DecodedMessage)
    assert (message.bid_prices, message.bid_sizes) == ([round(price * 10**8)], [round(size * 10**8)])
    trades = [[NOW, "Sell", 329915000, 120]]
    trade = decode({"sequence": 1, "symbol": name, "trades": trades, "type": "incremental"}, name)
    assert (trade.bid_prices, trade.bid_sizes, trade.flags, trade.last_id) == (
        [round(price * 10**8)],
        [round(size * 10**8)],
        SELL_AGGRESSOR,
        NONE,
    )
    assert decode({"sequence": 1, "symbol": name, "trades": trades, "type": "snapshot"}, name) is UNUSED


def test_what_is_refused() -> None:
    """A numeral where an integer is due, and kinds that nobody knows."""
    record = {"book": {"bids": [["1.5", 1]], "asks": []}, "sequence": 1, "symbol": "A", "timestamp": NOW, "type": "snapshot"}
    assert isinstance(decode(record, "A"), Rejected)
    assert decode(record, "B") == OtherSymbol("A")
    assert isinstance(decode(book(1, kind="full"), "A"), Rejected)
    assert isinstance(decode({"x": 1}, "A"), Rejected)
    assert decode({"market24h": {}, "timestamp": NOW}, "A") is UNUSED


def test_ids_that_only_rise() -> None:
    """Steps are of any size; what is not above the last is stale. A lower one with a later time: the venue counts anew."""
    bid, ask = [["10.0", "1"]], [["11.0", "1"]]
    records = [book(5, bid, ask, "snapshot"), book(7, [["9.0", "1"]]), book(100, [["9.0", "2"]]), book(7, [["9.0", "1"]])]
    outcome = go_through("phemex", "A", [lines_of(*records)])
    assert outcome.book == ({100: 100, 90: 200}, {110: 100})
    assert (outcome.count("stale"), outcome.rows["gaps"], outcome.engine.synced) == (1, [], True)
    anew = go_through("phemex", "A", [lines_of(*records, book(3, [["9.0", "4"]], time=10**9))])
    assert anew.book == ({100: 100, 90: 400}, {110: 100})
    assert [(row["received_id"], row["missing"]) for row in anew.rows["gaps"]] == [(3, None)]
    assert not anew.engine.synced
    again = go_through("phemex", "A", [lines_of(*records, book(100, bid, ask, "snapshot"))])
    assert again.book == ({100: 100}, {110: 100})
    assert again.engine.synced


def test_a_depth_is_a_book_of_its_own() -> None:
    """The venue keeps so many levels."""
    bids = [[f"{number}.0", "1"] for number in range(10, 40)]
    records = [book(5, bids, [], "snapshot"), book(6, [["50.0", "1"]]), book(7, [["1.0", "1"]], depth=0)]
    outcome = go_through("phemex", "A", [lines_of(*records)])
    assert len(outcome.book[0]) == 30
    assert max(outcome.book[0]) == 500
    assert outcome.count("unused") == 1
