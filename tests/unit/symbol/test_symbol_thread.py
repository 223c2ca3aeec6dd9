"""A symbol's thread: what follows when its worker ends, and what other threads may ask of it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import structlog

from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.config import Config, load_config
from cowbook.errors import InputError, StorageError
from cowbook.plain.durable_files import DurableFiles
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_thread as module
from cowbook.symbol.figures import CheckpointFigures, InputFigures, WorkerFigures
from cowbook.symbol.settings import worker_settings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_thread import SymbolThread, ThreadContext
from cowbook.symbol.symbol_worker import SymbolWorker
from support.figures import make_pipeline_figures
from support.harness import read_parts

WORKING = WorkerFigures(InputFigures(), 0.1, make_pipeline_figures(), CheckpointFigures(epoch=7))
"""Of a worker that has recovered."""


class FakeWorker:
    """Does what the script says: each worker one step of it."""

    script: ClassVar[list[Callable[[FakeWorker], Coroutine[Any, Any, SymbolSummary]]]] = []
    made: ClassVar[list[FakeWorker]] = []

    def __init__(self, settings: Any, *_: object, **__: object) -> None:
        self.settings = settings
        self.figures = WorkerFigures()
        self.stopped = asyncio.Event()
        self.configured: list[CheckpointSettings] = []
        self.requests: list[asyncio.Future[int]] = []
        self.made.append(self)

    def stop(self) -> None:
        """As SymbolWorker."""
        self.stopped.set()

    def configure(self, settings: CheckpointSettings) -> None:
        """As SymbolWorker."""
        self.configured.append(settings)

    def request_checkpoint(self) -> asyncio.Future[int]:
        """As SymbolWorker."""
        if self.figures.pipeline is None:
            raise StorageError("the worker has not begun yet")
        self.requests.append(asyncio.get_running_loop().create_future())
        return self.requests[-1]

    async def run(self) -> SymbolSummary:
        """The next step."""
        return await self.script.pop(0)(self)


def fails(error: Exception, *, recovers: bool = False, commits: bool = False) -> Any:
    """A worker that ends with an error."""

    async def step(worker: FakeWorker) -> SymbolSummary:
        worker.figures = WorkerFigures(
            recovery_seconds=0.1 if recovers else None, checkpoints=CheckpointFigures(committed=int(commits))
        )
        raise error

    return step


async def ends(worker: FakeWorker) -> SymbolSummary:
    """A worker at the end of its input."""
    worker.figures = WORKING
    return SymbolSummary("A")


async def waits(worker: FakeWorker) -> SymbolSummary:
    """A worker that runs until it is stopped."""
    worker.figures = WORKING
    await worker.stopped.wait()
    return SymbolSummary("A")


class Pauses(threading.Event):
    """Notes how long the pauses would be."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """At once."""
        self.seconds.append(timeout)
        return self.is_set()


class HeldPauses(threading.Event):
    """Pauses last until the test ends them, however long it takes to look at what is during one."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Until `over` is released."""
        assert self.over.acquire(timeout=60)
        return self.is_set()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():  # tracebacks for people take their time
        yield


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorker]:
    """Instead of real workers."""
    monkeypatch.setattr(module, "SymbolWorker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "script", [])
    monkeypatch.setattr(FakeWorker, "made", [])
    return FakeWorker


@pytest.fixture(params=["asyncio", "uvloop"])
def context(request: pytest.FixtureRequest) -> Iterator[ThreadContext]:
    """Executors for the workers."""
    with ThreadPoolExecutor(2) as executor:
        yield ThreadContext(request.param, executor, executor)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(thread: SymbolThread) -> None:
    """Wait for its end."""
    assert thread.ended.wait(60)
    thread.join()


def make(context: ThreadContext, settings: Any = None) -> SymbolThread:
    """A thread."""
    return SymbolThread("A", lambda: settings, context)


def run(context: ThreadContext, *script: Any) -> tuple[SymbolThread, list[float | None], list[str]]:
    """Run workers by a script to the end: the thread, its pauses and the reasons for its restarts."""
    reasons: list[str] = []
    FakeWorker.script[:] = script
    thread = make(replace(context, on_restart=lambda _, reason: reasons.append(reason)))
    pauses = thread._stop_asked = Pauses()
    thread.start()
    finish(thread)
    assert not FakeWorker.script
    return thread, pauses.seconds, reasons


@pytest.mark.usefixtures("fake")
def test_pauses_for_failing_storage_grow_to_a_bound_without_end(context: ThreadContext) -> None:
    """The pauses between workers double up to a bound, and the attempts never end."""
    thread, pauses, reasons = run(context, *[fails(StorageError("full", errno.ENOSPC))] * 20, ends)
    assert pauses == [0.5, 1, 2, 4, 8, 16] + [30] * 14
    assert reasons == ["storage"] * 20
    assert (thread.state, thread.restarts, thread.last_error) == ("done", 20, "full")
    assert thread.summary is not None
    assert thread.summary.restarts == 20
    assert thread.failure is None


@pytest.mark.usefixtures("fake")
def test_a_commit_resets_the_pause(context: ThreadContext) -> None:
    """After a worker that has committed a checkpoint, pauses begin short again."""
    error = StorageError("full", errno.ENOSPC)
    _, pauses, _ = run(context, *[fails(error)] * 3, fails(error, commits=True), fails(error), ends)
    assert pauses == [0.5, 1, 2, 0.5, 1]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "code", [errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.EEXIST, errno.EXDEV, errno.EFBIG]
)
def test_a_storage_error_that_needs_repair_fails_the_symbol(context: ThreadContext, code: int) -> None:
    """An error that a person must repair fails the symbol without a further attempt."""
    thread, pauses, _ = run(context, fails(StorageError("in the way", code), recovers=True))
    assert pauses == []
    assert (thread.state, thread.last_error, thread.restarts) == ("failed", "in the way", 0)
    assert thread.summary is not None
    assert (thread.summary.state, thread.summary.error) == ("failed", "in the way")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT])
def test_a_missing_permission_is_final_unless_the_symbol_has_worked(context: ThreadContext, code: int) -> None:
    """Such an error is final, unless the symbol has worked before."""
    error = StorageError("no right", code)
    thread, pauses, _ = run(context, fails(StorageError("full", errno.ENOSPC)), fails(error))
    assert (thread.state, pauses) == ("failed", [0.5])
    thread, pauses, _ = run(context, fails(StorageError("full", errno.ENOSPC), recovers=True), fails(error), ends)
    assert (thread.state, pauses) == ("done", [0.5, 1])


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.usefixtures("fake")
def test_what_is_scarce_is_waited_for_wherever_it_shows(context: ThreadContext, code: int) -> None:
    """Also where no file is involved, such as a new event loop. It is no bug."""
    thread, pauses, restarts = run(context, *(fails(OSError(code, os.strerror(code))) for _ in range(20)), ends)
    assert thread.state == "done"
    assert len(pauses) == 20
    assert restarts == ["storage"] * 20
    assert os.strerror(code) in (thread.last_error or "")


@pytest.mark.usefixtures("fake")
def test_a_service_waits_for_memory_and_a_single_run_does_not(context: ThreadContext) -> None:
    """Either says what to do."""
    thread, pauses, _ = run(context, fails(MemoryError("8 GB")), ends)
    assert (thread.state, len(pauses)) == ("done", 1)
    assert "not enough memory: 8 GB; raise the limit" in (thread.last_error or "")
    thread, pauses, _ = run(replace(context, retries_errors=False), fails(MemoryError()))
    assert (thread.state, len(pauses)) == ("failed", 0)
    assert "not enough memory: none; raise the limit" in (thread.last_error or "")


@pytest.mark.usefixtures("fake")
def test_the_eleventh_error_in_ten_minutes_fails_the_symbol(context: ThreadContext) -> None:
    """After ten further attempts the symbol fails, because it is a bug that must be reported."""
    thread, pauses, reasons = run(context, *[fails(ZeroDivisionError("a mistake"))] * 11)
    assert len(pauses) == 10
    assert reasons == ["error"] * 10
    assert thread.state == "failed"
    assert thread.last_error is not None
    assert thread.last_error.startswith("11 errors in 10 minutes, the last: ZeroDivisionError('a mistake')")


@pytest.mark.usefixtures("fake")
def test_only_errors_of_the_last_ten_minutes_count(context: ThreadContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors of the last ten minutes count, so that rare ones never fail the symbol."""
    now = [0.0]

    def monotonic() -> float:
        now[0] += 20.0  # several calls for each attempt
        return now[0]

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic))
    thread, pauses, _ = run(context, *[fails(ZeroDivisionError("a mistake"))] * 8, ends)
    assert thread.state == "done"
    monkeypatch.setattr(module, "_ERROR_WINDOW_SECONDS", 15.0)
    thread, pauses, _ = run(context, *[fails(ZeroDivisionError("a mistake"))] * 40, ends)
    assert len(pauses) == 40
    assert thread.state == "done"


@pytest.mark.usefixtures("fake")
def test_a_single_run_keeps_its_error_and_is_not_tried_again(context: ThreadContext) -> None:
    """The error is kept for the caller that started the thread."""
    thread, pauses, _ = run(replace(context, retries_errors=False), fails(ZeroDivisionError("a mistake")))
    assert pauses == []
    assert isinstance(thread.failure, ZeroDivisionError)
    assert thread.state == "failed"


@pytest.mark.usefixtures("fake")
def test_a_symbol_without_settings_fails_and_reports_its_end(context: ThreadContext) -> None:
    """Without an input file the symbol fails, and its end is reported."""
    ended = []

    def make_settings() -> Any:
        raise InputError("nothing matches")

    thread = SymbolThread("A", make_settings, replace(context, on_end=lambda: ended.append(1)))
    thread.start()
    finish(thread)
    assert (thread.state, thread.last_error, ended) == ("failed", "nothing matches", [1])
    assert isinstance(thread.checkpoint().exception(), StorageError)


def test_stop_ends_the_pause_and_one_more_worker_runs(
    fake: type[FakeWorker], context: ThreadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause ends at once, and one more worker tries to write the last checkpoint."""
    for name in ("_FIRST_BACKOFF_SECONDS", "_LONGEST_BACKOFF_SECONDS"):
        monkeypatch.setattr(module, name, 10**6)
    fake.script[:] = [fails(StorageError("full", errno.ENOSPC)), waits]
    thread = make(context)
    thread.start()
    until(lambda: thread.restarts == 1)  # counted when the worker has ended
    thread.stop()
    finish(thread)
    assert (thread.state, thread.restarts) == ("done", 1)
    assert fake.made[-1].stopped.is_set()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("error", [StorageError("full", errno.ENOSPC), ZeroDivisionError("a mistake")])
def test_an_error_while_stopping_is_not_tried_again(context: ThreadContext, error: Exception) -> None:
    """A worker that fails while it stops is the last one."""

    async def fail_at_the_end(worker: FakeWorker) -> SymbolSummary:
        await waits(worker)
        raise error

    FakeWorker.script[:] = [fail_at_the_end]
    thread = make(context)
    thread.start()
    until(lambda: thread.state == "running")
    thread.stop()
    finish(thread)
    assert (thread.state, thread.restarts) == ("failed", 0)


@pytest.mark.usefixtures("fake")
def test_states_follow_the_worker_from_start_to_end(context: ThreadContext) -> None:
    """The state is right at each step from the start to the end."""
    gate = threading.Event()
    go: list[asyncio.Event] = []

    async def step(worker: FakeWorker) -> SymbolSummary:
        go.append(asyncio.Event())
        await go[-1].wait()
        worker.figures = WorkerFigures(InputFigures(waiting_for="a file"))
        go.append(asyncio.Event())
        await go[-1].wait()
        summary = await waits(worker)
        await asyncio.get_running_loop().run_in_executor(context.readers, gate.wait)
        return summary

    FakeWorker.script[:] = [fails(StorageError("full", errno.ENOSPC)), step]
    thread = make(context)
    pauses = thread._stop_asked = HeldPauses()
    assert thread.state == "starting"
    thread.start()
    until(lambda: thread.state == "restarting")
    pauses.over.release()
    until(lambda: thread.state == "starting" and len(go) == 1)
    thread._call_on_loop(lambda _: go[0].set())
    until(lambda: thread.state == "waiting" and len(go) == 2)
    thread._call_on_loop(lambda _: go[1].set())
    until(lambda: thread.state == "running")
    thread.stop()
    assert thread.state == "stopping"
    gate.set()
    finish(thread)
    assert thread.state == "done"


def test_a_checkpoint_is_answered_in_every_state(fake: type[FakeWorker], context: ThreadContext) -> None:
    """The answer is an epoch, or a StorageError that says why there is none."""
    recover = threading.Event()

    async def step(worker: FakeWorker) -> SymbolSummary:
        await asyncio.get_running_loop().run_in_executor(context.readers, recover.wait)
        return await waits(worker)

    fake.script[:] = [fails(StorageError("full", errno.ENOSPC)), step]
    thread = make(context)
    pauses = thread._stop_asked = HeldPauses()
    assert "the symbol is starting" in str(thread.checkpoint().exception(5))
    thread.start()
    until(lambda: thread.state == "restarting")
    assert "the symbol is restarting" in str(thread.checkpoint().exception(5))
    pauses.over.release()
    until(lambda: len(fake.made) == 2 and thread.state == "starting")
    assert "has not begun yet" in str(thread.checkpoint().exception(5))
    recover.set()
    until(lambda: thread.state == "running")
    worker = fake.made[1]
    answers = [thread.checkpoint() for _ in range(3)]
    until(lambda: len(worker.requests) == 3)
    assert not answers[0].cancel()  # who asks may go, the answer comes all the same
    thread._call_on_loop(lambda _: worker.requests[0].set_result(8))
    thread._call_on_loop(lambda _: worker.requests[1].set_exception(StorageError("full")))
    assert answers[0].result(5) == 8
    assert str(answers[1].exception(5)) == "full"
    assert not answers[2].done()
    thread.stop()
    finish(thread)
    assert "the worker ended before" in str(answers[2].exception(5))
    assert thread.checkpoint().result(5) == 7
    assert thread._requests == set()


def test_a_checkpoint_is_answered_while_the_worker_ends(fake: type[FakeWorker], context: ThreadContext) -> None:
    """A checkpoint requested at any moment of the end is answered."""
    for _ in range(30):
        fake.script[:] = [waits]
        thread = make(context)
        thread.start()
        until(lambda: thread.state == "running")  # noqa: B023 - asked in this turn
        thread.stop()
        answers = []
        while not thread.ended.is_set():
            answers.append(thread.checkpoint())
            time.sleep(0.00005)
        finish(thread)
        for answer in answers:
            error = answer.exception(5)
            assert error is None or isinstance(error, StorageError)


def test_configure_reaches_the_running_worker_and_later_ones(fake: type[FakeWorker], context: ThreadContext) -> None:
    """New settings reach the running worker and the workers after it."""
    go = threading.Event()

    async def step(_: FakeWorker) -> SymbolSummary:
        await asyncio.get_running_loop().run_in_executor(context.readers, go.wait)
        raise StorageError("full", errno.ENOSPC)

    fake.script[:] = [step, ends]
    thread = make(context)
    thread.start()
    until(lambda: len(fake.made) == 1 and thread._loop is not None)
    settings = CheckpointSettings(TriggerSettings(), 5, "zstd")
    thread.configure(settings)
    go.set()
    finish(thread)
    assert [worker.configured for worker in fake.made] == [[settings]] * 2


@pytest.mark.usefixtures("fake")
def test_an_answer_comes_from_the_loop_and_none_pile_up_while_it_hangs(context: ThreadContext) -> None:
    """A thread with a loop answers from it, and one without need not answer. While the loop hangs, no questions pile up."""
    FakeWorker.script[:] = [waits]
    thread = make(context)
    answers: list[tuple[float, str]] = []

    def answer(seconds: float) -> None:
        answers.append((seconds, threading.current_thread().name))

    before = thread.answered_at
    thread.ask(answer)
    assert thread.answered_at > before
    assert answers == []
    thread.start()
    until(lambda: thread.state == "running")
    thread.ask(answer)
    until(lambda: len(answers) == 1)
    assert answers[0][1] == "symbol-A"
    loop = thread._loop
    assert loop is not None
    hang = threading.Event()
    before = thread.answered_at
    loop.call_soon_threadsafe(hang.wait)
    for _ in range(5):
        thread.ask(answer)
    asked = time.monotonic()
    until(lambda: time.monotonic() > asked + 0.05)
    assert thread.answered_at == before
    hang.set()
    until(lambda: len(answers) == 2)
    assert answers[1][0] >= 0.05
    assert thread.answered_at > before
    thread.ask(answer)
    until(lambda: len(answers) == 3)
    thread.stop()
    finish(thread)
    thread.ask(answer)
    assert len(answers) == 3


_CONFIG = """
[service]
state_dir = "{0}/state"
output_dir = "{0}/data"
[checkpoint]
every_events = 300
min_pause = "0s"
[output]
part_events = 200
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
[[symbol]]
id = "OTHER"
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
"""


def configure(directory: Path, name: str) -> Config:
    """Two symbols on the same input, with output of their own."""
    if not (directory / "input").exists():
        (directory / "input").mkdir()
        write_capture(directory / "capture", symbol="BTCUSDT", messages=300, seed=3)
        lines = (directory / "capture").read_bytes().splitlines(keepends=True)
        for number in range(20):
            part = lines[len(lines) * number // 20 : len(lines) * (number + 1) // 20]
            (directory / "input" / f"{number:02}").write_bytes(b"".join(part))
    (directory / f"{name}.toml").write_text(_CONFIG.format(name))
    return load_config(directory / f"{name}.toml", {})


class KillingRenames(DurableFiles):
    """Stops the loop in the middle of the first commits, and notes how many go on at once."""

    def __init__(self, kill: Callable[[], None], kills: int) -> None:
        self.kill = kill
        self.kills = kills
        self.at_once: list[int] = []
        self.now = 0
        self.lock = threading.Lock()

    def rename(self, source: Path, target: Path) -> None:
        """Slowly, so that the loop has stopped before it is done."""
        if "checkpoints" not in target.parts:
            super().rename(source, target)
            return
        with self.lock:
            self.now += 1
            self.at_once.append(self.now)
        if self.kills:
            self.kills -= 1
            self.kill()
        time.sleep(0.03)
        super().rename(source, target)
        with self.lock:
            self.now -= 1


@pytest.mark.long
def test_a_killed_loop_goes_on_from_checkpoints_beside_an_undisturbed_symbol(
    tmp_path: Path, context: ThreadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol whose loop is stopped repeatedly goes on from its checkpoints. The other symbol is undisturbed."""
    monkeypatch.setattr(module, "_FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(module, "_LONGEST_BACKOFF_SECONDS", 0.002)
    parts = []
    for kills in (0, 5):
        config = configure(tmp_path, f"kills{kills}")
        threads: dict[str, SymbolThread] = {}
        killed: list[int] = []

        def progress(symbol: str, _done: int, _total: int, events: int, these: Any = (threads, killed, kills)) -> None:
            threads, killed, kills = these
            if symbol == "BTCUSDT" and len(killed) < kills and events > 300 * (len(killed) + 1):
                loop = threads[symbol]._loop
                if loop is not None:  # it is on its way out already
                    killed.append(events)
                    loop.call_soon_threadsafe(loop.stop)

        for symbol in config.symbol:
            threads[symbol.id] = SymbolThread(
                symbol.id,
                lambda config=config, symbol=symbol: worker_settings(config, symbol),  # type: ignore[misc]
                replace(context, progress=progress),
            )
        for thread in threads.values():
            thread.start()
        for thread in threads.values():
            finish(thread)
            assert thread.state == "done", thread.last_error
            assert thread.summary is not None
            assert thread.summary.gaps == 0
        assert len(killed) == kills
        assert threads["BTCUSDT"].restarts == kills
        assert threads["OTHER"].restarts == 0
        parts.append(read_parts(tmp_path / f"kills{kills}" / "data"))
    assert len(parts[0]) > 10
    assert parts[0] == parts[1]


@pytest.mark.long
def test_a_killed_workers_writes_end_before_the_next_worker_begins(
    tmp_path: Path, context: ThreadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor's writes for a worker whose loop was stopped end before the next worker begins."""
    monkeypatch.setattr(module, "_FIRST_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LONGEST_BACKOFF_SECONDS", 0.0)

    def kill() -> None:
        assert thread._loop is not None
        thread._loop.call_soon_threadsafe(thread._loop.stop)

    files = KillingRenames(kill, 4)
    original = SymbolWorker
    monkeypatch.setattr(module, "SymbolWorker", lambda *args, **options: original(*args, **options, files=files))
    config = configure(tmp_path, "slow")
    thread = SymbolThread("BTCUSDT", lambda: worker_settings(config, config.symbol[0]), context)
    thread.start()
    finish(thread)
    assert thread.state == "done", thread.last_error
    assert thread.restarts == 4
    assert max(files.at_once) == 1
    undisturbed = configure(tmp_path, "plain")
    other = SymbolThread("BTCUSDT", lambda: worker_settings(undisturbed, undisturbed.symbol[0]), context)
    other.start()
    finish(other)
    assert read_parts(tmp_path / "slow" / "data") == read_parts(tmp_path / "plain" / "data")
