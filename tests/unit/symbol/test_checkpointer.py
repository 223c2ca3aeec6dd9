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
from cowbook.checkpoint.load import read_manifest
from cowbook.checkpoint.pipeline_state import DriftTotals
from cowbook.checkpoint.settings import CheckpointOwner, CheckpointSettings
from cowbook.checkpoint.store import CheckpointStore
from cowbook.checkpoint.triggers import BACKLOG, CUT, END_OF_INPUT, EVENTS, MANUAL, Triggers, TriggerSettings
from cowbook.errors import RestartNeededError, StorageError
from cowbook.log import get_logger
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.parts import Cut
from cowbook.plain.position import Mark
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.sink.stream_files import StreamFiles
from cowbook.symbol import checkpointer as module
from cowbook.symbol.attempt import Attempt, Committed, Destination, Freeze, Outcome
from cowbook.symbol.checkpointer import Checkpointer


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


class Impatient(Triggers):
    """Without pauses after failures."""

    def failed(self, triggers: tuple[str, ...], *, now: int) -> None:
        """As if it were long ago."""
        super().failed(triggers, now=now - 10**12)


class Bench:
    """A checkpointer with all that it needs, and an engine to freeze."""

    def __init__(self, directory: Path, executor: Executor, *, backoff: bool = True) -> None:
        self.files = SometimesFull()
        self.store = CheckpointStore(directory / "state", "A", "A", self.files)
        self.store.lock()
        self.store.find()
        self.store.claim()
        self.sink = ParquetSink(directory / "data", "A", StreamFiles(8, 8, 2), self.files)
        self.sink.lock()
        self.sink.start = self.store.start
        self.sink.begin((0, 0))
        owner = CheckpointOwner("A", "A", {"price_decimals": 8, "size_decimals": 8})
        settings = CheckpointSettings(TriggerSettings(1000, 10**18, 0))
        destination = Destination(owner, self.store, self.sink, executor)
        self.checkpointer = Checkpointer(destination, settings, get_logger(), recovered=None)
        if not backoff:
            self.checkpointer._triggers = Impatient(settings.triggers, now=0, events=0)
        self.engine = OrderBookEngine()
        self.offset = 0

    def freeze(self, end_of_input: str | None = None) -> Freeze:
        """The state after one more record."""
        self.offset += 1
        mark = Mark("a", 1, 2, self.offset, b"x" * 1024, b"x" * 1024, ())
        return Freeze(self.engine.snapshot(), mark, [], [], None, 0, {}, DriftTotals(), 1, end_of_input)

    def begin(self, triggers: tuple[str, ...] = (MANUAL,)) -> None:
        """An attempt begins."""
        self.checkpointer.begin(self.freeze(), triggers, 0.0)

    def cut(self, first: int, *, provisional: bool = False) -> asyncio.Future[Cut]:
        """A cut without parts that is staged already."""
        future: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
        future.set_result(Cut(first, first, (), provisional))
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


async def test_a_request_is_answered_with_the_epoch_that_covers_it(tmp_path: Path, executor: Executor) -> None:
    """A request is answered with the epoch that covers it. If there is nothing new, that is the newest epoch."""
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
    checkpointer.answer_with_newest()
    assert again.result() == 1
    assert checkpointer.due(0) == ()


async def test_cuts_and_requests_after_the_freeze_belong_to_the_next_attempt(tmp_path: Path, executor: Executor) -> None:
    """Cuts and requests that arrive before the attempt's task first runs belong to the next attempt."""
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


async def test_a_failed_attempts_cuts_come_with_the_next_one(tmp_path: Path, executor: Executor) -> None:
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
    assert checkpointer.figures.failed == 1
    assert bench.store.epochs() == []
    bench.files.full = False
    bench.begin()
    await checkpointer.finish()
    assert checkpointer.failures == 0
    assert checkpointer.figures.committed == 1
    assert bench.listed(1) == [1]


async def test_a_commit_of_unknown_outcome_ends_the_worker(tmp_path: Path, executor: Executor) -> None:
    """A commit that may or may not have taken effect ends the worker."""
    bench = Bench(tmp_path, executor)
    bench.files.rename_fails = True
    bench.begin()
    with pytest.raises(RestartNeededError, match="cannot commit"):
        await bench.checkpointer.finish()


async def test_a_cut_that_cannot_be_staged_ends_the_worker(tmp_path: Path, executor: Executor) -> None:
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
    """Each pending request is answered with an error."""
    bench = Bench(tmp_path, executor)
    bench.begin()
    request = bench.checkpointer.request()
    assert await bench.checkpointer.close() is None
    assert isinstance(request.exception(), StorageError)
    assert bench.store.epochs() == [1]


async def test_the_snapshot_is_released_once_it_is_read(tmp_path: Path, executor: Executor) -> None:
    """The snapshot is released after it is read, before the state is written. A wait for its blocks then ends."""
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


async def test_a_cancelled_wait_for_the_snapshot_changes_nothing(tmp_path: Path, executor: Executor) -> None:
    """A cancelled wait is not answered, and the attempt goes on."""
    bench = Bench(tmp_path, executor)
    bench.begin()
    waiting = asyncio.ensure_future(bench.checkpointer.snapshot_released())
    await asyncio.sleep(0)
    waiting.cancel()
    await bench.checkpointer.finish()
    assert waiting.cancelled()
    assert bench.checkpointer.figures.committed == 1


async def test_failed_attempt_is_tried_again(tmp_path: Path, executor: Executor) -> None:
    """Its triggers are due again once. A request that was answered with the failure is not answered twice."""
    bench = Bench(tmp_path, executor, backoff=False)
    checkpointer = bench.checkpointer
    bench.files.full = True
    for number in (1, 2, 3):
        request = checkpointer.request()
        assert checkpointer.due(0) == (MANUAL,)
        bench.begin()
        assert checkpointer.due(10**6) == ()  # one at a time
        await checkpointer.finish()
        assert "No space left on device" in str(request.exception())
        assert checkpointer.failures == number
    bench.files.full = False
    assert checkpointer.due(10**6) == (MANUAL,)  # that multiple went by meanwhile
    assert checkpointer.due(2 * 10**6) == (MANUAL, EVENTS)
    bench.begin((MANUAL, EVENTS))
    await checkpointer.finish()
    assert checkpointer.due(2 * 10**6) == ()
    assert (checkpointer.figures.failed, checkpointer.figures.committed) == (3, 1)
    assert checkpointer.figures.epoch == 1  # an attempt that fails uses no number
    assert bench.store.epochs() == [1]


async def test_requests_during_an_attempt_share_the_next_one(tmp_path: Path, executor: Executor) -> None:
    """Requests during an attempt wait for the next one together. None is lost, and they cause no third attempt."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    bench.begin()
    requests = [checkpointer.request() for _ in range(3)]
    assert checkpointer.merged == 2
    assert checkpointer.due(0) == ()
    await checkpointer.finish()
    assert not any(request.done() for request in requests)
    assert checkpointer.due(0) == (MANUAL,)
    bench.begin()
    await checkpointer.finish()
    assert [request.result() for request in requests] == [2, 2, 2]
    assert checkpointer.due(0) == ()
    assert bench.store.epochs() == [2, 1]


async def test_a_cancelled_request_changes_nothing_for_the_others(tmp_path: Path, executor: Executor) -> None:
    """A cancelled request changes no other request's answer, be it an epoch or an error."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    for full in (False, True):
        bench.files.full = full
        gone, stays = checkpointer.request(), checkpointer.request()
        gone.cancel()
        bench.begin()
        await checkpointer.finish()
        assert (stays.exception() is None) is not full
    gone, stays = checkpointer.request(), checkpointer.request()
    gone.cancel()
    checkpointer.answer_with_newest()
    assert stays.result() == 1
    checkpointer.request().cancel()
    assert await checkpointer.close() is None


async def test_too_many_waiting_cuts_make_a_checkpoint_due_and_pause_processing(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If too many cuts wait, a checkpoint is due, and processing waits for the current attempt."""
    monkeypatch.setattr(module, "MOST_UNPUBLISHED", 3)
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    for first in (1, 2):
        await checkpointer.add_cut(bench.cut(first))
    assert checkpointer.due(0) == ()
    bench.begin((EVENTS,))
    assert not bench.store.epochs()
    await checkpointer.add_cut(bench.cut(3))
    assert bench.listed(1) == [1, 2]  # it has waited
    await checkpointer.add_cut(bench.cut(4))
    await checkpointer.add_cut(bench.cut(5))
    assert checkpointer.due(0) == (BACKLOG,)
    bench.begin((BACKLOG,))
    await checkpointer.finish()
    assert bench.listed(2) == [3, 4, 5]


async def test_a_backlog_that_only_grows_restarts_the_worker(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If attempts fail and too many cuts wait, the worker restarts, so that memory stays bounded."""
    monkeypatch.setattr(module, "MOST_UNPUBLISHED", 3)
    bench = Bench(tmp_path, executor)
    bench.files.full = True
    for first in (1, 2):
        await bench.checkpointer.add_cut(bench.cut(first))
    bench.begin()
    with pytest.raises(RestartNeededError, match="3 cuts wait for a checkpoint, and attempts fail"):
        await bench.checkpointer.add_cut(bench.cut(3))
    assert bench.store.epochs() == []


@pytest.mark.parametrize("where", ["finish", "raise_failure", "add_cut", "close"])
async def test_a_needed_restart_is_raised_once_at_the_next_call(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An error that needs a restart is raised by the next call of any method, once, and requests are answered with it."""
    monkeypatch.setattr(module, "MOST_UNPUBLISHED", 1)
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    bench.files.rename_fails = True
    request = checkpointer.request()
    bench.begin()
    if where == "close":
        assert isinstance(await checkpointer.close(), RestartNeededError)
    elif where == "raise_failure":
        checkpointer.raise_failure()  # not yet
        await asyncio.wait([request])
        await asyncio.sleep(0)
        with pytest.raises(RestartNeededError, match="cannot commit"):
            checkpointer.raise_failure()
    else:
        with pytest.raises(RestartNeededError, match="cannot commit"):
            await (checkpointer.finish() if where == "finish" else checkpointer.add_cut(bench.cut(1)))
    checkpointer.raise_failure()
    assert "cannot commit" in str(request.exception())
    assert bench.store.epochs() == []


async def test_a_programming_error_is_not_taken_for_failing_storage(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the program is raised as it is, not as a storage error, and the snapshot is released."""
    bench = Bench(tmp_path, executor)

    def mistaken(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Attempt, "_make_state", mistaken)
    request = bench.checkpointer.request()
    bench.begin()
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        await bench.checkpointer.finish()
    assert isinstance(request.exception(), StorageError)
    for snapshot in [bench.engine.snapshot() for _ in range(2)]:  # as many as there may be
        snapshot.release()


async def test_a_provisional_cut_is_withdrawn_unless_another_has_its_first_event(tmp_path: Path, executor: Executor) -> None:
    """A provisional cut is published once; it is withdrawn with the next end unless another one has its first event."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    for firsts in ([5, 6], [6], []):
        freeze = bench.freeze(f"end {len(firsts)}")
        checkpointer.begin(freeze, (END_OF_INPUT,), 0.0, [bench.cut(first, provisional=True) for first in firsts])
        await checkpointer.finish()
    manifests = [read_manifest(bench.store.checkpoints / str(epoch), "A", os.getuid()) for epoch in (1, 2, 3)]
    assert [[cut.first for cut in manifest.cuts] for manifest in manifests] == [[5, 6], [6], []]
    assert [manifest.withdrawn for manifest in manifests] == [(), ((5, 0),), ((6, 0),)]
    assert checkpointer.is_known(freeze.mark, "end 0")
    assert not checkpointer.is_known(freeze.mark, "end 1")


async def test_waiting_cuts_ask_for_a_checkpoint(tmp_path: Path, executor: Executor) -> None:
    """Cuts that wait for a checkpoint ask for one; those that the attempt under way has taken do not."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    checkpointer.publish_cuts()
    assert checkpointer.due(0) == ()
    await checkpointer.add_cut(bench.cut(1))
    checkpointer.publish_cuts()
    checkpointer.publish_cuts()
    assert checkpointer.due(0) == (CUT,)
    assert checkpointer.merged == 0
    bench.begin((CUT,))
    checkpointer.publish_cuts()
    await checkpointer.finish()
    assert checkpointer.due(0) == ()
    bench.begin((MANUAL,))
    await checkpointer.add_cut(bench.cut(2))
    checkpointer.publish_cuts()
    await checkpointer.finish()
    assert checkpointer.due(0) == (CUT,)
    bench.begin((CUT,))
    await checkpointer.finish()
    assert [bench.listed(epoch) for epoch in (1, 2, 3)] == [[1], [], [2]]


async def test_each_attempts_end_is_reported_once(tmp_path: Path, executor: Executor) -> None:
    """The observer is told once how each attempt ended, and then when the next one may begin."""
    bench = Bench(tmp_path, executor, backoff=False)
    checkpointer = bench.checkpointer
    told: list[tuple[str, ...]] = []
    committed = []

    def on_outcome(outcome: Outcome) -> None:
        told.append((outcome.trigger, outcome.result))
        committed.append(outcome.committed)
        assert outcome.frozen_seconds > 0
        assert checkpointer.is_persisting

    def on_change() -> None:
        told.append(("change",))
        checkpointer.request()
        assert MANUAL in checkpointer.due(0)

    checkpointer._on_outcome, checkpointer._on_change = on_outcome, on_change
    for fails in (False, True, False):
        bench.files.full = fails
        bench.begin((EVENTS, MANUAL))
        await checkpointer.finish()
        await asyncio.sleep(0)
    assert told == [
        *((EVENTS + "+" + MANUAL, "committed"), ("change",)),
        *((EVENTS + "+" + MANUAL, "failed"), ("change",)),
        *((EVENTS + "+" + MANUAL, "committed"), ("change",)),
    ]
    epochs = [one.newest.epoch if one is not None else None for one in committed]
    assert epochs[0] == 1
    assert epochs[1] is None
    assert epochs[2] == bench.store.epochs()[0] == checkpointer.figures.epoch
    await checkpointer.close()


async def test_new_settings_hold_from_the_next_attempt_on(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the next attempt on, new settings decide when it begins, what it keeps and how it compresses."""
    seen = []

    persist = Attempt._persist

    def noting(attempt: Attempt) -> Committed:
        seen.append((attempt.settings.retain, attempt.settings.compression))
        return persist(attempt)

    monkeypatch.setattr(Attempt, "_persist", noting)
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    for _ in range(3):
        bench.begin()
        await checkpointer.finish()
    assert bench.store.epochs() == [3, 2, 1]
    assert checkpointer.due(99) == ()
    checkpointer.configure(CheckpointSettings(TriggerSettings(100, 10**18, 0), 2, "zstd"), events=99)
    assert checkpointer.due(100) == (EVENTS,)
    bench.begin((EVENTS,))
    await checkpointer.finish()
    assert bench.store.epochs() == [4, 3]
    assert seen == [(3, "snappy")] * 3 + [(2, "zstd")]


async def test_an_attempt_under_way_keeps_its_settings(tmp_path: Path, executor: Executor) -> None:
    """A reload that comes between the freeze and the commit is for the next attempt."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    for _ in range(2):
        bench.begin()
        await checkpointer.finish()
    late: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
    await checkpointer.add_cut(late)
    bench.begin()
    await checkpointer.snapshot_released()
    checkpointer.configure(CheckpointSettings(TriggerSettings(100, 10**18, 0), 2, "zstd"), events=0)
    late.set_result(Cut(0, 0, ()))
    await checkpointer.finish()
    assert bench.store.epochs() == [3, 2, 1]  # three were to be retained when it began
    bench.begin()
    await checkpointer.finish()
    assert bench.store.epochs() == [4, 3]


async def test_seconds_until_due_follow_the_timer_and_pending_requests(tmp_path: Path, executor: Executor) -> None:
    """It is the timer's time in seconds, None during an attempt, and 0 if a request is pending."""
    bench = Bench(tmp_path, executor)
    checkpointer = bench.checkpointer
    assert checkpointer.seconds_until_due() == pytest.approx(1e9, rel=1e-3)
    checkpointer.configure(CheckpointSettings(TriggerSettings(1000, 5 * 10**9, 0)), events=0)
    assert 4 < (checkpointer.seconds_until_due() or 0) <= 5
    bench.begin()
    assert checkpointer.seconds_until_due() is None
    await checkpointer.finish()
    assert 4 < (checkpointer.seconds_until_due() or 0) <= 5
    checkpointer.request()
    assert checkpointer.seconds_until_due() == 0
    await checkpointer.close()
