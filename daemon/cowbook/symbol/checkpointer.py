"""A worker's checkpoints: when an attempt begins, what belongs to it, and what came of it. One at a time, beside processing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from cowbook.checkpoint.load import Checkpoint
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import BACKLOG, CUT, MANUAL, Triggers
from cowbook.errors import RestartNeededError, StorageError
from cowbook.plain.durable_files import IMPOSSIBLE
from cowbook.plain.merge_state import JoinedMark
from cowbook.plain.parts import Cut, CutPlace
from cowbook.plain.position import Mark
from cowbook.symbol.attempt import Attempt, Committed, Destination, Freeze, Newest, Outcome
from cowbook.symbol.figures import CheckpointFigures

MOST_UNPUBLISHED = 256
"""Cuts that may wait for a checkpoint. At this number processing waits; if attempts fail, the worker starts again."""


class Checkpointer:
    """Takes frozen states and makes them durable, in the background of the loop that it is used on.

    A failed attempt is dropped, counted, logged and tried again later. What does not pass by itself is raised by `raise_failure`
    and `finish`: RestartNeededError, which a restart mends, and StorageError with a code in IMPOSSIBLE, which nothing here does.
    """

    def __init__(
        self,
        destination: Destination,
        settings: CheckpointSettings,
        log: Any,
        *,
        recovered: Checkpoint | None,
        provisional: tuple[CutPlace, ...] = (),
        on_outcome: Callable[[Outcome], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`provisional` are the places of published cuts that the worker is to replace.

        On the loop, `on_outcome` is told how an attempt ended, before those who have asked for it; then, when the next one may
        begin, `on_change` is called.
        """
        self._destination = destination
        self._settings = settings
        self._log = log
        self._on_outcome, self._on_change = on_outcome, on_change
        self._loop = asyncio.get_running_loop()
        self._newest = _newest(recovered, provisional)
        self._triggers = Triggers(settings.triggers, now=time.monotonic_ns(), events=self._newest.events)
        self._cuts: list[asyncio.Future[Cut]] = []
        self._cuts_taken = 0  # of these, by the attempt under way
        self._requests: list[asyncio.Future[int]] = []
        self._attempt: Attempt | None = None
        self._running: asyncio.Task[None] | None = None  # of the attempt, until somebody has looked at how it ended
        self._puts = 0
        newest = self._newest
        self.figures = CheckpointFigures(epoch=newest.epoch, events=newest.events, timestamp=newest.timestamp)
        """What the attempts have come to."""

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
        triggers = self._triggers.due(now=time.monotonic_ns(), events=events, saved=self._newest.events)
        return () if self.is_persisting else triggers

    @property
    def is_persisting(self) -> bool:
        """Whether an attempt is under way."""
        return self._attempt is not None or (self._running is not None and not self._running.done())

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

    def is_known(self, mark: Mark | JoinedMark, end_of_input: str | None = None) -> bool:
        """Whether the last checkpoint says all that one of this place would say."""
        return mark.progress == self._newest.progress and end_of_input in (None, self._newest.end_of_input)

    def answer_with_newest(self) -> None:
        """Nothing was consumed since the newest checkpoint: it answers the triggers that are due, if it is still there.

        Raises RestartNeededError when it is not, or the locks.
        """
        self._triggers.nothing_new()
        requests, self._requests = self._requests, []
        try:
            self._destination.store.check(self._newest.epoch)
            self._destination.sink.check_lock()
        except RestartNeededError as error:
            _refuse(requests, str(error))
            raise
        _answer(requests, self._newest.epoch)

    async def add_cut(self, cut: asyncio.Future[Cut]) -> None:
        """A cut is being staged, to be published with the next checkpoint."""
        self._cuts.append(cut)
        if len(self._cuts) >= MOST_UNPUBLISHED:
            self._triggers.request(BACKLOG)
            await self.finish()
            if self._triggers.failures and len(self._cuts) >= MOST_UNPUBLISHED:
                raise RestartNeededError(f"{len(self._cuts)} cuts wait for a checkpoint, and attempts fail")

    def begin(
        self, freeze: Freeze, triggers: tuple[str, ...], frozen_seconds: float, tail: Sequence[asyncio.Future[Cut]] = ()
    ) -> None:
        """Start an attempt, of which none must be under way; `tail` are cuts that the end of the input makes.

        `frozen_seconds` is how long the state took to be frozen.
        """
        assert self._attempt is None
        assert self._running is None
        now = time.monotonic_ns()
        self._triggers.begun(now=now)
        # What belongs to the attempt is settled here: processing goes on before its task runs for the first time.
        self._cuts_taken = len(self._cuts)
        cuts, requests, self._requests = (*self._cuts, *tail), self._requests, []
        attempt = Attempt(self._destination, self._settings, self._newest, freeze, triggers, cuts, requests, now, frozen_seconds)
        self._attempt = attempt
        self._loop.call_soon(self._launch)

    def _launch(self) -> None:
        """Make the task of an attempt that was begun, if it has none: that takes as long as all of the freeze does."""
        if self._attempt is not None and self._running is None:
            self._running = self._loop.create_task(self._settle(self._attempt))
            self._running.add_done_callback(self._tell_change)

    async def snapshot_released(self) -> None:
        """Wait until the snapshot of the attempt under way is given back; without an attempt there is nothing to wait for."""
        if self._attempt is not None:
            await self._attempt.snapshot_released()

    def raise_failure(self) -> None:
        """Raise what the last attempt has ended with, if the next one cannot mend it."""
        if self._running is not None and self._running.done():
            ended, self._running = self._running, None
            ended.result()

    async def finish(self) -> None:
        """Wait for the attempt under way; raises as `raise_failure` does."""
        self._launch()
        if self._running is not None:
            await asyncio.wait([self._running])
        self.raise_failure()

    async def close(self) -> StorageError | None:
        """Wait for everything under way, and give up what waits; what the last attempt has failed with."""
        failure = None
        try:
            await self.finish()
        except StorageError as error:
            failure = error
        await asyncio.gather(*self._cuts, return_exceptions=True)
        requests, self._requests = self._requests, []
        _refuse(requests, "the worker ended before the checkpoint that was asked for")
        return failure

    async def _settle(self, attempt: Attempt) -> None:
        """Run the attempt, and draw the conclusions. Raises what only a restart mends, and what nobody has foreseen."""
        try:
            committed = await attempt.run()
        except BaseException as error:
            self._note_failure(attempt, error)
            if isinstance(error, RestartNeededError) or not isinstance(error, StorageError) or error.code in IMPOSSIBLE:
                raise
        else:
            self._note_success(attempt, committed)
        finally:
            self._attempt = None  # with all that it holds of the frozen state

    def _note_failure(self, attempt: Attempt, error: BaseException) -> None:
        """The attempt is dropped: its cuts and its triggers are for the next one."""
        trigger = "+".join(attempt.triggers)
        self._cuts_taken = 0
        self._triggers.failed(attempt.triggers, now=time.monotonic_ns())
        self.figures = replace(self.figures, failed=self.figures.failed + 1, last_error=str(error))
        self._on_outcome(Outcome(trigger, attempt.frozen_seconds, None, self._new_puts()))
        self._log.error("checkpoint failed", trigger=trigger, error=str(error), failures=self.failures)
        _refuse(attempt.requests, f"the checkpoint failed: {error}")

    def _note_success(self, attempt: Attempt, committed: Committed) -> None:
        trigger, newest = "+".join(attempt.triggers), committed.newest
        del self._cuts[: self._cuts_taken]
        self._cuts_taken = 0
        self._triggers.succeeded(now=time.monotonic_ns())
        self._newest = newest
        figures = self.figures
        self.figures = CheckpointFigures(
            epoch=newest.epoch,
            events=newest.events,
            timestamp=newest.timestamp,
            committed=figures.committed + 1,
            failed=figures.failed,
            parts=figures.parts + committed.parts,
            part_bytes=figures.part_bytes + committed.part_bytes,
            freeze_seconds=attempt.frozen_seconds,
        )
        self._on_outcome(Outcome(trigger, attempt.frozen_seconds, committed, self._new_puts()))
        self._log.info(
            "checkpoint",
            epoch=newest.epoch,
            trigger=trigger,
            events=newest.events,
            size_bytes=committed.size_bytes,
            frozen_ms=round(attempt.frozen_seconds * 1e3, 3),
            persist_ms={name: round(seconds * 1e3, 1) for name, seconds in committed.phases.items()},
        )
        if committed.pruning_error is not None:
            self._log.warning("old checkpoints could not be removed", error=str(committed.pruning_error))
        _answer(attempt.requests, newest.epoch)

    def _new_puts(self) -> int:
        """Requests that have written objects since this was asked last."""
        before, self._puts = self._puts, self._destination.object_puts
        return self._puts - before

    def _tell_change(self, _: object) -> None:
        self._on_change()


def _newest(recovered: Checkpoint | None, provisional: tuple[CutPlace, ...]) -> Newest:
    """What a worker that has just started knows."""
    now = time.monotonic_ns()
    if recovered is None:
        return Newest(frozen_at=now, provisional=provisional)
    state = recovered.state
    return Newest(
        epoch=recovered.manifest.epoch,
        events=state.events_processed,
        timestamp=state.checkpoint_timestamp,
        frozen_at=now,
        progress=state.progress,
        end_of_input=state.end_of_input,
        provisional=provisional,
    )


def _answer(requests: Iterable[asyncio.Future[int]], epoch: int) -> None:
    for request in requests:
        if not request.done():
            request.set_result(epoch)


def _refuse(requests: Iterable[asyncio.Future[int]], why: str) -> None:
    for request in requests:
        if not request.done():
            request.set_exception(StorageError(why))
