"""inotify for all followers of a process: what changes in files and directories wakes those that wait for it."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from cowbook.log import get_logger

if TYPE_CHECKING:
    from asyncinotify import Event, Inotify, Watch

_MOST_EVENTS = 4_096
"""Events that are taken at once before others have their turn on the loop."""
_RETRY_SECONDS = 0.001


class Bell:
    """Wakes its follower from any thread. Made on the follower's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._rung = False
        self.listing_changed = False
        """Whether something has happened in a directory; for the follower to take back."""
        self.is_armed = False
        """Whether the next change of the file that is watched will ring it."""

    def clear(self) -> None:
        """Forget what has been rung for; to be followed by a look at everything that may have been the cause."""
        self._rung = False

    def ring(self, *, listing: bool = False) -> None:
        """Wake whoever waits, or the next one; from any thread."""
        if listing:
            self.listing_changed = True
        if not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake, True)

    async def wait(self, seconds: float) -> bool:
        """Wait until it rings; whether it has, within the time."""
        if self._rung:
            return True
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake, False)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self, rung: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(rung)


class _Directory:
    """A watched directory: who wants to know of which names in it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.names: dict[Bell, re.Pattern[str]] = {}


class Watcher:
    """One inotify instance. Opened and closed on one loop; the other methods may be called in any thread.

    Where a watch cannot be had, methods say so, and the caller has to poll.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, inotify: Inotify) -> None:
        self._loop = loop
        self._inotify = inotify
        self._lock = threading.Lock()
        self._is_open = True
        self._files: dict[int, tuple[Watch, set[Bell]]] = {}  # by watch descriptor
        self._directories: dict[int, _Directory] = {}
        self._listen()

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop) -> Watcher | None:
        """Begin to listen on a loop, in its thread; None, with a warning in the log, where there is no inotify."""
        try:
            from asyncinotify import Inotify  # noqa: PLC0415 - its import fails where there is no inotify

            inotify = Inotify(sync_timeout=0)
        except (ImportError, AttributeError, RuntimeError, UserWarning, OSError) as error:
            get_logger().warning("inotify is not to be had: followed files are looked at ten times a second", reason=str(error))
            return None
        return cls(loop, inotify)

    def close(self) -> None:
        """Stop listening, on the loop that it was opened on. Followers that still wait poll from now on."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()
            bells = self._bells()
            for bell in bells:
                bell.is_armed = False
            self._files.clear()
            self._directories.clear()
        for bell in bells:
            bell.ring(listing=True)

    def watch_file(self, descriptor: int, bell: Bell) -> bool:
        """Ring at the next change of an open file's content, once; whether that is to be had."""
        from asyncinotify import Mask  # noqa: PLC0415 - as above

        with self._lock:
            if not self._is_open:
                return False
            try:
                # By the descriptor: the name may show another file by now.
                watch = self._inotify.add_watch(f"/proc/self/fd/{descriptor}", Mask.MODIFY | Mask.ONESHOT)
            except OSError:
                return False
            self._files.setdefault(watch.wd, (watch, set()))[1].add(bell)
            bell.is_armed = True
            return True

    def watch_directories(self, directories: Mapping[str, set[str]], bell: Bell) -> tuple[bool, bool]:
        """Ring from now on when names that match appear, vanish or move in these directories, and in no others.

        Gives whether all can be watched, and whether any is watched since this call only, so that it must be looked at again.
        """
        from asyncinotify import Mask  # noqa: PLC0415 - as above

        mask = Mask.CREATE | Mask.MOVE | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR | Mask.EXCL_UNLINK
        with self._lock:
            if not self._is_open:
                return False, False
            kept = set()
            complete, is_new = True, False
            for path, names in directories.items():
                try:
                    watch = self._inotify.add_watch(path, mask)
                except OSError:
                    complete = False
                    continue
                directory = self._directories.setdefault(watch.wd, _Directory(watch))
                expression = "|".join(fnmatch.translate(name) for name in sorted(names))
                before = directory.names.get(bell)
                is_new |= before is None
                if before is not None and watch.wd in kept:  # one directory by two paths
                    expression = f"{before.pattern}|{expression}"
                directory.names[bell] = re.compile(expression)
                kept.add(watch.wd)
            self._leave_directories(bell, kept)
            return complete, is_new

    def leave_file(self, bell: Bell) -> None:
        """Do not ring for the file any more."""
        with self._lock:
            bell.is_armed = False
            if not self._is_open:
                return
            for descriptor, (watch, bells) in list(self._files.items()):
                bells.discard(bell)
                if not bells:
                    del self._files[descriptor]
                    self._remove(watch)

    def forget(self, bell: Bell) -> None:
        """Never ring it again."""
        self.leave_file(bell)
        with self._lock:
            if self._is_open:
                self._leave_directories(bell, set())

    def _bells(self) -> set[Bell]:
        of_files = {bell for _, waiting in self._files.values() for bell in waiting}
        return of_files | {bell for directory in self._directories.values() for bell in directory.names}

    def _leave_directories(self, bell: Bell, kept: set[int]) -> None:
        for descriptor, directory in list(self._directories.items()):
            if descriptor not in kept and directory.names.pop(bell, None) is not None and not directory.names:
                del self._directories[descriptor]
                self._remove(directory.watch)

    def _remove(self, watch: Watch) -> None:
        with suppress(OSError):  # it has gone with its file
            self._inotify.rm_watch(watch)

    def _listen(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._inotify.fd, self._drain)

    def _drain(self) -> None:
        # Never wait here for the lock: whoever has it may wait for a file system that has gone away.
        if not self._lock.acquire(blocking=False):
            self._loop.remove_reader(self._inotify.fd)
            self._loop.call_later(_RETRY_SECONDS, self._listen)
            return
        bells: dict[Bell, bool] = {}  # and whether for a directory
        try:
            if not self._is_open:
                return
            for _ in range(_MOST_EVENTS):
                event = self._inotify.sync_get()
                if event is None:
                    break
                self._sort(event, bells)
            else:
                self._loop.call_soon(self._drain)  # the rest may be in the library's list already
        finally:
            self._lock.release()
        for bell, listing in bells.items():
            bell.ring(listing=listing)

    def _sort(self, event: Event, bells: dict[Bell, bool]) -> None:
        """Add those whom an event concerns."""
        from asyncinotify import Mask  # noqa: PLC0415 - as above

        if event.mask & Mask.Q_OVERFLOW:
            bells.update(dict.fromkeys(self._bells(), True))
            return
        watch = event.watch
        if watch is None:
            return  # a watch for one event says farewell
        if watch.wd in self._files:
            for bell in self._files.pop(watch.wd)[1]:
                bell.is_armed = False
                bells.setdefault(bell, False)
        elif watch.wd in self._directories:
            name = None if event.name is None else str(event.name)
            waiting = self._directories[watch.wd].names.items()
            bells.update({bell: True for bell, names in waiting if name is None or names.match(name)})
            if event.mask & Mask.IGNORED:
                del self._directories[watch.wd]
