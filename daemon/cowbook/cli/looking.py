"""Looks at the files that a command names, and shows how far it is."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cowbook.capture.paths import natural_key
from cowbook.cli.console import plain_console
from cowbook.errors import InputError
from cowbook.inspection.facts import FileFacts
from cowbook.inspection.look import look_at
from cowbook.objects.object_path import find_objects
from cowbook.plain.escaping import escaped
from cowbook.plain.places import is_url
from cowbook.symbol.warm import missing, warm


def find_files(paths: Sequence[str]) -> list[Path]:
    """The files that paths, globs and directories name, each once; those of a directory in natural order, hidden ones left out.

    Raises InputError for a path that is not there, and where no file is left.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if is_url(path):
            found |= dict.fromkeys(_find_objects(path))
            continue
        if Path(path).exists():
            matches = [path]
        else:
            matches = sorted(glob.glob(path, recursive=True), key=natural_key) if glob.has_magic(path) else []  # noqa: PTH207
        if not matches:
            raise InputError(f"{path}: no such file; correct the path or provide the file")
        for match in map(Path, matches):
            # Unlike rglob, a walk goes on where a directory has vanished meanwhile.
            inside = [Path(place, name) for place, _, names in os.walk(match) for name in names] if match.is_dir() else [match]
            visible = (file for file in inside if not any(part.startswith(".") for part in file.relative_to(match).parts))
            found |= dict.fromkeys(sorted((file for file in visible if file.is_file()), key=lambda file: natural_key(str(file))))
    if not found:
        raise InputError(f"{', '.join(paths)}: there is no file in it; name the capture files")
    return list(found)


def _find_objects(url: str) -> list[Path]:
    """As `find_files`, of object storage; a URL that ends with a slash is a directory."""
    objects = [path for path in find_objects(url) if not path.name.startswith(".")]
    if not objects:
        raise InputError(f"{url}: no such object; correct the URL, or provide the object; a folder ends with a slash")
    return sorted(objects, key=lambda path: natural_key(str(path)))


def look_at_all(paths: Sequence[str]) -> list[FileFacts]:
    """Look at all files that the paths name. On a terminal, standard error shows what takes time."""
    files = find_files(paths)
    console = plain_console(stderr=True)
    ready: set[str] = set()
    with ExitStack() as resources:
        tell: Callable[[str], None] = lambda _: None  # noqa: E731 - replaced where there is a terminal
        if console.is_terminal:
            status = resources.enter_context(console.status("looking"))
            tell = status.update

        def prepare(formats: list[str]) -> None:
            """Compile what these formats need, unless it is there."""
            new = set(formats) - ready
            if new and (count := missing(new)):
                tell(f"compiling {count} kernels, once for this user and release")
                warm(new, lambda done, of: tell(f"compiling kernels, once for this user and release: {done} of {of} are ready"))
            ready.update(new)

        found = []
        for number, file in enumerate(files, 1):
            tell(escaped(f"looking at {file.name}, {number} of {len(files)}"))
            found.append(look_at(file, prepare=prepare))
        return found
