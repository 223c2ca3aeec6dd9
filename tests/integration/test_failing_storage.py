"""Storage that fails for a while: what can go on goes on, the rest heals, and the parts are those of an undisturbed run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.capture.stored_file import PlainFile
from cowbook.checkpoint import triggers
from cowbook.config import load_config
from cowbook.plain.durable_files import DurableFiles
from cowbook.service import service
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_thread
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_worker import SymbolWorker
from support.harness import read_parts

pytestmark = pytest.mark.on_disk

_CONFIG = """
[service]
state_dir = "{state}"
output_dir = "{data}"
[checkpoint]
every_events = 900
min_pause = "0s"
[output]
part_events = 1000
part_interval = "15min"
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
"""


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in milliseconds."""
    monkeypatch.setattr(symbol_thread, "_FIRST_BACKOFF_SECONDS", 0.005)
    monkeypatch.setattr(symbol_thread, "_LONGEST_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(triggers, "_FIRST_BACKOFF_NS", 5_000_000)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A capture in ten files."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=200, seed=9, gaps=1)
    lines = path.read_bytes().splitlines(keepends=True)
    return [b"".join(lines[len(lines) * part // 10 : len(lines) * (part + 1) // 10]) for part in range(10)]


def config_in(directory: Path, pieces: list[bytes], state: str = "state", data: str = "data") -> Path:
    """Input and configuration."""
    (directory / "input").mkdir(parents=True)
    for number, piece in enumerate(pieces):
        (directory / "input" / f"{number}.jsonl").write_bytes(piece)
    path = directory / "cowbook.toml"
    path.write_text(_CONFIG.format(state=state, data=data))
    return path


@pytest.fixture(scope="module")
def reference(pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an undisturbed run."""
    directory = tmp_path_factory.mktemp("reference")
    (summary,) = service.run_once(load_config(config_in(directory, pieces), {}))
    assert summary.state == "done"
    assert summary.checkpoints >= 3
    return read_parts(directory / "data")


Fails = Callable[[str, Path, int], int]
"""The errno that an operation on a path fails with; it is told the number of operations so far."""


class FailingFiles(DurableFiles):
    """Operations fail when they are told to."""

    count = 0

    def __init__(self, fails: Fails) -> None:
        self._fails = fails

    def _look(self, kind: str, path: Path) -> None:
        FailingFiles.count += 1
        code = self._fails(kind, path, FailingFiles.count)
        if code:
            raise OSError(code, os.strerror(code))

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """A disk that is full in the middle of a file."""
        try:
            self._look("create", path)
        except OSError:
            super().create(path, memoryview(content)[: len(content) // 2], mode)
            raise
        super().create(path, content, mode)

    def link(self, source: Path, target: Path) -> None:
        """Fail or link."""
        self._look("link", target)
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """Fail or rename."""
        self._look("rename", target)
        super().rename(source, target)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Fail or make it."""
        self._look("mkdir", path)
        return super().make_directory(path, mode)

    def sync_directory(self, path: Path) -> None:
        """Fail or sync."""
        self._look("sync", path)
        super().sync_directory(path)


def run_failing(config: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> SymbolSummary:
    """Run with failing files."""
    FailingFiles.count = 0

    def make_worker(*arguments: Any, **named: Any) -> SymbolWorker:
        return SymbolWorker(*arguments, **named, files=FailingFiles(fails))

    monkeypatch.setattr(symbol_thread, "SymbolWorker", make_worker)
    (summary,) = service.run_once(load_config(config, {}))
    return summary


def in_state(path: Path) -> bool:
    """Whether a path belongs to checkpoints or their log."""
    return not {"checkpoints", "log"}.isdisjoint(path.parts)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("where", ["state", "output", "both"])
def test_storage_that_fails_for_a_while_changes_no_part(
    pieces: list[bytes],
    reference: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    where: str,
) -> None:
    """Everything that is written fails for fifty operations, then works again."""

    def fails(kind: str, path: Path, number: int) -> int:
        affected = where == "both" or in_state(path) == (where == "state")
        return code if 40 <= number < 90 and kind in ("create", "mkdir") and affected else 0

    summary = run_failing(config_in(tmp_path, pieces), fails, monkeypatch)
    assert summary.state == "done", summary.error
    assert read_parts(tmp_path / "data") == reference
    said = capsys.readouterr().out
    assert os.strerror(code) in said
    if where == "state":
        assert "checkpoint failed" in said
        assert summary.checkpoints_failed + summary.restarts > 0
    else:
        assert summary.restarts > 0


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        pytest.param(errno.EFBIG, "raise the limit (`ulimit -f`, LimitFSIZE=)", id="EFBIG"),
        pytest.param(errno.EXDEV, "must each be on one", id="EXDEV"),
    ],
)
@pytest.mark.parametrize("where", ["state", "output"])
def test_what_is_not_possible_ends_the_symbol(
    pieces: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str, where: str
) -> None:
    """It would fail for ever: the symbol ends with what to do, and nothing is tried again."""
    failed: list[Path] = []

    def fails(kind: str, path: Path, _: int) -> int:
        if in_state(path) == (where == "state") and kind == ("create" if code == errno.EFBIG else "rename"):
            failed.append(path)
            return code
        return 0

    summary = run_failing(config_in(tmp_path, pieces), fails, monkeypatch)
    assert summary.state == "failed"
    assert summary.restarts == 0
    assert advice in str(summary.error)
    assert len(failed) <= 2


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_scarce_is_waited_for(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Input that cannot be opened for want of descriptors is neither missing nor read already: the parts stay the same."""
    really_open, count = PlainFile.__init__, 0

    def scarce(file: PlainFile, *arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if 15 < count < 25:
            named["opener"] = lambda *_: fail()
        really_open(file, *arguments, **named)

    def fail() -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(PlainFile, "__init__", scarce)
    (summary,) = service.run_once(load_config(config_in(tmp_path, pieces), {}))
    assert summary.state == "done", summary.error
    assert summary.restarts > 0
    assert read_parts(tmp_path / "data") == reference


def test_a_restart_waits_for_descriptors_to_recover_with(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start is refused where a checkpoint cannot be read. A symbol that has worked waits instead."""
    really_open = os.open
    failed: list[int] = []
    refused: list[Any] = []

    def fails(kind: str, path: Path, number: int) -> int:
        if kind == "rename" and path.name == "3" and in_state(path) and not failed:
            failed.append(number)
            return errno.EIO
        return 0

    def scarce(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if failed and len(refused) < 3 and str(path).endswith("manifest.json") and not flags & os.O_CREAT:
            refused.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really_open(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", scarce)
    summary = run_failing(config_in(tmp_path, pieces), fails, monkeypatch)
    assert summary.state == "done", summary.error
    assert len(refused) == 3
    assert summary.restarts == 4
    assert read_parts(tmp_path / "data") == reference


@pytest.mark.parametrize("kind", ["link", "sync", "rename"])
def test_a_commit_of_unknown_outcome_is_recovered(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """When the log's new entry, its sync, or the rename behind it fails, the worker starts again from the newest commit."""
    failed: list[Path] = []

    def fails(what: str, path: Path, _: int) -> int:
        is_commit = in_state(path) and (path.name == "log" if kind == "sync" else path.name.isdigit())
        if what == kind and is_commit and len(failed) < 2:
            failed.append(path)
            return errno.EIO
        return 0

    summary = run_failing(config_in(tmp_path, pieces), fails, monkeypatch)
    assert summary.state == "done", summary.error
    assert len(failed) == 2
    assert summary.restarts >= 1
    assert read_parts(tmp_path / "data") == reference


def test_failing_checkpoints_publish_nothing_and_keep_the_last_one(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no checkpoint can be written nothing is published, and no checkpoint that there was is touched."""
    config = config_in(tmp_path, pieces[:4])
    service.run_once(load_config(config, {}))
    before = {path: path.read_bytes() for path in (tmp_path / "state").rglob("checkpoints/*/*") if path.is_file()}
    parts = read_parts(tmp_path / "data")
    for number, piece in enumerate(pieces[4:], start=4):
        (tmp_path / "input" / f"{number}.jsonl").write_bytes(piece)
    seen: list[tuple[bool, bool]] = []

    def fails(kind: str, path: Path, number: int) -> int:
        if number < 400:
            if number > 100 and not seen:
                seen.append((read_parts(tmp_path / "data") == parts, all(old.read_bytes() == was for old, was in before.items())))
            return errno.ENOSPC if kind == "create" and in_state(path) else 0
        return 0

    summary = run_failing(config, fails, monkeypatch)
    assert summary.state == "done", summary.error
    assert set(seen) == {(True, True)}  # two threads may look at once
    assert read_parts(tmp_path / "data") == reference


def test_staged_parts_that_vanish_are_made_again(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone removes what is staged while it runs: it is made again."""
    removed: list[Path] = []

    def fails(kind: str, path: Path, number: int) -> int:
        if number > 60 and not removed and kind == "create" and in_state(path):
            for staged in (tmp_path / "data" / ".staging" / "BTCUSDT").glob("*/"):
                shutil.rmtree(staged)
                removed.append(staged)
        return 0

    summary = run_failing(config_in(tmp_path, pieces), fails, monkeypatch)
    if summary.state == "done":
        assert read_parts(tmp_path / "data") == reference
    else:  # it vanished between the last look and the commit
        assert "neither there nor staged" in str(summary.error)
    assert removed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB that is full but for 300 KB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    (mount / "ballast").write_bytes(bytes(2_700_000))
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_run_on_a_full_disk_ends_well_once_there_is_space(
    pieces: list[bytes], reference: dict[str, bytes], tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real full disk: the run waits, and ends well once there is space."""
    config = config_in(tmp_path, pieces, f"{small_disk}/state", f"{small_disk}/data")
    pauses = 0
    pause = symbol_thread.SymbolThread._plan_restart

    def pause_and_free_space(thread: symbol_thread.SymbolThread, *arguments: Any) -> float:
        nonlocal pauses
        pauses += 1
        if pauses == 5:
            (small_disk / "ballast").unlink()
        return pause(thread, *arguments)

    monkeypatch.setattr(symbol_thread.SymbolThread, "_plan_restart", pause_and_free_space)
    (summary,) = service.run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    assert summary.restarts == pauses >= 5
    assert read_parts(small_disk / "data") == reference


def test_a_start_without_permission_fails_at_once(pieces: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that never worked and lacks the right to write is no storage that fails: it ends with one clear error."""
    summary = run_failing(config_in(tmp_path, pieces), lambda *_: errno.EACCES, monkeypatch)
    assert summary.state == "failed"
    assert "give this user permission to write there" in str(summary.error)
