"""The directory of checkpoints: locks, numbers, modes, retention, and failures at every operation."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.checkpoint import manifest as manifest_module
from cowbook.checkpoint.load import Checkpoint, read_manifest, who_could_remove
from cowbook.checkpoint.manifest import FORMAT_VERSION, Manifest
from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.checkpoint.store import CheckpointStore, Found
from cowbook.errors import FencedError, LockedError, RecoveryError, RestartNeededError, StorageError
from cowbook.plain.durable_files import DurableFiles


def commit(store: CheckpointStore, content: bytes = b"content") -> int:
    """A checkpoint with one file; its epoch."""
    epoch = store.next_epoch()
    manifest = Manifest(
        version=FORMAT_VERSION,
        id="A/B",
        symbol="AB",
        epoch=epoch,
        incarnation=store.start.number,
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
        files=store.write(epoch, {"book.parquet": content}),
        cuts=(),
        withdrawn=(),
    )
    store.mark_published(store.commit(manifest))
    return epoch


def store_in(directory: Path, files: DurableFiles | None = None) -> CheckpointStore:
    """A store that is not locked yet."""
    return CheckpointStore(directory / "state", "A%2FB", "A/B", files)


def use(store: CheckpointStore, files: DurableFiles) -> None:
    """Let the store work by these operations from now on."""
    store._files = files
    storage = store._log._storage
    assert isinstance(storage, DirectoryStorage)
    storage._files = files


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CheckpointStore]:
    """A locked store."""
    store = store_in(tmp_path)
    store.lock()
    store.find()
    store.claim()
    yield store
    store.unlock()


def test_second_process_is_refused(tmp_path: Path, store: CheckpointStore) -> None:
    """With the process that holds the lock."""
    with pytest.raises(LockedError, match=rf"another cowbook \(process {os.getpid()}\) runs this symbol"):
        store_in(tmp_path).lock()
    program = "import sys; from pathlib import Path; from cowbook.checkpoint.store import CheckpointStore as S\n"
    program += f"S(Path({str(tmp_path / 'state')!r}), 'A%2FB', 'A/B').lock()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"process {os.getpid()}" in result.stderr
    store.unlock()
    store_in(tmp_path).lock()


@pytest.mark.parametrize(
    "garbage", [None, b"", b"garbage", b"\xff" * 64, b"-5 1"], ids=["number", "empty", "text", "bytes", "negative"]
)
def test_each_start_gets_a_higher_incarnation(tmp_path: Path, garbage: bytes | None) -> None:
    """One more each time; whatever a power cut has left of the number, what lies on disk counts."""
    for number in (1, 2, 3):
        store = store_in(tmp_path)
        store.lock()
        assert store.start.number == number
        store.unlock()
    (tmp_path / "state" / "A%2FB" / "checkpoints" / ".tmp-9-7").mkdir(parents=True)
    if garbage is not None:
        (tmp_path / "state" / "A%2FB" / "LOCK").write_bytes(garbage)
    store = store_in(tmp_path)
    store.lock()
    assert store.start.number == 8
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
def test_state_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """For the owner alone, from the moment that they exist, whatever the umask."""
    before = os.umask(umask)
    try:
        files = Watching()
        store = store_in(tmp_path, files)
        store.lock()
        store.find()
        store.claim()
        commit(store)
        store.prune(3)
        store.unlock()
    finally:
        os.umask(before)
    assert files.modes == {0o600, 0o700}
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_oldest_are_pruned_and_epochs_never_return(tmp_path: Path, store: CheckpointStore) -> None:
    """The oldest go; numbers never come again, those in quarantine counted, too."""
    assert [commit(store) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert store.prune(3) == [2, 1]
    assert store.epochs() == [5, 4, 3]
    store.quarantine([5])
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert again.find().damaged[0].epoch == 4  # these have no state inside
    assert again.claim()
    assert commit(again) == 6
    again.unlock()
    index = json.loads((tmp_path / "state" / "A%2FB" / "index.json").read_text())
    assert [row["epoch"] for row in index["checkpoints"]] == [5, 4, 3]


def test_sweep_removes_only_unfinished_checkpoints(store: CheckpointStore) -> None:
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
        self._look(f"create {'entry' if path.name.startswith('.new-') else path.name}")
        super().create(path, content, mode)

    def link(self, source: Path, target: Path) -> None:
        """Fail or link."""
        self._look("link")
        super().link(source, target)

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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["ENOSPC", "EIO", "EROFS"])
def test_a_failed_commit_keeps_the_last_good_checkpoint(tmp_path: Path, code: int) -> None:
    """Before the entry of the log nothing has happened, and no number is used up; from its link on only a restart tells.

    The last good one is there in any case, and where the entry is there, so is the new one.
    """
    kinds = []
    for number in range(1, 20):
        directory = tmp_path / str(number)
        store = store_in(directory)
        store.lock()
        store.find()
        store.claim()
        good = commit(store)
        failing = Failing(number, code)
        use(store, failing)
        raised = None
        try:
            commit(store)
        except StorageError as error:
            raised = error
        if raised is not None:
            kinds.append((failing.failed, isinstance(raised, RestartNeededError)))
            assert raised.code == code
            read_manifest(store.checkpoints / str(good), "A/B", os.getuid())
            use(store, DurableFiles())
            if not kinds[-1][1]:
                assert [path.name for path in store.checkpoints.iterdir()] == ["1"]
                assert commit(store) == 2
            else:
                store.unlock()
                store.lock()
                store.find()
                store.claim()
                assert commit(store) == (2 if failing.failed == "link" else 3)
                assert store.start.claim == 1
        numbers = sorted(int(name) for name in names_in(store.root / "log"))
        assert numbers == list(range(1, len(numbers) + 1))
        store.unlock()
        if not failing.failed:
            break
    dropped = [what for what, restart in kinds if not restart]
    files = ["create book.parquet", "create manifest.json"]
    assert dropped == ["mkdir", *files, "sync .tmp-2-1-1-2", "sync checkpoints", "create entry"]
    assert [what for what, restart in kinds if restart] == ["link", "sync log", "rename", "create published", "sync 2"]


def test_everything_is_private_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens or makes something below the state: it is private as soon as it is there, lock and index, too."""
    modes: dict[str, int] = {}
    really_open, really_make = os.open, os.mkdir

    def note(path: Any) -> None:
        if (tmp_path / "state") in (Path(path), *Path(path).parents):
            modes.setdefault(Path(path).name, os.lstat(path).st_mode & 0o777)

    def opened(path: Any, *arguments: Any, **named: Any) -> int:
        descriptor = really_open(path, *arguments, **named)
        note(path)
        return descriptor

    def make(path: Any, *arguments: Any, **named: Any) -> None:
        really_make(path, *arguments, **named)
        note(path)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "mkdir", make)
    before = os.umask(0)
    try:
        store = store_in(tmp_path)
        store.lock()
        store.find()
        store.claim()
        commit(store)
        store.prune(3)
        store.quarantine([1])
        store.unlock()
    finally:
        os.umask(before)
    monkeypatch.undo()
    assert set(modes) >= {"state", "A%2FB", "LOCK", "checkpoints", "book.parquet", "manifest.json", "published", "quarantine"}
    assert ".index-1-1.json" in modes
    assert set(modes.values()) == {0o600, 0o700}


def test_nobody_else_can_move_state_away(tmp_path: Path) -> None:
    """Whatever the umask, what is made above the state can be changed by its owner only."""
    before = os.umask(0)
    try:
        store = CheckpointStore(tmp_path / "a" / "b" / "state", "A%2FB", "A/B")
        store.lock()
        store.unlock()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").rglob("*")}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert modes == {"b": 0o755, "state": 0o700, "A%2FB": 0o700, "LOCK": 0o600}


def test_a_state_directory_that_is_open_to_others_is_named(tmp_path: Path) -> None:
    """They could hide a symbol's state, though not change it. Where only owners may rename, as in /tmp, they could not."""
    state = tmp_path / "state"
    assert who_could_remove(state) is None
    state.mkdir(mode=0o700)
    for mode, is_open in ((0o700, False), (0o775, False), (0o777, True), (0o1777, False)):
        state.chmod(mode)
        why = who_could_remove(state)
        assert (why is not None) == is_open
        assert why is None or f"{state} has mode 0777" in why
    if os.getuid() == 0:
        os.chown(state, 65534, -1)
        assert "belongs to user 65534" in (who_could_remove(state) or "")


def test_a_state_directory_that_cannot_be_looked_at_is_an_error_of_storage(tmp_path: Path) -> None:
    """A failing disk, or a link that leads to itself: the message says what and where."""
    (tmp_path / "state").symlink_to("state")
    with pytest.raises(StorageError, match=f"cannot look at {tmp_path}/state"):
        who_could_remove(tmp_path / "state")


def chmod(path: str, mode: int) -> Callable[[Path], None]:
    """Others may change it."""
    return lambda root: (root / path).chmod(mode)


def link(path: str) -> Callable[[Path], None]:
    """A link to the real thing stands there."""

    def replace(root: Path) -> None:
        target = root / path
        elsewhere = root.parent.parent / "elsewhere"
        target.rename(elsewhere)
        target.symlink_to(elsewhere)

    return replace


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(chmod(".", 0o750), "A%2FB has mode 0750", id="group_reads_root"),
        pytest.param(chmod(".", 0o702), "A%2FB has mode 0702", id="others_write_root"),
        pytest.param(chmod("LOCK", 0o640), "LOCK has mode 0640", id="group_reads_lock"),
        pytest.param(chmod("checkpoints", 0o701), "checkpoints has mode 0701", id="others_enter_checkpoints"),
        pytest.param(chmod("checkpoints/1", 0o710), "1 has mode 0710", id="group_enters_epoch"),
        pytest.param(chmod("checkpoints/1/manifest.json", 0o604), "manifest.json has mode 0604", id="others_read_manifest"),
        pytest.param(chmod("checkpoints/1/book.parquet", 0o620), "book.parquet has mode 0620", id="group_writes_book"),
        pytest.param(link("."), "A%2FB is a symbolic link", id="root_is_a_link"),
        pytest.param(link("checkpoints"), "checkpoints is a symbolic link", id="checkpoints_is_a_link"),
    ],
)
def test_state_that_others_may_change_is_refused(tmp_path: Path, change: Callable[[Path], None], words: str) -> None:
    """What others may have changed is refused by its name, and the lock is given back."""
    store = store_in(tmp_path)
    store.lock()
    store.find()
    store.claim()
    commit(store)
    store.unlock()
    change(store.root)
    again = store_in(tmp_path)

    def look() -> Found:
        again.lock()
        return again.find()

    for _ in range(2):
        with pytest.raises(RecoveryError, match=words):
            look()
        again.unlock()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """It is not followed: nothing is written where it leads."""
    store = store_in(tmp_path)
    store.lock()
    store.unlock()
    (tmp_path / "other").write_bytes(b"precious")
    (store.root / "LOCK").unlink()
    (store.root / "LOCK").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError, match="a symbolic link is there"):
        store_in(tmp_path).lock()
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_a_lock_for_looking_keeps_the_incarnation(tmp_path: Path) -> None:
    """A lock for another purpose than a start leaves the number."""
    for counts, number in ((True, 1), (False, 1), (False, 1), (True, 2)):
        store = store_in(tmp_path)
        store.lock(counts=counts)
        assert store.start.number == number
        store.unlock()


def test_odd_names_are_not_checkpoints(store: CheckpointStore, tmp_path: Path) -> None:
    """Names that look like numbers and are none, and files and links that have a checkpoint's name."""
    commit(store)
    names = (".tmp-1-\u00b2", ".tmp-2-\u0663", "\u0664", "07", "-3", ".tmp-", ".del-", ".tmp-x-y", "1e3", "4 ")
    for name in names:
        (store.checkpoints / name).mkdir(mode=0o700)
    (store.checkpoints / ".del-5").symlink_to(tmp_path)
    (store.checkpoints / ".tmp-6-1").write_bytes(b"")
    (store.checkpoints / "2").write_bytes(b"")
    (store.checkpoints / "3").symlink_to(tmp_path)
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert again.start.number == 2
    assert [(damaged.epoch, damaged.reason) for damaged in again.find().damaged[:2]] == [
        (3, "is not a directory"),
        (2, "is not a directory"),
    ]
    assert again.claim()
    assert [commit(again), commit(again)] == [8, 9]  # 07 may have been a seventh
    assert again.prune(2) == [3, 2, 1]
    assert not [name for name in names_in(again.checkpoints) if name.startswith(".del-")]
    again.sweep()
    left = {path.name for path in again.checkpoints.iterdir()}
    assert left == {"8", "9"} | {name for name in names if not name.startswith((".tmp-", ".del-"))}
    assert (tmp_path / "state").is_dir()
    again.unlock()


def test_quarantine_replaces_nothing(store: CheckpointStore, tmp_path: Path) -> None:
    """Nothing in quarantine is ever replaced, and its numbers are never given again."""
    for content in (b"first", b"second", b"third"):
        assert commit(store, content) == 1
        store.quarantine(store.epochs())
        store.unlock()
        store._last_epoch = 0  # as if it had not been looked at
        store.lock()
    kept = tmp_path / "state" / "A%2FB" / "quarantine"
    contents = {path.name: (path / "book.parquet").read_bytes() for path in kept.iterdir()}
    assert contents == {"1": b"first", "1-2": b"second", "1-3": b"third"}
    store.find()
    store.claim()
    assert store.next_epoch() == 2


def test_index_says_what_is_wrong(store: CheckpointStore) -> None:
    """A checkpoint whose manifest cannot be used has its problem there; the index is made anew whatever it was."""
    for _ in range(3):
        commit(store)
    (store.checkpoints / "2" / "manifest.json").write_bytes(b"{}")
    (store.checkpoints / "1" / "published").unlink()
    index = store.root / "index.json"
    for garbage in (b"", b"garbage", None):
        if garbage is None:
            index.unlink()
        else:
            index.write_bytes(garbage)
        assert store.prune(3) == []
        rows = json.loads(index.read_text())["checkpoints"]
        assert [(row["epoch"], row["valid"], row.get("published")) for row in rows] == [
            (3, True, True),
            (2, False, None),
            (1, True, False),
        ]
        assert "manifest.json cannot be read" in rows[1]["problem"]
        assert index.stat().st_mode & 0o777 == 0o600


class FailingEverywhere(Failing):
    """Removals, too."""

    def unlink(self, path: Path) -> None:
        """Fail or unlink."""
        self._look("unlink")
        super().unlink(path)

    def remove_directory(self, path: Path) -> None:
        """Fail or remove."""
        self._look("rmdir")
        super().remove_directory(path)


Chore = Callable[[CheckpointStore], object]
CHORES: dict[str, tuple[Chore, set[str], list[str]]] = {
    "prune": (lambda store: store.prune(2), {"rename", "sync checkpoints", "unlink", "rmdir"}, ["3", "4"]),
    "quarantine": (
        lambda store: store.quarantine([epoch for epoch in (2, 3) if epoch in store.epochs()]),
        {"mkdir", "rename", "sync quarantine", "sync checkpoints", "sync A%2FB"},
        ["1", "4"],
    ),
    "sweep": (lambda store: store.sweep(), {"rename", "unlink", "rmdir"}, ["1", "2", "3", "4"]),
}


@pytest.mark.parametrize("chore", CHORES)
def test_failing_chores_leave_good_checkpoints_whole(tmp_path: Path, chore: str) -> None:
    """Whatever fails, good checkpoints are whole, and the next start does what is left."""
    do, expected, left = CHORES[chore]
    failed = set()
    number = 0
    while True:
        number += 1
        directory = tmp_path / str(number)
        store = store_in(directory)
        store.lock()
        store.find()
        store.claim()
        for _ in range(4):
            commit(store)
        (store.checkpoints / ".tmp-9-1").mkdir(mode=0o700)
        (store.checkpoints / ".tmp-9-1" / "file").write_bytes(b"x")
        failing = FailingEverywhere(number, errno.EIO)
        use(store, failing)
        raised = None
        try:
            do(store)
        except StorageError as error:
            raised = error
        assert (raised is not None) == bool(failing.failed)
        assert raised is None or (raised.code == errno.EIO and not isinstance(raised, RestartNeededError))
        store.unlock()
        if not failing.failed:
            break
        failed.add(failing.failed)
        assert len({*names_in(store.checkpoints), *names_in(store.root / "quarantine")} & {"3", "4"}) == 2
        again = store_in(directory)
        again.lock()
        again.find()
        again.claim()
        do(again)
        again.sweep()
        assert names_in(again.checkpoints) == left
        for epoch in left:
            read_manifest(again.checkpoints / epoch, "A/B", os.getuid())
        assert again.next_epoch() == 5
        again.unlock()
    assert failed == expected


def names_in(directory: Path) -> list[str]:
    """What is in a directory, if it is there."""
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


@pytest.mark.parametrize("number", [2, 3, 4])
def test_leftovers_of_a_failed_commit_are_removed_at_the_next_start(tmp_path: Path, store: CheckpointStore, number: int) -> None:
    """What a failed commit could not remove is removed by the next start, and is no checkpoint meanwhile."""
    commit(store)

    class Broken(Failing):
        """Once it has failed it fails for good."""

        def unlink(self, path: Path) -> None:
            """Fail."""
            raise OSError(self.code, os.strerror(self.code))

        def remove_directory(self, path: Path) -> None:
            """Fail."""
            raise OSError(self.code, os.strerror(self.code))

    use(store, Broken(number, errno.EROFS))
    with pytest.raises(StorageError, match="make it writable") as error:
        commit(store)
    assert not isinstance(error.value, RestartNeededError)
    assert names_in(store.checkpoints) == [".tmp-2-1-1-2", "1"]
    assert store.epochs() == [1]
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    again.find()
    again.claim()
    again.sweep()
    assert names_in(again.checkpoints) == ["1"]
    assert commit(again) == 2
    again.unlock()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["ENOSPC", "EROFS", "EIO"])
def test_a_failed_lock_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A start whose number cannot be written is none; the lock is free again."""
    store = store_in(tmp_path)
    for name in ("open", "pwrite", "fsync"):
        really = getattr(os, name)

        def fail(*arguments: Any, really: Any = really, name: str = name) -> Any:
            if name != "open" or str(arguments[0]).endswith("LOCK"):
                raise OSError(code, os.strerror(code))
            return really(*arguments)

        if name == "open":
            store.lock()
            store.unlock()
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(StorageError, match=os.strerror(code)) as error:
                store.lock()
        assert error.value.code == code
        other = store_in(tmp_path)
        other.lock()
        other.unlock()


def test_marking_as_published_twice_is_no_failure(store: CheckpointStore) -> None:
    """Noting again that parts are published is no failure."""
    commit(store)
    store.mark_published(store.checkpoints / "1")
    assert (store.checkpoints / "1" / "published").read_bytes() == b""


def test_files_without_a_manifest_do_not_count(store: CheckpointStore) -> None:
    """Files whose manifest is never made leave the checkpoint before, and nothing that counts."""
    commit(store)
    store.write(store.next_epoch(), {"book.parquet": b""})
    assert store.epochs() == [1]
    store.sweep()
    assert names_in(store.checkpoints) == ["1"]


@pytest.mark.parametrize("how", ["lock", "replaced", "directory", "checkpoint"])
def test_removal_of_running_state_is_noticed_before_writing(store: CheckpointStore, how: str) -> None:
    """Whoever removes state of a running symbol is noticed before anything is written, or called written."""
    commit(store)
    store.check(1)
    lock = store.root / "LOCK"
    path = {"lock": lock, "replaced": lock, "checkpoint": store.checkpoints / "1"}.get(how, store.root)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "replaced":
        path.touch()
    with pytest.raises(RestartNeededError, match="while this symbol runs"):
        store.check(1)
    if how != "checkpoint":
        with pytest.raises(RestartNeededError, match="LOCK was removed or replaced"):
            commit(store)
        assert store.epochs() in ([1], [])


def test_a_commit_that_was_not_renamed_is_found_and_named(tmp_path: Path, store: CheckpointStore) -> None:
    """The log's entry is the commit: the next start gives the directory its name, before it removes what was begun."""
    commit(store)
    use(store, FailingRename())
    with pytest.raises(RestartNeededError):
        commit(store)
    assert names_in(store.checkpoints) == [".tmp-2-1-1-2", "1"]
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    found = again.find()
    assert [(damaged.epoch, damaged.directory.name) for damaged in found.damaged] == [(2, ".tmp-2-1-1-2"), (1, "1")]  # no state
    assert again.committed() == [2, 1]
    assert again.claim()
    manifest = read_manifest(again.checkpoints / ".tmp-2-1-1-2", "A/B", os.getuid(), 2)
    checkpoint = Checkpoint(again.checkpoints / ".tmp-2-1-1-2", manifest, published=False, state=None)  # type: ignore[arg-type]
    assert again.adopt(checkpoint).directory == again.checkpoints / "2"
    again.sweep()
    assert names_in(again.checkpoints) == ["1", "2"]
    assert commit(again) == 3
    again.unlock()


class FailingRename(DurableFiles):
    """Nothing can be renamed."""

    def rename(self, source: Path, target: Path) -> None:
        """Fail."""
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(source), None, str(target))


def test_a_damaged_commit_without_a_name_goes_to_quarantine(tmp_path: Path, store: CheckpointStore) -> None:
    """Under the name that it should have got."""
    use(store, FailingRename())
    with pytest.raises(RestartNeededError):
        commit(store)
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert [damaged.epoch for damaged in again.find().damaged] == [1]
    again.claim()
    again.quarantine(again.committed())
    again.sweep()
    assert names_in(again.checkpoints) == []
    assert names_in(again.root / "quarantine") == ["1"]
    assert again.find() == Found(None, ())
    assert commit(again) == 2
    again.unlock()


def test_a_commit_that_was_taken_away_is_damage(tmp_path: Path, store: CheckpointStore) -> None:
    """The log tells that there was a newer one than those that are there."""
    commit(store)
    commit(store)
    shutil.rmtree(store.checkpoints / "2")
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert [damaged.epoch for damaged in again.find().damaged] == [2, 1]
    assert "No such file" in again.find().damaged[0].reason
    again.claim()
    again.quarantine([2])
    assert commit(again) == 3
    again.unlock()


def test_another_checkpoint_of_the_same_epoch_is_damage(tmp_path: Path, store: CheckpointStore) -> None:
    """As from an older copy of the state: whole, and not what the log lists."""
    commit(store)
    kept = tmp_path / "kept"
    shutil.copytree(store.checkpoints / "1", kept)
    for path in kept.iterdir():
        path.chmod(0o600)
    content = (kept / "manifest.json").read_bytes()
    inner = json.loads(content)["manifest"] | {"events_processed": 5}
    (store.checkpoints / "1" / "manifest.json").write_bytes(manifest_module._wrap(json.dumps(inner).encode()))
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert [damaged.reason for damaged in again.find().damaged] == [
        "is not the checkpoint of this epoch that the commit log lists"
    ]
    again.unlock()


def test_state_without_a_log_is_read(tmp_path: Path, store: CheckpointStore) -> None:
    """That of a release that had none: its checkpoints count, and the log begins behind them."""
    commit(store)
    commit(store)
    shutil.rmtree(store.root / "log")
    store.unlock()
    again = store_in(tmp_path)
    again.lock()
    assert [damaged.epoch for damaged in again.find().damaged] == [2, 1]
    assert "manifest" not in again.find().damaged[0].reason  # only that it has no state
    assert again.claim()
    assert (again.start.claim, commit(again)) == (1, 3)
    again.unlock()


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks have no effect, as on some network file systems."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def test_whoever_was_replaced_removes_and_commits_nothing(
    tmp_path: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its operations ends with FencedError, and what its successor has stays whole."""
    without_locks(monkeypatch)
    epochs = [commit(store) for _ in range(4)]
    again = store_in(tmp_path)
    again.lock()
    again.find()
    assert again.claim()
    again.write(again.next_epoch(), {"book.parquet": b"begun"})
    before = sorted(path for path in (tmp_path / "state").rglob("*") if path.name != "LOCK")
    doings: list[Callable[[], object]] = [
        lambda: commit(store),
        lambda: store.prune(2),
        lambda: store.quarantine(epochs),
        store.sweep,
        store.check,
        store.check_claim,
    ]
    for do in doings:
        with pytest.raises(FencedError, match=rf"A/B was taken over by process {os.getpid()} on"):
            do()
    assert sorted(path for path in (tmp_path / "state").rglob("*") if path.name != "LOCK") == before
    again.unlock()


def test_what_a_later_claim_has_begun_is_not_swept(store: CheckpointStore) -> None:
    """A sweep that comes late meets what its successor is writing."""
    for name in (".tmp-2-1-9-1", ".tmp-2-2-9-1", ".tmp-2-9"):
        (store.checkpoints / name).mkdir(parents=True)
    store.sweep()
    assert names_in(store.checkpoints) == [".tmp-2-2-9-1"]


def test_a_commit_while_a_successor_looks_is_found_by_it(
    tmp_path: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the claim the old writer may commit; the claim says that there is something newer."""
    without_locks(monkeypatch)
    commit(store)
    again = store_in(tmp_path)
    again.lock()
    again.find()
    assert again.is_as_found()
    commit(store)
    assert not again.is_as_found()
    assert not again.claim()
    again.find()
    assert again.claim()
    assert commit(again) == 3
    with pytest.raises(FencedError):
        commit(store)
    again.unlock()


def test_a_successor_names_what_was_committed_right_before_its_claim(
    tmp_path: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old writer has made the entry, and finds a claim behind it: the checkpoint is its successor's, and stays."""
    without_locks(monkeypatch)
    again = store_in(tmp_path)
    create = DirectoryStorage.create
    found: list[Found] = []

    def take_behind(storage: DirectoryStorage, name: str, content: bytes, writer: str) -> bool:
        is_made = create(storage, name, content, writer)
        if not found:
            again.lock()
            found.append(Found(None, ()))
            again.find()
            assert again.claim()
        return is_made

    monkeypatch.setattr(DirectoryStorage, "create", take_behind)
    with pytest.raises(FencedError):
        commit(store)
    (directory,) = store.checkpoints.iterdir()
    manifest = read_manifest(directory, "A/B", os.getuid(), 1)
    adopted = again.adopt(Checkpoint(directory, manifest, False, None))  # type: ignore[arg-type]
    assert adopted.directory == store.checkpoints / "1"
    assert read_manifest(adopted.directory, "A/B", os.getuid()) == manifest
    again.sweep()
    assert names_in(store.checkpoints) == ["1"]
    again.unlock()


def test_a_marker_that_another_process_makes_at_the_same_time_is_enough(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both publish the same parts: the old writer, which has just committed, and its successor."""
    directory = store.checkpoints / str(commit(store))
    monkeypatch.setattr(Path, "exists", lambda _: False)
    store.mark_published(directory)
    monkeypatch.undo()
    assert (directory / "published").exists()


def test_what_gets_its_name_meanwhile_is_moved_to_quarantine(tmp_path: Path, store: CheckpointStore) -> None:
    """Its writer is still alive, and gives the directory its name while it is moved away."""
    named = store.checkpoints / str(commit(store))
    begun = store.checkpoints / store._log.commits[1].directory
    named.rename(begun)
    store.unlock()

    class Late(DurableFiles):
        def rename(self, source: Path, target: Path) -> None:
            if begun.exists():
                begun.rename(named)
            super().rename(source, target)

    again = store_in(tmp_path, Late())
    again.lock()
    again.find()
    assert again.claim()
    again.quarantine([1])
    assert names_in(store.checkpoints) == []
    assert names_in(store.root / "quarantine") == ["1"]
    again.unlock()
