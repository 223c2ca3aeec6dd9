"""What happens to captures, at every venue that it can happen to: each test is named by the rule (docs/rules.md).

`depth` folds to the engine's book behind every message of all of these (support/in_memory.py).
"""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cowbook import replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.sink.stream_files import StreamFiles
from support.fold import Fold
from support.harness import table_rows, tables_of
from support.in_memory import SETTINGS, Outcome, Rows, book_of, check_fold, go_through, lines_of
from support.venue_samples import (
    BESIDE_STREAM,
    LINES,
    START_MS,
    Event,
    Side,
    binance_csv,
    cryptolake,
    framed,
    make_events,
    records_of,
    tardis_csv,
)


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


UNNUMBERED = ("coinbase", "kraken-v1", "kraken-v2-frames", "okx", "bitget", "ftx", "tardis-csv", "cryptolake-parquet")
"""Samples whose depth messages have times, but no ids."""


def test_twice_is_once_not_with_another_checksum() -> None:
    """A change that is made again within one moment, after others, is another message: its checksum says so."""

    def events_of(*changes: dict[int, int]) -> list[Event]:
        bids, asks = {100: 1, 99: 1}, {110: 1}
        events = [Event("snapshot", START_MS, dict(bids), asks, (dict(bids), asks), 1)]
        for change in changes:
            bids = {tick: lots for tick, lots in (bids | change).items() if lots}
            events.append(Event("diff", START_MS + 1, change, {}, (bids, asks), 1))
        return events

    events = events_of({98: 5}, {99: 2}, {98: 0}, {98: 5})
    for sample_id in ("kraken-v2-frames", "okx", "bitget", "ftx"):
        outcome = run(sample_id, events)
        assert outcome.book == events[-1].book
        assert outcome.engine.synced
        assert outcome.count("duplicate_messages") == 0


TRADES_WITH_IDS = (
    *("binance", "kraken-v2-frames", "okx", "okx-chain", "ftx", "bitfinex", "coinbase", "coinbase-advanced", "bybit", "deribit"),
    *("kraken-futures", "tardis-csv", "cryptolake-parquet", "gateio", "gateio-futures", "kucoin-futures", "bitstamp"),
)
TABLES = ("tardis-csv", "cryptolake-parquet", "binance-csv")


def files_of(sample_id: str, events: Sequence[Event]) -> tuple[str, str, list[bytes]]:
    """Venue, name and files of what a venue sends."""
    if sample_id == "tardis-csv":
        return "tardis", "BTCUSDT", [tardis_csv(events, "BTCUSDT", trades=trades) for trades in (False, True)]
    if sample_id == "cryptolake-parquet":
        return "cryptolake", "BTCUSDT", [cryptolake(events, trades=trades) for trades in (False, True)]
    if sample_id == "binance-csv":
        return "binance_csv", "BTCUSDT", [binance_csv(events, "BTCUSDT")]
    venue, name, _make, wrap, _proof = LINES[sample_id]
    lines = [wrap(event, record) for event, record in records_of(sample_id, events)]
    head = [b"CBCAP1 kraken x 1"] if wrap is framed else []
    return venue, name, [b"\n".join([*head, *lines, b""])]


def run(sample_id: str, events: Sequence[Event], settings: EngineSettings = SETTINGS) -> Outcome:
    """What comes of events."""
    venue, name, files = files_of(sample_id, events)
    if sample_id in TABLES:
        return through_replay(venue, files, settings)
    return go_through(venue, name, files, settings=settings)


def through_replay(venue: str, files: Sequence[bytes], settings: EngineSettings = SETTINGS) -> Outcome:
    """Tables need files."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [str(Path(directory) / f"{number}") for number in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            Path(path).write_bytes(content)
        arguments = {"format": venue, "price_decimals": 1, "size_decimals": 2}
        books: dict[int, Fold] = {}
        for engine in replay(paths, "BTCUSDT", settings=replace(settings, part_interval=1 << 62), **arguments):  # type: ignore[arg-type]
            books[engine.event_count] = book_of(engine)
    tables = tables_of(StreamFiles(1, 2, settings.book_levels).make(engine.open_rows(), []))
    rows: Rows = {stream: [] for stream in ("depth", "trades", "bbo", "gaps", "drift", "audits", "dead_letter")}
    rows |= {stream: table_rows(table) for stream, table in tables.items()}
    check_fold(rows["depth"], books)
    return Outcome(engine, rows)


def without(rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Rows without some columns."""
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def repeated(events: Sequence[Event], kinds: tuple[str, ...], rng: random.Random) -> tuple[list[Event], int]:
    """Some events come again, up to thirty events later."""
    placed: list[tuple[float, Event]] = []
    count = 0
    for place, event in enumerate(events):
        placed.append((place, event))
        if event.kind in kinds and rng.random() < 0.3:
            placed.append((place + rng.uniform(4, 30), event))
            count += 1
    return [event for _place, event in sorted(placed, key=lambda each: each[0])], count


@pytest.mark.parametrize("sample_id", UNNUMBERED)
def test_twice_is_once_depth_messages_without_ids(sample_id: str) -> None:
    """A depth message that comes late a second time changes nothing, a snapshot neither."""
    kinds = ("diff",) if sample_id in TABLES else ("diff", "snapshot")  # a table's snapshot is a run of rows
    events = make_events(3, 150, (70, 8, 8, 6, 4))
    again, count = repeated(events, kinds, random.Random(4))
    expected, outcome = run(sample_id, events), run(sample_id, again)
    assert count > 20
    assert outcome.count("duplicate_messages") == count
    assert outcome.rows["depth"] == expected.rows["depth"]
    assert outcome.book == expected.book
    assert outcome.engine.synced == expected.engine.synced
    checksums = outcome.engine.audit_statistics()["checksum"]
    assert checksums["failed"] == checksums["failed_unsynced"] == 0


@pytest.mark.parametrize("sample_id", TRADES_WITH_IDS)
def test_twice_is_once_trades(sample_id: str) -> None:
    """A trade that comes late a second time is skipped."""
    events = make_events(5, 150, (40, 50, 0, 0, 0))
    again, count = repeated(events, ("trade",), random.Random(6))
    expected, outcome = run(sample_id, events), run(sample_id, again)
    assert count > 10
    assert outcome.count("duplicate_trades") == count
    ignored = ("event_index", "ts_recv")
    assert without(outcome.rows["trades"], *ignored) == without(expected.rows["trades"], *ignored)
    assert len(expected.rows["trades"]) == sum(event.kind == "trade" for event in events)
    assert outcome.book == expected.book
    assert outcome.engine.synced == expected.engine.synced


def trades_within(record: Any) -> list[Any]:
    """The array of a record's trades."""
    if "params" in record:
        record = record["params"]
    found: list[Any] = record["events"][0]["trades"] if "events" in record else record["data"]
    return found


@pytest.mark.parametrize("sample_id", ["okx", "kraken-v2-frames", "bybit", "deribit", "coinbase-advanced", "ftx"])
def test_twice_is_once_trades_of_one_record(sample_id: str) -> None:
    """Of several trades in one record those that were there before are skipped, also within one record."""
    venue, name, _make, _wrap, _proof = LINES[sample_id]
    events = [event for event in make_events(7, 60, (1, 50, 0, 0, 0)) if event.kind == "trade"][:4]
    records = [json.loads(record) for _event, record in records_of(sample_id, events)]
    one, two, three, four = (list(trades_within(record)) for record in records)

    def record_with(number: int, *trades: list[Any]) -> Any:
        record = copy.deepcopy(records[0])
        if "sequence_num" in record:
            record["sequence_num"] = number
        trades_within(record)[:] = [trade for some in trades for trade in some]
        return record

    content = [record_with(1, one, two), record_with(2, two, three), record_with(3, one, three), record_with(4, four, four, one)]
    outcome = go_through(venue, name, [lines_of(*content)])
    assert [row["ts_event"] // 10**6 for row in outcome.rows["trades"]] == [event.time_ms for event in events]
    assert outcome.count("duplicate_trades") == 5
    assert outcome.count("trades") == 4


_PICTURES = ("databento", "htx-step0", "hyperliquid")
IN_STREAM = [sample_id for sample_id in LINES if sample_id not in (*BESIDE_STREAM, *_PICTURES)]
"""Samples whose snapshots are part of the stream, beside changes."""


@pytest.mark.parametrize("sample_id", [*IN_STREAM, "tardis-csv"])
def test_a_snapshot_of_the_stream_replaces(sample_id: str) -> None:
    """It begins with two clears, has the whole book, and mends what was lost before it."""
    events = make_events(8, 120, (70, 5, 5, 4, 8))
    places = [place for place, event in enumerate(events) if event.kind == "snapshot" and events[place - 1].kind == "diff"]
    assert len(places) > 2
    lost = {place - 1 for place in places}
    outcome = run(sample_id, [event for place, event in enumerate(events) if place not in lost])
    assert outcome.count("snapshots") == sum(event.kind == "snapshot" for event in events)
    assert outcome.kinds().count("clear") == outcome.count("snapshots")
    clears = [row for row in outcome.rows["depth"] if row["kind"] == "clear"]
    assert [(row["side"], row["price"], row["size"]) for row in clears] == [("bid", 0, 0), ("ask", 0, 0)] * (len(clears) // 2)
    shown: list[Fold] = []
    for row in outcome.rows["depth"]:
        if row["kind"] == "clear" and row["side"] == "bid":
            shown.append(({}, {}))
        elif row["kind"] == "snapshot":
            shown[-1][row["side"] == "ask"][row["price"]] = row["size"]
    assert shown == [event.book for event in events if event.kind == "snapshot"]
    assert outcome.engine.synced


DEPTH = 10


def deep_events(seed: int, count: int) -> list[Event]:
    """A venue with many levels that sends the best ten: of levels that are pushed out it says nothing."""
    rng = random.Random(seed)
    whole: tuple[Side, Side] = ({100 - 2 * place: 7 for place in range(20)}, {101 + 2 * place: 5 for place in range(20)})

    def best() -> tuple[Side, Side]:
        return dict(sorted(whole[0].items(), reverse=True)[:DEPTH]), dict(sorted(whole[1].items())[:DEPTH])

    before = best()
    events = [Event("snapshot", START_MS, *before, before, 1)]
    while len(events) < count:
        side = rng.randrange(2)
        tick = rng.randint(80, 100) if side == 0 else rng.randint(101, 120)
        if rng.random() < 0.5:
            whole[side].pop(tick, None)
        else:
            whole[side][tick] = rng.randint(1, 900)
        after = best()
        changes: tuple[Side, Side] = ({}, {})
        for number in (0, 1):
            changes[number].update({t: lots for t, lots in after[number].items() if before[number].get(t) != lots})
            changes[number].update({t: 0 for t in before[number] if t not in whole[number]})
        if changes != ({}, {}):
            events.append(Event("diff", START_MS + len(events), *changes, after, len(events) + 1))
        before = after
    return events


@pytest.mark.parametrize("sample_id", ["kraken-v1", "kraken-v2-frames", "okx", "bitget", "ftx", "bybit", "okx-chain"])
def test_depth_levels_that_are_pushed_out_are_dropped(sample_id: str) -> None:
    """The book is the venue's best levels behind each message: all checksums match."""
    events = deep_events(9, 200)
    settings = SETTINGS if sample_id == "kraken-v1" else replace(SETTINGS, depth=DEPTH)
    outcome = run(sample_id, events, settings)
    dropped = [row for row in outcome.rows["depth"] if row["kind"] == "dropped"]
    assert len(dropped) > 20
    assert {row["size"] for row in dropped} == {0}
    assert outcome.book == events[-1].book
    assert outcome.engine.synced
    checksums = outcome.engine.audit_statistics()["checksum"]
    assert checksums["failed"] == checksums["failed_unsynced"] == 0
    if LINES[sample_id][4] == "checksum":
        assert checksums["matched"] >= len(events) - 1


def test_depth_of_a_subscription() -> None:
    """Kraken v2 says it in the answer to the subscription."""
    events = deep_events(10, 100)
    venue, name, (content,) = files_of("kraken-v2-frames", events)
    answer = json.dumps({"method": "subscribe", "result": {"channel": "book", "depth": DEPTH, "symbol": name}, "success": True})
    framed_answer = framed(events[0], answer.encode())
    first, _, rest_of_it = content.partition(b"\n")
    outcome = go_through(venue, name, [b"\n".join([first, framed_answer, rest_of_it])])
    assert outcome.book == events[-1].book
    assert "dropped" in outcome.kinds()


@pytest.mark.parametrize("sample_id", [*LINES, *TABLES])
@pytest.mark.parametrize("kind", ["diff", "trade"])
@pytest.mark.parametrize("years", [30, -30])
def test_time_a_wild_one_spoils_no_book(sample_id: str, kind: str, years: int) -> None:
    """One record has a time far in the future, or in the past: the book goes on, and the clock comes back."""
    if (sample_id, kind) == ("bitstamp", "diff"):
        pytest.skip("the time is the id: tests/unit/venues/test_bitstamp.py")
    events = make_events(11, 100, (60, 30, 4, 4, 0))
    while events[-1].kind != "diff":
        events.pop()
    place = [place for place, event in enumerate(events) if event.kind == kind][10]
    wild = replace(events[place], time_ms=events[place].time_ms + years * 365 * 86_400_000)
    with_it = [*events[:place], wild, *events[place + 1 :]]
    expected, outcome = run(sample_id, events), run(sample_id, with_it)
    assert outcome.book == expected.book
    assert outcome.engine.synced == expected.engine.synced
    assert outcome.count("gaps") == 0
    if sample_id not in TABLES:  # their trades come behind the whole book
        assert outcome.count("newest") == expected.count("newest")
    if kind == "diff" or sample_id != "binance-csv":
        assert outcome.count("time_resets") == 1
    assert len(outcome.rows["depth"]) == len(expected.rows["depth"])
    assert len(outcome.rows["trades"]) == len(expected.rows["trades"])


def bybit_record(kind: str, number: int, time: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    """A record of a book."""
    data = {"s": "BTCUSDT", "b": list(bids), "a": list(asks), "u": number, "seq": number}
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": time, "data": data, "cts": time}


def kraken_futures_record(kind: str, number: int, time: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    """A record of a book: one level, or a snapshot."""
    record: dict[str, Any] = {"product_id": "BTCUSDT", "seq": number, "timestamp": time}
    if kind == "snapshot":
        sides = {name: [{"price": p, "qty": q} for p, q in levels] for name, levels in (("bids", bids), ("asks", asks))}
        return {"feed": "book_snapshot"} | record | sides
    ((price, size),) = bids or asks
    return {"feed": "book", "side": "buy" if bids else "sell", "price": price, "qty": size} | record


def chain_record(kind: str, number: int, time: int, bids: Any = (), asks: Any = (), before: int | None = None) -> dict[str, Any]:
    """A record of OKX."""
    book = {"bids": list(bids), "asks": list(asks), "ts": str(time), "checksum": 0, "seqId": number}
    book["prevSeqId"] = -1 if kind == "snapshot" else number - 1 if before is None else before
    action = "snapshot" if kind == "snapshot" else "update"
    return {"arg": {"channel": "books", "instId": "BTCUSDT"}, "action": action, "data": [book]}


NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("venue", "record"), [("bybit", bybit_record), ("kraken_futures", kraken_futures_record), ("okx", chain_record)]
)
@pytest.mark.parametrize("with_snapshot", [False, True])
def test_ids_that_begin_anew_at_venues_that_count(venue: str, record: Any, with_snapshot: bool) -> None:
    """A lower id with a later time is a gap of unknown size; the next snapshot brings sync back. What is late is stale."""
    is_text = venue != "kraken_futures"
    bid: Any = [["10.0", "1"] if is_text else [10.0, 1]]
    ask: Any = [["11.0", "1"] if is_text else [11.0, 1]]
    records = [
        record("snapshot", 1000, NOW, bid, ask),
        record("delta", 1001, NOW + 1, bid),
        record("delta", 1002, NOW + 2, asks=ask),
    ]
    late = record("delta", 1001, NOW + 1, bid)
    if venue == "okx":
        late = record("delta", 1002, NOW + 2, asks=ask)  # of a chain only the last one's repetition can be told
    records += [late, record("delta", 7, NOW + 60_000, bid), record("delta", 8, NOW + 60_001, asks=ask)]
    if with_snapshot:
        records += [record("snapshot", 9, NOW + 60_002, bid, ask), record("delta", 10, NOW + 60_003, bid)]
    outcome = go_through(venue, "BTCUSDT", [lines_of(*records)])
    assert [(row["received_id"], row["missing"]) for row in outcome.rows["gaps"]] == [(6 if venue == "okx" else 7, None)]
    assert outcome.count("stale") == 1
    assert outcome.engine.synced == with_snapshot
    assert outcome.engine.last_id == (10 if with_snapshot else 8)
    assert outcome.book == ({100: 100}, {110: 100})


def test_ids_an_okx_chain_that_steps_down_goes_on() -> None:
    """After maintenance `seqId` is below `prevSeqId` once; a keep-alive has the same id twice."""
    bid, ask = (["10.0", "1"],), (["11.0", "1"],)
    records = [
        chain_record("snapshot", 1000, NOW, bid, ask),
        chain_record("delta", 1000, NOW + 1, before=1000),
        chain_record("delta", 3, NOW + 2, bid, before=1000),
        chain_record("delta", 5, NOW + 3, ask, before=3),
    ]
    outcome = go_through("okx", "BTCUSDT", [lines_of(*records)])
    assert outcome.rows["gaps"] == []
    assert outcome.engine.synced
    assert outcome.engine.last_id == 5


def binance_diff(first: int, last: int, time: int, previous: int | None, bids: Any = (["9.0", "1"],)) -> dict[str, Any]:
    """Of futures if there is a previous id."""
    more = {} if previous is None else {"pu": previous, "T": time}
    return {"e": "depthUpdate", "E": time, "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": []} | more


@pytest.mark.parametrize("is_futures", [False, True])
@pytest.mark.parametrize("comes_first", [False, True])
def test_ids_that_begin_anew_at_binance(is_futures: bool, comes_first: bool) -> None:
    """Two diffs prove it; a snapshot that they join brings sync back, also one that came before them."""

    def diff(first: int, last: int, time: int, previous: int) -> dict[str, Any]:
        return binance_diff(first, last, time, previous if is_futures else None)

    bid, ask = (["10.0", "1"], ["9.9", "1"]), (["11.0", "1"], ["11.1", "1"])
    old = [rest(1000, bid, ask), diff(1001, 1002, NOW, 1000), diff(1003, 1004, NOW + 1, 1002), diff(1001, 1002, NOW, 1000)]
    new = [diff(8, 8, NOW + 60_000, 7), diff(9, 10, NOW + 60_001, 8)]
    one = rest(7, (["10.5", "3"], ["9.9", "1"]), ask)
    outcome = go_through("binance", "BTCUSDT", [lines_of(*old, *([one, *new] if comes_first else [*new, one]))])
    (gap,) = outcome.rows["gaps"]
    assert gap["missing"] is None
    assert outcome.count("stale") == 1
    assert outcome.engine.synced
    assert outcome.engine.last_id == 10
    assert outcome.book == ({105: 300, 99: 100, 90: 100}, {110: 100, 111: 100})
    kinds = outcome.kinds()
    assert kinds[-2:] == ["clear", "snapshot"]


CSV_HEAD = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu"


def csv_message(kind: str, number: int, previous: int, *levels: str) -> list[str]:
    """Rows of one message; a level is `b,10.0,1`."""
    rows = []
    for level in levels:
        side, price, size = level.split(",")
        first = number if kind == "snap" else number - 3
        rows.append(f"BTCUSDT,{NOW + number},{first},{number},{side},{kind},{price},{size},{previous}")
    return rows


def test_witnesses_in_tables_of_binance() -> None:
    """A snapshot in `binance_csv` judges a book that is synced; a wrong one ends sync, the next one brings it back."""
    book = ("b,10.0,1", "b,9.9,1", "a,11.0,1", "a,11.1,1")
    changed = ("b,10.0,2", "b,9.9,1", "a,11.0,1", "a,11.1,1")
    deeper = ("b,10.0,2", "b,9.9,1", "b,9.8,5", "a,11.0,1", "a,11.1,1", "a,11.2,5")
    wrong = ("b,10.0,7", "b,9.9,1", "a,11.0,1", "a,11.1,1")
    rows = [
        *csv_message("snap", 10, -1, *book),
        *csv_message("set", 20, 10, "b,10.0,2"),
        *csv_message("snap", 20, -1, *changed),  # matches
        *csv_message("set", 30, 20, "a,11.1,1"),
        *csv_message("snap", 20, -1, *deeper),  # is late, and shows more
        *csv_message("snap", 30, -1, *wrong),
        *csv_message("set", 40, 30, "b,10.0,2"),
        *csv_message("snap", 40, -1, *deeper),
        *csv_message("set", 50, 40, "b,9.8,0"),
    ]
    outcome = through_replay("binance_csv", ["\n".join([CSV_HEAD, *rows, ""]).encode()])
    audits = outcome.engine.audit_statistics()["snapshot"]
    assert (audits["matched"], audits["failed"]) == (2, 1)
    assert outcome.kinds() == ["clear", "snapshot", "change", "learned", "change", "clear", "snapshot", "change"]
    (audit,) = outcome.rows["audits"]
    assert (audit["expected"], audit["found"]) == ("bid 10.0 x 7.00", "bid 10.0 x 2.00")
    assert outcome.engine.synced
    assert outcome.book == ({100: 200, 99: 100}, {110: 100, 111: 100, 112: 500})


def test_markets_spot_and_futures_in_one_file() -> None:
    """The book is that of the first diff's market, or of the one that `channel` names."""
    bid, ask = (["10.0", "1"], ["9.9", "1"]), (["11.0", "1"], ["11.1", "1"])
    other = (["20.0", "1"], ["19.9", "1"]), (["21.0", "1"], ["21.1", "1"])
    records = [
        binance_diff(95, 100, NOW, None),
        binance_diff(900, 1000, NOW, 899, (["19.0", "1"],)),
        rest(100, bid, ask),
        rest(1000, *other, E=NOW + 1),
        binance_diff(101, 102, NOW + 2, None),
        binance_diff(1003, 1009, NOW + 2, 1000, (["19.0", "2"],)),
        rest(102, [*bid, ["9.0", "1"]], ask),
        rest(1009, [*other[0], ["19.0", "2"]], other[1], E=NOW + 3),
    ]
    for channel, last, best in (("", 102, 100), ("spot", 102, 100), ("futures", 1009, 200)):
        outcome = go_through("binance", "BTCUSDT", [lines_of(*records)], settings=replace(SETTINGS, channel=channel))
        assert outcome.engine.last_id == last
        assert outcome.engine.synced
        assert max(outcome.book[0]) == best
        assert outcome.rows["gaps"] == []
        audits = outcome.engine.audit_statistics()["snapshot"]
        assert (audits["matched"], audits["failed"]) == (1, 0)
        assert outcome.count("unused") == 4


def wrapped(stream: str, record: dict[str, Any]) -> dict[str, Any]:
    """In a combined stream."""
    return {"stream": f"btcusdt@{stream}", "data": record}


def test_speeds_two_side_by_side_are_one_book() -> None:
    """Diffs of the slower speed are stale or unused; sync stays."""
    records: list[Any] = [wrapped("depth@100ms", binance_diff(1, 1, NOW, None)), rest(1, (["10.0", "1"],), (["11.0", "1"],))]
    for number in range(2, 60):
        records.append(wrapped("depth@100ms", binance_diff(number, number, NOW + number, None, [["9.0", str(number)]])))
        if number % 5 == 0:
            slow = binance_diff(number - 3, number + 1, NOW + number, None, [["9.0", str(number + 1)]])
            records.append(wrapped("depth", slow))
    outcome = go_through("binance", "BTCUSDT", [lines_of(*records)])
    assert outcome.rows["gaps"] == []
    assert outcome.engine.synced
    assert outcome.book == ({100: 100, 90: 5900}, {110: 100})


def test_speeds_the_setting_chooses_one() -> None:
    """Diffs of the other speed are unused, whether they would join or not."""
    records: list[Any] = [rest(1, (["10.0", "1"],), (["11.0", "1"],), E=NOW)]
    for number in range(2, 60):
        records.append(wrapped("depth@100ms", binance_diff(number, number, NOW + number, None, [["9.0", str(number)]])))
        if number % 5 == 1:
            slow = binance_diff(number - 4, number, NOW + number, None, [["8.0", str(number)]])
            records.append(wrapped("depth", slow))
    for channel, unused, prices in (("depth@100ms", 11, [100, 90]), ("depth", 58, [100, 80])):
        outcome = go_through("binance", "BTCUSDT", [lines_of(*records)], settings=replace(SETTINGS, channel=channel))
        assert (outcome.rows["gaps"], outcome.engine.synced, outcome.count("unused")) == ([], True, unused)
        assert list(outcome.book[0]) == prices


def test_speeds_a_recorder_changes_its_own() -> None:
    """The other speed's diffs are unused until a snapshot joins them: then they are the book's."""
    fast = [wrapped("depth@100ms", binance_diff(n, n, NOW + n, None)) for n in range(1, 20)]
    slow = [wrapped("depth", binance_diff(n, n + 9, NOW + n, None, [["9.0", str(n)]])) for n in range(100, 200, 10)]
    answer = rest(155, (["10.0", "2"],), (["11.0", "2"],))
    for place in (3, 6, 9):
        lines = lines_of(*fast, rest(19, (["10.0", "1"],), (["11.0", "1"],)), *slow[:place], answer, *slow[place:])
        outcome = go_through("binance", "BTCUSDT", [lines])
        assert outcome.engine.last_id == 199
        assert outcome.book == ({100: 200, 90: 19000}, {110: 200})
        assert outcome.engine.synced


def test_symbols_unlabelled_answers_of_several() -> None:
    """An answer without a symbol counts once a diff of the symbol joins it, others are foreign."""
    bid, ask = (["10.0", "1"], ["9.9", "1"]), (["11.0", "1"], ["11.1", "1"])
    ether = binance_diff(5000, 5001, NOW, None) | {"s": "ETHUSDT"}
    records = [
        ether,
        rest(5000, (["3.0", "1"],), (["4.0", "1"],)),
        rest(104, bid, ask),
        rest(50, (["5.0", "1"],), (["6.0", "1"],)),
        binance_diff(101, 103, NOW, None),
        binance_diff(104, 106, NOW, None),
        rest(106, [*bid, ["9.0", "1"]], ask),
        ether,
        binance_diff(107, 108, NOW, None),
    ]
    outcome = go_through("binance", "BTCUSDT", [lines_of(*records)])
    assert outcome.engine.synced
    assert outcome.engine.last_id == 108
    assert outcome.book == ({100: 100, 99: 100, 90: 100}, {110: 100, 111: 100})
    assert outcome.count("foreign_snapshots") == 1
    assert outcome.engine.audit_statistics()["snapshot"]["matched"] == 1
    assert outcome.kinds() == ["change", "clear", "snapshot", "change"]


@pytest.mark.parametrize("is_futures", [False, True])
@pytest.mark.parametrize("label", ["", "btcusdt@depth20"])
@pytest.mark.parametrize("ahead", [10**9, 1_500])
def test_snapshots_that_no_diff_reaches_end(*, is_futures: bool, label: str, ahead: int) -> None:
    """The 1,000th diff that is stale against it goes on without it. One that was only far ahead comes back with its diff."""

    def diff(number: int) -> dict[str, Any]:
        data = spot_diff(number, number, [["9.0", f"{number}.0"]], time=1_700_000_000_000)
        return data | ({"pu": number - 1} if is_futures else {})

    snapshot = rest(ahead, [["8.0", "1"]], [["11.0", "1"]], E=1_700_000_000_000)
    first = {"stream": label, "data": snapshot} if label else snapshot
    seen = []
    for count in (999, 1_000, 1_501):
        records = [first, *(diff(number) for number in range(1, count + 1))]
        outcome = go_through("binance", "BTCUSDT", [lines_of(*records)])
        seen.append((outcome.count("stale"), outcome.count("gaps"), outcome.engine.synced))
    assert seen[:2] == [(999, 0, True), (999, 1, False)]
    assert seen[2] == (999, 1, ahead == 1_500)
    gap = outcome.rows["gaps"][0]
    assert (gap["expected_id"], gap["missing"]) == (ahead if is_futures else ahead + 1, None)
    assert outcome.book[0].get(90) == 150_100


def test_snapshots_that_no_diff_reaches_give_way_to_one_that_waits() -> None:
    """A right answer that came while the book stood on a wrong id takes its place at once: nothing is lost but the gap's row."""
    wrong, right = rest(10**9, [["8.0", "1"]], [["11.0", "1"]], E=1_700_000_000_000), rest(500, [["8.5", "1"]], [["11.0", "1"]])
    diffs = [spot_diff(number, number, [["9.0", str(number)]]) for number in range(1, 1_001)]
    outcome = go_through("binance", "BTCUSDT", [lines_of(wrong, *diffs[:600], right, *diffs[600:])])
    assert (outcome.count("stale"), outcome.count("gaps"), outcome.engine.synced) == (999, 1, True)
    assert outcome.book == ({85: 100, 90: 100_000}, {110: 100})


def test_snapshots_that_no_diff_reaches_end_without_a_time_too() -> None:
    """The 1,000th stale diff gives it a time; as many later it ends, and the book goes on."""
    wrong = rest(10**9, [["8.0", "1"]], [["11.0", "1"]])
    seen = []
    for count in (999, 1_000, 1_998, 1_999):
        diffs = [spot_diff(number, number, [["9.0", str(number)]]) for number in range(1, count + 1)]
        outcome = go_through("binance", "BTCUSDT", [lines_of(wrong, *diffs)])
        seen.append((outcome.count("stale"), outcome.count("snapshots"), outcome.count("gaps")))
    assert seen == [(999, 0, 0), (1_000, 1, 0), (1_998, 1, 0), (1_998, 1, 1)]
