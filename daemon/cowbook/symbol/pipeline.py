"""A symbol's parts at work: input -> book -> sink, with cuts and checkpoints between messages."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import msgspec
import numpy as np

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine, PoolScarceError
from cowbook.book.state import ALL_OF_ASKS, ALL_OF_BIDS
from cowbook.capture.follower import Follower
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals, PipelineState
from cowbook.checkpoint.triggers import END_OF_INPUT, STOP
from cowbook.errors import BadRecordHaltError, DamageHaltError, GapHaltError, InputError, RestartNeededError, SymbolError
from cowbook.input.venue import Connection
from cowbook.plain.block import Block
from cowbook.plain.frame import Frame
from cowbook.plain.merge_state import JoinedMark, SourceFigures
from cowbook.plain.messages import DEAD_LETTER, NONE, DeadLetter, EventBatch
from cowbook.plain.parts import Cut
from cowbook.plain.position import Mark
from cowbook.plain.rows import OpenRows
from cowbook.sink.columns import fixed_point_text
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.symbol.attempt import Freeze, GatheredSnapshot
from cowbook.symbol.checkpointer import Checkpointer
from cowbook.symbol.cursor import Cursor, JoinedCursor
from cowbook.symbol.engine_settings import engine_settings
from cowbook.symbol.figures import BookFigures, KnownFigures, MarketFigures, PipelineFigures
from cowbook.symbol.framing import Framing, gathered
from cowbook.symbol.live_book import BookRequest
from cowbook.symbol.pipeline_integration import ContinuityReport, Start
from cowbook.symbol.report import SymbolReport, notes_of_sources
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.throughput import Throughput
from cowbook.venues import load_venue
from cowbook.venues.decoders import make_decoder

HALTED = "halted"
"""What a checkpoint has as its end of input when an error ended the symbol there."""


class Pipeline:
    """Everything of a symbol between reading and publishing. Its methods run on the loop of the symbol's worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        start: Start,
        checkpointer: Checkpointer,
        sink: ParquetSink,
        writers: Executor,
        report: SymbolReport,
        log: Any,
    ) -> None:
        self.follower = start.follower
        self.checkpointer = checkpointer
        self._price_decimals, self._size_decimals = settings.decoder.price_decimals, settings.decoder.size_decimals
        self._publishes_tails = settings.objects is None  # a part that stands in object storage is never replaced
        self._halts_on_bad_record = settings.on_bad_record == "halt"
        self._halts_on_damage = settings.on_damage == "halt" or settings.engine.on_gap == "halt"  # it is a gap of unknown size
        self._sink = sink
        self._writers = writers
        self._report = report
        self._log = log
        self._batch = EventBatch.allocate()
        self._open_input(settings, start)
        self._letters: list[DeadLetter] = []  # of messages that no cut has taken yet, in order; append-only
        self.input_bytes = 0
        """Decoded bytes consumed since the start of the input."""
        self._drift = DriftTotals()  # of the rows that have left the open cut
        self._nothing_new = False  # the last checkpoint knows this end of the input already
        self._tail: list[asyncio.Future[Cut]] | None = None  # what the end of the input makes, once that is reached
        self._staging: asyncio.Future[Cut] | None = None
        self._continuity: ContinuityReport | None = None
        self.gaps_after_recovery = 0
        """Gaps between the recovered state and the first depth message after it."""
        self.throughput = Throughput()
        self.place: tuple[str, int] | None = None
        """File and decoded offset behind the last block that was processed, for people."""
        engine = engine_settings(settings.engine, load_venue(settings.format), settings.decoder)
        if start.checkpoint is None:
            self.engine = OrderBookEngine(engine)
        else:
            self._restore(engine, start.checkpoint.state)
        self._framing = Framing(self.engine, writers, start.checkpoint.state.frame if start.checkpoint is not None else None)

    def _open_input(self, settings: WorkerSettings, start: Start) -> None:
        """Make what turns the input into batches, where the checkpoint stands."""
        assert isinstance(start.follower, Follower)
        state = start.checkpoint.state if start.checkpoint is not None else None
        self._cursor: Cursor | JoinedCursor = Cursor(start.follower, self._batch, state.file_offset if state is not None else 0)
        self._decoder = make_decoder(settings.format, settings.decoder)
        if state is not None:
            self._decoder.restore_connection(state.decoder.connection)
        self._other_symbols = self._decoder.other_symbols

    def _connection(self) -> Connection:
        """State of the venue's connection after the last consumed record."""
        return self._decoder.connection_after(self._cursor.consumed)

    def _restore(self, settings: EngineSettings, state: PipelineState) -> None:
        self.engine = OrderBookEngine.restore(settings, state.order_book_state)
        self._letters.extend(state.dead_letters)
        self._other_symbols.extend(state.decoder.other_symbols)
        self._report.misfit = state.decoder.misfit
        self._report.is_named = state.decoder.is_named
        self.input_bytes = state.decoder.input_bytes
        self._drift = state.drift
        self._continuity = ContinuityReport(self.engine)
        self.place = state.current_file, state.file_offset
        self._log.info(
            "recovered",
            epoch=self.checkpointer.figures.epoch,
            events=state.events_processed,
            file=state.current_file,
            offset=state.file_offset,
            levels=state.levels,
        )

    async def process(self, block: Block) -> None:
        """Decode and apply all records of a block that end in it."""
        full = True
        while full:
            before = block.start
            started = time.perf_counter()
            assert isinstance(self._cursor, Cursor)
            full = self._cursor.decode(self._decoder, block)
            self.throughput.add(0, time.perf_counter() - started, persisting=self.checkpointer.is_persisting)
            self.input_bytes += block.start - before
            await self._apply(partial(_place_of_record, self._batch, block, before))
        self.place = block.file, block.offset_of(block.start)

    async def _apply(self, place_of: Callable[[int], tuple[str, int]]) -> None:
        """Apply the batch, with cuts and checkpoints between its messages. `place_of` says in which file and where one stands."""
        batch = self._batch
        self._report.note_dead_letters(batch.dead_letters, self.engine.value("messages"))
        self._report.note_names(batch, self.engine, self._other_symbols)
        self._letters.extend(batch.dead_letters)
        end = batch.message_count
        halting = next((number for number, letter in enumerate(batch.dead_letters) if self._halts_on(letter)), None)
        if halting is not None:
            end = int(np.flatnonzero(batch.messages["kind"][:end] == DEAD_LETTER)[halting])
        while True:
            try:
                cut = await self._apply_some(end)
            except GapHaltError as error:
                self._cursor.consumed = error.message
                file, offset = place_of(error.message)
                raise GapHaltError(
                    f'{file} at offset {offset}: {error}; on_gap = "continue" would go on with synced = false'
                ) from error
            if cut:
                if self._staging is not None:
                    await self._staging  # before there are other open rows: the rows of two cuts are in memory, not of three
                rows = self.engine.take_open_rows()
                self._drift = self._drift.plus(rows["drift"])
                frame = self._framing.of_open_cut
                if not self._nothing_new:
                    # Before the rows: a thread has the frame in a millisecond, and until then each change of the book copies.
                    await self._framing.begin()
                await self._stage(rows, frame)
            if self._tail is None:
                self.checkpoint_if_due()
            if not cut and self._cursor.consumed == end:
                break
        if halting is not None:
            raise _halt_error(batch.dead_letters[halting])

    def _halts_on(self, letter: DeadLetter) -> bool:
        return self._halts_on_damage if letter.reason == "damaged" else self._halts_on_bad_record

    async def _apply_some(self, end: int) -> bool:
        """Apply messages up to `end`, or up to the next cut. Returns whether a cut is due."""
        cursor = self._cursor
        before = cursor.consumed
        stop = end if self._continuity is None else min(end, before + 1)
        persisting, events = self.checkpointer.is_persisting, self.engine.event_count
        started = time.perf_counter()
        try:
            applied = self.engine.apply(self._batch, before, stop)
        except PoolScarceError as error:
            # The policy for a pool that runs out: processing waits until those that read the snapshots have given them back.
            cursor.consumed = error.consumed
            await self._snapshots_released()
            return False
        self.throughput.add(self.engine.event_count - events, time.perf_counter() - started, persisting=persisting)
        cursor.consumed = applied.consumed
        if self._continuity is not None and applied.consumed > before:
            self._continuity.observe(self.engine, self._log)
            if not self._continuity.is_open:
                self.gaps_after_recovery = self._continuity.gaps
                self._continuity = None
        return applied.cut

    async def _snapshots_released(self) -> None:
        """Wait until no snapshot is held: neither by the attempt under way, nor for a frame."""
        await self._framing.snapshot_released()
        await self.checkpointer.snapshot_released()

    async def _stage(self, rows: OpenRows, of_cut: asyncio.Future[Frame] | None) -> None:
        """Have an executor stage the rows of a cut and its frame, while processing goes on. One cut is staged at a time."""
        if self._staging is not None:
            await self._staging
        count = len(rows["dead_letter"])
        letters, self._letters = self._letters[:count], self._letters[count:]
        ends = self._tail is not None
        if self._nothing_new or (ends and not self._publishes_tails):
            return
        frame = await gathered(of_cut)
        loop = asyncio.get_running_loop()
        self._staging = loop.run_in_executor(self._writers, lambda: self._sink.stage(rows, letters, frame, provisional=ends))
        if self._tail is not None:
            self._tail.append(self._staging)
        else:
            await self.checkpointer.add_cut(self._staging)

    def checkpoint_if_due(self) -> None:
        """Begin a checkpoint when a trigger is due."""
        self.checkpointer.raise_failure()
        triggers = self.checkpointer.due(self.engine.event_count)
        if not triggers:
            return
        if not self.follower.has_position:  # nothing was ever consumed
            self.checkpointer.answer_with_newest()
            return
        collects = gc.isenabled()
        gc.disable()  # a collection now would stop processing for as long as it likes
        try:
            # What is no part of the frozen state is found before, and what an attempt needs besides is made behind it.
            mark = self._cursor.mark()
            if self.checkpointer.is_known(mark):
                self.checkpointer.answer_with_newest()
                return
            started = time.perf_counter()
            freeze = self._freeze(mark)
            self.checkpointer.begin(freeze, triggers, time.perf_counter() - started)
        finally:
            if collects:
                gc.enable()

    def _freeze(self, mark: Mark | JoinedMark, end_of_input: str | None = None) -> Freeze:
        """Take the state at `mark`, after the last consumed record. Makes no call that gives up the GIL."""
        snapshot = self.engine.snapshot()
        report, symbols, letters = self._report, self._other_symbols, self._letters
        connection = self._connection()
        read, drift, now = self.input_bytes, self._drift, time.time_ns()
        return Freeze(
            snapshot,
            mark,
            letters,
            symbols,
            report.misfit,
            read,
            connection,
            drift,
            now,
            end_of_input,
            is_named=report.is_named,
            frame=self._framing.of_open_cut,
        )

    async def end(self, block: Block) -> None:
        """Process the last block. The checkpoint has the state before it, because more input may finish its last record."""
        unfinished = block.buffer[block.start : block.end].tobytes()
        end_of_input = f"{hashlib.sha256(unfinished).hexdigest()} {block.offset_of(block.end)}"
        await self._snapshots_released()
        started = time.perf_counter()
        mark = self._cursor.mark()
        self._nothing_new = self.checkpointer.is_known(mark, end_of_input)
        freeze = None if self._nothing_new else self._freeze(mark, end_of_input)
        seconds = time.perf_counter() - started
        if freeze is not None:  # its attempt waits for the last block, and that may need the snapshot's blocks
            freeze = await self._gathered(freeze)
        self._tail = []
        try:
            await self.process(block)
        except BaseException:
            self._tail, self._nothing_new = None, False
            raise
        if freeze is not None:
            await self._finish(freeze, seconds)

    async def _gathered(self, freeze: Freeze) -> Freeze:
        """The same without a snapshot: its levels are gathered now, while processing waits."""
        try:
            state = await asyncio.get_running_loop().run_in_executor(self._writers, freeze.snapshot.get_checkpoint_state)
        finally:
            freeze.snapshot.release()
        return msgspec.structs.replace(freeze, snapshot=GatheredSnapshot(state))

    def check_usable(self) -> None:
        """Raises InputError if the input, read to its end, had no usable record, or names other symbols only."""
        others = self._other_symbols
        text = self._report.nobody_names_it(others) or self._report.nothing_usable(self.engine, others)
        if text is not None:
            raise InputError(text)

    async def halt(self) -> None:
        """Publish what stands before an error that ends the input: it is right, and stays."""
        if not self.follower.has_position:
            return
        await self._snapshots_released()
        mark = self._cursor.mark()
        if not self.checkpointer.is_known(mark, HALTED):
            self._tail = []
            await self._finish(self._freeze(mark, HALTED), 0.0)

    async def _finish(self, freeze: Freeze, freeze_seconds: float) -> None:
        """Take the last checkpoint of an input that has ended. It publishes the rows behind the last cut, too."""
        rows = self.engine.open_rows()
        try:
            if not rows.is_empty:
                await self._stage(rows, self._framing.of_open_cut)
            await self.checkpointer.finish()
        except BaseException:
            freeze.snapshot.release()
            raise
        with_figures = msgspec.structs.replace(freeze, days=self.engine.days(), source_figures=self.source_figures)
        await self._take_last_checkpoint(with_figures, (END_OF_INPUT,), freeze_seconds)

    async def stop(self) -> None:
        """Take a last checkpoint of what is consumed, because somebody asked to stop."""
        if not self.follower.has_position:
            return
        await self.checkpointer.finish()
        mark = self._cursor.mark()
        if self.checkpointer.is_known(mark):
            self.checkpointer.answer_with_newest()
        else:
            await self._take_last_checkpoint(self._freeze(mark), (STOP,), 0.0)

    async def _take_last_checkpoint(self, freeze: Freeze, triggers: tuple[str, ...], freeze_seconds: float) -> None:
        self.checkpointer.begin(freeze, triggers, freeze_seconds, self._tail or ())
        await self.checkpointer.finish()
        if self.checkpointer.failures:
            raise RestartNeededError("the last checkpoint could not be written")

    @property
    def drift(self) -> DriftTotals:
        """Sums over all drift measurements since the start of the input."""
        return self._drift.plus(self.engine.open_rows()["drift"])

    def make_figures(self) -> PipelineFigures:
        """How everything stands now, between two messages."""
        throughput = self.throughput
        return PipelineFigures(
            book=self._make_book_figures(),
            input_bytes=self.input_bytes,
            place=self.place,
            gaps_after_recovery=self.gaps_after_recovery,
            quiet_rate=throughput.rate(persisting=False),
            persisting_rate=throughput.rate(persisting=True),
            impact=throughput.impact_ratio,
            sources=self.source_figures,
            problem=self._report.problem(self.engine, self._other_symbols),
        )

    @property
    def source_figures(self) -> tuple[SourceFigures, ...]:
        """What came of each source; nothing where the input is one."""
        return ()

    def _make_book_figures(self) -> BookFigures:
        engine = self.engine
        value, pool = engine.value, engine.pool_statistics()
        last_id, newest = engine.last_id, value("newest")
        return BookFigures(
            events=engine.event_count,
            trades=value("trades"),
            messages=value("messages"),
            gaps=value("gaps"),
            missing_updates=value("missing_updates"),
            stale=value("stale"),
            duplicate_trades=value("duplicate_trades"),
            duplicate_messages=value("duplicate_messages"),
            foreign_snapshots=value("foreign_snapshots"),
            time_resets=value("time_resets"),
            crossed=value("crossed"),
            depth_messages=value("diffs") + value("snapshots") + value("witnesses"),
            compared=value("compared"),
            compared_unsynced=value("compared_unsynced"),
            refuted=value("refuted"),
            witnesses=value("witnesses"),
            levels_compared=value("levels_compared"),
            levels_wrong=value("levels_wrong"),
            levels_learned=value("levels_learned"),
            tickers_near=value("tickers_near"),
            tickers_far=value("tickers_far"),
            known=_known_figures(engine, self._price_decimals),
            dead_letters=engine.dead_letter_statistics(),
            audits=engine.audit_statistics(),
            drift_size_error=float(self.drift.size_error / 10**self._size_decimals),
            synced=engine.synced,
            last_update_id=None if last_id == NONE else last_id,
            newest=None if newest == NONE else newest,
            market=_market_figures(engine, self._price_decimals),
            bid_levels=len(engine.bids),
            ask_levels=len(engine.asks),
            blocks_used=pool["blocks_used"],
            kept_bytes=engine.kept_bytes,
            block_copies=pool["block_copies"],
        )

    async def read_book(self, request: BookRequest) -> bytes:
        """Returns the book as it is now, between two messages; processing goes on meanwhile."""
        return await self._framing.read(request.read)

    async def close(self) -> None:
        """Wait for everything that is under way."""
        try:
            await self.checkpointer.close()
        finally:
            await self._framing.snapshot_released()
            await asyncio.gather(*(self._tail or ()), return_exceptions=True)
            await self.follower.close()

    def fill(self, summary: SymbolSummary) -> None:
        """Write what came of the run into the summary."""
        report = self._report
        decoder = DecoderState(tuple(self._other_symbols), report.misfit, self.input_bytes, self._connection(), report.is_named)
        self._report.fill(summary, self.engine, decoder, self.drift)
        summary.known = _known_figures(self.engine, self._price_decimals).to_json()
        summary.sources = [source.to_json() for source in self.source_figures]
        summary.late_records = sum(source.late_records for source in self.source_figures)
        summary.warnings += notes_of_sources(self.source_figures)
        checkpoints = self.checkpointer.figures
        summary.parts, summary.part_bytes = checkpoints.parts, checkpoints.part_bytes
        summary.checkpoints, summary.checkpoints_failed = checkpoints.committed, checkpoints.failed
        summary.gaps_after_recovery = self.gaps_after_recovery


def _halt_error(letter: DeadLetter) -> SymbolError:
    """The error that ends a symbol at a dead letter."""
    if letter.reason == "damaged":
        return DamageHaltError(
            f"{letter.detail}; what precedes it is processed: put a sound copy in its place and restart, "
            'or set on_damage and on_gap to go on behind it ("skip" and "continue")'
        )
    return BadRecordHaltError(
        f"{letter.file} at offset {letter.offset}: {letter.reason}: {letter.detail}; "
        'on_bad_record = "skip" would write it to dead_letter and go on'
    )


def _known_figures(engine: OrderBookEngine, price_decimals: int) -> KnownFigures:
    bids, asks = engine.bids, engine.asks
    bids_to, asks_to = (
        None if side.known_to is None or side.is_whole else fixed_point_text(side.known_to, price_decimals)
        for side in (bids, asks)
    )
    return KnownFigures(
        bids_to=bids_to,
        asks_to=asks_to,
        bids_whole=bids.is_whole,
        asks_whole=asks.is_whole,
        time_total=engine.value("time_total"),
        time_best=engine.value("time_best_known"),
        time_grid=engine.value("time_grid_known"),
    )


def _market_figures(engine: OrderBookEngine, price_decimals: int) -> MarketFigures:
    unit = 10**price_decimals
    bids, asks = engine.bids, engine.asks
    bid, ask = bids.best(), asks.best()
    bid_known_to, ask_known_to = bids.known_to, asks.known_to
    return MarketFigures(
        bid=math.nan if bid is None else bid[0] / unit,
        ask=math.nan if ask is None else ask[0] / unit,
        spread=math.nan if bid is None or ask is None else (ask[0] - bid[0]) / unit,
        bid_known_to=math.nan if bid_known_to is None else -math.inf if bid_known_to == ALL_OF_BIDS else bid_known_to / unit,
        ask_known_to=math.nan if ask_known_to is None else math.inf if ask_known_to == ALL_OF_ASKS else ask_known_to / unit,
    )


def _place_of_record(batch: EventBatch, block: Block, first_index: int, message: int) -> tuple[str, int]:
    """File and decoded offset of the record of a message; no record of the batch begins before `first_index` of the block."""
    end = int(batch.messages["end_offset"][message]) - block.offset_of(0)
    newline = block.buffer[first_index : end - 1].tobytes().rfind(b"\n")
    return block.file, block.offset_of(first_index + newline + 1)
