"""The driver, on a cluster in memory: what it starts, adopts, moves, shows and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cowbook.cluster import driver as module
from cowbook.cluster.balance import SymbolMove, divide, part_of
from cowbook.cluster.driver import Driver
from cowbook.config import Config
from cowbook.errors import StorageError
from cowbook.service import early_signals
from cowbook.telemetry.status import problems_of
from support.fake_cluster import FakeCluster, FakeShard, config_of

SYMBOLS = ("A", "B", "C", "D", "E", "F", "G")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks are frequent, and signals are whose they were afterwards."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_LEAST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("cowbook.cluster.shard_control._POLL_SECONDS", 0.005)
    previous = {number: signal.getsignal(number) for number in early_signals.HANDLED}
    yield
    early_signals.deliver_to(None)
    for number, handler in previous.items():
        signal.signal(number, handler)


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(cluster: FakeCluster, config: Config, **options: Any) -> AsyncIterator[tuple[Driver, Awaitable[int]]]:
    """A driver that is ready, and is stopped by a signal at the end if it has not ended by then."""
    driver = Driver(cluster, lambda: config, {}, **options)
    task = asyncio.create_task(driver.run())
    await until(lambda: task.done() or (driver.view.status()["ready"]))
    try:
        yield driver, task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


async def test_shards_are_spread_and_a_signal_ends_each_well(tmp_path: Path) -> None:
    """Two for a node; all of them are stopped before they are killed."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS)) as (driver, ended):
        assert [row["shard"] for row in driver.view.status()["shards"]] == ["0/4", "1/4", "2/4", "3/4"]
        assert sorted(str(node) for _, node in cluster.started) == ["a", "a", "b", "b"]
        assert [symbol["id"] for symbol in driver.view.status()["symbols"]] == [*SYMBOLS]
        assert not any(shard.outlives for shard in cluster.there.values())
        os.kill(os.getpid(), signal.SIGINT)
        assert await ended == 0
    assert len(cluster.killed) == 4
    assert all(shard.stopped == 1 for shard in cluster.killed)


async def test_a_detached_shard_is_adopted_with_its_number_of_shards(tmp_path: Path) -> None:
    """The next driver starts nothing, and ends them."""
    cluster, config = FakeCluster("a", "b"), config_of(tmp_path, *SYMBOLS)
    async with running(cluster, config, detach=True, shards=3) as (_, ended):
        assert await ended == 0
    assert [shard.outlives for shard in cluster.there.values()] == [True] * 3
    assert not cluster.killed
    started = len(cluster.started)
    async with running(cluster, config) as (driver, _):
        assert len(driver.view.status()["shards"]) == 3
        await until(lambda: cluster.spares is not None)
        assert cluster.spares == ({"a", "b"}, 0, {"binance"})  # the cluster starts them again, not the driver
    assert len(cluster.started) == started
    assert len(cluster.killed) == 3


@pytest.mark.parametrize("why", ["release", "configuration", "count"])
async def test_what_does_not_fit_is_replaced(tmp_path: Path, why: str) -> None:
    """Each shard ends well before its successor starts, since both have the same symbols."""
    cluster, config = FakeCluster("a"), config_of(tmp_path, *SYMBOLS)
    async with running(cluster, config, detach=True, shards=2) as (_, ended):
        assert await ended == 0
    before = list(cluster.there.values())
    if why == "release":
        for shard in before:
            shard.version = "0.0.1"
    if why == "configuration":
        config = config_of(tmp_path, *SYMBOLS, more='[service]\nloop = "asyncio"\n')
    async with running(cluster, config, shards=3 if why == "count" else None) as (driver, _):
        assert [shard.stopped for shard in before] == [1, 1]
        assert cluster.killed == before
        assert len(driver.view.status()["shards"]) == (3 if why == "count" else 2)
        assert all(shard.the_task.config.service.loop == config.service.loop for shard in cluster.there.values())


async def test_an_adopted_shard_goes_over_to_what_a_reload_may_change(tmp_path: Path) -> None:
    """Its symbols do not notice: no process ends."""
    cluster, config = FakeCluster("a"), config_of(tmp_path, *SYMBOLS)
    async with running(cluster, config, detach=True, shards=2) as (_, ended):
        assert await ended == 0
    before = list(cluster.there.values())
    config = config_of(tmp_path, *SYMBOLS, more="[checkpoint]\nevery_events = 5\n")
    async with running(cluster, config):
        assert [shard.stopped for shard in before] == [0, 0]
        assert all(shard.the_task.config.checkpoint == config.checkpoint for shard in before)


async def test_a_shard_that_nobody_starts_again_is_started(tmp_path: Path) -> None:
    """At once, with the task that it has by now, and the driver says what happened."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2) as (driver, _):
        gone = cluster.there["0/2"]
        gone.is_gone = True
        await until(lambda: cluster.there["0/2"] is not gone and driver.view.status()["ready"])
        assert driver.view.status()["shards"][0]["takeovers"] == 1
        assert cluster.there["0/2"].the_task == gone.the_task


async def test_shards_of_a_dead_node_go_to_those_with_the_fewest(tmp_path: Path) -> None:
    """A spare process takes each: as many wait on a node as it may get shards."""
    cluster = FakeCluster("a", "b", "c")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=6) as (driver, _):
        lost = [shard for shard in cluster.there.values() if shard.node == "a"]
        assert len(lost) == 2
        await until(lambda: driver.view.status()["spares"] == {"wanted": 3, "ready": 3})
        lose(cluster, "a", lost)
        before = len(cluster.started)
        await until(lambda: not any(shard.is_gone for shard in cluster.there.values()) and driver.view.status()["ready"])
        assert sorted(str(node) for _, node in cluster.started[before:]) == ["b", "c"]
        await until(lambda: driver.view.status()["spares"] == {"wanted": 6, "ready": 6})


async def test_a_shard_goes_to_a_node_with_a_spare_process(tmp_path: Path) -> None:
    """Even where that one has more shards. Without any it goes to the one with the fewest."""
    cluster = FakeCluster("a", "b", "c")
    cluster.without_spares.add("c")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2) as (driver, _):
        await until(lambda: driver.view.status()["spares"] == {"wanted": 3, "ready": 2})
        for node, goes_to in (("a", "b"), ("b", "c")):
            lost = [shard for shard in cluster.there.values() if shard.node == node]
            lose(cluster, node, lost)
            await until(lambda: not any(shard.is_gone for shard in cluster.there.values()) and driver.view.status()["ready"])
            assert {shard.node for name, shard in cluster.there.items() if shard.the_task in [one.the_task for one in lost]} == {
                goes_to
            }


def lose(cluster: FakeCluster, node: str, shards: list[FakeShard]) -> None:
    """A node dies, with these shards."""
    cluster.alive.remove(node)
    for shard in shards:
        shard.is_gone = True


@pytest.mark.parametrize(("options", "waits"), [({}, True), ({"once": True}, False), ({"detach": True}, False)])
async def test_spare_processes_wait_on_each_node_once_all_is_ready(tmp_path: Path, options: dict[str, bool], waits: bool) -> None:
    """With the kernels of the formats. Not where the driver is not going to start a shard again, or nobody waits for that."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=4, **options):
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert cluster.spares == (({"a", "b"}, 2, {"binance"}) if waits else None)
        if waits:
            cluster.alive.append("c")
            await until(lambda: cluster.spares == ({"a", "b", "c"}, 1, {"binance"}))


async def test_a_shard_that_ends_again_and_again_is_started_with_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each twice as long as the one before, until it has answered."""
    monkeypatch.setattr(module, "_LEAST_PAUSE_SECONDS", 0.05)
    cluster = FakeCluster("a")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=1) as (driver, _):
        cluster.there["0/1"].is_gone = cluster.are_stillborn = True
        began = asyncio.get_running_loop().time()
        await until(lambda: len(cluster.started) == 4)
        assert asyncio.get_running_loop().time() - began >= 0.05 + 0.1
        cluster.are_stillborn = False
        await until(lambda: driver.view.status()["ready"])


async def test_a_lost_node_shows_and_a_takeover_is_counted(tmp_path: Path) -> None:
    """Symbols of the lost shard stand as they were, and the others are as before."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2) as (driver, _):
        lost = next(shard for shard in cluster.there.values() if shard.node == "b")
        cluster.alive.remove("b")
        lost.is_reachable = False
        await until(lambda: not driver.view.status()["ready"])
        status = driver.view.status()
        states = {symbol["id"]: symbol["state"] for symbol in status["symbols"]}
        ids = {symbol.id for symbol in lost.the_task.config.symbol}
        assert {symbol for symbol, state in states.items() if state == "lost"} == ids
        assert len(status["unreachable"]) == 1
        assert {symbol["id"] for symbol in status["symbols"] if problems_of(symbol)} == ids
        lost.node, lost.instance, lost.is_reachable = "a", "successor", True
        await until(lambda: driver.view.status()["ready"])
        (row,) = (row for row in driver.view.status()["shards"] if row["shard"] == lost.the_task.shard)
        assert (row["takeovers"], row["node"]) == (1, "a")
        assert row["takeover_seconds"] > 0
        text = driver.view.render_metrics(openmetrics=False).decode()
        assert f'cowbook_takeovers_total{{shard="{row["shard"]}"}} 1.0' in text
        assert "cowbook_nodes 1.0" in text


def symbols_of(cluster: FakeCluster) -> dict[str, list[str]]:
    """What each shard has, by its own word."""
    return {name: [symbol.id for symbol in shard.the_task.config.symbol] for name, shard in cluster.there.items()}


async def test_a_node_without_shards_gets_one_from_a_busy_node(tmp_path: Path) -> None:
    """It is stopped, and started on the idle node; that is a move and no takeover."""
    cluster = FakeCluster("a")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=3, balance_seconds=0.1) as (driver, _):
        cluster.alive.append("b")

        def work() -> bool:
            for shard in cluster.there.values():
                shard.cpu_seconds += 0.01
            return any(shard.node == "b" for shard in cluster.there.values())

        await until(work)
        await until(lambda: driver.view.status()["ready"])
        assert sum(row["takeovers"] for row in driver.view.status()["shards"]) == 0
        assert cluster.killed[0].stopped == 1
        assert b"cowbook_moves_total" in driver.view.render_metrics(openmetrics=False)


async def test_load_moves_symbols_one_at_a_time_and_no_process_ends(tmp_path: Path) -> None:
    """From the shard whose messages cost most. No symbol is ever in two shards, nor among two tasks that are kept."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2, balance_seconds=0.1) as (driver, _):
        busy = max(cluster.there, key=lambda shard: len(symbols_of(cluster)[shard]))
        begun = symbols_of(cluster)[busy]

        def work() -> bool:
            shard = cluster.there[busy]
            shard.cpu_seconds += 0.01
            shard.messages = {symbol: shard.messages.get(symbol, 0) + 10 for symbol in begun}
            for having in (
                symbols_of(cluster),
                {name: [one.id for one in task.config.symbol] for name, task in cluster.kept.items()},
            ):
                symbols = [symbol for ids in having.values() for symbol in ids]
                assert len(symbols) == len({*symbols}) >= len(SYMBOLS) - 1
            return len(symbols_of(cluster)[busy]) < len(begun)

        await until(work)
        await until(lambda: driver.view.status()["ready"])
        steps = [len(ids) for ids in cluster.there[busy].followed]
        assert steps == [len(begun) - 1 - step for step in range(len(steps))]
        assert sorted(symbol for ids in symbols_of(cluster).values() for symbol in ids) == [*SYMBOLS]
        assert not cluster.killed


def asked_moves(monkeypatch: pytest.MonkeyPatch) -> list[SymbolMove]:
    """Have a driver plan what a test puts there, each once, and nothing else."""
    asked: list[SymbolMove] = []
    monkeypatch.setattr("cowbook.cluster.driver.measure_loads", lambda *_: {"0/2": {}, "1/2": {}})
    monkeypatch.setattr(module, "plan_moves", lambda *_, **__: [asked.pop()] if asked else [])
    return asked


async def test_a_shard_that_starts_again_has_its_symbols_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it was lost while a symbol was given to it, or taken from it."""
    moves = asked_moves(monkeypatch)
    cluster = FakeCluster("a", "b")
    config = config_of(tmp_path, *SYMBOLS)
    assert "A" in [symbol.id for symbol in divide(config, 2)["1/2"].symbol]
    async with running(cluster, config, shards=2, balance_seconds=0.05) as (driver, _):
        for one in cluster.there.values():
            one.is_deaf = True
        moves.append(SymbolMove("A", "1/2", "0/2"))
        for shard, has_it in (("1/2", False), ("0/2", True)):
            await until(partial(a_is_kept, cluster, shard, has_it=has_it))
            await asyncio.sleep(0.05)
            assert ("A" in symbols_of(cluster)[shard]) != has_it  # it has not noticed
            assert next(row for row in driver.view.status()["symbols"] if row["id"] == "A")["state"] == "moving"
            cluster.there[shard].is_deaf = False
            cluster.restart(shard, "b")
            assert ("A" in symbols_of(cluster)[shard]) == has_it
        await until(lambda: driver.view.status()["ready"] and driver.view.moving is None)
        assert sum(row["takeovers"] for row in driver.view.status()["shards"]) == 2
        assert not cluster.killed


def a_is_kept(cluster: FakeCluster, shard: str, *, has_it: bool) -> bool:
    """Whether a shard's next process would have the symbol A, or not."""
    return ("A" in ids_kept(cluster, shard)) == has_it


def ids_kept(cluster: FakeCluster, shard: str) -> list[str]:
    """Symbols of the task that the cluster keeps."""
    return [symbol.id for symbol in cluster.kept[shard].config.symbol]


@pytest.mark.parametrize("noticed", [True, False])
async def test_the_next_driver_finds_symbols_where_they_are_and_one_that_is_nowhere(tmp_path: Path, noticed: bool) -> None:
    """A driver has moved A, and ended when it had taken B from its shard, which may not have noticed."""
    cluster, config = FakeCluster("a", "b"), config_of(tmp_path, *SYMBOLS)
    async with running(cluster, config, detach=True, shards=2) as (_, ended):
        assert await ended == 0
    for shard, ids in (("1/2", {*ids_kept(cluster, "1/2")} - {"A"}), ("0/2", {*ids_kept(cluster, "0/2"), "A"})):
        cluster.assign(cluster.kept[shard].then(part_of(config, shard, ids)))
        cluster.there[shard].follow(cluster.kept[shard])
    home = next(shard for shard in cluster.kept if "B" in ids_kept(cluster, shard))
    cluster.assign(cluster.kept[home].then(part_of(config, home, {*ids_kept(cluster, home)} - {"B"})))
    if noticed:
        cluster.there[home].follow(cluster.kept[home])
    async with running(cluster, config) as (driver, _):
        await until(lambda: "B" in symbols_of(cluster)[home])
        assert "A" in symbols_of(cluster)["0/2"]
        assert sorted(symbol for ids in symbols_of(cluster).values() for symbol in ids) == [*SYMBOLS]
        assert [symbol["id"] for symbol in driver.view.status()["symbols"]] == [*SYMBOLS]
        assert not cluster.killed
        assert {name: task.number for name, task in cluster.kept.items()} == {
            name: shard.the_task.number for name, shard in cluster.there.items()
        }


async def test_a_move_waits_for_the_head_to_keep_it_and_a_stop_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody would find again is told to nobody."""
    monkeypatch.setattr("cowbook.cluster.shard_control._SIGN_SECONDS", 0.01)
    moves = asked_moves(monkeypatch)
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2, balance_seconds=0.05) as (driver, ended):
        cluster.is_headless = True
        moves.append(SymbolMove("A", "1/2", "0/2"))
        await until(lambda: driver.view.moving == "A")
        await asyncio.sleep(0.05)
        assert "A" in symbols_of(cluster)["1/2"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await ended == 0


async def test_with_no_interval_nothing_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However uneven it is."""
    monkeypatch.setattr(module, "plan_moves", lambda *_, **__: pytest.fail("it was asked what to move"))
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=2, balance_seconds=0.0):
        await asyncio.sleep(0.1)


async def test_a_reload_goes_to_the_shards_that_change(tmp_path: Path) -> None:
    """Adding a symbol concerns one of them, and no process ends. What would change rows is refused whole."""
    configs = [config_of(tmp_path, *SYMBOLS)]
    cluster = FakeCluster("a", "b")
    driver = Driver(cluster, lambda: configs[-1], {}, shards=3)
    task = asyncio.create_task(driver.run())
    await until(lambda: driver.view.status()["ready"])
    configs.append(config_of(tmp_path, *SYMBOLS, "H"))
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(driver.view.status()["symbols"]) == 8 and driver.view.status()["ready"])
    assert sum(len(shard.followed) for shard in cluster.there.values()) == 1
    configs.append(config_of(tmp_path, *SYMBOLS, "H", more='[output]\nnumbers = "int64"\n'))
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert sum(len(shard.followed) for shard in cluster.there.values()) == 1
    assert not cluster.killed
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_a_reload_gives_a_failed_shard_a_new_process(tmp_path: Path) -> None:
    """What has ended cannot go over to anything."""
    configs = [config_of(tmp_path, *SYMBOLS)]
    cluster = FakeCluster("a", "b")
    driver = Driver(cluster, lambda: configs[-1], {}, shards=2)
    task = asyncio.create_task(driver.run())
    await until(lambda: driver.view.status()["ready"])
    failed = cluster.there["0/2"]
    failed.ended = True
    await until(lambda: driver.view.status()["shards"][0]["state"] == "done")
    configs.append(config_of(tmp_path, *SYMBOLS, more="[checkpoint]\nevery_events = 5\n"))
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: cluster.there.get("0/2", failed) is not failed and driver.view.status()["ready"])
    assert cluster.killed == [failed]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_a_run_to_the_end_has_one_summary(tmp_path: Path) -> None:
    """In the order of the configuration, whatever shard a symbol was in."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), once=True, shards=3) as (driver, ended):
        for shard in cluster.there.values():
            assert shard.the_task.once
            shard.ended = True
        assert await ended == 0
    assert [summary.id for summary in driver.summaries] == [*SYMBOLS]
    assert not cluster.there


async def test_checkpoints_and_books_are_asked_of_the_shard_that_has_the_symbol(tmp_path: Path) -> None:
    """All symbols: all shards. Where one does not answer, its symbols have an error."""
    cluster = FakeCluster("a", "b")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=3) as (driver, _):
        answers = await driver.view.checkpoint(None, waits=True)
        assert sorted(answer["id"] for answer in answers) == [*SYMBOLS]
        assert await driver.view.checkpoint("C", waits=False) == [{"id": "C", "epoch": 3, "error": None}]
        assert await driver.view.read_book("C", 5, "json") == b"C 5 json"
        with pytest.raises(KeyError):
            await driver.view.checkpoint("Z", waits=True)
        for shard in cluster.there.values():
            shard.is_reachable = False
        answers = await driver.view.checkpoint(None, waits=True)
        assert len(answers) == len(SYMBOLS)
        assert all("does not answer" in answer["error"] for answer in answers)
        with pytest.raises(StorageError, match="does not answer"):
            await driver.view.read_book("C", 5, "json")
        for shard in cluster.there.values():
            shard.is_reachable = True


async def test_systemd_is_told_when_all_shards_are_ready(tmp_path: Path) -> None:
    """As by a plain run: ready once, a status line, signs of life, and the stop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        said: list[str] = []

        async def listen() -> None:  # all along: the queue holds few datagrams
            while True:
                said.append((await asyncio.get_running_loop().sock_recv(listener, 4096)).decode())

        listening = asyncio.create_task(listen())
        cluster, config = FakeCluster("a", "b"), config_of(tmp_path, *SYMBOLS)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        driver = Driver(cluster, lambda: config, environ, shards=3)
        task = asyncio.create_task(driver.run())
        await until(lambda: "READY=1" in said)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0
        await until(lambda: "STOPPING=1" in said)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert said.count("READY=1") == 1
    assert said.index("READY=1") < said.index("STOPPING=1")
    assert "WATCHDOG=1" in said
    assert any(line.startswith("STATUS=shards: 3 running; 2 nodes") for line in said)
    assert not environ  # no child notifies in the driver's name


async def test_a_shard_that_is_lost_while_it_stops_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code says that something was left to do."""
    monkeypatch.setattr("cowbook.cluster.shard_control.STOP_PATIENCE_SECONDS", 0.1)
    cluster = FakeCluster("a")
    async with running(cluster, config_of(tmp_path, *SYMBOLS), shards=1) as (_, ended):
        cluster.there["0/1"].is_reachable = False
        os.kill(os.getpid(), signal.SIGTERM)
        assert await ended == 1
