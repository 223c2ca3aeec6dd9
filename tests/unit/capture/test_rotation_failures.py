"""Following where reading fails, calls are given up, and positions of files that were left are gone on from."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cowbook.capture import follower, live_listing
from cowbook.capture.follower import Follower
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.paths import Listing, list_files
from cowbook.capture.rotation import FollowSettings
from cowbook.errors import InputError
from cowbook.plain.position import Position
from support.followed import Tail


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Threads for reading."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def lines(mark: str, count: int = 200) -> bytes:
    """Lines that say where they are from."""
    return b"".join(b"%s %d\n" % (mark.encode(), number) for number in range(count))


@pytest.mark.parametrize("method", ["readinto", "look"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE], ids=["EIO", "ESTALE"])
async def test_read_errors_are_retried_from_the_same_offset(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch, method: str, code: int
) -> None:
    """The file is opened again where it was left, as often as it takes; meanwhile the text says what fails."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)
    path = tmp_path / "x"
    path.write_bytes(lines("a", 1000))
    tail = Tail(("x",), tmp_path, executor, block_bytes=1000)
    failures = 0
    said = set()
    original = getattr(GrowingFile, method)

    def fail(file: GrowingFile, *arguments: Any) -> Any:
        nonlocal failures
        if file.tell_compressed() >= 2000 and failures < 4:
            failures += 1
            raise OSError(code, os.strerror(code))
        return original(file, *arguments)

    monkeypatch.setattr(GrowingFile, method, fail)

    def is_done() -> bool:
        said.add(tail.follower.waiting_for)
        return tail.consumed == lines("a", 1000) and tail.follower.at_end

    await tail.until(is_done)
    assert failures == 4
    assert any(text and str(path) in text and os.strerror(code) in text for text in said)
    assert tail.follower.waiting_for is None
    await tail.close()


async def test_a_file_replaced_while_it_failed_is_an_error(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another content under the name is an error, as at the start."""
    path = tmp_path / "x"
    path.write_bytes(lines("a"))
    tail = Tail(("x",), tmp_path, executor)
    await tail.expect(lines("a"))

    def fail(_: GrowingFile) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(lines("other"))
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(GrowingFile, "look", fail)
    with pytest.raises(InputError, match="it was replaced"):
        await tail.until(lambda: False)
    await tail.close()


async def test_a_forbidden_file_is_waited_for(tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, before the first file and between two, with path and user."""
    original = os.open
    forbidden = {str(tmp_path / "x-1")}

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path) in forbidden:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    tail = Tail(("x-*",), tmp_path, executor)
    expected = b""
    for number in (1, 2):
        path = tmp_path / f"x-{number}"
        path.write_bytes(lines(str(number)))
        await tail.until(lambda: tail.follower.waiting_for is not None and "opened" in tail.follower.waiting_for)
        assert tail.follower.waiting_for == f"{path} cannot be opened: Permission denied (as user {os.getuid()})"
        assert tail.consumed == expected
        forbidden.clear()
        expected += lines(str(number))
        await tail.expect(expected)
        assert tail.follower.waiting_for is None
        forbidden.add(str(tmp_path / "x-2"))
    assert tail.consumed == lines("1") + lines("2")
    await tail.close()


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


class SlowExecutor(ThreadPoolExecutor):
    """Takes its time, so that calls are given up before they are done."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Submit it, to be run a little later."""

        def late() -> Any:
            time.sleep(0.002)
            return function(*arguments, **named)

        return super().submit(late)


@pytest.mark.long
async def test_cancelled_calls_lose_nothing(tmp_path: Path) -> None:
    """Calls that are given up after any time lose nothing, through rotation and restarts; descriptors are closed."""
    executor = SlowExecutor(1)
    before = open_descriptors()
    expected = b""
    position: Position | None = None
    for number in range(6):
        content = lines(str(number))
        (tmp_path / f"x-{number}").write_bytes(content)
        tail = Tail(("x-*",), tmp_path, executor, position=position, rotate_wait=0.01, block_bytes=700)
        consumed = b""
        tries = 0
        while consumed + tail.consumed != content or not tail.follower.at_end:
            tries += 1
            tail._slice = (0.0, 0.001, 0.002, 0.004, 0.007, 0.02, 0.05)[tries % 7]
            await tail.step()
            assert tries < 2000
            if tail.finals == [f"x-{number - 1}"]:
                tail.consumed, tail.finals = b"", []
        position = await tail.close()
        expected += content
    executor.shutdown()
    assert position is not None
    assert len(position.consumed) == 5
    assert open_descriptors() <= before


async def test_it_can_be_closed_at_any_moment(tmp_path: Path, executor: Executor) -> None:
    """At any moment, before anything is there, too."""
    tail = Tail(("x-*",), tmp_path, executor)
    await tail.step()
    await tail.close()
    assert not tail.follower.has_position
    call = asyncio.ensure_future(tail.follower.next_block())
    call.cancel()
    await asyncio.wait([call])


async def left_behind(tmp_path: Path, executor: Executor) -> Position:
    """A position in x-1, which was left at its end and deleted."""
    path = tmp_path / "x-1"
    path.write_bytes(lines("a"))
    tail = Tail(("x-*",), tmp_path, executor)
    await tail.expect(lines("a"))
    path.unlink()
    await tail.until(lambda: tail.finals == ["x-1"])
    position = await tail.close()
    assert position is not None
    assert position.current.disk_bytes == len(lines("a"))
    return Position.from_json(position.to_json())


@pytest.mark.parametrize("there", [False, True])
async def test_a_list_goes_on_behind_the_file_that_was_left(tmp_path: Path, executor: Executor, there: bool) -> None:
    """A run over a list to its end goes on with what sorts behind the file that was left."""
    position = await left_behind(tmp_path, executor)
    paths = [tmp_path / name for name in ("x-0", "x-1", "x-2")]
    paths[0].write_bytes(lines("older"))
    paths[2].write_bytes(lines("b"))
    if there:
        paths[1].write_bytes(lines("a"))
    follower = Follower([path for path in paths if path.exists()], executor=executor, position=position)
    consumed, finals = b"", 0
    while (block := await follower.next_block()) is not None:
        assert follower.mark_at(block.offset_of(block.end)).progress >= position.progress
        consumed += block.buffer[block.start : block.end].tobytes()
        finals += block.final
        assert follower.is_last == (block.file != str(paths[1]))
        block.start = block.end
    assert consumed == lines("b")
    assert finals == 2
    assert [warning.split()[0] for warning in follower.warnings] == [str(paths[0])]
    assert follower.files_consumed == 1
    await follower.close()


async def test_a_list_without_more_files_ends_at_the_same_position(tmp_path: Path, executor: Executor) -> None:
    """The list has nothing more: its end comes, with the position as it was; growth is an error."""
    position = await left_behind(tmp_path, executor)
    follower = Follower([], executor=executor, position=position)
    block = await follower.next_block()
    assert block is not None
    assert block.final
    assert follower.is_last
    assert follower.position_at(block.offset_of(block.end)) == position
    assert await follower.next_block() is None
    await follower.close()
    path = tmp_path / "x-1"
    path.write_bytes(lines("a") + b"more\n")
    for follow in (None, FollowSettings(("x-*",), tmp_path)):
        follower = Follower([path], executor=executor, position=position, follow=follow)
        if follow is None:
            with pytest.raises(InputError, match="has grown"):
                await follower.seek()
        await follower.close()


def test_positions_from_before_files_could_be_left_are_read() -> None:
    """A position that was written before files could be left."""
    identity = {"path": "/a", "device": 1, "inode": 2, "offset": 0, "head_sha256": "", "tail_sha256": ""}
    position = Position.from_json({"current": identity, "consumed": [identity]})
    assert position.current.disk_bytes == 0
    assert position.current.begins_ns is None
    assert position.progress == (1, -1)


@pytest.mark.parametrize("was_left", [False, True])
async def test_a_file_that_is_renamed_while_names_are_listed_is_found_by_the_next_look(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch, was_left: bool
) -> None:
    """One listing proves nothing: a new name may have been listed before the rename, and the old one after it."""
    path = tmp_path / "x"
    path.write_bytes(lines("a"))
    tail = Tail(("old-*", "x"), tmp_path, executor)
    (tmp_path / "old-0").write_bytes(lines("0"))
    await tail.expect(lines("0") + lines("a"))
    position = await tail.close()
    if was_left:
        assert position is not None
        position = Position(replace(position.current, disk_bytes=position.current.offset), position.consumed)
        path.unlink()
        path.write_bytes(lines("between"))
    path.rename(tmp_path / "old-1")
    path.write_bytes(lines("b"))
    looks = 0

    def miss_the_renamed_file(patterns: Any, base: Path) -> Listing:
        nonlocal looks
        looks += 1
        listing = list_files(patterns, base)
        entries = tuple(entry for entry in listing.entries if looks > 1 or entry.path.name != "old-1")
        return replace(listing, entries=entries)

    monkeypatch.setattr(live_listing, "list_files", miss_the_renamed_file)
    tail = Tail(("old-*", "x"), tmp_path, executor, position=position)
    await tail.expect((lines("between") if was_left else b"") + lines("b"))
    assert looks > 1
    await tail.close()
