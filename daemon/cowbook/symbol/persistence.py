"""One checkpoint from the frozen state to published parts: what runs in an executor while processing goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from cowbook.book.freeze import BookSnapshot
from cowbook.checkpoint.manifest import FORMAT_VERSION, FileEntry, Manifest
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals, PipelineState
from cowbook.checkpoint.settings import CheckpointOwner, CheckpointSettings
from cowbook.checkpoint.state_files import encode_state, iso_time
from cowbook.checkpoint.store import CheckpointStore
from cowbook.errors import StorageError
from cowbook.plain.engine_checkpoint import EngineCheckpoint
from cowbook.plain.messages import DeadLetter
from cowbook.plain.parts import Cut
from cowbook.plain.position import Mark, displayable
from cowbook.sink.parquet_sink import ParquetSink


class Frozen(msgspec.Struct, frozen=True, eq=False):
    """A worker's state between two messages. Everything in it is small, or a reference to what is never changed."""

    snapshot: BookSnapshot
    mark: Mark
    letters: list[DeadLetter]  # append-only; those of the open rows are the first ones
    other_symbols: list[str]
    misfit: tuple[int, str] | None
    input_bytes: int
    connection: Mapping[str, str]
    drift: DriftTotals
    timestamp: int
    end_of_input: str | None = None
    days: npt.NDArray[np.void] | None = None
    """At the end of the input: the days with what came behind the mark, for people; the first ones are those before it."""

    def to_state(
        self, owner: CheckpointOwner, book: EngineCheckpoint, provisional: tuple[int, ...], rate: float, seconds: float
    ) -> PipelineState:
        """As plain data; `book` is what was gathered from the snapshot, `seconds` how long processing stood still."""
        return PipelineState(
            id=owner.id,
            symbol=owner.symbol,
            order_book_state=book if self.days is None else replace(book, days=self.days),
            position=self.mark.position(),
            fingerprint=dict(owner.fingerprint),
            dead_letters=tuple(self.letters[: len(book.rows["dead_letter"])]),
            decoder=DecoderState(tuple(self.other_symbols), self.misfit, self.input_bytes, self.connection),
            drift=self.drift,
            provisional=provisional,
            end_of_input=self.end_of_input,
            processing_rate=rate,
            checkpoint_timestamp=self.timestamp,
            snapshot_duration_ms=seconds * 1e3,
        )


class Phases:
    """Seconds by phase, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def end(self, name: str) -> None:
        """The phase that is under way ends, and is called this."""
        now = time.perf_counter()
        self.seconds[name] = now - self._started
        self._started = now


@dataclass(frozen=True, slots=True)
class Persisted:
    """A committed checkpoint."""

    epoch: int
    events: int
    frozen_seconds: float
    """How long processing stood still for it."""
    size_bytes: int
    phases: dict[str, float]
    pruning_error: StorageError | None
    """Old checkpoints could not be removed: the new one stands all the same."""


def persist(
    store: CheckpointStore,
    sink: ParquetSink,
    settings: CheckpointSettings,
    state: PipelineState,
    triggers: Sequence[str],
    cuts: Sequence[Cut],
    withdrawn: Sequence[int],
    phases: Phases,
) -> Persisted:
    """Commit a state, publish the parts that are older than it, and remove old checkpoints.

    Raises StorageError when nothing was committed, RestartNeededError when that cannot be told, or when a part is lost.
    """
    epoch = store.next_epoch()
    contents = encode_state(state, settings.compression)
    phases.end("encode")
    if cuts:
        sink.sync_staged(cuts)

    def describe(files: tuple[FileEntry, ...]) -> Manifest:
        phases.end("write")
        return Manifest(
            version=FORMAT_VERSION,
            id=state.id,
            symbol=state.symbol,
            epoch=epoch,
            incarnation=store.incarnation,
            triggers=tuple(triggers),
            checkpoint_timestamp=iso_time(state.checkpoint_timestamp),
            events_processed=state.events_processed,
            last_update_id=state.last_update_id,
            current_file=displayable(state.current_file),
            file_offset=state.file_offset,
            levels=state.levels,
            snapshot_duration_ms=state.snapshot_duration_ms,
            processing_rate=state.processing_rate,
            persist_seconds=dict(phases.seconds),
            end_of_input=state.end_of_input is not None,
            files=files,
            cuts=tuple(cuts),
            withdrawn=tuple(withdrawn),
        )

    directory = store.commit(epoch, contents, describe)
    phases.end("commit")
    sink.publish(cuts, withdrawn)
    store.mark_published(directory)
    phases.end("publish")
    pruning_error = None
    try:
        store.prune(settings.retain)
    except StorageError as error:
        pruning_error = error
    phases.end("prune")
    size_bytes = sum(len(content) for content in contents.values())
    return Persisted(epoch, state.events_processed, state.snapshot_duration_ms / 1e3, size_bytes, phases.seconds, pruning_error)
