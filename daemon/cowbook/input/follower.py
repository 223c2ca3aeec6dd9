"""Reading a symbol's files one after the other, block by block, with the next block under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from aiofiles.threadpool.binary import AsyncFileIO

from cowbook.errors import InputError
from cowbook.input.block import PADDING, Block
from cowbook.input.compression import DecodedFile, PlainFile, open_decoded
from cowbook.input.position import IDENTITY_BYTES, FileIdentity, Position

_HEADROOM = 1 << 16  # room in front of what is read, for the unfinished line of the block before


class _OpenFile:
    """The file that is being read."""

    def __init__(self, path: Path, raw: PlainFile | DecodedFile, executor: Executor) -> None:
        self.path = path
        self.raw = raw
        # A hop to a thread for each block: whole blocks are read at once, without a buffer between.
        stream: Any = raw
        self.reader: Any = AsyncFileIO(stream, None, executor)
        status = path.stat()
        self.device, self.inode = status.st_dev, status.st_ino
        self.head = b""  # the first IDENTITY_BYTES decoded bytes, as far as they were read
        self.offset = 0  # decoded bytes read


class Follower:
    """Hands out blocks of the files in order; each file ends with a block that is `final`.

    The consumer moves `block.start` to the first byte that it has not consumed, and asks for the next block; with a final block
    it consumes everything. Methods raise InputError when a file cannot be read, is damaged, or is not the one that a position
    names.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        executor: Executor,
        block_bytes: int = 1 << 20,
        max_line_bytes: int = 16_777_216,
        position: Position | None = None,
    ) -> None:
        self._paths = list(paths)
        self._executor = executor
        self._block_bytes = block_bytes
        self._largest = max_line_bytes + 2 * block_bytes + 2
        self._resume = position
        self._next_path = 0
        self._file: _OpenFile | None = None
        self._consumed: list[FileIdentity] = list(position.consumed) if position else []
        size = _HEADROOM + block_bytes + PADDING
        self._spare = np.zeros(size, np.uint8)
        self._block = Block(np.zeros(size, np.uint8), 0, 0, "", 0, final=False)
        self._handed_out = 0  # index in the block's buffer of its first byte when it was handed out
        self._tail = b""  # the last IDENTITY_BYTES decoded bytes before that
        self._reading: asyncio.Task[int] | None = None
        self._read_before = 0

    @property
    def files_total_bytes(self) -> int:
        """Size on disk of all files that are there."""
        return sum(path.stat().st_size for path in self._paths if path.exists())

    @property
    def bytes_read_on_disk(self) -> int:
        """How much of `files_total_bytes` was read."""
        return self._read_before + (self._file.raw.tell_compressed() if self._file and not self._file.raw.closed else 0)

    async def next_block(self) -> Block | None:
        """The next block, None behind the last one."""
        if self._resume is not None:
            await self._seek(self._resume)
            self._resume = None
        elif self._file is None and not await self._open_next():
            return None
        elif self._block.final:
            assert self._block.start == self._block.end, "a final block is consumed to its end"
            await self._leave()
            if not await self._open_next():
                return None
        assert self._file is not None
        count = await self._read()
        self._advance(count)
        if count:
            self._start_reading()
        return self._block

    def position_at(self, offset: int) -> Position:
        """The position at a decoded offset of the current file, between the block's first byte when handed out and its end."""
        assert self._file is not None
        block = self._block
        index = offset - block.base
        assert self._handed_out <= index <= block.end
        first = max(self._handed_out, index - IDENTITY_BYTES)
        tail = self._tail + block.buffer[first:index].tobytes() if index > first else self._tail
        file = self._file
        identity = FileIdentity.of(str(file.path), file.device, file.inode, offset, file.head, tail)
        return Position(identity, tuple(self._consumed))

    async def close(self) -> None:
        """Close the file; a read that is under way is waited for."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.exception()  # it is of no interest any more
            self._reading = None
        if self._file is not None:
            await self._file.reader.close()
            self._file = None

    async def _open_next(self) -> bool:
        """Open the next file of the list; False behind the last."""
        if self._next_path == len(self._paths):
            return False
        path = self._paths[self._next_path]
        self._next_path += 1
        self._file = await self._open(path)
        self._begin(0, b"")
        return True

    def _begin(self, offset: int, tail: bytes) -> None:
        """Start at an offset of the file that was just opened; `tail` are the bytes before it."""
        assert self._file is not None
        self._file.offset = offset
        self._tail = tail
        self._block = Block(self._block.buffer, _HEADROOM, _HEADROOM, str(self._file.path), offset - _HEADROOM, final=False)
        self._handed_out = _HEADROOM
        self._start_reading()

    async def _open(self, path: Path) -> _OpenFile:
        loop = asyncio.get_running_loop()
        try:
            raw = await loop.run_in_executor(self._executor, open_decoded, path)
            return _OpenFile(path, raw, self._executor)
        except OSError as error:
            raise _unreadable(path, error) from error

    async def _leave(self) -> None:
        """The file is consumed: remember it."""
        assert self._file is not None
        self._consumed.append(self.position_at(self._file.offset).current)
        self._read_before += self._file.path.stat().st_size if self._file.path.exists() else 0
        await self._file.reader.close()
        self._file = None

    def _start_reading(self) -> None:
        assert self._file is not None
        if len(self._spare) > _HEADROOM + self._block_bytes + PADDING:
            self._spare = np.zeros(_HEADROOM + self._block_bytes + PADDING, np.uint8)
        view = self._spare.data[_HEADROOM : _HEADROOM + self._block_bytes]
        self._reading = asyncio.ensure_future(self._file.reader.readinto(view))

    async def _read(self) -> int:
        """Wait for the read that is under way: how many bytes came."""
        assert self._file is not None
        assert self._reading is not None
        try:
            count: int = await self._reading
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self._file.path} cannot be read at offset {self._file.offset}: {reason}") from error
        self._reading = None
        return count

    def _advance(self, count: int) -> None:
        """Put what the consumer left in front of what was read, and make that the block."""
        assert self._file is not None
        old = self._block
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
        if len(self._file.head) < IDENTITY_BYTES and self._file.offset < IDENTITY_BYTES:
            missing = IDENTITY_BYTES - len(self._file.head)
            self._file.head += buffer[first : first + min(count, missing)].tobytes()
        base = self._file.offset - first
        self._file.offset += count
        self._spare = old.buffer
        self._block = Block(buffer, first - left, first + count, str(self._file.path), base, final=count == 0)
        self._handed_out = first - left

    async def _seek(self, position: Position) -> None:
        """Open the file of a position and stand at its offset."""
        wanted = position.current
        candidates = sorted(range(len(self._paths)), key=lambda place: str(self._paths[place]) != wanted.path)
        reasons: list[str] = []
        for place in candidates:
            path = self._paths[place]
            if not path.exists():
                continue
            file = await self._open(path)
            reason = await self._try_identity(file, wanted)
            if reason is None:
                self._file = file
                self._next_path = place + 1
                self._read_before = sum(other.stat().st_size for other in self._paths[:place] if other.exists())
                return
            await file.reader.close()
            reasons.append(f"{path} {reason}")
        where = f"the input of the checkpoint, {wanted.path} up to offset {wanted.offset}, is not there"
        raise InputError(f"{where}: {'; '.join(reasons) or 'no file exists'}. Restore the file, or start afresh")

    async def _try_identity(self, file: _OpenFile, wanted: FileIdentity) -> str | None:
        """Stand at the offset of an identity, if this is the file; else what speaks against it."""
        length = min(IDENTITY_BYTES, wanted.offset)
        loop = asyncio.get_running_loop()
        try:
            head, tail = await loop.run_in_executor(self._executor, _walk_to, file.raw, wanted.offset)
        except OSError as error:
            raise _unreadable(file.path, error) from error
        if len(head) < length or len(tail) < length:
            return "is shorter: it was truncated"
        if not wanted.matches(head, tail):
            return "has another content: it was replaced"
        file.head = head
        self._file = file
        self._begin(wanted.offset, tail)
        return None


def _walk_to(raw: PlainFile | DecodedFile, offset: int) -> tuple[bytes, bytes]:
    """Stand at a decoded offset: the first and the last min(1 KiB, offset) bytes before it, less where the file is shorter."""
    length = min(IDENTITY_BYTES, offset)
    if isinstance(raw, PlainFile):
        head = raw.read(length) or b""
        raw.seek(offset - length)
        return head, raw.read(length) or b""
    scratch = memoryview(bytearray(1 << 20))
    head = tail = b""
    left = offset
    while left:
        count = raw.readinto(scratch[: min(left, len(scratch))])
        if not count:
            return head, b""
        head += bytes(scratch[: min(count, length - len(head))])
        tail = (tail + bytes(scratch[max(0, count - length) : count]))[-length:]
        left -= count
    return head, tail


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be opened: {error.strerror or error} (as user {os.getuid()}); correct that and restart")
