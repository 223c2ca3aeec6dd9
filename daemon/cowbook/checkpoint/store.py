"""A symbol's directory of checkpoints: the lock, the commit, pruning and quarantine.

A commit, in order:

1. The caller has made the staged parts durable (`ParquetSink.sync_staged`), since the manifest is going to list them.
2. Check that the lock file is still ours.
3. Make `.tmp-<epoch>-<incarnation>/` and write the checkpoint's files into it. Each is fsynced through the descriptor that
   wrote it, because after a failed fsync another descriptor may report success.
4. Write the manifest last. It has the digest of every file and of itself, so a directory without a whole manifest is damaged.
5. Fsync the temporary directory, so that the files' names are durable.
6. Rename it to `<epoch>/` and fsync `checkpoints/`. **The rename is the commit.** Success is reported only after the fsync. If
   either call fails, the outcome is unknown, and RestartNeededError makes the worker recover from what is on disk.
7. The caller publishes the parts, and `mark_published` then writes the empty file `published`. Until it exists, each start
   publishes them again, which is harmless.
8. `prune` removes the oldest checkpoints: it renames each to `.del-<epoch>`, fsyncs, and unlinks. A crash between these steps
   leaves names that `sweep` removes at the next start.

Steps 2 and 3 are `write`, steps 4 to 6 are `commit`. A failure before step 6 commits nothing and leaves only a temporary
directory. An epoch is never used twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cowbook.checkpoint.load import (
    MANIFEST_FILE,
    PUBLISHED_FILE,
    Checkpoint,
    OutdatedError,
    check_private,
    is_published,
    read_checkpoint,
    read_manifest,
)
from cowbook.checkpoint.manifest import DamagedError, FileEntry, Manifest, encode_manifest
from cowbook.errors import RecoveryError, RestartNeededError
from cowbook.plain.durable_files import (
    PARENT_DIRECTORY,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    DurableFiles,
    as_storage_error,
    is_file_of,
    storage_error,
)

_LOCK_BYTES = 64


@dataclass(frozen=True, slots=True)
class Damaged:
    """A committed checkpoint that is damaged."""

    epoch: int
    directory: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The newest valid checkpoint, if any, and the damaged ones that are newer."""

    checkpoint: Checkpoint | None
    damaged: tuple[Damaged, ...]
    outdated: OutdatedError | None = None
    """The next older one is whole, but this release cannot read its state: nothing may go on without it."""


class CheckpointStore:
    """One symbol's checkpoints, below `<state_dir>/<directory_name>`. All methods block: call them from an executor.

    Methods raise StorageError if a file operation fails, RestartNeededError if its outcome is unknown.
    """

    def __init__(self, state_dir: Path, directory_name: str, symbol_id: str, files: DurableFiles | None = None) -> None:
        self.root = state_dir / directory_name
        self.checkpoints = self.root / "checkpoints"
        self.incarnation = 0
        """The number of this start of the worker; set by `lock`."""
        self._quarantine = self.root / "quarantine"
        self._id = symbol_id
        self._files = files or DurableFiles()
        self._lock: int | None = None
        self._last_epoch = 0

    def lock(self, *, counts: bool = True) -> None:
        """Make the directories and take the lock. With `counts`, this is a start of a worker and gets its own incarnation.

        Raises RecoveryError if another process holds the lock, or if the directory is not private to this user.
        """
        try:
            self._files.make_directories(self.root.parent.parent, PARENT_DIRECTORY)
            self._files.make_directories(self.root, PRIVATE_DIRECTORY)
            check_private(self.root, self.root.lstat(), os.geteuid())
            # An earlier start may have been killed between making these and syncing their names.
            self._files.sync_directory(self.root.parent)
            self._files.sync_directory(self.root)
            path = self.root / "LOCK"
            lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
            self._lock = lock
            check_private(path, os.fstat(lock), os.geteuid())
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                process = f" (process {content[1]})" if len(content := _lock_content(lock)) > 1 else ""
                raise RecoveryError(
                    f"{path} is locked: another cowbook{process} runs this symbol; stop that one first"
                ) from error
            content = _lock_content(lock)
            # After a power cut the number may be old or garbage, so the names on disk are considered, too.
            seen = [int(content[0]) if content and content[0].isdigit() else 0, *self._incarnations()]
            self.incarnation = max(seen) + counts
            os.pwrite(lock, f"{self.incarnation} {os.getpid()}\n".encode().ljust(_LOCK_BYTES), 0)
            os.fsync(lock)
        except OSError as error:
            self.unlock()
            raise storage_error("use", self.root, error) from error
        except RecoveryError:
            self.unlock()
            raise

    def check(self, epoch: int = 0) -> None:
        """Check that the lock file is still there, and so is the committed checkpoint `epoch`, if not 0.

        Raises RestartNeededError if they were removed or replaced: another process could hold the lock by now.
        """
        path = self.root / "LOCK"
        if self._lock is None or not is_file_of(path, self._lock):
            raise RestartNeededError(
                f"{path} was removed or replaced while this symbol runs: never remove state of a running symbol"
            )
        manifest = self.checkpoints / str(epoch) / MANIFEST_FILE
        if epoch and not manifest.exists():
            raise RestartNeededError(f"{manifest} was removed while this symbol runs: never remove state of a running symbol")

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _incarnations(self) -> list[int]:
        """Incarnations of checkpoints that were begun and never committed."""
        names = (path.name.rpartition("-")[2] for path in _entries(self.checkpoints) if path.name.startswith(".tmp-"))
        return [int(name) for name in names if name.isascii() and name.isdigit()]

    def epochs(self) -> list[int]:
        """Epochs of the committed checkpoints, newest first."""
        with as_storage_error("read", self.checkpoints):
            return epochs_in(self.checkpoints)

    def find(self) -> Found:
        """Read checkpoints from the newest to the oldest until one is valid. Changes nothing.

        Raises RecoveryError if one cannot be read and is not provably damaged.
        """
        with as_storage_error("read", self.checkpoints):
            if self.checkpoints.exists() or self.checkpoints.is_symlink():
                if not self.checkpoints.is_dir():
                    raise RecoveryError(f"{self.checkpoints} is not a directory: move it away")
                check_private(self.checkpoints, self.checkpoints.lstat(), os.geteuid())
                self._files.sync_directory(self.checkpoints)  # an unsynced rename must not vanish after it was relied on
            epochs = self.epochs()
            self._last_epoch = max([0, *epochs, *_numbers(self.checkpoints), *_numbers(self._quarantine)])
        damaged: list[Damaged] = []
        for epoch in epochs:
            directory = self.checkpoints / str(epoch)
            try:
                return Found(read_checkpoint(directory, self._id, os.geteuid()), tuple(damaged))
            except DamagedError as error:
                damaged.append(Damaged(epoch, directory, str(error)))
            except OutdatedError as error:
                return Found(None, tuple(damaged), error)
        return Found(None, tuple(damaged))

    def next_epoch(self) -> int:
        """Return a new epoch: one more than any ever seen. Each attempt takes one."""
        self._last_epoch += 1
        return self._last_epoch

    def write(self, epoch: int, contents: Mapping[str, bytes | memoryview]) -> tuple[FileEntry, ...]:
        """Write a checkpoint's files, all but the manifest, where no recovery looks; what the manifest is to say of them.

        Raises StorageError, and RestartNeededError when the lock was lost.
        """
        self.check()
        temporary = self._temporary(epoch)
        with self._removed_on_error(temporary):
            self._files.make_directories(self.checkpoints, PRIVATE_DIRECTORY)
            self._files.make_directory(temporary, PRIVATE_DIRECTORY)
            for name, content in contents.items():
                self._files.create(temporary / name, content, PRIVATE_FILE)
        return tuple(FileEntry.of(name, content) for name, content in contents.items())

    def commit(self, manifest: Manifest) -> Path:
        """Write the manifest beside its files, and rename their directory: that is the commit.

        Raises StorageError when nothing was committed, RestartNeededError when that cannot be told.
        """
        temporary, target = self._temporary(manifest.epoch), self.checkpoints / str(manifest.epoch)
        with self._removed_on_error(temporary):
            self._files.create(temporary / MANIFEST_FILE, encode_manifest(manifest), PRIVATE_FILE)
            self._files.sync_directory(temporary)
        with as_storage_error("commit", target, RestartNeededError):
            self._files.rename(temporary, target)
            self._files.sync_directory(self.checkpoints)
        return target

    def _temporary(self, epoch: int) -> Path:
        return self.checkpoints / f".tmp-{epoch}-{self.incarnation}"

    @contextmanager
    def _removed_on_error(self, temporary: Path) -> Iterator[None]:
        """Where a file operation fails, what was begun is removed, and StorageError raised."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):  # the next start removes it, too
                self._files.remove_tree(temporary)
            raise storage_error("write", temporary, error) from error

    def mark_published(self, directory: Path) -> None:
        """Record that the parts that a checkpoint lists are published."""
        marker = directory / PUBLISHED_FILE
        with as_storage_error("write", marker, RestartNeededError):
            if not marker.exists():
                self._files.create(marker, b"", PRIVATE_FILE)
                self._files.sync_directory(directory)

    def prune(self, retain: int) -> list[int]:
        """Remove all but the newest `retain` checkpoints, and rewrite the index. Returns the removed epochs."""
        removed = self.epochs()[retain:]
        self.remove(removed)
        return removed

    def remove(self, epochs: list[int]) -> None:
        """Remove checkpoints, oldest first, and rewrite the index."""
        removed = sorted(epochs)
        with as_storage_error("prune", self.checkpoints):
            for epoch in removed:
                self._files.rename(self.checkpoints / str(epoch), self.checkpoints / f".del-{epoch}")
            if removed:
                self._files.sync_directory(self.checkpoints)
            for path in _entries(self.checkpoints):
                if path.name.startswith(".del-"):  # includes those whose removal failed before
                    self._remove(path)
            self._write_index()

    def quarantine(self, epochs: list[int]) -> None:
        """Move checkpoints to `quarantine/`, from where they are never loaded."""
        if not epochs:
            return
        with as_storage_error("quarantine", self.checkpoints):
            self._files.make_directories(self._quarantine, PRIVATE_DIRECTORY)
            for epoch in epochs:
                target = self._quarantine / str(epoch)
                number = 1
                while target.exists():
                    number += 1
                    target = self._quarantine / f"{epoch}-{number}"
                self._files.rename(self.checkpoints / str(epoch), target)
            self._files.sync_directory(self._quarantine)
            self._files.sync_directory(self.checkpoints)

    def sweep(self) -> None:
        """Remove checkpoints that were begun and never committed, or half removed."""
        with as_storage_error("clean", self.checkpoints):
            for path in _entries(self.checkpoints):
                if path.name.startswith((".tmp-", ".del-")):
                    self._remove(path)
            for path in _entries(self.root):
                if path.name.startswith(".index-"):
                    self._files.unlink(path)

    def _remove(self, path: Path) -> None:
        """Remove a directory with its content, or whatever else has the name."""
        if path.is_dir() and not path.is_symlink():
            self._files.remove_tree(path)
        else:
            self._files.unlink(path)

    def _write_index(self) -> None:
        """Write `index.json`, an overview made from the manifests. Nothing depends on it, so it is not synced."""
        temporary = self.root / f".index-{self.incarnation}.json"
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"id": self._id, "checkpoints": overview(self.root, self._id)}, file, indent=1)
        temporary.replace(self.root / "index.json")


def overview(root: Path, symbol_id: str) -> list[dict[str, Any]]:
    """Figures of each committed checkpoint below a symbol's state directory, newest first, from its manifest.

    A checkpoint whose manifest cannot be used has a `problem` instead.
    """
    owner = root.lstat().st_uid
    return [_overview_row(root / "checkpoints" / str(epoch), symbol_id, owner) for epoch in epochs_in(root / "checkpoints")]


def _overview_row(directory: Path, symbol_id: str, owner: int) -> dict[str, Any]:
    try:
        return figures(read_manifest(directory, symbol_id, owner), is_published(directory))
    except (DamagedError, RecoveryError) as error:
        return {"epoch": int(directory.name), "valid": False, "problem": str(error)}


def figures(manifest: Manifest, published: bool) -> dict[str, Any]:
    """A valid checkpoint's figures for the user, as JSON values."""
    return {
        "epoch": manifest.epoch,
        "time": manifest.checkpoint_timestamp,
        "trigger": "+".join(manifest.triggers),
        "events_processed": manifest.events_processed,
        "last_update_id": manifest.last_update_id,
        "current_file": manifest.current_file,
        "file_offset": manifest.file_offset,
        "bytes": manifest.size_bytes,
        "levels": manifest.levels,
        "snapshot_duration_ms": manifest.snapshot_duration_ms,
        "processing_rate": manifest.processing_rate,
        "persist_seconds": manifest.persist_seconds,
        "end_of_input": manifest.end_of_input,
        "incarnation": manifest.incarnation,
        "published": published,
        "valid": True,
        "problem": None,
    }


def epochs_in(checkpoints: Path) -> list[int]:
    """Epochs of the committed checkpoints in a directory, newest first."""
    return sorted((int(path.name) for path in _entries(checkpoints) if is_epoch(path.name)), reverse=True)


def _lock_content(lock: int) -> list[str]:
    """The last start's incarnation and process id, as text."""
    return os.pread(lock, _LOCK_BYTES, 0).decode("ascii", "replace").split()


def is_epoch(name: str) -> bool:
    """Whether a directory's name is that of a committed checkpoint."""
    return name.isascii() and name.isdigit() and str(int(name)) == name


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _numbers(directory: Path) -> list[int]:
    """Epochs in the names of checkpoints: committed, begun, half removed or in quarantine."""
    parts = (path.name.removeprefix(".tmp-").removeprefix(".del-").partition("-")[0] for path in _entries(directory))
    return [int(part) for part in parts if part.isascii() and part.isdigit()]
