"""The directory of a symbol's checkpoints: its lock, the commit, retention and quarantine."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cowbook.checkpoint.load import (
    MANIFEST_FILE,
    PUBLISHED_FILE,
    Checkpoint,
    check_private,
    is_published,
    read_checkpoint,
    read_manifest,
)
from cowbook.checkpoint.manifest import DamagedError, FileEntry, Manifest, encode_manifest
from cowbook.errors import RecoveryError, RestartNeededError
from cowbook.plain.durable_files import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    PUBLIC_DIRECTORY,
    DurableFiles,
    as_storage_error,
    is_file_of,
    storage_error,
)

_LOCK_BYTES = 64


@dataclass(frozen=True, slots=True)
class Damaged:
    """A committed checkpoint that is not what was written."""

    epoch: int
    directory: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The newest checkpoint that holds, if any, and the damaged ones that were passed on the way."""

    checkpoint: Checkpoint | None
    damaged: tuple[Damaged, ...]


class CheckpointStore:
    """Checkpoints of one symbol below `<state_dir>/<directory_name>`. All methods block: call them from an executor.

    Methods that change something raise StorageError when a file operation fails.
    """

    def __init__(self, state_dir: Path, directory_name: str, symbol_id: str, files: DurableFiles | None = None) -> None:
        self.root = state_dir / directory_name
        self.checkpoints = self.root / "checkpoints"
        self.incarnation = 0
        """Number of this start; set by `lock`."""
        self._quarantine = self.root / "quarantine"
        self._id = symbol_id
        self._files = files or DurableFiles()
        self._lock: int | None = None
        self._last_epoch = 0

    def lock(self, *, counts: bool = True) -> None:
        """Make the directories, take the lock, and count the start, if it is one.

        Raises RecoveryError when another process holds the lock, or when the directory is not this user's own.
        """
        try:
            self._files.make_directories(self.root.parent.parent, PUBLIC_DIRECTORY)
            self._files.make_directories(self.root, PRIVATE_DIRECTORY)
            check_private(self.root, self.root.lstat(), os.geteuid())
            # A start that was killed may have made these, and not made their names durable.
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
            # After a power cut the number may be an older one, or garbage: what is on disk counts, too.
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
        """See that the lock's file is still in its place, and a committed checkpoint, if one is named.

        Raises RestartNeededError when someone has removed or replaced them: another process might hold the lock by now.
        """
        path = self.root / "LOCK"
        if self._lock is None or not is_file_of(path, self._lock):
            raise RestartNeededError(
                f"{path} was removed or replaced while this symbol runs: never remove state of a running one"
            )
        manifest = self.checkpoints / str(epoch) / MANIFEST_FILE
        if epoch and not manifest.exists():
            raise RestartNeededError(f"{manifest} was removed while this symbol runs: never remove state of a running one")

    def unlock(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _incarnations(self) -> list[int]:
        """Of checkpoints that were begun and never committed."""
        names = (path.name.rpartition("-")[2] for path in _entries(self.checkpoints) if path.name.startswith(".tmp-"))
        return [int(name) for name in names if name.isascii() and name.isdigit()]

    def epochs(self) -> list[int]:
        """Epochs of the committed checkpoints, newest first."""
        with as_storage_error("read", self.checkpoints):
            return epochs_in(self.checkpoints)

    def find(self) -> Found:
        """Walk from the newest to the oldest until one holds. Changes nothing.

        Raises RecoveryError when one can neither be read nor be called damaged.
        """
        with as_storage_error("read", self.checkpoints):
            if self.checkpoints.exists() or self.checkpoints.is_symlink():
                if not self.checkpoints.is_dir():
                    raise RecoveryError(f"{self.checkpoints} is no directory: move it away")
                check_private(self.checkpoints, self.checkpoints.lstat(), os.geteuid())
                self._files.sync_directory(self.checkpoints)  # a rename that was not synced must not vanish later
            epochs = self.epochs()
            self._last_epoch = max([0, *epochs, *_numbers(self.checkpoints), *_numbers(self._quarantine)])
        damaged: list[Damaged] = []
        for epoch in epochs:
            directory = self.checkpoints / str(epoch)
            try:
                return Found(read_checkpoint(directory, self._id, os.geteuid()), tuple(damaged))
            except DamagedError as error:
                damaged.append(Damaged(epoch, directory, str(error)))
        return Found(None, tuple(damaged))

    def next_epoch(self) -> int:
        """One more than any that was ever seen; each attempt takes one."""
        self._last_epoch += 1
        return self._last_epoch

    def commit(
        self, epoch: int, contents: Mapping[str, bytes | memoryview], describe: Callable[[tuple[FileEntry, ...]], Manifest]
    ) -> Path:
        """Write a checkpoint's files, manifest last, and rename their directory: that is the commit.

        `describe` makes the manifest once the files are written. Raises StorageError when nothing was committed,
        RestartNeededError when that cannot be told.
        """
        self.check()
        temporary = self.checkpoints / f".tmp-{epoch}-{self.incarnation}"
        target = self.checkpoints / str(epoch)
        try:
            self._files.make_directories(self.checkpoints, PRIVATE_DIRECTORY)
            self._files.make_directory(temporary, PRIVATE_DIRECTORY)
            for name, content in contents.items():
                self._files.create(temporary / name, content, PRIVATE_FILE)
            manifest = describe(tuple(FileEntry.of(name, content) for name, content in contents.items()))
            self._files.create(temporary / MANIFEST_FILE, encode_manifest(manifest), PRIVATE_FILE)
            self._files.sync_directory(temporary)
        except OSError as error:
            with suppress(OSError):  # the next start removes it, too
                self._files.remove_tree(temporary)
            raise storage_error("write", temporary, error) from error
        with as_storage_error("commit", target, RestartNeededError):
            self._files.rename(temporary, target)
            self._files.sync_directory(self.checkpoints)
        return target

    def mark_published(self, directory: Path) -> None:
        """Note that the parts which a checkpoint lists are in their places."""
        marker = directory / PUBLISHED_FILE
        with as_storage_error("write", marker, RestartNeededError):
            if not marker.exists():
                self._files.create(marker, b"", PRIVATE_FILE)
                self._files.sync_directory(directory)

    def prune(self, retain: int) -> list[int]:
        """Remove the oldest checkpoints beyond the newest `retain`, and write the index anew; the epochs that went."""
        removed = self.epochs()[retain:]
        self.remove(removed)
        return removed

    def remove(self, epochs: list[int]) -> None:
        """Remove checkpoints, oldest first, and write the index anew."""
        removed = sorted(epochs)
        with as_storage_error("prune", self.checkpoints):
            for epoch in removed:
                self._files.rename(self.checkpoints / str(epoch), self.checkpoints / f".del-{epoch}")
            if removed:
                self._files.sync_directory(self.checkpoints)
            for path in _entries(self.checkpoints):
                if path.name.startswith(".del-"):  # also those whose removal has failed before
                    self._remove(path)
            self._write_index()

    def quarantine(self, epochs: list[int]) -> None:
        """Move checkpoints out of the way, never to be loaded again."""
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
        """Remove what was begun and never committed, and what was half removed."""
        with as_storage_error("clean", self.checkpoints):
            for path in _entries(self.checkpoints):
                if path.name.startswith((".tmp-", ".del-")):
                    self._remove(path)
            for path in _entries(self.root):
                if path.name.startswith(".index-"):
                    self._files.unlink(path)

    def _remove(self, path: Path) -> None:
        """A directory with all that is in it, or whatever else has got such a name."""
        if path.is_dir() and not path.is_symlink():
            self._files.remove_tree(path)
        else:
            self._files.unlink(path)

    def _write_index(self) -> None:
        """Derived from the manifests, for a glance: nothing depends on it, so it is not synced."""
        temporary = self.root / f".index-{self.incarnation}.json"
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"id": self._id, "checkpoints": overview(self.root, self._id)}, file, indent=1)
        temporary.replace(self.root / "index.json")


def overview(root: Path, symbol_id: str) -> list[dict[str, Any]]:
    """Figures of each committed checkpoint below a symbol's state directory, newest first, by its manifest.

    One whose manifest cannot be used has its `problem` instead.
    """
    owner = root.lstat().st_uid
    return [_overview_row(root / "checkpoints" / str(epoch), symbol_id, owner) for epoch in epochs_in(root / "checkpoints")]


def _overview_row(directory: Path, symbol_id: str, owner: int) -> dict[str, Any]:
    try:
        return figures(read_manifest(directory, symbol_id, owner), is_published(directory))
    except (DamagedError, RecoveryError) as error:
        return {"epoch": int(directory.name), "valid": False, "problem": str(error)}


def figures(manifest: Manifest, published: bool) -> dict[str, Any]:
    """What a person wants to know of a checkpoint that holds, as JSON values."""
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
    """The last start's number and process, as text."""
    return os.pread(lock, _LOCK_BYTES, 0).decode("ascii", "replace").split()


def is_epoch(name: str) -> bool:
    """Whether a directory's name is that of a committed checkpoint."""
    return name.isascii() and name.isdigit() and str(int(name)) == name


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _numbers(directory: Path) -> list[int]:
    """Epochs that names speak of: committed, begun, half removed or in quarantine."""
    parts = (path.name.removeprefix(".tmp-").removeprefix(".del-").partition("-")[0] for path in _entries(directory))
    return [int(part) for part in parts if part.isascii() and part.isdigit()]
