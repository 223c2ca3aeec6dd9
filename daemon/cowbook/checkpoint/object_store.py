"""A symbol's checkpoints in object storage: each is one packed object, and its commit one entry of the log (ADR 31).

What is written is made in a directory of this machine first, as for a state directory. It is packed and put under a name that
nobody else uses, and then the log's entry commits it. A start gets the newest commit that holds and unpacks it there.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from cowbook.checkpoint.commit_log import Entry, Tenure
from cowbook.checkpoint.listing import start_of
from cowbook.checkpoint.load import MANIFEST_FILE, PUBLISHED_FILE, OutdatedError, read_checkpoint
from cowbook.checkpoint.manifest import DamagedError, Manifest, encode_manifest
from cowbook.checkpoint.store import CheckpointStore, Damaged, Found
from cowbook.objects.bucket import Bucket
from cowbook.plain.durable_files import PRIVATE_DIRECTORY, PRIVATE_FILE, DurableFiles, as_storage_error

_LOG, _CHECKPOINTS = "log", "checkpoints"


class ObjectLog:
    """A commit log in object storage: `checkpoint/storage.py:Storage`."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/{_LOG}/"

    def names(self) -> list[str]:
        """Names of all objects."""
        return [key.removeprefix(self._prefix) for key in self._bucket.sizes(self._prefix)]

    def read(self, name: str) -> bytes:
        """An object's content."""
        return self._bucket.read(self._prefix + name)

    def create(self, name: str, content: bytes, writer: str) -> bool:  # noqa: ARG002 - nothing has another name meanwhile
        """A conditional PUT."""
        return self._bucket.create(self._prefix + name, content)

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._bucket.delete(self._prefix + name)

    def sweep(self, below: int) -> None:
        """An object is whole or not there."""


class ObjectCheckpointStore(CheckpointStore):
    """As CheckpointStore, with the log and packed checkpoints below `<url>/<directory_name>/`, and a copy below `scratch`."""

    def __init__(
        self,
        bucket: Bucket,
        scratch: Path,
        directory_name: str,
        symbol_id: str,
        files: DurableFiles | None = None,
        tenure: Tenure | None = None,
    ) -> None:
        super().__init__(scratch, directory_name, symbol_id, files, tenure, ObjectLog(bucket, directory_name))
        self._bucket = bucket
        self._prefix = f"{directory_name}/{_CHECKPOINTS}/"
        self._given_up: set[int] = set()
        self._damaged: set[int] = set()

    @property
    def object_puts(self) -> int:
        """Requests that have written objects, or tried to."""
        return self._bucket.puts

    def check(self, epoch: int = 0) -> None:
        """Check the lock of the copy. Whether another process has claimed the symbol, the next commit tells."""
        self._check_lock(epoch)

    def find(self) -> Found:
        """Read the log, and get checkpoints from the newest to the oldest until one is valid, into a copy that is made anew."""
        self._log.read()
        commits = dict(sorted(self._log.commits.items(), reverse=True))
        self._last_epoch = max(commits, default=0)
        with as_storage_error("clean", self.checkpoints):
            self._files.remove_tree(self.checkpoints)
            self._files.make_directories(self.checkpoints, PRIVATE_DIRECTORY)
        damaged: list[Damaged] = []
        for epoch, entry in commits.items():
            if epoch in self._given_up:
                continue
            directory = self.checkpoints / str(epoch)
            try:
                self._unpack(entry, directory, is_published=epoch < self._last_epoch)
                checkpoint = read_checkpoint(directory, self._id, os.geteuid(), epoch, entry.files)
                return Found(checkpoint, tuple(damaged), is_passed_over=epoch < self._last_epoch)
            except DamagedError as error:
                self._damaged.add(epoch)
                damaged.append(Damaged(epoch, directory, str(error)))
            except OutdatedError as error:
                return Found(None, tuple(damaged), error)
        return Found(None, tuple(damaged))

    def _unpack(self, entry: Entry, directory: Path, *, is_published: bool) -> None:
        """Make the copy of a checkpoint. Each commit but the last one was published before the next one began."""
        try:
            content = self._bucket.read(self._key(entry.directory))
            with zipfile.ZipFile(io.BytesIO(content)) as pack:
                files = {name: pack.read(name) for name in pack.namelist()}
        except FileNotFoundError as error:
            raise DamagedError(f"{error.filename} is gone") from error
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
            raise DamagedError(f"{self._key(entry.directory)} cannot be unpacked: {error}") from error
        with as_storage_error("write", directory):
            self._files.make_directory(directory, PRIVATE_DIRECTORY)
            for name in [*(file.name for file in entry.files if file.name in files), *([PUBLISHED_FILE] if is_published else [])]:
                if Path(name).name == name:
                    self._files.create(directory / name, files.get(name, b""), PRIVATE_FILE)

    def give_up(self, epoch: int) -> bool:
        """Never find this checkpoint again: its parts went with the machine that had staged them."""
        self._given_up.add(epoch)
        return True

    def _key(self, directory: str) -> str:
        """Of the object that a directory is packed into."""
        return f"{self._prefix}{directory.removeprefix('.tmp-')}.zip"

    def commit(self, manifest: Manifest) -> Path:
        """Pack and put, then append to the log: that is the commit."""
        temporary = self._temporary(manifest.epoch)
        pack = io.BytesIO()
        with zipfile.ZipFile(pack, "w") as archive:
            with as_storage_error("read", temporary):
                for entry in manifest.files:
                    archive.writestr(zipfile.ZipInfo(entry.name), (temporary / entry.name).read_bytes())
            archive.writestr(zipfile.ZipInfo(MANIFEST_FILE), encode_manifest(manifest))
        self._bucket.put(self._key(temporary.name), pack.getvalue())
        return super().commit(manifest)

    def prune(self, retain: int) -> list[int]:
        """Remove the packs of all but the newest `retain` checkpoints, and shorten the log. Of copies the newest one stays.

        What was given up or is damaged is none of these: else a start that met one could leave a single checkpoint.
        """
        self.check_claim()
        commits = self._log.commits
        usable = sorted(commits.keys() - self._given_up - self._damaged, reverse=True)
        oldest = min(usable[:retain], default=0)
        old = sorted((epoch for epoch in commits if epoch < oldest), reverse=True)
        self.remove(self.epochs()[1:])
        for epoch in old:
            self._bucket.delete(self._key(commits[epoch].directory))
        self._log.prune(oldest)
        return old

    def quarantine(self, epochs: list[int]) -> None:
        """What is damaged stays where it is, and is not loaded, until it is pruned."""

    def sweep(self) -> None:
        """Remove what was given up, and the packs that this or an older claim has put and never committed."""
        super().sweep()
        kept = {self._key(entry.directory) for epoch, entry in self._log.commits.items() if epoch not in self._given_up}
        for key in self._bucket.sizes(self._prefix):
            start = start_of(".tmp-" + key.removeprefix(self._prefix).removesuffix(".zip"))
            if key not in kept and start is not None and start.claim <= self.start.claim:
                self._bucket.delete(key)
