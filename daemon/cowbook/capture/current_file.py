"""Reading one file block by block, with the next block under way, and the position in it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiofiles.threadpool.binary import AsyncFileIO

from cowbook.capture.resume import InputFile
from cowbook.errors import InputError
from cowbook.plain.block import PADDING, Block
from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Mark, displayable

_HEADROOM = 1 << 16  # room in front of what is read, for the unfinished line of the block before


class CurrentFile:
    """The file that is being read, or was read last."""

    def __init__(self, path: Path, raw: InputFile | None, executor: Executor, left: FileIdentity | None = None) -> None:
        """`left` is a file that was read to its end before and is not open."""
        self.path = path
        self.name = str(path)
        self.left = left
        self.device, self.inode = (left.device, left.inode) if left is not None else (0, 0)
        self.head = b""  # the first IDENTITY_BYTES decoded bytes, as far as they were read
        self.offset = 0  # decoded bytes read
        self._executor = executor
        self.raw: InputFile | None = None
        self.reader: Any = None
        if raw is not None:
            self.take(raw)

    def take(self, raw: InputFile) -> None:
        """Read from this, which stands at the offset."""
        self.raw = raw
        # A hop to a thread for each block: whole blocks are read at once, without a buffer between.
        stream: Any = raw
        self.reader = AsyncFileIO(stream, None, self._executor)
        status = os.fstat(raw.fileno())  # of what was opened, whatever stands under the name by now
        self.device, self.inode = status.st_dev, status.st_ino

    def release(self) -> int:
        """Close it while nothing is read: how many bytes of it on disk were read."""
        if self.raw is None:
            return 0
        size = self.raw.tell_compressed()
        self._executor.submit(self.raw.close)
        self.raw = self.reader = None
        return size


class Reader:
    """The current file and the block in hand."""

    def __init__(self, executor: Executor, block_bytes: int, max_line_bytes: int) -> None:
        self.file: CurrentFile | None = None
        self._executor = executor
        self._block_bytes = block_bytes
        self._largest = max_line_bytes + 2 * block_bytes + 2
        size = _HEADROOM + block_bytes + PADDING
        self._spare = np.zeros(size, np.uint8)
        self.block = Block(np.zeros(size, np.uint8), 0, 0, "", 0, final=False)
        self._handed_out = 0  # index in the block's buffer of its first byte when it was handed out
        self._tail = b""  # the last IDENTITY_BYTES decoded bytes before that
        self._reading: asyncio.Task[int] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a read is under way."""
        return self._reading is not None

    def begin(self, file: CurrentFile, offset: int, head: bytes, tail: bytes) -> None:
        """Start at an offset of a file that was just opened; `tail` are the bytes before it."""
        self.file = file
        file.offset, file.head = offset, head
        self._tail = tail
        self.block = Block(
            self.block.buffer, _HEADROOM, _HEADROOM, displayable(file.path), offset - _HEADROOM, final=False, head=head
        )
        self._handed_out = _HEADROOM

    def start_reading(self) -> None:
        """Have the next block read."""
        assert self.file is not None
        if len(self._spare) > _HEADROOM + self._block_bytes + PADDING:
            self._spare = np.zeros(_HEADROOM + self._block_bytes + PADDING, np.uint8)
        view = self._spare.data[_HEADROOM : _HEADROOM + self._block_bytes]
        self._reading = asyncio.ensure_future(self.file.reader.readinto(view))

    async def read(self) -> int:
        """Wait for the read that is under way: how many bytes came. Raises OSError, and InputError at damage."""
        assert self._reading is not None
        try:
            # Not cancelled with the caller: the thread would go on writing into the buffer; `close` waits for it.
            count = await asyncio.shield(self._reading)
        except OSError:
            self._reading = None
            raise
        self._reading = None
        return count

    def advance(self, count: int, *, final: bool) -> Block:
        """Put what the consumer left in front of what was read, and make that the block."""
        assert self.file is not None
        old = self.block
        self._tail = (self._tail + old.buffer[max(self._handed_out, old.start - IDENTITY_BYTES) : old.start].tobytes())[
            -IDENTITY_BYTES:
        ]
        left = old.end - old.start
        buffer = self._spare
        first = _HEADROOM
        if left > _HEADROOM:
            if left + count > self._largest:
                raise AssertionError("the consumer keeps more than the longest line")
            first = left
            buffer = np.zeros(left + self._block_bytes + PADDING, np.uint8)
            buffer[first : first + count] = self._spare[_HEADROOM : _HEADROOM + count]
        buffer[first - left : first] = old.buffer[old.start : old.end]
        if len(self.file.head) < IDENTITY_BYTES and self.file.offset < IDENTITY_BYTES:
            missing = IDENTITY_BYTES - len(self.file.head)
            self.file.head += buffer[first : first + min(count, missing)].tobytes()
        base = self.file.offset - first
        self.file.offset += count
        self._spare = old.buffer
        self.block = Block(buffer, first - left, first + count, displayable(self.file.path), base, final, self.file.head)
        self._handed_out = first - left
        return self.block

    def mark_at(self, offset: int, consumed: tuple[FileIdentity, ...]) -> Mark:
        """The position at a decoded offset of the file, between the block's first byte when handed out and its end."""
        file, block = self.file, self.block
        assert file is not None
        index = offset - block.base
        assert self._handed_out <= index <= block.end
        first = max(self._handed_out, index - IDENTITY_BYTES)
        tail = self._tail + block.buffer[first:index].tobytes() if index > first else self._tail
        left = file.left if offset == file.offset else None
        return Mark(file.name, file.device, file.inode, offset, file.head, tail, consumed, left)

    def identity_at_end(self, disk_bytes: int) -> FileIdentity:
        """Of the file, all of which was read."""
        assert self.file is not None
        if self.file.left is not None:
            return self.file.left
        return replace(self.mark_at(self.file.offset, ()).position().current, disk_bytes=disk_bytes)

    async def close(self) -> None:
        """Close the file; a read that is under way is waited for."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.exception()  # it is of no interest any more
            self._reading = None
        if self.file is not None and self.file.reader is not None:
            await self.file.reader.close()
        self.file = None


def cannot_be_read(file: CurrentFile, error: OSError) -> InputError:
    """What is said of a read that failed."""
    return InputError(f"{file.path} cannot be read at offset {file.offset}: {error.strerror or error}")
