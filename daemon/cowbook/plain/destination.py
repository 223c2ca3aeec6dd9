"""Where a result is written: a file or directory that has its name only once it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cowbook.errors import ExportError
from cowbook.plain.durable_files import DurableFiles


@contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` under which to make a file or directory, which is renamed to `path` at the end.

    When the block raises, what was made is removed. Raises ExportError if `path` exists or cannot be written.
    """
    check_is_new(path)
    with scratch(path.parent, path.name) as partial:
        yield partial
        publish(partial, path)


def replace(path: Path, content: bytes) -> None:
    """Write a file that may replace an older one. Raises ExportError if it cannot be written: then the older one is as it was."""
    with scratch(path.parent, path.name) as partial:
        partial.write_bytes(content)
        partial.replace(path)


@contextmanager
def scratch(directory: Path, name: str) -> Iterator[Path]:
    """Gives the name of a hidden file or directory in `directory`, which is made; what is left there at the end is removed.

    Raises ExportError in place of OSError.
    """
    partial = directory / f".{name}.partial"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        try:
            yield partial
        finally:
            _remove(partial)
    except OSError as error:
        raise ExportError(f"{error.filename or directory} cannot be written: {error.strerror or error}") from error


def check_is_new(path: Path) -> None:
    """Raises ExportError if there is something of this name."""
    if path.exists() or path.is_symlink():
        raise ExportError(f"{path} exists: remove it, or give another name")


def publish(partial: Path, path: Path) -> None:
    """Give what is whole its name. Raises ExportError if there is something of this name."""
    check_is_new(path)
    DurableFiles().rename(partial, path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
