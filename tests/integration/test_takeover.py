"""A second process for a symbol: waited for, refused, or fenced."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from cowbook.checkpoint.commit_log import CommitLog, read_run
from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.config import load_config
from cowbook.errors import FencedError
from cowbook.plain.durable_files import DurableFiles
from cowbook.simulate.capture import write_capture
from cowbook.symbol.settings import worker_settings
from cowbook.symbol.symbol_thread import SymbolThread, ThreadContext

_CONFIG = '[output]\nbook_levels = 3\n[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["capture.jsonl"]\n'


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(params=["asyncio", "uvloop"])
def context(request: pytest.FixtureRequest) -> Iterator[ThreadContext]:
    """Executors for the workers."""
    with ThreadPoolExecutor(2) as executor:
        yield ThreadContext(request.param, executor, executor)


def make_thread(directory: Path, context: ThreadContext, *, follow: bool) -> SymbolThread:
    """A thread for the symbol, whose capture is there."""
    if not (directory / "capture.jsonl").exists():
        write_capture(directory / "capture.jsonl", symbol="BTCUSDT", messages=100, seed=1)
    (directory / "cowbook.toml").write_text(_CONFIG + f"follow = {str(follow).lower()}\n")
    config = load_config(directory / "cowbook.toml", {})
    return SymbolThread("BTCUSDT", lambda: worker_settings(config, config.symbol[0]), context)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def storage_in(directory: Path) -> DirectoryStorage:
    """Of the symbol's log."""
    return DirectoryStorage(directory / "state" / "BTCUSDT" / "log", DurableFiles())


def held(path: Path) -> int:
    """A lock that another process has."""
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    for parent in (path.parent, path.parent.parent):
        parent.chmod(0o700)
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


LOCKS = {"state": "state/BTCUSDT/LOCK", "output": "data/.staging/BTCUSDT/LOCK"}


@pytest.mark.parametrize("which", LOCKS)
def test_a_held_lock_is_refused(tmp_path: Path, context: ThreadContext, which: str) -> None:
    """Two that were started for one symbol are a mistake."""
    lock = held(tmp_path / LOCKS[which])
    thread = make_thread(tmp_path, context, follow=False)
    thread.start()
    assert thread.ended.wait(60)
    os.close(lock)
    assert thread.state == "failed"
    assert "is locked: another cowbook" in str(thread.last_error)
    assert storage_in(tmp_path).names() == []


@pytest.mark.parametrize("which", LOCKS)
def test_a_successor_waits_for_the_lock(tmp_path: Path, context: ThreadContext, which: str) -> None:
    """Until whoever has it ends. It says what it waits for, and claims nothing before."""
    lock = held(tmp_path / LOCKS[which])
    thread = make_thread(tmp_path, replace(context, waits_for_locks=True), follow=False)
    thread.start()
    until(lambda: thread.state == "waiting")
    assert "is locked: another cowbook" in str(thread.figures.waiting_for)
    assert storage_in(tmp_path).names() == []
    os.close(lock)
    assert thread.ended.wait(60)
    assert (thread.state, thread.restarts) == ("done", 0)


def test_a_successor_that_waits_can_be_stopped(tmp_path: Path, context: ThreadContext) -> None:
    """A lock may never be given back."""
    lock = held(tmp_path / LOCKS["state"])
    thread = make_thread(tmp_path, replace(context, waits_for_locks=True), follow=True)
    thread.start()
    until(lambda: thread.state == "waiting")
    thread.stop()
    assert thread.ended.wait(60)
    os.close(lock)
    assert thread.state == "done"


def test_a_symbol_that_was_taken_over_ends_for_good(tmp_path: Path, context: ThreadContext) -> None:
    """It commits nothing more, and is not started again; what it had committed stays."""
    thread = make_thread(tmp_path, context, follow=True)
    thread.start()
    until(lambda: thread.state == "running" and thread.figures.events_since_checkpoint != 0)
    assert thread.checkpoint().result(60) == 1
    storage = storage_in(tmp_path)
    successor = CommitLog(storage, "BTCUSDT")
    successor.read()
    assert successor.claim()
    more = tmp_path / "more.jsonl"
    write_capture(more, symbol="BTCUSDT", messages=150, seed=1)
    (tmp_path / "capture.jsonl").write_bytes(more.read_bytes())
    until(lambda: bool(thread.figures.events_since_checkpoint))
    with pytest.raises(Exception, match=r"was taken over by process|the worker ended"):
        thread.checkpoint().result(60)
    assert thread.ended.wait(60)
    assert (thread.state, thread.restarts) == ("failed", 0)
    assert f"BTCUSDT was taken over by process {os.getpid()}" in str(thread.last_error)
    assert {number: entry.is_commit for number, entry in read_run(storage).items() if entry is not None} == {2: True, 3: False}
    assert [path.name for path in (tmp_path / "state" / "BTCUSDT" / "checkpoints").iterdir()] == ["1"]


def test_a_restart_inside_the_process_does_not_claim(tmp_path: Path, context: ThreadContext) -> None:
    """A worker that starts again after a failure of storage goes on behind its own entries."""
    thread = make_thread(tmp_path, context, follow=True)
    thread.start()
    until(lambda: thread.state == "running")
    until(lambda: bool(thread.figures.events_since_checkpoint))
    thread.checkpoint().result(60)
    (tmp_path / "data" / ".staging" / "BTCUSDT" / "LOCK").unlink()  # a restart mends it
    with pytest.raises(Exception, match=r"removed or replaced|the worker ended"):
        thread.checkpoint().result(60)
    until(lambda: thread.restarts == 1 and thread.state == "running")
    thread.stop()
    assert thread.ended.wait(60)
    entries = [entry for entry in read_run(storage_in(tmp_path)).values() if entry is not None]
    assert entries
    assert {(entry.owner, entry.is_commit) for entry in entries} == {(1, True)}  # its claim was removed, and there is no other


def test_two_starts_at_once_have_one_owner(tmp_path: Path) -> None:
    """However they race for the next number."""
    storage, logs = storage_in(tmp_path), [CommitLog(storage_in(tmp_path), "BTCUSDT") for _ in range(8)]
    barrier = threading.Barrier(len(logs))

    def claim(log: CommitLog) -> None:
        log.read()
        barrier.wait()
        with suppress(FencedError):
            log.claim()

    threads = [threading.Thread(target=claim, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = [log.owner for log in logs if log.owner]
    assert len(set(owners)) == len(owners)
    owner = max(log.owner for log in logs)
    entries = read_run(storage)
    last = entries[max(entries)]
    assert last is not None
    assert last.owner == owner
