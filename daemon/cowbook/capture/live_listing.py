"""Keeps the listing of the patterns up to date without expanding them each time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cowbook.capture.inotify import Bell, Watcher
from cowbook.capture.paths import Listing, directories_of, list_files

_LISTING_SECONDS = 10.0  # the patterns are expanded at least this often, even if nothing seems to have changed
_WATCHED_LISTING_SECONDS = 60.0  # the same where inotify watches, too
_STAMP_SECONDS = 0.05
"""A directory's modification time may be this coarse, so a change so soon after another one may not show in it. A listing that
meets a new modification time is made again after this long, by this machine's clock: the other one may be a file server's."""

Stamp = tuple[int, int, int, int]
"""Device, inode, size and modification time (ns). Equal stamps mean the same, unchanged file."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file's status."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class LiveListing:
    """Expands the patterns when the bell or a directory's modification time says so, and every ten seconds."""

    def __init__(self, patterns: Sequence[str], base: Path, watcher: Watcher | None, bell: Bell) -> None:
        self._patterns, self._base = patterns, base
        self._watcher, self._bell = watcher, bell
        self._listed_at = 0.0  # monotonic
        self._again_at: float | None = None  # monotonic; see _STAMP_SECONDS
        self._stamps: dict[str, int] = {}
        self._not_before = 0.0
        self.listing: Listing | None = None
        """The last listing; a new object after each expansion."""
        self.is_watched = False
        """Whether inotify watches all directories."""
        self.is_settled = False
        """Whether the last two listings were equal. One alone may miss a file that was renamed while the names were listed."""
        self.since: dict[tuple[int, int], float] = {}
        """Since when each listed inode has been listed, monotonic."""
        self.unchanged_since: dict[Stamp, float] = {}
        """Since when each listed file has been seen as it is, monotonic."""
        self.doubtful: dict[Path, Stamp] = {}
        """Files whose growth calls for a new listing."""

    def refresh(self, *, force: bool = False) -> bool:
        """Make a new listing if needed. Returns whether it is settled.

        Raises InputError as `list_files`.
        """
        if not (force or self.listing is None or self._bell.listing_changed or self._is_stale()):
            return self.is_settled
        started = time.monotonic()
        if started < self._not_before and not force:
            return False
        self._bell.listing_changed = False
        listing = list_files(self._patterns, self._base)
        directories = directories_of(self._patterns, self._base, listing)
        stamps = {directory: _modified_ns(directory) for directory in directories}
        self.is_settled = self.listing is not None and _names(listing) == _names(self.listing)
        is_certain, self._stamps = self.is_settled and stamps == self._stamps, stamps
        if self._watcher is not None:
            self.is_watched, is_new = self._watcher.watch_directories(directories, self._bell)
            if is_new:  # something may have changed between the listing and the watch
                self._bell.listing_changed = True
        self._listed_at = time.monotonic()
        self._again_at = None if is_certain else self._listed_at + _STAMP_SECONDS
        # A large, busy directory must not keep a core busy: listing takes at most a tenth of the time.
        self._not_before = self._listed_at + 10 * (self._listed_at - started)
        self.since = {entry.inode: self.since.get(entry.inode, started) for entry in listing.entries}
        stamps_of_files = (stamp_of(entry.status) for entry in listing.entries)
        self.unchanged_since = {stamp: self.unchanged_since.get(stamp, started) for stamp in stamps_of_files}
        self.listing = listing
        return self.is_settled

    def _is_stale(self) -> bool:
        now = time.monotonic()
        longest = _WATCHED_LISTING_SECONDS if self.is_watched else _LISTING_SECONDS
        if now - self._listed_at >= longest or (self._again_at is not None and now >= self._again_at):
            return True
        if any(_modified_ns(directory) != stamp for directory, stamp in self._stamps.items()):
            return True
        for path, stamp in list(self.doubtful.items()):
            with suppress(OSError):
                new = stamp_of(path.stat())
                if new[:2] == stamp[:2] and new != stamp:
                    self.doubtful[path] = new
                    return True
        return False


def _modified_ns(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns  # noqa: PTH116 - much quicker, and asked often
    except OSError:
        return 0


def _names(listing: Listing) -> set[tuple[Path, tuple[int, int]]]:
    return {(entry.path, entry.inode) for entry in listing.entries}
