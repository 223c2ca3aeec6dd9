"""Tracks where in the input the last consumed record ends, while batches of records are decoded and consumed."""

from __future__ import annotations

from collections.abc import Callable

from cowbook.capture.follower import Follower
from cowbook.input.decoder import Decoder
from cowbook.plain.block import Block
from cowbook.plain.merge_state import JoinedMark
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import Mark


class Cursor:
    """Gives the position in the input after each consumed message of the current batch.

    While the decoder drops an overlong record whose end is not read yet, the position stays before that record.
    """

    def __init__(self, follower: Follower, batch: EventBatch, offset: int) -> None:
        """`offset` is the follower's decoded offset in its current file."""
        self._follower = follower
        self._batch = batch
        self._files = follower.files_consumed
        self._place: int | Mark = offset  # an offset in the current file, or a mark made earlier
        self._before: int | Mark = 0  # its value before the batch
        self.consumed = 0
        """Number of consumed messages of the batch. The consumer sets it."""

    def decode(self, decoder: Decoder, block: Block) -> bool:
        """Decode the next batch of the block. Returns whether the block has more."""
        self._batch.clear()
        self.consumed = 0
        start = block.offset_of(block.start)
        self._files = self._follower.files_consumed
        self._before = self._place = self._place if decoder.record_offset is not None else start
        full = decoder.decode(block, self._batch)
        record = decoder.record_offset
        if record is None:
            self._place = block.offset_of(block.start)
        elif not (isinstance(self._before, Mark) and self._before.offset == record):
            self._place = self._follower.mark_at(record)  # possible only now, while the block has the record's start
        return full

    def mark(self) -> Mark:
        """Returns the position after the last consumed record."""
        place = self._now()
        return place if isinstance(place, Mark) else self._follower.mark_at(place)

    def _now(self) -> int | Mark:
        if self._files != self._follower.files_consumed:
            return 0  # the next file was begun, and none of it is decoded yet
        if self.consumed == self._batch.message_count:
            return self._place
        if self.consumed == 0:
            return self._before
        return int(self._batch.messages["end_offset"][self.consumed - 1])


class JoinedCursor:
    """As `Cursor`, for batches that several sources were joined to: the position is that of all of them."""

    def __init__(self, mark: Callable[[], JoinedMark]) -> None:
        """`mark` gives the position after the whole batch."""
        self._mark = mark
        self.consumed = 0
        """Number of consumed messages of the batch. The consumer sets it."""

    def mark(self) -> JoinedMark:
        """Returns the position after the last message of the batch, all of which must be consumed."""
        return self._mark()
