"""Where a symbol's commit log lies: objects that are created once, in a directory here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from cowbook.checkpoint.load import check_private, read_private
from cowbook.errors import RestartNeededError
from cowbook.plain.durable_files import PRIVATE_DIRECTORY, PRIVATE_FILE, DurableFiles, as_storage_error, storage_error


class Storage(Protocol):
    """Objects by their names. Methods raise StorageError when they fail."""

    def names(self) -> list[str]:
        """Names of all objects, in no order."""

    def read(self, name: str) -> bytes:
        """The content. Raises FileNotFoundError if there is no such object, RecoveryError if it must not be trusted."""

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """Make an object, whole and durable, unless there is one of this name: then False. Nothing replaces an object.

        `writer` is a word that no other process uses. Raises StorageError if there is no such object now, and
        RestartNeededError if that cannot be told.
        """

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""

    def sweep(self, below: int) -> None:
        """Remove what was left of creating objects whose names are lower numbers."""


class DirectoryStorage:
    """Objects as files of a private directory.

    An object is written under another name, and gets its own by a link: that is atomic and replaces nothing, on NFS, too.
    """

    def __init__(self, directory: Path, files: DurableFiles, owner: int | None = None) -> None:
        """`owner` is whose all of it must be: this user, where None is given."""
        self._directory = directory
        self._files = files
        self._owner = os.geteuid() if owner is None else owner

    def names(self) -> list[str]:
        """Names of all objects."""
        return [name for name in self._listed() if not name.startswith(".")]

    def _listed(self) -> list[str]:
        with as_storage_error("read", self._directory):
            try:
                status = self._directory.lstat()
            except FileNotFoundError:
                return []
            check_private(self._directory, status, self._owner)
            return os.listdir(self._directory)  # noqa: PTH208 - names only

    def read(self, name: str) -> bytes:
        """A file's content."""
        path = self._directory / name
        if not os.path.lexists(path):
            raise FileNotFoundError(name)
        return read_private(path, self._owner)

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """Write, sync, link, sync. A name that somebody else has taken is left as it is."""
        target, whole = self._directory / name, self._directory / f".new-{name}-{writer}"
        with self._removed_afterwards(whole):
            with as_storage_error("write", target):
                self._files.make_directories(self._directory, PRIVATE_DIRECTORY)
                self._files.create(whole, content, PRIVATE_FILE)
            try:
                self._files.link(whole, target)
            except (FileExistsError, FileNotFoundError):
                return False  # not found: whoever owns that number has swept what was left of it
            except OSError as error:
                raise storage_error("commit", target, error, RestartNeededError) from error
        with as_storage_error("commit", target, RestartNeededError):
            self._files.sync_directory(self._directory)
        return True

    @contextmanager
    def _removed_afterwards(self, path: Path) -> Iterator[None]:
        try:
            yield
        finally:
            with suppress(OSError):  # the next start removes it, too
                self._files.unlink(path)

    def delete(self, name: str) -> None:
        """Unlink the file."""
        with as_storage_error("remove", self._directory / name), suppress(FileNotFoundError):
            self._files.unlink(self._directory / name)

    def sweep(self, below: int) -> None:
        """Remove files that never got their own name."""
        for name in self._listed():
            number = name.removeprefix(".new-").partition("-")[0]
            if name.startswith(".new-") and number.isascii() and number.isdigit() and int(number) < below:
                self.delete(name)
