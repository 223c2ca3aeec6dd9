"""Shards: the symbols of one configuration, divided among processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cowbook.cli.main import main
from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.harness import read_parts

SYMBOLS = [f"S{number}USDT" for number in range(9)]


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One capture, whose records do not say their symbol's id, for all."""
    folder = tmp_path_factory.mktemp("shards")
    write_capture(folder / "capture.jsonl", symbol="BTCUSDT", messages=300, seed=8)
    return folder


def configured(captures: Path, name: str) -> Path:
    """A configuration with state and output of its own."""
    path = captures / f"{name}.toml"
    tables = [
        f'[[symbol]]\nid = "{symbol}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["capture.jsonl"]\n' for symbol in SYMBOLS
    ]
    service = f'[service]\nstate_dir = "{name}/state"\noutput_dir = "{name}/data"\n[checkpoint]\nevery_events = 1000\n'
    path.write_text(service + "\n".join(tables))
    return path


def done(path: Path, shard: str) -> list[str]:
    """Run a shard to its end. Returns the ids of its symbols."""
    return [summary.id for summary in run_once(load_config(path, {}, shard).of_shard())]


def test_shards_write_what_one_process_writes(captures: Path) -> None:
    """Each symbol is in one of them; another number of shards goes on from the same state."""
    whole, divided = configured(captures, "whole"), configured(captures, "divided")
    assert done(whole, "") == SYMBOLS
    assert sorted(symbol for index in range(3) for symbol in done(divided, f"{index}/3")) == SYMBOLS
    assert read_parts(captures / "divided" / "data") == read_parts(captures / "whole" / "data")
    again = [summary for index in range(4) for summary in run_once(load_config(divided, {}, f"{index}/4").of_shard())]
    assert sorted(summary.id for summary in again) == SYMBOLS
    assert all(summary.recovered_epoch and summary.recovered_events == summary.events for summary in again)
    assert read_parts(captures / "divided" / "data") == read_parts(captures / "whole" / "data")


def test_check_and_run_say_what_a_shard_has(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that has nothing, which is no failure: it may have something when symbols are added."""
    path = configured(captures, "said")
    counts = []
    for index in range(12):
        assert main(["check", str(path), "--shard", f"{index}/12"]) == 0
        said = capsys.readouterr().out
        own = load_config(path, {}, f"{index}/12").of_shard().symbol
        assert f"shard {index}/12 has {len(own)} of 9 symbols" in said
        assert said.count("would be written: ") == len(own)
        counts.append(len(own))
    assert sum(counts) == 9
    empty = counts.index(0)
    assert main(["run", str(path), "--once", "--shard", f"{empty}/12"]) == 0
    assert f"Shard {empty}/12 has no symbol" in capsys.readouterr().out
    assert main(["run", str(path), "--once", "--json", "--shard", f"{empty}/12"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_report_shows_all_shards(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They share one directory."""
    path = configured(captures, "reported")
    for index in range(2):
        done(path, f"{index}/2")
    capsys.readouterr()
    assert main(["report", str(captures / "reported" / "state"), "--json"]) == 0
    assert {day["symbol"] for day in json.loads(capsys.readouterr().out)["days"]} == {*SYMBOLS}


@pytest.mark.parametrize("text", ["4/4", "one", ""])
def test_a_wrong_shard_is_wrong_usage(captures: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how one is written."""
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(configured(captures, "wrong")), "--shard", text])
    assert 'such as "0/4"' in capsys.readouterr().err
