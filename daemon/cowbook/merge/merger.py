"""Joins the messages of several sources of one symbol in one order (ADR 23)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.jit import as_records, entry_of
from cowbook.merge.join import join
from cowbook.merge.queues import BATCH_MESSAGES, Queues, append
from cowbook.merge.recent import Recent, put_back
from cowbook.merge.state import ENDED, FULL, Joined, Merge
from cowbook.plain.merge_state import LANE, TOTALS, JoinedMark, MergeState, SourceMark
from cowbook.plain.messages import DEAD_LETTER, NONE, DeadLetter, EventBatch

__all__ = ["BATCH_MESSAGES", "Merger"]


class Levels(NamedTuple):
    """The arrays of a source's batch."""

    messages: npt.NDArray[np.void]
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Memory(NamedTuple):
    """A merger as it was before a batch."""

    arrays: list[npt.NDArray[np.generic]]
    letters: list[list[DeadLetter]]


class Merger:
    """Takes batches of each source, and fills batches in the order of the whole. Sources are told by their numbers."""

    def __init__(self, sources: int) -> None:
        lanes = np.zeros(sources, LANE)
        lanes["passed_event"] = lanes["passed_recv"] = NONE
        self._merge = Merge(Queues.allocate(sources), lanes, Recent.allocate(), np.zeros(len(TOTALS), np.int64))
        self._letters: list[list[DeadLetter]] = [[] for _ in range(sources)]
        self._entries: dict[Any, Callable[..., Any]] = {}  # the machine code of the kernels

    def _call(self, kernel: Any, *arguments: Any) -> Any:
        """Call a kernel, which always gets arguments of the same types."""
        if kernel not in self._entries:
            self._entries[kernel] = entry_of(kernel, *arguments)
        return self._entries[kernel](*arguments)

    def calls(self) -> list[tuple[Any, ...]]:
        """The kernels that it calls, each with arguments as it has them: what is to be compiled before."""
        merge, one = self._merge, EventBatch.allocate(1, 1)
        joined = Joined(one.messages, one.prices, one.prices, one.sizes, one.prices)
        return [
            (join, merge, joined, 1),
            (append, merge.queues, 0, Levels(one.messages, one.prices, one.sizes), 0, 0, 0, 0),
            (put_back, merge.recent, merge.recent.entries, 0),
        ]

    def restore(self, state: MergeState) -> None:
        """Go on from a state. Nothing was appended before."""
        self._merge.lanes[:] = state.lanes
        for field in ("latest", "consumed"):
            self._merge.queues.cursors[field] = state.lanes["latest"]
        others = int(state.lanes["first"].sum()) - len(state.merged)
        put_back(as_records(self._merge.recent), as_records(np.array(state.merged)), others)
        self._merge.totals[:] = [state.totals[name] for name in TOTALS]

    def mark(self, sources: tuple[SourceMark, ...]) -> JoinedMark:
        """What is remembered now, copied without giving up the interpreter's lock, with the places of the sources."""
        merge = self._merge
        recent = merge.recent
        for lane, cursor, waiting in zip(merge.lanes, merge.queues.cursors, merge.queues.waiting, strict=True):
            lane["latest"] = waiting[cursor["head"] - 1]["latest"] if cursor["head"] else cursor["consumed"]
        lanes, entries, totals = (bytes(array.view(np.uint8).data) for array in (merge.lanes, recent.entries, merge.totals))
        return JoinedMark(sources, lanes, entries, totals, int(recent.put_in[0]))

    @property
    def _numbering(self) -> int:
        return int(self._merge.totals[TOTALS.index("numbering")])

    @property
    def lanes(self) -> npt.NDArray[np.void]:
        """What is known of each source (merge_state.LANE). It changes with each batch."""
        return self._merge.lanes

    @property
    def totals(self) -> dict[str, int]:
        """The numbers of the whole (merge_state.TOTALS)."""
        return dict(zip(TOTALS, map(int, self._merge.totals), strict=True))

    def consumed(self, source: int) -> int:
        """How many messages of a source were consumed since the start of its input."""
        return int(self._merge.lanes[source]["messages"])

    def waiting(self, source: int) -> int:
        """How many messages of a source wait."""
        cursor = self._merge.queues.cursors[source]
        return int(cursor["end"] - cursor["head"])

    def append(self, source: int, batch: EventBatch, skip: int = 0) -> None:
        """Append a source's batch behind what waits of it, but for the first `skip` messages, which are consumed already.

        A batch has at most BATCH_MESSAGES messages, and comes only when more of the source is needed.
        """
        if batch.dead_letters:
            skipped_letters = int((batch.messages["kind"][:skip] == DEAD_LETTER).sum())
            self._letters[source].extend(batch.dead_letters[skipped_letters:])
        levels = Levels(batch.messages, batch.prices, batch.sizes)
        while not self._call(
            append,
            as_records(self._merge.queues),
            source,
            as_records(levels),
            batch.message_count,
            batch.level_count,
            skip,
            self._numbering,
        ):
            queues = self._merge.queues
            self._merge = self._merge._replace(queues=queues.with_levels(2 * queues.prices.shape[1]))

    def end(self, source: int) -> None:
        """Nothing follows of a source."""
        self._merge.queues.cursors[source]["has_ended"] = 1

    def _changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All that `join` changes."""
        merge = self._merge
        return (*merge.recent, merge.queues.cursors, merge.queues.present, merge.queues.present_in_all, merge.lanes, merge.totals)

    def remember(self) -> Memory:
        """What `rewind` takes. Nothing may be appended between the two."""
        return Memory([array.copy() for array in self._changing_arrays()], [list(letters) for letters in self._letters])

    def rewind(self, memory: Memory) -> None:
        """Go back to what was remembered, so that `join` gives the same messages once more."""
        for array, copy in zip(self._changing_arrays(), memory.arrays, strict=True):
            array[:] = copy
        self._letters = memory.letters

    def join(
        self, batch: EventBatch, sources: npt.NDArray[np.int64], passed: Sequence[int] = (), most: int | None = None
    ) -> int | None:
        """Fill an empty batch with what comes next, and `sources` with where each message is from. Call it again after that.

        Returns the number of a source of which more is needed, -1 if the batch is full, or None if all sources have ended. Those
        that are `passed` are not waited for.
        """
        is_passed = self._merge.queues.cursors["is_passed"]
        is_passed[:] = 0
        if passed:
            is_passed[list(passed)] = 1
        counts = np.zeros(3, np.int64)
        most = len(batch.messages) if most is None else most
        while True:
            joined = Joined(batch.messages, sources, batch.prices, batch.sizes, counts)
            why: int = self._call(join, as_records(self._merge), as_records(joined), min(most, len(batch.messages)))
            batch.message_count, batch.level_count = int(counts[0]), int(counts[1])
            if why != FULL or batch.message_count:
                break
            batch.grow_levels(2 * len(batch.prices))  # one message has more levels than an empty batch has room for
        if counts[2]:
            for place in np.flatnonzero(batch.messages["kind"][: batch.message_count] == DEAD_LETTER):
                batch.dead_letters.append(self._letters[int(sources[place])].pop(0))
        return None if why == ENDED else why
