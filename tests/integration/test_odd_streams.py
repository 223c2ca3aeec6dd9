"""What captures have beside the plain stream of one book: other books of the symbol, restarts, repeated numbers, odd rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import Rejected
from cowbook.venues import load_venue
from support.harness import Reconstruction, Run, fixed, reconstruct

CRYPTOLAKE = Run("X", "AB", "cryptolake", price_decimals=2, size_decimals=2)
LONG = b"9" * 5000
NAMES = {"kraken": "A/B", "bitfinex": "tAB"}


def run(tmp_path: Path, venue: str, records: Sequence[Any], **changes: Any) -> Reconstruction:
    """Reconstruct JSON values, or lines, a second apart."""
    lines = [
        record if isinstance(record, bytes) else b"%d: %b" % (1_700_000_000 + second, json.dumps(record).encode())
        for second, record in enumerate(records)
    ]
    changes = {"price_decimals": 2, "size_decimals": 2} | changes
    return reconstruct(tmp_path, {"a": b"\n".join([*lines, b""])}, Run("X", NAMES.get(venue, "AB"), venue, **changes))


def best(result: Reconstruction) -> tuple[int, int]:
    """Best prices at the end, and nothing crossed on the way."""
    assert result.summary.crossed == 0
    row = result.rows("bbo")[-1]
    return row["bid_price"], row["ask_price"]


def bybit(number: int, bids: list[list[str]], asks: list[list[str]], depth: int = 50, kind: str = "delta") -> Any:
    """A record of a depth's channel."""
    data = {"s": "AB", "b": bids, "a": asks, "u": number, "seq": number}
    return {"topic": f"orderbook.{depth}.AB", "type": kind, "ts": 1_700_000_000_000 + number, "data": data}


BYBIT_BOOK = bybit(100, [["10", "1"], ["9", "1"]], [["11", "1"], ["12", "1"]], kind="snapshot")


def test_the_last_snapshots_depth_of_bybit_is_the_book(tmp_path: Path) -> None:
    """Depth 1 has no changes, and is no book beside another one; of two others the book is the last snapshot's."""
    best_prices = bybit(5000, [["10", "3"]], [["11", "3"]], depth=1, kind="snapshot")
    result = run(tmp_path / "1", "bybit", [BYBIT_BOOK, best_prices, bybit(101, [["10", "0"]], [])])
    assert (best(result), result.summary.stale, result.summary.unused) == ((900, 1100), 0, 1)
    deeper = bybit(7, [["8", "1"]], [["13", "1"]], depth=200, kind="snapshot")
    changes = [bybit(101, [["10", "0"]], []), bybit(8, [["8.5", "1"]], [], depth=200)]
    result = run(tmp_path / "200", "bybit", [BYBIT_BOOK, deeper, *changes])
    assert (best(result), result.summary.gaps, result.summary.unused, result.summary.synced) == ((850, 1300), 0, 1, True)


def test_each_channel_of_okx_is_a_book_of_its_own(tmp_path: Path) -> None:
    """Each is a chain and a book of its own."""

    def book(channel: str, action: str, number: int, before: int, bids: list[list[str]]) -> Any:
        data = {"bids": bids, "asks": [["20", "1", "0", "1"]], "ts": str(1_700_000_000_000 + number), "checksum": 0}
        argument = {"channel": channel, "instId": "AB"}
        return {"arg": argument, "action": action, "data": [data | {"seqId": number, "prevSeqId": before}]}

    records = [
        book("books50-l2-tbt", "snapshot", 1, -1, [["9", "1", "0", "1"]]),
        book("books", "snapshot", 5, -1, [["9", "1", "0", "1"], ["8", "1", "0", "1"]]),
        book("books50-l2-tbt", "update", 2, 1, [["8", "0", "0", "0"]]),
        book("books", "update", 6, 5, [["9", "0", "0", "0"]]),
    ]
    result = run(tmp_path, "okx", records)
    assert (best(result), result.summary.gaps, result.summary.unused) == ((800, 2000), 0, 1)


def okx_picture(number: int, bids: list[str], asks: list[str], channel: str = "books5") -> Any:
    """A record of the best levels; sizes are 1."""
    sides = {name: [[price, "1", "0", "1"] for price in prices] for name, prices in (("bids", bids), ("asks", asks))}
    data = sides | {"instId": "AB", "ts": str(1_700_000_000_000 + number), "seqId": number}
    return {"arg": {"channel": channel, "instId": "AB"}, "data": [data]}


def bitget_picture(number: int, bids: list[str], asks: list[str], channel: str = "books5") -> Any:
    """Without ids, and with a checksum of more than it shows."""
    sides = {name: [[price, "1"] for price in prices] for name, prices in (("bids", bids), ("asks", asks))}
    data = sides | {"checksum": 5, "ts": str(1_700_000_000_000 + number)}
    return {"action": "snapshot", "arg": {"instType": "sp", "channel": channel, "instId": "AB"}, "data": [data]}


def bybit_picture(number: int, bids: list[str], asks: list[str]) -> Any:
    """The best prices alone."""
    return bybit(number, [[price, "1"] for price in bids[:1]], [[price, "1"] for price in asks[:1]], 1, "snapshot")


@pytest.mark.parametrize(
    ("venue", "write"),
    [
        pytest.param("okx", okx_picture, id="okx"),
        pytest.param("bitget", bitget_picture, id="bitget"),
        pytest.param("bybit", bybit_picture, id="bybit"),
    ],
)
def test_pictures_alone_make_a_book_that_is_known_as_far_as_they_go(tmp_path: Path, venue: str, write: Any) -> None:
    """The first one is a snapshot, the others are changes; what leaves the picture leaves the book."""
    pictures = [
        (["10", "9", "8"], ["11", "12", "13"]),
        (["10", "9", "8"], ["11", "12", "13"]),
        (["9", "8", "7"], ["10", "11", "12"]),
        (["10.5", "9"], ["11"]),
    ]
    records = [write(number, *sides) for number, sides in enumerate(pictures, start=1)]
    result = run(tmp_path / "whole", venue, records)
    depth = 1 if venue == "bybit" else 5
    shown = [
        {side: {fixed(price, 2) for price in prices[:depth]} for side, prices in (("bid", bids), ("ask", asks))}
        for bids, asks in pictures
    ]
    book: dict[str, set[int]] = {"bid": set(), "ask": set()}
    seen = []
    for row in result.rows("depth"):
        assert row["synced"]
        if row["kind"] == "clear":
            book[row["side"]].clear()
        elif row["size"]:
            book[row["side"]].add(row["price"])
        else:
            book[row["side"]].remove(row["price"])
        if row["is_last"]:
            seen.append({side: set(prices) for side, prices in book.items()})
    assert seen == [shown[0], *shown[2:]]
    kinds = [row["kind"] for row in result.rows("depth")]
    assert kinds[:2] == ["clear"] * 2
    assert kinds.count("clear") == 2
    assert set(kinds[2 + 2 * len(shown[0]["bid"]) :]) == {"change"}
    assert (result.summary.messages, result.summary.synced, result.summary.crossed) == (4, True, 0)
    row = result.rows("bbo")[-1]
    assert (row["bid_price"], row["bid_known"], row["ask_known"]) == (1050, True, True)
    broken = run(tmp_path / "broken", venue, [*records[:2], b"nonsense", *records[2:]])
    assert [row["synced"] for row in broken.rows("bbo")] == [True, True, True]
    assert broken.summary.synced


def test_pictures_never_mix_with_the_book_of_another_channel(tmp_path: Path) -> None:
    """Before its snapshot they are the book; then those with its id judge it, to their range, and all others are unused."""

    def book(action: str, number: int, before: int, bids: list[str]) -> Any:
        data: dict[str, Any] = {"bids": [[price, "1", "0", "1"] for price in bids], "asks": [["20", "1", "0", "1"]]}
        data |= {"ts": str(1_700_000_000_000 + number), "checksum": 0, "seqId": number, "prevSeqId": before}
        return {"arg": {"channel": "books", "instId": "AB"}, "action": action, "data": [data]}

    records = [
        okx_picture(3, ["9", "8"], ["20"]),
        book("update", 4, 3, ["9.5"]),  # of a book that is not there yet
        okx_picture(4, ["9.5", "9"], ["20"]),
        book("snapshot", 5, -1, ["9.5", "9", "8", "7"]),
        okx_picture(5, ["9.5", "9"], ["20"]),
        okx_picture(6, ["9.75", "9.5"], ["20"]),  # ahead
        book("update", 6, 5, ["9.75"]),
        okx_picture(6, ["9.75", "9.5"], ["20"]),
    ]
    result = run(tmp_path / "agree", "okx", records)
    assert (result.summary.unused, result.summary.gaps, result.summary.synced) == (2, 0, True)
    assert result.summary.audits["snapshot"]["matched"] == 2
    assert result.rows("drift")[-1]["levels_compared"] == 3
    assert best(result) == (975, 2000)
    result = run(tmp_path / "differ", "okx", [*records, okx_picture(6, ["9.75", "9"], ["20"])])
    assert (result.summary.audits["snapshot"]["failed"], result.summary.synced) == (1, False)
    alone = EngineSettings(channel="books5", max_book_bytes=1 << 22)
    result = run(tmp_path / "chosen", "okx", records, engine=alone)
    assert (result.summary.unused, result.summary.synced, best(result)) == (3, True, (975, 2000))
    assert all(row["bid_known"] for row in result.rows("bbo"))


def test_the_setting_chooses_one_of_several_books(tmp_path: Path) -> None:
    """Snapshots and changes of the others are unused, and a warning names both with the setting."""
    shallow = bybit(7, [["8", "1"]], [["13", "1"]], depth=50, kind="snapshot")
    deep = bybit(100, [["10", "1"], ["9", "1"]], [["11", "1"]], depth=200, kind="snapshot")
    changes = [bybit(8, [["8.5", "1"]], []), bybit(101, [["10", "0"]], [], depth=200)]
    prices = {"orderbook.50": (850, 1300), "orderbook.200": (900, 1100)}
    for records in ([shallow, deep, *changes], [*changes[:1], deep, shallow, *changes]):
        for channel, expected in prices.items():
            chosen = EngineSettings(channel=channel, max_book_bytes=1 << 22)
            result = run(tmp_path / f"{channel} {len(records)}", "bybit", records, engine=chosen)
            assert (best(result), result.summary.synced) == (expected, True)
            assert result.summary.unused == (2 if channel == "orderbook.50" else len(records) - 2)
            (other,) = prices.keys() - {channel}
            (warning,) = [text for text in result.summary.warnings if "several books" in text]
            assert f'channel = "{other}" would take that one' in warning


def test_channels_of_bitfinex_are_told_apart_by_number(tmp_path: Path) -> None:
    """Channels of one symbol, told apart by their numbers."""
    subscribed = [
        {"event": "subscribed", "channel": "book", "chanId": number, "symbol": "tAB", "prec": precision}
        for number, precision in ((3, "P3"), (4, "P0"))
    ]
    books = [[3, [[10, 1, 5], [12, 1, -5]]], [4, [[10.25, 1, 5], [11.5, 1, -5]]], [3, [12, 0, -1]], [4, [10.5, 1, 2]]]
    result = run(tmp_path, "bitfinex", [*subscribed, *books])
    assert best(result) == (1050, 1150)


def test_a_counter_that_begins_anew_is_a_gap(tmp_path: Path) -> None:
    """A lower number with a later time is a gap; an old record that comes again is stale."""
    changes = [bybit(101, [["10", "2"]], []), bybit(101, [["10", "2"]], [])]
    later = [{**bybit(number, [[str(number), "1"]], []), "ts": 1_700_000_100_000 + number} for number in (2, 3)]
    result = run(tmp_path, "bybit", [BYBIT_BOOK, *changes, *later])
    assert (result.summary.stale, result.summary.gaps, result.summary.missing_updates) == (1, 1, 0)
    assert not result.summary.synced
    assert [(row["expected_id"], row["received_id"], row["missing"]) for row in result.rows("gaps")] == [(102, 2, None)]
    assert [row["update_id"] for row in result.rows("depth")][-2:] == [2, 3]


def test_a_gap_in_a_chain_has_no_size(tmp_path: Path) -> None:
    """Between the ids of a chain there may be anything."""

    def book(number: int, before: int | None, kind: str = "change") -> Any:
        data = {"type": kind, "timestamp": 1_700_000_000_000 + number, "instrument_name": "AB", "change_id": number}
        data |= {"bids": [["new", 10, number]], "asks": []} | ({} if before is None else {"prev_change_id": before})
        return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "book.AB.raw", "data": data}}

    result = run(tmp_path, "deribit", [book(5, None, "snapshot"), book(7, 5), book(9000, 8000)])
    assert (result.summary.gaps, result.summary.missing_updates) == (1, 0)
    assert result.rows("gaps")[0]["missing"] is None


@pytest.mark.parametrize(("action", "amount", "size"), [("delete", 5, None), ("change", 5, 500), ("bogus", 5, 100)])
def test_a_deleted_level_of_deribit_goes_at_any_amount(tmp_path: Path, action: str, amount: int, size: int | None) -> None:
    """A deleted level goes whatever its amount is; an unknown action is a dead letter."""
    records = []
    for number, (kind, level) in enumerate((("snapshot", ["new", 10, 1]), ("change", [action, 10, amount]))):
        data = {"type": kind, "timestamp": 1_700_000_000_000 + number, "instrument_name": "AB", "change_id": number + 1}
        data |= {"bids": [level, ["new", 9, 1]], "asks": [["new", 11, 1]]} | ({"prev_change_id": number} if number else {})
        records.append({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "book.AB.raw", "data": data}})
    result = run(tmp_path, "deribit", records)
    row = result.rows("bbo")[-1]
    assert (row["bid_price"], row["bid_size"]) == ((900, 100) if size is None else (1000, size))
    assert sum(result.summary.dead_letters.values()) == (action == "bogus")


@pytest.mark.parametrize("wrapped", ["btcusdt@depth5@100ms", "btcusdt@depth20"])
def test_a_partial_book_of_binance_futures_is_no_diff(tmp_path: Path, wrapped: str) -> None:
    """They look like diffs, and are the best levels as they are: neither a gap, nor in the way of the diffs."""

    def diff(stream: str, number: int, bids: list[list[str]], asks: list[list[str]]) -> Any:
        data = {"e": "depthUpdate", "E": 1_700_000_000_000 + number, "T": 1_700_000_000_000 + number, "s": "AB"}
        return {"stream": stream, "data": data | {"U": number, "u": number, "pu": number - 1, "b": bids, "a": asks}}

    snapshot = {"lastUpdateId": 5, "E": 1_700_000_000_000, "T": 1, "bids": [["10", "1"]], "asks": [["11", "1"]]}
    records = [snapshot, diff("ab@depth@100ms", 6, [["9", "1"]], [])]
    records += [diff(wrapped, 7, [["10", "1"]], [["11", "1"]]), diff("ab@depth@100ms", 7, [["9", "0"]], [])]
    lines = [json.dumps(record, separators=(",", ":")).encode() for record in records]
    result = run(tmp_path, "binance", lines)
    assert (best(result), result.summary.gaps, result.summary.unused) == ((1000, 1100), 0, 0)


def test_another_local_time_is_another_snapshot_of_tardis(tmp_path: Path) -> None:
    """Rows with another local time are another snapshot."""
    lines = [b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"]
    for time, bid, ask in ((1_700_000_000_000_000, 10, 11), (1_700_000_100_000_000, 8, 9)):
        for place, (side, price) in enumerate((("bid", bid), ("ask", ask))):
            lines.append(b"x,AB,%d,%d,true,%b,%d,1" % (time + place, time, side.encode(), price))
    result = run(tmp_path / "lf", "tardis", lines)
    assert (best(result), [row["bid_price"] for row in result.rows("bbo")]) == ((800, 900), [1000, 800])
    content = b"\r\n".join(lines) + b"\r"  # cut between the last two bytes
    cut = reconstruct(tmp_path / "cr", {"a": content}, Run("X", "AB", "tardis", price_decimals=2, size_decimals=2))
    assert cut.parts == result.parts


def test_a_rejected_trade_of_tardis_keeps_sync(tmp_path: Path) -> None:
    """A trade that is none of ours says nothing of the book."""
    book = [b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"]
    book += [b"x,AB,1700000000000000,1700000000000000,true,bid,10,1", b""]
    trades = [b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount"]
    trades += [b"x,AB,1700000000000001,1700000000000001,1,%b,10,1" % side for side in (b"bid", b"buy")]
    files = {"1": b"\n".join(book), "2": b"\n".join([*trades, b""])}
    result = reconstruct(tmp_path, files, Run("X", "AB", "tardis", price_decimals=2, size_decimals=2))
    assert (result.summary.synced, result.summary.dead_letters["malformed"], len(result.rows("trades"))) == (True, 1, 1)


def test_a_dead_letter_ends_sync_where_nothing_shows_the_loss(tmp_path: Path) -> None:
    """A checksum sees the best levels only; ids and numbers of a connection show every record."""
    subscribed = {"event": "subscribed", "channel": "book", "chanId": 3, "symbol": "tAB", "prec": "P0"}
    snapshot = [3, [[10, 1, 5], [12, 1, -5]]]
    assert not run(tmp_path / "bitfinex", "bitfinex", [subscribed, snapshot, b"[3,[10,0"]).summary.synced
    numbered = [subscribed, [*snapshot, 2], b"[3,[10,0"]
    result = run(tmp_path / "numbered", "bitfinex", numbered)
    assert result.summary.synced
    assert not run(tmp_path / "then", "bitfinex", [*numbered, [3, [10, 2, 4], 4]]).summary.synced
    book = [0, {"as": [["11", "1", "1700000000.5"]], "bs": [["10", "1", "1700000000.5"]]}, "book-10", "A/B"]
    assert not run(tmp_path / "kraken", "kraken", [book, b"[0,{"]).summary.synced
    assert run(tmp_path / "bybit", "bybit", [BYBIT_BOOK, b"{"]).summary.synced


def test_a_repeated_first_number_is_another_connection(tmp_path: Path) -> None:
    """The first number again is another connection's."""

    def record(number: int, kind: str, bid: str, ask: str) -> Any:
        updates = [{"side": side, "price_level": price, "new_quantity": "1"} for side, price in (("bid", bid), ("offer", ask))]
        event = {"type": kind, "product_id": "AB", "updates": updates}
        time = f"2023-11-14T22:13:2{number}Z"
        return {"channel": "l2_data", "timestamp": time, "sequence_num": number, "events": [event]}

    records = [record(0, "snapshot", "10", "11"), record(0, "snapshot", "20", "21"), record(1, "update", "20.5", "22")]
    result = run(tmp_path, "coinbase_advanced", records)
    assert (best(result), result.summary.stale, result.summary.gaps) == ((2050, 2100), 0, 0)


def test_a_gap_of_a_connection_comes_after_the_grid_row_and_the_cut(tmp_path: Path) -> None:
    """The grid row says what was before the message that shows the gap, and the cut comes before the gap's row."""

    def record(number: int, second: int, hour: int = 20) -> Any:
        updates = [{"side": "bid", "price_level": "10", "new_quantity": str(number + 1)}]
        event = {"type": "update" if number else "snapshot", "product_id": "AB", "updates": updates}
        time = f"2023-11-14T{hour}:32:{second:02}Z"
        return {"channel": "l2_data", "timestamp": time, "sequence_num": number, "events": [event]}

    result = run(tmp_path, "coinbase_advanced", [record(0, 1), record(1, 2), record(3, 10, hour=21)])
    assert all(row["synced"] for row in result.rows("book"))
    (row,) = result.rows("gaps")
    (name,) = (name for name in result.parts if name.startswith("gaps/"))
    (book,) = (name for name in result.parts if name.startswith("depth/") and "part-0000000000000004" in name)
    assert (row["event_index"], name.rpartition("/")[2]) == (4, book.rpartition("/")[2])


def test_checksums_use_the_most_decimals_seen(tmp_path: Path) -> None:
    """More decimals than the setting has, and a snapshot that is written with fewer than what came before."""
    from zlib import crc32

    def book(time: str, bid: str, ask: str) -> Any:
        digits = "".join(part.replace(".", "").lstrip("0") for part in (ask, "1.0", bid, "1.0"))
        return [0, {"a": [[ask, "1.0", time]]}, {"b": [[bid, "1.0", time]], "c": str(crc32(digits.encode()))}, "book-10", "A/B"]

    def snapshot(time: str, bid: str, ask: str) -> Any:
        return [0, {"as": [[ask, "1.0", time]], "bs": [[bid, "1.0", time]]}, "book-10", "A/B"]

    records = [snapshot("1.5", "10.00", "11.00"), book("1.6", "10.00", "11.00")]
    records += [snapshot("1.7", "10.0", "11.0"), book("1.8", "10.0", "11.0")]
    result = run(tmp_path, "kraken", records, price_decimals=1)
    assert (result.summary.audits["checksum"]["matched"], result.summary.audits["checksum"]["failed"]) == (2, 0)


def test_a_snapshot_that_waits_keeps_its_checksum(tmp_path: Path) -> None:
    """A wrong one fails when the snapshot gets its time."""
    data = {"symbol": "A/B", "bids": [{"price": 10, "qty": 1}], "asks": [{"price": 11, "qty": 1}], "checksum": 7}
    trade = {"symbol": "A/B", "side": "buy", "price": 10, "qty": 1, "trade_id": 1, "timestamp": "2023-11-14T22:13:20Z"}
    records = [
        json.dumps({"channel": "book", "type": "snapshot", "data": [data]}).encode(),
        json.dumps({"channel": "trade", "type": "update", "data": [trade]}).encode(),
    ]
    result = run(tmp_path, "kraken", records)
    assert (result.summary.audits["checksum"]["failed"], result.summary.synced) == (1, False)


@pytest.mark.parametrize(
    ("venue", "record"),
    [
        ("kraken", b'1618678142.5: [993,[],"trade","A/B"]'),
        ("okx", b'{"arg":{"channel":"trades","instId":"AB"},"data":[{"tradeId":"%b","px":"1","sz":"1","side":"buy","ts":"1"}]}'
            % LONG),
        ("binance", b'https://[x -> 1700000000.5: {"lastUpdateId":1,"bids":[],"asks":[]}'),
    ],
)  # fmt: skip
def test_odd_values_are_not_rejected(venue: str, record: bytes) -> None:
    """Whatever a record says, there is an answer."""
    decode_record = load_venue(venue).decode_record
    assert decode_record is not None
    assert not isinstance(decode_record(record, DecoderSettings(NAMES.get(venue, "AB"), 2, 2, 1 << 20)), Rejected)


def test_trade_ids_may_be_long_or_text(tmp_path: Path) -> None:
    """Bybit's have nineteen digits, Crypto Lake's may be text."""
    trades = [
        {"T": 1_700_000_000_000, "s": "AB", "S": "Buy", "v": "1", "p": "10", "i": number}
        for number in ("2290000000061666327", "x7")
    ]
    record = {"topic": "publicTrade.AB", "type": "snapshot", "ts": 1_700_000_000_001, "data": trades}
    assert [row["trade_id"] for row in run(tmp_path / "bybit", "bybit", [record]).rows("trades")] == [2290000000061666327, None]
    ids = ["100", "x", "", "123456789012345678"]
    columns = {
        "side": ["buy"] * 4,
        "quantity": [1.0] * 4,
        "price": [10.25] * 4,
        "trade_id": ids,
        "origin_time": [1_700_000_000_000_000_000] * 4,
    }
    table = pa.table(columns | {"received_time": columns["origin_time"]})
    for name, prices in (("fast", [10.25] * 4), ("slow", ["10.25"] * 4)):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table.set_column(2, "price", pa.array(prices)), path)
        result = reconstruct(
            tmp_path / name, {"a": path.read_bytes()}, Run("X", "AB", "cryptolake", price_decimals=2, size_decimals=2)
        )
        assert [row["trade_id"] for row in result.rows("trades")] == [100, None, None, 123456789012345678]


def parquet(tmp_path: Path, **columns: Any) -> dict[str, bytes]:
    """A table of changes with other columns."""
    times = pa.array([1_700_000_000_000_000_000] * 3, pa.timestamp("ns"))
    table = pa.table(
        {"origin_time": times, "received_time": times, "sequence_number": [1, 2, 3], "side_is_bid": [True, True, False]}
        | {"price": [1.0, 2.0, 3.0], "size": [1.0, 1.0, 1.0]} | columns
    )  # fmt: skip
    path = tmp_path / "table.parquet"
    pq.write_table(table, path)
    return {"a": path.read_bytes()}


def test_odd_columns_of_parquet_are_read_or_rejected(tmp_path: Path) -> None:
    """Sides that are none, times that do not fit, columns without a name or of bytes that are no text."""
    files = parquet(tmp_path, side_is_bid=pa.array(["true", None, ""]))
    assert reconstruct(tmp_path / "text", files, CRYPTOLAKE).summary.dead_letters["malformed"] == 2
    files = parquet(tmp_path, side_is_bid=pa.array([1.0, 0.0, 0.0]))
    assert reconstruct(tmp_path / "float", files, CRYPTOLAKE).summary.dead_letters["malformed"] == 3
    files = parquet(tmp_path, origin_time=pa.array([1_700_000_000, 20_000_000_000, 1_700_000_001], pa.timestamp("s")))
    rows = reconstruct(tmp_path / "times", files, CRYPTOLAKE).rows("depth")
    assert [row["ts_event"] // 10**9 for row in rows] == [1_700_000_000, 1_700_000_000, 1_700_000_001]
    assert reconstruct(tmp_path / "nameless", parquet(tmp_path, **{"": [1, 2, 3]}), CRYPTOLAKE).summary.events == 3
    offsets, content = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe\xfd")
    result = reconstruct(
        tmp_path / "bytes", parquet(tmp_path, note=pa.Array.from_buffers(pa.string(), 3, [None, offsets, content])), CRYPTOLAKE
    )
    assert (result.summary.state, result.summary.events) == ("done", 3)  # nobody reads that column
