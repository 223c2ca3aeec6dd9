"""From paths and globs to the files that they name, in the order in which these are read."""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cowbook.errors import InputError

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class ExpandedPaths:
    """The files to read, resolved and in order, and what a person should know of the list."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers: file2 before file10."""
    parts = _DIGITS.split(name)
    return [(0, int(part), part) if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def expand_paths(patterns: Sequence[str], base: Path) -> ExpandedPaths:
    """The files of a list of paths and globs, relative to `base`: the order of the list, a glob's matches in natural order.

    Symlinks are resolved, and a file that is named twice, by hard links too, is read once, at its first place. Raises
    InputError for a path that does not exist or is no regular file, and for a glob without a match.
    """
    found: dict[object, tuple[Path, str]] = {}
    warnings = []
    for pattern in patterns:
        full = str(base / pattern)
        if glob.has_magic(pattern):
            escaped = str(Path(glob.escape(str(base))) / pattern)
            names = sorted(glob.glob(escaped, recursive=True), key=natural_key)  # noqa: PTH207 - it takes absolute patterns
            names = [name for name in names if not Path(name).is_dir()]
            if not names:
                raise InputError(f"{full}: no file matches; correct the pattern or provide the file")
        else:
            names = [full]
        for name in names:
            try:
                resolved = Path(name).resolve(strict=True)
                status = resolved.stat()
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise InputError(f"{name}: {reason}; correct the path or provide the file") from error
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise InputError(f"{name} is {what}; name the capture files in it, or a glob such as *.jsonl")
            # Where there are no hard links the path says it; some network file systems number their files alike.
            key: object = (status.st_dev, status.st_ino) if status.st_nlink > 1 else resolved
            if key in found:
                warnings.append(f"{name} names the same file as {found[key][1]}: it is read once")
            else:
                found[key] = (resolved, name)
    return ExpandedPaths(tuple(path for path, _ in found.values()), tuple(warnings))
