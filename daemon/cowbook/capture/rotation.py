"""Scheduling: what a follower does at the end of the current file. It waits, reads on, or leaves it for the next one."""

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
"""How often a file is looked at where nothing tells of its growth; less often, up to the next, when it has rested for long."""
SAFETY_POLL_SECONDS = 1.0
"""The same where inotify does: a network file system says nothing of what other machines write."""
LONGEST_SAFETY_POLL_SECONDS = 5.0
"""And that when it has rested for long."""
LONGEST_BACKOFF_SECONDS = 5.0
_FRESH_SECONDS = 0.05  # how soon to look again when the directories could not be looked at
_COMPRESSION_BEGINS_SECONDS = 60.0  # an empty file of a compressed name is taken for empty after that


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """What is followed: paths and globs relative to a directory, and how long a file must rest before it is left."""

    patterns: tuple[str, ...]
    base_dir: Path
    rotate_wait_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the current file and at the directories has shown."""

    grown: bool = False
    """There is something to read."""
    gone: bool = False
    """The current file was deleted."""
    next: Entry | None = None
    missing: str | None = None
    """What has to come before anything else can be read."""
    known_seconds: float = 0.0
    """For how long it has been so that the current file is gone, or that there is a next one."""
    rest_seconds: float = 0.0
    """For how long the current file has not been written to, by its time of modification."""
    fresh: bool = True
    """Whether the directories were looked at, too."""
    watched: bool = False
    """Whether the next change will ring the bell."""


def at_end(look: Look, rest_seconds: float, rotate_wait: float) -> tuple[Literal["read", "leave", "wait"], float]:
    """What to do next, and after how long to look again at the latest (infinite: when there is reason to).

    `rest_seconds` is for how long the follower has seen no growth.
    """
    if look.grown:
        return "read", 0.0
    if look.next is None and not look.gone:
        return "wait", math.inf
    left = rotate_wait - min(max(rest_seconds, look.rest_seconds), look.known_seconds)
    if left > 0:
        return "wait", left
    return ("leave", 0.0) if look.fresh else ("wait", _FRESH_SECONDS)


@dataclass(slots=True)
class _Current:
    """The file that is being read, or was read last, among the listed ones."""

    names: set[str]  # paths under which it was seen
    key: Key | None
    entry: Entry | None = None
    gone_since: float | None = None


class Following:
    """What is known of the files that a follower goes through. Methods may block, and run in one thread at a time."""

    def __init__(self, settings: FollowSettings, watcher: Watcher | None, bell: Bell) -> None:
        self.settings = settings
        self.bell = bell
        self.warnings: list[str] = []
        """What a person should know of the files; grows."""
        self.skipped_files = 0
        """Files that will never be read."""
        self.ahead_bytes = 0
        """Bytes on disk of the files that are to be read next."""
        self._watcher = watcher
        self._watched: GrowingFile | None = None
        self._files = LiveListing(settings.patterns, settings.base_dir, watcher, bell)
        self._placed: Listing | None = None  # the listing that was looked through
        self._ahead: list[Entry] = []  # to be read, in order
        self._current: _Current | None = None
        self._warned: set[str] = set()
        self._claims: dict[Stamp, FileIdentity] = {}  # files that are known to be consumed ones
        self._copies: dict[Stamp, bool | None] = {}

    def check_readable(self) -> None:
        """Raises InputError when a file that is there cannot be read."""
        check_readable([entry.path for entry in list_files(self.settings.patterns, self.settings.base_dir).entries])

    def close(self) -> None:
        """Nothing is watched any more."""
        if self._watcher is not None:
            self._watcher.forget(self.bell)

    def find(self, position: Position) -> Found | str:
        """The file of a position, standing at its offset, or what is missing.

        Raises InputError when it was truncated or replaced, or when a consumed one has grown.
        """
        self._files.refresh(force=True)
        assert self._files.listing is not None
        entries = self._files.listing.entries
        current = position.current
        if current.disk_bytes:
            self._current = _Current({current.path}, key_of(current.path, self.settings.patterns, self.settings.base_dir))
            self._place(None, (*position.consumed, current))
            return Found(-1, None)
        paths = [entry.path for entry in entries]

        def order(place: int) -> int:
            is_inode = entries[place].inode == (current.device, current.inode)
            is_path = str(paths[place]) == current.path
            return 0 if is_inode and is_path else 1 if is_inode else 2 if is_path else 3

        statuses = {place: entry.status for place, entry in enumerate(entries)}
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
            entry = entries[found.place]
            self._current = _Current({current.path, str(entry.path)}, entry.key, entry)
        assert isinstance(found.raw, GrowingFile)
        try:
            self._place(found.raw, position.consumed)
        except BaseException:
            found.raw.close()
            raise
        return found

    def _find_unlisted(self, paths: list[Path], position: Position) -> Found | None:
        """The file of a position at its own path, where no pattern shows it any more: a link leads elsewhere, or they changed."""
        path = Path(position.current.path)
        if path in paths or not path.is_file():
            return None
        found = find_current([path], stat_all([path]), position, order=lambda _: 0, open_file=GrowingFile)
        return found if isinstance(found, Found) else None

    def open(self, entry: Entry) -> GrowingFile | str | None:
        """Open a file to be read next: the file, what speaks against it, or None if another one has its name by now."""
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

    def opened(self, entry: Entry) -> None:
        """It is the current file from now on."""
        self._set_ahead([other for other in self._ahead if other is not entry])
        self._current = _Current({str(entry.path)}, entry.key, entry)

    def left(self, raw: GrowingFile, identity: FileIdentity) -> None:
        """The current file was left at its end."""
        status = os.fstat(raw.fileno())
        self._claims[stamp_of(status)] = identity
        path = Path(identity.path)
        self._files.doubtful = {path: stamp_of(status)}  # it is the one that may still grow by mistake

    def look(self, raw: InputFile | None, mark: Mark | None, consumed: tuple[FileIdentity, ...]) -> Look:
        """Look at the current file and, unless there is something to read in it, at what follows it.

        `consumed` has a current file that was left, too, and then `raw` is None. Raises InputError when something was truncated,
        replaced, or has grown too late, and OSError when the current file cannot be looked at.
        """
        rest = 0.0
        is_watched = is_gone = False
        if raw is not None:
            assert isinstance(raw, GrowingFile)
            is_watched = self._watch(raw)
            status, more = raw.look()
            if more:
                return Look(grown=True)
            rest = time.time() - status.st_mtime
            is_gone = status.st_nlink == 0
        else:
            is_watched = self._watcher is not None
        fresh = self._files.refresh()
        if self._placed is not self._files.listing:
            self._place(raw, consumed, mark)
        following = self._next(raw, consumed)
        missing = self._missing(raw, following, consumed)
        now = time.monotonic()
        known = self._files.since.get(following.inode, now) if following is not None and missing is None else math.inf
        if self._current is not None:
            self._current.gone_since = (self._current.gone_since or now) if is_gone else None
            known = min(known, self._current.gone_since or math.inf)
        return Look(
            gone=is_gone,
            next=following if missing is None else None,
            missing=missing,
            known_seconds=now - known if known < math.inf else 0.0,
            rest_seconds=rest,
            fresh=fresh,
            watched=is_watched and self._files.is_watched,
        )

    def _watch(self, raw: GrowingFile) -> bool:
        """Have the bell rung at the next change of an open file; whether that is to be had."""
        if self._watcher is None:
            return False
        if raw is not self._watched:
            self._watcher.leave_file(self.bell)
            self._watched = raw
        return self.bell.is_armed or self._watcher.watch_file(raw.fileno(), self.bell)

    def _place(self, raw: InputFile | None, consumed: tuple[FileIdentity, ...], mark: Mark | None = None) -> None:
        """Find out which of the listed files were consumed, which are to be read, and which never will be."""
        listing = self._files.listing
        assert listing is not None
        entries = listing.entries
        here = self._find_here(raw, entries)
        current = self._current
        key = current.key if current is not None else None
        order = bisect_left(entries, key, key=lambda entry: entry.key) if key is not None else 0
        claimed = self._find_consumed(entries, here, consumed, order)
        if current is not None and raw is None:  # it was left
            for place, identity in claimed.items():
                if identity == consumed[-1] and identity.offset:  # of an empty one nothing tells where it is now
                    key = current.key = entries[place].key
        free = [entry for place, entry in enumerate(entries) if place not in claimed and place not in here]
        if raw is not None and not here and mark is not None and mark.offset:
            identity = mark.position().current  # a copy of it, made before it was deleted, is nothing new
            free = [entry for entry in free if compare(entry.path, identity) != "equal"]
        # What stands under a name that the current file had is its successor, also where the name sorts before the current one.
        names = current.names if current is not None else set()
        earlier = [entry for entry in free if key is not None and entry.key < key]
        successors = sorted((entry for entry in earlier if str(entry.path) in names), key=lambda entry: entry.status.st_mtime_ns)
        originals = [entries[place].path for place in claimed] + _descriptor(raw)
        for entry in earlier:
            if str(entry.path) not in names and self._is_copy(entry, originals) is False:
                self._skip(entry)
        ahead = successors + [entry for entry in free if entry not in earlier]
        for warning in listing.warnings:
            self._warn(warning)
        self._note_vanished(entries)
        stamps = {stamp_of(entry.status) for entry in entries}
        self._copies = {stamp: verdict for stamp, verdict in self._copies.items() if stamp in stamps}
        self._set_ahead(ahead)
        self._placed = listing

    def _set_ahead(self, ahead: list[Entry]) -> None:
        self._ahead = ahead
        self.ahead_bytes = sum(entry.status.st_size for entry in ahead)

    def _find_here(self, raw: InputFile | None, entries: tuple[Entry, ...]) -> set[int]:
        """Places of the current file: while it is open, no other one has its inode."""
        if raw is None:
            return set()
        assert self._current is not None
        status = os.fstat(raw.fileno())
        here = {place for place, entry in enumerate(entries) if entry.inode == (status.st_dev, status.st_ino)}
        if here:
            entry = entries[min(here)]
            self._current.key = entry.key
            self._current.names.add(str(entry.path))
        return here

    def _find_consumed(
        self, entries: tuple[Entry, ...], here: set[int], consumed: tuple[FileIdentity, ...], order: int
    ) -> dict[int, FileIdentity]:
        """As `find_consumed`, which has to look only at what it has not seen as it is now."""
        claimed = {}
        unknown = dict.fromkeys(consumed)
        for place, entry in enumerate(entries):
            identity = self._claims.get(stamp_of(entry.status))
            if place not in here and identity in unknown:
                assert identity is not None
                claimed[place] = identity
                del unknown[identity]
        paths = [entry.path for entry in entries]
        free = {place: entry.status for place, entry in enumerate(entries) if place not in here and place not in claimed}
        claimed.update(find_consumed(paths, free, unknown, order, following=True))
        self._claims = {stamp_of(entries[place].status): identity for place, identity in claimed.items()}
        for place, identity in claimed.items():
            if not identity.offset:  # it may be another one, on the same inode
                self._files.doubtful[entries[place].path] = stamp_of(entries[place].status)
        return claimed

    def _note_vanished(self, entries: tuple[Entry, ...]) -> None:
        """Warn of what was to be read and is no longer there."""
        inodes = {entry.inode for entry in entries}
        paths = [str(entry.path) for entry in entries]
        for entry in self._ahead:
            if entry.inode in inodes or not entry.status.st_size:
                continue
            is_compressed_now = any(path.startswith(f"{entry.path}.") for path in paths)
            if is_compressed_now or self._copies.get(stamp_of(entry.status)):
                continue
            if self._warn(f"{entry.path} has vanished or was replaced before it was read: what it held is missing"):
                self.skipped_files += 1

    def _skip(self, entry: Entry) -> None:
        assert self._current is not None
        where = self._current.entry.path if self._current.entry is not None else min(self._current.names)
        if self._warn(skipped(entry.path, where), str(entry.path)):
            self.skipped_files += 1

    def _warn(self, text: str, key: str | None = None) -> bool:
        """Whether it is new."""
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

    def _next(self, raw: InputFile | None, consumed: tuple[FileIdentity, ...]) -> Entry | None:
        """The file to read next, which is no copy of one that was read; None if there is none, or that cannot be told yet."""
        assert self._placed is not None
        originals: list[Path] | None = None
        for entry in self._ahead:
            if stamp_of(entry.status) not in self._copies and originals is None:
                known = set(consumed)
                originals = [
                    other.path for other in self._placed.entries if self._claims.get(stamp_of(other.status)) in known
                ] + _descriptor(raw)
            verdict = self._is_copy(entry, originals or [])
            if verdict is not True:
                return entry if verdict is False else None
        return None

    def _missing(self, raw: InputFile | None, following: Entry | None, consumed: tuple[FileIdentity, ...]) -> str | None:
        """What is not there, and would come before the next file."""
        assert self._placed is not None
        key = self._current.key if self._current is not None else None
        for missing in self._placed.missing:
            if following is not None and missing.key > following.key:
                continue
            if raw is None and following is None and (key is None or missing.key[0] >= key[0]):
                return missing.text
            if (key is None or missing.key > key) and not any(missing.stands_for(identity.path) for identity in consumed):
                return missing.text
        return None


def _descriptor(raw: InputFile | None) -> list[Path]:
    return [Path(f"/proc/self/fd/{raw.fileno()}")] if raw is not None else []
