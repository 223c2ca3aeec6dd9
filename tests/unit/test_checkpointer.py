"""The attempts of a worker: what belongs to each, what they answer, and what becomes of failures."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.checkpoint.reading import read_manifest
from cowbook.checkpoint.store import CheckpointStore
from cowbook.checkpoint.triggers import MANUAL, TriggerSettings
from cowbook.checkpointer import Checkpointer
from cowbook.durable_files import DurableFiles
from cowbook.errors import RestartNeededError, StorageError
from cowbook.input.position import Mark
from cowbook.parts import Cut
from cowbook.persistence import CheckpointSettings, Frozen
from cowbook.pipeline_state import DriftTotals
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.sink.schemas import StreamTables
from cowbook.telemetry.logging import get_logger

FINGERPRINT = {"price_decimals": 8, "size_decimals": 8}


class SometimesFull(DurableFiles):
    """Creating files below checkpoints fails while it is told to, or the commit's rename does."""

    full = False
    rename_fails = False

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Fail or create."""
        if self.full and "checkpoints" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().create(path, content, mode)

    def rename(self, source: Path, target: Path) -> None:
        """Fail or rename."""
        if self.rename_fails and "checkpoints" in target.parts:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().rename(source, target)


class Bench:
    """A checkpointer with all that it needs, and an engine to freeze."""

    def __init__(self, directory: Path, executor: Executor) -> None:
        self.files = SometimesFull()
        self.store = CheckpointStore(directory / "state", "A", "A", self.files)
        self.store.lock()
        self.store.find()
        self.sink = ParquetSink(directory / "data", "A", StreamTables(8, 8, 2), "zstd", self.files)
        self.sink.lock(self.store.incarnation)
        self.sink.begin(0)
        settings = CheckpointSettings("A", "A", FINGERPRINT, TriggerSettings(1000, 10**18, 0))
        self.checkpointer = Checkpointer(settings, self.store, self.sink, executor, get_logger(), recovered=None)
        self.engine = OrderBookEngine()
        self.offset = 0

    def freeze(self) -> Frozen:
        """The state after one more record."""
        self.offset += 1
        mark = Mark("a", 1, 2, self.offset, b"x" * 1024, b"x" * 1024, ())
        return Frozen(self.engine.snapshot(), mark, [], [], None, 0, DriftTotals(), 1)

    def begin(self, triggers: tuple[str, ...] = (MANUAL,)) -> None:
        """An attempt begins."""
        self.checkpointer.begin(self.freeze(), triggers, 0.0)

    def cut(self, first: int) -> asyncio.Future[Cut]:
        """A cut without parts that is staged already."""
        future: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
        future.set_result(Cut(first, first, ()))
        return future

    def listed(self, epoch: int) -> list[int]:
        """First events of the cuts that a checkpoint publishes."""
        manifest = read_manifest(self.store.checkpoints / str(epoch), "A", os.getuid())
        return [cut.first for cut in manifest.cuts]


@pytest.fixture
def executor() -> Iterator[Executor]:
    """A thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_request(tmp_path: Path, executor: Executor) -> None:
    """A request is answered with the epoch that has it; without anything new, with the one that is there."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    request = checkpointer.request()
    assert checkpointer.due(0) == (MANUAL,)
    bench.begin()
    await checkpointer.finish()
    assert request.result() == 1
    again = checkpointer.request()
    assert checkpointer.due(0) == (MANUAL,)
    assert checkpointer.is_known(Mark("a", 1, 2, 1, b"", b"", ()))
    checkpointer.nothing_new()
    assert again.result() == 1
    assert checkpointer.due(0) == ()


async def test_what_comes_after_the_freeze(tmp_path: Path, executor: Executor) -> None:
    """Cuts and requests that come before the task has run for the first time belong to the next attempt."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    await checkpointer.add_cut(bench.cut(1))
    first = checkpointer.request()
    bench.begin()
    await checkpointer.add_cut(bench.cut(2))
    second = checkpointer.request()
    await checkpointer.finish()
    assert first.result() == 1
    assert not second.done()
    assert bench.listed(1) == [1]
    assert checkpointer.due(0) == (MANUAL,)
    bench.begin()
    await checkpointer.finish()
    assert second.result() == 2
    assert bench.listed(2) == [2]


async def test_dropped_attempt(tmp_path: Path, executor: Executor) -> None:
    """A failed attempt is dropped, its request is told, and its cuts come with the next one."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    await checkpointer.add_cut(bench.cut(1))
    bench.files.full = True
    request = checkpointer.request()
    bench.begin()
    await checkpointer.finish()
    assert isinstance(request.exception(), StorageError)
    assert checkpointer.failures == 1
    assert checkpointer.figures.attempts == {(MANUAL, "failed"): 1}
    assert bench.store.epochs() == []
    bench.files.full = False
    bench.begin()
    await checkpointer.finish()
    assert checkpointer.failures == 0
    assert checkpointer.figures.count("committed") == 1
    assert bench.listed(2) == [1]


async def test_unknown_commit(tmp_path: Path, executor: Executor) -> None:
    """A commit that may count or not ends the worker."""
    bench = Bench(tmp_path, executor)
    bench.files.rename_fails = True
    bench.begin()
    with pytest.raises(RestartNeededError, match="cannot commit"):
        await bench.checkpointer.finish()


async def test_lost_part(tmp_path: Path, executor: Executor) -> None:
    """A cut that could not be staged ends the worker, and nothing is committed."""
    bench = Bench(tmp_path, executor)
    lost: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
    lost.set_exception(RestartNeededError("no space"))
    await bench.checkpointer.add_cut(lost)
    bench.begin()
    with pytest.raises(RestartNeededError, match="no space"):
        await bench.checkpointer.finish()
    assert bench.store.epochs() == []


async def test_close_answers_everyone(tmp_path: Path, executor: Executor) -> None:
    """Whoever still waits for a checkpoint is told that there will be none."""
    bench = Bench(tmp_path, executor)
    bench.begin()
    request = bench.checkpointer.request()
    assert await bench.checkpointer.close() is None
    assert isinstance(request.exception(), StorageError)
    assert bench.store.epochs() == [1]


async def test_snapshot_is_given_back_early(tmp_path: Path, executor: Executor) -> None:
    """Once it was read, not once it was written: whoever waits for its blocks goes on."""
    bench = Bench(tmp_path, executor)
    await bench.checkpointer.add_cut(asyncio.get_running_loop().create_future())  # never staged: the attempt cannot end
    bench.begin()
    await bench.checkpointer.snapshot_released()
    snapshots = [bench.engine.snapshot() for _ in range(2)]  # as many as there may be
    for snapshot in snapshots:
        snapshot.release()
    assert not bench.store.epochs()
    bench.checkpointer._cuts[0].set_result(Cut(0, 0, ()))
    await bench.checkpointer.finish()
    assert bench.store.epochs() == [1]
