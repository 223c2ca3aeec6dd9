"""The base of the fast scanners: why a scan stops, the layout of the shared arrays, and how a kernel is called for a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import has_frames
from cowbook.input.verdict import Decoded
from cowbook.kernels.jit import as_records
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch

# Why a scanner returns.
END = 0  # no whole record is left in the block
STRANGE = 1  # the record at the returned position is for the reference decoder
MESSAGES_FULL = 2
LEVELS_FULL = 3

LIMITS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "price_decimals",
            "size_decimals",
            "max_line_bytes",
            "has_frames",  # whether the file in hand is made of frames
        )
    ]
)

COUNTS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "messages",  # in the batch
            "levels",  # in the batch
            "other_symbol_seen",  # whether enough records of other symbols were shown to the reference decoder
            "last_form",  # index of the form that the last record had; form scanner only
            "is_known",  # whether the record that is left to the reference decoder has a known form; form scanner only
            # How many decimals the numerals of a recent level have, of whatever record; 0 at first.
            "price_places",
            "size_places",
        )
    ]
)

MESSAGES, LEVELS, IS_KNOWN = map(tuple(COUNTS.names or ()).index, ("messages", "levels", "is_known"))
"""Places of these among the counts."""


class Scan(NamedTuple):
    """The arrays that a scanner's kernels read and write."""

    buffer: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.void]  # LIMITS, (1,)
    symbol: npt.NDArray[np.uint8]  # the name in the symbol's records
    messages: npt.NDArray[np.void]  # MESSAGE; the batch's
    prices: npt.NDArray[np.int64]  # the batch's
    sizes: npt.NDArray[np.int64]  # the batch's
    counts: npt.NDArray[np.void]  # COUNTS, (1,)


_SHOWN_OTHERS = 64  # records of other symbols that the reference decoder sees, so that it can name the symbols


def make_limits(settings: DecoderSettings) -> npt.NDArray[np.void]:
    """The settings that kernels need, LIMITS of shape (1,)."""
    return np.array([(settings.price_decimals, settings.size_decimals, settings.max_line_bytes, 0)], LIMITS)


class RecordScanner(ABC):
    """Decodes a venue's common records fast, exactly as its reference decoder would, and leaves the others to that decoder."""

    def __init__(self, settings: DecoderSettings) -> None:
        self.limits = make_limits(settings)
        self.name = settings.name
        self.symbol = np.frombuffer(settings.name.encode(), np.uint8).copy()
        self.counts = np.zeros(1, COUNTS)
        self._counts = self.counts.view(np.int64)  # by place: a field of an array costs five times as much
        self._head = b""
        self._group: Scan | None = None
        self._noted = 0

    def scan(self, block: Block, batch: EventBatch) -> int:
        """Append records to the batch and move `block.start` past them. Returns why it stopped, such as END or STRANGE."""
        self._counts[MESSAGES], self._counts[LEVELS] = batch.message_count, batch.level_count
        if block.head is not self._head:
            self._head = block.head
            self.limits["has_frames"] = has_frames(block.head)
        why, block.start = self.run_kernel(block, batch)
        batch.message_count, batch.level_count = int(self._counts[MESSAGES]), int(self._counts[LEVELS])
        return why

    def arrays(self, block: Block, batch: EventBatch) -> Scan:
        """What the kernels take for a block. The same object as in the call before, if nothing has changed."""
        held = self._group
        if held is None or held.buffer is not block.buffer or held.prices is not batch.prices:
            held = self._group = self.make_arrays(block, batch, self.counts)
        return held

    def make_arrays(self, block: Block, batch: EventBatch, counts: npt.NDArray[np.void]) -> Scan:
        """As `arrays`, with counts that are not the scanner's."""
        scan: Scan = as_records(Scan(block.buffer, self.limits, self.symbol, batch.messages, batch.prices, batch.sizes, counts))
        return scan

    def note_other_symbol(self) -> None:
        """Count a record of another symbol. After _SHOWN_OTHERS of them the kernel skips such records itself."""
        self._noted += 1
        self.counts["other_symbol_seen"] = self._noted >= _SHOWN_OTHERS

    @abstractmethod
    def run_kernel(self, block: Block, batch: EventBatch) -> tuple[int, int]:
        """Scan a block. Returns why the kernel stopped, and the position of the first record that it has not consumed."""

    @abstractmethod
    def learn(self, record: bytes, decoded: Decoded) -> None:
        """Learn from what the reference decoder made of a STRANGE record."""
