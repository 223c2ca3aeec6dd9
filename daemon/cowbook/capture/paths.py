"""From paths and globs to the files that they name, in the order in which these are read."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cowbook.errors import InputError

_DIGITS = re.compile(r"(\d+)")


Key = tuple[int, list[tuple[int, int, str]]]
"""Where a file stands in the order of reading: the place of its pattern in the list, and its name in natural order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a listing."""

    path: Path
    """Resolved."""
    key: Key
    status: os.stat_result

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode."""
        return self.status.st_dev, self.status.st_ino


@dataclass(frozen=True, slots=True)
class Missing:
    """A path or a glob that shows no file now."""

    pattern: str
    """Absolute."""
    key: Key
    text: str
    """What is missing, and why."""

    def stands_for(self, path: str) -> bool:
        """Whether a file of that path was one that it showed."""
        return matches(self.pattern, path)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list of paths and globs shows: the files in the order in which they are read, and what it does not show."""

    entries: tuple[Entry, ...]
    missing: tuple[Missing, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpandedPaths:
    """The files to read, resolved and in order, and what a person should know of the list."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers: file2 before file10."""
    parts = _DIGITS.split(name)
    return [(0, int(part), part) if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def list_files(patterns: Sequence[str], base: Path) -> Listing:
    """The files of a list of paths and globs, relative to `base`: the order of the list, a glob's matches in natural order.

    Symlinks are resolved, and a file that is named twice, by hard links too, is listed once, at its first place. Raises
    InputError for a path that is no regular file.
    """
    found: dict[object, tuple[Entry, str]] = {}
    missing = []
    warnings = []
    for place, pattern in enumerate(patterns):
        full = str(base / pattern)
        if glob.has_magic(pattern):
            escaped = str(Path(glob.escape(str(base))) / pattern)
            names = sorted(glob.glob(escaped, recursive=True), key=natural_key)  # noqa: PTH207 - it takes absolute patterns
            matched, names = names, [name for name in names if not Path(name).is_dir()]
            if not names:
                what = "only directories match" if matched else "no file matches"
                missing.append(Missing(full, (place, []), f"{full}: {what}"))
        else:
            names = [full]
        for name in names:
            key = (place, natural_key(name))
            try:
                resolved = Path(name).resolve(strict=True)
                status = resolved.stat()
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                missing.append(Missing(name, key, f"{name}: {reason}"))
                continue
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise InputError(f"{name} is {what}; name the capture files in it, or a glob such as *.jsonl")
            # Where there are no hard links the path says it; some network file systems number their files alike.
            identity: object = (status.st_dev, status.st_ino) if status.st_nlink > 1 else resolved
            if identity in found:
                warnings.append(f"{name} names the same file as {found[identity][1]}: it is read once")
            else:
                found[identity] = (Entry(resolved, key, status), name)
    return Listing(tuple(entry for entry, _ in found.values()), tuple(missing), tuple(warnings))


def expand_paths(patterns: Sequence[str], base: Path) -> ExpandedPaths:
    """The files of a list of paths and globs as `list_files` gives them.

    Raises InputError, too, for a path that does not exist, and for a glob without a match.
    """
    listing = list_files(patterns, base)
    if listing.missing:
        first = listing.missing[0]
        advice = "correct the pattern or provide the file" if not first.key[1] else "correct the path or provide the file"
        raise InputError(f"{first.text}; {advice}")
    return ExpandedPaths(tuple(entry.path for entry in listing.entries), listing.warnings)


def key_of(path: str, patterns: Sequence[str], base: Path) -> Key | None:
    """Where a file that is not there any more stood in the order; None if no pattern would show a file of that path."""
    for place, pattern in enumerate(patterns):
        if matches(str(base / pattern), path):
            return place, natural_key(path)
    return None


def matches(pattern: str, path: str) -> bool:
    """Whether an absolute path or glob would show a file of that resolved path; links below its first star are not seen."""
    parts = Path(pattern).parts
    literal = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    resolved = os.path.realpath(Path(*parts[:literal]))
    if literal == len(parts):
        return path in (pattern, resolved)
    return any(
        fnmatch.fnmatchcase(path, str(Path(start, *parts[literal:]))) for start in (Path(*parts[:literal]), Path(resolved))
    )


def directories_of(patterns: Sequence[str], base: Path, entries: Sequence[Entry]) -> dict[str, set[str]]:
    """Directories whose changes may change the listing, each with patterns of the names in it that matter."""
    found: dict[str, set[str]] = {}
    for pattern in patterns:
        _add_directories(base / pattern, found)
    for entry in entries:  # behind links they may be elsewhere
        found.setdefault(str(entry.path.parent), set()).add(glob.escape(entry.path.name))
    return found


def _add_directories(full: Path, found: dict[str, set[str]]) -> None:
    parts = full.parts
    literal = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    # Up to the first star: whether the way there exists, or leads elsewhere one day.
    for place in range(1, literal + 1):
        directory, name = Path(*parts[:place]), parts[place]
        child = directory / name
        if place == literal or child.is_symlink() or (directory.is_dir() and not child.exists()):
            found.setdefault(str(directory), set()).add(name)
    for place in range(literal + 1, len(parts)):
        recursive = "**" in parts[literal:place]
        for name in glob.glob(str(Path(*parts[:place])), recursive=True):  # noqa: PTH207 - it takes absolute patterns
            if Path(name).is_dir():
                found.setdefault(name.rstrip("/") or "/", set()).add("*" if recursive else parts[place])
