"""One of several sources of a symbol: its files are read and decoded, and its messages wait in the merger for their turn.

What waits is not in a checkpoint. A checkpoint has the position in front of it, and how many messages behind that position were
handed on already: a restart decodes them anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cowbook.capture.follower import Follower
from cowbook.merge.merger import BATCH_MESSAGES, Merger
from cowbook.plain.block import PADDING, Block
from cowbook.plain.merge_state import SourceMark, SourcePlace
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import Mark
from cowbook.symbol.cursor import Cursor
from cowbook.symbol.settings import SourceSettings
from cowbook.venues.decoders import make_decoder

_BATCH_LEVELS = 1 << 15


@dataclass(frozen=True, slots=True)
class _Piece:
    """What was decoded at a time, of which messages still wait: where it begins, and its messages by their numbers."""

    mark: Mark
    file: str
    connection: Mapping[str, str]
    input_bytes: int
    first: int
    end: int


class SourceInput:
    """Reads and decodes a source. Methods other than `read` never wait."""

    def __init__(
        self,
        number: int,
        settings: SourceSettings,
        follower: Follower,
        place: SourcePlace | None,
        merger: Merger,
        other_symbols: list[str],
    ) -> None:
        """`place` is that of the checkpoint, from which the merger was restored. `other_symbols` is the list of all sources."""
        self.name = settings.name
        self.follower = follower
        self.is_followed = settings.follow is not None
        self._number, self._merger = number, merger
        self._decoder = make_decoder(settings.format, settings.decoder)
        self._decoder.other_symbols = other_symbols
        self._batch = EventBatch.allocate(BATCH_MESSAGES, _BATCH_LEVELS)
        offset = place.position.current.offset if place is not None and place.position is not None else 0
        self._cursor = Cursor(follower, self._batch, offset)
        self._skip = place.skip if place is not None else 0
        self._decoded = merger.consumed(number) - self._skip  # number of the next message that is decoded
        if place is not None:
            self._decoder.restore_connection(place.connection)
        self._connection: Mapping[str, str] = place.connection if place is not None else {}
        self.input_bytes = place.input_bytes if place is not None else 0
        """Decoded bytes that were taken from the blocks since the start of the input."""
        self._pieces: deque[_Piece] = deque()
        self._block: Block | None = None
        self.has_more = False
        """Whether the block may have more than the last batch could take."""
        self._last: Block | None = None  # the last block of the last file, which is not decoded before `finish`
        self._reading: asyncio.Future[Block | None] | None = None
        self.was_full = False
        """Whether the last block was as large as blocks are: the source has more than has just been written."""
        self.heard_at = time.monotonic()
        """When it last brought anything."""

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left but the last block, which more input may still complete."""
        return self._last is not None and not self.has_more

    @property
    def unfinished(self) -> bytes:
        """What the last block holds behind the last whole record."""
        return self._last.buffer[self._last.start : self._last.end].tobytes() if self._last is not None else b""

    @property
    def unread_bytes(self) -> int:
        """Bytes on disk that are not read yet, of files that are not followed."""
        return self.follower.files_total_bytes - self.follower.bytes_read_on_disk

    @property
    def has_read(self) -> bool:
        """Whether a block was read, and is not taken yet."""
        return self._reading is not None and self._reading.done()

    def reading(self) -> asyncio.Future[Block | None]:
        """The block that comes next. It may be cancelled only by `cancel_reading`."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.follower.next_block())
        return self._reading

    async def cancel_reading(self) -> None:
        """End the reading that is under way."""
        reading, self._reading = self._reading, None
        if reading is None:
            return
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
        elif not reading.cancelled():
            reading.exception()  # the next start meets it again

    def take_block(self, block_bytes: int) -> None:
        """Take the block that was read. Raises InputError, as reading does."""
        assert self._reading is not None
        reading, self._reading = self._reading, None
        block = reading.result()
        self.heard_at = time.monotonic()
        if block is None or (block.final and self.follower.is_last):
            self._last = block or _nothing()
            return
        self.was_full = block.end - block.start >= block_bytes
        self._block, self.has_more = block, True

    def decode(self) -> bool:
        """Decode more of the block, if it has more. Returns whether it had. Call it only when more of the source is needed."""
        if not self.has_more or self._block is None:
            return False
        block, before = self._block, self._block.start
        bytes_before, connection = self.input_bytes, self._connection
        self.has_more = self._cursor.decode(self._decoder, block)
        count = self._batch.message_count
        if count:
            mark = self._cursor.mark()
            self._pieces.append(_Piece(mark, block.file, connection, bytes_before, self._decoded, self._decoded + count))
            skip = min(self._skip, count)
            self._merger.append(self._number, self._batch, skip)
            self._skip -= skip
            self._decoded += count
        self._cursor.consumed = count
        self._connection = self._decoder.connection_after(count)
        self.input_bytes += block.start - before
        return True

    def finish(self) -> None:
        """Decode the last block, with what is unfinished in it; nothing can complete it any more."""
        if self._last is not None and self._block is not self._last:
            self._block, self.has_more = self._last, True
        if not self.decode():
            self._merger.end(self._number)

    def mark(self) -> SourceMark:
        """Where the source stands: behind the last message that was handed on."""
        consumed = self._merger.consumed(self._number)
        while self._pieces and self._pieces[0].end <= consumed:
            self._pieces.popleft()
        if self._pieces:
            piece = self._pieces[0]
            return SourceMark(self.name, piece.mark, consumed - piece.first, piece.connection, piece.input_bytes)
        mark = self._cursor.mark() if self.follower.has_position else None
        return SourceMark(self.name, mark, self._skip, self._connection, self.input_bytes)

    def file_of_next(self) -> str:
        """The file of the next message, for people."""
        consumed = self._merger.consumed(self._number)
        piece = next((piece for piece in self._pieces if piece.end >= consumed), None)
        if piece is not None:
            return piece.file
        return self._block.file if self._block is not None else self.name


def _nothing() -> Block:
    """A last block without bytes, of a source without files."""
    return Block(np.zeros(PADDING, np.uint8), 0, 0, "", 0, final=True)
