"""BitMEX: prices from ids, and what its actions prove."""

from __future__ import annotations

from typing import Any

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.venue import Connection
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import IS_PICTURE, IS_RESET, LEVELS_ARE_KNOWN, LEVELS_ARE_NEW, NONE, SNAPSHOT
from cowbook.venues import load_venue
from support.in_memory import Outcome, go_through
from support.venue_samples import text_of

SETTINGS = DecoderSettings("SOLUSDT", 8, 3, 10_000)


def decode(record: Any, connection: Connection) -> tuple[Decoded, Connection]:
    """What a record is, and what is known of the connection after it."""
    decode_record = load_venue("bitmex").decode_on_connection
    assert decode_record is not None
    return decode_record(b"1700000000.5: " + text_of(record), SETTINGS, connection)


def book(action: str, *rows: dict[str, Any], symbol: str = "SOLUSDT", **more: Any) -> dict[str, Any]:
    """A record of the book."""
    return {"table": "orderBookL2", "action": action, "data": [{"symbol": symbol} | row for row in rows]} | more


def level(number: int, side: str = "Buy", **more: Any) -> dict[str, Any]:
    """A level by its id."""
    return {"id": number, "side": side} | more


def test_the_first_level_with_a_price_says_what_ids_mean() -> None:
    """A price is (base - id) x tick."""
    record = book("partial", level(54899972480, size=991, price=27.52), level(54899972400, "Sell", size=1, price=27.6))
    decoded, connection = decode(record, {})
    assert isinstance(decoded, DecodedMessage)
    assert (decoded.kind, decoded.flags, decoded.bid_prices, decoded.ask_prices) == (
        SNAPSHOT,
        IS_RESET,
        [2752000000],
        [2760000000],
    )
    assert connection == {"base": "54900000000", "tick": "0.001"}
    change, after = decode(book("update", level(54899972481, size=5)), connection)
    assert isinstance(change, DecodedMessage)
    assert (change.bid_prices, change.bid_sizes, change.flags) == ([2751900000], [5000], LEVELS_ARE_KNOWN)
    assert after is connection
    gone, _ = decode(book("delete", level(54899972481, "Sell")), connection)
    assert isinstance(gone, DecodedMessage)
    assert (gone.ask_prices, gone.ask_sizes) == ([2751900000], [0])
    new, _ = decode(book("insert", level(7, size=5, price=1.5)), connection)  # ids are arbitrary since 2023-06
    assert isinstance(new, DecodedMessage)
    assert (new.bid_prices, new.flags) == ([150000000], LEVELS_ARE_NEW)


def test_ids_that_say_no_price_are_refused() -> None:
    """Before anything has a price they are not used; where prices do not follow from ids they are malformed."""
    assert decode(book("update", level(5, size=1)), {}) == (UNUSED, {})
    _, connection = decode(book("partial", level(100, size=1, price=3.0), level(200, size=1, price=7.0)), {})
    assert connection["tick"] == ""
    assert isinstance(decode(book("update", level(100, size=1)), connection)[0], Rejected)
    _, linear = decode(book("insert", level(5 * 10**8 - 7, size=1, price=7)), {})
    assert isinstance(decode(book("update", level(7, size=1)), linear)[0], Rejected)
    assert isinstance(decode(book("delete", level(5 * 10**8 - 7, size=1, price=7)), linear)[0], Rejected)


def test_rows_of_other_symbols_are_none_of_the_books() -> None:
    """A partial may have those of all; one without rows is the book of the symbol that it was asked for."""
    mixed = book("partial", level(7, size=1, price=1))
    mixed["data"].insert(0, {"symbol": "X", "id": 3, "side": "Buy", "size": 9, "price": 9})
    decoded, _ = decode(mixed, {})
    assert isinstance(decoded, DecodedMessage)
    assert decoded.bid_prices == [10**8]
    assert decode(book("insert", level(7, size=1, price=1), symbol="X"), {})[0] == OtherSymbol("X")
    empty, _ = decode(book("partial", filter={"symbol": "SOLUSDT"}), {})
    assert isinstance(empty, DecodedMessage)
    assert (empty.kind, empty.bid_prices) == (SNAPSHOT, [])
    assert decode(book("partial", filter={"symbol": "X"}), {})[0] is UNUSED
    row = {"symbol": "SOLUSDT", "bids": [[1.5, 2]], "asks": [], "timestamp": "2024-01-01T00:00:00.119Z"}
    picture, _ = decode({"table": "orderBook10", "action": "update", "data": [row]}, {})
    assert isinstance(picture, DecodedMessage)
    assert (picture.flags, picture.last_id) == (IS_PICTURE, NONE)


def run(*records: Any) -> Outcome:
    """What comes of records."""
    lines = [b"1700000000.%06d: %s\n" % (place, text_of(record)) for place, record in enumerate(records)]
    return go_through("bitmex", "SOLUSDT", [b"".join(lines)])


@pytest.mark.parametrize(
    ("change", "is_gap"),
    [
        (book("insert", level(5 * 10**8 - 101, size=1, price=10.1)), False),
        (book("insert", level(5 * 10**8 - 100, size=1, price=10.0)), True),
        (book("update", level(5 * 10**8 - 100, size=2)), False),
        (book("update", level(5 * 10**8 - 99, size=2)), True),
        (book("delete", level(5 * 10**8 - 100)), False),
        (book("delete", level(5 * 10**8 - 100, "Sell")), True),
    ],
)
def test_a_change_that_contradicts_the_book_is_a_gap(change: Any, is_gap: bool) -> None:
    """Of unknown size; the change applies, and sync comes back with the next partial."""
    partial = book("partial", level(5 * 10**8 - 100, size=1, price=10.0), level(5 * 10**8 - 110, "Sell", size=1, price=11.0))
    outcome = run(partial, change)
    assert outcome.engine.synced != is_gap
    assert [(row["expected_id"], row["received_id"], row["missing"]) for row in outcome.rows["gaps"]] == [(None,) * 3] * is_gap
    assert run(partial, change, partial).engine.synced
    assert len(run(partial, change, change).rows["gaps"]) <= 1  # an unsynced book contradicts nothing
