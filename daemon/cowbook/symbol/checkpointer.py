"""A worker's checkpoints: one attempt at a time beside processing, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from cowbook.checkpoint.load import Checkpoint
from cowbook.checkpoint.settings import CheckpointOwner, CheckpointSettings
from cowbook.checkpoint.store import CheckpointStore
from cowbook.checkpoint.triggers import BACKLOG, CUT, MANUAL, Triggers
from cowbook.errors import RestartNeededError, StorageError
from cowbook.plain.parts import Cut
from cowbook.plain.position import Mark
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.symbol.persistence import Frozen, Persisted, Phases, persist

MOST_UNPUBLISHED = 256
"""Cuts that may wait for a checkpoint. At this number processing waits; if attempts fail, the worker starts again."""


@dataclass(slots=True)
class CheckpointFigures:
    """What the attempts of a worker came to."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By triggers and outcome: committed, failed."""
    parts: int = 0
    part_bytes: int = 0
    last_epoch: int = 0
    last_events: int = 0
    """Events in the newest checkpoint, the recovered one included."""
    last_timestamp: int = 0
    """When its state was frozen, in ns since 1970; 0 without one."""
    last: Persisted | None = None
    last_error: str | None = None
    """Why the last attempt has failed; None when it has not."""

    def count(self, outcome: str) -> int:
        """Attempts with this outcome."""
        return sum(number for (_, other), number in self.attempts.items() if other == outcome)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended."""

    triggers: str
    outcome: str
    frozen_seconds: float
    persisted: Persisted | None
    """The checkpoint; None of an attempt that failed."""


class Checkpointer:
    """Takes frozen states and makes them durable, in the background of the loop that it is used on.

    A failed attempt is dropped, counted, logged and tried again later. What only a restart mends is raised as RestartNeededError
    by `raise_failure` and `finish`.
    """

    def __init__(
        self,
        owner: CheckpointOwner,
        settings: CheckpointSettings,
        store: CheckpointStore,
        sink: ParquetSink,
        executor: Executor,
        log: Any,
        *,
        recovered: Checkpoint | None,
        provisional: tuple[int, ...] = (),
        on_attempt: Callable[[Attempt], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """On the loop, `on_attempt` is told how an attempt ended; then, when the next one may begin, `on_change` is called."""
        self._owner = owner
        self._settings = settings
        self._on_attempt, self._on_change = on_attempt, on_change
        self._store = store
        self._sink = sink
        self._executor = executor
        self._log = log
        events = recovered.state.events_processed if recovered is not None else 0
        self._triggers = Triggers(settings.triggers, now=time.monotonic_ns(), events=events)
        self._cuts: list[asyncio.Future[Cut]] = []
        self._cuts_taken = 0  # of these, by the attempt under way
        self._attempt: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._release: asyncio.Future[None] | None = None  # someone waits for the snapshot of the attempt under way
        self._requests: list[asyncio.Future[int]] = []
        self._holds_snapshot = False
        self._freeze_seconds = 0.0
        self._progress: tuple[int, int] | None = None
        self._rated_at, self._rated_events = time.monotonic_ns(), events
        self._end_of_input: str | None = None
        self._provisional = provisional  # first events of published cuts that are to be replaced
        self.figures = CheckpointFigures()
        if recovered is not None:
            self._progress = recovered.state.position.progress
            self._end_of_input = recovered.state.end_of_input
            self.figures.last_epoch, self.figures.last_events = recovered.manifest.epoch, events
            self.figures.last_timestamp = recovered.state.checkpoint_timestamp

    @property
    def merged(self) -> int:
        """Triggers that were merged with others."""
        return self._triggers.merged

    @property
    def failures(self) -> int:
        """Attempts that have failed since the last one that did not."""
        return self._triggers.failures

    def request(self) -> asyncio.Future[int]:
        """Ask for a checkpoint of all that is consumed now: its epoch, or StorageError when the attempt fails."""
        request: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._requests.append(request)
        self._triggers.request(MANUAL)
        return request

    def due(self, events: int) -> tuple[str, ...]:
        """The triggers of an attempt that is to begin now, if there is something new."""
        triggers = self._triggers.due(now=time.monotonic_ns(), events=events)
        return () if self.is_persisting else triggers

    @property
    def is_persisting(self) -> bool:
        """Whether an attempt is under way."""
        return self._attempt is not None and not self._attempt.done()

    def seconds_until_due(self) -> float | None:
        """When `due` is worth asking again, if no attempt ends and nothing is asked for before; None: not before."""
        nanoseconds = self._triggers.next_due(now=time.monotonic_ns())
        return None if nanoseconds is None else nanoseconds / 1e9

    def configure(self, settings: CheckpointSettings, *, events: int) -> None:
        """Obey other settings from the next attempt on; `events` is the number of events so far."""
        self._triggers.configure(settings.triggers, events=events)
        self._settings = settings

    def publish_cuts(self) -> None:
        """Ask for a checkpoint where closed cuts wait for one: someone waits to see them."""
        if len(self._cuts) > self._cuts_taken:
            self._triggers.want(CUT)

    def is_known(self, mark: Mark, end_of_input: str | None = None) -> bool:
        """Whether the last checkpoint says all that one of this place would say."""
        return mark.progress == self._progress and end_of_input in (None, self._end_of_input)

    def nothing_new(self) -> None:
        """Nothing was consumed since the last checkpoint: it answers the triggers that are due, if it is still there.

        Raises RestartNeededError when it is not, or the locks.
        """
        self._triggers.nothing_new()
        try:
            self._store.check(self.figures.last_epoch)
            self._sink.check_lock()
        except RestartNeededError as error:
            for request in self._requests:
                if not request.done():
                    request.set_exception(StorageError(str(error)))
            self._requests = []
            raise
        _answer(self._requests, self.figures.last_epoch)
        self._requests = []

    async def add_cut(self, cut: asyncio.Future[Cut]) -> None:
        """A cut is being staged, to be published with the next checkpoint."""
        self._cuts.append(cut)
        if len(self._cuts) >= MOST_UNPUBLISHED:
            self._triggers.request(BACKLOG)
            await self.finish()
            if self._triggers.failures and len(self._cuts) >= MOST_UNPUBLISHED:
                raise RestartNeededError(f"{len(self._cuts)} cuts wait for a checkpoint, and attempts fail")

    def begin(self, frozen: Frozen, triggers: tuple[str, ...], started: float, tail: Sequence[asyncio.Future[Cut]] = ()) -> None:
        """Start an attempt, of which none must be under way; `tail` are cuts that the end of the input makes.

        `started` is when processing stopped for it, by `time.perf_counter`.
        """
        assert self._attempt is None
        self._holds_snapshot = True
        now = time.monotonic_ns()
        self._triggers.begun(now=now)
        # What belongs to it is settled here: processing goes on before the task runs for the first time.
        cuts, requests, self._requests = tuple(self._cuts), self._requests, []
        self._cuts_taken = len(cuts)
        self._attempt = self._loop.create_task(self._run(frozen, triggers, cuts, tuple(tail), requests, now))
        self._freeze_seconds = time.perf_counter() - started
        self._attempt.add_done_callback(lambda _: self._on_change())

    async def snapshot_released(self) -> None:
        """Wait until the snapshot of the attempt under way is given back; nothing to do when it is already."""
        if self._holds_snapshot:
            self._release = self._loop.create_future()
            await self._release

    def raise_failure(self) -> None:
        """Raise what the last attempt has ended with, if that makes a restart necessary."""
        if self._attempt is not None and self._attempt.done():
            attempt, self._attempt = self._attempt, None
            attempt.result()

    async def finish(self) -> None:
        """Wait for the attempt under way; raises as `raise_failure` does."""
        if self._attempt is not None:
            await asyncio.wait([self._attempt])
        self.raise_failure()

    async def close(self) -> StorageError | None:
        """Wait for everything under way, and give up what waits; what the last attempt has failed with."""
        failure = None
        try:
            await self.finish()
        except StorageError as error:
            failure = error
        await asyncio.gather(*self._cuts, return_exceptions=True)
        for request in self._requests:
            if not request.done():
                request.set_exception(StorageError("the worker ended before the checkpoint that was asked for"))
        self._requests = []
        return failure

    async def _run(
        self,
        frozen: Frozen,
        triggers: tuple[str, ...],
        cuts: tuple[asyncio.Future[Cut], ...],
        tail: tuple[asyncio.Future[Cut], ...],
        requests: list[asyncio.Future[int]],
        now: int,
    ) -> None:
        try:
            persisted, staged, provisional = await self._persist(frozen, triggers, (*cuts, *tail), now)
        except BaseException as error:
            self._cuts_taken = 0
            self._note_failure(error, triggers, requests)
            if isinstance(error, RestartNeededError) or not isinstance(error, StorageError):
                raise
            return
        del self._cuts[: len(cuts)]
        self._cuts_taken = 0
        self._progress, self._end_of_input, self._provisional = frozen.mark.progress, frozen.end_of_input, provisional
        self.figures.last_timestamp = frozen.timestamp
        self._note_success(persisted, triggers, requests, staged)

    async def _persist(
        self, frozen: Frozen, triggers: tuple[str, ...], staged: Sequence[asyncio.Future[Cut]], now: int
    ) -> tuple[Persisted, list[Cut], tuple[int, ...]]:
        loop = asyncio.get_running_loop()
        phases = Phases()
        try:
            book = await loop.run_in_executor(self._executor, frozen.snapshot.get_checkpoint_state)
        finally:
            started = time.perf_counter()
            frozen.snapshot.release()
            release_seconds = time.perf_counter() - started
            self._freeze_seconds += release_seconds
            self._holds_snapshot = False
            if self._release is not None:
                self._release.set_result(None)
                self._release = None
        phases.end("gather")
        cuts = [await cut for cut in staged]
        phases.end("stage")
        # Parts of an earlier end of the input whose events have all been cut by now, or are about to be again.
        settled = {first for first in self._provisional if first < book.rows.first or frozen.end_of_input is not None}
        withdrawn = sorted(settled - {cut.first for cut in cuts})
        provisional = (
            *(first for first in self._provisional if first not in settled),
            *(cut.first for cut in cuts if cut.provisional),
        )
        events = book.values["next_event"]
        rate = (events - self._rated_events) / max((now - self._rated_at) / 1e9, 1e-9)
        self._rated_at, self._rated_events = now, events
        state = frozen.to_state(self._owner, book, provisional, rate, self._freeze_seconds)
        arguments = self._store, self._sink, self._settings, state, triggers, cuts, withdrawn, phases
        work = loop.run_in_executor(self._executor, persist, *arguments)
        try:
            return await asyncio.shield(work), cuts, provisional
        except asyncio.CancelledError:
            # The loop was stopped; the thread was not. Until it ends, nobody else may write here.
            await asyncio.wait({work})
            raise

    def _note_failure(self, error: BaseException, triggers: tuple[str, ...], requests: list[asyncio.Future[int]]) -> None:
        self._triggers.failed(triggers, now=time.monotonic_ns())
        self.figures.attempts["+".join(triggers), "failed"] += 1
        self.figures.last_error = str(error)
        self._on_attempt(Attempt("+".join(triggers), "failed", self._freeze_seconds, None))
        self._log.error("checkpoint failed", trigger="+".join(triggers), error=str(error), failures=self._triggers.failures)
        for request in requests:
            if not request.done():
                request.set_exception(StorageError(f"the checkpoint failed: {error}"))

    def _note_success(
        self, persisted: Persisted, triggers: tuple[str, ...], requests: list[asyncio.Future[int]], cuts: Sequence[Cut]
    ) -> None:
        self._triggers.succeeded(now=time.monotonic_ns())
        figures = self.figures
        figures.attempts["+".join(triggers), "committed"] += 1
        figures.last_error = None
        figures.last_epoch, figures.last_events, figures.last = persisted.epoch, persisted.events, persisted
        figures.parts += sum(len(cut.parts) for cut in cuts)
        figures.part_bytes += sum(part.size_bytes for cut in cuts for part in cut.parts)
        self._on_attempt(Attempt("+".join(triggers), "committed", self._freeze_seconds, persisted))
        self._log.info(
            "checkpoint",
            epoch=persisted.epoch,
            trigger="+".join(triggers),
            events=persisted.events,
            size_bytes=persisted.size_bytes,
            frozen_ms=round(persisted.frozen_seconds * 1e3, 3),
            persist_ms={name: round(seconds * 1e3, 1) for name, seconds in persisted.phases.items()},
        )
        if persisted.pruning_error is not None:
            self._log.warning("old checkpoints could not be removed", error=str(persisted.pruning_error))
        _answer(requests, persisted.epoch)


def _answer(requests: Iterable[asyncio.Future[int]], epoch: int) -> None:
    for request in requests:
        if not request.done():
            request.set_result(epoch)
