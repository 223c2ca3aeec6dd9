"""Decides what a follower does at the end of the current file: read on, wait, or leave it for the next one.

At the end of the current file, `observe` arms the file's watch first and checks its size second, so no growth falls between
the two. If the file has not grown, the listing is brought up to date, and unread_files.py tells what is to be read next.

The current file is left only if another one is to be read, or it was deleted, and only after `rotate_wait` without growth: the
writer may still hold the old file open after the rename. The wait counts from the last growth, but not from before the next
file was first seen. Both are told by this process's own clock: since when it has seen a file unchanged. Modification times may
be a file server's, behind or ahead. A file that grows after it was left is an error, because its new bytes would be lost.

Waiting is cheap: the watch fires once and is armed again only at the next wait, and a slow poll covers network file systems,
where inotify is silent. docs/adr/0009 says why not polling alone (late, or a load on the core with 200 symbols), `watchfiles`
(a thread that wakes every few milliseconds), or an inotify instance for each symbol (the system allows 128).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.inotify import Bell, Watcher
from cowbook.capture.live_listing import LiveListing, stamp_of
from cowbook.capture.paths import Entry, key_of, list_files
from cowbook.capture.resume import Found, InputFile, Unfound, check_readable, find_current, open_input, stat_all
from cowbook.capture.unread_files import Current, UnreadFiles
from cowbook.capture.written_order import Starts, TimeOf
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Mark, Position

POLL_SECONDS = 0.1
"""Interval of polling where no watch is available; up to SAFETY_POLL_SECONDS for a file that has been idle for long."""
SAFETY_POLL_SECONDS = 1.0
"""Interval of polling beside a watch, since a network file system does not report what other machines write."""
LONGEST_SAFETY_POLL_SECONDS = 10.0
"""The same for a file that has been idle for long."""
LONGEST_BACKOFF_SECONDS = 5.0
FRESH_SECONDS = 0.05
"""How soon to check again when the listing could not be refreshed, or is not settled."""


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """Which files to follow, and how long a file must be idle before it is left."""

    patterns: tuple[str, ...]
    """Paths and globs, relative to `base_dir`."""
    base_dir: Path
    rotate_wait_seconds: float = 5.0
    follow_delay_seconds: float = 0.0
    """How long an append may wait for others, of all files, so that they are taken with one wake-up."""
    time_of: TimeOf | None = None
    """Tells the time of a file's first records. Without it files go by their names and modification times."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of the current file and of what may follow it."""

    grown: bool = False
    """The current file has more to read."""
    gone: bool = False
    """The current file was deleted."""
    next: Entry | None = None
    """The file to read next."""
    missing: str | None = None
    """A missing file that must be read before any other, as a message."""
    known_seconds: float = 0.0
    """For how long the current file has been gone, or a next one has been there."""
    rest_seconds: float = 0.0
    """For how long the listings have shown the current file as it is."""
    fresh: bool = True
    """Whether the listing is up to date and settled."""
    watched: bool = False
    """Whether inotify will ring the bell at the next change."""


def at_end(seen: Observation, rest_seconds: float, rotate_wait_seconds: float) -> tuple[Literal["read", "leave", "wait"], float]:
    """Decide what to do at the end of the current file.

    `rest_seconds` is how long the follower has seen no growth. Returns the step and, for "wait", the seconds after which to
    check again at the latest; infinite means at the next ring or poll.
    """
    if seen.grown:
        return "read", 0.0
    if seen.next is None and not seen.gone:
        return "wait", math.inf
    left = rotate_wait_seconds - min(max(rest_seconds, seen.rest_seconds), seen.known_seconds)
    if left > 0:
        return "wait", left
    return ("leave", 0.0) if seen.fresh else ("wait", FRESH_SECONDS)


class FollowedFiles:
    """What is known of the files that a follower reads. Methods may block, and must be called by one thread at a time."""

    def __init__(self, settings: FollowSettings, watcher: Watcher | None, bell: Bell) -> None:
        self.settings = settings
        self.bell = bell
        self._watcher = watcher
        self._watched: GrowingFile | None = None
        self._files = LiveListing(settings.patterns, settings.base_dir, watcher, bell)
        self.unread = UnreadFiles(self._files, Starts(settings.time_of, growing=True), len(settings.patterns))
        self._current: Current | None = None

    @property
    def begins_ns(self) -> int | None:
        """Time of the current file's first records; None if it is not known, or not yet."""
        return self._current.begins_ns if self._current is not None else None

    def check_readable(self) -> None:
        """Raises InputError when an existing file cannot be read."""
        check_readable([entry.path for entry in list_files(self.settings.patterns, self.settings.base_dir).entries])

    def close(self) -> None:
        """Drop all watches."""
        if self._watcher is not None:
            self._watcher.forget(self.bell)

    def find(self, position: Position) -> Found | str:
        """Open a position's file at its offset. Returns a message instead if the file is missing but may still come.

        Raises InputError when it was truncated or replaced, or when a consumed file has grown.
        """
        self._files.refresh(force=True)
        assert self._files.listing is not None
        entries = self._files.listing.entries
        current = position.current
        if current.disk_bytes:
            key = key_of(current.path, self.settings.patterns, self.settings.base_dir)
            self._current = Current({current.path}, key, begins_ns=current.begins_ns)
            self.unread.classify(None, self._current, (*position.consumed, current))
            return Found(-1, None)
        paths = [entry.path for entry in entries]

        # A few bytes, such as a header, may be those of several files: the oldest that was not consumed is meant, whatever it is
        # called by now. Inodes are used again, too.
        ranks = self.unread.ranks(entries) if current.offset < IDENTITY_BYTES else None

        def order(index: int) -> int:
            if ranks is not None:
                return ranks[index]
            is_inode = entries[index].inode == (current.device, current.inode)
            is_path = str(paths[index]) == current.path
            return 0 if is_inode and is_path else 1 if is_inode else 2 if is_path else 3

        statuses = {index: entry.status for index, entry in enumerate(entries)}
        found = find_current(paths, statuses, position, order=order, open_file=GrowingFile)
        if isinstance(found, Unfound):
            outside = self._find_unlisted(paths, position)
            if outside is None and not found.may_come and self._files.is_settled:
                raise InputError(found.text)
            if outside is None:
                return found.text
            found = outside
            key = key_of(current.path, self.settings.patterns, self.settings.base_dir)
            self._current = Current({current.path}, key, begins_ns=current.begins_ns)
        else:
            entry = entries[found.index]
            self._current = Current({current.path, str(entry.path)}, entry.key, entry, current.begins_ns)
        assert isinstance(found.raw, GrowingFile)
        try:
            self.unread.classify(found.raw, self._current, position.consumed)
        except BaseException:
            found.raw.close()
            raise
        return found

    def _find_unlisted(self, paths: list[Path], position: Position) -> Found | None:
        """Open a position's file at its own path if no pattern matches it any more: a symlink or the patterns have changed."""
        path = Path(position.current.path)
        if path in paths or not path.is_file():
            return None
        found = find_current([path], stat_all([path]), position, order=lambda _: 0, open_file=GrowingFile)
        return found if isinstance(found, Found) else None

    def open(self, entry: Entry) -> GrowingFile | str | None:
        """Open the next file. Returns a message if it cannot be opened, None if its name now belongs to another file."""
        try:
            raw = open_input(entry.path, GrowingFile)
        except InputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self.bell.listing_changed = True
            if error.__cause__ is not None:
                return str(error).removesuffix("; correct that and restart")
            raise
        assert isinstance(raw, GrowingFile)
        status, _ = raw.look()
        if (status.st_dev, status.st_ino) != entry.inode:
            raw.close()
            self.bell.listing_changed = True
            return None
        return raw

    def mark_opened(self, entry: Entry) -> None:
        """Record that `entry` is now the current file."""
        self.unread.remove_from_ahead(entry)
        self._current = Current({str(entry.path)}, entry.key, entry, self.unread.start_of(entry).begins_ns)

    def mark_left(self, raw: GrowingFile, identity: FileIdentity) -> None:
        """Record that the current file was read to its end and left."""
        self.unread.claim(os.fstat(raw.fileno()), identity)

    def observe(self, raw: InputFile | None, mark: Mark | None, consumed: tuple[FileIdentity, ...]) -> Observation:
        """Check the current file and, unless it has more to read, what follows it.

        If the current file was left, `raw` is None and `consumed` ends with it. Raises InputError when a file was truncated or
        replaced, or has grown after it was left, and OSError when the current file cannot be checked.
        """
        rest = 0.0
        is_watched = is_gone = False
        if raw is not None:
            assert isinstance(raw, GrowingFile)
            is_watched = self._watch_current(raw)
            status, more = raw.look()
            if more:
                return Observation(grown=True)
            now = time.monotonic()
            rest = now - self._files.unchanged_since.get(stamp_of(status), now)
            is_gone = status.st_nlink == 0
        else:
            is_watched = self._watcher is not None
        fresh = self._files.refresh()
        if not self.unread.is_up_to_date:
            self.unread.classify(raw, self._current, consumed, mark)
        next_file = self.unread.find_next(raw, consumed)
        missing = self.unread.find_missing(raw, self._current, next_file, consumed)
        now = time.monotonic()
        known = self._files.since.get(next_file.inode, now) if next_file is not None and missing is None else math.inf
        if self._current is not None:
            self._current.gone_since = (self._current.gone_since or now) if is_gone else None
            known = min(known, self._current.gone_since or math.inf)
        return Observation(
            gone=is_gone,
            next=next_file if missing is None else None,
            missing=missing,
            known_seconds=now - known if known < math.inf else 0.0,
            rest_seconds=rest,
            fresh=fresh,
            watched=is_watched and self._files.is_watched,
        )

    def arm(self, raw: GrowingFile) -> None:
        """Have the bell ring at the next append. `is_armed` of the bell says whether it will."""
        self._watch_current(raw)

    def _watch_current(self, raw: GrowingFile) -> bool:
        """Watch the open file for its next change. Returns False where no watch is available."""
        if self._watcher is None:
            return False
        if raw is not self._watched:
            self._watcher.unwatch_file(self.bell)
            self._watched = raw
        return self.bell.is_armed or self._watcher.watch_file(raw.fileno(), self.bell)
