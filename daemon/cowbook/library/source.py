"""Goes through one symbol's files: blocks are read and decoded, batches planned, and their records applied step by step.

The engine stands at the record that is shown, so that all of the book can be read there (ADR 21).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.book.apply import DONE
from cowbook.book.state import Batch, Levels
from cowbook.capture.compression import open_decoded
from cowbook.capture.whole_file import read_blocks
from cowbook.errors import DamageHaltError, InputError
from cowbook.input.decoder import Decoder
from cowbook.kernels.jit import as_records
from cowbook.library.book import ReplayedBook
from cowbook.library.inputs import Input, raise_if_unnamed
from cowbook.library.joining import join_sources
from cowbook.library.numbers import Numbers
from cowbook.library.steps import Plan, StepPlanner
from cowbook.plain.block import Block
from cowbook.plain.book_state import PLACES
from cowbook.plain.messages import DEAD_LETTER, DIFF, IS_NO_DEPTH, SNAPSHOT, EventBatch
from cowbook.symbol.engine_settings import engine_settings
from cowbook.symbol.naming import are_named
from cowbook.symbol.settings import decoder_settings
from cowbook.venues import load_venue
from cowbook.venues.decoders import make_decoder

_STREAMS = ("bbo", "trades")
"""Rows that a book is read from: with them the engine keeps the best levels at hand, and the trades of a step."""

_NEXT_EVENT = PLACES["next_event"]


class Source(ReplayedBook):
    """A book with the input that moves it on."""

    def __init__(
        self, given: Input, planner: StepPlanner, numbers: Numbers, block_bytes: int, streams: tuple[str, ...] = _STREAMS
    ) -> None:
        config = given.config
        chosen = replace(given.engine, streams=tuple(dict.fromkeys((*given.engine.streams, *streams))))
        decoding = decoder_settings(config)
        settings = engine_settings(chosen, load_venue(config.format), decoding)
        super().__init__(settings, (config.id, config.name, config.format), numbers)
        self._planner = planner
        self._given = given
        self._batch = EventBatch.allocate()
        self._decoder: Decoder = make_decoder(config.format, decoding)
        self._halts_on_damage = given.engine.on_gap == "halt" or config.on_damage == "halt"
        self._block_bytes = block_bytes
        self._batches = self._decode()
        self._arrays: Batch | None = None
        self._place = 0  # the first message of the batch that is not applied
        self._plan = Plan()
        self._step = 0  # the next one of the plan
        self._is_ended = False
        self._is_named = True
        self._is_judged = False  # whether depth messages fit into the decimals

    def run(self) -> Iterator[ReplayedBook]:
        """Yield this book behind each step."""
        view = self._view
        while self._find_steps():
            instants = self._plan.instants
            batch = self._arrays
            # A step takes 2 µs, of which each call of a function of Python's would be a tenth: this is _apply_to, without any.
            apply = None if batch is None else self._entries(batch)[0]
            arrays, engine = self.arrays, as_records(self.arrays)
            for number, stop in enumerate(self._plan.stops):
                place = self._place
                if stop > place:
                    assert apply is not None
                    if self.arrays is not arrays:  # they are replaced for room, and by whoever takes the open rows
                        arrays, engine = self.arrays, as_records(self.arrays)
                    why, place = apply(engine, batch, place, stop)
                    if why == DONE:
                        self._place = stop
                        self._last = stop - 1
                    else:
                        self._finish(why, place, stop)
                if instants is not None:
                    self._instant = instants[number]
                yield self
                self._first_event = view[_NEXT_EVENT]
                if self._trades_before:
                    self._trades_before.clear()

    def next_clock(self) -> int | None:
        """Begin the next step, and return the clock at it. It is not applied yet. None at the end of the input."""
        self._begin_step()
        if self._step == len(self._plan.stops) and not self._find_steps():
            return None
        assert self._plan.clocks is not None
        return self._plan.clocks[self._step]

    def step(self) -> None:
        """Apply the records of the step that `next_clock` has found."""
        plan = self._plan
        if plan.stops[self._step] > self._place:
            self._apply_to(plan.stops[self._step])
        if plan.instants is not None:
            self._instant = plan.instants[self._step]
        self._step += 1

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last time that was read; None if there was none, or nobody needed it."""
        first, last = self._planner.first, self._planner.last
        return None if first is None or last is None else (first, last)

    def _begin_step(self) -> None:
        self._first_event = self._view[_NEXT_EVENT]
        self._trades_before.clear()

    def _find_steps(self) -> bool:
        """Apply what is left of the batch, and go on to the next one with a step. Returns whether there is one."""
        self._step = 0
        while not self._is_ended:
            if self._plan.count > self._place:
                self._apply_to(self._plan.count)
            if not self._planner.is_over and next(self._batches, None) is not None:
                self._begin_batch()
            else:
                self._is_ended = True
                self._batches.close()
                self._plan = self._planner.plan_end() if self._is_named else Plan()
                if not self._is_named:
                    raise_if_unnamed(self.symbol, self._decoder.other_symbols)
                    self._raise_if_unusable()
                self._plan.stops = [self._place for _ in self._plan.stops]  # nothing is left to be applied
            if self._plan.stops:
                return True
        return False

    def _raise_if_unusable(self) -> None:
        rejected = sum(self.dead_letter_statistics().values())
        if rejected and not self.value("messages"):
            raise InputError(
                f'no usable record in the input, of {rejected:,}: is it a capture of format = "{self.format}"? '
                "`cowbook inspect` says what files are"
            )

    def _begin_batch(self) -> None:
        batch = self._batch
        messages = batch.messages[: batch.message_count]
        if not self._is_judged:
            self._judge_decimals(messages)
        self._arrays = as_records(Batch(batch.messages, Levels(batch.prices, batch.sizes)))
        self._records = batch.messages.view(np.int64).data
        self._place, self._last = 0, -1
        first = 0
        if not self._is_named:
            named = np.flatnonzero(are_named(messages))
            self._is_named = len(named) > 0
            first = int(named[0]) if len(named) else len(messages)
        self._plan = self._planner.plan(messages, first)

    def _judge_decimals(self, messages: npt.NDArray[np.void]) -> None:
        """Raises InputError if so many of the first records do not fit into the decimals that the book would be empty.

        These are more records that may be depth messages than there are depth messages that fit.
        """
        kinds = messages["kind"]
        flags = messages["flags"][kinds == DEAD_LETTER]
        letters = [letter for letter, of in zip(self._batch.dead_letters, flags, strict=True) if not of & IS_NO_DEPTH]
        rejected = [letter for letter in letters if letter.reason == "out_of_range"]
        fitting = int(np.count_nonzero((kinds == DIFF) | (kinds == SNAPSHOT)))
        self._is_judged = bool(rejected) or fitting > 0
        if len(rejected) > fitting:
            first = rejected[0]
            raise InputError(
                f"{first.file}: offset {first.offset}: {first.detail}; {len(rejected)} of the first records of {self.symbol} "
                f"do not fit, and {fitting} of its depth messages do"
            )

    def _apply_to(self, stop: int) -> None:
        """Apply the messages of the batch up to before `stop`."""
        arrays = self._arrays
        assert arrays is not None
        why, place = self._entries(arrays)[0](as_records(self.arrays), arrays, self._place, stop)
        self._finish(why, place, stop)

    def _finish(self, why: int, place: int, stop: int) -> None:
        """Go on to `stop` where the kernel has returned at `place`."""
        arrays = self._arrays
        assert arrays is not None
        place, is_cut = self._go_on(why, arrays, place, stop)
        while True:
            if is_cut:
                before = self._trades_since(self.take_open_rows()["trades"])
                if len(before):
                    self._trades_before.append(before)
            if place >= stop:
                break
            place, is_cut = self._apply(arrays, place, stop)
        self._place = stop
        self._last = stop - 1

    def _blocks_of(self, path: Path) -> Iterator[Block]:
        with open_decoded(path) as file:
            yield from read_blocks(file, str(path), self._block_bytes)

    def _decode(self) -> Generator[bool]:
        """Decode batch after batch. The batch is cleared when the next one is asked for."""
        batch, decoder = self._batch, self._decoder
        if self._given.config.source:
            yield from join_sources(self._given, batch, decoder.other_symbols, self._blocks_of, halts=self._halts_on_damage)
            return
        paths = self._given.files()
        self._is_named = not self._given.is_doubtful(paths)
        for path in paths:
            for block in self._blocks_of(path):
                full = True
                while full:
                    full = decoder.decode(block, batch)
                    if batch.message_count:
                        yield True
                    batch.clear()
                if block.damage is not None and self._halts_on_damage:
                    raise DamageHaltError(f'{block.damage}; on_gap = "continue" would go on behind it')
