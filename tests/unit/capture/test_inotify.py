"""inotify: the right ones are woken, in whatever thread they are, and the lack of watches is told."""

from __future__ import annotations

import asyncio
import errno
import shutil
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncinotify
import pytest
import uvloop

from cowbook.capture import follower
from cowbook.capture.inotify import Bell, OfferedRead, Turns, Watcher
from support.followed import Tail


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    """On the test's loop."""
    watcher = Watcher.open(asyncio.get_running_loop())
    assert watcher is not None
    yield watcher
    watcher.close()


async def test_a_watched_file_rings_all_its_bells_once(tmp_path: Path, watcher: Watcher) -> None:
    """Everyone who watches it, and not again before it is watched again."""
    path = tmp_path / "x"
    bells = [Bell(), Bell()]
    with path.open("ab", buffering=0) as file:
        for _ in range(3):
            for bell in bells:
                bell.clear()
                assert watcher.watch_file(file.fileno(), bell)
                assert bell.is_armed
            file.write(b"x")
            for bell in bells:
                assert await bell.wait(60)
                assert not bell.is_armed
                assert not bell.listing_changed
                bell.clear()
        file.write(b"x")
        assert not await bells[0].wait(0.05)
        assert not bells[1]._rung


async def test_the_open_file_is_watched_whatever_its_name(tmp_path: Path, watcher: Watcher) -> None:
    """It is the open file that is watched, whatever has its name."""
    bell = Bell()
    with (tmp_path / "x").open("ab", buffering=0) as file:
        (tmp_path / "x").rename(tmp_path / "y")
        (tmp_path / "x").write_bytes(b"")
        assert watcher.watch_file(file.fileno(), bell)
        (tmp_path / "x").write_bytes(b"other")
        assert not await bell.wait(0.05)
        file.write(b"x")
        assert await bell.wait(60)


async def test_only_matching_names_in_a_directory_ring(tmp_path: Path, watcher: Watcher) -> None:
    """Only names that match ring; creating, moving and deleting does."""
    bell, other = Bell(), Bell()
    assert watcher.watch_directories({str(tmp_path): {"x-*"}}, bell) == (True, True)
    assert watcher.watch_directories({str(tmp_path): {"x-*"}}, bell) == (True, False)
    assert watcher.watch_directories({str(tmp_path): {"y-*"}}, other) == (True, True)
    (tmp_path / "y-1").write_bytes(b"")
    assert await other.wait(60)
    assert not await bell.wait(0.05)
    (tmp_path / "y-1").rename(tmp_path / "x-1")
    assert await bell.wait(60)
    assert bell.listing_changed
    await asyncio.sleep(0.05)
    bell.clear()
    bell.listing_changed = False
    (tmp_path / "x-1").unlink()
    assert await bell.wait(60)
    watcher.forget(bell)
    await asyncio.sleep(0.05)
    bell.clear()
    (tmp_path / "x-2").write_bytes(b"")
    assert not await bell.wait(0.05)


async def test_a_removed_directory_rings_and_is_watched_anew(tmp_path: Path, watcher: Watcher) -> None:
    """Its end rings; the new one has to be watched anew."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bell = Bell()
    assert watcher.watch_directories({str(folder): {"*"}, str(tmp_path / "none"): {"*"}}, bell) == (False, True)
    shutil.rmtree(folder)
    assert await bell.wait(60)
    folder.mkdir()
    await asyncio.sleep(0.05)
    bell.clear()
    assert watcher.watch_directories({str(folder): {"*"}}, bell) == (True, True)
    (folder / "x").write_bytes(b"")
    assert await bell.wait(60)


async def test_lost_events_ring_every_bell(tmp_path: Path, watcher: Watcher) -> None:
    """When the kernel's queue was full everyone has to look."""
    bell, other = Bell(), Bell()
    watcher.watch_directories({str(tmp_path): {"x"}}, bell)
    with (tmp_path / "y").open("ab") as file:
        watcher.watch_file(file.fileno(), other)
        bells: dict[Bell, bool] = {}
        watcher._collect_bells(asyncinotify.Event(None, asyncinotify.Mask.Q_OVERFLOW, 0, None), bells)
    assert bells == {bell: True, other: True}


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
async def test_other_thread(tmp_path: Path, watcher: Watcher, factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower on its own loop in its own thread: each line at once, though it would hardly ever look by itself."""
    for name in ("SAFETY_POLL_SECONDS", "LONGEST_SAFETY_POLL_SECONDS"):
        monkeypatch.setattr(follower, name, 10**6)
    path = tmp_path / "x"
    path.write_bytes(b"")
    waits = threading.Semaphore(0)

    async def follow(readers: ThreadPoolExecutor) -> int:
        tail = Tail(("x",), tmp_path, readers, watcher, slice_seconds=60)
        for number in range(20):
            waits.release()
            await tail.until(lambda number=number: tail.consumed.count(b"\n") > number, 60)  # type: ignore[misc]
        await tail.close()
        return tail.consumed.count(b"\n")

    def run() -> int:
        with asyncio.Runner(loop_factory=factory) as runner, ThreadPoolExecutor(1) as readers:
            return runner.run(follow(readers))

    worker = asyncio.get_running_loop().run_in_executor(None, run)
    for _ in range(20):
        await asyncio.to_thread(waits.acquire)
        with path.open("ab") as file:
            file.write(b"line\n")
    assert await worker == 20


async def test_closing_wakes_all_who_wait(tmp_path: Path) -> None:
    """Who waits is woken, and polls from then on."""
    watcher = Watcher.open(asyncio.get_running_loop())
    assert watcher is not None
    bell = Bell()
    watcher.watch_directories({str(tmp_path): {"x"}}, bell)
    watcher.close()
    watcher.close()
    assert await bell.wait(60)
    with (tmp_path / "y").open("ab") as file:
        assert not watcher.watch_file(file.fileno(), bell)
    assert watcher.watch_directories({str(tmp_path): {"x"}}, bell) == (False, False)
    watcher.forget(bell)


async def test_files_are_polled_where_no_watch_is_left(tmp_path: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the system's limits files are polled."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(asyncinotify.Inotify, "add_watch", refuse)
    bell = Bell()
    assert watcher.watch_directories({str(tmp_path): {"x"}}, bell) == (False, False)
    with ThreadPoolExecutor(1) as readers:
        tail = Tail(("x-*",), tmp_path, readers, watcher)
        await tail.until(lambda: tail.follower.waiting_for is not None)
        (tmp_path / "x-1").write_bytes(b"line\n")
        await tail.expect(b"line\n")
        await tail.close()


async def test_no_watcher_where_inotify_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is given where there is none to be had."""

    def refuse(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncinotify, "Inotify", refuse)
    assert Watcher.open(asyncio.get_running_loop()) is None


async def test_changes_within_the_delay_ring_together(tmp_path: Path, watcher: Watcher) -> None:
    """Bells of one delay ring at one moment, each once, however many changes there were."""
    bells = [Bell(0.1), Bell(0.1)]
    files = [(tmp_path / name).open("ab", buffering=0) for name in "ab"]
    rung: list[float] = []

    async def wait(bell: Bell) -> None:
        assert await bell.wait(60)
        rung.append(asyncio.get_running_loop().time())

    for file, bell in zip(files, bells, strict=True):
        assert watcher.watch_file(file.fileno(), bell)
    waiting = [asyncio.ensure_future(wait(bell)) for bell in bells]
    await asyncio.sleep(0)
    for file in files:
        for _ in range(5):
            file.write(b"x")
        file.close()
    await asyncio.gather(*waiting)
    assert abs(rung[0] - rung[1]) < 0.1


async def test_an_offered_read_is_made_instead_of_ringing(tmp_path: Path) -> None:
    """It is made in another thread; what it raises comes to the follower; an offer that was taken back only rings."""
    with ThreadPoolExecutor(1) as readers:
        watcher = Watcher.open(asyncio.get_running_loop(), readers)
        assert watcher is not None
        threads: list[int] = []

        def read() -> int:
            threads.append(threading.get_ident())
            if len(threads) == 2:
                raise OSError(errno.EIO, "Input/output error")
            return 7

        bell = Bell()
        with (tmp_path / "x").open("ab", buffering=0) as file:
            for outcome in ("read", "raised", "taken back"):
                assert watcher.watch_file(file.fileno(), bell)
                offer = bell.offer = OfferedRead(read)
                if outcome == "taken back":
                    assert offer.take_back()
                file.write(b"x")
                assert await bell.wait(60)
                if outcome == "read":
                    assert await offer.count == 7
                elif outcome == "raised":
                    with pytest.raises(OSError, match="Input/output error"):
                        await offer.count
                else:
                    assert not offer.count.done()
                assert not offer.take_back()
        assert threading.get_ident() not in threads
        assert len(threads) == 2
        watcher.close()


async def test_followers_are_woken_in_turn() -> None:
    """The next one is woken when the one before waits again."""
    turns = Turns()
    bells = [Bell() for _ in range(3)]
    for bell in bells:
        turns.add(bell, bell.ring)
    assert turns.next()
    for place, bell in enumerate(bells):
        assert [other._rung for other in bells] == [other <= place for other in range(3)]
        assert await bell.wait(60)
    assert not turns.next()


async def test_one_that_does_not_wait_again_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """They are woken after a moment all the same."""
    with ThreadPoolExecutor(1) as readers:
        watcher = Watcher.open(asyncio.get_running_loop(), readers)
        assert watcher is not None
        bells = [Bell() for _ in range(3)]
        with (tmp_path / "x").open("ab", buffering=0) as file:
            for bell in bells:
                assert watcher.watch_file(file.fileno(), bell)
                bell.offer = OfferedRead(lambda: 1)
            file.write(b"x")
            for bell in bells:
                assert bell.offer is not None
                assert await asyncio.wait_for(bell.offer.count, 60) == 1
        watcher.close()
