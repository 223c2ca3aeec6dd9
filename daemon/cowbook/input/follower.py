"""Reading a symbol's files one after the other, block by block, with the next block under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from aiofiles.threadpool.binary import AsyncFileIO

from cowbook.errors import InputError
from cowbook.input.block import PADDING, Block
from cowbook.input.compression import DecodedFile, PlainFile, open_decoded
from cowbook.input.position import IDENTITY_BYTES, FileIdentity, Mark, Position, displayable

_HEADROOM = 1 << 16  # room in front of what is read, for the unfinished line of the block before


class _OpenFile:
    """The file that is being read."""

    def __init__(self, path: Path, raw: PlainFile | DecodedFile, executor: Executor) -> None:
        self.path = path
        self.name = str(path)
        self.raw = raw
        # A hop to a thread for each block: whole blocks are read at once, without a buffer between.
        stream: Any = raw
        self.reader: Any = AsyncFileIO(stream, None, executor)
        status = os.fstat(raw.fileno())  # of what was opened, whatever stands under the name by now
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
        self._consumed = position.consumed if position else ()
        self._skipped: frozenset[int] = frozenset()  # places of files that were consumed before the position
        self._warnings: tuple[str, ...] = ()
        size = _HEADROOM + block_bytes + PADDING
        self._spare = np.zeros(size, np.uint8)
        self._block = Block(np.zeros(size, np.uint8), 0, 0, "", 0, final=False)
        self._handed_out = 0  # index in the block's buffer of its first byte when it was handed out
        self._tail = b""  # the last IDENTITY_BYTES decoded bytes before that
        self._reading: asyncio.Task[int] | None = None
        self._opening: asyncio.Future[PlainFile | DecodedFile] | None = None
        self._read_before = 0
        self._total_bytes: int | None = None
        self.waiting_for: str | None = None
        self.at_end = False
        self.unread_bytes = 0
        self.skipped_files = 0
        self.rotations = 0

    @property
    def files_total_bytes(self) -> int:
        """Size on disk of all files that are there, as it was when it was asked for first."""
        if self._total_bytes is None:
            self._total_bytes = sum(status.st_size for status in _stat_all(self._paths).values())
        return self._total_bytes

    @property
    def bytes_read_on_disk(self) -> int:
        """How much of `files_total_bytes` was read."""
        return self._read_before + (self._file.raw.tell_compressed() if self._file and not self._file.raw.closed else 0)

    @property
    def current_path(self) -> Path | None:
        """The file that is being read, or was read last; None before the first and after `close`."""
        return self._file.path if self._file is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the files, once a position was resumed from: those that will never be read."""
        return self._warnings

    async def next_block(self) -> Block | None:
        """The next block, None behind the last one."""
        await self.seek()
        if self._file is None or self._block.final:
            assert self._block.start == self._block.end, "a final block is consumed to its end"
            if not await self._open_next():
                return None  # the last file stays, so that there is a position in it
        assert self._file is not None
        count = await self._read()
        self._advance(count)
        if count:
            self._start_reading()
        return self._block

    async def seek(self) -> None:
        """Find the file of the position that was given and stand at its offset; nothing to do the second time."""
        if self._resume is not None:
            await self._seek(self._resume)
            self._resume = None

    async def check_readable(self) -> None:
        """Open every file, and read the first bytes; raises InputError for what cannot be read."""
        await asyncio.get_running_loop().run_in_executor(self._executor, _check_readable, self._paths)

    @property
    def is_last(self) -> bool:
        """Whether no file follows the current one."""
        return self._following() is None

    @property
    def has_position(self) -> bool:
        """Whether a file was opened, so that there is a position."""
        return self._file is not None

    @property
    def files_consumed(self) -> int:
        """Number of files that were left behind."""
        return len(self._consumed)

    def mark_at(self, offset: int) -> Mark:
        """The position at a decoded offset of the current file, between the block's first byte when handed out and its end."""
        file, block = self._file, self._block
        assert file is not None
        index = offset - block.base
        assert self._handed_out <= index <= block.end
        first = max(self._handed_out, index - IDENTITY_BYTES)
        tail = self._tail + block.buffer[first:index].tobytes() if index > first else self._tail
        return Mark(file.name, file.device, file.inode, offset, file.head, tail, self._consumed)

    def position_at(self, offset: int) -> Position:
        """As `mark_at`, with its hashes."""
        return self.mark_at(offset).position()

    async def close(self) -> None:
        """Close the file; a read that is under way is waited for."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.exception()  # it is of no interest any more
            self._reading = None
        if self._opening is not None:
            (opened,) = await asyncio.gather(self._opening, return_exceptions=True)
            if isinstance(opened, PlainFile | DecodedFile):
                opened.close()
            self._opening = None
        if self._file is not None:
            await self._file.reader.close()
            self._file = None

    def _following(self) -> int | None:
        """Place of the next file of the list; None behind the last."""
        places = range(self._next_path, len(self._paths))
        return next((place for place in places if place not in self._skipped), None)

    async def _open_next(self) -> bool:
        """Leave the file for the next one of the list; False behind the last."""
        place = self._following()
        if place is None:
            return False
        if self._opening is None:
            self._opening = asyncio.get_running_loop().run_in_executor(self._executor, _open, self._paths[place])
        try:
            raw = await asyncio.shield(self._opening)  # what a cancelled call has opened, the next one takes
        except InputError:
            self._opening = None
            raise
        self._opening = None
        # Only now: a call that failed or was cancelled is not to skip a file, and leaves the position where it is.
        if self._file is not None:
            self._leave()
        self._next_path = place + 1
        self._file = _OpenFile(self._paths[place], raw, self._executor)
        self._begin(0, b"")
        return True

    def _begin(self, offset: int, tail: bytes) -> None:
        """Start at an offset of the file that was just opened; `tail` are the bytes before it."""
        assert self._file is not None
        self._file.offset = offset
        self._tail = tail
        self._block = Block(
            self._block.buffer, _HEADROOM, _HEADROOM, displayable(self._file.path), offset - _HEADROOM, final=False
        )
        self._handed_out = _HEADROOM
        self._start_reading()

    def _leave(self) -> None:
        """The file is consumed: remember it."""
        assert self._file is not None
        size = self._file.raw.tell_compressed()
        self._consumed = (*self._consumed, replace(self.position_at(self._file.offset).current, disk_bytes=size))
        self._read_before += size
        self._executor.submit(self._file.raw.close)
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
            # Not cancelled with the caller: the thread would go on writing into the buffer; `close` waits for it.
            count = await asyncio.shield(self._reading)
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
        self._block = Block(buffer, first - left, first + count, displayable(self._file.path), base, final=count == 0)
        self._handed_out = first - left

    async def _seek(self, position: Position) -> None:
        """Open the file of a position and stand at its offset."""
        found = await asyncio.get_running_loop().run_in_executor(self._executor, _find, self._paths, position)
        self._file = _OpenFile(self._paths[found.place], found.raw, self._executor)
        self._file.head = found.head
        self._next_path = found.place + 1
        self._skipped = found.consumed
        self._read_before, self._warnings = found.read_before, found.warnings
        self._begin(position.current.offset, found.tail)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where to go on: the open file, standing at the offset, and what its list says of the other files."""

    place: int  # in the list of paths
    raw: PlainFile | DecodedFile
    head: bytes
    tail: bytes
    consumed: frozenset[int] = frozenset()  # places of other files that were consumed before it
    read_before: int = 0  # size on disk of the files that will not be read any more
    warnings: tuple[str, ...] = ()


def _find(paths: Sequence[Path], position: Position) -> _Found:
    """Look for a position's file, and for those that were consumed before it, wherever renaming has put them.

    Raises InputError when no file is the position's, or when one has grown since it was left.
    """
    statuses = _stat_all(paths)
    found = _find_current(paths, statuses, position)
    place = found.place
    try:
        consumed = _find_consumed(paths, statuses, position, place)
    except BaseException:
        found.raw.close()
        raise
    warnings = tuple(
        f"{paths[other]} sorts before {paths[place]} and is not known to have been consumed: it is not read"
        for other in statuses
        if other < place and other not in consumed
    )
    read_before = sum(status.st_size for other, status in statuses.items() if other < place or other in consumed)
    return replace(found, consumed=consumed, read_before=read_before, warnings=warnings)


def _find_current(paths: Sequence[Path], statuses: dict[int, os.stat_result], position: Position) -> _Found:
    """Open the file of a position; a file that was consumed before it and looks alike so far is not it."""
    current = position.current
    reasons: dict[int, str] = {}
    strangeness = {
        place: current.strangeness(str(paths[place]), status.st_dev, status.st_ino) for place, status in statuses.items()
    }
    for place in sorted(strangeness, key=lambda place: (strangeness[place], place)):
        try:
            raw = _open(paths[place])
        except InputError as error:
            reasons[place] = f"cannot be read: {error}"
            continue
        reached = _reach(raw, current)
        if isinstance(reached, str):
            reasons[place] = reached
        elif strangeness[place] == 0 or all(_compare(paths[place], old) != "equal" for old in position.consumed):
            return _Found(place, raw, *reached)
        raw.close()
    raise InputError(_not_found(paths, current, reasons))


def _find_consumed(
    paths: Sequence[Path], statuses: dict[int, os.stat_result], position: Position, current: int
) -> frozenset[int]:
    """Places of the files that were consumed. Each identity stands for one file, so that a copy that lies beside it is read.

    Of a compressed file before the current one the head must do, unless it changed in its place: it is not read in either
    case, and the rest would cost decoding all of it.
    """
    free = {place: status for place, status in statuses.items() if place != current}
    by_path = {str(paths[place]): place for place in free}
    by_inode = {(status.st_dev, status.st_ino): place for place, status in free.items()}

    def is_consumed(place: int, identity: FileIdentity, *, head_is_enough: bool) -> bool:
        path = paths[place]
        judgement = _compare(path, identity, head_is_enough=head_is_enough)
        # Few bytes say little: another file may well begin with the same header, even on a reused inode.
        if judgement == "grown" and (identity.offset >= IDENTITY_BYTES or str(path) == identity.path):
            what = f"{path} has grown behind offset {identity.offset}, after it was consumed to there and a later file begun"
            raise InputError(
                f"{what}; put what is new into a file that sorts last, or start from the beginning with --allow-fresh"
            )
        return judgement == "equal"

    claimed: set[int] = set()
    vanished = []
    for identity in position.consumed:
        same_inode = by_inode.get((identity.device, identity.inode))
        for place in (same_inode, by_path.get(identity.path)):
            if place is None or place in claimed:
                continue
            is_same = place == same_inode and free[place].st_size == identity.disk_bytes
            if is_consumed(place, identity, head_is_enough=is_same):
                claimed.add(place)
                break
        else:
            vanished.append(identity)
    heads = {place: _head(paths[place]) for place in free if place not in claimed} if vanished else {}
    for identity in vanished:
        for place in [place for place, head in heads.items() if identity.matches_head(head)]:
            if is_consumed(place, identity, head_is_enough=place < current):
                claimed.add(place)
                del heads[place]
                break
    return frozenset(claimed)


def _stat_all(paths: Sequence[Path]) -> dict[int, os.stat_result]:
    """By place, of the files that are there."""
    statuses = {}
    for place, path in enumerate(paths):
        with suppress(OSError):
            statuses[place] = path.stat()
    return statuses


def _check_readable(paths: Sequence[Path]) -> None:
    for path in paths:
        with _open(path) as raw:
            try:
                raw.read(1)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _head(path: Path) -> bytes:
    try:
        with _open(path) as raw:
            return raw.read(IDENTITY_BYTES) or b""
    except (OSError, InputError):
        return b""  # when its turn comes, reading says what is wrong with it


def _compare(path: Path, identity: FileIdentity, *, head_is_enough: bool = False) -> Literal["equal", "grown", "other"]:
    """Whether a file is one that was consumed: as it was, with more behind it, or another (or one that cannot be read).

    `head_is_enough` spares decoding a compressed file.
    """
    try:
        with _open(path) as raw:
            if head_is_enough and isinstance(raw, DecodedFile):
                return "equal" if identity.matches_head(raw.read(identity.length) or b"") else "other"
            if isinstance(_reach(raw, identity), str):
                return "other"
            return "grown" if raw.read(1) else "equal"
    except (OSError, InputError):
        return "other"  # when its turn comes, reading says what is wrong with it


def _reach(raw: PlainFile | DecodedFile, wanted: FileIdentity) -> tuple[bytes, bytes] | str:
    """Stand at the offset of an identity: the stretches that it hashes, or, if this is not the file, what speaks against it."""
    length = wanted.length
    try:
        head = raw.read(length) or b""
        if len(head) < length and not raw.read(1):  # it ends there; damage there is raised
            return "is shorter: it was truncated"
        if not wanted.matches_head(head):
            return "has another content: it was replaced"
        tail = raw.go_to(wanted.offset, head)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except InputError as error:
        return f"cannot be decoded up to there: {error}"
    if len(tail) < length:
        return "is shorter: it was truncated"
    return (head, tail) if wanted.matches_tail(tail) else "has another content: it was replaced"


def _not_found(paths: Sequence[Path], wanted: FileIdentity, reasons: dict[int, str]) -> str:
    """The error text; the file of that name is the first of `reasons`."""
    texts = [f"{paths[place]} {reason}" for place, reason in reasons.items()]
    shown = "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
    what = f"the input of the checkpoint, {wanted.path} up to offset {wanted.offset}, is not there"
    return f"{what}: {shown or 'no file exists'}. Restore it, or begin again with --allow-fresh"


def _open(path: Path) -> PlainFile | DecodedFile:
    """Open a file; raises InputError when that fails."""
    try:
        return open_decoded(path)
    except OSError as error:
        reason = f"{error.strerror or error} (as user {os.getuid()})"
        raise InputError(f"{path} cannot be opened: {reason}; correct that and restart") from error
