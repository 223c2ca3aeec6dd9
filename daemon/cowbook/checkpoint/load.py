"""Reads a checkpoint back and verifies it. Tells proven damage from what merely cannot be read now."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cowbook.checkpoint.manifest import (
    DamagedError,
    FileEntry,
    Manifest,
    NewerVersionError,
    OlderVersionError,
    decode_manifest,
)
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.state_files import decode_state
from cowbook.errors import RecoveryError
from cowbook.plain.durable_files import storage_error

MANIFEST_FILE = "manifest.json"
PUBLISHED_FILE = "published"
_FOREIGN_BITS = 0o077

# These errors prove damage: the name is missing or is not a file. Any other error may be temporary.
_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)


class OutdatedError(RecoveryError):
    """A checkpoint is whole, but only an earlier release reads its state."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of which every digest was verified."""

    directory: Path
    manifest: Manifest
    published: bool
    state: PipelineState


def check_private(path: Path, status: os.stat_result, owner: int) -> None:
    """Raises RecoveryError if anyone but `owner` can read or change a path that is recovered from."""
    if stat.S_ISLNK(status.st_mode):
        raise RecoveryError(f"{path} is a symbolic link: put the real thing in its place, or name that directory as state_dir")
    if status.st_uid != owner:
        raise RecoveryError(
            f"{path} belongs to user {status.st_uid}, not to {owner}: run as that user, or `chown -R {owner}` the directory"
        )
    if status.st_mode & _FOREIGN_BITS:
        mode = stat.S_IMODE(status.st_mode)
        raise RecoveryError(f"{path} has mode {mode:04o}: others may have changed it; look at it, then `chmod go-rwx` it")


def who_could_remove(state_dir: Path) -> str | None:
    """Returns who else could move whole states out of a directory, as a text for users; None for nobody.

    What they hold is checked anyway. But who may rename in the directory can hide a symbol's state, or put an empty one there.
    Raises StorageError if it cannot be looked at.
    """
    try:
        status = state_dir.stat()
    except FileNotFoundError:
        return None  # it will be made for this user alone
    except OSError as error:
        raise storage_error("look at", state_dir, error) from error
    if status.st_uid not in (0, os.geteuid()):
        return f"{state_dir} belongs to user {status.st_uid}, who could remove the state of every symbol: give state its own"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(status.st_mode)
        return f"{state_dir} has mode {mode:04o}: everyone could remove the state of every symbol; `chmod o-w` it"
    return None


def read_private(path: Path, owner: int) -> bytes:
    """Read a file. Raises DamagedError if it is missing or not a file, RecoveryError if it cannot be read now."""
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _judge_read_error(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{path.name} is not a file")
        check_private(path, status, owner)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return file.readall()
    except OSError as error:
        raise _judge_read_error(path, error) from error
    finally:
        os.close(descriptor)


def _judge_read_error(path: Path, error: OSError) -> Exception:
    reason = error.strerror or str(error)
    if error.errno in _DAMAGE:
        return DamagedError(f"{path.name}: {reason}")
    return RecoveryError(f"{path} cannot be read: {reason}; it may or may not be damaged: correct that and restart")


def read_manifest(
    directory: Path, symbol_id: str, owner: int, epoch: int | None = None, committed: Iterable[FileEntry] = ()
) -> Manifest:
    """Read a committed checkpoint's manifest. Raises DamagedError or RecoveryError.

    `epoch` is the directory's name where None is given. `committed` are the files that the commit log lists for it.
    """
    try:
        status = directory.lstat()
    except OSError as error:
        raise _judge_read_error(directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise DamagedError("is not a directory")
    check_private(directory, status, owner)
    try:
        content = read_private(directory / MANIFEST_FILE, owner)
        manifest = decode_manifest(content)
    except NewerVersionError as error:
        raise RecoveryError(f"{directory} {error}: use that release, or a later one") from error
    except OlderVersionError as error:
        raise OutdatedError(
            f"{directory} {error}: finish that input with the release that wrote it, use other directories, or use --allow-fresh "
            "to start from the beginning"
        ) from error
    if manifest.id != symbol_id:
        raise DamagedError(f"is of symbol {manifest.id}, not of {symbol_id}")
    if str(manifest.epoch) != (directory.name if epoch is None else str(epoch)):
        raise DamagedError(f"is of epoch {manifest.epoch}")
    committed = tuple(committed)
    if committed and FileEntry.of(MANIFEST_FILE, content) not in committed:
        raise DamagedError("is not the checkpoint of this epoch that the commit log lists")
    return manifest


def read_checkpoint(
    directory: Path, symbol_id: str, owner: int, epoch: int | None = None, committed: Iterable[FileEntry] = ()
) -> Checkpoint:
    """Read, verify and decode a committed checkpoint; arguments as of `read_manifest`. Raises DamagedError or RecoveryError."""
    manifest = read_manifest(directory, symbol_id, owner, epoch, committed)
    files = {}
    for entry in manifest.files:
        if Path(entry.name).name != entry.name:
            raise DamagedError(f"manifest.json names a file outside of its directory: {entry.name}")
        content = read_private(directory / entry.name, owner)
        if len(content) != entry.size_bytes:
            raise DamagedError(f"{entry.name} has {len(content)} bytes, not {entry.size_bytes}")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise DamagedError(f"{entry.name} does not match its digest")
        files[entry.name] = content
    state = decode_state(files)
    facts = (manifest.id, manifest.symbol, manifest.events_processed, manifest.last_update_id, manifest.file_offset)
    if facts != (state.id, state.symbol, state.events_processed, state.last_update_id, state.file_offset):
        raise DamagedError("manifest.json and book.parquet do not belong together")
    return Checkpoint(directory, manifest, is_published(directory), state)


def is_published(directory: Path) -> bool:
    """Whether the parts that a checkpoint lists were published. Raises RecoveryError if that cannot be read."""
    try:
        (directory / PUBLISHED_FILE).lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _judge_read_error(directory / PUBLISHED_FILE, error) from error
    return True
