"""What scanners of records have in common: why they stop, and how a kernel is called for a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import Decoded
from cowbook.kernels.jit import as_records
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch

# Why a scanner returns.
END = 0  # no whole record is left
STRANGE = 1  # the record at the returned position is for the reference decoder
MESSAGES_FULL = 2
LEVELS_FULL = 3

LIMITS = np.dtype([(name, np.int64) for name in ("price_decimals", "size_decimals", "max_line_bytes")])

COUNTS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "messages",  # in the batch
            "levels",  # in the batch
            "other_symbol_seen",  # whether a person was already told of another symbol
            "last_form",  # of the form scanner: the form that the last record had
        )
    ]
)


class Scan(NamedTuple):
    """What a scanner's kernels read from, and write to."""

    buffer: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.void]  # LIMITS, (1,)
    symbol: npt.NDArray[np.uint8]  # the name that records must give
    messages: npt.NDArray[np.void]  # MESSAGE, of the batch, as are
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.void]  # COUNTS, (1,)


_SHOWN_OTHERS = 64


def make_limits(settings: DecoderSettings) -> npt.NDArray[np.void]:
    """The settings that kernels need, LIMITS of shape (1,)."""
    return np.array([(settings.price_decimals, settings.size_decimals, settings.max_line_bytes)], LIMITS)


class RecordScanner(ABC):
    """Decodes the common records of a venue at speed, exactly as its reference decoder would, and leaves the others to that."""

    def __init__(self, settings: DecoderSettings) -> None:
        self.limits = make_limits(settings)
        self.name = settings.name
        self.symbol = np.frombuffer(settings.name.encode(), np.uint8).copy()
        self.counts = np.zeros(1, COUNTS)
        self._noted = 0

    def scan(self, block: Block, batch: EventBatch) -> int:
        """Append records to the batch and move `block.start` behind them; why it stopped."""
        self.counts["messages"], self.counts["levels"] = batch.message_count, batch.level_count
        why, block.start = self.run_kernel(block, batch)
        batch.message_count, batch.level_count = int(self.counts["messages"][0]), int(self.counts["levels"][0])
        return why

    def arrays(self, block: Block, batch: EventBatch, counts: npt.NDArray[np.void]) -> Scan:
        """What the kernels take for a block."""
        scan: Scan = as_records(Scan(block.buffer, self.limits, self.symbol, batch.messages, batch.prices, batch.sizes, counts))
        return scan

    def note_other_symbol(self) -> None:
        """A person was told of another symbol; after a while, records of such ones are not shown to the reference decoder."""
        self._noted += 1
        self.counts["other_symbol_seen"] = self._noted >= _SHOWN_OTHERS

    @abstractmethod
    def run_kernel(self, block: Block, batch: EventBatch) -> tuple[int, int]:
        """Why the kernel stopped, and the position of the first record that it has not consumed."""

    @abstractmethod
    def learn(self, record: bytes, decoded: Decoded) -> None:
        """Take note of what the reference decoder has made of a record that was strange."""
