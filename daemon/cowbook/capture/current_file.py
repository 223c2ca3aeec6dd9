"""Reads one file block by block, one block ahead of the consumer, and knows the position in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from aiofiles.threadpool.binary import AsyncFileIO

from cowbook.capture.inotify import OfferedRead
from cowbook.capture.members import MARK
from cowbook.capture.resume import InputFile
from cowbook.errors import InputError
from cowbook.plain.block import PADDING, Block
from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Mark, displayable

_LINE_FEED = 10
_LOOKED_AT_BYTES = 1 << 14
_HEADROOM = 1 << 16  # bytes kept free before what is read, for the unfinished line of the previous block


class CurrentFile:
    """The file being read, or read last."""

    def __init__(self, path: Path, raw: InputFile | None, executor: Executor, left: FileIdentity | None = None) -> None:
        """`raw` stands at the offset to read from. `left` is the identity of a file already read to its end and closed."""
        self.path = path
        self.name = left.path if left is not None else str(path)
        self.left = left
        self.device, self.inode = (left.device, left.inode) if left is not None else (0, 0)
        self.head = b""  # the first IDENTITY_BYTES decoded bytes, or fewer while fewer were read
        self.offset = 0  # decoded bytes read
        self.begins_ns = left.begins_ns if left is not None else None  # as FileIdentity.begins_ns
        self._executor = executor
        self.raw: InputFile | None = None
        self.reader: Any = None
        if raw is not None:
            self.attach(raw)

    def attach(self, raw: InputFile) -> None:
        """Read from `raw`, which stands at the current offset."""
        self.raw = raw
        # Each read costs a thread hop, so it fills a whole block, with no buffer between.
        stream: Any = raw
        self.reader = AsyncFileIO(stream, None, self._executor)
        status = raw.status()
        self.device, self.inode = status.st_dev, status.st_ino

    def release(self) -> int:
        """Close the file, which no thread may be reading. Returns how many of its bytes on disk were read."""
        if self.raw is None:
            return 0
        size = self.raw.tell_compressed()
        self._executor.submit(self.raw.close)
        self.raw = self.reader = None
        return size


class Reader:
    """The current file and the current block."""

    def __init__(self, executor: Executor, block_bytes: int, max_line_bytes: int) -> None:
        self.file: CurrentFile | None = None
        self._executor = executor
        self._block_bytes = block_bytes
        self._longest = max_line_bytes
        self._largest = max_line_bytes + 2 * block_bytes + 2
        size = _HEADROOM + block_bytes + PADDING
        self._spare = np.zeros(size, np.uint8)
        self.block = Block(np.zeros(size, np.uint8), 0, 0, "", 0, final=False)
        self._handed_out_at = 0  # where the block began in its buffer when it was handed out
        self._tail = b""  # the last IDENTITY_BYTES decoded bytes before that
        self._reading: asyncio.Future[int] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a read has been started and not collected by `read`."""
        return self._reading is not None

    def begin(self, file: CurrentFile, offset: int, head: bytes, tail: bytes) -> None:
        """Start in a newly opened file at a decoded offset. `tail` holds the bytes before the offset."""
        self.file = file
        file.offset, file.head = offset, head
        self._tail = tail
        self.block = Block(
            self.block.buffer, _HEADROOM, _HEADROOM, displayable(file.path), offset - _HEADROOM, final=False, head=head
        )
        self._handed_out_at = _HEADROOM

    def start_reading(self) -> None:
        """Start reading the next block in a thread."""
        assert self.file is not None
        self._reading = asyncio.ensure_future(self.file.reader.readinto(self._space()))

    def start_calling(self, read: Callable[[memoryview], int]) -> None:
        """As `start_reading`, but by a function that fills the buffer."""
        view = self._space()
        self._reading = asyncio.get_running_loop().run_in_executor(self._executor, lambda: read(view))

    def offer_reading(self, read: Callable[[memoryview], int]) -> OfferedRead:
        """Offer to read the next block by a function when the file grows. If it is taken back, `forget_offer` must follow."""
        view = self._space()
        offer = OfferedRead(lambda: read(view))
        self._reading = offer.count
        return offer

    def forget_offer(self) -> None:
        """Take note that an offered read will not be made."""
        self._reading = None

    def _space(self) -> memoryview:
        """Where the next block goes."""
        if len(self._spare) > _HEADROOM + self._block_bytes + PADDING:
            self._spare = np.zeros(_HEADROOM + self._block_bytes + PADDING, np.uint8)
        return self._spare.data[_HEADROOM : _HEADROOM + self._block_bytes]

    async def read(self) -> int:
        """Wait for the started read. Returns the number of bytes. Raises OSError, and InputError at damage."""
        assert self._reading is not None
        try:
            # Shielded: cancelling would not stop the thread, which still writes into the buffer. `close` waits for it.
            count = await asyncio.shield(self._reading)
        except OSError:
            self._reading = None
            raise
        self._reading = None
        return count

    def advance(self, count: int, *, final: bool) -> Block:
        """Make the next block: what the consumer left of the last one, then the `count` bytes just read.

        Damage at the end of a file gets a byte of its own in the block, which is not counted as one of the file's.
        """
        assert self.file is not None
        damage = self.file.raw.damage if self.file.raw is not None else None
        old = self.block
        self._tail = (self._tail + old.buffer[max(self._handed_out_at, old.start - IDENTITY_BYTES) : old.start].tobytes())[
            -IDENTITY_BYTES:
        ]
        buffer, start, end = self._joined(old, count)
        first = end - count
        if len(self.file.head) < IDENTITY_BYTES and self.file.offset < IDENTITY_BYTES:
            missing = IDENTITY_BYTES - len(self.file.head)
            self.file.head += buffer[first : first + min(count, missing)].tobytes()
        base = self.file.offset - first
        self.file.offset += count
        if damage is not None and final:
            buffer[end] = MARK[0]
            end += 1
        self.block = Block(buffer, start, end, displayable(self.file.path), base, final, self.file.head, damage)
        self._handed_out_at = start
        return self.block

    @property
    def end_offset(self) -> int:
        """The offset behind all of the file that was read, and behind the damage at its end."""
        assert self.file is not None
        return self.file.offset + (self.block.final and self.block.damage is not None)

    def _joined(self, old: Block, count: int) -> tuple[npt.NDArray[np.uint8], int, int]:
        """What the consumer left of a block, then the `count` bytes just read: the buffer, their first index, and their end.

        A long rest stays where it is, in a buffer that doubles: otherwise a line would be copied as often as it grows.
        """
        left = old.end - old.start
        if left <= _HEADROOM:
            buffer, self._spare = self._spare, old.buffer
            buffer[_HEADROOM - left : _HEADROOM] = old.buffer[old.start : old.end]
            return buffer, _HEADROOM - left, _HEADROOM + count
        if left + count > self._largest:
            raise AssertionError("the consumer left more than the longest line")
        buffer, start = old.buffer, old.start
        if old.end + count + PADDING > len(buffer):
            buffer, start = np.zeros(2 * (left + count) + PADDING, np.uint8), 0
            buffer[:left] = old.buffer[old.start : old.end]
        end = start + left + count
        buffer[end - count : end] = self._spare[_HEADROOM : _HEADROOM + count]
        return buffer, start, end

    def hold_back(self, count: int) -> bool:
        """As `advance`, if the consumer can do nothing with the `count` bytes just read, since they have no line feed.

        Returns whether that is so.
        """
        old = self.block
        new = self._spare[_HEADROOM : _HEADROOM + count]
        if not old.lacks_line_feed or old.end - old.start + count > self._longest or _has_line_feed(new):
            return False
        self.advance(count, final=False).lacks_line_feed = True
        return True

    def mark_at(self, offset: int, consumed: tuple[FileIdentity, ...]) -> Mark:
        """As `Follower.mark_at`."""
        file, block = self.file, self.block
        assert file is not None
        if file.left is not None and offset == self.end_offset:
            return Mark(file.name, file.device, file.inode, file.offset, file.head, b"", consumed, file.left, file.begins_ns)
        index = offset - block.base
        assert self._handed_out_at <= index <= block.end
        first = index - IDENTITY_BYTES
        if first >= self._handed_out_at:
            tail = bytes(block.buffer.data[first:index])  # a freeze has no time for an array of its own
        else:
            tail = self._tail + block.buffer[self._handed_out_at : index].tobytes()
        return Mark(file.name, file.device, file.inode, offset, file.head, tail, consumed, begins_ns=file.begins_ns)

    def identity_at_end(self, disk_bytes: int) -> FileIdentity:
        """The identity of the file, which was read to its end. `disk_bytes` is its size on disk."""
        assert self.file is not None
        if self.file.left is not None:
            return self.file.left
        return replace(self.mark_at(self.file.offset, ()).exact_position().current, disk_bytes=disk_bytes)

    async def close(self) -> None:
        """Close the file, after waiting for a started read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.exception()  # fetched only so that asyncio does not report it
            self._reading = None
        if self.file is not None and self.file.reader is not None:
            await self.file.reader.close()
        self.file = None


def _has_line_feed(content: npt.NDArray[np.uint8]) -> bool:
    """Whether there is one, looking no further than some way behind the first: comparing all would touch fresh memory, too."""
    pieces = (content[start : start + _LOOKED_AT_BYTES] for start in range(0, len(content), _LOOKED_AT_BYTES))
    return any((piece == _LINE_FEED).any() for piece in pieces)


def cannot_be_read(file: CurrentFile, error: OSError) -> InputError:
    """The error for a failed read."""
    return InputError(f"{file.path} cannot be read at offset {file.offset}: {error.strerror or error}")
