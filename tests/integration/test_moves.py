"""Symbols that go from shard to shard while their captures grow: the parts are those of a run that knows no shards."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.cluster import driver as module
from cowbook.cluster.balance import SymbolMove
from cowbook.cluster.driver import Driver
from cowbook.config import Config, load_config
from cowbook.service import early_signals
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.harness import read_parts
from support.hosted_cluster import HostedCluster

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
_MOVES = 20
_MESSAGES = 4_000
_CONFIG = """
[service]
state_dir = "{name}/state"
output_dir = "{name}/data"
[http]
listen = ""
[checkpoint]
every_events = 5000
[output]
part_events = 5000
"""
_SYMBOL = """
[[symbol]]
name = "{symbol}"
format = "binance"
paths = ["{symbol}.jsonl"]
follow = {follow}
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks are frequent, and signals are whose they were afterwards."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    previous = {number: signal.getsignal(number) for number in early_signals.HANDLED}
    yield
    early_signals.deliver_to(None)
    for number, handler in previous.items():
        signal.signal(number, handler)


def configure(directory: Path, name: str, *, follow: bool) -> Config:
    """With state and output of its own."""
    path = directory / f"{name}.toml"
    symbols = [_SYMBOL.format(symbol=symbol, follow=str(follow).lower()) for symbol in _SYMBOLS]
    path.write_text(_CONFIG.format(name=name) + "".join(symbols))
    return load_config(path, {})


def random_moves(monkeypatch: pytest.MonkeyPatch, seed: int) -> list[SymbolMove]:
    """Have each plan be one move of any symbol to any other shard, until there were enough. Returns those that were planned."""
    chosen, planned = random.Random(seed), []

    def plan(loads: Any, placed: Any, nodes: Any, *, whole: bool) -> list[SymbolMove]:
        assert not whole
        assert {*placed.values()} == {*nodes}
        candidates = [(symbol, shard) for shard, symbols in loads.items() for symbol in symbols]
        if not candidates:
            return []  # the shards begin
        symbol, giver = chosen.choice(candidates)
        taker = chosen.choice([shard for shard in placed if shard != giver])
        planned.append(SymbolMove(symbol, giver, taker))
        return planned[-1:]

    monkeypatch.setattr(module, "plan_moves", lambda *given, **named: plan(*given, **named) if len(planned) < _MOVES else [])
    return planned


async def _append(directory: Path, pieces: dict[str, list[bytes]], moves: list[SymbolMove], running: asyncio.Task[int]) -> None:
    """Append lines as recorders would, for as long as there are moves; then the rest."""
    while any(pieces.values()):
        assert not running.done(), running.result()
        for symbol, lines in pieces.items():
            is_over = len(moves) == _MOVES
            count = len(lines) if is_over else min(10, max(0, len(lines) - 200))  # some are left for the last move
            with (directory / f"{symbol}.jsonl").open("ab") as file:
                file.write(b"".join(lines[:count]))
            del lines[:count]
        await asyncio.sleep(0.02)


async def _all_read(directory: Path, driver: Driver, running: asyncio.Task[int]) -> dict[str, Any]:
    """Wait until every byte is. Returns the status then."""
    sizes = {symbol: (directory / f"{symbol}.jsonl").stat().st_size for symbol in _SYMBOLS}
    async with asyncio.timeout(120):
        while True:
            status = driver.view.status()
            if status["ready"] and all(symbol["offset"] == sizes[symbol["id"]] for symbol in status["symbols"]):
                return status
            assert not running.done(), running.result()
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_twenty_moves_under_load_leave_the_parts_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any symbol, to any shard, one at a time. None is lost, no shard's process ends, and nothing fails or starts again."""
    moves = random_moves(monkeypatch, seed)
    pieces = {}
    for place, symbol in enumerate(_SYMBOLS):
        write_capture(tmp_path / "whole", symbol=symbol, messages=_MESSAGES, seed=seed + place)
        lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
        (tmp_path / f"{symbol}.jsonl").write_bytes(b"".join(lines[:200]))
        pieces[symbol] = lines[200:]
        (tmp_path / "whole").unlink()
    config = configure(tmp_path, "cluster", follow=True)
    cluster = HostedCluster("a", "b")
    driver = Driver(cluster, lambda: config, {}, shards=3, balance_seconds=0.2)
    running = asyncio.create_task(driver.run())
    try:
        await _append(tmp_path, pieces, moves, running)
        status = await _all_read(tmp_path, driver, running)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
    finally:
        await asyncio.to_thread(cluster.close)
    assert [symbol["id"] for symbol in status["symbols"]] == [*_SYMBOLS]
    assert [(symbol["state"], symbol["restarts"], symbol["error"]) for symbol in status["symbols"]] == [("running", 0, None)] * 4
    assert sum(row["takeovers"] for row in status["shards"]) == 0
    assert len(moves) == _MOVES
    assert f"cowbook_moves_total {_MOVES:.1f}" in driver.view.render_metrics(openmetrics=False).decode()
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    seconds = [line["seconds"] for line in logged if line["event"] == "moved"]
    assert len(seconds) == _MOVES
    print(f"moves took {min(seconds)} to {max(seconds)} s")

    for name in ("cluster", "alone"):
        await asyncio.to_thread(run_once, configure(tmp_path, name, follow=False))
    expected = read_parts(tmp_path / "alone" / "data")
    assert expected
    assert read_parts(tmp_path / "cluster" / "data") == expected
