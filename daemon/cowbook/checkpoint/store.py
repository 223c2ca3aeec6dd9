"""A symbol's directory of checkpoints: the lock, the commit, pruning and quarantine.

A commit, in order:

1. The caller has made the staged parts durable (`ParquetSink.sync_staged`), since the manifest is going to list them.
2. Check that the lock file is still ours, and that nobody has claimed the symbol since.
3. Make `.tmp-<epoch>-<claim>-<start>-<attempt>/` and write the checkpoint's files into it. Each is fsynced through the descriptor
   that wrote it, because after a failed fsync another descriptor may report success.
4. Write the manifest last. It has the digest of every file and of itself, so a directory without a whole manifest is damaged.
5. Fsync the temporary directory, so that the files' names are durable, and `checkpoints/`, so that its own is.
6. Append an entry to the commit log (`commit_log.py`). **That is the commit.** If it cannot be told whether the entry is there,
   RestartNeededError makes the worker recover from what is on disk. If the number is another process', FencedError ends it.
7. Rename the directory to `<epoch>/`. After a crash before that, the next start does it, for the entry has the directory's name.
8. The caller publishes the parts, and `mark_published` then writes the empty file `published`. Until it exists, each start
   publishes them again, which is harmless.
9. `prune` removes the oldest checkpoints: it renames each to `.del-<epoch>`, fsyncs, and unlinks. A crash between these steps
   leaves names that `sweep` removes at the next start. It removes the oldest entries of the log, too.

Steps 2 and 3 are `write`, steps 4 to 7 are `commit`. A failure before step 6 commits nothing, uses no number, and leaves only a
temporary directory. An epoch is never used twice.

Whatever removes or publishes first looks whether the log's last entry is still its own. That is no lock, so that what is removed
is only what no successor needs: what older claims have begun, and checkpoints beyond those to retain.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cowbook.checkpoint.commit_log import CommitLog, FencedBehindError, Tenure
from cowbook.checkpoint.listing import (
    CHECKPOINTS,
    LOG,
    QUARANTINE,
    entries_in,
    epochs_in,
    leading_numbers,
    overview,
    place_of,
    places,
    start_of,
)
from cowbook.checkpoint.load import (
    MANIFEST_FILE,
    PUBLISHED_FILE,
    Checkpoint,
    OutdatedError,
    check_private,
    read_checkpoint,
)
from cowbook.checkpoint.manifest import DamagedError, FileEntry, Manifest, encode_manifest
from cowbook.checkpoint.storage import DirectoryStorage, Storage
from cowbook.errors import CowbookError, FencedError, LockedError, RecoveryError, RestartNeededError, StorageError
from cowbook.plain.durable_files import (
    PARENT_DIRECTORY,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    DurableFiles,
    as_storage_error,
    is_file_of,
    storage_error,
)
from cowbook.plain.starts import Start

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
    is_passed_over: bool = False
    """Whether the log has a newer commit, be it damaged or moved to quarantine by an earlier start."""


class CheckpointStore:
    """One symbol's checkpoints, below `<state_dir>/<directory_name>`. All methods block: call them from an executor.

    Methods raise StorageError if a file operation fails, RestartNeededError if its outcome is unknown, and FencedError if another
    process has taken the symbol.
    """

    def __init__(
        self,
        state_dir: Path,
        directory_name: str,
        symbol_id: str,
        files: DurableFiles | None = None,
        tenure: Tenure | None = None,
        log: Storage | None = None,
    ) -> None:
        """`tenure` is what the workers of a process share: the first one claims the symbol.

        `log` is where the commit log lies, if not in a directory beside the checkpoints.
        """
        self.root = state_dir / directory_name
        self.checkpoints = self.root / CHECKPOINTS
        self.start = Start(0, 0)
        """This start of the worker: its number is set by `lock`, its claim by `claim`."""
        self._quarantine = self.root / QUARANTINE
        self._id = symbol_id
        self._files = files or DurableFiles()
        self._log = CommitLog(log or DirectoryStorage(self.root / LOG, self._files), symbol_id, tenure)
        self._lock: int | None = None
        self._last_epoch = 0
        self._attempts = 0

    @property
    def object_puts(self) -> int:
        """Requests that have written objects, or tried to: there are none with a directory."""
        return 0

    def lock(self, *, counts: bool = True) -> None:
        """Make the directories and take the lock. With `counts`, this is a start of a worker, and gets a number.

        Raises LockedError if another process holds the lock, RecoveryError if the directory is not private to this user.
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
                raise LockedError(f"{path} is locked: another cowbook{process} runs this symbol; stop that one first") from error
            content = _lock_content(lock)
            # After a power cut the number may be old or garbage, so the names on disk are considered, too.
            seen = [int(content[0]) if content and content[0].isdigit() else 0, *self._starts()]
            number = max(seen) + counts
            os.pwrite(lock, f"{number} {os.getpid()}\n".encode().ljust(_LOCK_BYTES), 0)
            os.fsync(lock)
            self.start = Start(0, number)
        except OSError as error:
            self.unlock()
            raise storage_error("use", self.root, error) from error
        except CowbookError:
            self.unlock()
            raise

    def check(self, epoch: int = 0) -> None:
        """Check that the lock file is still there, and the committed checkpoint `epoch`, if not 0; and that nobody has claimed.

        Raises RestartNeededError if they were removed or replaced: another process could hold the lock by now. Raises FencedError
        if another process has taken the symbol.
        """
        self._check_lock(epoch)
        self.check_claim()

    def _check_lock(self, epoch: int) -> None:
        path = self.root / "LOCK"
        if self._lock is None or not is_file_of(path, self._lock):
            raise RestartNeededError(
                f"{path} was removed or replaced while this symbol runs: never remove state of a running symbol"
            )
        manifest = self.checkpoints / str(epoch) / MANIFEST_FILE
        if epoch and not manifest.exists():
            raise RestartNeededError(f"{manifest} was removed while this symbol runs: never remove state of a running symbol")

    def check_claim(self) -> None:
        """Raises FencedError if another process has taken the symbol: nothing may be removed or published any more."""
        if self.start.claim:  # not so for a chore, which makes no checkpoints
            self._log.check()

    @contextmanager
    def unless_fenced(self) -> Iterator[None]:
        """Do what only the symbol's owner may. When it fails because another process has taken over, FencedError says so."""
        self.check_claim()
        try:
            yield
        except CowbookError:
            self.check_claim()
            raise

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _starts(self) -> list[int]:
        """Numbers of the starts that have begun checkpoints and not committed them."""
        return [start.number for path in entries_in(self.checkpoints) if (start := start_of(path.name)) is not None]

    def epochs(self) -> list[int]:
        """Epochs of the committed checkpoints, newest first."""
        with as_storage_error("read", self.checkpoints):
            return epochs_in(self.checkpoints)

    def find(self) -> Found:
        """Read the log, and checkpoints from the newest to the oldest until one is valid. Changes nothing.

        Raises RecoveryError if one cannot be read and is not provably damaged, and FencedError if this process has claimed the
        symbol, and another one since.
        """
        self._log.read()
        with as_storage_error("read", self.checkpoints):
            if self.checkpoints.exists() or self.checkpoints.is_symlink():
                if not self.checkpoints.is_dir():
                    raise RecoveryError(f"{self.checkpoints} is not a directory: move it away")
                check_private(self.checkpoints, self.checkpoints.lstat(), os.geteuid())
                self._files.sync_directory(self.checkpoints)  # an unsynced rename must not vanish after it was relied on
            places = self._places()
        damaged: list[Damaged] = []
        newest = max(self._log.commits, default=0)
        for epoch, directory in places.items():
            try:
                checkpoint = self._read(epoch, directory)
                return Found(checkpoint, tuple(damaged), is_passed_over=bool(damaged) or epoch < newest)
            except DamagedError as error:
                damaged.append(Damaged(epoch, directory, str(error)))
            except OutdatedError as error:
                return Found(None, tuple(damaged), error)
        return Found(None, tuple(damaged))

    def _read(self, epoch: int, directory: Path) -> Checkpoint:
        """Read a committed checkpoint. Its writer may still be alive, and give it its name meanwhile."""
        entry = self._log.commits.get(epoch)
        committed = entry.files if entry is not None else ()
        try:
            return read_checkpoint(directory, self._id, os.geteuid(), epoch, committed)
        except DamagedError:
            named = place_of(self.root, epoch, self._log.commits)
            if named == directory:
                raise
            return read_checkpoint(named, self._id, os.geteuid(), epoch, committed)

    def is_as_found(self) -> bool:
        """Whether nobody has committed or claimed since `find`: else what it has found may be outdated, or removed."""
        return self._log.is_as_read

    def claim(self) -> bool:
        """Claim the symbol, unless this process has: whoever had it before is fenced from here on.

        Returns whether what `find` has found is the newest; else another process has committed meanwhile, for the last time.
        """
        is_newest = self._log.claim()
        self.start = Start(self._log.owner, self.start.number)
        return is_newest

    def give_up(self, epoch: int) -> bool:  # noqa: ARG002 - what another kind of store may do
        """Never find this checkpoint again, since its parts are lost. Returns whether the one before can make them anew."""
        return False

    def committed(self) -> list[int]:
        """Epochs of the committed checkpoints, newest first, with one that has no name yet or is gone."""
        return list(self._places())

    def _places(self) -> dict[int, Path]:
        """Where the committed checkpoints lie, newest first."""
        with as_storage_error("read", self.checkpoints):
            kept = leading_numbers(path.name for path in entries_in(self._quarantine))
            used = leading_numbers(path.name.removeprefix(".del-") for path in entries_in(self.checkpoints))
            self._last_epoch = max([0, *self._log.commits, *used, *kept])
            return places(self.root, self._log.commits)

    def adopt(self, checkpoint: Checkpoint) -> Checkpoint:
        """Give a checkpoint that was found its name, where an earlier start has committed it and ended before it could."""
        target = self.checkpoints / str(checkpoint.manifest.epoch)
        if checkpoint.directory == target:
            return checkpoint
        self.check_claim()
        with as_storage_error("commit", target, RestartNeededError):
            try:
                self._files.rename(checkpoint.directory, target)
            except FileNotFoundError:
                if not target.exists():  # its writer has given it its name after all
                    raise
            self._files.sync_directory(self.checkpoints)
        return replace(checkpoint, directory=target)

    def next_epoch(self) -> int:
        """The epoch of the next checkpoint: one more than any that was committed. An attempt that fails does not use it up."""
        return self._last_epoch + 1

    def write(self, epoch: int, contents: Mapping[str, bytes | memoryview]) -> tuple[FileEntry, ...]:
        """Write a checkpoint's files, all but the manifest, where no recovery looks; what the manifest is to say of them.

        Raises StorageError, and RestartNeededError when the lock was lost.
        """
        self.check()
        self._attempts += 1
        temporary = self._temporary(epoch)
        with self._removed_on_error(temporary):
            self._files.make_directories(self.checkpoints, PRIVATE_DIRECTORY)
            self._files.make_directory(temporary, PRIVATE_DIRECTORY)
            for name, content in contents.items():
                self._files.create(temporary / name, content, PRIVATE_FILE)
        return tuple(FileEntry.of(name, content) for name, content in contents.items())

    def commit(self, manifest: Manifest) -> Path:
        """Write the manifest beside its files, and append to the log: that is the commit. Returns the checkpoint's directory.

        Raises StorageError when nothing was committed, RestartNeededError when that cannot be told or when the directory cannot
        get its name, and FencedError when another process has taken the symbol.
        """
        epoch, content = manifest.epoch, encode_manifest(manifest)
        temporary, target = self._temporary(epoch), self.checkpoints / str(epoch)
        with self._removed_on_error(temporary):
            self._files.create(temporary / MANIFEST_FILE, content, PRIVATE_FILE)
            self._files.sync_directory(temporary)
            self._files.sync_directory(self.checkpoints)
            self._log.append(epoch, temporary.name, (*manifest.files, FileEntry.of(MANIFEST_FILE, content)))
        self._last_epoch = epoch
        try:
            self._files.rename(temporary, target)  # not synced: its old name is durable, and the log has it
        except OSError as error:
            self.check_claim()  # a successor gives it its name, too
            raise storage_error("commit", target, error, RestartNeededError) from error
        return target

    def _temporary(self, epoch: int) -> Path:
        return self.checkpoints / f".tmp-{epoch}-{self.start.name}-{self._attempts}"

    @contextmanager
    def _removed_on_error(self, temporary: Path) -> Iterator[None]:
        """Where nothing was committed, what was begun is removed. An OSError is raised as StorageError."""
        try:
            yield
        except (RestartNeededError, FencedBehindError):
            raise  # it may be committed
        except (OSError, StorageError, FencedError) as error:
            with suppress(OSError):  # the next start removes it, too
                self._files.remove_tree(temporary)
            if isinstance(error, OSError):
                raise storage_error("write", temporary, error) from error
            raise

    def mark_published(self, directory: Path) -> None:
        """Record that the parts that a checkpoint lists are published."""
        marker = directory / PUBLISHED_FILE
        with as_storage_error("write", marker, RestartNeededError):
            if not marker.exists():
                with suppress(FileExistsError):  # another process that had the symbol has just published the same parts
                    self._files.create(marker, b"", PRIVATE_FILE)
                self._files.sync_directory(directory)

    def prune(self, retain: int) -> list[int]:
        """Remove all but the newest `retain` checkpoints, rewrite the index, and shorten the log. Returns the removed epochs."""
        self.check_claim()
        epochs = self.epochs()
        removed = epochs[retain:]
        self.remove(removed)
        self._log.prune(min(epochs[:retain], default=0))
        return removed

    def remove(self, epochs: list[int]) -> None:
        """Remove checkpoints, oldest first, and rewrite the index."""
        removed = sorted(epochs)
        with as_storage_error("prune", self.checkpoints):
            for epoch in removed:
                self._files.rename(self.checkpoints / str(epoch), self.checkpoints / f".del-{epoch}")
            if removed:
                self._files.sync_directory(self.checkpoints)
            for path in entries_in(self.checkpoints):
                if path.name.startswith(".del-"):  # includes those whose removal failed before
                    self._remove(path)
            self._write_index()

    def quarantine(self, epochs: list[int]) -> None:
        """Move checkpoints to `quarantine/`, from where they are never loaded."""
        places = {epoch: path for epoch in epochs if os.path.lexists(path := place_of(self.root, epoch, self._log.commits))}
        if not places:
            return
        self.check_claim()
        with as_storage_error("quarantine", self.checkpoints):
            self._files.make_directories(self._quarantine, PRIVATE_DIRECTORY)
            for epoch, place in places.items():
                target = self._quarantine / str(epoch)
                number = 1
                while target.exists():
                    number += 1
                    target = self._quarantine / f"{epoch}-{number}"
                try:
                    self._files.rename(place, target)
                except FileNotFoundError:  # its writer has given it its name meanwhile, or somebody who found the same was faster
                    with suppress(FileNotFoundError):
                        self._files.rename(self.checkpoints / str(epoch), target)
            self._files.sync_directory(self._quarantine)
            self._files.sync_directory(self.checkpoints)

    def sweep(self) -> None:
        """Remove checkpoints that were half removed, or that this or an older claim has begun and never committed.

        What a committed one still lies under must have its name before (`adopt`).
        """
        self.check_claim()
        self._log.sweep()
        with as_storage_error("clean", self.checkpoints):
            for path in entries_in(self.checkpoints):
                start = start_of(path.name)
                is_later = start is not None and start.claim > self.start.claim
                if path.name.startswith((".tmp-", ".del-")) and not is_later:
                    self._remove_begun(path)
            for path in entries_in(self.root):
                if path.name.startswith(".index-"):
                    self._remove(path)

    def _remove_begun(self, path: Path) -> None:
        """Remove what was begun. Whoever still writes there finds it gone."""
        with suppress(FileNotFoundError):
            if path.name.startswith(".tmp-"):
                path, begun = path.with_name(f".del-{path.name[1:]}"), path
                self._files.rename(begun, path)
            self._remove(path)

    def _remove(self, path: Path) -> None:
        """Remove a directory with its content, or whatever else has the name."""
        if path.is_dir() and not path.is_symlink():
            self._files.remove_tree(path)
        else:
            with suppress(FileNotFoundError):
                self._files.unlink(path)

    def _write_index(self) -> None:
        """Write `index.json`, an overview made from the manifests. Nothing depends on it, so it is not synced."""
        temporary = self.root / f".index-{self.start.name}.json"
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"id": self._id, "checkpoints": overview(self.root, self._id)}, file, indent=1)
        temporary.replace(self.root / "index.json")


def _lock_content(lock: int) -> list[str]:
    """The last start's incarnation and process id, as text."""
    return os.pread(lock, _LOCK_BYTES, 0).decode("ascii", "replace").split()
