"""Tells which of the listed files are still to be read, and in which order, while names change.

Names mean little while files rotate: a file is renamed, compressed or copied, its name is given to a new one, and any number of
rotations may happen while nobody looks. So the files are told apart by inode while they are open, and by content afterwards.
Every listed file is one of these:

* the current file: it has the inode of the open descriptor, whatever its name;
* consumed: its content is that of a file that was read to its end;
* a copy: all it holds so far is the beginning of a file already read, as while logrotate compresses one. It is not read;
* earlier: it was written before the current file and was never read. It is warned about and never read;
* ahead: everything else, in the order in which it was written (written_order.py).

A file that has taken a name of the current one is ahead whatever its times say: it was begun after the rename.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cowbook.capture.live_listing import LiveListing, Stamp, stamp_of
from cowbook.capture.paths import Entry, Key, Listing
from cowbook.capture.resume import InputFile, compare, find_consumed, is_copy, skipped
from cowbook.capture.written_order import Dated, Start, Starts, note_of_order, written_order
from cowbook.plain.position import FileIdentity, Mark

_COMPRESSION_BEGINS_SECONDS = 60.0  # how long an empty file named like a compressed one may wait for its compressor


@dataclass(slots=True)
class Current:
    """The file being read, or read last."""

    names: set[str]  # every path at which it was seen
    key: Key | None  # None if no pattern matches it
    entry: Entry | None = None
    begins_ns: int | None = None  # time of its first records
    gone_since: float | None = None


class UnreadFiles:
    """Classifies each new listing, and remembers what it has found out about files that do not change."""

    def __init__(self, files: LiveListing, starts: Starts, patterns: int) -> None:
        """`patterns` is the number of paths and globs."""
        self.warnings: list[str] = []
        """Warnings for the user; grows."""
        self.skipped_files = 0
        """Number of files that will never be read."""
        self.ahead_bytes = 0
        """Bytes on disk of the files ahead."""
        self._files = files
        self._starts_of = starts
        self._last_pattern = patterns - 1
        self._classified: Listing | None = None  # the listing that was classified last
        self._ahead: list[Entry] = []  # files to read, in order
        self._warned: set[str] = set()
        self._claims: dict[Stamp, FileIdentity] = {}  # files known to be consumed ones
        self._copies: dict[Stamp, bool | None] = {}
        self._starts: dict[Stamp, Start] = {}

    @property
    def is_up_to_date(self) -> bool:
        """Whether the present listing was classified."""
        return self._classified is self._files.listing

    def start_of(self, entry: Entry) -> Start:
        """The start of a file. It is read again only when the file has changed."""
        stamp = stamp_of(entry.status)
        if stamp not in self._starts:
            self._starts[stamp] = self._starts_of.of(entry.path)
        return self._starts[stamp]

    def ranks(self, entries: Sequence[Entry]) -> dict[int, int]:
        """The place of each entry in the order in which they were written, from 1 on."""
        dated = [Dated(str(entry.path), entry.key, self.start_of(entry).begins_ns, entry.status.st_mtime_ns) for entry in entries]
        return {index: rank for rank, index in enumerate(written_order(dated), 1)}

    def claim(self, status: os.stat_result, identity: FileIdentity) -> None:
        """Take note that a file was read to its end and left."""
        stamp = stamp_of(status)
        self._claims[stamp] = identity
        self._files.doubtful = {Path(identity.path): stamp}  # its writer may still append to it by mistake

    def remove_from_ahead(self, entry: Entry) -> None:
        """Take note that a file was begun."""
        self._set_ahead([other for other in self._ahead if other is not entry])

    def classify(
        self, raw: InputFile | None, current: Current | None, consumed: tuple[FileIdentity, ...], mark: Mark | None = None
    ) -> None:
        """Sort the listed files into consumed, copies, earlier and ahead, as the head of this module says."""
        listing = self._files.listing
        assert listing is not None
        entries = listing.entries
        here = _current_indices(raw, current, entries)
        is_listed = bool(here)
        key = current.key if current is not None else None
        order = bisect_left(entries, key, key=lambda entry: entry.key) if key is not None else 0
        claimed = self._find_consumed(entries, here, consumed, order)
        if current is not None and raw is None:  # it was left
            for index, identity in claimed.items():
                if identity == consumed[-1] and identity.offset:  # an empty file cannot be recognised by content
                    current.key, current.entry, is_listed = entries[index].key, entries[index], True
        free = [entry for index, entry in enumerate(entries) if index not in claimed and index not in here]
        if raw is not None and not here and mark is not None and mark.offset:
            identity = mark.exact_position().current
            same = [entry for entry in free if compare(entry.path, identity) == "equal"]  # it was compressed, or copied before
            free = [entry for entry in free if entry not in same]
            if same and current is not None:
                current.key, current.entry, is_listed = same[0].key, same[0], True
        earlier, ahead = self._split(free, raw, current, is_listed=is_listed)
        originals = [entries[index].path for index in claimed] + descriptor_path(raw)
        for entry in earlier:
            if self._is_copy(entry, originals) is False:
                assert current is not None
                self._skip_file(entry, current)
        for warning in listing.warnings:
            self._warn(warning)
        self._warn_of_vanished(entries)
        stamps = {stamp_of(entry.status) for entry in entries}
        self._copies = {stamp: verdict for stamp, verdict in self._copies.items() if stamp in stamps}
        self._set_ahead(ahead)
        self._starts = {stamp: start for stamp, start in self._starts.items() if stamp in stamps}
        self._classified = listing

    def _split(
        self, free: list[Entry], raw: InputFile | None, current: Current | None, *, is_listed: bool
    ) -> tuple[list[Entry], list[Entry]]:
        """Divide unread files into those that were written before the current one and those to be read, oldest first."""
        names = current.names if current is not None else set[str]()
        groups: dict[int, list[int]] = defaultdict(list)  # by pattern
        dated = []
        for index, entry in enumerate(free):
            # The name was used again, so its file belongs behind everything that was there before.
            key = (self._last_pattern, entry.key[1]) if str(entry.path) in names else entry.key
            dated.append(Dated(str(entry.path), key, self.start_of(entry).begins_ns, entry.status.st_mtime_ns))
            groups[key[0]].append(index)
        if groups and current is not None and current.begins_ns is None and raw is not None:
            current.begins_ns = self._starts_of.of(descriptor_path(raw)[0]).begins_ns
        before: list[int] = []
        behind: list[int] = []
        for pattern in sorted(groups):
            files = [dated[index] for index in groups[pattern]]
            place = self._place(current, pattern, is_listed=is_listed, is_reused=any(file.path in names for file in dated))
            if not isinstance(place, Dated):
                (before if place == "before" else behind).extend(groups[pattern][index] for index in written_order(files))
                continue
            order = written_order([place, *files])
            ranks = [groups[pattern][index - 1] for index in order if index]
            before += ranks[: order.index(0)]
            behind += ranks[order.index(0) :]
        successors = [index for index in before if dated[index].path in names]
        ahead = behind + successors
        return [free[index] for index in before if index not in successors], [free[index] for index in ahead]

    def _place(
        self, current: Current | None, pattern: int, *, is_listed: bool, is_reused: bool
    ) -> Dated | Literal["before", "behind"]:
        """The current file, to be ordered with a pattern's files; or whether these come all before it, or all behind it."""
        if current is None or current.key is None:
            return "behind"
        begins_ns = current.begins_ns - 1 if current.begins_ns is not None else None  # a file of the same time is not earlier
        if is_listed and current.entry is not None:
            entry = current.entry
            place = Dated(str(entry.path), current.key, begins_ns, entry.status.st_mtime_ns - 1)
        elif is_reused:  # it is gone, and where to cannot be told: its time alone counts, if it has one
            return Dated("", (pattern, []), begins_ns, 0)
        else:
            place = Dated("", current.key, begins_ns, 0)
        if place.key[0] == pattern:
            return place
        return "before" if pattern < place.key[0] else "behind"

    def _set_ahead(self, ahead: list[Entry]) -> None:
        self._ahead = ahead
        self.ahead_bytes = sum(entry.status.st_size for entry in ahead)

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
        """Warn of files ahead that are gone, unless another file holds what they held: they were compressed or copied."""
        inodes = {entry.inode for entry in entries}
        for entry in self._ahead:
            head = self.start_of(entry).head
            if not head or entry.inode in inodes or self._copies.get(stamp_of(entry.status)):
                continue
            if any(self.start_of(other).head.startswith(head) for other in entries):
                continue
            if self._warn(f"{entry.path} has vanished or was replaced before it was read: its content is missing"):
                self.skipped_files += 1

    def _skip_file(self, entry: Entry, current: Current) -> None:
        where = current.entry.path if current.entry is not None else min(current.names)
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
        now = time.monotonic()
        if verdict is None and now - self._files.unchanged_since.get(stamp, now) > _COMPRESSION_BEGINS_SECONDS:
            return False
        if verdict is not False:
            self._files.doubtful[entry.path] = stamp
        return verdict

    def find_next(self, raw: InputFile | None, consumed: tuple[FileIdentity, ...]) -> Entry | None:
        """The file to read next, copies passed over. None if there is none, or if it may still turn out to be a copy."""
        assert self._classified is not None
        originals: list[Path] | None = None
        for entry in self._ahead:
            if stamp_of(entry.status) not in self._copies and originals is None:
                known = set(consumed)
                originals = [
                    other.path for other in self._classified.entries if self._claims.get(stamp_of(other.status)) in known
                ] + descriptor_path(raw)
            verdict = self._is_copy(entry, originals or [])
            if verdict is False:
                self._note_order(entry)
                return entry
            if verdict is None and not any(other.path == entry.path.with_suffix("") for other in self._classified.entries):
                return None  # else it is being made from the file beside it
        return None

    def _note_order(self, entry: Entry) -> None:
        """Say it, once a pattern, if a file is read before another one whose name sorts before its own."""
        pattern = entry.key[0]
        group = [other for other in self._ahead if other.key[0] == pattern]
        if f"order {pattern}" in self._warned or min(other.key for other in group) == entry.key:
            return
        assert self._classified is not None
        read = [self.start_of(other).head for other in self._classified.entries if stamp_of(other.status) in self._claims]
        dated = []
        for other in group:
            start = self.start_of(other)
            if start.head and not any(head.startswith(start.head) for head in read):
                dated.append(Dated(str(other.path), other.key, start.begins_ns, other.status.st_mtime_ns))
        note = note_of_order(dated)
        if note is not None:
            self._warn(note, f"order {pattern}")

    def find_missing(
        self, raw: InputFile | None, current: Current | None, next_file: Entry | None, consumed: tuple[FileIdentity, ...]
    ) -> str | None:
        """A message about a missing file that would come before the next one; None if none does."""
        assert self._classified is not None
        key = current.key if current is not None else None
        for missing in self._classified.missing:
            if next_file is not None and missing.key > next_file.key:
                continue
            if raw is None and next_file is None and (key is None or missing.key[0] >= key[0]):
                return missing.text
            if (key is None or missing.key > key) and not any(missing.stands_for(identity.path) for identity in consumed):
                return missing.text
        return None


def _current_indices(raw: InputFile | None, current: Current | None, entries: tuple[Entry, ...]) -> set[int]:
    """Indices of the current file. While it is open, no other file can have its inode."""
    if raw is None:
        return set()
    assert current is not None
    status = os.fstat(raw.fileno())
    here = {index for index, entry in enumerate(entries) if entry.inode == (status.st_dev, status.st_ino)}
    if here:
        entry = entries[min(here)]
        current.key, current.entry = entry.key, entry
        current.names.add(str(entry.path))
    return here


def descriptor_path(raw: InputFile | None) -> list[Path]:
    """The path of an open file by its descriptor, whatever its name is now. Empty without one."""
    return [Path(f"/proc/self/fd/{raw.fileno()}")] if raw is not None else []
