"""Expands paths and globs to files, in reading order."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cowbook.errors import InputError
from cowbook.objects.object_path import find_objects
from cowbook.plain.durable_files import as_storage_error
from cowbook.plain.places import is_url

_DIGITS = re.compile(r"(\d+)")


Key = tuple[int, list[tuple[int, int, str]]]
"""A file's place in reading order: the index of its pattern in the list, then the natural key of its name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a listing."""

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
    """A path that does not exist, or a glob without a match."""

    pattern: str
    """Absolute."""
    key: Key
    text: str
    """A message that says what is missing, and why."""

    def stands_for(self, path: str) -> bool:
        """Whether this path or glob would match a file of that path."""
        return matches(self.pattern, path)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list of paths and globs matches, in reading order, and which of them match nothing."""

    entries: tuple[Entry, ...]
    missing: tuple[Missing, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpandedPaths:
    """The files to read, resolved and in order, with warnings for the user."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]
    patterns: tuple[int, ...]
    """For each file, which of the paths and globs has matched it."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key for natural order, in which numbers inside names compare as numbers: file2 before file10."""
    parts = _DIGITS.split(name)
    return [(0, int(part), part) if index % 2 else _text_part(part) for index, part in enumerate(parts)]


@lru_cache(1024)
def _text_part(part: str) -> tuple[int, int, str]:
    """One for all names that share it: there may be a hundred thousand in a directory."""
    return 1, 0, part


def list_files(patterns: Sequence[str], base: Path) -> Listing:
    """List the files of paths and globs relative to `base`, in the order of the list; a glob's matches in natural order.

    Symlinks are resolved. A file named twice, even by hard links, is listed once, where it comes first. Raises InputError
    for a path that is not a regular file.
    """
    missing: list[Missing] = []
    warnings: list[str] = []
    entries = tuple(_find_files(patterns, base, missing, warnings))
    return Listing(entries, tuple(missing), tuple(warnings))


def _find_files(patterns: Sequence[str], base: Path, missing: list[Missing], warnings: list[str]) -> Iterator[Entry]:
    """As `list_files`, one file after the other. Appends what is missing, and warnings."""
    found: dict[object, str] = {}
    for index, pattern in enumerate(patterns):
        if is_url(pattern):
            yield from _find_objects(pattern, index, found, missing, warnings)
            continue
        full = str(base / pattern)
        if glob.has_magic(pattern):
            escaped = str(Path(glob.escape(str(base))) / pattern)
            matched = glob.glob(escaped, recursive=True)  # noqa: PTH207 - it takes absolute patterns
            _check_descriptors(full)
            names = sorted((natural_key(name), name) for name in matched if not Path(name).is_dir())
            if not names:
                what = "only directories match" if matched else "no file matches"
                missing.append(Missing(full, (index, []), f"{full}: {what}"))
        else:
            names = [(natural_key(full), full)]
        for natural, name in names:
            key = (index, natural)
            try:
                resolved = Path(name).resolve(strict=True)
                status = resolved.stat()
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                missing.append(Missing(name, key, f"{name}: {reason}"))
                continue
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise InputError(f"{name} is {what}; name the capture files in it, or a glob such as *.jsonl")
            # Inodes identify a file only where it has hard links: some network file systems give several files the same number.
            identity: object = (status.st_dev, status.st_ino) if status.st_nlink > 1 else resolved
            if identity in found:
                warnings.append(f"{name} names the same file as {found[identity]}: it is read once")
            else:
                found[identity] = name
                yield Entry(resolved, key, status)


def _find_objects(
    pattern: str, index: int, found: dict[object, str], missing: list[Missing], warnings: list[str]
) -> Iterator[Entry]:
    """As `_find_files`, of one URL."""
    matched = sorted(((index, natural_key(str(path))), path) for path in find_objects(pattern))
    if not matched:
        is_pattern = glob.has_magic(pattern)
        key: Key = (index, [] if is_pattern else natural_key(pattern))
        missing.append(Missing(pattern, key, f"{pattern}: {'no object matches' if is_pattern else 'there is no such object'}"))
    for key, path in matched:
        name = str(path)
        if name in found:
            warnings.append(f"{name} was named before: it is read once")
        else:
            found[name] = name
            yield Entry(path, key, path.stat())


def _check_descriptors(pattern: str) -> None:
    """Raises StorageError if no file can be opened: a glob then skips the directories that it cannot read, and says nothing."""
    with as_storage_error("list", Path(pattern)):
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))


def expand_paths(patterns: Sequence[str], base: Path) -> ExpandedPaths:
    """As `list_files`, but a path that does not exist and a glob without a match raise InputError, too."""
    missing: list[Missing] = []
    warnings: list[str] = []
    # The rest of an entry is not kept: it takes four times as much memory as the path.
    found = [(entry.path, entry.key[0]) for entry in _find_files(patterns, base, missing, warnings)]
    if missing:
        first = missing[0]
        raise InputError(f"{first.text}; {_advise(patterns[first.key[0]], base, is_pattern=not first.key[1])}")
    return ExpandedPaths(tuple(path for path, _ in found), tuple(warnings), tuple(index for _, index in found))


def _advise(pattern: str, base: Path, *, is_pattern: bool) -> str:
    """What to do about a path or glob that shows nothing. Whoever writes one tends to think of the directory that he is in."""
    if is_url(pattern):
        return "correct the URL, or provide the object; a pattern such as s3://bucket/folder/*.jsonl.gz names several"
    if glob.glob(pattern, recursive=True) and Path(pattern).absolute() != base / pattern:  # noqa: PTH207 - it takes any pattern
        return f"relative paths begin at {base}, where the configuration is: move it, or write {Path(pattern).absolute()}"
    return f"correct the {'pattern' if is_pattern else 'path'} or provide the file"


def key_of(path: str, patterns: Sequence[str], base: Path) -> Key | None:
    """The key of a file that no longer exists; None if no pattern matches its path."""
    for index, pattern in enumerate(patterns):
        if matches(str(base / pattern), path):
            return index, natural_key(path)
    return None


def matches(pattern: str, path: str) -> bool:
    """Whether an absolute path or glob matches a resolved path. Symlinks after the first wildcard are not resolved."""
    parts = Path(pattern).parts
    literal = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    resolved = os.path.realpath(Path(*parts[:literal]))
    if literal == len(parts):
        return path in (pattern, resolved)
    return any(
        fnmatch.fnmatchcase(path, str(Path(start, *parts[literal:]))) for start in (Path(*parts[:literal]), Path(resolved))
    )


def directories_of(patterns: Sequence[str], base: Path, listing: Listing) -> dict[str, set[str]]:
    """The directories to watch for changes of the listing, each with glob patterns of the names that matter in it."""
    found: dict[str, set[str]] = {}
    for pattern in patterns:
        _add_directories(base / pattern, found)
    # Symlinks may lead to other directories, and to files that are not there yet.
    for entry in listing.entries:
        found.setdefault(str(entry.path.parent), set()).add(glob.escape(entry.path.name))
    for missing in listing.missing:
        if Path(missing.pattern).is_symlink():
            _add_directories(Path(glob.escape(os.path.realpath(missing.pattern))), found)
    return found


def _add_directories(full: Path, found: dict[str, set[str]]) -> None:
    parts = full.parts
    literal = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    # Above the first wildcard: a part of the path may appear later, or a symlink in it may change.
    for index in range(1, literal + 1):
        directory, name = Path(*parts[:index]), parts[index]
        child = directory / name
        if index == literal or child.is_symlink() or (directory.is_dir() and not child.exists()):
            found.setdefault(str(directory), set()).add(name)
    for index in range(literal + 1, len(parts)):
        recursive = "**" in parts[literal:index]
        for name in glob.glob(str(Path(*parts[:index])), recursive=True):  # noqa: PTH207 - it takes absolute patterns
            if Path(name).is_dir():
                found.setdefault(name.rstrip("/") or "/", set()).add("*" if recursive else parts[index])
