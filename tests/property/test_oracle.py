"""cowbook against the oracle: every row of every stream, every cut, every count, on generated captures."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.errors import GapHaltError
from cowbook.plain.frame import Frame
from cowbook.plain.messages import EventBatch
from support.generated_captures import Capture, make_capture, make_frozen_capture, make_long_capture
from support.hostile_captures import make_hostile_capture
from support.oracle import OracleHalt, OracleSettings
from support.oracle import run as run_oracle
from support.oracle_pipeline import ANY_CAPTURE, Pipeline, compare, plain, without_halt
from support.search import examples


@settings(max_examples=examples(2000))
@given(ANY_CAPTURE)
@example(make_capture(1, 100))
@example(without_halt(make_hostile_capture(10000290, random.Random(10000290).randrange(1, 121), 0.03)))
@example(without_halt(make_hostile_capture(seed=2109, length=9, oddity=0.2)))
def test_rows_equal_those_of_the_oracle(capture: Capture) -> None:
    """Whole files in one block each."""
    compare(Pipeline(capture.settings), capture, 1 << 20)


def test_long_waits_end_where_the_oracle_ends_them() -> None:
    """A witness that 1,000 diffs do not reach, 1,000 diffs of another speed, and 1,000 that are stale against a snapshot."""
    for seed in range(examples(80)):
        for capture in (make_long_capture(seed), make_frozen_capture(seed)):
            compare(Pipeline(capture.settings), capture, 1 << 20)


class Restarting(Pipeline):
    """Takes the engine apart and puts it together again from its checkpoint, after every batch."""

    def between_batches(self) -> None:
        """Restore a new engine from the state of the old one."""
        self.engine = OrderBookEngine.restore(self.engine.settings, self.engine.get_checkpoint_state())


class Snapshotting(Pipeline):
    """Holds up to two snapshots while it goes on, and sees that they do not change."""

    held: list[tuple[object, object]]

    def between_batches(self) -> None:
        """Take a snapshot; give back the one before the last."""
        if not hasattr(self, "held"):
            self.held = []
        if len(self.held) == 2:
            self.check(self.held.pop(0))
        snapshot = self.engine.snapshot()
        self.held.append((snapshot, plain(snapshot.get_checkpoint_state())))

    def take_frame(self) -> Frame | None:
        """A frame takes a snapshot of its own."""
        if len(getattr(self, "held", [])) == 2:
            self.check(self.held.pop(0))
        return super().take_frame()

    def check(self, held: tuple[object, object]) -> None:
        """A snapshot still says what it said when it was taken."""
        snapshot, then = held
        assert plain(snapshot.get_checkpoint_state()) == then  # type: ignore[attr-defined]
        snapshot.release()  # type: ignore[attr-defined]


@settings(max_examples=examples(300))
@given(ANY_CAPTURE)
def test_rows_do_not_depend_on_the_ends_of_blocks(capture: Capture) -> None:
    """Blocks that end anywhere in a line."""
    compare(Pipeline(capture.settings), capture, 97)


@settings(max_examples=examples(150))
@given(ANY_CAPTURE)
def test_an_engine_restored_after_every_batch_writes_the_same_rows(capture: Capture) -> None:
    """Later rows depend on the checkpointed state alone."""
    compare(Restarting(capture.settings), capture, 150)


@settings(max_examples=examples(300))
@given(ANY_CAPTURE)
def test_snapshots_change_nothing_and_never_change(capture: Capture) -> None:
    """Snapshots change nothing, and do not change themselves."""
    pipeline = Snapshotting(capture.settings)
    compare(pipeline, capture, 150)
    for held in getattr(pipeline, "held", []):
        pipeline.check(held)


def test_an_engine_restored_after_every_record_writes_the_same_rows() -> None:
    """The state is restored after batches of one message, on a few long captures."""
    for seed in range(8):
        capture = make_capture(seed, 150)
        pipeline = Restarting(capture.settings)
        pipeline.batch = EventBatch.allocate(1, 16)
        compare(pipeline, capture, 1 << 20)
        capture = make_frozen_capture(seed)
        compare(Restarting(capture.settings), capture, 4096)


@settings(max_examples=examples(200))
@given(ANY_CAPTURE)
def test_a_gap_halts_where_the_oracle_halts(capture: Capture) -> None:
    """With on_gap = halt, the engine and the oracle stop at the same place, or neither stops."""
    halting = OracleSettings(**{**vars(capture.settings), "on_gap": "halt"})
    files = [(f"file-{number}", content) for number, content in enumerate(capture.files)]
    try:
        run_oracle(files, halting)
        halts = False
    except OracleHalt:
        halts = True
    pipeline = Pipeline(halting)
    if halts:
        with pytest.raises(GapHaltError):
            pipeline.run(capture.files, 1 << 20)
    else:
        pipeline.run(capture.files, 1 << 20)
