"""What the oracle calls known, and what it takes for proof: worked examples of docs/rules.md, and the small cases."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from support.cases import case_names, expected_of, judge, run_case_by_oracle
from support.oracle import OracleHalt, OracleResult, OracleSettings, run

SECOND = 10**9
START = 1_723_161_580  # seconds; 2024-08-08 23:59:40 UTC
SETTINGS = OracleSettings(price_decimals=0, size_decimals=0, book_levels=3, part_interval_ns=86_400 * SECOND)
BIDS = {50: 1, 49: 1, 48: 1, 47: 1, 46: 1, 45: 1, 44: 1}
ASKS = {51: 1, 52: 1, 53: 1, 54: 1, 55: 1, 56: 1, 57: 1}

# Cases of Binance with plain files, which the oracle decides like any other capture.
ORACLE_CASES = [name for name in case_names() if name[:3] in ("d2-", "d3-", "d4-", "d5-", "d6-", "d8-")]
ORACLE_CASES += [name for name in case_names() if name in ("d1-late-snapshot", "d1-snapshot-after-gap")]
ORACLE_CASES += [name for name in case_names() if name in ("d7-trades-twice", "d7-two-recorders-merged")]


@pytest.mark.parametrize("name", ORACLE_CASES)
def test_a_known_situation_comes_out_right(name: str) -> None:
    """All that is decided of it but for what the log says."""
    expected = expected_of(name)
    expected.pop("stderr_or_json_contains", None)
    assert judge(expected, run_case_by_oracle(name)) == []


def pairs(levels: dict[int, int]) -> list[list[str]]:
    """Levels as a record has them."""
    return [[str(price), str(size)] for price, size in levels.items()]


def diff(
    first: int,
    last: int,
    bids: dict[int, int] | None = None,
    *,
    at: int = 0,
    pu: int | None = None,
    stream: str = "",
    symbol: str = "BTCUSDT",
    asks: dict[int, int] | None = None,
) -> dict[str, Any]:
    """A diff, `at` seconds after START, of a stream if it is wrapped."""
    record = {"e": "depthUpdate", "E": START + at, "s": symbol, "U": first, "u": last}
    record |= {} if pu is None else {"pu": pu}
    record |= {"b": pairs(bids or {}), "a": pairs(asks or {})}
    return {"stream": f"btcusdt@{stream}", "data": record} if stream else record


def snapshot(last: int, count: int = 7, *, at: int | None = 0, changes: dict[int, int] | None = None) -> dict[str, Any]:
    """A REST answer with the best `count` levels of a side."""
    bids, asks = dict(list(BIDS.items())[:count]) | (changes or {}), dict(list(ASKS.items())[:count])
    record = {"lastUpdateId": last, "bids": pairs({price: size for price, size in bids.items() if size}), "asks": pairs(asks)}
    return record | ({} if at is None else {"E": START + at})


def depth5(last: int, count: int = 5, *, at: int | None = 0, changes: dict[int, int] | None = None) -> dict[str, Any]:
    """A partial book in its wrapper."""
    return {"stream": "btcusdt@depth5", "data": snapshot(last, count, at=at, changes=changes)}


def trade(number: int, at: int = 0, **more: Any) -> dict[str, Any]:
    """A trade."""
    return {"e": "trade", "E": START + at, "s": "BTCUSDT", "t": number, "p": "7", "q": "3", "m": True} | more


ETH = diff(7, 8, symbol="ETHUSDT")


def reconstruct(*records: dict[str, Any] | bytes, settings: OracleSettings = SETTINGS) -> OracleResult:
    """Run the oracle over one file of these records."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return run([("capture", b"".join(line + b"\n" for line in lines))], settings)


def counts(result: OracleResult) -> dict[str, int]:
    """What was counted, but for events and messages."""
    return {name: number for name, number in result.counts.items() if number and name not in ("events", "messages", "crossed")}


def depth(result: OracleResult) -> list[tuple[str, int, bool, int]]:
    """Runs of rows of `depth` alike: kind, update id, synced, how many."""
    runs: list[tuple[str, int, bool, int]] = []
    for row in result.rows["depth"]:
        key = (row["kind"], row["update_id"], row["synced"])
        number = runs.pop()[3] if runs and runs[-1][:3] == key else 0
        runs.append((*key, number + 1))
    return runs


def known(result: OracleResult) -> list[tuple[bool, bool, bool]]:
    """Synced and known of the rows of `bbo`."""
    return [(row["synced"], row["bid_known"], row["ask_known"]) for row in result.rows["bbo"]]


# --- clears and known depth --------------------------------------------------------------------------------------


def test_a_snapshot_begins_with_a_clear_of_each_side() -> None:
    """Also where a side was empty, or is; the rows are the book, best first."""
    result = reconstruct({"lastUpdateId": 5, "E": START, "bids": [["4", "1"], ["5", "2"], ["3", "0"]], "asks": []})
    rows = [(row["event_index"], row["side"], row["price"], row["kind"], row["is_last"]) for row in result.rows["depth"]]
    assert rows == [
        (0, "bid", 0, "clear", False),
        (1, "ask", 0, "clear", False),
        (2, "bid", 5, "snapshot", False),
        (3, "bid", 4, "snapshot", True),
    ]
    # Fewer asks than bids: there are none, and that is known.
    assert known(result) == [(True, True, True)]


def test_a_snapshot_without_levels_knows_nothing() -> None:
    """0 against 0."""
    result = reconstruct({"lastUpdateId": 5, "E": START, "bids": [], "asks": []})
    assert [(row["kind"], row["is_last"]) for row in result.rows["depth"]] == [("clear", False), ("clear", True)]
    assert known(result) == [(True, False, False)]


def test_grid_rows_count_what_is_known_from_the_best() -> None:
    """Up to the first level beyond the bound, which a size of 0 counts for."""
    record = {"lastUpdateId": 5, "E": START, "bids": [["9", "1"], ["7", "0"]], "asks": [["10", "1"], ["11", "1"]]}
    result = reconstruct(record, diff(6, 6, {7: 1, 6: 1}, asks={12: 1, 9: 0}), trade(1, at=2))
    assert [(row["bids_known"], row["asks_known"]) for row in result.rows["book"]] == [(2, 2)]


# --- witnesses ---------------------------------------------------------------------------------------------------


def test_a_witness_is_compared_with_the_later_diffs_applied() -> None:
    """A difference inside what was known is blamed; the book takes the snapshot's levels and is not synced."""
    result = reconstruct(
        snapshot(10, 3),
        diff(11, 11, {49: 5, 46: 9}),
        diff(12, 12, {50: 2}),
        snapshot(11, 5, changes={49: 5, 48: 4}, at=1),  # 46 is 1 in it
        snapshot(12, 2, at=2),
    )
    drift = {"event_index": 16, "ts_event": (START + 1) * SECOND, "update_id": 11, "was_synced": True, "levels_compared": 10}
    drift |= {"levels_missing": 0, "levels_extra": 0, "levels_differing": 1, "size_error": 3, "levels_learned": 4}
    assert result.rows["drift"][0] == drift
    learned = [(row["side"], row["price"], row["size"], row["is_last"]) for row in result.rows["depth"][11:16]]
    asks = [("ask", 54, 1, False), ("ask", 55, 1, True)]
    assert learned == [("bid", 48, 4, False), ("bid", 47, 1, False), ("bid", 46, 1, False), *asks]
    audit = {"event_index": 16, "ts_event": (START + 1) * SECOND, "update_id": 12, "kind": "snapshot"}
    assert result.rows["audits"] == [audit | {"expected": "bid 48 x 4", "found": "bid 48 x 1"}]
    # The next one replaces.
    assert depth(result)[-3:] == [("learned", 12, False, 5), ("clear", 12, True, 2), ("snapshot", 12, True, 4)]
    assert known(result)[-2:] == [(False, False, False), (True, True, True)]
    assert counts(result) == {"audits.snapshot.failed": 1, "drift_rows": 2}


def test_a_snapshot_that_overtook_diffs_leaves_them_kept() -> None:
    """The diff that is stale against it joins the full snapshot that comes later."""
    result = reconstruct(diff(131, 140), depth5(150), diff(141, 150), diff(151, 160), snapshot(145))
    assert counts(result) == {"stale": 1, "audits.snapshot.matched": 1, "drift_rows": 1}
    assert depth(result)[-1] == ("learned", 160, True, 4)
    assert known(result) == [(False, False, False), (True, True, True)][1:]


def test_a_book_ahead_of_its_diffs_waits_for_them() -> None:
    """A lower snapshot is of another moment; it is compared once the kept diffs reach the book."""
    records = [diff(91, 100), depth5(150), snapshot(90)]
    assert counts(reconstruct(*records)) == {}
    assert counts(reconstruct(*records, diff(101, 149))) == {"stale": 1}
    joined = reconstruct(*records, diff(101, 149), diff(150, 150))
    assert counts(joined) == {"stale": 2, "audits.snapshot.matched": 1, "drift_rows": 1}
    holed = reconstruct(*records, diff(102, 149), diff(150, 150))
    assert counts(holed) == {"stale": 2, "stale_snapshots": 1}


def test_of_two_witnesses_the_larger_waits() -> None:
    """Of equally many levels the newer."""
    records = [snapshot(100), snapshot(103, 6), depth5(104), snapshot(105, 6), snapshot(106, 7)]
    result = reconstruct(*records, diff(101, 104), diff(105, 105), diff(106, 106))
    assert counts(result) == {"replaced_witnesses": 3, "audits.snapshot.matched": 1, "drift_rows": 1}
    assert [row["update_id"] for row in result.rows["drift"]] == [106]


def test_a_witness_expires() -> None:
    """1,000 applied diffs that do not reach it."""
    diffs = [diff(number, number) for number in range(101, 1101)]
    assert counts(reconstruct(snapshot(100), snapshot(5000), *diffs[:999])) == {}
    assert counts(reconstruct(snapshot(100), snapshot(5000), *diffs)) == {"stale_snapshots": 1}
    assert counts(reconstruct(snapshot(100), snapshot(1100), *diffs)) == {"audits.snapshot.matched": 1, "drift_rows": 1}


def test_a_witness_that_waits_is_used_when_sync_ends() -> None:
    """Right behind the message that ended it."""
    result = reconstruct(snapshot(100, 2), snapshot(150, 2), diff(140, 145, {50: 3}), diff(151, 152, {50: 4}))
    assert depth(result)[2:] == [
        ("change", 145, False, 1),
        ("clear", 150, True, 2),
        ("snapshot", 150, True, 4),
        ("change", 152, True, 1),
    ]
    ticker = {"u": 100, "s": "BTCUSDT", "b": "50", "B": "9", "a": "51", "A": "1"}
    result = reconstruct(snapshot(100, 2), snapshot(150, 2), ticker)
    assert depth(result)[2:] == [("clear", 150, True, 2), ("snapshot", 150, True, 4)]


# --- ids that begin anew -----------------------------------------------------------------------------------------


def test_ids_begin_anew_with_two_diffs() -> None:
    """Both below the last applied diff and later; the snapshot of the new count comes before, and is used behind them."""
    old = [snapshot(50), diff(51, 52, at=1)]
    result = reconstruct(*old, snapshot(7, 2, at=2), diff(8, 8, {50: 3}, at=3), diff(9, 10, {50: 4}, at=4))
    assert depth(result)[2:] == [
        ("change", 8, False, 1),
        ("change", 10, False, 1),
        ("clear", 10, True, 2),
        ("snapshot", 10, True, 4),
    ]
    gap = {"event_index": 16, "ts_event": (START + 3) * SECOND, "expected_id": 53, "received_id": 8, "missing": None}
    assert result.rows["gaps"] == [gap]
    assert counts(result) == {"stale_snapshots": 1, "gaps": 1, "drift_rows": 1}
    with pytest.raises(OracleHalt):
        reconstruct(*old, diff(8, 8, at=3), diff(9, 10, at=4), settings=replace(SETTINGS, on_gap="halt"))


def test_repeated_and_overtaken_diffs_do_not_begin_anew() -> None:
    """Late ones are not later, those behind a snapshot that is ahead are above the last diff, and one alone is none."""
    ahead = [diff(101, 105, at=3), snapshot(150, at=3), diff(106, 120, at=4), diff(121, 140, at=5)]
    assert counts(reconstruct(*ahead)) == {"stale": 2}
    old = [snapshot(50), diff(51, 52, at=1), diff(53, 53, at=2)]
    assert counts(reconstruct(*old, diff(51, 52, at=1), diff(53, 53, at=2))) == {"stale": 2}
    assert counts(reconstruct(*old, diff(8, 8, at=3))) == {}
    assert counts(reconstruct(*old, diff(8, 8, at=3), diff(54, 54, at=4))) == {"stale": 1}
    assert counts(reconstruct(*old, diff(8, 8, at=3), diff(10, 10, at=4), diff(11, 11, at=5))) == {"stale": 1, "gaps": 1}


# --- markets and speeds ------------------------------------------------------------------------------------------


def test_the_other_market_is_unused_once_both_were_seen() -> None:
    """Diffs at once; snapshots, tickers and trades as far as they say their market."""
    futures = diff(900, 901, pu=899)
    ticker = {"u": 11, "s": "BTCUSDT", "b": "50", "B": "1", "a": "51", "A": "1"}
    result = reconstruct(
        trade(1, X="MARKET"),  # before the second market: stays
        diff(10, 10),
        futures,
        snapshot(11) | {"E": START},
        trade(2, X="MARKET"),
        trade(3, M=True),
        trade(4),
        ticker | {"e": "bookTicker"},
        ticker,
    )
    assert counts(result) == {"unused": 4}
    assert [row["trade_id"] for row in result.rows["trades"]] == [1, 3, 4]
    named = reconstruct(diff(10, 10), futures, settings=replace(SETTINGS, channel="futures"))
    assert (counts(named), named.rows["gaps"]) == ({"unused": 1}, [])
    rpi = diff(5, 6, {50: 1}, pu=4, stream="rpiDepth")
    assert counts(reconstruct(rpi, futures)) == {"unused": 1}
    assert counts(reconstruct(rpi, futures, settings=replace(SETTINGS, channel="rpi"))) == {"unused": 1}


SLOW, FAST = "depth@500ms", "depth@100ms"


def begin_fast() -> list[dict[str, Any]]:
    """A futures book of the fast stream."""
    return [snapshot(100), diff(95, 105, pu=94, stream=FAST), diff(106, 110, pu=105, stream=FAST)]


def test_a_recorder_that_changes_its_speed_comes_back() -> None:
    """With its next snapshot: a late one joins the unused diffs, an early one waits for the diff that reaches it."""
    slow = [diff(195, 210, {50: 8}, pu=190, stream=SLOW), diff(211, 220, {49: 8}, pu=210, stream=SLOW)]
    late = reconstruct(*begin_fast(), *slow, snapshot(205), diff(221, 230, {48: 8}, pu=220, stream=SLOW))
    assert depth(late)[2:] == [("clear", 220, True, 2), ("snapshot", 220, True, 14), ("change", 230, True, 1)]
    assert counts(late) == {"unused": 2}
    early = reconstruct(*begin_fast(), slow[0], snapshot(215), slow[1], diff(221, 230, {48: 8}, pu=220, stream=SLOW))
    assert depth(early)[2:] == [
        ("clear", 215, True, 2),
        ("snapshot", 215, True, 14),
        ("change", 220, True, 1),
        ("change", 230, True, 1),
    ]
    assert counts(early) == {"unused": 1}
    # The diffs that were apart are the kept ones: a later answer of their time is a witness.
    assert counts(reconstruct(*begin_fast(), *slow, snapshot(215), snapshot(205, changes={49: 1}))) == {
        "unused": 2,
        "audits.snapshot.failed": 1,
        "drift_rows": 1,
    }


def test_two_speeds_side_by_side_leave_the_book_alone() -> None:
    """One unused diff and a partial book that it joins: the full book does not fall to five levels."""
    result = reconstruct(
        *begin_fast(),
        depth5(115, changes={50: 2}),
        diff(91, 115, {50: 2}, pu=90, stream=SLOW),
        diff(111, 115, {50: 2}, pu=110, stream=FAST),
    )
    assert counts(result) == {"unused": 1, "audits.snapshot.matched": 1, "drift_rows": 1}


def test_a_thousand_unused_diffs_are_a_gap() -> None:
    """Of unknown size; their speed is the book's from then on."""
    slow = [diff(1000 + number, 1000 + number, {50: 2}, pu=999 + number, stream=SLOW) for number in range(1001)]
    assert counts(reconstruct(*begin_fast(), *slow[:999])) == {"unused": 999}
    result = reconstruct(*begin_fast(), *slow)
    assert counts(result) == {"unused": 999, "gaps": 1}
    gap = {"event_index": 16, "ts_event": START * SECOND, "expected_id": 110, "received_id": 1998, "missing": None}
    assert result.rows["gaps"] == [gap]
    assert depth(result)[2:] == [("change", 1999, False, 1), ("change", 2000, False, 1)]
    # A late answer joins the diffs that were apart.
    late = reconstruct(*begin_fast(), *slow, snapshot(1500))
    assert late.synced


def test_nothing_ties_a_new_book_to_a_speed() -> None:
    """Behind a snapshot that replaced, a diff of another speed with a hole is a gap like any other."""
    unsynced = [*begin_fast(), diff(150, 155, pu=149, stream=FAST), snapshot(200)]
    assert counts(reconstruct(*unsynced, diff(210, 220, pu=205, stream=SLOW)))["gaps"] == 2


# --- whose it is -------------------------------------------------------------------------------------------------


def test_an_unlabelled_snapshot_among_several_symbols_waits_for_a_diff() -> None:
    """It counts once an own diff joins it; one that is passed without that is foreign."""
    result = reconstruct(ETH, snapshot(104, 2), snapshot(99, 2), diff(101, 103), diff(104, 106, {50: 1}))
    assert depth(result) == [
        ("change", 106, False, 1),
        ("clear", 106, True, 2),
        ("snapshot", 106, True, 4),
    ]
    assert counts(result) == {"other_symbol": 1, "foreign_snapshots": 1, "drift_rows": 1}
    assert depth(reconstruct(ETH, depth5(103)))[0] == ("clear", 103, True, 2)


def test_a_foreign_snapshot_that_came_first_ends_with_the_first_own_diff() -> None:
    """It was believed; an own diff that is stale against it says that it is another symbol's, or ahead."""
    for first in (snapshot(50_000, 2), snapshot(50_000, 2, at=None)):
        result = reconstruct(first, ETH, diff(101, 103, {50: 9}), diff(104, 104))
        assert depth(result) == [
            ("clear", 50_000, True, 2),
            ("snapshot", 50_000, True, 4),
            ("change", 103, False, 1),
        ]
        gap = {"event_index": 6, "ts_event": START * SECOND, "expected_id": 50_001, "received_id": 101, "missing": None}
        assert result.rows["gaps"] == [gap]
    own = reconstruct(snapshot(110, 2), ETH, diff(101, 103), diff(104, 111, {50: 3}))
    assert depth(own)[-2:] == [("clear", 111, True, 2), ("snapshot", 111, True, 4)]


# --- time --------------------------------------------------------------------------------------------------------


def test_a_wild_time_is_taken_back() -> None:
    """It spoils one part; a grid point may have a second row afterwards."""
    settings = replace(SETTINGS, part_interval_ns=3600 * SECOND, book_interval_ns=10 * SECOND)
    wild = 10**9
    records = [diff(1, 1, {50: 1}), diff(2, 2, {50: 2}, at=wild), diff(3, 3, {50: 3}, at=1), diff(4, 4, {50: 4}, at=wild + 1)]
    result = reconstruct(*records, settings=settings)
    assert counts(result) == {"time_resets": 1}
    assert [(cut.first, cut.last, cut.date[:4]) for cut in result.cuts] == [
        (0, 0, "2024"),
        (1, 1, "2056"),
        (2, 2, "2024"),
        (3, 3, "2056"),
    ]
    assert [row["ts"] - START * SECOND for row in result.rows["book"]] == [0, 10 * SECOND]
    assert [len(cut.rows["frame"]) for cut in result.cuts] == [0, 1, 1, 1]


def test_frames_are_the_book_at_the_cut() -> None:
    """None for the first cut, and none where no other row follows."""
    settings = replace(SETTINGS, part_events=4)
    records = [snapshot(10, 1), diff(11, 11, {40: 2})]
    (first,) = reconstruct(*records[:1], settings=settings).cuts
    assert first.rows["frame"] == []
    second = reconstruct(*records, settings=settings).cuts[1]
    row = {"event_index": 4, "ts_event": START * SECOND, "update_id": 10, "size": 1, "known": True, "synced": True}
    found = second.rows["frame"]
    assert found == [row | {"side": "bid", "price": 50}, row | {"side": "ask", "price": 51}]
    assert [len(cut.rows["frame"]) for cut in reconstruct(records[0], b"nonsense", settings=settings).cuts] == [0, 2]


# --- twice is once -----------------------------------------------------------------------------------------------


def test_a_trade_that_comes_twice_counts_once() -> None:
    """`trade` and `aggTrade` have ids of their own; a repeated one makes no grid row due."""
    aggregate = {"e": "aggTrade", "E": START + 1, "s": "BTCUSDT", "a": 1, "p": "7", "q": "3", "m": True}
    result = reconstruct(trade(1), aggregate, diff(1, 1, {50: 1}), trade(1, at=9), aggregate)
    assert counts(result) == {"duplicate_trades": 2}
    assert len(result.rows["trades"]) == 2
    assert result.rows["book"] == []


# --- before anything has a time ----------------------------------------------------------------------------------


def test_all_untimed_snapshots_wait() -> None:
    """The first replaces, the others by the usual rules: the full one is not lost."""
    result = reconstruct(
        depth5(150, at=None), snapshot(100, at=None), diff(101, 120, at=1), diff(121, 150, at=2), diff(151, 152, at=3)
    )
    assert counts(result) == {"stale": 2, "audits.snapshot.matched": 1, "drift_rows": 1}
    assert depth(result) == [("clear", 150, True, 2), ("snapshot", 150, True, 10), ("learned", 150, True, 4)]
    assert {row["ts_event"] for row in result.rows["depth"]} == {(START + 3) * SECOND}
    timed = reconstruct(depth5(150, at=None), snapshot(100, at=9))
    assert {row["ts_event"] for row in timed.rows["depth"]} == {(START + 9) * SECOND}
    many = reconstruct(*[snapshot(150 + number, 2, at=None) for number in range(18)], trade(1))
    assert counts(many) == {"stale_snapshots": 2, "replaced_witnesses": 14}
