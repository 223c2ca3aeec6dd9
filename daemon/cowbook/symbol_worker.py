"""One symbol's worker: starts its pipeline from the last checkpoint, feeds it, and ends it well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

from cowbook.checkpoint.store import CheckpointStore
from cowbook.checkpointer import Checkpointer
from cowbook.durable_files import DurableFiles
from cowbook.errors import BadRecordHaltError, GapHaltError, InputError, StorageError, SymbolError
from cowbook.input.block import Block
from cowbook.input.follower import Follower
from cowbook.input.position import Position
from cowbook.input.watching import Watcher
from cowbook.persistence import CheckpointSettings
from cowbook.pipeline import Pipeline, WorkerSettings
from cowbook.pipeline_integration import start_pipeline
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.sink.schemas import StreamTables
from cowbook.summary import SymbolSummary
from cowbook.symbol_report import SymbolReport
from cowbook.telemetry.logging import get_logger

_POLL_SECONDS = 0.2
"""How often the triggers are looked at while there is nothing to process."""

ProgressCallback = Callable[[str, int, int, int], None]
"""Told of progress: symbol id, bytes of the files read, bytes of all files, events."""


class SymbolWorker:
    """Takes one symbol's input from where the last checkpoint stands to its end. `run` is called once."""

    def __init__(
        self,
        settings: WorkerSettings,
        readers: Executor,
        writers: Executor,
        *,
        allow_fresh: bool = False,
        progress: ProgressCallback | None = None,
        files: DurableFiles | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._readers = readers
        self._writers = writers
        self._allow_fresh = allow_fresh
        self._progress = progress
        self._log = get_logger().bind(symbol=settings.id)
        tables = StreamTables(settings.decoder.price_decimals, settings.decoder.size_decimals, settings.engine.book_levels)
        self._sink = ParquetSink(settings.output_dir, settings.directory_name, tables, settings.compression, files)
        self._store = CheckpointStore(settings.state_dir, settings.directory_name, settings.id, files)
        self._report = SymbolReport(settings.decoder.name, self._log)
        self._pipeline: Pipeline | None = None
        self._start_warnings: tuple[str, ...] = ()
        self._stopping = False
        self.recovery_seconds: float | None = None
        """How long it took until the input stood at its place; None before that."""

    @property
    def has_committed(self) -> bool:
        """Whether it has written a checkpoint."""
        return self._pipeline is not None and self._pipeline.checkpointer.figures.last is not None

    def stop(self) -> None:
        """Stop at the next block, with a final checkpoint; call it on the worker's loop."""
        self._stopping = True

    def request_checkpoint(self) -> asyncio.Future[int]:
        """Ask for a checkpoint of everything consumed so far, on the worker's loop: its epoch, or StorageError."""
        if self._pipeline is None:
            raise StorageError("the worker has not begun, or has ended")
        return self._pipeline.checkpointer.request()

    async def run(self) -> SymbolSummary:
        """Go through the input; a SymbolError ends up in the summary.

        Raises StorageError when only another worker can go on, from the last checkpoint.
        """
        started = time.monotonic()
        summary = SymbolSummary(self._settings.id, output=str(self._settings.output_dir), warnings=list(self._settings.notes))
        try:
            try:
                self._pipeline = pipeline = await self._start()
                summary.recovery_seconds = self.recovery_seconds = time.monotonic() - started
                summary.recovered_epoch = pipeline.checkpointer.figures.last_epoch or None
                summary.recovered_events = pipeline.engine.event_count
                await self._consume(pipeline)
            finally:
                await self._close()
        except SymbolError as error:
            summary.state = "failed"
            summary.error = str(error)
            self._log.error("symbol failed", error=str(error))
        summary.warnings += self._start_warnings
        if self._pipeline is not None:
            self._pipeline.fill(summary)
        summary.seconds = time.monotonic() - started
        return summary

    async def _start(self) -> Pipeline:
        settings = self._settings
        start = await start_pipeline(
            self._store,
            self._sink,
            self._make_follower,
            settings.fingerprint,
            self._writers,
            self._log,
            allow_fresh=self._allow_fresh,
        )
        checkpointer = Checkpointer(
            CheckpointSettings(
                settings.id,
                settings.decoder.name,
                settings.fingerprint,
                settings.triggers,
                settings.retain,
                settings.checkpoint_compression,
            ),
            self._store,
            self._sink,
            self._writers,
            self._log,
            recovered=start.checkpoint,
            provisional=start.provisional,
        )
        self._start_warnings = start.warnings
        return Pipeline(settings, start, checkpointer, self._sink, self._writers, self._report, self._log)

    def _make_follower(self, position: Position | None) -> Follower:
        settings = self._settings
        return Follower(
            settings.paths,
            executor=self._readers,
            block_bytes=settings.block_bytes,
            max_line_bytes=settings.decoder.max_line_bytes,
            position=position,
            follow=settings.follow,
            watcher=self._watcher,
        )

    async def _close(self) -> None:
        """Wait for all that is under way, and give the locks back."""
        loop = asyncio.get_running_loop()
        try:
            if self._pipeline is not None:
                await self._pipeline.close()
        finally:
            await loop.run_in_executor(self._writers, self._sink.close)
            await loop.run_in_executor(self._writers, self._store.unlock)

    async def _consume(self, pipeline: Pipeline) -> None:
        follower = pipeline.follower
        self._report_progress(pipeline)
        try:
            while (block := await self._next_block(pipeline)) is not None:
                if block.final and follower.is_last:
                    await pipeline.end(block)
                    return
                await pipeline.process(block)
                self._report_progress(pipeline)
        except (InputError, GapHaltError, BadRecordHaltError):
            await pipeline.halt()  # what was consumed before is right, and stays
            raise
        if self._stopping:
            await pipeline.stop()

    def _report_progress(self, pipeline: Pipeline) -> None:
        if self._progress is not None:
            follower = pipeline.follower
            done, total = follower.bytes_read_on_disk, follower.files_total_bytes
            self._progress(self._settings.id, done, total, pipeline.engine.event_count)

    async def _next_block(self, pipeline: Pipeline) -> Block | None:
        """The next block of the input, None at its end or when it is time to stop; triggers are looked at meanwhile."""
        reading = asyncio.ensure_future(pipeline.follower.next_block())
        try:
            while not self._stopping:
                done, _ = await asyncio.wait({reading}, timeout=_POLL_SECONDS)
                if done:
                    return reading.result()
                pipeline.checkpoint_if_due()
            return None
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
