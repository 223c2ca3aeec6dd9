"""Tables of pictures, and Binance's archive, as messages: against a naive reading of the same lines."""

from __future__ import annotations

import csv
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook import replay
from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import (
    DEAD_LETTER,
    IS_AGGREGATE,
    IS_PICTURE,
    NONE,
    OTHER_SYMBOL,
    SELL_AGGRESSOR,
    SNAPSHOT,
    TRADE,
    EventBatch,
)
from cowbook.venues.decoders import make_decoder

Message = tuple[int, int, int, int, int, list[tuple[int, int]], list[tuple[int, int]]]
"""Kind, flags, times and id, bids, asks."""


def decode(content: bytes, format_name: str, sizes: list[int], name: str = "AB") -> list[Message]:
    """The messages of a file that is handed out in blocks; after each, another decoder goes on with the state of the last."""
    settings = DecoderSettings(name, 2, 3, 1 << 20)
    decoder = make_decoder(format_name, settings)
    batch = EventBatch.allocate(64, 512)
    found: list[Message] = []
    start = end = turn = 0
    final = False
    while not final:
        count = min(sizes[turn % len(sizes)], len(content) - end)
        turn += 1
        final = count == 0
        end += count
        buffer = np.zeros(end - start + PADDING, np.uint8)
        buffer[: end - start] = np.frombuffer(content[start:end], np.uint8)
        block = Block(buffer, 0, end - start, "f", start, final, content[: min(end, 1024)])
        while True:
            full = decoder.decode(block, batch)
            found += of_batch(batch)
            state = decoder.connection_after(batch.message_count)
            batch.clear()
            start = block.offset_of(block.start)
            if not full:
                break
        decoder = make_decoder(format_name, settings)
        decoder.restore_connection(state)
    return found


def of_batch(batch: EventBatch) -> list[Message]:
    """What a batch holds."""
    found: list[Message] = []
    for message in batch.messages[: batch.message_count]:
        sides: list[list[tuple[int, int]]] = []
        for side in ("bid", "ask"):
            place = slice(int(message[f"{side}_start"]), int(message[f"{side}_start"] + message[f"{side}_count"]))
            sides.append(list(zip(batch.prices[place].tolist(), batch.sizes[place].tolist(), strict=True)))
        kind = int(message["kind"])
        if kind in (DEAD_LETTER, OTHER_SYMBOL):
            found.append((kind, 0, 0, 0, 0, [], []))
            continue
        flags, ts_event, ts_recv, last_id = (int(message[field]) for field in ("flags", "ts_event", "ts_recv", "last_id"))
        found.append((kind, flags, ts_event, ts_recv, last_id, sides[0], sides[1]))
    return found


def fixed(text: str, decimals: int) -> int:
    """A numeral as fixed-point."""
    return int(Decimal(text).scaleb(decimals))


def pictures(seed: int, levels: int, count: int) -> list[dict[str, str]]:
    """Rows of a table of pictures by column, some with levels that are not there, and some of another symbol."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        time = 1_700_000_000_000_000 + 1000 * number
        row = {
            "exchange": "x",
            "symbol": rng.choice(["AB"] * 9 + ["CD"]),
            "timestamp": str(time),
            "local_timestamp": str(time + 7),
        }
        for side in ("asks", "bids"):
            there = rng.choice([levels, levels, rng.randint(0, levels)])
            for level in range(levels):
                price, size = f"{rng.randint(1, 99999) / 100:.2f}", f"{rng.randint(0, 999) / 1000}"
                row[f"{side}[{level}].price"] = price if level < there else ""
                row[f"{side}[{level}].amount"] = size if level < there else ""
        rows.append(row)
    return rows


def naive(rows: list[dict[str, str]], levels: int) -> list[Message]:
    """What they mean."""
    expected: list[Message] = []
    for row in rows:
        if row["symbol"] != "AB":
            expected.append((OTHER_SYMBOL, 0, 0, 0, 0, [], []))
            continue
        sides = [
            [
                (fixed(row[f"{side}[{level}].price"], 2), fixed(row[f"{side}[{level}].amount"], 3))
                for level in range(levels)
                if row[f"{side}[{level}].price"]
            ]
            for side in ("bids", "asks")
        ]
        times = int(row["timestamp"]) * 1000, int(row["local_timestamp"]) * 1000
        expected.append((SNAPSHOT, IS_PICTURE, *times, NONE, sides[0], sides[1]))
    return expected


def as_csv(rows: list[dict[str, str]], names: list[str], end: str = "\n", *, quoted: bool = False) -> bytes:
    """A file with the columns in this order."""
    quote = '"{}"'.format if quoted else str
    lines = [",".join(names), *(",".join(quote(row[name]) for name in names) for row in rows)]
    return "".join(line + end for line in lines).encode()


@pytest.mark.parametrize("levels", [1, 5, 25])
@pytest.mark.parametrize("seed", range(3))
def test_each_row_of_pictures_is_one_message(levels: int, seed: int) -> None:
    """Whatever the blocks, the order of columns, the ends of lines and the quotes; the first line may be longer than 1 KiB."""
    rng = random.Random(seed)
    rows = pictures(seed, levels, 60)
    expected = naive(rows, levels)
    names = list(rows[0])
    assert decode(as_csv(rows, names), "tardis", [10**6]) == expected
    assert decode(as_csv(rows, names, "\r\n"), "tardis", [rng.randrange(1, 3000) for _ in range(9)]) == expected
    rng.shuffle(names)
    assert decode(as_csv(rows, names)[:-1], "tardis", [4000, 1700, 64]) == expected
    assert decode(as_csv(rows, names, quoted=True), "tardis", [5000]) == expected


@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_pictures_in_parquet_are_those_of_csv(tmp_path: Path, kind: pa.DataType) -> None:
    """Levels that are not there are nulls, or NaN, or empty texts."""
    rows = pictures(5, 25, 80)
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in ("timestamp", "local_timestamp"):
            columns[name] = pa.array([float(value) for value in values])
        elif "[" in name:
            columns[name] = pa.array([value or None for value in values], pa.string()).cast(kind)
        else:
            columns[name] = values
    path = tmp_path / "a"
    pq.write_table(pa.table(columns), path, row_group_size=33)
    with open_decoded(path) as file:
        content = file.read(10**7) or b""
    assert decode(content, "tardis", [10**6]) == naive(rows, 25)
    assert decode(content, "tardis", [5000, 300]) == naive(rows, 25)


@pytest.mark.parametrize(
    "level",
    ["1.5,", ",2", "x,1", "1.555,1", "1,-1", "1,1,1"],
)
def test_half_a_level_rejects_its_row_alone(level: str) -> None:
    """So does one that is no level."""
    header = "exchange,symbol,timestamp,local_timestamp,bid_price,bid_amount,ask_price,ask_amount\n"
    good = "x,AB,1700000000000000,1700000000000007,1.25,2,1.5,3\n"
    bad = f"x,AB,1700000000000000,1700000000000007,1.25,2,{level}\n"
    found = decode((header + good + bad + good).encode(), "tardis", [10**6])
    assert [message[0] for message in found] == [SNAPSHOT, DEAD_LETTER, SNAPSHOT]


def test_quotes_and_pictures_of_a_vendors_files(shared_data: Path) -> None:
    """Against a reading by the csv module."""
    for name, symbol, levels in (
        ("binance-futures_book_snapshot_5_BTCUSDT.csv", "BTCUSDT", 5),
        ("binance-futures_book_snapshot_25_BTCUSDT.csv", "BTCUSDT", 25),
    ):
        path = shared_data / "tardis" / name
        rows = [row | {"symbol": "AB"} for row in csv.DictReader(path.read_text().splitlines())]
        assert decode(path.read_bytes(), "tardis", [1000, 777], symbol) == naive(rows, levels)
    path = shared_data / "tardis" / "huobi-dm-swap_quotes_BTC-USD.csv"
    found = decode(path.read_bytes(), "tardis", [100], "BTC-USD")
    sides = [(message[5], message[6]) for message in found]
    assert sides == [
        tuple([(fixed(row[f"{side}_price"], 2), fixed(row[f"{side}_amount"], 3))] for side in ("bid", "ask"))
        for row in csv.DictReader(path.read_text().splitlines())
    ]


TRADES = [(1, "10.5", "2", 1_700_000_000_000, True), (2, "10.25", "0.125", 1_700_000_000_001, False)]


def archive(kind: str, *, header: bool, true: str = "true") -> bytes:
    """These trades as a file of the archive."""
    lines = []
    for trade_id, price, size, time, maker_bought in TRADES:
        flag = true if maker_bought else ("False" if true == "True" else "false")
        if kind.startswith("agg"):
            lines.append(f"{trade_id},{price},{size},{trade_id * 3},{trade_id * 3 + 1},{time},{flag}")
        else:
            lines.append(f"{trade_id},{price},{size},100.5,{time},{flag}")
    if kind.endswith("spot"):
        lines = [f"{line},{true}" for line in lines]
    names = (
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time"
        if kind.startswith("agg")
        else ("id,price,qty,quote_qty,time")
    )
    first = [f"{names},is_buyer_maker"] if header else []
    return "\n".join([*first, *lines, ""]).encode()


@pytest.mark.parametrize("kind", ["trades-spot", "trades-futures", "aggTrades-spot", "aggTrades-futures"])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("true", ["true", "True"])
def test_trades_of_binances_archive(kind: str, header: bool, true: str) -> None:
    """With and without names, of both markets, in blocks of any size; the aggressor sold where the buyer was the maker."""
    if header and kind.endswith("spot"):
        pytest.skip("spot's files have no names")
    flag = IS_AGGREGATE if kind.startswith("agg") else 0
    expected: list[Message] = [
        (TRADE, flag | (SELL_AGGRESSOR if maker else 0), time * 10**6, NONE, trade_id, [(fixed(price, 2), fixed(size, 3))], [])
        for trade_id, price, size, time, maker in TRADES
    ]
    content = archive(kind, header=header, true=true)
    assert decode(content, "binance_csv", [10**6]) == expected
    assert decode(content, "binance_csv", [7]) == expected


def test_files_with_and_without_names_may_follow_each_other() -> None:
    """Binance has changed it on the way."""
    settings = DecoderSettings("AB", 2, 3, 1 << 20)
    decoder = make_decoder("binance_csv", settings)
    found = []
    kinds = ("aggTrades-futures", False), ("aggTrades-futures", True), ("aggTrades-spot", False)
    for content in (archive(kind, header=header) for kind, header in kinds):
        batch = EventBatch.allocate()
        buffer = np.zeros(len(content) + PADDING, np.uint8)
        buffer[: len(content)] = np.frombuffer(content, np.uint8)
        decoder.decode(Block(buffer, 0, len(content), "f", 0, True, content[:1024]), batch)
        found += of_batch(batch)
    assert [message[0] for message in found] == [TRADE] * 6
    assert [message[4] for message in found] == [1, 2] * 3


def test_parquet_of_trades_has_booleans(tmp_path: Path) -> None:
    """As pandas writes the archive's files."""
    columns = {"id": [1, 2], "price": [10.5, 10.25], "qty": [2.0, 0.125], "time": [1_700_000_000_000, 1_700_000_000_001]}
    pq.write_table(pa.table({**columns, "quote_qty": [1.0, 1.0], "is_buyer_maker": [True, False]}), tmp_path / "a")
    with open_decoded(tmp_path / "a") as file:
        content = file.read(10**6) or b""
    assert decode(content, "binance_csv", [100]) == decode(archive("trades-futures", header=True), "binance_csv", [100])


def test_a_book_ticker_is_a_picture_of_the_best_level() -> None:
    """Its id is the book's, its time that of the transaction."""
    names = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time"
    content = f"{names}\n12,10.5,2,10.75,1.5,1700000000001,1700000000004\n".encode()
    (found,) = decode(content, "binance_csv", [30])
    assert found == (SNAPSHOT, IS_PICTURE, 1_700_000_000_001_000_000, NONE, 12, [(1050, 2000)], [(1075, 1500)])


def test_percentages_are_refused_by_name() -> None:
    """No book can be made of them."""
    content = b"timestamp,percentage,depth,notional\n2023-01-01 00:00:08,-5,1.5,2.5\n"
    with pytest.raises(InputError, match="bookDepth"):
        decode(content, "binance_csv", [10**6])


def test_depth_without_previous_ids_shows_what_is_old(tmp_path: Path) -> None:
    """Files of 2020 lack `pu`: their ids rise, but are not dense, so that nothing shows what is lost. A bad row may be lost."""
    header = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty"
    rows = [
        "AB,1600000000000,100,100,b,snap,10,1",
        "AB,1600000000000,100,100,a,snap,11,1",
        "AB,1599999999000,90,95,b,set,10,7",  # older than the snapshot
        "AB,1600000001000,101,105,b,set,10,2",
        "AB,1600000002000,120,121,a,set,11,3",  # not the next one
    ]
    (tmp_path / "a").write_text("\n".join([header, *rows, ""]))
    *_, book = replay(tmp_path / "a", "AB", every=10**9, format="binance_csv")
    assert book.synced
    statistics = book.gap_statistics()
    assert (statistics["gaps"], statistics["stale"], book.value("diffs"), book.value("unnumbered")) == (0, 1, 2, 2)
    assert (book.bid_price, book.bid_size, book.ask_size) == (10, 2, 3)
    (tmp_path / "a").write_text("\n".join([header, *rows, "AB,1600000003000,130,131,a,set,x,3", ""]))
    *_, book = replay(tmp_path / "a", "AB", every=10**9, format="binance_csv")
    assert not book.synced
