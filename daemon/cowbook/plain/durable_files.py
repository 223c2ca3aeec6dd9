"""Durable file operations. All results reach the disk through them, so tests can replace them by a recording file system.

After a power cut only what was fsynced is there: a file's bytes by the descriptor that wrote them, its name by its directory.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cowbook.errors import StorageError

PUBLIC_FILE = 0o666
PUBLIC_DIRECTORY = 0o775
"""Of output. Whatever the umask, not everyone may remove or replace what is in it."""
PARENT_DIRECTORY = 0o755
"""Of what lies above private directories: nobody else may move these away."""
PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


_HERE = -100  # AT_FDCWD
_RENAME_EXCHANGE = 2


class DurableFiles:
    """Operations of the real file system. Each raises OSError, and its effect is not durable before the sync."""

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Write and fsync a new file. `mode` is subject to the umask. Raises FileExistsError if it exists."""
        self.create_from(path, (content,), mode)

    def create_from(self, path: Path, pieces: Iterable[bytes | memoryview], mode: int) -> None:
        """As `create`, of content that comes in pieces."""
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Move within a file system, replacing the target."""
        os.rename(source, target)

    def exchange(self, one: Path, other: Path) -> None:
        """Have two files or directories of one file system change places, so that at no moment either is missing.

        Raises OSError (ENOSYS, EINVAL) where the system or the file system cannot.
        """
        library = ctypes.CDLL(None, use_errno=True)
        rename = getattr(library, "renameat2", None)
        if rename is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one), None, str(other))
        if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(one), None, str(other))

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileExistsError if the name is taken, by whomever."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Make a directory. Returns False if it exists."""
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not path.is_dir():
                raise
            return False
        return True

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directories(self, path: Path, mode: int) -> None:
        """Make a directory and its missing ancestors, and sync the name of each in its parent."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            if self.make_directory(directory, mode):
                self.sync_directory(directory.parent)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with its content, as far as it exists: another process may be removing it, too."""
        if not path.is_dir() or path.is_symlink():
            return
        with suppress(FileNotFoundError):
            for entry in sorted(path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    self.remove_tree(entry)
                else:
                    with suppress(FileNotFoundError):
                        self.unlink(entry)
            self.remove_directory(path)


OUT_OF_DESCRIPTORS = "this process may not open more files: raise the limit (`ulimit -n`, LimitNOFILE=)"
"""What to do at EMFILE."""

IMPOSSIBLE = (errno.EXDEV, errno.EFBIG, errno.ENAMETOOLONG)
"""Errors that come again with every attempt, whatever its files are called."""

LASTING = (*IMPOSSIBLE, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EEXIST)
"""Errors that do not pass by themselves: these, and something that stands in the way. Someone has to set it right."""

SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of a process or system that has nothing left to give at the moment."""

_HINTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EACCES: "give this user permission to write there",
    errno.EPERM: "give this user permission to write there",
    errno.EROFS: "make it writable, or name another directory",
    errno.EEXIST: "something else is there: move it away",
    errno.ENOTDIR: "something there is not a directory: move it away",
    errno.EISDIR: "a directory is there: move it away",
    errno.ELOOP: "a symbolic link is there: put the real directory or file in its place",
    errno.EXDEV: "it is on another file system: state, and output with its .staging, must each be on one",
    errno.ENAMETOOLONG: "use shorter directories or a shorter id",
    errno.EFBIG: "files may not be that large: raise the limit (`ulimit -f`, LimitFSIZE=), or make parts smaller (part_events)",
    errno.EMFILE: OUT_OF_DESCRIPTORS,
    errno.ENFILE: "the whole system has too many files open: raise fs.file-max",
    errno.EIO: "look at the disk",
    errno.ESTALE: "the file server has forgotten it: mount it again",
    errno.ENOMEM: "the system has no memory left",
}


def is_file_of(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to the file that is open as `descriptor`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


@contextmanager
def as_storage_error(action: str, path: Path, kind: type[StorageError] = StorageError) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError of this kind."""
    try:
        yield
    except OSError as error:
        raise storage_error(action, path, error, kind) from error


def storage_error(action: str, path: Path, error: OSError, kind: type[StorageError] = StorageError) -> StorageError:
    """Make the StorageError that says what could not be done, where, why, and what to do."""
    code = error.errno or 0
    named = error.filename2 or error.filename
    where = f"{path}: {os.fsdecode(named)}" if isinstance(named, str | bytes | Path) and str(named) != str(path) else str(path)
    return kind(f"cannot {action} {where}: {error.strerror or error}; {_HINTS.get(code, 'look at the file system')}", code)
