"""One attempt at a checkpoint, from the frozen state to published parts, while processing goes on.

Which thread does what, in order:

    step      thread           what happens
    freeze    worker's loop    Pipeline takes the state between two messages, by reference; processing stands still
    gather    executor         the snapshot's levels are read into plain arrays
    release   worker's loop    the snapshot's blocks go back to the pool, where the book may need them
    stage     worker's loop    waits for the cuts to publish; other executor threads have been encoding them since they were cut
    encode    executor         the state becomes the contents of the checkpoint's files
    write     executor         the files are written and synced, in a directory that no recovery looks at
    commit    executor         the manifest is written, and the log gets an entry: from here on the checkpoint counts
    publish   executor         the cuts' parts are renamed to their final places
    prune     executor         checkpoints beyond those to retain are removed

Nothing on the loop waits for a disk. The executor's steps are one call each for `gather` and for all from `encode` to `prune`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from cowbook.book.freeze import BookSnapshot
from cowbook.checkpoint.manifest import FORMAT_VERSION, Manifest
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals, PipelineState
from cowbook.checkpoint.settings import CheckpointOwner, CheckpointSettings
from cowbook.checkpoint.state_files import encode_state, iso_time
from cowbook.checkpoint.store import CheckpointStore
from cowbook.errors import StorageError
from cowbook.plain.engine_state import EngineState
from cowbook.plain.frame import Frame
from cowbook.plain.merge_state import JoinedMark, SourceFigures
from cowbook.plain.messages import DeadLetter
from cowbook.plain.parts import Cut, CutPlace
from cowbook.plain.position import Mark, displayable
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.symbol.framing import gathered

T = TypeVar("T")


class GatheredSnapshot(msgspec.Struct, frozen=True, eq=False):
    """What stands in a snapshot's place once its levels are gathered and its blocks are given back."""

    state: EngineState

    def get_checkpoint_state(self) -> EngineState:
        """The gathered state."""
        return self.state

    def release(self) -> None:
        """There is nothing to give back."""


class Freeze(msgspec.Struct, frozen=True, eq=False):
    """A worker between two messages, by reference: a mark of the input, a snapshot of the book, and what stands beside them.

    Taking it costs microseconds, because everything in it is small, or is never changed afterwards. An attempt turns it into a
    PipelineState.
    """

    snapshot: BookSnapshot | GatheredSnapshot
    mark: Mark | JoinedMark
    letters: list[DeadLetter]  # append-only; those of the open rows are the first ones
    other_symbols: list[str]  # append-only
    misfit: tuple[int, str] | None
    input_bytes: int
    connection: Mapping[str, str]
    drift: DriftTotals
    timestamp: int
    end_of_input: str | None = None
    days: npt.NDArray[np.void] | None = None
    """At the end of the input: the days with what came behind the mark, for people; the first ones are those before it."""
    source_figures: tuple[SourceFigures, ...] = ()
    """At the end of the input: what came of the sources with what came behind the mark, for people."""
    is_named: bool = True
    frame: asyncio.Future[Frame] | None = None
    """That of the open cut."""


@dataclass(frozen=True, slots=True)
class Newest:
    """What a worker remembers of its newest checkpoint; before the first one, of its start."""

    epoch: int = 0
    """0 without a checkpoint."""
    events: int = 0
    timestamp: int = 0
    """When it was frozen, in ns since 1970; 0 without a checkpoint."""
    frozen_at: int = 0
    """The same, or the worker's start, on the monotonic clock, in ns."""
    progress: tuple[Any, ...] | None = None
    """Of its mark."""
    end_of_input: str | None = None
    provisional: tuple[CutPlace, ...] = ()
    """Places of published cuts that later ones are to replace, or that are to be withdrawn."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What an attempt that went well leaves behind."""

    newest: Newest
    size_bytes: int
    """Of the checkpoint's files."""
    parts: int
    part_bytes: int
    """Of the parts that it has published."""
    phases: Mapping[str, float]
    """Seconds of each step that took time in the background, in their order."""
    pruning_error: StorageError | None
    """Old checkpoints could not be removed: the new one stands all the same."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt has ended, for those who observe the worker."""

    trigger: str
    """What has begun it; several are joined by "+"."""
    frozen_seconds: float
    """How long processing stood still for it."""
    committed: Committed | None
    """None of an attempt that failed."""
    object_puts: int = 0
    """Requests since the attempt before that have written objects, or tried to; 0 with directories."""

    @property
    def result(self) -> str:
        """In one word, as metrics call it."""
        return "failed" if self.committed is None else "committed"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where all attempts of a worker lead: whose checkpoints they make, where these and the parts lie, and who does the work."""

    owner: CheckpointOwner
    store: CheckpointStore
    sink: ParquetSink
    executor: Executor

    @property
    def object_puts(self) -> int:
        """Requests of this worker that have written objects, or tried to."""
        return self.store.object_puts + self.sink.object_puts


class Attempt(msgspec.Struct, eq=False):
    """All that belongs to one attempt is in it from its beginning: what comes later is for the next one.

    It is made while processing stands still, with cold caches. It is a struct, because a dataclass with an event and a dictionary
    of its own made the freeze a quarter longer (37 µs instead of 29); and what only later steps need is made by them.
    """

    destination: Destination
    settings: CheckpointSettings
    before: Newest
    """The checkpoint before this one."""
    freeze: Freeze
    """Until it is encoded."""
    triggers: tuple[str, ...]
    cuts: tuple[asyncio.Future[Cut], ...]
    """To publish with it; executor threads may still be staging some of them."""
    requests: list[asyncio.Future[int]]
    """Of those who have asked for it: they are told the epoch, or that it failed."""
    frozen_at: int
    """On the monotonic clock, in ns."""
    frozen_seconds: float = 0.0
    """How long processing stood still for it so far."""
    phases: dict[str, float] = {}
    """Seconds of each step behind the freeze that has ended."""
    _holds_snapshot: bool = True
    _waiter: asyncio.Future[None] | None = None
    _phase_began: float = 0.0
    _book: EngineState | None = None
    _frame: Frame | None = None
    _staged: list[Cut] = []

    async def run(self) -> Committed:
        """Take all steps behind the freeze.

        Raises StorageError when nothing was committed, RestartNeededError when that cannot be told, or when a part is lost; and
        FencedError when another process has taken the symbol.
        """
        self._phase_began = time.perf_counter()
        try:
            await self._in_executor(self._gather)
        finally:
            self._release()
        self._frame = await gathered(self.freeze.frame)
        self._end_phase("gather")
        self._staged = [await cut for cut in self.cuts]
        self._end_phase("stage")
        return await self._in_executor(self._persist)

    async def snapshot_released(self) -> None:
        """Wait until the snapshot is given back; nothing to do when it is already."""
        if self._holds_snapshot:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def _in_executor(self, work: Callable[[], T]) -> T:
        """Call a method that blocks, or that takes its time."""
        running = asyncio.get_running_loop().run_in_executor(self.destination.executor, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The loop was stopped; the thread was not. Until it ends, nobody else may write here.
            await asyncio.wait({running})
            raise

    def _gather(self) -> None:
        self._book = self.freeze.snapshot.get_checkpoint_state()

    def _release(self) -> None:
        started = time.perf_counter()
        self.freeze.snapshot.release()
        self.frozen_seconds += time.perf_counter() - started
        self._holds_snapshot = False
        if self._waiter is not None and not self._waiter.done():  # whoever waited may have been cancelled
            self._waiter.set_result(None)

    def _persist(self) -> Committed:
        """Commit the state, publish the parts that are older than it, and remove old checkpoints."""
        store, sink, cuts = self.destination.store, self.destination.sink, self._staged
        epoch = store.next_epoch()
        manifest, newest, withdrawn, contents = self._encode(epoch)
        self._end_phase("encode")
        if cuts:
            sink.sync_staged(cuts)
        files = store.write(epoch, contents)
        del contents
        self._end_phase("write")
        directory = store.commit(msgspec.structs.replace(manifest, persist_seconds=dict(self.phases), files=files))
        self._end_phase("commit")
        with store.unless_fenced():
            sink.publish(cuts, withdrawn)
            store.mark_published(directory)
        self._end_phase("publish")
        pruning_error = None
        try:
            store.prune(self.settings.retain)
        except StorageError as error:
            pruning_error = error
        self._end_phase("prune")
        return Committed(
            newest=newest,
            size_bytes=sum(entry.size_bytes for entry in files),
            parts=sum(len(cut.parts) for cut in cuts),
            part_bytes=sum(part.size_bytes for cut in cuts for part in cut.parts),
            phases=self.phases,
            pruning_error=pruning_error,
        )

    def _encode(self, epoch: int) -> tuple[Manifest, Newest, list[CutPlace], dict[str, memoryview]]:
        """The frozen state as contents of files, and what is said of it. Nothing of that state is kept.

        The manifest lacks the files. Committing and publishing take as long as the rows of several cuts: those that the frozen
        state refers to would be in memory beside them.
        """
        book = self._book
        assert book is not None, "gathered before"
        withdrawn, provisional = self._settle_provisional_cuts(book.rows.place)
        state = self._make_state(book, provisional)
        contents = encode_state(state, self.settings.compression)
        newest = Newest(
            epoch=epoch,
            events=state.events_processed,
            timestamp=state.checkpoint_timestamp,
            frozen_at=self.frozen_at,
            progress=self.freeze.mark.progress,
            end_of_input=state.end_of_input,
            provisional=provisional,
        )
        self._book = self._frame = None
        del self.freeze
        return self._make_manifest(epoch, state, withdrawn), newest, withdrawn, contents

    def _settle_provisional_cuts(self, open_cut: CutPlace) -> tuple[list[CutPlace], tuple[CutPlace, ...]]:
        """Places of the provisional cuts to withdraw now, and of those that stand after this checkpoint.

        A provisional cut is settled when it comes before the open one, so that its rows have been cut again; at the end of the
        input, when they are about to be. It is withdrawn unless the cut with the same place supersedes it.
        """
        before, ends = self.before.provisional, self.freeze.end_of_input is not None
        settled = {place for place in before if place < open_cut or ends}
        withdrawn = sorted(settled - {cut.place for cut in self._staged})
        stays = (place for place in before if place not in settled)
        comes = (cut.place for cut in self._staged if cut.provisional)
        return withdrawn, (*stays, *comes)

    def _make_state(self, book: EngineState, provisional: tuple[CutPlace, ...]) -> PipelineState:
        """The frozen state as plain data."""
        freeze, owner = self.freeze, self.destination.owner
        seconds = max((self.frozen_at - self.before.frozen_at) / 1e9, 1e-9)
        return PipelineState(
            id=owner.id,
            symbol=owner.symbol,
            order_book_state=book if freeze.days is None else replace(book, days=freeze.days),
            position=freeze.mark.position(),
            merge=freeze.mark.merge_state(freeze.source_figures) if isinstance(freeze.mark, JoinedMark) else None,
            fingerprint=dict(owner.fingerprint),
            dead_letters=tuple(freeze.letters[: len(book.rows["dead_letter"])]),
            frame=self._frame,
            decoder=DecoderState(
                tuple(freeze.other_symbols), freeze.misfit, freeze.input_bytes, freeze.connection, freeze.is_named
            ),
            drift=freeze.drift,
            provisional=provisional,
            end_of_input=freeze.end_of_input,
            processing_rate=(book.values["next_event"] - self.before.events) / seconds,
            checkpoint_timestamp=freeze.timestamp,
            snapshot_duration_ms=self.frozen_seconds * 1e3,
        )

    def _make_manifest(self, epoch: int, state: PipelineState, withdrawn: list[CutPlace]) -> Manifest:
        return Manifest(
            version=FORMAT_VERSION,
            id=state.id,
            symbol=state.symbol,
            epoch=epoch,
            incarnation=self.destination.store.start.number,
            claim=self.destination.store.start.claim,
            triggers=self.triggers,
            checkpoint_timestamp=iso_time(state.checkpoint_timestamp),
            events_processed=state.events_processed,
            last_update_id=state.last_update_id,
            current_file=displayable(state.current_file),
            file_offset=state.file_offset,
            levels=state.levels,
            snapshot_duration_ms=state.snapshot_duration_ms,
            processing_rate=state.processing_rate,
            persist_seconds={},
            end_of_input=state.end_of_input is not None,
            files=(),
            cuts=tuple(self._staged),
            withdrawn=tuple(withdrawn),
            output_dir=displayable(self.destination.sink.place),
        )

    def _end_phase(self, name: str) -> None:
        now = time.perf_counter()
        self.phases[name] = now - self._phase_began
        self._phase_began = now
