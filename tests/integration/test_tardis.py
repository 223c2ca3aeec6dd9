"""Tardis.dev's tables by the vendor's rules: what one message is, what a snapshot is, and what follows what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from support.harness import Reconstruction, Run, reconstruct
from support.venue_samples import make_sample

HEADER = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
START = 1_750_000_000_000_000
RUN = Run("X", "AB", "tardis", price_decimals=0, size_decimals=0)
Change = tuple[int, int, str, str, int, int]
"""Event and receive time after the start, in µs; is_snapshot, side, price, amount."""

BOOK: list[Change] = [
    (0, 500, "true", "bid", 100, 1),
    (0, 500, "true", "bid", 99, 2),
    (0, 500, "true", "ask", 101, 1),
    (0, 500, "true", "ask", 102, 2),
]
CROSSING: list[Change] = [
    (1000, 2000, "false", "bid", 101, 5),
    (1001, 2000, "false", "ask", 101, 0),
    (1002, 2000, "false", "bid", 100, 0),
]


def csv(changes: Sequence[Change], exchange: str = "x") -> bytes:
    """As the vendor writes it."""
    lines = [HEADER]
    for event, received, is_snapshot, side, price, amount in changes:
        lines.append(f"{exchange},AB,{START + event},{START + received},{is_snapshot},{side},{price},{amount}")
    return "\n".join([*lines, ""]).encode()


def run(directory: Path, *files: bytes, **changes: Any) -> Reconstruction:
    """Reconstruct files in their order."""
    settings = Run(**{name: getattr(RUN, name) for name in RUN.__slots__} | changes)
    return reconstruct(directory, {f"{number}": content for number, content in enumerate(files)}, settings)


def best(result: Reconstruction) -> list[tuple[int, int, int, int, bool]]:
    """The rows of `bbo`."""
    names = ("bid_price", "bid_size", "ask_price", "ask_size", "synced")
    return [tuple(row[name] for name in names) for row in result.rows("bbo")]


def test_rows_of_one_receive_time_are_one_message_of_the_latest_event_time(tmp_path: Path) -> None:
    """Three event times make one message. Between its rows the book would be locked and crossed; nobody sees that."""
    result = run(tmp_path, csv(BOOK + CROSSING))
    assert best(result) == [(100, 1, 101, 1, True), (101, 5, 102, 2, True)]
    summary = result.summary
    assert (summary.messages, summary.locked, summary.crossed) == (2, 0, 0)
    assert {row["ts_event"] for row in result.rows("depth")} == {START * 1000, (START + 1002) * 1000}


def test_a_snapshot_of_two_receive_times_is_one(tmp_path: Path) -> None:
    """The old book stays until the whole snapshot is there: bids alone would be a book without asks. It has the later time."""
    snapshot: list[Change] = [
        (8000, 9000, "true", "bid", 100, 1),
        (8000, 9000, "true", "bid", 98, 3),
        (8000, 9001, "true", "ask", 103, 1),
        (8000, 9001, "true", "ask", 104, 2),
    ]
    result = run(tmp_path, csv(BOOK + CROSSING + snapshot))
    assert best(result) == [(100, 1, 101, 1, True), (101, 5, 102, 2, True), (100, 1, 103, 1, True)]
    assert result.rows("bbo")[-1]["ts_recv"] == (START + 9001) * 1000


def test_rows_before_a_files_first_snapshot_are_not_synced(tmp_path: Path) -> None:
    """They may not follow the file before. A file that begins with its snapshot does not end sync."""
    early: list[Change] = [(3000, 3000, "false", "bid", 95, 9)]
    later: list[Change] = [(4000, 4000, "true", "bid", 90, 1), (4000, 4000, "true", "ask", 91, 1)]
    result = run(tmp_path / "early", csv(BOOK), csv(early + later))
    assert [row["synced"] for row in result.rows("bbo")] == [True, False, True]
    assert (result.summary.gaps, result.summary.unused, result.summary.messages) == (0, 0, 3)
    assert all(row["synced"] for row in run(tmp_path / "later", csv(BOOK), csv(later + early)).rows("bbo"))
    alone = run(tmp_path / "alone", csv(early + later))
    assert [row["synced"] for row in alone.rows("bbo")] == [False, True]


def test_a_file_breaks_once_wherever_checkpoints_fall(tmp_path: Path) -> None:
    """The sample of days has rows of both kinds, whatever is stopped where: a run over each longer input gives the same."""
    sample = make_sample("tardis-pandas-csv")
    settings = {"name": "X", "symbol": sample.name, "price_decimals": 1, "size_decimals": 2}
    whole = reconstruct(tmp_path / "whole", sample.files, Run(format="tardis", **settings))  # type: ignore[arg-type]
    synced = [row["synced"] for row in whole.rows("depth")]
    assert synced[0]
    assert synced[-1]
    assert 10 < synced.count(False) < len(synced) / 2
    triggers = TriggerSettings(1, 10**12, 0)
    run_of = Run(format="tardis", triggers=triggers, block_bytes=300, **settings)  # type: ignore[arg-type]
    names = sorted(sample.files)
    second = sample.files[names[1]]
    ends = [place for place, byte in enumerate(second) if byte == ord("\n")][:4]
    for end in (0, *(place + after for place in ends for after in (0, 1, 9))):
        reconstruct(tmp_path / "cut", {names[0]: sample.files[names[0]], names[1]: second[:end]}, run_of)
    result = reconstruct(tmp_path / "cut", sample.files, run_of)
    assert result.parts == whole.parts


def test_an_input_may_have_two_exchanges_of_one_symbol(tmp_path: Path) -> None:
    """They are two books. The one with which it begins is the book; the other's changes are counted as unused."""
    other = csv([(1000, 1500, "false", "ask", 60, 1), (1000, 1500, "false", "bid", 59, 1)], "another exchange")
    result = run(tmp_path, csv(BOOK) + other.partition(b"\n")[2] + csv(CROSSING).partition(b"\n")[2])
    assert best(result) == [(100, 1, 101, 1, True), (101, 5, 102, 2, True)]
    assert result.summary.unused == 1


def test_what_pandas_wrote_is_the_same_book(tmp_path: Path) -> None:
    """Row numbers, `True` and `False`, times as floats: the same parts, and no dead letter."""
    lines = csv(BOOK + CROSSING).decode().splitlines()
    written = [f",{lines[0]}"]
    for number, line in enumerate(lines[1:]):
        exchange, symbol, event, received, is_snapshot, *level = line.split(",")
        written.append(",".join([str(number), exchange, symbol, f"{event}.0", f"{received}.0", is_snapshot.title(), *level]))
    assert ",True," in written[1]
    plain = run(tmp_path / "plain", csv(BOOK + CROSSING))
    result = run(tmp_path / "pandas", "\n".join([*written, ""]).encode())
    assert result.parts == plain.parts
    assert sum(result.summary.dead_letters.values()) == 0


def test_a_rejected_first_message_ends_sync_as_well(tmp_path: Path) -> None:
    """What could not be read was a change, or a snapshot that is missing: either way the next row follows nothing."""
    bad = csv([(3000, 3000, "false", "bid", 95, 9)]).replace(b",9\n", b",nine\n")
    good = csv([(3500, 3500, "false", "bid", 96, 9)]).partition(b"\n")[2]
    result = run(tmp_path, csv(BOOK), bad + good, engine=EngineSettings())
    assert [row["synced"] for row in result.rows("depth")] == [True] * 4 + [False]
