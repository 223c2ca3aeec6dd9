"""The directory of checkpoints: locks, numbers, modes, retention, and failures at every operation."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.checkpoint.manifest import FORMAT_VERSION, FileEntry, Manifest
from cowbook.checkpoint.reading import read_manifest
from cowbook.checkpoint.store import CheckpointStore
from cowbook.durable_files import DurableFiles
from cowbook.errors import RecoveryError, RestartNeededError, StorageError


def commit(store: CheckpointStore, content: bytes = b"content") -> int:
    """A checkpoint with one file; its epoch."""
    epoch = store.next_epoch()

    def describe(files: tuple[FileEntry, ...]) -> Manifest:
        return Manifest(
            version=FORMAT_VERSION,
            id="A/B",
            symbol="AB",
            epoch=epoch,
            incarnation=store.incarnation,
            triggers=("manual",),
            checkpoint_timestamp="",
            events_processed=1,
            last_update_id=2,
            current_file="f",
            file_offset=3,
            levels=4,
            snapshot_duration_ms=0.1,
            processing_rate=0.2,
            persist_seconds={},
            end_of_input=False,
            files=files,
            cuts=(),
            withdrawn=(),
        )

    store.mark_published(store.commit(epoch, {"book.parquet": content}, describe))
    return epoch


def store_in(directory: Path, files: DurableFiles | None = None) -> CheckpointStore:
    """A store that is not locked yet."""
    return CheckpointStore(directory / "state", "A%2FB", "A/B", files)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CheckpointStore]:
    """A locked store."""
    store = store_in(tmp_path)
    store.lock()
    store.find()
    yield store
    store.unlock()


def test_second_process_is_refused(tmp_path: Path, store: CheckpointStore) -> None:
    """With the process that holds the lock."""
    with pytest.raises(RecoveryError, match=rf"another cowbook \(process {os.getpid()}\) runs this symbol"):
        store_in(tmp_path).lock()
    program = "import sys; from pathlib import Path; from cowbook.checkpoint.store import CheckpointStore as S\n"
    program += f"S(Path({str(tmp_path / 'state')!r}), 'A%2FB', 'A/B').lock()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"process {os.getpid()}" in result.stderr
    store.unlock()
    store_in(tmp_path).lock()


@pytest.mark.parametrize("garbage", [None, b"", b"garbage", b"\xff" * 64, b"-5 1"])
def test_starts_are_counted(tmp_path: Path, garbage: bytes | None) -> None:
    """One more each time; whatever a power cut has left of the number, what lies on disk counts."""
    for number in (1, 2, 3):
        store = store_in(tmp_path)
        store.lock()
        assert store.incarnation == number
        store.unlock()
    (tmp_path / "state" / "A%2FB" / "checkpoints" / ".tmp-9-7").mkdir(parents=True)
    if garbage is not None:
        (tmp_path / "state" / "A%2FB" / "LOCK").write_bytes(garbage)
    store = store_in(tmp_path)
    store.lock()
    assert store.incarnation == 8
    store.unlock()


class Watching(DurableFiles):
    """Sees the mode of each file and directory as soon as it is there."""

    def __init__(self) -> None:
        self.modes: set[int] = set()

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Look behind the opening already."""
        opened = os.open

        def look(name: Any, flags: int, *mode: int) -> int:
            descriptor = opened(name, flags, *mode)
            self.modes.add(os.fstat(descriptor).st_mode & 0o777)
            return descriptor

        os.open = look  # type: ignore[assignment]
        try:
            super().create(path, content, mode)
        finally:
            os.open = opened

    def make_directory(self, path: Path, mode: int) -> bool:
        """Look at it."""
        made = super().make_directory(path, mode)
        self.modes.add(path.stat().st_mode & 0o777)
        return made


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes(tmp_path: Path, umask: int) -> None:
    """For the owner alone, from the moment that they exist, whatever the umask."""
    before = os.umask(umask)
    try:
        files = Watching()
        store = store_in(tmp_path, files)
        store.lock()
        store.find()
        commit(store)
        store.prune(3)
        store.unlock()
    finally:
        os.umask(before)
    assert files.modes == {0o600, 0o700}
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_retention_and_epochs(tmp_path: Path, store: CheckpointStore) -> None:
    """The oldest go; numbers never come again, those in quarantine counted, too."""
    assert [commit(store) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert store.prune(3) == [2, 1]
    assert store.epochs() == [5, 4, 3]
    store.quarantine([5])
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert again.find().damaged[0].epoch == 4  # these have no state inside
    assert commit(again) == 6
    again.unlock()
    index = json.loads((tmp_path / "state" / "A%2FB" / "index.json").read_text())
    assert [row["epoch"] for row in index["checkpoints"]] == [5, 4, 3]


def test_sweep(store: CheckpointStore) -> None:
    """What was begun, and what was half removed, goes; what nobody knows stays."""
    commit(store)
    for name in (".tmp-5-1", ".del-3", "notes"):
        (store.checkpoints / name / "deep").mkdir(parents=True)
        (store.checkpoints / name / "deep" / "file").write_bytes(b"x")
    store.sweep()
    assert sorted(path.name for path in store.checkpoints.iterdir()) == ["1", "notes"]


class Failing(DurableFiles):
    """The n-th operation fails."""

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self.code = code
        self.failed = ""

    def _look(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.failed = what
            raise OSError(self.code, os.strerror(self.code))

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Fail or create."""
        self._look(f"create {path.name}")
        super().create(path, content, mode)

    def rename(self, source: Path, target: Path) -> None:
        """Fail or rename."""
        self._look("rename")
        super().rename(source, target)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Fail or make."""
        self._look("mkdir")
        return super().make_directory(path, mode)

    def sync_directory(self, path: Path) -> None:
        """Fail or sync."""
        self._look(f"sync {path.name}")
        super().sync_directory(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_failures_of_a_commit(tmp_path: Path, code: int) -> None:
    """Before the rename nothing has happened; from it on only a restart tells. The last good one is there in any case."""
    kinds = []
    for number in range(1, 20):
        directory = tmp_path / str(number)
        store = store_in(directory)
        store.lock()
        store.find()
        good = commit(store)
        failing = Failing(number, code)
        store._files = failing
        raised = None
        try:
            commit(store)
        except StorageError as error:
            raised = error
        if raised is not None:
            kinds.append((failing.failed, isinstance(raised, RestartNeededError)))
            assert raised.code == code
            read_manifest(store.checkpoints / str(good), "A/B", os.getuid())
            store._files = DurableFiles()
            if not kinds[-1][1]:
                assert [path.name for path in store.checkpoints.iterdir()] == ["1"]
            assert commit(store) == 3
        store.unlock()
        if not failing.failed:
            break
    dropped = [what for what, restart in kinds if not restart]
    assert dropped == ["mkdir", "create book.parquet", "create manifest.json", "sync .tmp-2-1"]
    assert [what for what, restart in kinds if restart] == ["rename", "sync checkpoints", "create published", "sync 2"]
