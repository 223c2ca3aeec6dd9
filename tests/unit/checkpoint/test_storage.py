"""Objects in a directory: created once, whole, private; what was left is swept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.errors import RecoveryError, RestartNeededError, StorageError
from cowbook.plain.durable_files import DurableFiles


class Failing(DurableFiles):
    """One kind of operation fails."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def _look(self, kind: str) -> None:
        if kind == self.kind:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Fail or create."""
        self._look("create")
        super().create(path, content, mode)

    def link(self, source: Path, target: Path) -> None:
        """Fail or link."""
        self._look("link")
        super().link(source, target)

    def sync_directory(self, path: Path) -> None:
        """Fail or sync."""
        self._look(f"sync {path.name}")
        super().sync_directory(path)

    def unlink(self, path: Path) -> None:
        """Fail or unlink."""
        self._look("unlink")
        super().unlink(path)


def storage_in(directory: Path, files: DurableFiles | None = None) -> DirectoryStorage:
    """Storage in `directory/log`."""
    return DirectoryStorage(directory / "log", files or DurableFiles())


def test_an_object_is_created_once(tmp_path: Path) -> None:
    """The second one is refused, whoever makes it, and changes nothing."""
    storage = storage_in(tmp_path)
    assert storage.names() == []
    assert storage.create("1", b"first", "a")
    for writer in ("a", "b"):
        assert not storage.create("1", b"second", writer)
    assert storage.names() == ["1"]
    assert storage.read("1") == b"first"
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["1"]
    with pytest.raises(FileNotFoundError):
        storage.read("2")
    storage.delete("1")
    storage.delete("1")
    assert storage.names() == []


def test_objects_are_private(tmp_path: Path) -> None:
    """From the first moment, whatever the umask; those that others could change are not trusted."""
    before = os.umask(0)
    try:
        storage = storage_in(tmp_path)
        storage.create("1", b"x", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log" / "1").stat().st_mode & 0o777 == 0o600
    (tmp_path / "log" / "1").chmod(0o640)
    with pytest.raises(RecoveryError, match="has mode 0640"):
        storage.read("1")
    (tmp_path / "log").chmod(0o750)
    with pytest.raises(RecoveryError, match="has mode 0750"):
        storage.names()


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    """Nothing is read where it leads."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecoveryError, match="is a symbolic link"):
        storage_in(tmp_path).names()


@pytest.mark.parametrize(
    ("kind", "is_unknown", "is_there"), [("create", False, False), ("link", True, False), ("sync log", True, True)]
)
def test_a_failure_says_whether_the_object_may_be_there(tmp_path: Path, kind: str, is_unknown: bool, is_there: bool) -> None:
    """Before the link nothing has happened; from it on only a look at the disk tells."""
    storage_in(tmp_path).create("1", b"x", "a")
    with pytest.raises(StorageError) as error:
        storage_in(tmp_path, Failing(kind)).create("2", b"y", "a")
    assert isinstance(error.value, RestartNeededError) == is_unknown
    assert error.value.code == errno.EIO
    assert ("2" in storage_in(tmp_path).names()) == is_there
    assert not [path for path in (tmp_path / "log").iterdir() if path.name.startswith(".")]


def test_what_was_left_is_swept_below_a_number(tmp_path: Path) -> None:
    """What could not be removed is no object, and goes with the next sweep; what others are about to create stays."""
    storage = storage_in(tmp_path)
    failing = storage_in(tmp_path, Failing("unlink"))
    assert failing.create("3", b"x", "a")
    assert not failing.create("3", b"x", "b")
    (tmp_path / "log" / ".new-4-c").write_bytes(b"")
    (tmp_path / "log" / ".new-x").write_bytes(b"")
    assert storage.names() == ["3"]
    storage.sweep(4)
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [".new-4-c", ".new-x", "3"]


def test_what_was_swept_meanwhile_is_not_created(tmp_path: Path) -> None:
    """Whoever sweeps has the number: it is taken, be its own entry pruned or not."""
    storage = storage_in(tmp_path)

    class Swept(DurableFiles):
        """Another process sweeps between writing and linking."""

        def link(self, source: Path, target: Path) -> None:
            """Sweep, then link."""
            storage.sweep(9)
            super().link(source, target)

    assert not storage_in(tmp_path, Swept()).create("3", b"x", "a")
    assert storage.names() == []
