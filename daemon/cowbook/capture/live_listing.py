"""The listing of what patterns show, kept up to date without asking for all of it each time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cowbook.capture.inotify import Bell, Watcher
from cowbook.capture.paths import Listing, directories_of, list_files

_LISTING_SECONDS = 10.0  # after which the patterns are expanded again, even if nothing seems to have changed
_STAMP_SECONDS = 0.05  # a directory's time may stand still for so long while it changes

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of modification: the same file, unchanged."""


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells an unchanged file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class LiveListing:
    """Expands patterns when a bell or the directories' times say that something has changed, and every ten seconds."""

    def __init__(self, patterns: Sequence[str], base: Path, watcher: Watcher | None, bell: Bell) -> None:
        self._patterns, self._base = patterns, base
        self._watcher, self._bell = watcher, bell
        self._at = 0.0  # when it was made, monotonic
        self._settled_before = 0  # times of directories that are older than this say what they seem to
        self._stamps: dict[str, int] = {}
        self._not_before = 0.0
        self.listing: Listing | None = None
        """A new object after each expansion."""
        self.is_watched = False
        """Whether all directories ring the bell."""
        self.since: dict[tuple[int, int], float] = {}
        """For each listed inode, since when it has been listed (monotonic)."""
        self.doubtful: dict[Path, Stamp] = {}
        """Files whose change is a reason for a new listing."""

    def refresh(self, *, force: bool = False) -> bool:
        """Make a new listing if there is reason to; whether the listing is how things stand.

        Raises InputError as `list_files`.
        """
        if not (force or self.listing is None or self._bell.listing_changed or self._is_stale()):
            return True
        started = time.monotonic()
        if started < self._not_before and not force:
            return False
        self._bell.listing_changed = False
        wall = time.time()
        listing = list_files(self._patterns, self._base)
        directories = directories_of(self._patterns, self._base, listing.entries)
        self._stamps = {directory: _modified(directory) for directory in directories}
        if self._watcher is not None:
            self.is_watched, is_new = self._watcher.watch_directories(directories, self._bell)
            if is_new:  # something may have happened before it was watched
                self._bell.listing_changed = True
        self._settled_before = int((wall - _STAMP_SECONDS) * 1e9)
        self._at = time.monotonic()
        # A big directory in which much happens is not to keep a core busy.
        self._not_before = self._at + 10 * (self._at - started)
        self.since = {entry.inode: self.since.get(entry.inode, started) for entry in listing.entries}
        self.listing = listing
        return True

    def _is_stale(self) -> bool:
        age = time.monotonic() - self._at
        if age >= _LISTING_SECONDS:
            return True
        if age >= _STAMP_SECONDS and any(stamp >= self._settled_before for stamp in self._stamps.values()):
            return True
        if any(_modified(directory) != stamp for directory, stamp in self._stamps.items()):
            return True
        for path, stamp in list(self.doubtful.items()):
            with suppress(OSError):
                new = stamp_of(path.stat())
                if new[:2] == stamp[:2] and new != stamp:
                    self.doubtful[path] = new
                    return True
        return False


def _modified(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns  # noqa: PTH116 - much quicker, and asked often
    except OSError:
        return 0
