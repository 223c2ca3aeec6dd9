"""Going through a symbol's files one after the other: a list of them to its end, or whatever patterns show, for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from cowbook.capture.current_file import CurrentFile, Reader, cannot_be_read
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.inotify import Bell, Watcher
from cowbook.capture.resume import Found, InputFile, check_readable, find, open_input, stat_all
from cowbook.capture.rotation import (
    LONGEST_BACKOFF_SECONDS,
    LONGEST_SAFETY_POLL_SECONDS,
    POLL_SECONDS,
    SAFETY_POLL_SECONDS,
    Following,
    FollowSettings,
    Look,
    at_end,
)
from cowbook.plain.block import Block
from cowbook.plain.position import Mark, Position

_BURST_SECONDS = 0.005  # lines that are written one by one are read together

T = TypeVar("T")


class Follower:
    """Hands out blocks of the files in order; each file ends with a block that is `final`.

    The consumer moves `block.start` to the first byte that it has not consumed, and asks for the next block; with a final block
    it consumes everything. Methods raise InputError when a file cannot be read, is damaged, or is not the one that a position
    names.

    With `follow`, `paths` say nothing: its patterns are expanded again and again, `next_block` waits for what is written, and
    a file is final only once it is left for a next one, or was deleted. What is missing or cannot be read is waited for. Any
    call but `close` may be cancelled and made again.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        executor: Executor,
        block_bytes: int = 1 << 20,
        max_line_bytes: int = 16_777_216,
        position: Position | None = None,
        follow: FollowSettings | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._paths = list(paths)
        self._executor = executor
        self._block_bytes = block_bytes
        self._reader = Reader(executor, block_bytes, max_line_bytes)
        self._resume = position
        self._next_path = 0
        self._consumed = position.consumed if position else ()
        self._skipped: frozenset[int] = frozenset()  # places of files that were consumed before the position
        self._warnings: tuple[str, ...] = ()
        self._read_before = 0
        self._total_bytes: int | None = None
        self._working: asyncio.Future[Any] | None = None  # what runs in a thread, beside reading
        self._settings, self._watcher = follow, watcher
        self._following: Following | None = None  # made with the first call that needs it, on its loop
        self._leaving = False  # the current file is read to its end for the last time
        self._grown_at = 0.0
        self._failures, self._retry_at = 0, 0.0  # of reading the current file, in a row
        self.waiting_for: str | None = None
        """What is missing or cannot be read, and is waited for."""
        self.at_end = False
        """Whether everything there was handed out, so that more has to be written."""
        self.rotations = 0
        """Files that were left for a next one while following."""

    @property
    def files_total_bytes(self) -> int:
        """Size on disk of all files that are there, as it was when it was asked for first, or, following, as of the last look."""
        if self._settings is not None:
            return self.bytes_read_on_disk + self.unread_bytes
        if self._total_bytes is None:
            self._total_bytes = sum(status.st_size for status in stat_all(self._paths).values())
        return self._total_bytes

    @property
    def bytes_read_on_disk(self) -> int:
        """How much of `files_total_bytes` was read."""
        file = self._reader.file
        raw = file.raw if file is not None else None
        return self._read_before + (raw.tell_compressed() if raw is not None and not raw.closed else 0)

    @property
    def unread_bytes(self) -> int:
        """Following: bytes on disk that were not read, as of the last look."""
        file = self._reader.file
        raw = file.raw if file is not None else None
        unread = raw.unread_bytes if isinstance(raw, GrowingFile) else 0
        return unread + (self._following.ahead_bytes if self._following is not None else 0)

    @property
    def skipped_files(self) -> int:
        """Following: files that will never be read."""
        return self._following.skipped_files if self._following is not None else 0

    @property
    def current_path(self) -> Path | None:
        """The file that is being read, or was read last; None before the first and after `close`."""
        return self._reader.file.path if self._reader.file is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the files, once a position was resumed from: those that will never be read.

        Following, it grows.
        """
        return self._warnings + (tuple(self._following.warnings) if self._following is not None else ())

    async def next_block(self) -> Block | None:
        """The next block, None behind the last one."""
        await self.seek()
        reader = self._reader
        is_done = reader.file is None or reader.block.final
        if is_done:
            assert reader.block.start == reader.block.end, "a final block is consumed to its end"
        if self._settings is not None:
            if is_done:
                await self._go_on()
            return await self._read_followed()
        if is_done and not await self._open_next():
            return None  # the last file stays, so that there is a position in it
        assert reader.file is not None
        count = 0
        if reader.file.raw is not None:
            try:
                count = await reader.read()
            except OSError as error:
                raise cannot_be_read(reader.file, error) from error
        block = reader.advance(count, final=count == 0)
        if count:
            reader.start_reading()
        return block

    async def seek(self) -> None:
        """Find the file of the position that was given and stand at its offset; nothing to do the second time."""
        if self._resume is None:
            return
        position = self._resume
        if self._settings is not None:
            found = await self._find_followed(position)
            path = Path(position.current.path)
        else:
            found = await self._in_thread(find, self._paths, position)
            path = self._paths[found.place] if found.raw is not None else Path(position.current.path)
            self._next_path = found.place + 1
            self._skipped, self._warnings = found.consumed, found.warnings
        self._read_before = found.read_before
        left = position.current if found.raw is None else None
        file = CurrentFile(path, found.raw, self._executor, left)
        self._reader.begin(file, position.current.offset, found.head, found.tail)
        if found.raw is not None:
            self._reader.start_reading()
        elif self._settings is not None:
            self._reader.block.final = True  # it was handed out before
        self._grown_at = time.monotonic()
        self._resume = None

    async def check_readable(self) -> None:
        """Open every file, and read the first bytes; raises InputError for what cannot be read."""
        if self._settings is not None:
            await self._in_thread(self._follow().check_readable)
        else:
            await self._in_thread(check_readable, self._paths)

    @property
    def is_last(self) -> bool:
        """Whether no file follows the current one."""
        return self._settings is None and self._place_behind() is None

    @property
    def has_position(self) -> bool:
        """Whether a file was opened, so that there is a position."""
        return self._reader.file is not None

    @property
    def files_consumed(self) -> int:
        """Number of files that were left behind."""
        return len(self._consumed)

    def mark_at(self, offset: int) -> Mark:
        """The position at a decoded offset of the current file, between the block's first byte when handed out and its end."""
        return self._reader.mark_at(offset, self._consumed)

    def position_at(self, offset: int) -> Position:
        """As `mark_at`, with its hashes."""
        return self.mark_at(offset).position()

    async def close(self) -> None:
        """Close the file; what is under way is waited for."""
        await self._settle()
        await self._reader.close()
        if self._following is not None:
            self._following.close()

    def _place_behind(self) -> int | None:
        """Place of the next file of the list; None behind the last."""
        places = range(self._next_path, len(self._paths))
        return next((place for place in places if place not in self._skipped), None)

    async def _open_next(self) -> bool:
        """Leave the file for the next one of the list; False behind the last."""
        place = self._place_behind()
        if place is None:
            return False
        raw = await self._in_thread(open_input, self._paths[place])
        # Only now: a call that failed or was cancelled is not to skip a file, and leaves the position where it is.
        self._switch(self._paths[place], raw)
        self._next_path = place + 1
        return True

    def _switch(self, path: Path, raw: InputFile) -> None:
        """The current file is consumed, and this one the current one."""
        file = self._reader.file
        if file is not None:
            disk_bytes = file.raw.tell_compressed() if file.raw is not None else 0
            self._consumed = (*self._consumed, self._reader.identity_at_end(disk_bytes))
            self._read_before += file.release()
        self._reader.begin(CurrentFile(path, raw, self._executor), 0, b"", b"")
        self._reader.start_reading()
        self._grown_at = time.monotonic()

    def _follow(self) -> Following:
        if self._following is None:
            assert self._settings is not None
            self._following = Following(self._settings, self._watcher, Bell())
        return self._following

    async def _find_followed(self, position: Position) -> Found:
        """Wait until the file of a position is there."""
        following = self._follow()
        backoff = POLL_SECONDS
        while True:
            following.bell.clear()
            found = await self._in_thread(following.find, position)
            if isinstance(found, Found):
                self.waiting_for = None
                return found
            self.waiting_for = found
            backoff = POLL_SECONDS if await self._pause(backoff) else min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _go_on(self) -> None:
        """Wait for a file that comes next, and open it."""
        following = self._follow()
        backoff = POLL_SECONDS
        while True:
            look = await self._look()
            reason = look.missing
            if look.next is not None:
                opened = await self._in_thread(following.open, look.next)
                if isinstance(opened, GrowingFile):
                    self.rotations += self._reader.file is not None
                    self._switch(look.next.path, opened)
                    following.opened(look.next)
                    self.waiting_for, self.at_end = None, False
                    return
                reason = opened
            self.waiting_for, self.at_end = reason, look.next is None and reason is None
            if reason is None:
                await self._pause(self._poll_seconds(look))
            else:
                backoff = POLL_SECONDS if await self._pause(backoff) else min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _read_followed(self) -> Block:
        """The next block of the current file, when there is more of it, or the final one, once it is to be left."""
        reader = self._reader
        while True:
            file = reader.file
            assert file is not None
            try:
                if file.raw is None:
                    await self._reopen(file)
                if not reader.is_reading:
                    if not self._leaving:
                        await self._wait_at_end(file)
                    reader.start_reading()
                count = await reader.read()
            except OSError as error:
                self._lose(file, error)
                continue
            assert isinstance(file.raw, GrowingFile)
            if count:
                self._grown_at = time.monotonic()
                self.waiting_for, self._failures = None, 0
                block = reader.advance(count, final=False)
                # Less than was asked for is the end of a plain file, for now: only a look may say that there is more.
                if count == self._block_bytes or file.raw.is_compressed:
                    reader.start_reading()
                return block
            if self._leaving:
                self._leaving = False
                block = reader.advance(0, final=True)
                file.left = reader.identity_at_end(max(1, file.raw.tell_compressed()))
                self._follow().left(file.raw, file.left)
                self._read_before += file.release()
                return block

    async def _wait_at_end(self, file: CurrentFile) -> None:
        """Come back when there is more to read of the current file, or when it is to be left. Raises OSError."""
        assert self._settings is not None
        while True:
            look = await self._look()
            self._failures = 0
            rest = time.monotonic() - self._grown_at
            step, seconds = at_end(look, rest, self._settings.rotate_wait_seconds)
            if step == "wait":
                self.waiting_for, self.at_end = look.missing, True
                rung = await self._pause(min(seconds, self._poll_seconds(look)))
                if not rung or self._follow().bell.listing_changed:
                    continue
            self.waiting_for, self.at_end = None, False
            if step == "leave":
                assert isinstance(file.raw, GrowingFile)
                file.raw.finish()
                self._leaving = True
            return

    def _lose(self, file: CurrentFile, error: OSError) -> None:
        """The current file cannot be read: to be opened again, and found where it was left."""
        self.waiting_for = f"{cannot_be_read(file, error)}"
        self._retry_at = time.monotonic() + min(POLL_SECONDS * 2**self._failures, LONGEST_BACKOFF_SECONDS)
        self._failures = min(self._failures + 1, 16)
        self.at_end = self._leaving = False
        file.release()

    async def _reopen(self, file: CurrentFile) -> None:
        reason = self.waiting_for
        await asyncio.sleep(max(0.0, self._retry_at - time.monotonic()))
        found = await self._find_followed(self.position_at(file.offset))
        assert found.raw is not None
        file.take(found.raw)
        self.waiting_for = reason  # until it can be read

    async def _look(self) -> Look:
        following = self._follow()
        file = self._reader.file
        following.bell.clear()
        if file is None:
            return await self._in_thread(following.look, None, None, self._consumed)
        consumed = self._consumed if file.left is None else (*self._consumed, file.left)
        return await self._in_thread(following.look, file.raw, self.mark_at(file.offset), consumed)

    def _poll_seconds(self, look: Look) -> float:
        """What has rested for long is looked at less often: many idle symbols are not to keep a core busy."""
        rest = time.monotonic() - self._grown_at
        if look.watched:
            return min(LONGEST_SAFETY_POLL_SECONDS, max(SAFETY_POLL_SECONDS, rest / 4))
        return min(SAFETY_POLL_SECONDS, max(POLL_SECONDS, rest / 10))

    async def _pause(self, seconds: float) -> bool:
        """Wait until something happens; whether it has within the time."""
        if not await self._follow().bell.wait(seconds):
            return False
        await asyncio.sleep(_BURST_SECONDS)
        return True

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something that may block; what a cancelled call has left behind is ended first."""
        await self._settle()
        self._working = asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        try:
            result = await asyncio.shield(self._working)
        except asyncio.CancelledError:
            raise  # it goes on, and is for `_settle` to end
        except BaseException:
            self._working = None
            raise
        self._working = None
        return result  # type: ignore[no-any-return]

    async def _settle(self) -> None:
        """Wait for what a cancelled call has begun, and close what it has opened."""
        if self._working is None:
            return
        await asyncio.wait([self._working])
        if self._working.exception() is None:
            result = self._working.result()
            raw = result.raw if isinstance(result, Found) else result
            if isinstance(raw, InputFile):
                raw.close()
        self._working = None
