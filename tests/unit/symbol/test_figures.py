"""What a worker publishes for other threads: whole, of one moment, and fresh."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import structlog

from cowbook.capture.rotation import FollowSettings
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.simulate.capture import write_capture
from cowbook.symbol.figures import WorkerFigures
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.symbol_thread import SymbolThread, ThreadContext
from cowbook.symbol.symbol_worker import SymbolWorker
from support.harness import Run, worker_settings

NEVER = CheckpointSettings(TriggerSettings(10**12, 10**18, 0))


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Threads that read and write."""
    with ThreadPoolExecutor(2) as executor, structlog.testing.capture_logs():
        yield executor


def followed(directory: Path) -> WorkerSettings:
    """Of a worker that follows `a*` in the input, and has no trigger of its own."""
    (directory / "input").mkdir()
    settings = worker_settings(directory, [], Run())
    return replace(settings, checkpoints=NEVER, follow=FollowSettings(("a*",), directory / "input", 0.05))


def make_lines(directory: Path, messages: int) -> list[bytes]:
    """Of a made-up capture."""
    write_capture(directory / "capture", symbol="BTCUSDT", messages=messages, seed=5)
    return (directory / "capture").read_bytes().splitlines(keepends=True)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_record_is_never_changed() -> None:
    """Whoever has taken it may look at it for as long as he likes."""
    figures = WorkerFigures()
    with pytest.raises(FrozenInstanceError):
        figures.recovery_seconds = 1.0  # type: ignore[misc]


@pytest.mark.long
def test_a_record_is_never_seen_half_made(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Another thread that looks at any moment sees numbers that belong together, and that only grow."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a").write_bytes(b"".join(make_lines(tmp_path, 2000)))
    settings = replace(
        worker_settings(tmp_path, ["a"], Run(block_bytes=4000)), checkpoints=CheckpointSettings(TriggerSettings(100, 10**18, 0))
    )
    thread = SymbolThread("BTCUSDT", lambda: settings, ThreadContext("uvloop", executor, executor))
    thread.start()
    seen: list[WorkerFigures] = []
    while not thread.ended.is_set():
        figures = thread.figures
        if not seen or seen[-1] is not figures:
            seen.append(figures)
        time.sleep(0.0002)
    thread.join()
    assert thread.state == "done", thread.last_error
    working = [(figures, figures.pipeline.book) for figures in [*seen, thread.figures] if figures.pipeline is not None]
    assert len(working) > 10
    for figures, book in working:
        assert book.events - figures.checkpoints.events == figures.events_since_checkpoint
        assert book.events >= figures.checkpoints.events, "a checkpoint has no event that was not processed"
        assert (book.messages > 0) == (book.newest is not None)
    for (figures, book), (later, book_later) in itertools.pairwise(working):
        assert book.events <= book_later.events
        assert figures.checkpoints.epoch <= later.checkpoints.epoch
        assert figures.checkpoints.committed <= later.checkpoints.committed
    assert thread.summary is not None
    last, book = working[-1]
    assert (book.events, last.checkpoints.committed) == (thread.summary.events, thread.summary.checkpoints)


@pytest.mark.long
def test_a_checkpoint_that_was_answered_is_in_the_figures(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Whoever has asked for one and looks then finds it there, and no older one."""
    settings = followed(tmp_path)
    lines = make_lines(tmp_path, 200)
    thread = SymbolThread("BTCUSDT", lambda: settings, ThreadContext("uvloop", executor, executor))
    thread.start()
    read = 0
    try:
        for start in range(0, 100, 10):
            with (tmp_path / "input" / "a").open("ab") as file:
                file.writelines(lines[start : start + 10])
            until(lambda: thread.figures.pipeline is not None and thread.figures.pipeline.input_bytes > read)  # noqa: B023
            epoch = thread.checkpoint().result(20)
            figures = thread.figures
            assert figures.checkpoints.epoch == epoch
            assert figures.pipeline is not None
            read = figures.pipeline.input_bytes
    finally:
        thread.stop()
        assert thread.ended.wait(20)
        thread.join()
    assert thread.state == "done", thread.last_error


@pytest.mark.long
async def test_figures_follow_the_input_while_the_worker_waits(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """What is waited for, and what shows of the files, without any block that would be processed."""
    worker = SymbolWorker(followed(tmp_path), executor, executor)
    assert worker.figures == WorkerFigures()
    running = asyncio.ensure_future(worker.run())

    async def see(condition: Callable[[WorkerFigures], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(worker.figures):
                assert not running.done(), running.result()
                await asyncio.sleep(0.005)

    await see(lambda figures: figures.waiting_for is not None and "no file matches" in figures.waiting_for)
    (tmp_path / "input" / "a5").touch()
    await see(lambda figures: figures.pipeline is not None and figures.waiting_for is None)
    (tmp_path / "input" / "a4").write_bytes(b"{}\n")  # sorts before the current one
    await see(lambda figures: figures.input is not None and figures.input.skipped_files == 1)
    assert worker.figures.input is not None
    assert len(worker.figures.input.warnings) == 1
    assert worker.figures.pipeline is not None
    assert worker.figures.pipeline.input_bytes == 0
    worker.stop()
    await running
