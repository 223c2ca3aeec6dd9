"""`cowbook init` prints configurations that run as they are, and `cowbook inspect` says what files are."""

from __future__ import annotations

import gzip
import json
import os
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cowbook.cli.main import main
from cowbook.inspection import look
from cowbook.simulate.capture import write_capture
from support.venue_samples import SAMPLE_IDS, make_sample


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def init(capsys: pytest.CaptureFixture[str], *paths: str) -> list[dict[str, Any]]:
    """Run init over paths and write what it prints. Returns the symbols of this configuration."""
    assert main(["init", *paths]) == 0
    text = capsys.readouterr().out
    Path("cowbook.toml").write_text(text)
    symbols: list[dict[str, Any]] = tomllib.loads(text)["symbol"]
    return symbols


def run(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Check the configuration, and run it to its end. Returns the summaries by id."""
    assert main(["check", "cowbook.toml"]) == 0
    capsys.readouterr()
    code = main(["run", "cowbook.toml", "--once", "--json"])
    summaries = {summary["id"]: summary for summary in json.loads(capsys.readouterr().out)}
    assert code == 0, summaries
    return summaries


def inspect(capsys: pytest.CaptureFixture[str], *paths: str, code: int = 0) -> list[dict[str, Any]]:
    """What inspect says of paths, in JSON."""
    assert main(["inspect", *paths, "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_every_venue_runs_by_what_init_prints(sample_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its symbol is found by itself, in its format, with all of its files; and what inspect counts is what the run counts."""
    sample = make_sample(sample_id)
    Path("captures").mkdir()
    for name, content in sample.files.items():
        Path("captures", name).write_bytes(content)
    symbols = init(capsys, "captures")
    (own,) = [symbol for symbol in symbols if symbol["name"] == sample.name or sample.format == "cryptolake"]
    assert own["format"] == sample.format
    summary = run(capsys)[own.get("id", own["name"])]
    kinds = [event.kind for event in sample.events]
    assert summary["events"] > 0
    assert summary["dead_letters"] == dict.fromkeys(summary["dead_letters"], 0)
    assert summary["depth_messages"] >= kinds.count("diff")
    facts = [
        symbol
        for file in inspect(capsys, "captures")
        for found in file["formats"]
        for symbol in found["symbols"]
        if symbol["name"] in (sample.name, "")
    ]
    assert sum(symbol["trades"] for symbol in facts) == (kinds.count("trade") if sample.format != "binance_csv" else 0)
    assert sum(symbol["depth"] + symbol["snapshots"] for symbol in facts) >= summary["depth_messages"]
    if len(sample.files) == 1:
        (one,) = facts
        assert (one["gaps"], one["comparable"]) == (summary["gaps"], summary["compared"] - summary["compared_unsynced"])
        assert one["matched"] == one["comparable"]


def test_several_venues_and_symbols_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """One name at two venues gets two ids, and what is no capture is named and left out."""
    for sample_id in ("binance", "bybit", "kraken-v1"):
        Path(sample_id).write_bytes(make_sample(sample_id).files["a"])
    Path("notes.txt").write_text("milk, bread\n")
    symbols = init(capsys, "binance", "bybit", "kraken-v1", "notes.txt")
    found = {symbol.get("id", symbol["name"]): (symbol["format"], symbol["paths"]) for symbol in symbols}
    assert found["binance-BTCUSDT"] == ("binance", ["binance"])
    assert found["bybit-BTCUSDT"] == ("bybit", ["bybit"])
    assert found["XBT/USD"] == ("kraken", ["kraken-v1"])
    assert "Not read: notes.txt" in Path("cowbook.toml").read_text()
    assert len(run(capsys)) == len(symbols)


def test_files_of_one_series_share_a_glob(capsys: pytest.CaptureFixture[str]) -> None:
    """Rotated and dated files do; a glob that would match another symbol's file is not used."""
    write_capture("whole.jsonl", symbol="BTCUSDT", messages=300, seed=1)
    lines = Path("whole.jsonl").read_bytes().splitlines(keepends=True)
    third = len(lines) // 3
    Path("book.jsonl.2").write_bytes(b"".join(lines[:third]))
    Path("book.jsonl.1.gz").write_bytes(gzip.compress(b"".join(lines[third : 2 * third])))
    Path("book.jsonl").write_bytes(b"".join(lines[2 * third :]))
    for day in (8, 9, 10):
        write_capture(f"ETHUSDT-2024-08-{day:02}.jsonl", symbol="ETHUSDT", messages=30, seed=day)
    write_capture("1.jsonl", symbol="A", messages=30, seed=1)
    write_capture("2.jsonl", symbol="B", messages=30, seed=2)
    write_capture("3.jsonl", symbol="A", messages=30, seed=3)
    Path("whole.jsonl").unlink()
    symbols = {symbol["name"]: symbol["paths"] for symbol in init(capsys, "*")}
    assert symbols["BTCUSDT"] == ["book.jsonl*"]
    assert symbols["ETHUSDT"] == ["ETHUSDT-*.jsonl"]
    assert symbols["A"] == ["1.jsonl", "3.jsonl"]
    assert symbols["B"] == ["2.jsonl"]
    assert run(capsys)["BTCUSDT"]["gaps"] == 0


def test_two_markets_of_one_name_are_two_symbols(capsys: pytest.CaptureFixture[str]) -> None:
    """Spot and futures in one file become a symbol each, by their channel."""
    write_capture("spot.jsonl", symbol="BTCUSDT", messages=100, seed=1)
    write_capture("futures.jsonl", symbol="BTCUSDT", messages=100, seed=2, futures=True)
    Path("both.jsonl").write_bytes(Path("spot.jsonl").read_bytes() + Path("futures.jsonl").read_bytes())
    symbols = {symbol["id"]: symbol["channel"] for symbol in init(capsys, "both.jsonl")}
    assert symbols == {"BTCUSDT-spot": "spot", "BTCUSDT-futures": "futures"}
    assert all(summary["depth_messages"] >= 100 for summary in run(capsys).values())


def test_decimals_that_do_not_suffice_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    """A price of eleven decimals makes price_decimals = 11."""
    lines = [
        '{"lastUpdateId":1,"bids":[["0.00000000121","1"]],"asks":[["0.00000000122","1"]]}',
        '{"e":"depthUpdate","E":1700000000000,"s":"PEPE","U":2,"u":2,"b":[["0.00000000120","5"]],"a":[]}',
        '{"e":"depthUpdate","E":1700000000001,"s":"PEPE","U":3,"u":3,"b":[["0.0000000012","6"]],"a":[]}',
    ]
    Path("a").write_text("\n".join([*lines, ""]))
    (symbol,) = init(capsys, "a")
    assert symbol["price_decimals"] == 11
    assert run(capsys)["PEPE"]["depth_messages"] == 3


def test_where_no_decimals_fit_all_those_that_lose_least_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    """One size has nine digits before the point, that of another message has fifteen decimals: both are not to be had."""
    lines = ['{"lastUpdateId":1,"bids":[["9","1"]],"asks":[["10","1"]]}']
    sizes = ["0.000000000000015", *["123456789"] * 3]
    lines += [
        f'{{"e":"depthUpdate","E":{1700000000000 + at},"s":"PEPE","U":{2 + at},"u":{2 + at},"b":[["9","{size}"]],"a":[]}}'
        for at, size in enumerate(sizes)
    ]
    Path("a").write_text("\n".join([*lines, ""]))
    (symbol,) = init(capsys, "a")
    assert "size_decimals" not in symbol
    assert main(["inspect", "a"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "3 depth, 1 snapshot; 1 gap, 1 id missing; rejected: 1 out_of_range: their digits do not fit beside" in words


def test_a_large_file_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and neither a last time nor an end is."""
    write_capture("a.jsonl", symbol="BTCUSDT", messages=2000, seed=1)
    monkeypatch.setattr(look.look_at, "__defaults__", (1 << 20, *look.look_at.__defaults__[1:]))  # type: ignore[index]
    assert main(["inspect", "a.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "looked at the first 1.0 MB only" in shown
    assert ", from 2024-08-08 23:54:00 on" in shown
    init(capsys, "a.jsonl")
    assert "Symbols that come later are not listed here." in Path("cowbook.toml").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"milk\nbread\n", "text of no known kind", id="text"),
        pytest.param(b'{"a":1}\n{"a":2}\n', "JSON of no known venue", id="json"),
        pytest.param(b"when,who,what\n1,2,3\n", "a table of no known format: its columns are when, who, what", id="csv"),
        pytest.param(b"PK\x03\x04" + bytes(600), "a zip archive", id="zip"),
        pytest.param(b"\x00\x01\x02\x03" * 200, "binary data", id="binary"),
        pytest.param(b'{"type":"orderbook","code":"KRW-BTC","timestamp":1}\n', "Upbit", id="another_venue"),
        pytest.param(b"PAR1" + bytes(40), "Parquet", id="broken_parquet"),
    ],
)
def test_what_is_not_read_is_said_by_name(content: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of it passes for a capture; the exit code is 1; init has nothing to print."""
    Path("a").write_bytes(content)
    (file,) = inspect(capsys, "a", code=1)
    assert words in file["unreadable"]
    assert file["formats"] == []
    assert main(["init", "a"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err


def test_a_page_that_quotes_a_record_is_no_capture(capsys: pytest.CaptureFixture[str]) -> None:
    """More is rejected than used. So few of a capture's records are none that it stays one."""
    write_capture("a.jsonl", symbol="BTCUSDT", messages=60, seed=1)
    content = Path("a.jsonl").read_text()
    Path("page").write_text("milk\n" * 500 + content[: content.index("\n") + 1])
    Path("capture").write_text("milk\n" * 50 + content)
    page, capture = inspect(capsys, "page", "capture")
    assert "that are none" in page["unreadable"]
    assert capture["formats"][0]["symbols"][0]["rejected"] == {"malformed": 50}


def test_a_capture_may_begin_with_many_subscriptions(capsys: pytest.CaptureFixture[str]) -> None:
    """Hundreds of records that mean nothing come before the first one that does."""
    sample = make_sample("ftx")
    Path("a").write_bytes(b"wss://ftx <- 1618677879.7843041: {}\n" * 400 + sample.files["a"])
    (file,) = inspect(capsys, "a")
    assert [found["name"] for found in file["formats"]] == ["ftx"]


def test_random_bytes_are_never_called_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor do they crash anything."""
    rng = random.Random(7)
    for number in range(20):
        Path(f"{number}").write_bytes(rng.randbytes(rng.randrange(1, 3000)))
    assert all(file["unreadable"] for file in inspect(capsys, *map(str, range(20)), code=1))


def test_hostile_names_of_files_are_escaped_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, quotes, wildcards, a line feed, and bytes that are no UTF-8."""
    name = os.fsdecode(b'\xff\x1b[2J"\n[x]*.jsonl')
    write_capture("a.jsonl", symbol="BTCUSDT", messages=60, seed=1)
    Path("a.jsonl").rename(name)
    assert main(["inspect", "."]) == 0
    assert "\x1b" not in capsys.readouterr().out
    init(capsys, ".")
    assert "\x1b" not in Path("cowbook.toml").read_text()
    assert run(capsys)["BTCUSDT"]["depth_messages"] >= 60


def test_a_path_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and nothing is made of it."""
    assert main(["inspect", "nowhere/*.gz"]) == 1
    assert capsys.readouterr().err == "cowbook: nowhere/*.gz: no such file; correct the path or provide the file\n"


def test_a_capture_without_a_snapshot_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is said."""
    write_capture("a.jsonl", symbol="BTCUSDT", messages=60, seed=1)
    lines = [line for line in Path("a.jsonl").read_bytes().splitlines(keepends=True) if b"lastUpdateId" not in line]
    Path("a.jsonl").write_bytes(b"".join(lines))
    assert main(["inspect", "a.jsonl"]) == 0
    assert (
        "no depth snapshot in this file: by it alone the book is never synced, and nothing is proved" in capsys.readouterr().out
    )
