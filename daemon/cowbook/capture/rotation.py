"""Decides what a follower does at the end of the current file: read on, wait, or leave it for the next one.

Names mean little while files rotate: a file is renamed, compressed or copied, its name is given to a new one, and several
rotations may happen while nobody looks. So the files are told apart by inode while they are open, and by content afterwards.

At the end of the current file, `observe` arms the file's watch first and checks its size second, so no growth falls between
the two. If the file has not grown, the listing is brought up to date and every listed file is put into one of five classes:

* the current file: it has the inode of the open descriptor, whatever its name;
* consumed: its content is that of a file that was read to its end;
* a copy: all it holds so far is the beginning of a file already read, as while logrotate compresses one. It is not read;
* earlier: it sorts before the current file and was never read. It is warned about and never read;
* ahead: everything else, in reading order. A file that has taken a name of the current one comes first, wherever it sorts.

The current file is left only if a file is ahead, or it was deleted, and only after `rotate_wait` without growth: the writer
may still hold the old file open after the rename. The wait counts from the last growth, but not from before the next file
was first seen. A file that grows after it was left is an error, because its new bytes would be lost.

Waiting is cheap: the watch fires once and is armed again only at the next wait, and a slow poll covers network file systems,
where inotify is silent. docs/adr/0009 says why not polling alone (late, or a load on the core with 200 symbols), `watchfiles`
(a thread that wakes every few milliseconds), or an inotify instance for each symbol (the system allows 128).
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.inotify import Bell, Watcher
from cowbook.capture.live_listing import LiveListing, Stamp, stamp_of
from cowbook.capture.paths import Entry, Key, Listing, key_of, list_files
from cowbook.capture.resume import (
    Found,
    InputFile,
    Unfound,
    check_readable,
    compare,
    find_consumed,
    find_current,
    is_copy,
    open_input,
    skipped,
    stat_all,
)
from cowbook.errors import InputError
from cowbook.plain.position import FileIdentity, Mark, Position

POLL_SECONDS = 0.1
"""Interval of polling where no watch is available; up to SAFETY_POLL_SECONDS for a file that has been idle for long."""
SAFETY_POLL_SECONDS = 1.0
"""Interval of polling beside a watch, since a network file system does not report what other machines write."""
LONGEST_SAFETY_POLL_SECONDS = 5.0
"""The same for a file that has been idle for long."""
LONGEST_BACKOFF_SECONDS = 5.0
_FRESH_SECONDS = 0.05  # how soon to check again when the listing could not be refreshed
_COMPRESSION_BEGINS_SECONDS = 60.0  # how long an empty file named like a compressed one may wait for its compressor


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """Which files to follow, and how long a file must be idle before it is left."""

    patterns: tuple[str, ...]
    """Paths and globs, relative to `base_dir`."""
    base_dir: Path
    rotate_wait_seconds: float = 5.0


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
    """Age of the current file's modification time."""
    fresh: bool = True
    """Whether the listing is up to date."""
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
    return ("leave", 0.0) if seen.fresh else ("wait", _FRESH_SECONDS)


@dataclass(slots=True)
class _Current:
    """The file being read, or read last."""

    names: set[str]  # every path at which it was seen
    key: Key | None
    entry: Entry | None = None
    gone_since: float | None = None


class FollowedFiles:
    """What is known of the files that a follower reads. Methods may block, and must be called by one thread at a time."""

    def __init__(self, settings: FollowSettings, watcher: Watcher | None, bell: Bell) -> None:
        self.settings = settings
        self.bell = bell
        self.warnings: list[str] = []
        """Warnings for the user; grows."""
        self.skipped_files = 0
        """Number of files that will never be read."""
        self.ahead_bytes = 0
        """Bytes on disk of the files ahead."""
        self._watcher = watcher
        self._watched: GrowingFile | None = None
        self._files = LiveListing(settings.patterns, settings.base_dir, watcher, bell)
        self._classified: Listing | None = None  # the listing that was classified last
        self._ahead: list[Entry] = []  # files to read, in order
        self._current: _Current | None = None
        self._warned: set[str] = set()
        self._claims: dict[Stamp, FileIdentity] = {}  # files known to be consumed ones
        self._copies: dict[Stamp, bool | None] = {}

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
            self._current = _Current({current.path}, key_of(current.path, self.settings.patterns, self.settings.base_dir))
            self._classify_files(None, (*position.consumed, current))
            return Found(-1, None)
        paths = [entry.path for entry in entries]

        def order(index: int) -> int:
            is_inode = entries[index].inode == (current.device, current.inode)
            is_path = str(paths[index]) == current.path
            return 0 if is_inode and is_path else 1 if is_inode else 2 if is_path else 3

        statuses = {index: entry.status for index, entry in enumerate(entries)}
        found = find_current(paths, statuses, position, order=order, open_file=GrowingFile)
        if isinstance(found, Unfound):
            outside = self._find_unlisted(paths, position)
            if outside is None and not found.may_come:
                raise InputError(found.text)
            if outside is None:
                return found.text
            found = outside
            key = key_of(current.path, self.settings.patterns, self.settings.base_dir)
            self._current = _Current({current.path}, key)
        else:
            entry = entries[found.index]
            self._current = _Current({current.path, str(entry.path)}, entry.key, entry)
        assert isinstance(found.raw, GrowingFile)
        try:
            self._classify_files(found.raw, position.consumed)
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
        self._set_ahead([other for other in self._ahead if other is not entry])
        self._current = _Current({str(entry.path)}, entry.key, entry)

    def mark_left(self, raw: GrowingFile, identity: FileIdentity) -> None:
        """Record that the current file was read to its end and left."""
        status = os.fstat(raw.fileno())
        self._claims[stamp_of(status)] = identity
        path = Path(identity.path)
        self._files.doubtful = {path: stamp_of(status)}  # its writer may still append to it by mistake

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
            rest = time.time() - status.st_mtime
            is_gone = status.st_nlink == 0
        else:
            is_watched = self._watcher is not None
        fresh = self._files.refresh()
        if self._classified is not self._files.listing:
            self._classify_files(raw, consumed, mark)
        next_file = self._find_next(raw, consumed)
        missing = self._find_missing(raw, next_file, consumed)
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

    def _watch_current(self, raw: GrowingFile) -> bool:
        """Watch the open file for its next change. Returns False where no watch is available."""
        if self._watcher is None:
            return False
        if raw is not self._watched:
            self._watcher.unwatch_file(self.bell)
            self._watched = raw
        return self.bell.is_armed or self._watcher.watch_file(raw.fileno(), self.bell)

    def _classify_files(self, raw: InputFile | None, consumed: tuple[FileIdentity, ...], mark: Mark | None = None) -> None:
        """Sort the listed files into consumed, copies, earlier and ahead, as the head of this module says."""
        listing = self._files.listing
        assert listing is not None
        entries = listing.entries
        here = self._find_current_indices(raw, entries)
        current = self._current
        key = current.key if current is not None else None
        order = bisect_left(entries, key, key=lambda entry: entry.key) if key is not None else 0
        claimed = self._find_consumed(entries, here, consumed, order)
        if current is not None and raw is None:  # it was left
            for index, identity in claimed.items():
                if identity == consumed[-1] and identity.offset:  # an empty file cannot be recognised by content
                    key = current.key = entries[index].key
        free = [entry for index, entry in enumerate(entries) if index not in claimed and index not in here]
        if raw is not None and not here and mark is not None and mark.offset:
            identity = mark.position().current  # a copy made before it was deleted holds nothing new
            free = [entry for entry in free if compare(entry.path, identity) != "equal"]
        # A file that has taken one of the current file's names is its successor, even if that name sorts before the current one.
        names = current.names if current is not None else set()
        earlier = [entry for entry in free if key is not None and entry.key < key]
        successors = sorted((entry for entry in earlier if str(entry.path) in names), key=lambda entry: entry.status.st_mtime_ns)
        originals = [entries[index].path for index in claimed] + _descriptor_path(raw)
        for entry in earlier:
            if str(entry.path) not in names and self._is_copy(entry, originals) is False:
                self._skip_file(entry)
        ahead = successors + [entry for entry in free if entry not in earlier]
        for warning in listing.warnings:
            self._warn(warning)
        self._warn_of_vanished(entries)
        stamps = {stamp_of(entry.status) for entry in entries}
        self._copies = {stamp: verdict for stamp, verdict in self._copies.items() if stamp in stamps}
        self._set_ahead(ahead)
        self._classified = listing

    def _set_ahead(self, ahead: list[Entry]) -> None:
        self._ahead = ahead
        self.ahead_bytes = sum(entry.status.st_size for entry in ahead)

    def _find_current_indices(self, raw: InputFile | None, entries: tuple[Entry, ...]) -> set[int]:
        """Indices of the current file. While it is open, no other file can have its inode."""
        if raw is None:
            return set()
        assert self._current is not None
        status = os.fstat(raw.fileno())
        here = {index for index, entry in enumerate(entries) if entry.inode == (status.st_dev, status.st_ino)}
        if here:
            entry = entries[min(here)]
            self._current.key = entry.key
            self._current.names.add(str(entry.path))
        return here

    def _find_consumed(
        self, entries: tuple[Entry, ...], here: set[int], consumed: tuple[FileIdentity, ...], order: int
    ) -> dict[int, FileIdentity]:
        """As `resume.find_consumed`, but a file that is unchanged since it was judged is not read again."""
        claimed = {}
        unknown = dict.fromkeys(consumed)
        for index, entry in enumerate(entries):
            identity = self._claims.get(stamp_of(entry.status))
            if index not in here and identity in unknown:
                assert identity is not None
                claimed[index] = identity
                del unknown[identity]
        paths = [entry.path for entry in entries]
        free = {index: entry.status for index, entry in enumerate(entries) if index not in here and index not in claimed}
        claimed.update(find_consumed(paths, free, unknown, order, following=True))
        self._claims = {stamp_of(entries[index].status): identity for index, identity in claimed.items()}
        for index, identity in claimed.items():
            if not identity.offset:  # another file on the same inode would match an empty one, too
                self._files.doubtful[entries[index].path] = stamp_of(entries[index].status)
        return claimed

    def _warn_of_vanished(self, entries: tuple[Entry, ...]) -> None:
        """Warn of files ahead that are gone."""
        inodes = {entry.inode for entry in entries}
        paths = [str(entry.path) for entry in entries]
        for entry in self._ahead:
            if entry.inode in inodes or not entry.status.st_size:
                continue
            is_compressed_now = any(path.startswith(f"{entry.path}.") for path in paths)
            if is_compressed_now or self._copies.get(stamp_of(entry.status)):
                continue
            if self._warn(f"{entry.path} has vanished or was replaced before it was read: its content is missing"):
                self.skipped_files += 1

    def _skip_file(self, entry: Entry) -> None:
        assert self._current is not None
        where = self._current.entry.path if self._current.entry is not None else min(self._current.names)
        if self._warn(skipped(entry.path, where), str(entry.path)):
            self.skipped_files += 1

    def _warn(self, text: str, key: str | None = None) -> bool:
        """Add a warning once. Returns False if it was given before."""
        if (key or text) in self._warned:
            return False
        self._warned.add(key or text)
        self.warnings.append(text)
        return True

    def _is_copy(self, entry: Entry, originals: list[Path]) -> bool | None:
        stamp = stamp_of(entry.status)
        if stamp not in self._copies:
            self._copies[stamp] = is_copy(entry.path, originals)
        verdict = self._copies[stamp]
        if verdict is None and time.time() - entry.status.st_mtime > _COMPRESSION_BEGINS_SECONDS:
            return False
        if verdict is not False:
            self._files.doubtful[entry.path] = stamp
        return verdict

    def _find_next(self, raw: InputFile | None, consumed: tuple[FileIdentity, ...]) -> Entry | None:
        """The file to read next, copies passed over. None if there is none, or if it may still turn out to be a copy."""
        assert self._classified is not None
        originals: list[Path] | None = None
        for entry in self._ahead:
            if stamp_of(entry.status) not in self._copies and originals is None:
                known = set(consumed)
                originals = [
                    other.path for other in self._classified.entries if self._claims.get(stamp_of(other.status)) in known
                ] + _descriptor_path(raw)
            verdict = self._is_copy(entry, originals or [])
            if verdict is not True:
                return entry if verdict is False else None
        return None

    def _find_missing(self, raw: InputFile | None, next_file: Entry | None, consumed: tuple[FileIdentity, ...]) -> str | None:
        """A message about a missing file that would come before the next one; None if none does."""
        assert self._classified is not None
        key = self._current.key if self._current is not None else None
        for missing in self._classified.missing:
            if next_file is not None and missing.key > next_file.key:
                continue
            if raw is None and next_file is None and (key is None or missing.key[0] >= key[0]):
                return missing.text
            if (key is None or missing.key > key) and not any(missing.stands_for(identity.path) for identity in consumed):
                return missing.text
        return None


def _descriptor_path(raw: InputFile | None) -> list[Path]:
    return [Path(f"/proc/self/fd/{raw.fileno()}")] if raw is not None else []
