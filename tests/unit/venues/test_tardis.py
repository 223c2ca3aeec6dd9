"""Tardis.dev's tables as messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.capture.compression import open_decoded
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import BREAK, DEAD_LETTER, DIFF, NONE, SNAPSHOT, EventBatch
from cowbook.venues.decoders import make_decoder

HEADER = b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
US = 1_750_000_000_000_000


def decode(content: bytes) -> list[dict[str, int]]:
    """The messages of a file."""
    decoder = make_decoder("tardis", DecoderSettings("AB", 1, 1, 1 << 20))
    batch = EventBatch.allocate()
    buffer = np.zeros(len(content) + PADDING, np.uint8)
    buffer[: len(content)] = np.frombuffer(content, np.uint8)
    assert not decoder.decode(Block(buffer, 0, len(content), "f", 0, True, content[:1024]), batch)
    names = batch.messages.dtype.names or ()
    return [dict(zip(names, map(int, message), strict=True)) for message in batch.messages[: batch.message_count]]


def kinds(messages: list[dict[str, int]]) -> list[int]:
    """Their kinds."""
    return [message["kind"] for message in messages]


def snapshot_rows(rows: str) -> bytes:
    """A file of snapshot rows, each a side and how many µs after the first one it was received."""
    lines = [b"x,AB,%d,%d,true,%b,1,1" % (US, US + int(row[1:]), b"bid" if row[0] == "b" else b"ask") for row in rows.split()]
    return b"\n".join([HEADER, *lines, b""])


@pytest.mark.parametrize(
    ("rows", "levels"),
    [
        ("b0 b0 a0 a0", [4]),
        ("b0 b0 a1 a1", [4]),
        ("a0 a0 b1", [3]),
        ("b0 b1 a2 a3 a4", [5]),
        ("b0 a0 b1 a1", [2, 2]),
        ("b0 a0 a1 b1", [3, 1]),  # the asks went on, and then bids began again
        ("b0 a1 b2 a3", [2, 2]),
        ("a0 b1 a2 b3", [2, 2]),
        ("b0 a1 b1 a2", [2, 2]),  # the next one's first rows came with the last one's last rows
        ("b0 a0 b0 a0 b0", [5]),  # by price, say
        ("b0 a0 b0 b1 a1", [3, 2]),
        ("b0 b1 b2", [3]),
    ],
)
def test_a_snapshot_ends_where_a_side_begins_again(rows: str, levels: list[int]) -> None:
    """It may have several receive times; rows with that of the first one belong to it in any case."""
    messages = decode(snapshot_rows(rows))
    assert [message["bid_count"] + message["ask_count"] for message in messages] == levels
    assert kinds(messages) == [SNAPSHOT] * len(levels)


def test_a_break_stands_before_the_first_row_that_is_no_snapshots() -> None:
    """It has the place before that row, and nothing else."""
    other, row, snapshot = b"x,OTHER,1,1,true,bid,1,1\n", b"x,AB,1,1,false,bid,1,1\n", b"x,AB,1,1,true,bid,1,1\n"
    content = HEADER + b"\n" + other
    messages = decode(content + row + snapshot + row)
    assert kinds(messages)[1:] == [BREAK, DIFF, SNAPSHOT, DIFF]
    broken = messages[1]
    assert broken["end_offset"] == len(content)
    assert (broken["ts_event"], broken["ts_recv"], broken["bid_count"], broken["ask_count"]) == (NONE, NONE, 0, 0)
    assert broken["flags"] == 0
    assert broken["channel"] == messages[2]["channel"]
    assert BREAK not in kinds(decode(content + snapshot + row))
    assert BREAK not in kinds(decode(HEADER.replace(b"is_snapshot", b"id") + b"\n" + row.replace(b"bid", b"buy")))


def test_an_exchange_is_a_channel_with_a_lasting_number() -> None:
    """The number is in checkpoints: it must never change. Without the column it is 0."""
    names = [b"x", b"binance-futures", b"binance", b'"binance"', "börse".encode(), b""]
    messages = decode(b"\n".join([HEADER, *(name + b",AB,1,1,true,bid,1,1" for name in names), b""]))
    assert [message["channel"] for message in messages] == [
        1_513_358_432_138_499_308,
        4_357_324_423_570_758_802,
        3_364_194_014_515_891_845,
        4_933_494_167_645_634_437,
        1,
    ]
    assert messages[2]["bid_count"] == 2  # with and without quotes
    header, row = (text.partition(b",")[2] for text in (HEADER, b"x,AB,1,1,true,bid,1,1"))
    assert [message["channel"] for message in decode(header + b"\n" + row)] == [0]


def decode_parquet(path: Path, columns: dict[str, Any]) -> list[dict[str, int]]:
    """The messages of such a file. Columns that are not given are those of a change."""
    count = len(next(iter(columns.values())))
    usual = {"exchange": "x", "symbol": "AB", "timestamp": US, "local_timestamp": US + 5, "is_snapshot": False}
    usual |= {"side": "bid", "price": 1.5, "amount": 2.0}
    pq.write_table(pa.table({name: [value] * count for name, value in usual.items()} | columns), path)
    with open_decoded(path) as file:
        return decode(file.read(10**6) or b"")


def test_parquet_has_doubles_booleans_and_nulls(tmp_path: Path) -> None:
    """A null receive time is an unknown one, and rows without it are told apart by their event times."""
    columns = {
        "timestamp": pa.array([US, US, US + 1, US + 2, US + 2, US + 2], pa.float64()),
        "local_timestamp": pa.array([US + 5, US + 5, US + 5, None, None, float("nan")], pa.float64()),
        "is_snapshot": pa.array([True, True, False, False, False, False]),
        "exchange": pa.array(["x"] * 5 + ["an exchange"]).dictionary_encode(),
    }
    found = decode_parquet(tmp_path / "a", columns)
    csv = b"x,AB,%d,%d,true,bid,1,1\nan exchange,AB,1,1,true,bid,1,1" % (US, US)
    number, another = (message["channel"] for message in decode(HEADER + b"\n" + csv))
    keys = ("kind", "ts_event", "ts_recv", "bid_count", "channel")
    assert [tuple(message[key] for key in keys) for message in found] == [
        (SNAPSHOT, US * 1000, (US + 5) * 1000, 2, number),
        (DIFF, (US + 1) * 1000, (US + 5) * 1000, 1, number),
        (DIFF, (US + 2) * 1000, NONE, 2, number),
        (DIFF, (US + 2) * 1000, NONE, 1, another),
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"timestamp": [US + 0.5]},
        {"timestamp": [2.0**53 + 2]},  # of which the last digits may be lost
        {"timestamp": [-1.0]},
        {"timestamp": [float("inf")]},
        {"timestamp": pa.array([None], pa.int64()), "local_timestamp": pa.array([None], pa.float64())},
        {"is_snapshot": pa.array([None], pa.bool_())},
        {"is_snapshot": [0.0]},
        {"is_snapshot": ["TRUE"]},
        {"side": [6580578]},  # the bytes of "bid"
        {"side": pa.array([None], pa.string())},
        {"price": pa.array([None], pa.float64())},
        {"exchange": ["a name of more bytes than any exchange has"]},
    ],
)
def test_a_value_that_may_mean_another_one_is_malformed(tmp_path: Path, columns: dict[str, Any]) -> None:
    """So are nulls where there must be something."""
    assert kinds(decode_parquet(tmp_path / "a", columns)) == [DEAD_LETTER]


@pytest.mark.parametrize("columns", [{"is_snapshot": ["True"]}, {"is_snapshot": ["true"]}, {"is_snapshot": [1]}])
def test_parquet_may_have_its_booleans_as_text_or_numbers(tmp_path: Path, columns: dict[str, Any]) -> None:
    """As what wrote it had them."""
    assert kinds(decode_parquet(tmp_path / "a", columns)) == [SNAPSHOT]
