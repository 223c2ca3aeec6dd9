"""What scanners of records have in common: why they stop, and how a kernel is called for a block."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import Decoded
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch

# Why a scanner returns.
END = 0  # no whole record is left
STRANGE = 1  # the record at the returned position is for the reference decoder
MESSAGES_FULL = 2
LEVELS_FULL = 3

# Places in `counts`.
MESSAGE_COUNT = 0
LEVEL_COUNT = 1
OTHER_SYMBOL_SEEN = 2  # whether a person was already told of another symbol
LAST_FORM = 3  # of the shape scanner: the form that the last record had
COUNTS = 4

# Places in `limits`.
PRICE_DECIMALS = 0
SIZE_DECIMALS = 1
MAX_LINE_BYTES = 2
LIMITS = 3

_SHOWN_OTHERS = 64


class RecordScanner(ABC):
    """Decodes the common records of a venue at speed, exactly as its reference decoder would, and leaves the others to that."""

    def __init__(self, settings: DecoderSettings) -> None:
        self.limits = np.array([settings.price_decimals, settings.size_decimals, settings.max_line_bytes], np.int64)
        self.name = settings.name
        self.symbol = np.frombuffer(settings.name.encode(), np.uint8).copy()
        self.counts = np.zeros(COUNTS, np.int64)
        self._noted = 0

    def scan(self, block: Block, batch: EventBatch) -> int:
        """Append records to the batch and move `block.start` behind them; why it stopped."""
        self.counts[MESSAGE_COUNT] = batch.message_count
        self.counts[LEVEL_COUNT] = batch.level_count
        why, block.start = self.run_kernel(block, batch)
        batch.message_count = int(self.counts[MESSAGE_COUNT])
        batch.level_count = int(self.counts[LEVEL_COUNT])
        return why

    def note_other_symbol(self) -> None:
        """A person was told of another symbol; after a while, records of such ones are not shown to the reference decoder."""
        self._noted += 1
        self.counts[OTHER_SYMBOL_SEEN] = self._noted >= _SHOWN_OTHERS

    @abstractmethod
    def run_kernel(self, block: Block, batch: EventBatch) -> tuple[int, int]:
        """Why the kernel stopped, and the position of the first record that it has not consumed."""

    @abstractmethod
    def learn(self, record: bytes, decoded: Decoded) -> None:
        """Take note of what the reference decoder has made of a record that was strange."""
