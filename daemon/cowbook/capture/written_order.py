"""Puts files into the order in which they were written, whatever rotation has made of their names (ADR 19).

The order of the list of paths holds between its patterns. Within a pattern three witnesses are asked, each of which can be
wrong:

* the times of a file's first records. They are part of the capture, and what a copy or a rename leaves alone;
* the names, in natural order. They are right for numbered and dated files, and wrong for the live file of a rotation
  (`book.jsonl` sorts before `book.jsonl.1`) and for archives that are counted downwards (`.2` is older than `.1`);
* the modification times. A copy changes them, and they may lie anywhere if another machine's clock gave them.

The names stand unless the records contradict them: then the records' times are followed, and a note says so. A file without a
time of its own stays between its neighbours. If it belongs to a rotation, it does not: the live file, whose name others extend,
is the newest, and its archives go by their modification times.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from cowbook.capture.compression import open_decoded
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.paths import ExpandedPaths, Key, natural_key
from cowbook.errors import InputError
from cowbook.objects.object_path import ObjectPath
from cowbook.plain.position import IDENTITY_BYTES

TimeOf = Callable[[bytes, bool], int | None]
"""Returns the time (ns since 1970) of the first records in a file's first decoded bytes; None if it cannot be told. The second
argument says whether these bytes are all of the file, so that an unfinished last record counts."""

_HEAD_BYTES = (1 << 12, 1 << 16, 1 << 20)
"""How much of a file is read for its time: more each time, since it may begin with a large snapshot that has none."""

_COMPRESSED_SUFFIXES = (".gz", ".zst", ".xz", ".bz2", ".lz4")
_LONGEST_NOTE_FILES = 4


@dataclass(frozen=True, slots=True)
class Dated:
    """A file with all that tells when it was written."""

    path: str
    key: Key
    begins_ns: int | None
    """Time of its first records; None if they have none."""
    modified_ns: int
    """Its modification time; 0 if the file is gone."""


def written_order(files: Sequence[Dated]) -> list[int]:
    """Indices of files, oldest first, as the head of this module says. Equal ones keep their order."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        groups[file.key[0]].append(index)
    order: list[int] = []
    for pattern in sorted(groups):
        by_name = sorted(groups[pattern], key=lambda index: files[index].key)
        order += [by_name[place] for place in _by_time([files[index] for index in by_name])]
    return order


def note_of_order(files: Sequence[Dated]) -> str | None:
    """A note for users if files in the order of reading are not in the order of their names."""
    if [file.key for file in files] == sorted(file.key for file in files):
        return None
    shown = ", ".join(Path(file.path).name for file in files[:_LONGEST_NOTE_FILES])
    more = f" and {len(files) - _LONGEST_NOTE_FILES} more" if len(files) > _LONGEST_NOTE_FILES else ""
    what = "their first records" if any(file.begins_ns is not None for file in files) else "their last changes"
    return f"{files[0].path.rpartition('/')[0]}: files are read in the order of {what}, not of their names: {shown}{more}"


def in_written_order(expanded: ExpandedPaths, time_of: TimeOf) -> ExpandedPaths:
    """Put files that do not grow any more into the order in which they were written, with a note where names say another one."""
    shared = Counter(expanded.patterns)
    starts = Starts(time_of, growing=False)
    files = []
    for path, pattern in zip(expanded.paths, expanded.patterns, strict=True):
        begins_ns = starts.of(path).begins_ns if shared[pattern] > 1 else None
        files.append(Dated(str(path), (pattern, natural_key(str(path))), begins_ns, _modified_ns(path)))
    order = written_order(files)
    in_groups = [[files[index] for index in order if files[index].key[0] == pattern] for pattern in sorted(shared)]
    notes = [note for group in in_groups if (note := note_of_order(group)) is not None]
    paths = tuple(expanded.paths[index] for index in order)
    return ExpandedPaths(paths, (*expanded.warnings, *notes), tuple(expanded.patterns[index] for index in order))


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _by_time(files: Sequence[Dated]) -> list[int]:
    """Places of files, which are in the order of their names, in the order of their times."""
    live = _live_names(Path(file.path).name for file in files)
    order = list(range(len(files)))
    times = [_time(file, live) for file in files]
    known = [time for time in times if time is not None]
    if known == sorted(known):
        return order
    if all(first[0] <= second[0] + 1 for first, second in pairwise(known)):
        return _step_back(times)
    return sorted(order, key=lambda place: times[place] or (files[place].modified_ns, 0, 0))


def _step_back(times: Sequence[tuple[float, int, int] | None]) -> list[int]:
    """Places whose times are in order but for one that is 1 ns early, so as to be before all of its time. Only that one moves."""
    order: list[int] = []
    for place, time in enumerate(times):
        later = (at for at, other in enumerate(order) if time is not None and (times[other] or time) > time)
        order.insert(next(later, len(order)), place)
    return order


def _time(file: Dated, live: set[str]) -> tuple[float, int, int] | None:
    """What is known of the time at which a file was begun, as a key that sorts; None if its name must tell."""
    name = uncompressed(Path(file.path).name)
    if name in live:
        return (math.inf if file.begins_ns is None else file.begins_ns), 1, 0
    if not live.isdisjoint(_beginnings(name)) or not live.isdisjoint(_beginnings_of_copied(name)):
        return (file.modified_ns if file.begins_ns is None else file.begins_ns), 0, file.modified_ns
    return None if file.begins_ns is None else (file.begins_ns, 0, 0)


def _live_names(names: Iterable[str]) -> set[str]:
    """The names that others extend."""
    plain = {uncompressed(name) for name in names}
    return plain & {beginning for name in plain for beginning in _beginnings(name)}


def is_rotated(name: str, other: str) -> bool:
    """Whether one of two different names is what rotation may have made of the other, compressed or not."""
    name, other = uncompressed(name), uncompressed(other)
    return name == other or other in _beginnings(name) or name in _beginnings(other)


def _beginnings(name: str) -> set[str]:
    """The live names to which rotation may have added a number or a date, at the end or before an extension, to make this one."""
    places = [place for place, character in enumerate(name) if place and not character.isalnum()]
    return {
        name[:first] + name[last:]
        for first, last in combinations([*places, len(name)], 2)
        if any(character.isdigit() for character in name[first:last])
    }


def _beginnings_of_copied(name: str) -> set[str]:
    """The live names of the archives of which a file may be a copy under a longer name: `x.log` for `x.1.log.bak`."""
    places = [place for place, character in enumerate(name) if place and not character.isalnum()]
    return {live for place in places for live in _beginnings(name[:place])}


def uncompressed(name: str) -> str:
    """A file's name without the ending of a compressed one."""
    return next((name.removesuffix(suffix) for suffix in _COMPRESSED_SUFFIXES if name.endswith(suffix)), name)


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a file, as far as it is there."""

    head: bytes
    """Up to IDENTITY_BYTES decoded bytes."""
    begins_ns: int | None
    """Time of the first records, ns since 1970; None if they have none."""


class Starts:
    """Reads the starts of files."""

    def __init__(self, time_of: TimeOf | None, *, growing: bool) -> None:
        """Without `time_of` no file has a time. A `growing` file may end in the middle of a record."""
        self._time_of = time_of
        self._growing = growing

    def of(self, path: Path) -> Start:
        """The start of a file. What cannot be read of it is left out: the error is raised when the file is read."""
        head = b""
        time = None
        with suppress(OSError, InputError), open_decoded(path) if isinstance(path, ObjectPath) else GrowingFile(path) as file:
            for size in _HEAD_BYTES if self._time_of is not None else (IDENTITY_BYTES,):
                while len(head) < size and (more := file.read(size - len(head))):
                    head += more
                is_whole = len(head) < size
                time = self._time_of(head, is_whole and not self._growing) if self._time_of is not None and head else None
                if time is not None or is_whole:
                    break
        return Start(head[:IDENTITY_BYTES], time)
