"""From paths and globs to the files that they name, in the order in which these are read."""

from __future__ import annotations

import glob
import re
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

    Symlinks are resolved, and a file that is named twice is read once, at its first place. Raises InputError for a path that
    does not exist and for a glob without a match.
    """
    found: dict[Path, str] = {}
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
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise InputError(f"{name}: {reason}; correct the path or provide the file") from error
            if resolved in found:
                warnings.append(f"{name} names the same file as {found[resolved]}: it is read once")
            else:
                found[resolved] = name
    return ExpandedPaths(tuple(found), tuple(warnings))
