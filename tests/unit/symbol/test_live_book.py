"""The live book, as it is encoded from a snapshot, and as a daemon gives it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cowbook import replay
from cowbook.cli.main import EXIT_FAILED, main
from cowbook.symbol.live_book import ARROW, JSON, BookRequest, fixed_point_texts
from support.daemon_process import DaemonProcess
from support.small_output import ASKS, BIDS, diff, snapshot

LINES = [snapshot(100, 0, BIDS, ASKS), diff(101, 100, [("10", "2.5"), ("7", "1")])]


def encoded(directory: Path, levels: int | None, form: str) -> bytes:
    """The book behind these lines."""
    (directory / "a").write_bytes(b"".join(LINES))
    (engine,) = replay(str(directory / "a"), "BTCUSDT", every=10)
    frozen = engine.snapshot()
    try:
        return BookRequest("BTCUSDT", levels, form, 8, 8).read(frozen)
    finally:
        frozen.release()


def test_json_has_the_levels_exactly_and_what_is_known(tmp_path: Path) -> None:
    """All decimals, as text; the bound of each side."""
    book = json.loads(encoded(tmp_path, 2, JSON))
    assert book["bids"] == [["10.00000000", "2.50000000"], ["9.00000000", "2.00000000"]]
    assert book["asks"] == [["11.00000000", "1.00000000"], ["12.00000000", "2.00000000"]]
    assert (book["event"], book["update_id"], book["synced"]) == (9, 101, True)
    assert (book["bid_levels"], book["bids_known_to"], book["bids_whole"]) == (4, "8.00000000", False)
    assert book["time_ns"] == book["newest_ns"] == 1_723_161_600_100_000_000


def test_arrow_has_the_whole_book(tmp_path: Path) -> None:
    """The level beyond the snapshot's farthest one is not known."""
    table = pa.ipc.open_stream(encoded(tmp_path, None, ARROW)).read_all()
    assert table["side"].to_pylist() == ["bid"] * 4 + ["ask"] * 3
    assert table["price"].to_pylist()[:4] == [10, 9, 8, 7]
    assert table["known"].to_pylist() == [True, True, True, False, True, True, True]
    assert table.schema.metadata[b"cowbook.symbol"] == b"BTCUSDT"


def test_an_empty_book_is_one(tmp_path: Path) -> None:
    """No level, no time."""
    (tmp_path / "a").write_bytes(b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}\n')
    (engine,) = replay(str(tmp_path / "a"), "BTCUSDT", every=10)
    book = json.loads(BookRequest("BTCUSDT", None, JSON, 8, 8).read(engine.snapshot()))
    assert (book["bids"], book["asks"], book["event"], book["synced"]) == ([], [], -1, False)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_numbers_are_written_out(decimals: int) -> None:
    """Small, large and negative ones, without an exponent."""
    values = np.array([0, 1, -1, 10, 123_456_789, -123_456_789, 10**18 - 1])
    expected = [f"{Decimal(int(value)).scaleb(-decimals):f}" for value in values]
    assert fixed_point_texts(values, decimals).to_pylist() == expected


@pytest.mark.long
def test_a_running_cowbook_gives_its_live_book(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By HTTP and by the command; it grows with the input."""
    (tmp_path / "a").write_bytes(LINES[0])
    (tmp_path / "cowbook.toml").write_text('[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["a"]\nfollow = true\n')
    with DaemonProcess(tmp_path / "cowbook.toml") as daemon:
        url = f"127.0.0.1:{daemon.port}"
        daemon.wait_for(lambda: daemon.symbol()["events"] == 8, "the snapshot")
        assert json.loads(daemon.get("/book/BTCUSDT?levels=1"))["bids"] == [["10.00000000", "1.00000000"]]
        with (tmp_path / "a").open("ab") as file:
            file.write(LINES[1])
        daemon.wait_for(lambda: daemon.symbol()["events"] == 10, "the diff")
        assert main(["book", url, "--symbol", "BTCUSDT", "--levels", "2"]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[0].startswith("        10  2.5 │ 11  1.0")
        assert "synced; known: bids to 8, asks to 13" in "\n".join(shown)
        assert main(["book", url, "--symbol", "BTCUSDT", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["bids"]) == 4
        assert main(["book", url, "--symbol", "BTCUSDT", "--parquet", str(tmp_path / "book.parquet")]) == 0
        for arguments, words in (
            (["--symbol", "X"], "no symbol X"),
            (["--symbol", "BTCUSDT", "--event", "3"], "the live book alone"),
        ):
            assert main(["book", url, *arguments]) == EXIT_FAILED
            assert words in capsys.readouterr().err
