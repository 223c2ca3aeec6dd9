"""What systemd and the log are told of the symbols' threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from cowbook.log import get_logger
from cowbook.service import supervision as module
from cowbook.service.supervision import Supervision
from cowbook.symbol import symbol_thread
from cowbook.symbol.figures import CheckpointFigures, InputFigures, WorkerFigures
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_thread import SymbolThread, ThreadContext
from cowbook.telemetry.metrics import ServiceMetrics
from cowbook.telemetry.systemd import Notifier
from support.figures import make_pipeline_figures


class PatientWorker:
    """Stands at its place when it is let, and runs until it is stopped."""

    def __init__(self, settings: dict[str, Any], *_: object, **__: object) -> None:
        self.settings = settings
        self.figures = WorkerFigures(InputFigures())
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        """As SymbolWorker."""
        self.stopped.set()

    async def run(self) -> SymbolSummary:
        """As SymbolWorker."""
        while not self.settings["may_begin"].is_set() and not self.stopped.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        checkpoints = CheckpointFigures(timestamp=1_767_225_600_000_000_000)
        self.figures = WorkerFigures(InputFigures(), 0.1, make_pipeline_figures(events=1000), checkpoints)
        await self.stopped.wait()
        return SymbolSummary("A")


class Bench:
    """Threads, a supervision, and a socket that listens in systemd's place."""

    def __init__(self, directory: Path, executor: ThreadPoolExecutor, watchdog: float | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "notify"))
        self.socket.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(directory / "notify")}
        if watchdog is not None:
            environ["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self.notifier = Notifier(environ)
        self.metrics = ServiceMetrics()
        self.supervision = Supervision(self.notifier, self.metrics, get_logger())
        self.gates = {name: threading.Event() for name in "AB"}
        context = ThreadContext("asyncio", executor, executor)
        self.threads = [
            SymbolThread(name, lambda gate=gate: {"may_begin": gate}, context)  # type: ignore[misc,arg-type]
            for name, gate in self.gates.items()
        ]
        self.messages: list[str] = []
        self.now = 0.0  # what the clock says

    def read(self) -> list[str]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(self.socket.recv(5000).decode())
        return self.messages

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - not everything tells when it changes
                await asyncio.sleep(0.005)

    async def pass_time(self, seconds: float, *answering: SymbolThread) -> None:
        """Let the clock go on, a little at a time: so that whose loop does not hang has answered each time."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            await self.until(lambda: all(thread.answered_at == self.now for thread in answering))

    def answers(self, symbol: str) -> float:
        """How often a symbol's loop has answered."""
        return self.metrics.registry.get_sample_value("cowbook_event_loop_lag_seconds_count", {"symbol": symbol}) or 0

    def hang(self, thread: SymbolThread) -> threading.Event:
        """Its loop stands still until the event is set."""
        gate = threading.Event()
        assert thread._loop is not None
        thread._loop.call_soon_threadsafe(gate.wait)
        return gate

    def close(self) -> None:
        """End everything."""
        for thread in self.threads:
            thread.stop()
        for thread in self.threads:
            if thread.ident is not None:
                assert thread.ended.wait(60)
                thread.join()
        self.notifier.close()
        self.socket.close()


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes one; with a short period, and a clock that goes on only when it is told."""
    monkeypatch.setattr(symbol_thread, "SymbolWorker", PatientWorker)
    monkeypatch.setattr(module, "_PERIOD_SECONDS", 0.02)
    benches: list[Bench] = []
    with ThreadPoolExecutor(2) as executor:

        def make(watchdog: float | None = None) -> Bench:
            bench = Bench(tmp_path, executor, watchdog)
            benches.append(bench)
            for place in (module, symbol_thread):
                monkeypatch.setattr(place, "time", SimpleNamespace(monotonic=lambda: bench.now))
            for thread in bench.threads:
                thread.answered_at = bench.now
            return bench

        yield make
        for bench in benches:
            bench.close()


@contextlib.asynccontextmanager
async def supervising(bench: Bench) -> AsyncIterator[None]:
    """Supervision runs meanwhile."""
    task = asyncio.create_task(bench.supervision.run(lambda: bench.threads))
    try:
        yield
    finally:
        ended = task.done()
        task.cancel()
        await asyncio.wait({task})
        assert not ended, task.exception()


STARTING = "STATUS=2 starting; 0 events"
HALF = "STATUS=1 running, 1 starting; 1,000 events; newest checkpoint 2026-01-01T00:00:00Z"
RUNNING = "STATUS=2 running; 2,000 events; newest checkpoint 2026-01-01T00:00:00Z"
EXTEND = "EXTEND_TIMEOUT_USEC=30000000"


async def test_ready_is_sent_once_after_every_symbol_has_started(make_bench: Callable[..., Bench]) -> None:
    """Until every symbol has started, systemd is asked to wait. Then READY is sent once."""
    bench = make_bench()
    for thread in bench.threads:
        thread.start()
    async with supervising(bench):
        await bench.until(lambda: bench.read().count(EXTEND) >= 3)
        bench.gates["A"].set()
        await bench.until(lambda: HALF in bench.read())
        before = len(bench.messages)
        await bench.until(lambda: EXTEND in bench.read()[before:])
        assert "READY=1" not in bench.read()
        assert not bench.supervision.is_ready
        bench.gates["B"].set()
        await bench.until(lambda: RUNNING in bench.read())
        assert bench.supervision.is_ready
        await bench.until(lambda: len(bench.read()) > bench.messages.index(RUNNING) + 3)
    messages = bench.read()
    assert messages[:3] == ["WATCHDOG=1", EXTEND, STARTING]
    ready = messages.index("READY=1")
    assert messages[ready - 1] == "WATCHDOG=1"
    assert messages.count("READY=1") == 1
    assert set(messages[3:ready]) == {"WATCHDOG=1", EXTEND, HALF}
    assert messages[3:ready].count(HALF) == 1
    assert set(messages[ready + 1 :]) == {"WATCHDOG=1", RUNNING}
    assert messages.count(RUNNING) == 1


@pytest.mark.long
@pytest.mark.parametrize("watchdog", [None, 0.4])
async def test_a_hanging_loop_withholds_signs_of_life(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, watchdog: float | None
) -> None:
    """No sign of life is sent while a symbol's loop hangs. They resume when it answers."""
    monkeypatch.setattr(module, "_UNHEALTHY_SECONDS", 0.2)
    bench = make_bench(watchdog)
    for gate, thread in zip(bench.gates.values(), bench.threads, strict=True):
        gate.set()
        thread.start()
    with structlog.testing.capture_logs() as logs:
        bench.supervision._log = get_logger()
        async with supervising(bench):
            await bench.until(lambda: "READY=1" in bench.read())
            await bench.pass_time(1.0, *bench.threads)
            assert bench.supervision.ailing(bench.threads) == []
            gate = bench.hang(bench.threads[1])
            await bench.pass_time(0.5, bench.threads[0])
            assert bench.supervision.ailing(bench.threads) == ["B"]
            await bench.until(lambda: any(log["event"] == "event loop does not answer" for log in logs))
            bench.read()
            before = len(bench.messages)
            looks = bench.answers("A")
            await bench.until(lambda: bench.answers("A") > looks + 4)
            assert "WATCHDOG=1" not in bench.read()[before:]
            gate.set()
            await bench.until(lambda: "WATCHDOG=1" in bench.read()[before:])
            assert bench.supervision.ailing(bench.threads) == []
    changes = [(log["event"], log["symbol"]) for log in logs if "event loop" in log["event"]]
    assert changes == [("event loop does not answer", "B"), ("event loop answers again", "B")]


async def test_signs_of_life_are_often_enough(make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life are sent more than twice in the watchdog's time, also if that is short."""
    monkeypatch.setattr(module, "_PERIOD_SECONDS", 1.0)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        bench.read()  # before the socket's queue is full
        await asyncio.sleep(0.001)

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=pause))
    bench = make_bench(0.2)
    for gate, thread in zip(bench.gates.values(), bench.threads, strict=True):
        gate.set()
        thread.start()
    async with supervising(bench):
        await bench.until(lambda: "READY=1" in bench.read())
        await bench.until(lambda: len(pauses) > 20)
    assert set(pauses) == {0.05}
    assert len(pauses) <= bench.read().count("WATCHDOG=1") <= len(pauses) + 1  # one each time


async def test_ended_and_pausing_symbols_are_not_ailing(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a symbol that ended long ago is ailing nor one that pauses before its next worker."""
    monkeypatch.setattr(module, "_UNHEALTHY_SECONDS", 0.1)
    bench = make_bench()
    bench.gates["A"].set()
    bench.threads[0].start()
    async with supervising(bench):
        await bench.until(lambda: bench.threads[0].state == "running")
        bench.threads[0].stop()
        await bench.until(bench.threads[0].ended.is_set)
        bench.now += 100
        await bench.until(lambda: bench.threads[1].answered_at == bench.now)  # which has no loop yet
        assert bench.threads[0].answered_at < bench.now
        assert bench.supervision.ailing(bench.threads) == []


async def test_waiting_for_input_is_logged_when_it_changes(make_bench: Callable[..., Bench]) -> None:
    """The log says what a symbol waits for when that changes, and when it is over, but not when the symbol is stopped."""
    bench = make_bench()
    thread = bench.threads[0]
    del bench.threads[1]
    bench.gates["A"].set()
    thread.start()
    with structlog.testing.capture_logs() as logs:
        bench.supervision._log = get_logger()

        def seen() -> list[tuple[str, Any]]:
            return [(log["event"], log.get("reason")) for log in logs if "input" in log["event"]]

        async with supervising(bench):
            await bench.until(lambda: "READY=1" in bench.read())
            worker: Any = thread.worker
            expected: list[tuple[str, Any]] = []
            for reason in ("a", "b", None, "c"):
                worker.figures = replace(worker.figures, input=InputFigures(waiting_for=reason))
                expected.append(("waiting for input", reason) if reason else ("input is there", None))
                await bench.until(lambda: len(seen()) == len(expected))
            thread.stop()
            await bench.until(lambda: bench.supervision._states["A"][0] == "done")
        assert seen() == expected
    del bench.threads[:]
    assert thread.ended.wait(60)
    thread.join()


async def test_every_loops_lag_is_observed(make_bench: Callable[..., Bench]) -> None:
    """Every answer of every loop is observed."""
    bench = make_bench()
    for gate, thread in zip(bench.gates.values(), bench.threads, strict=True):
        gate.set()
        thread.start()

    async with supervising(bench):
        await bench.until(lambda: bench.answers("A") >= 3 and bench.answers("B") >= 3)
