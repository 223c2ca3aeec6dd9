"""One inotify instance for all followers of the process: it wakes a follower when its file or directories change (ADR 9)."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cowbook.log import get_logger

if TYPE_CHECKING:
    from asyncinotify import Event, Inotify, Mask, Watch

_MOST_EVENTS = 4_096
"""Events handled in one turn of the loop, so that other callbacks are not held up."""
_RETRY_SECONDS = 0.001
_PAUSE_SECONDS = 0.02
"""Events are taken at most so often: what comes meanwhile is taken together, and wakes nobody by itself."""


_TURN_SECONDS = 0.01
"""How long a follower waits for the one before it."""
_OVERFLOW, _IGNORED = 0x4000, 0x8000  # of inotify(7); operations on the library's flags take microseconds


@cache
def _once() -> Mask:
    """The mask of a watch that fires once."""
    from asyncinotify import Mask  # noqa: PLC0415 - as below

    return Mask.MODIFY | Mask.ONESHOT


@cache
def _descriptor_path(descriptor: int) -> Path:
    """An open file's path by its descriptor: its name may show another file by now."""
    return Path(f"/proc/self/fd/{descriptor}")


class OfferedRead:
    """A read that is made, in whatever thread, when the bell would ring: its follower is then woken with the bytes in hand.

    Must be made on the follower's loop. The follower takes the offer back before it touches the file itself.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_open = True
        self.count: asyncio.Future[int] = self._loop.create_future()
        """What the read returned, or raised."""

    def take_back(self) -> bool:
        """Returns False if the read has begun: then `count` will come."""
        with self._lock:
            is_open, self._is_open = self._is_open, False
            return is_open

    def perform(self) -> Callable[[], None] | None:
        """Read, in the calling thread. Returns what wakes the follower; None if the offer was taken back."""
        if not self.take_back():
            return None
        try:
            count = self._read()
        except Exception as error:  # noqa: BLE001 - the follower raises it
            return partial(self._tell, self.count.set_exception, error)
        return partial(self._tell, self.count.set_result, count)

    def _tell(self, tell: Callable[[Any], None], value: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(tell, value)


class Turns:
    """Wakes followers one after the other: who waits again after its work has the next one woken.

    Threads that are woken all at once spend more time on passing the interpreter's lock around than on a few lines each.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Bell, Callable[[], None]]] = deque()

    def add(self, bell: Bell, wake: Callable[[], None]) -> None:
        """Have a follower woken in its turn, in any thread."""
        self._waiting.append((bell, wake))

    def next(self) -> bool:
        """Wake the next one, from any thread. Returns False if there is none."""
        try:
            bell, wake = self._waiting.popleft()
        except IndexError:
            return False
        bell.turns = self
        wake()
        return True


class Bell:
    """Wakes one follower, from any thread. Must be made on the follower's loop."""

    def __init__(self, delay_seconds: float = 0.0) -> None:
        """`delay_seconds`: how long a change may wait for others, so that all bells of this delay ring together."""
        self.delay_seconds = delay_seconds
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._rung = False
        self.listing_changed = False
        """Whether a directory has changed. The follower resets it."""
        self.is_armed = False
        """Whether the next change of the watched file will ring the bell."""
        self.offer: OfferedRead | None = None
        """What to do instead of ringing when the watched file has grown."""
        self.turns: Turns | None = None
        """Whose turn this is until it is waited again, so that the next one can be woken then."""

    def clear(self) -> None:
        """Forget earlier rings. The caller must then check everything that may have rung."""
        self._rung = False

    def ring(self, *, listing: bool = False) -> None:
        """Wake the waiter, or make the next wait return at once. May be called from any thread."""
        if listing:
            self.listing_changed = True
        if not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._finish_wait, True)

    async def wait(self, seconds: float) -> bool:
        """Wait until the bell rings or the offered read is made. Returns False if neither happened within `seconds`."""
        turns, self.turns = self.turns, None
        if turns is not None:
            turns.next()
        if self._rung:
            return True
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._finish_wait, False)
        if self.offer is not None:
            self.offer.count.add_done_callback(lambda _: self._finish_wait(True))
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _finish_wait(self, rung: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(rung)


class _Directory:
    """A watched directory, with the names that each bell is to be rung for."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.names: dict[Bell, re.Pattern[str]] = {}


class Watcher:
    """One inotify instance. Opened and closed on one loop; the other methods may be called from any thread.

    Methods tell the caller when no watch is available, so that it polls instead.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, inotify: Inotify, readers: Executor | None = None) -> None:
        self._loop = loop
        self._readers = readers
        self._inotify = inotify
        self._lock = threading.Lock()
        self._is_open = True
        self._files: dict[int, tuple[Watch, set[Bell]]] = {}  # by watch descriptor
        self._directories: dict[int, _Directory] = {}
        self._due: dict[float, dict[Bell, bool]] = {}  # bells to ring, by the loop's time, and whether for a directory
        self._turns = Turns()
        self._is_urging = False  # a timer goes on with the turns where a follower takes long
        self._listen()

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop, readers: Executor | None = None) -> Watcher | None:
        """Start listening on a loop, in its thread. Returns None, with a warning in the log, where inotify is unavailable.

        With `readers` the reads that followers offer are made in its threads, those of one moment together.
        """
        try:
            from asyncinotify import Inotify  # noqa: PLC0415 - its import fails where there is no inotify

            inotify = Inotify(sync_timeout=0)
        except (ImportError, AttributeError, RuntimeError, UserWarning, OSError) as error:
            get_logger().warning("inotify is not available: followed files are polled ten times a second", reason=str(error))
            return None
        return cls(loop, inotify, readers)

    def close(self) -> None:
        """Stop listening; to be called on the loop of `open`. Followers that still wait will poll."""
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
        """Ring once, at the next change of an open file's content. Returns False where no watch is available."""
        with self._lock:
            if not self._is_open:
                return False
            try:
                watch = self._inotify.add_watch(_descriptor_path(descriptor), _once())
            except OSError:
                return False
            self._files.setdefault(watch.wd, (watch, set()))[1].add(bell)
            bell.is_armed = True
            return True

    def watch_directories(self, directories: Mapping[str, set[str]], bell: Bell) -> tuple[bool, bool]:
        """Ring whenever a matching name appears, vanishes or moves in these directories, and no longer for any others.

        `directories` maps a path to glob patterns of names. Returns whether all are watched, and whether any watch is new: the
        caller must list the directories again, since a change before the watch did not ring.
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
            self._unwatch_directories(bell, kept)
            return complete, is_new

    def unwatch_file(self, bell: Bell) -> None:
        """Stop ringing for the file."""
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
        """Drop all watches of this bell."""
        self.unwatch_file(bell)
        with self._lock:
            if self._is_open:
                self._unwatch_directories(bell, set())

    def _bells(self) -> set[Bell]:
        of_files = {bell for _, waiting in self._files.values() for bell in waiting}
        return of_files | {bell for directory in self._directories.values() for bell in directory.names}

    def _unwatch_directories(self, bell: Bell, kept: set[int]) -> None:
        for descriptor, directory in list(self._directories.items()):
            if descriptor not in kept and directory.names.pop(bell, None) is not None and not directory.names:
                del self._directories[descriptor]
                self._remove(directory.watch)

    def _remove(self, watch: Watch) -> None:
        with suppress(OSError):  # the kernel dropped it with the file
            self._inotify.rm_watch(watch)

    def _listen(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._inotify.fd, self._drain)

    def _perform(self, offers: list[tuple[Bell, OfferedRead]]) -> None:
        for bell, offer in offers:
            self._turns.add(bell, offer.perform() or bell.ring)
        self._turns.next()

    def _urge(self) -> None:
        self._is_urging = self._turns.next()
        if self._is_urging:
            self._loop.call_later(_TURN_SECONDS, self._urge)

    def _drain(self) -> None:
        # Never block the loop on the lock: its holder may be stuck on a file system that has gone away.
        if not self._lock.acquire(blocking=False):
            self._loop.remove_reader(self._inotify.fd)
            self._loop.call_later(_RETRY_SECONDS, self._listen)
            return
        bells: dict[Bell, bool] = {}  # to whether a directory has changed
        try:
            if not self._is_open:
                return
            for _ in range(_MOST_EVENTS):
                event = self._inotify.sync_get()
                if event is None:
                    break
                self._collect_bells(event, bells)
            else:
                # The library may hold the rest in its own queue already, so the descriptor need not become readable again.
                self._loop.call_soon(self._drain)
        finally:
            self._lock.release()
        self._loop.remove_reader(self._inotify.fd)
        self._loop.call_later(_PAUSE_SECONDS, self._listen)
        self._deliver({bell: listing for bell, listing in bells.items() if bell.delay_seconds <= _PAUSE_SECONDS})
        for bell, listing in bells.items():
            if bell.delay_seconds > _PAUSE_SECONDS:
                self._deliver_later(bell, listing=listing)

    def _deliver_later(self, bell: Bell, *, listing: bool) -> None:
        """Deliver at the next multiple of the bell's delay, with all others of the same delay."""
        due = (self._loop.time() // bell.delay_seconds + 1) * bell.delay_seconds
        if due not in self._due:
            self._due[due] = {}
            self._loop.call_at(due, lambda: self._deliver(self._due.pop(due)))
        self._due[due][bell] = listing or self._due[due].get(bell, False)

    def _deliver(self, bells: dict[Bell, bool]) -> None:
        """Ring bells, or have the reads made that their followers offer."""
        offers: list[tuple[Bell, OfferedRead]] = []
        for bell, listing in bells.items():
            offer = bell.offer
            if listing or offer is None or self._readers is None:
                bell.ring(listing=listing)
            else:
                offers.append((bell, offer))
        if offers and self._readers is not None:
            self._readers.submit(self._perform, offers)
            if not self._is_urging:
                self._is_urging = True
                self._loop.call_later(_TURN_SECONDS, self._urge)

    def _collect_bells(self, event: Event, bells: dict[Bell, bool]) -> None:
        """Add the bells that an event concerns."""
        mask = event.mask.value
        if mask & _OVERFLOW:
            bells.update(dict.fromkeys(self._bells(), True))
            return
        watch = event.watch
        if watch is None:
            return  # IGNORED of a one-shot watch that has fired
        if watch.wd in self._files:
            for bell in self._files.pop(watch.wd)[1]:
                bell.is_armed = False
                bells.setdefault(bell, False)
        elif watch.wd in self._directories:
            name = None if event.name is None else str(event.name)
            waiting = self._directories[watch.wd].names.items()
            bells.update({bell: True for bell, names in waiting if name is None or names.match(name)})
            if mask & _IGNORED:
                del self._directories[watch.wd]
