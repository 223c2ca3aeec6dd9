"""One symbol's worker: starts its pipeline from the newest checkpoint, feeds it with blocks, and ends it well.

All of it runs on the loop of the symbol's thread. Other threads read `figures`, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cowbook.capture.follower import Follower
from cowbook.capture.inotify import Watcher
from cowbook.capture.rotation import FollowSettings
from cowbook.checkpoint.commit_log import Tenure
from cowbook.checkpoint.object_store import ObjectCheckpointStore
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.store import CheckpointStore
from cowbook.errors import BadRecordHaltError, DamageHaltError, FencedError, GapHaltError, InputError, StorageError, SymbolError
from cowbook.input.settings import DecoderSettings
from cowbook.log import get_logger
from cowbook.objects.bucket import Bucket
from cowbook.plain.block import Block
from cowbook.plain.durable_files import SCARCE, DurableFiles
from cowbook.plain.position import Position
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.sink.stream_files import StreamFiles
from cowbook.symbol.attempt import Destination, Outcome
from cowbook.symbol.checkpointer import Checkpointer
from cowbook.symbol.figures import InputFigures, WorkerFigures
from cowbook.symbol.joining_pipeline import JoiningPipeline
from cowbook.symbol.live_book import BookRequest
from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.pipeline_integration import Start, start_pipeline
from cowbook.symbol.report import SymbolReport
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.source_group import SourceGroup
from cowbook.symbol.summary import SymbolSummary
from cowbook.venues import load_venue

_STOP_POLL_SECONDS = 0.05
_REPORT_SECONDS = 0.5
"""What happens within this time is reported together. A report takes as long as a short block: a tenth of all time at thousands
of blocks a second, and a third where 64 files get ten lines a second each."""

ProgressCallback = Callable[[str, int, int, int], None]
"""Told of progress: symbol id, bytes of the files read, bytes of all files, events."""


class WorkerObserver(Protocol):
    """Told of what a worker does, on the worker's thread: each call should be quick."""

    def recovered(self, figures: WorkerFigures) -> None:
        """The input stands at its place; these figures begin with what the checkpoint has counted."""

    def processed(self, figures: WorkerFigures) -> None:
        """The figures have been replaced by these; only after `recovered`."""

    def attempted(self, outcome: Outcome) -> None:
        """A checkpoint was committed, or failed."""

    def fenced(self) -> None:
        """Another process has taken the symbol over: this one has ended it for good."""


class SymbolWorker:
    """Takes one symbol's input from where the newest checkpoint stands to its end. `run` is called once."""

    def __init__(
        self,
        settings: WorkerSettings,
        readers: Executor,
        writers: Executor,
        *,
        allow_fresh: bool = False,
        progress: ProgressCallback | None = None,
        observer: WorkerObserver | None = None,
        watcher: Watcher | None = None,
        files: DurableFiles | None = None,
        tenure: Tenure | None = None,
        waits_for_locks: bool = False,
    ) -> None:
        """`tenure` is what the workers of a symbol have in common in a process: its claim.

        With `waits_for_locks` a lock that another process holds is waited for; else the symbol fails.
        """
        self._settings = settings
        self._observer = observer
        self._watcher = watcher
        self._readers = readers
        self._writers = writers
        self._allow_fresh = allow_fresh
        self._progress = progress
        self._log = get_logger().bind(symbol=settings.id)
        decoder, has_ids = settings.decoder, load_venue(settings.format).has_ids
        streams = StreamFiles(
            decoder.price_decimals,
            decoder.size_decimals,
            settings.engine.book_levels,
            has_ids=has_ids,
            numbers=settings.numbers,
            compression=settings.compression,
        )
        name = settings.directory_name
        self._store: CheckpointStore
        if settings.objects is None:
            self._sink = ParquetSink(settings.output_dir, name, streams, files)
            self._store = CheckpointStore(settings.state_dir, name, settings.id, files, tenure)
        else:
            places = settings.objects
            self._sink = ParquetSink(settings.output_dir, name, streams, files, Bucket(places.output_url))
            self._store = ObjectCheckpointStore(Bucket(places.state_url), settings.state_dir, name, settings.id, files, tenure)
        self._report = SymbolReport(settings.decoder, settings.format, self._log)
        self._pipeline: Pipeline | None = None
        self._follower: Follower | SourceGroup | None = None
        self._on_locked = self._note_lock if waits_for_locks else None
        self._locked_by: str | None = None
        self._start_warnings: tuple[str, ...] = ()
        self._warned = 0  # how many of the follower's warnings are among them
        self._stopping = False
        self._reporting: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None  # what `_wait_for` waits for beside its future
        self.is_restart = False
        """Whether the symbol has worked in this process: what is scarce is then waited for, where a start would be refused."""
        self.figures = WorkerFigures()
        """What other threads may know of the worker; replaced whole, never changed. All else is for the worker's own thread."""

    @property
    def pipeline(self) -> Pipeline | None:
        """What it works with; None until that has recovered."""
        return self._pipeline

    @property
    def follower(self) -> Follower | SourceGroup | None:
        """Its input, as soon as that is looked for."""
        return self._follower

    # The following are called on the worker's loop.

    def stop(self) -> None:
        """Stop before the next block, with a final checkpoint."""
        self._stopping = True
        self._wake_up()

    def request_checkpoint(self) -> asyncio.Future[int]:
        """Ask for a checkpoint of everything consumed so far: its epoch, or StorageError."""
        if self._pipeline is None:
            raise StorageError("the worker has not begun yet")
        request = self._pipeline.checkpointer.request()
        self._wake_up()
        return request

    async def read_book(self, levels: int | None, form: str) -> bytes:
        """Returns the live book, encoded as `live_book.BookRequest` says. Raises StorageError before there is one."""
        if self._pipeline is None:
            raise StorageError("the symbol is not recovered yet")
        settings = self._settings
        decoder = settings.decoder
        request = BookRequest(settings.id, levels, form, decoder.price_decimals, decoder.size_decimals)
        return await self._pipeline.read_book(request)

    def configure(self, checkpoints: CheckpointSettings) -> None:
        """Take checkpoints by other settings from now on."""
        self._settings = replace(self._settings, checkpoints=checkpoints)
        if self._pipeline is not None:
            self._pipeline.checkpointer.configure(checkpoints, events=self._pipeline.engine.event_count)
        self._wake_up()

    def _wake_up(self) -> None:
        """Have what has changed looked at now, and not with the next block."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _wait_for(self, others: Collection[asyncio.Future[Any]], seconds: float | None) -> None:
        """Wait until one of the others is done, somebody wakes the worker up, or the time has passed."""
        if self._wake is None or self._wake.done():
            self._wake = asyncio.get_running_loop().create_future()
        await asyncio.wait({*others, self._wake}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def run(self) -> SymbolSummary:
        """Go through the input, and sum up. A SymbolError is not raised: it stands in the summary.

        Raises StorageError when this worker cannot go on, but another one may, from the newest checkpoint.
        """
        started = time.monotonic()
        summary = SymbolSummary(self._settings.id, output=self._sink.place, warnings=list(self._settings.notes))
        try:
            try:
                start = await self._start()
                if start is None:
                    return summary
                self._pipeline = pipeline = self._make_pipeline(start)
                summary.recovery_seconds = time.monotonic() - started
                summary.recovered_epoch = pipeline.checkpointer.figures.epoch or None
                summary.recovered_events = pipeline.engine.event_count
                self.figures = self._make_figures(summary.recovery_seconds)
                if self._observer is not None:
                    self._observer.recovered(self.figures)
                await self._consume(pipeline)
                if self._settings.follow is None and not self._stopping:
                    pipeline.check_usable()
            finally:
                await self._close()
        except SymbolError as error:
            cause = error.__cause__
            if self.is_restart and isinstance(cause, OSError) and cause.errno in SCARCE:
                raise StorageError(str(error), cause.errno) from error
            if isinstance(error, FencedError) and self._observer is not None:
                self._observer.fenced()
            summary.state = "failed"
            summary.error = str(error)
            self._log.error("symbol failed", error=str(error))
        summary.warnings += [*self._start_warnings, *self._new_warnings()]
        if self._pipeline is not None:
            self._pipeline.fill(summary)
        summary.seconds = time.monotonic() - started
        return summary

    async def _start(self) -> Start | None:
        """Recover, and find the input. None when the worker was stopped while it waited for its input."""
        store, sink, settings = self._store, self._sink, self._settings
        recovering = start_pipeline(
            store,
            sink,
            self._make_input,
            settings.fingerprint,
            self._writers,
            self._log,
            allow_fresh=self._allow_fresh,
            on_locked=self._on_locked,
        )
        starting = asyncio.ensure_future(recovering)
        try:
            while not starting.done():
                # A stop waits for everything except input and locks, for which it might wait for ever.
                await self._wait_for({starting}, _STOP_POLL_SECONDS if self._stopping else None)
                if self._stopping and self._make_figures(None).waiting_for is not None:
                    starting.cancel()
                    await asyncio.wait({starting})
                    if starting.cancelled():
                        return None
            return starting.result()
        finally:
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})

    def _note_lock(self, who: str) -> None:
        self._locked_by = who
        self._publish_figures()

    def _make_pipeline(self, start: Start) -> Pipeline:
        """What is recovered, put to work. It is made at once, so that no reload comes between its settings and `configure`."""
        checkpointer = Checkpointer(
            Destination(self._settings.owner, self._store, self._sink, self._writers),
            self._settings.checkpoints,
            self._log,
            recovered=start.checkpoint,
            provisional=start.provisional,
            on_outcome=self._note_outcome,
            on_change=self._wake_up,
        )
        self._start_warnings = start.warnings
        self._warned = len(start.follower.warnings)
        kind = JoiningPipeline if self._settings.sources else Pipeline
        return kind(self._settings, start, checkpointer, self._sink, self._writers, self._report, self._log)

    def _note_outcome(self, outcome: Outcome) -> None:
        self._publish_figures()  # before anybody is told: who has asked for a checkpoint finds it there
        if self._observer is not None:
            self._observer.attempted(outcome)

    def _make_input(self, state: PipelineState | None) -> Follower | SourceGroup:
        settings = self._settings
        self._locked_by = None
        if settings.sources:
            merge = state.merge if state is not None else None
            positions = [place.position for place in merge.places] if merge is not None else [None] * len(settings.sources)
            followers = [
                self._make_follower(source.paths, source.decoder, source.follow, position)
                for source, position in zip(settings.sources, positions, strict=True)
            ]
            self._follower = SourceGroup(settings.sources, followers, merge, settings.block_bytes)
        else:
            position = state.position if state is not None else None
            self._follower = self._make_follower(settings.paths, settings.decoder, settings.follow, position)
        self._publish_figures()
        return self._follower

    def _make_follower(
        self, paths: Sequence[Path], decoder: DecoderSettings, follow: FollowSettings | None, position: Position | None
    ) -> Follower:
        return Follower(
            paths,
            executor=self._readers,
            block_bytes=self._settings.block_bytes,
            max_line_bytes=decoder.max_line_bytes,
            position=position,
            follow=follow,
            watcher=self._watcher,
            on_change=self._report_soon,
        )

    async def _close(self) -> None:
        """Wait for everything that is under way, give the locks back, and publish the last figures."""
        loop = asyncio.get_running_loop()
        try:
            if self._pipeline is not None:
                await self._pipeline.close()
            elif self._follower is not None:
                await self._follower.close()
        finally:
            await loop.run_in_executor(self._writers, self._sink.close)
            await loop.run_in_executor(self._writers, self._store.unlock)
            self._publish_figures()
            self._cancel_report()

    async def _consume(self, pipeline: Pipeline) -> None:
        self._report_progress()
        try:
            if isinstance(pipeline, JoiningPipeline):
                has_ended = await self._join_sources(pipeline)
            else:
                has_ended = await self._take_blocks(pipeline)
        except (InputError, GapHaltError, BadRecordHaltError, DamageHaltError):
            await pipeline.halt()  # what was consumed before is right, and stays
            raise
        finally:
            self._report_progress()  # the last block, too, whatever has come of it
        if not has_ended:
            await pipeline.stop()

    async def _take_blocks(self, pipeline: Pipeline) -> bool:
        """Process block after block. Returns whether the input has ended; otherwise somebody has asked to stop."""
        follower = pipeline.follower
        assert isinstance(follower, Follower)
        while (block := await self._next_block(pipeline, follower)) is not None:
            if block.final and follower.is_last:
                await pipeline.end(block)
                return True
            is_live = self._settings.follow is not None and block.end - block.start < self._settings.block_bytes
            await pipeline.process(block)
            if is_live:  # somebody waits to see the rows of a closed cut; while catching up nobody does
                pipeline.checkpointer.publish_cuts()
            self._report_soon()
        return False

    async def _join_sources(self, pipeline: JoiningPipeline) -> bool:
        """As `_take_blocks`, for several sources."""
        while not self._stopping:
            reads = await pipeline.advance()
            self._report_soon()
            if reads is None:
                await pipeline.finish()
                return True
            pipeline.checkpoint_if_due()
            seconds = pipeline.checkpointer.seconds_until_due() if reads.blocks else 0.0
            if reads.seconds is not None:
                seconds = reads.seconds if seconds is None else min(seconds, reads.seconds)
            if reads.blocks:
                if self._settings.follow is not None:  # somebody waits to see the rows of a closed cut
                    pipeline.checkpointer.publish_cuts()
                await self._wait_for(reads.blocks, seconds)
            else:
                await asyncio.sleep(0)
        return False

    def _report_soon(self) -> None:
        """A block was processed, or something shows of the input: others may know a moment later.

        While the worker waits for its input, the follower calls this after each look. No timer ticks for an idle symbol.
        """
        if self._reporting is None:
            self._reporting = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report_progress)

    def _report_progress(self) -> None:
        """Publish the figures, and tell the progress."""
        self._cancel_report()
        self._publish_figures()
        if self._progress is not None and self._pipeline is not None:
            follower = self._pipeline.follower
            done, total = follower.bytes_read_on_disk, follower.files_total_bytes
            self._progress(self._settings.id, done, total, self._pipeline.engine.event_count)

    def _cancel_report(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None

    def _publish_figures(self) -> None:
        """Replace the figures by those of this moment."""
        self.figures = self._make_figures(self.figures.recovery_seconds)
        if self._observer is not None and self.figures.recovery_seconds is not None:
            self._observer.processed(self.figures)

    def _make_figures(self, recovery_seconds: float | None) -> WorkerFigures:
        follower, pipeline = self._follower, self._pipeline
        if follower is None:
            return WorkerFigures(InputFigures(self._locked_by) if self._locked_by else None)
        found = InputFigures(
            follower.waiting_for,
            follower.unread_bytes,
            follower.rotations,
            follower.skipped_files,
            self._new_warnings(),
        )
        if pipeline is None:
            return WorkerFigures(found)
        return WorkerFigures(found, recovery_seconds, pipeline.make_figures(), pipeline.checkpointer.figures)

    def _new_warnings(self) -> tuple[str, ...]:
        """What a person should know of the files that has shown since the start."""
        return self._pipeline.follower.warnings[self._warned :] if self._pipeline is not None else ()

    async def _next_block(self, pipeline: Pipeline, follower: Follower) -> Block | None:
        """The next block of the input; None at its end, or when it is time to stop. Takes checkpoints that fall due meanwhile."""
        reading = asyncio.ensure_future(follower.next_block())
        try:
            while not self._stopping:
                if reading.done():
                    return reading.result()
                pipeline.checkpoint_if_due()
                await self._wait_for({reading}, pipeline.checkpointer.seconds_until_due())
            return None
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
            elif not reading.cancelled():
                reading.exception()  # the next start meets it again
