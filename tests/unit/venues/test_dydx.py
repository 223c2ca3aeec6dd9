"""dYdX: a level keeps its own newest offset (v3), and every record of a connection has a number (v4)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, DecodedMessage, OtherSymbol, Rejected, Sequenced
from cowbook.plain.messages import HAS_LEVEL_IDS, IS_RESET, NONE, SNAPSHOT, TRADES
from cowbook.venues import load_venue
from support.in_memory import go_through
from support.venue_samples import text_of

Level = tuple[str, str, str]
"""Price, size and offset."""


def decode(venue: str, record: Any) -> Any:
    """What a record is."""
    decode_record = load_venue(venue).decode_record
    assert decode_record is not None
    return decode_record(b"1700000000.5: " + text_of(record), DecoderSettings("A-B", 1, 2, 100_000))


def subscribed(bids: list[Level], asks: list[Level]) -> dict[str, Any]:
    """A snapshot of v3."""
    contents = {
        key: [dict(zip(("price", "size", "offset"), level, strict=True)) for level in side]
        for key, side in (("bids", bids), ("asks", asks))
    }
    return {"type": "subscribed", "message_id": 1, "channel": "v3_orderbook", "id": "A-B", "contents": contents}


def change(offset: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    """A change of v3."""
    contents = {"offset": str(offset), "bids": list(bids), "asks": list(asks)}
    return {"type": "channel_data", "message_id": 2, "channel": "v3_orderbook", "id": "A-B", "contents": contents}


def lines(*records: Any) -> bytes:
    """With receive times."""
    return b"".join(b"1700000000.%06d: %s\n" % (place, text_of(record)) for place, record in enumerate(records))


def test_levels_of_a_snapshot_have_offsets_of_their_own() -> None:
    """Removed ones too; without them the snapshot has no id."""
    message = decode("dydx", subscribed([("1.0", "6.2", "9"), ("2.0", "0", "12")], [("3.0", "1", "7")]))
    assert isinstance(message, DecodedMessage)
    assert (message.kind, message.last_id, message.flags) == (SNAPSHOT, 12, HAS_LEVEL_IDS | IS_RESET)
    assert message.level_ids == [9, 12, 7]
    plain = subscribed([], [])
    plain["contents"]["bids"] = [{"price": "1.0", "size": "2"}]
    assert (decode("dydx", plain).last_id, decode("dydx", plain).level_ids) == (NONE, [])
    assert decode("dydx", change(5) | {"id": "X"}) == OtherSymbol("X")
    assert decode("dydx", {"type": "connected", "message_id": 0}) is UNUSED
    assert isinstance(decode("dydx", {"type": "channel_data", "channel": "v4_orderbook", "id": "A-B"}), Rejected)


def test_a_late_change_keeps_to_levels_that_nothing_newer_has() -> None:
    """Its rows are those levels alone; where there are none it is stale."""
    snapshot = subscribed([("10.0", "1", "50"), ("9.0", "0", "40")], [("11.0", "1", "60")])
    late = change(70, [["9.0", "7"], ["8.0", "7"]], [["12.0", "7"]])
    outcome = go_through("dydx", "A-B", [lines(snapshot, change(90, [["9.0", "2"]]), late, change(70, [["9.0", "5"]]))])
    assert outcome.book == ({100: 100, 90: 200, 80: 700}, {110: 100, 120: 700})
    assert [(row["price"], row["update_id"]) for row in outcome.rows["depth"][-2:]] == [(80, 70), (120, 70)]
    assert (outcome.count("stale"), outcome.engine.last_id, outcome.engine.synced) == (1, 90, True)
    older = go_through("dydx", "A-B", [lines(snapshot, change(45, [["9.0", "3"], ["10.0", "3"]], [["11.0", "3"]]))])
    assert older.book == ({100: 100, 90: 300}, {110: 100})


@pytest.mark.random
def test_books_are_those_of_a_dictionary_with_an_offset_a_level(seed: int) -> None:
    """Whatever the order in which changes come; the last offset of a level wins."""
    rng = random.Random(seed)
    for _ in range(30):
        book: dict[tuple[int, int], tuple[int, int]] = {}
        records: list[Any] = []
        sides: tuple[list[Level], list[Level]] = [], []
        for place in range(2):
            for tick in rng.sample(range(90, 110), 6):
                offset, lots = rng.randint(1, 30), rng.randint(0, 3)
                book[place, tick] = (offset, lots)
                sides[place].append((f"{tick / 10}", f"{lots}", f"{offset}"))
        records.append(subscribed(*sides))
        for number in sorted(rng.sample(range(5, 200), 60), key=lambda number: number + rng.uniform(0, 40)):
            changes = [(rng.randrange(2), rng.randint(90, 109), rng.randint(0, 3)) for _ in range(rng.randint(0, 3))]
            changes = list({change_[:2]: change_ for change_ in changes}.values())
            levels: tuple[list[Any], list[Any]] = [], []
            for place, tick, lots in changes:
                levels[place].append([f"{tick / 10}", f"{lots}"])
                if book.get((place, tick), (-1, 0))[0] < number:
                    book[place, tick] = (number, lots)
            records.append(change(number, *levels))
        outcome = go_through("dydx", "A-B", [lines(*records)])
        expected = [
            {tick: 100 * lots for (side, tick), (_, lots) in book.items() if side == place and lots} for place in range(2)
        ]
        assert list(outcome.book) == expected


def test_v4_has_no_offsets_but_numbers_of_the_connection() -> None:
    """A batch is one message; a side may be absent."""
    data = {"type": "channel_data", "connection_id": "x", "message_id": 7, "id": "A-B", "channel": "v4_orderbook", "version": "1"}
    single = decode("dydx_v4", data | {"contents": {"bids": [["1.5", "2"]]}})
    assert (single.sequence, single.decoded.bid_sizes, single.decoded.ask_sizes) == (8, [200], [])
    pieces = [{"bids": [["1.5", "2"]]}, {"asks": [["1.6", "1"]]}, {"bids": [["1.5", "0"]]}]
    batch = decode("dydx_v4", data | {"type": "channel_batch_data", "contents": pieces})
    assert (batch.decoded.bid_sizes, batch.decoded.ask_sizes) == ([200, 0], [100])
    snapshot = decode("dydx_v4", data | {"type": "subscribed", "contents": {"bids": [{"price": "1.5", "size": "2"}], "asks": []}})
    assert (snapshot.decoded.kind, snapshot.decoded.flags) == (SNAPSHOT, IS_RESET)
    trade = {
        "id": "0165e6170000000200000002",
        "size": "1",
        "price": "1.5",
        "side": "BUY",
        "createdAt": "2024-08-23T00:00:57.627Z",
    }
    trades = decode("dydx_v4", data | {"channel": "v4_trades", "contents": {"trades": [trade, trade | {"side": "SELL"}]}})
    assert trades.decoded.kind == TRADES
    assert decode("dydx_v4", {"type": "connected", "connection_id": "x", "message_id": 0}) == Sequenced(UNUSED, 1)
    assert isinstance(decode("dydx_v4", data | {"channel": "v3_orderbook", "contents": {}}), Rejected)
