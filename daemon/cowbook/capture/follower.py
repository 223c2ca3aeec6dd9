"""The follower reads a symbol's files in order and hands out their decoded bytes as blocks.

It works in one of two modes. Without `follow` it reads a fixed list of files to its end. With `follow` it reads what the
patterns match, waits for more, and never ends.

The loop is the same in both. One file is open. While the consumer works on a block, a thread reads the next one into a
spare buffer. `next_block` puts what the consumer left of the old block in front of the new bytes, so a record that spans
two blocks is whole in the second. A read that gives nothing means the end of the file. Without `follow` the next file of
the list is opened. With `follow` the question goes to `rotation.at_end`, which knows three answers: read on, since the
file has grown; leave it for a later file; or wait. The wait ends with a bell that inotify rings or, where it is silent,
with a timer. Nothing here decides by a file's name what it contains, and no position moves before the consumer has moved it:
a call that is cancelled or fails can be made again.

Why one-shot inotify watches with a slow poll beside them, and why neither polling alone nor `watchfiles`: docs/adr/0009.
"""

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
    FRESH_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    LONGEST_SAFETY_POLL_SECONDS,
    POLL_SECONDS,
    SAFETY_POLL_SECONDS,
    FollowedFiles,
    FollowSettings,
    Observation,
    at_end,
)
from cowbook.plain.block import Block
from cowbook.plain.position import Mark, Position

T = TypeVar("T")


class Follower:
    """Hands out blocks of the files in order; each file ends with a block that is `final`.

    The consumer moves `block.start` to the first byte that it has not consumed, then asks for the next block. It must
    consume a final block to its end. Methods raise InputError when a file cannot be read, is damaged, or is not the one
    that a position names.

    With `follow`, `paths` is ignored. The patterns are expanded repeatedly, and `next_block` waits for new bytes. A file
    becomes final only when it is left for a later one or was deleted. A file that is missing or unreadable is waited for.
    Any call except `close` may be cancelled and made again.
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
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called on the loop when a check of the files shows something new without a block."""
        self._paths = list(paths)
        self._on_change = on_change
        self._shown: tuple[object, ...] = ()  # by the last check
        self._executor = executor
        self._block_bytes = block_bytes
        self._reader = Reader(executor, block_bytes, max_line_bytes)
        position = position.settled if position is not None else None
        self._resume = position
        self._next_path = 0
        self._consumed = position.consumed if position else ()
        self._skipped: frozenset[int] = frozenset()  # indices in `paths` of files that were consumed before the position
        self._warnings: tuple[str, ...] = ()
        self._read_before = 0
        self._total_bytes: int | None = None
        self._background_call: asyncio.Future[Any] | None = None  # a call in a thread, other than a read
        self._settings, self._watcher = follow, watcher
        self._followed: FollowedFiles | None = None  # made on the loop by the first call that needs it
        self._read_at_end = False  # the last read was begun with the bell armed, and came to the end of the file
        self._leaving = False  # the current file is being read to its end for the last time
        self._grown_at = 0.0
        self._failures, self._retry_at = 0, 0.0  # consecutive failures to read the current file
        self.waiting_for: str | None = None
        """The missing or unreadable file that it waits for, as a message; None when it waits for none."""
        self.at_end = False
        """Whether all bytes written so far were handed out."""
        self.rotations = 0
        """Number of files left for a later one while following."""

    @property
    def files_total_bytes(self) -> int:
        """Bytes on disk of all existing files: as of the first call or, when following, as of the last check."""
        if self._settings is not None:
            return self.bytes_read_on_disk + self.unread_bytes
        if self._total_bytes is None:
            self._total_bytes = sum(status.st_size for status in stat_all(self._paths).values())
        return self._total_bytes

    @property
    def bytes_read_on_disk(self) -> int:
        """Bytes of `files_total_bytes` that were read."""
        file = self._reader.file
        raw = file.raw if file is not None else None
        return self._read_before + (raw.tell_compressed() if raw is not None and not raw.closed else 0)

    @property
    def unread_bytes(self) -> int:
        """Bytes on disk not yet read, as of the last check; only when following."""
        file = self._reader.file
        raw = file.raw if file is not None else None
        unread = raw.unread_bytes if isinstance(raw, GrowingFile) else 0
        return unread + (self._followed.unread.ahead_bytes if self._followed is not None else 0)

    @property
    def skipped_files(self) -> int:
        """Number of files that will never be read; only when following."""
        return self._followed.unread.skipped_files if self._followed is not None else 0

    @property
    def current_path(self) -> Path | None:
        """The file being read, or read last. None before the first file and after `close`."""
        return self._reader.file.path if self._reader.file is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user, such as files that will never be read. Complete after `seek`; grows when following."""
        return self._warnings + (tuple(self._followed.unread.warnings) if self._followed is not None else ())

    async def next_block(self) -> Block | None:
        """Return the next block, or None after the last one."""
        await self.seek()
        reader = self._reader
        is_done = reader.file is None or reader.block.final
        if is_done:
            assert reader.block.start == reader.block.end, "a final block is consumed to its end"
        if self._settings is not None:
            if is_done:
                await self._open_next_followed()
            return await self._read_followed()
        if is_done and not await self._open_next():
            return None  # the last file stays current, so that a position in it can be asked for
        while True:
            block = await self._read_listed()
            if block is not None:
                return block

    async def _read_listed(self) -> Block | None:
        """Read on in a file that is not followed. Returns None if the consumer can do nothing with the bytes yet."""
        reader = self._reader
        assert reader.file is not None
        count = 0
        if reader.file.raw is not None:
            try:
                count = await reader.read()
            except OSError as error:
                raise cannot_be_read(reader.file, error) from error
        is_held_back = count > 0 and reader.hold_back(count)
        block = reader.block if is_held_back else reader.advance(count, final=count == 0)
        if count:
            reader.start_reading()
        elif block.damage is not None and reader.file.raw is not None:
            # Behind the damage no byte of the file is left that a position could tell from the one before it.
            reader.file.left = reader.identity_at_end(max(1, reader.file.raw.tell_compressed()))
        return None if is_held_back else block

    async def seek(self) -> None:
        """Find the file of the given position and go to its offset. Does nothing when called again."""
        if self._resume is None:
            return
        position = self._resume
        if self._settings is not None:
            found = await self._find_followed(position)
            path = Path(position.current.path)
        else:
            found = await self._in_thread(find, self._paths, position)
            path = self._paths[found.index] if found.raw is not None else Path(position.current.path)
            self._next_path = found.index + 1
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
        """Open every file and read its first byte. Raises InputError for a file that cannot be read."""
        if self._settings is not None:
            await self._in_thread(self._followed_files().check_readable)
        else:
            await self._in_thread(check_readable, self._paths)

    @property
    def is_last(self) -> bool:
        """Whether no file follows the current one."""
        return self._settings is None and self._next_index() is None

    @property
    def has_position(self) -> bool:
        """Whether a file was opened, so that a position exists."""
        return self._reader.file is not None

    @property
    def files_consumed(self) -> int:
        """Number of files read to their end and left."""
        return len(self._consumed)

    def mark_at(self, offset: int) -> Mark:
        """Return the position at a decoded offset of the current file.

        The offset must lie between the block's first byte, as it was handed out, and the block's end. Behind damage at the
        file's end, the position is that of a file that was left.
        """
        return self._reader.mark_at(offset, self._consumed)

    def position_at(self, offset: int) -> Position:
        """As `mark_at`, with the hashes computed."""
        return self.mark_at(offset).position()

    async def close(self) -> None:
        """Close the file, after waiting for any call in a thread to end."""
        await self._end_background_call()
        await self._reader.close()
        if self._followed is not None:
            self._followed.close()

    def _next_index(self) -> int | None:
        """Index of the list's next file; None after the last."""
        indices = range(self._next_path, len(self._paths))
        return next((index for index in indices if index not in self._skipped), None)

    async def _open_next(self) -> bool:
        """Leave the file for the list's next one. Returns False after the last."""
        index = self._next_index()
        if index is None:
            return False
        raw = await self._in_thread(open_input, self._paths[index])
        # Switch only after the open succeeded: a failed or cancelled call must neither skip a file nor move the position.
        self._switch_to(self._paths[index], raw)
        self._next_path = index + 1
        return True

    def _switch_to(self, path: Path, raw: InputFile) -> None:
        """Record the current file as consumed, and make this one current."""
        file = self._reader.file
        if file is not None:
            disk_bytes = max(1, file.raw.tell_compressed()) if file.raw is not None else 0
            self._consumed = (*self._consumed, self._reader.identity_at_end(disk_bytes))
            self._read_before += file.release()
        self._reader.begin(CurrentFile(path, raw, self._executor), 0, b"", b"")
        self._reader.start_reading()
        self._grown_at = time.monotonic()

    def _followed_files(self) -> FollowedFiles:
        if self._followed is None:
            assert self._settings is not None
            self._followed = FollowedFiles(self._settings, self._watcher, Bell(self._settings.follow_delay_seconds))
        return self._followed

    async def _find_followed(self, position: Position) -> Found:
        """Wait until a position's file exists, and open it there."""
        files = self._followed_files()
        backoff = POLL_SECONDS
        while True:
            files.bell.clear()
            found = await self._in_thread(files.find, position)
            if isinstance(found, Found):
                self._report_waiting(None)
                return found
            self._report_waiting(found)
            backoff = POLL_SECONDS if await self._wait_for_bell(backoff) else min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _open_next_followed(self) -> None:
        """Wait for the next file, and open it."""
        files = self._followed_files()
        backoff = POLL_SECONDS
        while True:
            seen = await self._observe()
            reason = seen.missing
            if seen.next is not None and not seen.fresh:
                await self._wait_for_bell(FRESH_SECONDS)
                continue
            if seen.next is not None:
                opened = await self._in_thread(files.open, seen.next)
                if isinstance(opened, GrowingFile):
                    self.rotations += self._reader.file is not None
                    self._switch_to(seen.next.path, opened)
                    files.mark_opened(seen.next)
                    self._report_waiting(None)
                    self.at_end = False
                    return
                reason = opened
            self._report_waiting(reason)
            self.at_end = seen.next is None and reason is None
            if reason is None:
                await self._wait_for_bell(self._poll_seconds(seen))
            else:
                backoff = POLL_SECONDS if await self._wait_for_bell(backoff) else min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _read_followed(self) -> Block:
        """Wait for more of the current file and return it, or return the final block once the file is to be left."""
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
                    if not reader.is_reading:
                        self._start_reading_at_end(file.raw)
                count = await reader.read()
            except OSError as error:
                self._release_unreadable(file, error)
                continue
            assert isinstance(file.raw, GrowingFile)
            if count:
                block = self._take(file.raw, count)
                if block is not None:
                    return block
                continue
            self._read_at_end = False
            if self._leaving:
                self._leaving = False
                block = reader.advance(0, final=True)
                file.left = reader.identity_at_end(max(1, file.raw.tell_compressed()))
                self._followed_files().mark_left(file.raw, file.left)
                self._read_before += file.release()
                return block

    def _take(self, raw: GrowingFile, count: int) -> Block | None:
        """The block of the bytes just read; None if the consumer can do nothing with them yet."""
        reader = self._reader
        self._grown_at = time.monotonic()
        self._report_waiting(None)
        self._failures = 0
        block = None if reader.hold_back(count) else reader.advance(count, final=False)
        # A short read means the end of a plain file for now. Whether there is more is decided by the next check.
        if count == self._block_bytes or raw.is_compressed:
            self._read_at_end = False
            reader.start_reading()
        return block

    async def _wait_at_end(self, file: CurrentFile) -> None:
        """Return when the current file has more to read, or is to be left. Raises OSError."""
        assert self._settings is not None
        while True:
            if self._read_at_end:  # the bell will ring for what comes after that read: nothing else is new
                self._read_at_end = False
                seen = Observation(watched=True)
            else:
                seen = await self._observe()
            self._failures = 0
            rest = time.monotonic() - self._grown_at
            step, seconds = at_end(seen, rest, self._settings.rotate_wait_seconds)
            if step == "wait":
                self._report_waiting(seen.missing)
                self.at_end = True
                rung = await self._wait_for_append(file, min(seconds, self._poll_seconds(seen)))
                if self._reader.is_reading:
                    self._report_waiting(None)
                    self.at_end = False
                    return
                if not rung or self._followed_files().bell.listing_changed:
                    continue
            self._report_waiting(None)
            self.at_end = False
            if step == "leave":
                assert isinstance(file.raw, GrowingFile)
                file.raw.finish()
                self._leaving = True
            return

    async def _wait_for_append(self, file: CurrentFile, seconds: float) -> bool:
        """As `_wait_for_bell`, but what is appended meanwhile may have been read already: then a read has been started."""
        bell = self._followed_files().bell
        assert isinstance(file.raw, GrowingFile)
        if not bell.is_armed or file.raw.is_compressed:
            return await self._wait_for_bell(seconds)
        offer = bell.offer = self._reader.offer_reading(self._reading_with_bell_armed(file.raw))
        try:
            return await self._wait_for_bell(seconds)
        finally:
            bell.offer = None
            self._read_at_end = not offer.take_back()
            if not self._read_at_end:
                self._reader.forget_offer()

    def _start_reading_at_end(self, raw: InputFile | None) -> None:
        """Read what was appended, or the rest of a file that is left."""
        assert isinstance(raw, GrowingFile)
        self._read_at_end = not self._leaving and self._watcher is not None and not raw.is_compressed
        if self._read_at_end:
            self._followed_files().bell.clear()
            self._reader.start_calling(self._reading_with_bell_armed(raw))
        else:
            self._reader.start_reading()

    def _reading_with_bell_armed(self, raw: GrowingFile) -> Callable[[memoryview], int]:
        """A read before which the bell is armed, so that no append falls between the two."""
        files = self._followed_files()

        def read(view: memoryview) -> int:
            files.arm(raw)
            return raw.readinto(view)

        return read

    def _release_unreadable(self, file: CurrentFile, error: OSError) -> None:
        """Release a file that could not be read, to be found and opened again at the same offset."""
        self._report_waiting(f"{cannot_be_read(file, error)}")
        self._retry_at = time.monotonic() + min(POLL_SECONDS * 2**self._failures, LONGEST_BACKOFF_SECONDS)
        self._failures = min(self._failures + 1, 16)
        self.at_end = self._leaving = False
        file.release()

    async def _reopen(self, file: CurrentFile) -> None:
        reason = self.waiting_for
        await asyncio.sleep(max(0.0, self._retry_at - time.monotonic()))
        found = await self._find_followed(self.mark_at(file.offset).exact_position())
        assert found.raw is not None
        file.attach(found.raw)
        self._report_waiting(reason)  # opened is not yet readable: the next successful read clears it

    async def _observe(self) -> Observation:
        files = self._followed_files()
        file = self._reader.file
        files.bell.clear()
        if file is None:
            seen = await self._in_thread(files.observe, None, None, self._consumed)
        else:
            consumed = self._consumed if file.left is None else (*self._consumed, file.left)
            seen = await self._in_thread(files.observe, file.raw, self.mark_at(file.offset), consumed)
            file.begins_ns = files.begins_ns
        shown = self.unread_bytes, self.skipped_files, len(self.warnings), self.rotations
        if shown != self._shown:
            self._shown = shown
            self._on_change()
        return seen

    def _report_waiting(self, reason: str | None) -> None:
        if reason != self.waiting_for:
            self.waiting_for = reason
            self._on_change()

    def _poll_seconds(self, seen: Observation) -> float:
        """Seconds until the next check. A file idle for long is checked less often, so that many of them do not load a core."""
        rest = time.monotonic() - self._grown_at
        if seen.watched:
            return min(LONGEST_SAFETY_POLL_SECONDS, max(SAFETY_POLL_SECONDS, rest / 4))
        return min(SAFETY_POLL_SECONDS, max(POLL_SECONDS, rest / 10))

    async def _wait_for_bell(self, seconds: float) -> bool:
        """Wait until the bell rings. Returns False if it did not within `seconds`."""
        return await self._followed_files().bell.wait(seconds)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in a thread, after the call that a cancelled caller left behind has ended."""
        await self._end_background_call()
        self._background_call = asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        try:
            result = await asyncio.shield(self._background_call)
        except asyncio.CancelledError:
            raise  # the thread goes on; `_end_background_call` waits for it
        except BaseException:
            self._background_call = None
            raise
        self._background_call = None
        return result  # type: ignore[no-any-return]

    async def _end_background_call(self) -> None:
        """Wait for the call that a cancelled caller left behind, and close the file that it opened."""
        if self._background_call is None:
            return
        await asyncio.wait([self._background_call])
        if self._background_call.exception() is None:
            result = self._background_call.result()
            raw = result.raw if isinstance(result, Found) else result
            if isinstance(raw, InputFile):
                raw.close()
        self._background_call = None
