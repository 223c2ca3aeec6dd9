"""A symbol's parts at work where its input is several sources: sources -> merger -> book -> sink.

A checkpoint is taken only where all that was joined is applied, so that it has nothing of what waits (ADR 23).

What comes behind the end of a source is provisional: that source may have grown by the next start, and then comes first. So the
last checkpoint has the state from before the first source's end was needed, and what follows is published as the input's tail.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass

import msgspec
import numpy as np

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.triggers import STOP
from cowbook.input.venue import Connection
from cowbook.merge.merger import Memory
from cowbook.plain.block import Block
from cowbook.plain.merge_state import JoinedMark, SourceFigures, make_figures
from cowbook.plain.messages import EventBatch
from cowbook.symbol.attempt import Freeze
from cowbook.symbol.cursor import JoinedCursor
from cowbook.symbol.pipeline import HALTED, Pipeline
from cowbook.symbol.pipeline_integration import Start
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.source_group import SourceGroup
from cowbook.symbol.source_input import SourceInput

_JOINED_MESSAGES = 4_096
_JOINED_LEVELS = 1 << 16

_MOST_PROVISIONAL_BYTES = 64 << 20
"""On disk, of the other sources. While more than that is unread of them, a source that has ended is passed over like a silent
one: otherwise each start would make all that follows anew."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What is waited for: the next block of any of these sources, at most so many seconds. Nothing: it can go on at once."""

    blocks: Collection[asyncio.Future[Block | None]] = ()
    seconds: float | None = None


class JoiningPipeline(Pipeline):
    """A pipeline that is moved on by `advance`, and ended by `finish`, instead of `process` and `end`."""

    def _open_input(self, settings: WorkerSettings, start: Start) -> None:
        assert isinstance(start.follower, SourceGroup)
        self._group = start.follower
        self._wait_seconds = settings.source_wait_seconds
        self._batch = EventBatch.allocate(_JOINED_MESSAGES, _JOINED_LEVELS)
        self._numbers = np.zeros(_JOINED_MESSAGES, np.int64)  # of the sources of the batch's messages
        self._cursor = JoinedCursor(self._mark)
        self._other_symbols = self._group.other_symbols
        self._may_halt = self._halts_on_bad_record or self._halts_on_damage
        self._before: tuple[Memory, list[int]] | None = None  # the merger before the batch, and which sources were passed over
        self._tail_freeze: Freeze | None = None
        self._freeze_seconds = 0.0

    def _restore(self, settings: EngineSettings, state: PipelineState) -> None:
        super()._restore(settings, state)
        self.input_bytes = self._group.input_bytes  # without what waited at the checkpoint: it is decoded, and counted, again

    def _connection(self) -> Connection:
        return {}  # each source has its own

    def _mark(self) -> JoinedMark:
        return self._group.merger.mark(tuple(source.mark() for source in self._group.sources))

    @property
    def source_figures(self) -> tuple[SourceFigures, ...]:
        """What came of each source."""
        merger = self._group.merger
        return make_figures([source.name for source in self._group.sources], merger.lanes, merger.totals)

    async def advance(self) -> Reads | None:
        """Join and apply what the sources have. Returns what to wait for before the next call; None if all have ended."""
        group = self._group
        for source in group.sources:
            self._take_block(source)
        self.input_bytes = group.input_bytes
        passed: list[int] = []
        while True:
            needed = await self._join(passed)
            if self._batch.message_count:
                return Reads()
            if needed is None:
                return self._wait_for_any() if passed else None
            assert needed >= 0, "an empty batch has room"
            source = group.sources[needed]
            if source.decode():
                continue
            if source.is_at_end:
                if self._tail is None and self._unread_of_others(source) > _MOST_PROVISIONAL_BYTES:
                    passed.append(needed)
                    continue
                await self._begin_tail()
                source.finish()
                continue
            reading = source.reading()
            if reading.done():
                self._take_block(source)
                continue
            seconds = self._seconds_until_passed(source)
            if seconds is not None and seconds <= 0:
                passed.append(needed)
                continue
            others = {each.reading() for each in group.sources if each.is_followed and self._waits(each)}
            return Reads({reading, *others}, seconds)

    def _take_block(self, source: SourceInput) -> None:
        """Take the block that was read, if there is one."""
        if source.has_read:
            source.take_block(self._group.block_bytes)

    def _waits(self, source: SourceInput) -> bool:
        """Whether a source has nothing left to decode."""
        return not source.has_more and not source.is_at_end

    def _wait_for_any(self) -> Reads | None:
        """All that the sources have is joined, and those that follow were passed over."""
        reads = [source.reading() for source in self._group.sources if self._waits(source)]
        return Reads(reads) if reads else None

    def _unread_of_others(self, source: SourceInput) -> int:
        return sum(other.unread_bytes for other in self._group.sources if other is not source)

    def _seconds_until_passed(self, source: SourceInput) -> float | None:
        """In how many seconds others go on without this source; None if that is not to be."""
        if not source.is_followed:
            return None
        merger = self._group.merger
        others = [other for number, other in enumerate(self._group.sources) if other is not source and merger.waiting(number) > 0]
        if not others:
            return None
        # What others have just written may be of a moment that this source brings soon; what they wrote long ago is not.
        heard = source.heard_at
        if not any(other.was_full for other in others):
            heard = max(heard, *(other.heard_at for other in others))
        return heard + self._wait_seconds - time.monotonic()

    async def _join(self, passed: list[int]) -> int | None:
        """Fill the batch, and apply it. Returns as `Merger.join`."""
        batch, merger = self._batch, self._group.merger
        batch.clear()
        self._before = (merger.remember(), list(passed)) if self._may_halt else None
        persisting = self.checkpointer.is_persisting
        started = time.perf_counter()
        needed = merger.join(batch, self._numbers, passed)
        self.throughput.add(0, time.perf_counter() - started, persisting=persisting)
        if batch.message_count:
            self._cursor.consumed = 0
            await self._apply(self._place_of)
            self.place = self._place_of(batch.message_count - 1)
        return needed

    def _place_of(self, message: int) -> tuple[str, int]:
        """File, and decoded offset behind the record, of a message of the batch."""
        source = self._group.sources[int(self._numbers[message])]
        return source.file_of_next(), int(self._batch.messages["end_offset"][message])

    def checkpoint_if_due(self) -> None:
        """As in `Pipeline`, but only where the batch is applied, and nothing provisional is."""
        if self._tail is not None or self._cursor.consumed < self._batch.message_count:
            self.checkpointer.raise_failure()
        else:
            super().checkpoint_if_due()

    async def _begin_tail(self) -> None:
        """Freeze the state from before a source's end was needed, unless that is done."""
        if self._tail is not None:
            return
        await self._snapshots_released()
        started = time.perf_counter()
        freeze = self._freeze(self._mark(), HALTED)
        self._freeze_seconds = time.perf_counter() - started
        self._tail_freeze = await self._gathered(freeze)
        self._tail = []

    async def finish(self) -> None:
        """All sources have ended: take the last checkpoint, and publish the tail."""
        await self._begin_tail()
        freeze = self._tail_freeze
        assert freeze is not None
        ends = [(source.name, source.mark().progress) for source in self._group.sources]
        rest = b"".join(source.unfinished for source in self._group.sources)
        end_of_input = hashlib.sha256(repr(ends).encode() + rest).hexdigest()
        if self.checkpointer.is_known(freeze.mark, end_of_input):
            await self._discard_tail()
        else:
            await self._finish(msgspec.structs.replace(freeze, end_of_input=end_of_input), self._freeze_seconds)

    async def _discard_tail(self) -> None:
        """Remove what is staged of the tail: nobody will publish it. That it is not new shows only at the end of all sources."""
        cuts = await asyncio.gather(*(self._tail or ()))
        self._tail = []
        await asyncio.get_running_loop().run_in_executor(self._writers, self._sink.discard, cuts)

    async def stop(self) -> None:
        """As in `Pipeline`. What is provisional is dropped: the next start makes it anew."""
        if self._tail is None:
            await super().stop()
            return
        await self._discard_tail()
        freeze = self._tail_freeze
        assert freeze is not None
        await self.checkpointer.finish()
        if self.checkpointer.is_known(freeze.mark):
            self.checkpointer.answer_with_newest()
        else:
            await self._take_last_checkpoint(msgspec.structs.replace(freeze, end_of_input=None), (STOP,), 0.0)

    async def halt(self) -> None:
        """As in `Pipeline`: the batch is joined once more up to the message that has ended the input."""
        if self._tail_freeze is not None:
            await self._finish(self._tail_freeze, self._freeze_seconds)
            return
        consumed = self._cursor.consumed
        if consumed < self._batch.message_count and self._before is not None:
            merger = self._group.merger
            memory, passed = self._before
            merger.rewind(memory)
            self._batch.clear()
            if consumed:
                merger.join(self._batch, self._numbers, passed, most=consumed)
        await super().halt()
