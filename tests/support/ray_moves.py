"""Symbols go from shard to shard of a Ray cluster: at random while nodes and drivers are killed, and as their load asks for."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

from cowbook.cluster.balance import divide
from cowbook.config import load_config
from support import random_moves
from support.daemon_process import free_port
from support.ray_campaign import NODES, Feeder, RunningDriver, Seen, configure, finish_and_compare, kill_one, read_all
from support.ray_nodes import RayNodes

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
_MOVES = 20
_KILLS = 2
_BALANCE_SECONDS = 5
_PROGRAM = (str(Path(random_moves.__file__)),)


def move_symbols(directory: Path, seed: int) -> Seen:
    """Twenty moves under load, of any symbol to any shard. In between nodes and drivers are killed; the shards go on."""
    os.environ[random_moves.SEED] = str(seed)
    seen, feeder, nodes = Seen(), Feeder(directory, seed, _SYMBOLS), RayNodes(directory / "ray")
    chosen = random.Random(seed)
    try:
        for name in ("head", *NODES):
            nodes.start(name)
        port = free_port()
        config = configure(directory, "cluster", port, symbols=_SYMBOLS)
        detached = RunningDriver(config, port, nodes.address, "--shards", "3", "--detach")
        assert detached.process.wait(120) == 0, detached.log.read_text()[-4000:]
        feeder.start()
        driver = _moving(config, port, nodes)
        for _ in range(_KILLS):
            _wait_for_moves(driver, _MOVES // (_KILLS + 1))
            kill_one(nodes, driver, chosen, seen)
            driver.process.kill()
            driver.process.wait()
            driver = _moving(config, port, nodes)
        _wait_for_moves(driver, _MOVES - 2 * (_MOVES // (_KILLS + 1)))
        read_all(directory, feeder, driver)
        assert [symbol["id"] for symbol in driver.status()["symbols"]] == [*_SYMBOLS]
        assert all(symbol["error"] is None for symbol in driver.status()["symbols"])
        assert driver.stop() == 0, driver.log.read_text()[-4000:]
        seconds = [float(found) for found in re.findall(r'"seconds": ([0-9.]+), "event": "moved"', driver.log.read_text())]
        assert len(seconds) >= _MOVES, driver.log.read_text()[-4000:]
        print(f"{len(seconds)} moves took {min(seconds)} to {max(seconds)} s", flush=True)
    finally:
        nodes.close()
    finish_and_compare(directory, seen, _SYMBOLS)
    return seen


def even_out_load(directory: Path, seed: int) -> Seen:
    """Only one shard's symbols have messages. One of them goes to the other node, which the load of both asks for."""
    seen, nodes = Seen(), RayNodes(directory / "ray")
    try:
        for name in ("head", *NODES[:2]):
            nodes.start(name)
        port = free_port()
        config = configure(directory, "cluster", port, symbols=_SYMBOLS)
        config.write_text(config.read_text().replace("follow = true", 'follow = true\nfollow_delay = "0ms"'))  # it costs wake-ups
        parts = divide(load_config(config, {}), 2)
        busy = max(parts, key=lambda shard: len(parts[shard].symbol))
        ids = {symbol.id for symbol in parts[busy].symbol}
        assert len(ids) > 1, "what has one symbol only can give none"
        feeder = Feeder(directory, seed, _SYMBOLS, ids)
        driver = RunningDriver(config, port, nodes.address, "--shards", "2", "--balance", f"{_BALANCE_SECONDS}s")
        driver.wait_for(lambda: driver.status()["ready"], "the shards are ready")
        before = {row["shard"]: (row["node"], row["symbols"]) for row in driver.status()["shards"]}
        feeder.start()
        _wait_for_moves(driver, 1)
        driver.wait_for(lambda: driver.status()["ready"], "the symbol is in its new shard")
        rows = {row["shard"]: row for row in driver.status()["shards"]}
        assert {shard: row["node"] for shard, row in rows.items()} == {shard: node for shard, (node, _) in before.items()}
        assert rows[busy]["symbols"] < before[busy][1], (before, rows)
        moved = re.findall(r'"symbol": "(\w+)", "source": "([0-9/]+)"', driver.log.read_text())
        assert moved[0][0] in ids, moved
        assert moved[0][1] == busy, moved
        assert sum(row["takeovers"] for row in rows.values()) == 0
        read_all(directory, feeder, driver)
        assert driver.stop() == 0, driver.log.read_text()[-4000:]
    finally:
        nodes.close()
    finish_and_compare(directory, seen, _SYMBOLS)
    return seen


def _moving(config: Path, port: int, nodes: RayNodes) -> RunningDriver:
    """A driver that adopts the shards, with the symbols that each has."""
    driver = RunningDriver(config, port, nodes.address, "--balance", "1s", program=_PROGRAM)
    driver.wait_for(lambda: driver.status()["ready"], "the shards are adopted")
    assert sum(row["symbols"] for row in driver.status()["shards"]) == len(_SYMBOLS)
    return driver


def _wait_for_moves(driver: RunningDriver, count: int) -> None:
    """Wait until this driver has made so many."""

    def moves() -> float:
        (found,) = re.findall(r"^cowbook_moves_total ([0-9.]+)$", driver.get("/metrics"), re.MULTILINE)
        return float(found)

    driver.wait_for(lambda: moves() >= count, f"{count} moves")
    time.sleep(0.3)
