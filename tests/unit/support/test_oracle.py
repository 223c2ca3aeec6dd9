"""The oracle itself, on small captures whose every row was worked out by hand from docs/rules.md."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from support.oracle import OracleHalt, OracleResult, OracleSettings, run

SECOND = 10**9
START = 1_723_161_580  # seconds; 2024-08-08 23:59:40 UTC
SETTINGS = OracleSettings(price_decimals=0, size_decimals=0, book_levels=2, part_interval_ns=86_400 * SECOND)


def levels(*pairs: tuple[int, int]) -> list[list[str]]:
    """Price and size pairs as a record has them."""
    return [[str(price), str(size)] for price, size in pairs]


def diff(
    first: int,
    last: int,
    bids: list[list[str]] | None = None,
    asks: list[list[str]] | None = None,
    *,
    at: int = 0,
    prev: int | None = None,
) -> dict[str, Any]:
    """A diff of update ids `first` to `last`, `at` seconds after START; futures style with `prev`."""
    record: dict[str, Any] = {"e": "depthUpdate", "E": START + at, "s": "BTCUSDT", "U": first, "u": last}
    if prev is not None:
        record["pu"] = prev
    return record | {"b": bids or [], "a": asks or []}


def snapshot(
    last: int, bids: list[list[str]] | None = None, asks: list[list[str]] | None = None, *, at: int | None = 0
) -> dict[str, Any]:
    """A depth snapshot, `at` seconds after START, or without a time."""
    time = {} if at is None else {"E": START + at}
    return {"lastUpdateId": last, "bids": bids or [], "asks": asks or []} | time


def trade(at: int = 0, number: int = 42) -> dict[str, Any]:
    """A trade of 3 at 7, sold into a bid, `at` seconds after START."""
    return {"e": "trade", "E": START + at, "s": "BTCUSDT", "t": number, "p": "7", "q": "3", "m": True}


def ticker(last: int, bid: tuple[int, int], ask: tuple[int, int]) -> dict[str, Any]:
    """A bookTicker."""
    return {"u": last, "s": "BTCUSDT", "b": str(bid[0]), "B": str(bid[1]), "a": str(ask[0]), "A": str(ask[1])}


def reconstruct(*records: dict[str, Any] | bytes, settings: OracleSettings = SETTINGS) -> OracleResult:
    """Run the oracle over one file of these records."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return run([("capture", b"".join(line + b"\n" for line in lines))], settings)


def column(result: OracleResult, stream: str, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of all rows of a stream."""
    return [tuple(row[name] for name in names) for row in result.rows[stream]]


# --- continuity --------------------------------------------------------------------------------------------------

SPOT = [  # U, u, after a snapshot with id 10: verdict, gap row
    (9, 10, "stale", None),
    (11, 11, "apply", None),
    (5, 12, "apply", None),
    (12, 13, "gap", (11, 12, 1)),
    (15, 20, "gap", (11, 15, 4)),
]

# U, u, pu; the verdict directly after a snapshot with id 10, and the one with the diff 8-10 of pu 7 between; gap row.
FUTURES = [
    (6, 9, 5, "stale", "stale", None),
    (8, 10, 7, "apply", "stale", None),
    (13, 14, 10, "apply", "apply", None),
    (8, 14, 7, "apply", "gap", (10, 7, None)),
    (12, 14, 11, "gap", "gap", (10, 11, 1)),
    (15, 20, 14, "gap", "gap", (10, 14, 4)),
]


def check_verdict(result: OracleResult, before: int, verdict: str, gap: tuple[int, int, int | None] | None) -> None:
    """Hold the last record's fate against what is expected; `before` messages were accepted before it."""
    counts = result.counts
    fate = (counts["messages"] - before, counts.get("stale", 0), counts.get("gaps", 0))
    assert fate == {"stale": (0, 1, 0), "apply": (1, 0, 0), "gap": (1, 0, 1)}[verdict]
    rows = column(result, "gaps", "event_index", "expected_id", "received_id", "missing")
    assert rows == ([(3, *gap)] if gap and verdict == "gap" else [])
    assert counts.get("missing_updates", 0) == ((gap[2] or 0) if gap and verdict == "gap" else 0)
    # The snapshot has three events; an accepted diff adds one, synced unless there was a gap.
    expected = [True] * 3 + ([] if verdict == "stale" else [verdict == "apply"])
    assert [row["synced"] for row in result.rows["depth"]] == expected


@pytest.mark.parametrize(("first", "last", "verdict", "gap"), SPOT)
def test_a_spot_diff_must_join_the_last_id(first: int, last: int, verdict: str, gap: tuple[int, int, int] | None) -> None:
    """Each row of the spot rule."""
    result = reconstruct(snapshot(10, levels((5, 1))), diff(first, last, levels((6, 1))))
    check_verdict(result, 1, verdict, gap)


@pytest.mark.parametrize(("first", "last", "prev", "directly", "later", "gap"), FUTURES)
def test_a_futures_diff_must_name_its_predecessor(
    first: int, last: int, prev: int, directly: str, later: str, gap: tuple[int, int, int | None] | None
) -> None:
    """Each row of the futures rule, directly after a snapshot and later."""
    begin = snapshot(10, levels((5, 1)))
    message = diff(first, last, levels((6, 1)), prev=prev)
    check_verdict(reconstruct(begin, message), 1, directly, gap)
    check_verdict(reconstruct(begin, diff(8, 10, prev=7), message), 2, later, gap)


def test_only_a_gap_halts() -> None:
    """With on_gap = halt a gap ends the symbol, and only a gap."""
    halting = replace(SETTINGS, on_gap="halt")
    assert reconstruct(snapshot(10), diff(11, 12), diff(12, 12), settings=halting).counts["messages"] == 2
    with pytest.raises(OracleHalt):
        reconstruct(snapshot(10), diff(11, 12), diff(14, 15), settings=halting)


def test_the_first_diff_is_no_gap() -> None:
    """Before any snapshot the book is built from diffs alone, not synced."""
    result = reconstruct(diff(500, 501, levels((5, 1), (6, 0))))
    assert column(result, "depth", "event_index", "side", "price", "size", "kind", "is_last", "synced") == [
        (0, "bid", 5, 1, "change", False, False),
        (1, "bid", 6, 0, "change", True, False),
    ]
    assert "gaps" not in result.counts


# --- snapshots ---------------------------------------------------------------------------------------------------


def test_a_late_snapshot_is_followed_by_the_kept_diffs() -> None:
    """A snapshot older than the diffs already applied: they are applied again, and its rows are the book after them."""
    result = reconstruct(
        diff(9, 10, levels((5, 1))),
        diff(11, 11, levels((6, 2))),
        diff(12, 12, levels((4, 0))),
        snapshot(10, levels((4, 7), (5, 9)), levels((8, 1))),
        diff(13, 13),
    )
    # Snapshot: {5: 9, 4: 7}; then 11 sets 6, 12 removes 4. Two bids and one ask were sent: the asks are known as a whole.
    names = ("event_index", "update_id", "bid_price", "bid_size", "ask_price", "synced", "bid_known", "ask_known")
    assert column(result, "bbo", *names) == [
        (0, 10, 5, 1, None, False, False, False),
        (1, 11, 6, 2, None, False, False, False),
        (7, 12, 6, 2, 8, True, True, True),
    ]
    assert column(result, "depth", "event_index", "update_id", "side", "price", "size", "kind", "is_last", "synced")[3:] == [
        (3, 12, "bid", 0, 0, "clear", False, True),
        (4, 12, "ask", 0, 0, "clear", False, True),
        (5, 12, "bid", 6, 2, "snapshot", False, True),
        (6, 12, "bid", 5, 9, "snapshot", False, True),
        (7, 12, "ask", 8, 1, "snapshot", True, True),
    ]
    # `last` stayed 12: drift between {5: 1, 6: 2} and {5: 9, 6: 2} with ask 8, for bids down to 4 and all asks.
    assert result.rows["drift"] == [
        {
            "event_index": 8,
            "ts_event": START * SECOND,
            "update_id": 10,
            "was_synced": False,
            "levels_compared": 3,
            "levels_missing": 1,
            "levels_extra": 0,
            "levels_differing": 1,
            "size_error": 8 + 1,
            "levels_learned": 0,
        }
    ]
    assert result.counts["messages"] == 5


@pytest.mark.parametrize("late", [9, 8])
def test_a_late_snapshot_that_does_not_join_is_stale(late: int) -> None:
    """A hole between an old snapshot and the buffered diffs, or no diff newer than it: stale."""
    result = reconstruct(diff(11, 12, levels((5, 1))), snapshot(late, levels((4, 7))))
    assert result.counts == {"messages": 1, "stale_snapshots": 1, "events": 1}


def test_drift_compares_within_the_range_of_each_side() -> None:
    """All kinds of level inside the snapshot's range; what lies beyond its farthest prices is not compared."""
    result = reconstruct(
        diff(9, 10, levels((1, 9), (4, 2), (5, 3), (6, 4)), levels((7, 1), (99, 9))),
        snapshot(10, levels((3, 0), (5, 3), (6, 1)), levels((8, 6), (9, 0), (7, 0)), at=1),
    )
    # Bids from 3 on (a size of 0 counts for the range): 4, 5 and 6 before, 5 and 6 after. Asks up to 9: 7 before, 8 after.
    # Extra: 4 and 7 (2 + 1); missing: 8 (6); differing: 6 (3).
    names = ("levels_compared", "levels_missing", "levels_extra", "levels_differing", "size_error", "was_synced")
    assert column(result, "drift", *names) == [(3, 1, 2, 1, 12, False)]
    assert column(result, "drift", "event_index", "ts_event", "update_id") == [(11, (START + 1) * SECOND, 10)]


def test_a_snapshot_without_levels_compares_nothing() -> None:
    """It compares nothing, and says so."""
    result = reconstruct(snapshot(10, levels((5, 1))), snapshot(10))
    names = ("levels_compared", "levels_missing", "levels_extra", "levels_differing", "size_error")
    assert column(result, "drift", *names) == [(0, 0, 0, 0, 0)]


def test_a_newer_snapshot_has_no_drift() -> None:
    """A snapshot that moves `last` is no second view of the same moment; it ends an unsynced time."""
    result = reconstruct(
        snapshot(10, levels((5, 1))),
        diff(15, 15),
        snapshot(16, levels((4, 1))),
        diff(17, 17, levels((3, 1))),
    )
    assert result.rows["drift"] == []
    clears = [(0, True), (0, True)]
    assert column(result, "depth", "price", "synced") == [*clears, (5, True), *clears, (4, True), (3, True)]


def test_snapshots_without_time_take_that_of_the_next_message() -> None:
    """Snapshots without any time wait for the first message that is accepted behind the first of them, and take its time."""
    result = reconstruct(
        snapshot(10, levels((5, 1)), levels((8, 1)), at=None),
        ticker(10, (6, 1), (0, 0)),
        diff(9, 9, at=1),  # stale after 10
        b"nonsense",
        snapshot(11, levels((6, 1)), levels((8, 1)), at=None),  # waits for 11, and fails then
        snapshot(9, at=None),  # nothing joins it: 9 was kept, 10 is not there
        diff(11, 12, levels((7, 1)), at=3),
    )
    # The ticker of 10 fails, which ends sync: 11 replaces.
    assert {name: number for name, number in result.counts.items() if number} == {
        "stale": 1,
        "stale_snapshots": 1,
        "dead_letters.malformed": 1,
        "audits.bookTicker.failed": 1,
        "messages": 3,
        "events": 9,
    }
    assert column(result, "depth", "ts_event", "update_id", "price", "kind", "synced") == [
        ((START + 3) * SECOND, 10, 0, "clear", False),
        ((START + 3) * SECOND, 10, 0, "clear", False),
        ((START + 3) * SECOND, 10, 5, "snapshot", False),
        ((START + 3) * SECOND, 10, 8, "snapshot", False),
        ((START + 3) * SECOND, 11, 0, "clear", True),
        ((START + 3) * SECOND, 11, 0, "clear", True),
        ((START + 3) * SECOND, 11, 6, "snapshot", True),
        ((START + 3) * SECOND, 11, 8, "snapshot", True),
        ((START + 3) * SECOND, 12, 7, "change", True),
    ]
    assert column(result, "dead_letter", "event_index", "reason") == [(0, "malformed")]


def test_a_snapshot_that_waits_to_the_end_is_no_message() -> None:
    """It has no rows, and is no message."""
    result = reconstruct(snapshot(10, levels((5, 1)), at=None))
    assert (result.cuts, result.counts) == ([], {"events": 0})


def test_a_snapshots_time_is_its_own_or_the_receive_time_or_the_last() -> None:
    """Its own time, else its receive time, else that of the last accepted message, even where another was later."""
    untimed = snapshot(10, levels((5, 1)), at=None)
    before = [trade(at=9, number=1), trade(at=4, number=2)]
    received = f"{START + 5} ".encode()
    for record, expected in (
        (untimed, ((START + 4) * SECOND, None)),
        (received + json.dumps(untimed).encode(), ((START + 5) * SECOND, (START + 5) * SECOND)),
        (received + json.dumps(untimed | {"E": START + 6}).encode(), ((START + 6) * SECOND, (START + 5) * SECOND)),
    ):
        assert set(column(reconstruct(*before, record), "depth", "ts_event", "ts_recv")) == {expected}


# --- rows and cuts -----------------------------------------------------------------------------------------------


def test_trades_have_a_row_each_aggregated_or_not() -> None:
    """A trade, and an aggregated one whose time is its T."""
    aggregated: dict[str, Any] = {"e": "aggTrade", "E": START + 9, "T": START + 8, "s": "BTCUSDT"}
    aggregated |= {"a": 5, "p": "8", "q": "1", "m": False}
    row = {"event_index": 0, "ts_event": START * SECOND, "ts_recv": None, "trade_id": 42}
    other = {"event_index": 1, "ts_event": (START + 8) * SECOND, "ts_recv": None, "trade_id": 5}
    assert reconstruct(trade(), aggregated).rows["trades"] == [
        row | {"side": "sell", "price": 7, "size": 3, "is_aggregate": False},
        other | {"side": "buy", "price": 8, "size": 1, "is_aggregate": True},
    ]


def test_a_bbo_row_is_written_when_the_best_levels_change() -> None:
    """A row only where the best levels or `synced` differ from the last row; crossed and locked books are counted."""
    result = reconstruct(
        snapshot(10, levels((5, 1), (4, 1)), levels((7, 1))),
        diff(11, 11, levels((3, 1))),  # not at the top: no row
        diff(12, 12, levels((5, 2))),
        diff(13, 13, asks=levels((7, 0))),  # the side is empty now
        diff(14, 14, asks=levels((5, 1))),  # locked
        diff(15, 15, levels((6, 1))),  # crossed
        diff(18, 18),  # a gap without a level
    )
    names = ("event_index", "update_id", "bid_price", "bid_size", "ask_price", "ask_size", "synced")
    assert column(result, "bbo", *names) == [
        (4, 10, 5, 1, 7, 1, True),
        (6, 12, 5, 2, 7, 1, True),
        (7, 13, 5, 2, None, None, True),
        (8, 14, 5, 2, 5, 1, True),
        (9, 15, 6, 1, 5, 1, True),
        (9, 18, 6, 1, 5, 1, False),
    ]
    assert (result.counts["locked"], result.counts["crossed"]) == (1, 2)


def test_no_bbo_and_grid_rows_before_the_first_event() -> None:
    """Depth messages without levels are accepted, and give neither bbo nor grid rows before the first event."""
    result = reconstruct(diff(10, 10), diff(11, 11, at=5), trade(at=9), diff(12, 12, at=10))
    assert result.counts == {"messages": 4, "events": 1}
    assert column(result, "bbo", "event_index", "update_id", "bid_price") == [(0, 12, None)]
    assert column(result, "book", "event_index", "ts", "update_id") == [(0, (START + 9) * SECOND, 11)]


def test_a_grid_row_shows_the_book_before_the_grid_point() -> None:
    """A row when time passes a grid point, with the book before; none while idle, none twice for the same book."""
    result = reconstruct(
        snapshot(10, levels((5, 1), (4, 1), (3, 1)), levels((7, 2)), at=0),
        trade(at=10, number=1),  # START is a grid point itself
        trade(at=20, number=2),  # nothing applied since
        diff(11, 11, levels((6, 1)), at=21),
        diff(12, 12, levels((6, 2)), at=30),  # not beyond g = 30
        diff(13, 13, at=12),  # back in time
        trade(at=31, number=3),
        settings=replace(SETTINGS, book_interval_ns=10 * SECOND),
    )
    first = {"event_index": 5, "ts": START * SECOND, "update_id": 10, "synced": True, "bids_known": 2, "asks_known": 1}
    second = {"event_index": 9, "ts": (START + 30) * SECOND, "update_id": 13, "synced": True, "bids_known": 2, "asks_known": 1}
    assert result.rows["book"] == [
        first
        | {"bid_px_00": 5, "bid_sz_00": 1, "ask_px_00": 7, "ask_sz_00": 2}
        | {"bid_px_01": 4, "bid_sz_01": 1, "ask_px_01": None, "ask_sz_01": None},
        second
        | {"bid_px_00": 6, "bid_sz_00": 2, "ask_px_00": 7, "ask_sz_00": 2}
        | {"bid_px_01": 5, "bid_sz_01": 1, "ask_px_01": None, "ask_sz_01": None},
    ]


def cuts_of(result: OracleResult) -> list[tuple[int, int, str]]:
    """The names and dates of the cuts."""
    return [(cut.first, cut.last, cut.date) for cut in result.cuts]


def test_a_count_cut_comes_after_a_message() -> None:
    """A cut after the message that reaches or passes a multiple of part_events, never inside a message."""
    result = reconstruct(
        diff(1, 1, levels((1, 1), (2, 1))),
        diff(2, 2, levels((1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1))),  # passes 3 and 6
        trade(number=1),  # reaches 9
        trade(number=2),
        settings=replace(SETTINGS, part_events=3),
    )
    assert cuts_of(result) == [(0, 7, "2024-08-08"), (8, 8, "2024-08-08"), (9, 9, "2024-08-08")]
    assert [len(cut.rows["depth"]) for cut in result.cuts] == [8, 0, 0]
    assert [len(cut.rows["trades"]) for cut in result.cuts] == [0, 1, 1]


def test_a_time_cut_comes_before_a_message() -> None:
    """A cut before the message that takes time into the next interval; its grid row is in the part before."""
    result = reconstruct(
        snapshot(10, levels((5, 1)), at=0),
        trade(at=25, number=1),  # midnight is at 20
        trade(at=15, number=2),  # back over midnight: no cut
        trade(at=26, number=3),
        b"nonsense",
        settings=replace(SETTINGS, part_interval_ns=60 * SECOND),
    )
    assert cuts_of(result) == [(0, 2, "2024-08-08"), (3, 5, "2024-08-09")]
    assert [len(cut.rows["book"]) for cut in result.cuts] == [1, 0]
    assert [row["event_index"] for row in result.cuts[1].rows["dead_letter"]] == [6]


def test_a_time_cut_needs_events_since_the_last_cut() -> None:
    """Where a count cut has just been, the next interval makes none."""
    result = reconstruct(trade(), trade(at=25, number=1), settings=replace(SETTINGS, part_events=1, part_interval_ns=60 * SECOND))
    assert cuts_of(result) == [(0, 0, "2024-08-08"), (1, 1, "2024-08-09")]


def test_rows_without_events_form_an_empty_tail() -> None:
    """Rows without events form a tail whose last event is before its first; without rows there is none."""
    assert cuts_of(reconstruct(b"nonsense")) == [(0, -1, "1970-01-01")]
    exact = replace(SETTINGS, part_events=1)
    assert cuts_of(reconstruct(trade(), settings=exact)) == [(0, 0, "2024-08-08")]
    assert cuts_of(reconstruct(trade(), b"nonsense", settings=exact)) == [(0, 0, "2024-08-08"), (1, 0, "2024-08-08")]


def test_unselected_streams_stay_empty() -> None:
    """Optional streams that are not selected stay empty; the others are always there."""
    result = reconstruct(
        snapshot(10, levels((5, 1))), trade(at=5), diff(20, 20), b"nonsense", settings=replace(SETTINGS, streams=())
    )
    assert {stream for stream, rows in result.rows.items() if rows} == {"gaps", "dead_letter"}


# --- tickers -----------------------------------------------------------------------------------------------------


def test_a_failed_ticker_ends_sync_before_the_rows_are_stamped() -> None:
    """Early, in time and late; the first that fails ends sync, before the rows of its message are stamped."""
    result = reconstruct(
        ticker(11, (5, 1), (7, 1)),  # waits, matches after 11
        ticker(12, (5, 1), (7, 9)),  # waits, fails after 12
        ticker(12, (5, 1), (7, 9)),  # fails again, not synced any more
        snapshot(10, levels((5, 1)), levels((7, 1))),
        ticker(10, (5, 1), (7, 1)),  # matches now
        diff(11, 11),
        ticker(10, (5, 1), (7, 1)),  # too late
        diff(12, 12, levels((4, 1))),
        ticker(12, (5, 1), (7, 1)),  # matches, but is not synced
    )
    audits = {name: number for name, number in result.counts.items() if name.startswith("audits.")}
    assert audits == {
        "audits.bookTicker.matched": 2,
        "audits.bookTicker.failed": 1,
        "audits.bookTicker.failed_unsynced": 1,
        "audits.bookTicker.matched_unsynced": 1,
        "audits.bookTicker.not_comparable": 1,
    }
    row = {"event_index": 5, "ts_event": START * SECOND, "update_id": 12, "kind": "bookTicker"}
    assert result.rows["audits"] == [row | {"expected": "5 x 1 / 7 x 9", "found": "5 x 1 / 7 x 1"}]
    assert column(result, "depth", "update_id", "synced") == [(10, True)] * 4 + [(12, False)]
    assert column(result, "bbo", "update_id", "synced") == [(10, True), (12, False)]


def test_a_ticker_that_fails_late_ends_sync_from_the_next_message() -> None:
    """It ends sync from the next message on; an older snapshot may join the diffs that came since."""
    result = reconstruct(
        snapshot(10, levels((5, 1)), at=1),
        ticker(10, (6, 1), (0, 0)),
        diff(11, 11, levels((4, 1)), at=2),
        snapshot(10, levels((5, 1)), at=3),  # 11 was kept: joins
        diff(12, 12, levels((3, 1)), at=4),
    )
    assert column(result, "audits", "event_index", "ts_event", "update_id") == [(3, (START + 1) * SECOND, 10)]
    assert column(result, "depth", "price", "synced")[2:] == [
        (5, True),
        (4, False),
        *[(0, True), (0, True), (5, True), (4, True)],
        (3, True),
    ]
    assert [row["synced"] for row in result.rows["bbo"]] == [True, False, True]


def test_an_empty_side_equals_a_ticker_of_size_zero() -> None:
    """An empty side and a side of size 0 are the same; numerals are written out with all decimals."""
    wide = replace(SETTINGS, price_decimals=8, size_decimals=3)
    result = reconstruct(
        snapshot(10, [["0.5", "1"]]),
        ticker(10, (0, 0), (77, 0)),
        ticker(10, (1, 2), (3, 4)),
        settings=wide,
    )
    assert result.counts["audits.bookTicker.failed"] == 1
    assert result.counts["audits.bookTicker.failed_unsynced"] == 1
    assert column(result, "audits", "expected", "found") == [
        ("0.00000000 x 0.000 / 0.00000000 x 0.000", "0.50000000 x 1.000 / 0.00000000 x 0.000")
    ]
    matching = {"u": 10, "b": "0.50", "B": "1.0", "a": "77", "A": "0"}
    assert reconstruct(snapshot(10, [["0.5", "1"]]), matching, settings=wide).counts["audits.bookTicker.matched"] == 1


# --- records -----------------------------------------------------------------------------------------------------


def test_dead_letters_have_the_place_of_their_record() -> None:
    """Offsets and lengths with a mark at the front, both terminators, blank lines and a last line without newline."""
    letter = json.dumps(trade()).encode().replace(b'"7"', b'"7.5"')  # does not fit 0 decimals
    content = b"\xef\xbb\xbf{}\r\n \t\r\n\xff\n" + b"x" * 301 + b"\n" + letter + b"\n[1"
    result = run([("a", b""), ("b", content)], replace(SETTINGS, max_line_bytes=300))
    assert column(result, "dead_letter", "file", "offset", "length", "reason") == [
        ("b", 0, 5, "unknown"),
        ("b", 11, 1, "not_utf8"),
        ("b", 13, 301, "overlong"),
        ("b", 315, len(letter), "out_of_range"),
        ("b", 316 + len(letter), 2, "malformed"),
    ]
    assert result.rows["dead_letter"][3]["content"] == letter


RECORDS = [  # record, what is counted
    (b'{"e":"kline","s":"ETHUSDT"}', "unused"),
    (b'{"result":null,"id":1}', "unused"),
    (b'{"stream":"btcusdt@depth20","data":{"lastUpdateId":"?"}}', "dead_letters.malformed"),
    (b'{"stream":"btcusdt@depth20","data":{"lastUpdateId":1,"bids":[],"asks":[],"E":1}}', "messages"),
    (b'{"stream":"btcusdt@depth5","data":{"e":"depthUpdate","E":1,"U":1,"u":1,"b":[],"a":[]}}', "messages"),
    (b'{"stream":"btcusdt@depth5","data":{"e":"depthUpdate","E":1,"s":"X","u":1,"b":[],"a":[]}}', "other_symbol"),
    (b'{"e":"trade","s":"ETHUSDT"}', "other_symbol"),
    (b'{"stream":"ethusdt@depth","data":{"lastUpdateId":1}}', "other_symbol"),
    (b'{"lastUpdateId":1,"symbol":"ETHUSDT"}', "other_symbol"),
    (b'{"e":7}', "dead_letters.malformed"),
    (b'{"e":"trade","s":"BTCUSDT"}', "dead_letters.malformed"),
    (b'{"lastUpdateId":1.0,"bids":[],"asks":[]}', "dead_letters.malformed"),
    (b'{"lastUpdateId":-1,"bids":[],"asks":[]}', "dead_letters.malformed"),
    (b'{"lastUpdateId":1,"bids":[["1"]],"asks":[]}', "dead_letters.malformed"),
    (b'{"lastUpdateId":1,"bids":[["1e","1"]],"asks":[]}', "dead_letters.malformed"),
    (b'1  {"lastUpdateId":1,"bids":[],"asks":[]}', "dead_letters.malformed"),
    (b'{"lastUpdateId":9223372036854775807,"bids":[],"asks":[]}', "dead_letters.out_of_range"),
    (b'{"lastUpdateId":1,"bids":[["1000000000000000000","1"]],"asks":[]}', "dead_letters.out_of_range"),
    (b'{"lastUpdateId":1,"bids":[],"asks":[],"E":9223372037}', "dead_letters.out_of_range"),
    (b'{"lastUpdateId":1,"bids":[],"asks":[],"E":99999999999}', "dead_letters.out_of_range"),
    (b'{"lastUpdateId":1,"bids":[],"asks":[],"E":99999999999999}', "dead_letters.out_of_range"),
    (b'{"lastUpdateId":1,"bids":[],"asks":[],"E":99999999999999999}', "dead_letters.out_of_range"),
    (b'9223372036854775808 {"lastUpdateId":1,"bids":[],"asks":[]}', "dead_letters.out_of_range"),
    (b"[]", "dead_letters.unknown"),
    (b'{"stream":"btcusdt@trade","data":[]}', "dead_letters.unknown"),
    (b'{"u":1,"b":"1","B":"1","a":"1"}', "dead_letters.unknown"),
    (b'{"lastUpdateId":1,"lastUpdateId":"x","bids":[],"asks":[],"E":1}', "dead_letters.malformed"),
    (b'{"lastUpdateId":"x","lastUpdateId":1,"bids":[],"asks":[],"E":1}', "messages"),
    (b'{"stream":"btcusdt@depth","data":{"lastUpdateId":1,"bids":[],"asks":[],"E":1}}', "messages"),
    (b'{"lastUpdateId":1,"bids":[["999999999999999999.000","1",0]],"asks":[],"E":9223372036}', "messages"),
]


@pytest.mark.parametrize(("record", "counted"), RECORDS)
def test_a_record_is_counted_as_one_kind(record: bytes, counted: str) -> None:
    """One record alone is counted as what it is, and as nothing else."""
    counts = reconstruct(record).counts
    assert {name for name, number in counts.items() if number and name != "events"} == {counted}


RECEIVED = [  # prefix, ns
    (b"", None),
    (b"1723161580 ", 1_723_161_580_000_000_000),
    (b"1723161580123: ", 1_723_161_580_123_000_000),
    (b"1723161580123456 ", 1_723_161_580_123_456_000),
    (b"1723161580123456789 ", 1_723_161_580_123_456_789),
    (b"100000000000 ", 10**17),
    (b"100000000000000 ", 10**17),
    (b"100000000000000000 ", 10**17),
    (b"1723161580.5: ", 1_723_161_580_500_000_000),
    (b"1723161580.1234567899 ", 1_723_161_580_123_456_789),
]


@pytest.mark.parametrize(("prefix", "received"), RECEIVED)
def test_every_style_of_receive_time_is_read(prefix: bytes, received: int | None) -> None:
    """Every style of receive time, in ns."""
    assert column(reconstruct(prefix + json.dumps(trade()).encode()), "trades", "ts_recv") == [(received,)]
