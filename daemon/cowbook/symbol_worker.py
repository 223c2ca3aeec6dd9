"""One symbol: read -> decode -> apply -> write, on the event loop that it is run on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from cowbook.book.audits import KINDS
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.errors import BadRecordHaltError, GapHaltError, InputError, SymbolError
from cowbook.event_batch import DEAD_LETTER, DeadLetter, EventBatch
from cowbook.input.block import Block
from cowbook.input.decoding import DecoderSettings
from cowbook.input.follower import Follower
from cowbook.input.line_decoder import FORMATS, LineDecoder
from cowbook.rows import OpenRows
from cowbook.sink.parquet_sink import ParquetSink, Part
from cowbook.sink.schemas import StreamTables
from cowbook.summary import SymbolSummary
from cowbook.telemetry.logging import get_logger

_LOGGED_DEAD_LETTERS = 5
"""Dead letters that are logged one by one; all are counted and written."""

ProgressCallback = Callable[[str, int, int, int], None]
"""Told of progress: symbol id, bytes of the files read, bytes of all files, events."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All that a symbol's worker needs to know."""

    id: str
    directory_name: str
    format: str
    paths: tuple[Path, ...]
    output_dir: Path
    on_bad_record: str
    decoder: DecoderSettings
    engine: EngineSettings
    compression: str
    notes: tuple[str, ...] = ()  # what a person should know of the paths
    block_bytes: int = 1 << 20


class SymbolWorker:
    """Consumes one symbol's input from the beginning to its end. `run` is called once."""

    def __init__(
        self,
        settings: WorkerSettings,
        readers: Executor,
        writers: Executor,
        *,
        allow_fresh: bool = False,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._settings = settings
        self._writers = writers
        self._allow_fresh = allow_fresh
        self._progress = progress
        self._log = get_logger().bind(symbol=settings.id)
        self._follower = Follower(
            settings.paths,
            executor=readers,
            block_bytes=settings.block_bytes,
            max_line_bytes=settings.decoder.max_line_bytes,
        )
        self._decoder = LineDecoder(FORMATS[settings.format], settings.decoder)
        self._engine = OrderBookEngine(settings.engine)
        tables = StreamTables(settings.decoder.price_decimals, settings.decoder.size_decimals, settings.engine.book_levels)
        self._sink = ParquetSink(settings.output_dir, settings.directory_name, tables, settings.compression)
        self._batch = EventBatch.allocate()
        self._letters: list[DeadLetter] = []  # of messages that no cut has taken yet, in order
        self._letters_logged = 0
        self._misfit: DeadLetter | None = None  # the first value that did not fit
        self._writing: asyncio.Future[list[Part]] | None = None
        self._stopping = False
        self._parts = 0
        self._part_bytes = 0
        self._drift_levels = 0
        self._input_bytes = 0

    def stop(self) -> None:
        """Stop at the next block; call it on the worker's loop."""
        self._stopping = True

    async def run(self) -> SymbolSummary:
        """Go through the input; a SymbolError ends up in the summary, everything else is raised."""
        started = time.monotonic()
        summary = SymbolSummary(self._settings.id, output=str(self._settings.output_dir))
        try:
            try:
                await self._in_writer(self._sink.open, allow_fresh=self._allow_fresh)
                await self._consume()
            finally:
                await self._finish_writing()
                await self._follower.close()
                await self._in_writer(self._sink.close)
        except SymbolError as error:
            summary.state = "failed"
            summary.error = str(error)
            self._log.error("symbol failed", error=str(error))
        self._fill(summary)
        summary.seconds = time.monotonic() - started
        return summary

    async def _consume(self) -> None:
        try:
            while not self._stopping and (block := await self._follower.next_block()) is not None:
                await self._process(block)
                self._report_progress()
        except (InputError, GapHaltError, BadRecordHaltError):
            await self._write_tail()  # what was consumed before is right, and stays
            raise
        await self._write_tail()

    async def _process(self, block: Block) -> None:
        full = True
        while full:
            before = block.start
            full = self._decoder.decode(block, self._batch)
            self._input_bytes += block.start - before
            await self._apply(block, before)
            self._batch.clear()

    async def _apply(self, block: Block, first_index: int) -> None:
        """Apply the batch; `first_index` is where in the block its first record begins."""
        batch = self._batch
        self._note_dead_letters(batch.dead_letters)
        end = batch.message_count
        halts = self._settings.on_bad_record == "halt" and bool(batch.dead_letters)
        if halts:
            end = int((batch.messages["kind"][:end] == DEAD_LETTER).argmax())
        place = 0
        while True:
            try:
                applied = self._engine.apply(batch, place, end)
            except GapHaltError as error:
                offset = _record_offset(block, first_index, int(batch.messages["end_offset"][error.message]))
                raise GapHaltError(
                    f'{block.file} at offset {offset}: {error}; on_gap = "continue" would go on with synced = false'
                ) from error
            place = applied.consumed
            if not applied.cut:
                break
            await self._write(self._engine.take_open_rows())
        if halts:
            letter = batch.dead_letters[0]
            raise BadRecordHaltError(
                f"{letter.file} at offset {letter.offset}: {letter.reason}: {letter.detail}; "
                'on_bad_record = "skip" would write it to dead_letter and go on'
            )
        self._letters.extend(batch.dead_letters)

    async def _write_tail(self) -> None:
        """Write what stands behind the last cut, if anything does."""
        rows = self._engine.open_rows()
        arrays = (rows.depth_messages, rows.trades, rows.bbo, rows.book, rows.gaps, rows.drift, rows.audits)
        if any(len(array) for array in arrays) or len(rows.dead_events):
            await self._write(rows)

    async def _write(self, rows: OpenRows) -> None:
        """Have the rows of a cut written, while processing goes on; one cut at a time."""
        await self._finish_writing()
        letters = self._letters[: len(rows.dead_events)]
        # Dead letters of the batch in hand are not among them yet.
        missing = len(rows.dead_events) - len(letters)
        letters += self._batch.dead_letters[:missing]
        del self._letters[: len(letters)]
        del self._batch.dead_letters[:missing]
        drift = rows.drift
        self._drift_levels += int(drift["levels_missing"].sum() + drift["levels_extra"].sum() + drift["levels_differing"].sum())
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._writers, self._stage_and_publish, rows, letters)

    def _stage_and_publish(self, rows: OpenRows, letters: Sequence[DeadLetter]) -> list[Part]:
        parts = self._sink.stage(rows, letters)
        self._sink.publish(parts)
        return parts

    async def _finish_writing(self) -> None:
        """Wait for the cut that is being written."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        parts = await writing
        self._parts += len(parts)
        self._part_bytes += sum(part.size_bytes for part in parts)

    async def _in_writer(self, function: Callable[..., None], **arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writers, lambda: function(**arguments))

    def _note_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            if letter.reason == "out_of_range" and self._misfit is None:
                self._misfit = letter
            if self._letters_logged == _LOGGED_DEAD_LETTERS:
                self._log.warning("more dead letters follow: they are only counted and written")
            if self._letters_logged <= _LOGGED_DEAD_LETTERS:
                self._letters_logged += 1
            if self._letters_logged <= _LOGGED_DEAD_LETTERS:
                self._log.warning(
                    "dead letter",
                    file=letter.file,
                    offset=letter.offset,
                    length=letter.length,
                    reason=letter.reason,
                    detail=letter.detail,
                )

    def _report_progress(self) -> None:
        if self._progress is not None:
            follower = self._follower
            self._progress(self._settings.id, follower.bytes_read_on_disk, follower.files_total_bytes, self._engine.event_count)

    def _fill(self, summary: SymbolSummary) -> None:
        engine = self._engine
        summary.events = engine.event_count
        for name in ("messages", "other_symbol", "unused", "crossed", "locked"):
            setattr(summary, name, engine.value(name))
        for name, value in engine.gap_statistics().items():
            setattr(summary, name, value)
        summary.drift_rows = engine.value("drifts")
        summary.drift_levels = self._drift_levels
        summary.dead_letters = engine.dead_letter_statistics()
        summary.audits = {KINDS[0]: engine.audit_statistics()}
        summary.synced = engine.synced
        summary.parts = self._parts
        summary.part_bytes = self._part_bytes
        summary.input_bytes = self._input_bytes
        summary.warnings = self._warnings()

    def _warnings(self) -> list[str]:
        """What a person should know of a run that went through."""
        engine = self._engine
        warnings = list(self._settings.notes)
        name = self._settings.decoder.name
        others = ", ".join(self._decoder.other_symbols)
        if engine.value("messages") == 0:
            if others:
                warnings.append(f"no record is of {name}: the input speaks of {others}")
            else:
                warnings.append("no usable record in the input")
        elif engine.value("snapshots") == 0:
            warnings.append("no depth snapshot in the input: the book is built from diffs alone and never synced")
        if self._misfit is not None:
            count = engine.value("dead_out_of_range")
            warnings.append(f"{count} records are out of range, the first at offset {self._misfit.offset}: {self._misfit.detail}")
        if engine.value("snapshot_waits"):
            warnings.append("a depth snapshot without any time was left: no message followed that could give it one")
        return warnings


def _record_offset(block: Block, first_index: int, end_offset: int) -> int:
    """Decoded offset of the record that ends at `end_offset`; no record of the batch begins before `first_index`."""
    end = end_offset - block.offset_of(0)
    newline = block.buffer[first_index : end - 1].tobytes().rfind(b"\n")
    return block.offset_of(first_index + newline + 1)
