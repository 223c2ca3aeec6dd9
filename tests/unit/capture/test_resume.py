"""Resuming: the position's file is found, and each file is read once, whatever happened to names between two runs."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cowbook.capture.follower import Follower
from cowbook.errors import InputError
from cowbook.plain.position import Position

Compress = Callable[[bytes], bytes]

HEADER = b"exchange,symbol,timestamp\n"


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Threads for reading."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three files with the same header, of which the first KiB differ behind it."""
    names = [tmp_path / name for name in ("a", "b", "c")]
    for path in names:
        write(path, path.name)
    return names


def lines(mark: str) -> bytes:
    """A header, and then lines that say where they are from."""
    return HEADER + b"".join(b"%s %d\n" % (mark.encode(), number) for number in range(400))


def write(path: Path, mark: str) -> None:
    """A file of such lines."""
    path.write_bytes(lines(mark))


class Run:
    """Goes through files by lines, up to `stop` lines; what it consumed, and its last position."""

    def __init__(self) -> None:
        self.consumed = b""
        self.position: Position | None = None
        self.warnings: tuple[str, ...] = ()
        self.damages: list[str] = []
        self.total = self.read = 0

    async def go(self, paths: Sequence[Path], executor: Executor, position: Position | None = None, stop: int = 1 << 30) -> Run:
        """Read on from a position."""
        follower = Follower(paths, executor=executor, block_bytes=700, position=position)
        try:
            while stop and (block := await follower.next_block()) is not None:
                content = block.buffer[block.start : block.end].tobytes()
                if not block.final:
                    content = content[: content.rfind(b"\n") + 1]
                for line in content.splitlines(keepends=True)[:stop]:
                    self.consumed += line
                    block.start += len(line)
                    stop -= 1
                self.position = follower.position_at(block.offset_of(block.start))
                if block.damage is not None:
                    self.damages.append(block.damage)
            self.warnings = follower.warnings
            self.total, self.read = follower.files_total_bytes, follower.bytes_read_on_disk
        finally:
            await follower.close()
        return self


async def stopped_in(paths: Sequence[Path], executor: Executor, stop: int) -> Position:
    """The position after so many lines."""
    position = (await Run().go(paths, executor, stop=stop)).position
    assert position is not None
    return position


IN_SECOND = 401 + 200
AFTER_HEADER = 401 + 1


@pytest.mark.parametrize("stop", [IN_SECOND, AFTER_HEADER], ids=["in_the_second_file", "after_its_header"])
async def test_files_that_swapped_names_are_told_by_inode(paths: list[Path], executor: Executor, stop: int) -> None:
    """Every file moved to its neighbour's name: inodes tell files whose headers are alike."""
    position = await stopped_in(paths, executor, stop)
    a, b, c = paths
    c.rename(c.with_name("d"))
    b.rename(c)
    a.rename(b)
    run = await Run().go([b, c, c.with_name("d")], executor, position)
    assert run.consumed == (lines("a") + lines("b") + lines("c"))[len(lines("a")) + position.current.offset :]
    assert position.current.path == str(b)
    assert run.warnings == ()


@pytest.mark.parametrize("stop", [IN_SECOND, AFTER_HEADER], ids=["in_the_second_file", "after_its_header"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
async def test_copied_files_are_found_by_content(paths: list[Path], executor: Executor, stop: int, compress: Compress) -> None:
    """Nothing but the content is the same, and a header alone does not make a consumed file the current one."""
    position = await stopped_in(paths, executor, stop)
    copies = [path.with_name(f"copy-{path.name}") for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(compress(path.read_bytes()))
        path.unlink()
    run = await Run().go(copies, executor, position)
    assert run.consumed == (lines("a") + lines("b") + lines("c"))[len(lines("a")) + position.current.offset :]
    assert run.warnings == ()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("keep_inode", [False, True])
async def test_a_consumed_file_is_not_read_again_wherever_it_sorts(
    paths: list[Path], executor: Executor, compress: Compress, keep_inode: bool
) -> None:
    """It is not read again."""
    a, b, c = paths
    if keep_inode:
        a.write_bytes(compress(a.read_bytes()))
    position = await stopped_in(paths, executor, IN_SECOND)
    moved = a.with_name("z")
    a.rename(moved)
    if not keep_inode:
        moved.with_name("temporary").write_bytes(compress(moved.read_bytes()))
        moved.with_name("temporary").replace(moved)
    run = await Run().go([b, c, moved], executor, position)
    assert run.consumed == lines("b")[position.current.offset :] + lines("c")
    assert run.read == run.total


async def test_a_copy_beside_a_consumed_file_is_read(paths: list[Path], executor: Executor) -> None:
    """A copy of a consumed file beside it is a file of its own, as in a run without a stop."""
    a, b, c = paths
    shutil.copy(a, c)
    whole = await Run().go(paths, executor)
    position = await stopped_in(paths, executor, IN_SECOND)
    run = await Run().go(paths, executor, position)
    assert whole.consumed == lines("a") + lines("b") + lines("a")
    assert run.consumed == lines("b")[position.current.offset :] + lines("a")
    a.unlink()
    assert (await Run().go([b, c], executor, position)).consumed == lines("b")[position.current.offset :]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("name", ["a", "0", "z"])
async def test_growth_after_leaving_is_an_error(paths: list[Path], executor: Executor, compress: Compress, name: str) -> None:
    """A file that has grown after a later one was begun is an error, unless it was the last."""
    a, b, c = paths
    for path in paths:
        path.write_bytes(compress(path.read_bytes()))
    position = await stopped_in(paths, executor, IN_SECOND)
    at_end = await stopped_in(paths, executor, 3 * 401)
    for path in (a, c):
        with path.open("ab") as file:
            file.write(compress(b"more\n"))
    if name == "a":  # the last file may grow, but the first has grown too
        with pytest.raises(InputError, match="has grown"):
            await Run().go(paths, executor, at_end)
    moved = a.with_name(name)
    a.rename(moved)
    listed = sorted([moved, b, c])
    with pytest.raises(InputError, match=f"{moved} has grown behind offset {len(lines('a'))}"):
        await Run().go(listed, executor, position)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
async def test_from_the_end_it_goes_on_with_what_is_new(paths: list[Path], executor: Executor, compress: Compress) -> None:
    """From the end of everything it goes on with what is new there, then with new files."""
    for path in paths:
        path.write_bytes(compress(path.read_bytes()))
    position = await stopped_in(paths, executor, 3 * 401)
    assert (position.current.path, position.current.offset) == (str(paths[2]), len(lines("c")))
    assert [identity.path for identity in position.consumed] == [str(paths[0]), str(paths[1])]
    assert (await Run().go(paths, executor, position)).consumed == b""
    with paths[2].open("ab") as file:
        file.write(compress(b"more\n"))
    write(paths[0].with_name("d"), "d")
    run = await Run().go([*paths, paths[0].with_name("d")], executor, position)
    assert run.consumed == b"more\n" + lines("d")


async def test_a_new_file_that_sorts_before_the_current_one_is_only_warned_about(paths: list[Path], executor: Executor) -> None:
    """It is warned about and not read; a consumed one is neither, and a vanished one does not matter."""
    position = await stopped_in(paths, executor, IN_SECOND)
    new = paths[0].with_name("aa")
    write(new, "n")
    paths[0].unlink()
    run = await Run().go([paths[0], new, *paths[1:]], executor, position)
    assert run.consumed == lines("b")[position.current.offset :] + lines("c")
    assert len(run.warnings) == 1
    assert str(new) in run.warnings[0]


async def test_another_content_under_a_consumed_name_is_another_file(paths: list[Path], executor: Executor) -> None:
    """Another content under it is another file, and is read when it sorts last."""
    a, b, c = paths
    position = await stopped_in(paths, executor, IN_SECOND)
    a.unlink()
    write(a, "n")
    assert (await Run().go([b, c, a], executor, position)).consumed == (
        lines("b")[position.current.offset :] + lines("c") + lines("n")
    )


async def test_a_position_in_front_of_a_file_is_behind_the_one_before(paths: list[Path], executor: Executor) -> None:
    """Nothing of the file was consumed, so its name means nothing: what is not consumed comes next, whatever it is called."""
    follower = Follower(paths, executor=executor, block_bytes=1 << 16)
    positions: list[Position] = []
    while (block := await follower.next_block()) is not None:
        if not positions or block.file == str(paths[1]):
            positions.append(follower.position_at(block.offset_of(block.start)))
        if block.file == str(paths[1]):
            break
        block.start = block.end
    await follower.close()
    nothing, position = positions
    assert nothing.current.offset == 0
    assert nothing.settled is None
    assert (position.current.path, position.current.disk_bytes) == (str(paths[0]), len(lines("a")))
    rest = lines("b") + lines("c")
    assert (await Run().go(paths, executor, position)).consumed == rest
    as_it_was = Position(replace(nothing.current, path=str(paths[1])), (replace(position.current, disk_bytes=0),))
    assert (await Run().go(paths, executor, as_it_was)).consumed == rest
    paths[1].rename(paths[1].with_name("aa"))
    write(paths[1], "d")
    listed = [paths[0], paths[1].with_name("aa"), *paths[1:]]
    assert (await Run().go(listed, executor, position)).consumed == lines("b") + lines("d") + lines("c")
    assert (await Run().go(listed, executor, nothing)).consumed == lines("a") + lines("b") + lines("d") + lines("c")


async def test_empty_files_are_consumed_like_others(tmp_path: Path, executor: Executor) -> None:
    """They are consumed like others, and are not taken for one another's growth."""
    files = [tmp_path / name for name in ("0", "1", "2")]
    files[0].write_bytes(b"")
    files[1].write_bytes(gzip.compress(b""))
    write(files[2], "x")
    run = await Run().go(files, executor)
    assert run.consumed == lines("x")
    assert run.position is not None
    assert len(run.position.consumed) == 2
    assert (await Run().go(files, executor, run.position)).consumed == b""
    with files[0].open("ab") as file:
        file.write(b"more\n")
    with pytest.raises(InputError, match="has grown"):
        await Run().go(files, executor, run.position)


async def test_damage_counts_only_when_its_place_is_read(paths: list[Path], executor: Executor) -> None:
    """Behind: read up to it. Before: an error that says so. In another file: no matter before its turn."""
    compressed = gzip.compress(lines("b"), mtime=0)
    paths[1].write_bytes(compressed)
    position = await stopped_in(paths, executor, IN_SECOND)
    paths[1].write_bytes(compressed[:-4])
    run = await Run().go(paths, executor, position)
    assert [f"damaged at decoded offset {len(lines('b'))}" in damage for damage in run.damages] == [True]
    assert run.consumed == lines("b")[position.current.offset :] + b"\n" + lines("c")
    paths[1].write_bytes(compressed[:100])
    with pytest.raises(InputError, match=r"was not found: .*cannot be decoded up to there"):
        await Run().go(paths, executor, position)
    paths[1].write_bytes(compressed)
    paths[0].write_bytes(compressed[:100])
    run = await Run().go(paths, executor, position)
    assert run.consumed == lines("b")[position.current.offset :] + lines("c")
    assert len(run.warnings) == 1


async def test_the_error_stays_short_with_many_files(tmp_path: Path, executor: Executor) -> None:
    """The file of that name comes first, and the text stays short."""
    files = [tmp_path / f"{number:03}" for number in range(200)]
    for number, path in enumerate(files):
        write(path, str(number))
    position = await stopped_in(files, executor, 401 * 150 + 200)
    for number, path in enumerate(files):
        path.write_bytes(b"replaced %d " % number + lines(str(number)))
    with pytest.raises(InputError) as raised:
        await Run().go(files, executor, position)
    assert f"was not found: {files[150]} has different content: it was replaced" in str(raised.value)
    assert "and 197 more" in str(raised.value)


async def test_there_is_a_position_after_the_last_block(paths: list[Path], executor: Executor) -> None:
    """After None has been given there still is a position: the end of the last file."""
    follower = Follower(paths, executor=executor)
    while (block := await follower.next_block()) is not None:
        block.start = block.end
        last = follower.position_at(block.offset_of(block.end))
    assert await follower.next_block() is None
    assert follower.current_path == paths[2]
    assert follower.position_at(len(lines("c"))) == last
    assert follower.bytes_read_on_disk == follower.files_total_bytes == 3 * len(lines("a"))
    await follower.close()


class SlowExecutor(ThreadPoolExecutor):
    """Takes its time, so that calls can be given up before they are done."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Submit it, to be run a little later."""

        def late() -> Any:
            time.sleep(0.01)
            return function(*arguments, **named)

        return super().submit(late)


async def test_cancelled_call_loses_nothing(paths: list[Path]) -> None:
    """A call that is given up leaves its read under way, and the next one takes it."""
    executor = SlowExecutor(1)
    follower = Follower(paths, executor=executor, block_bytes=512)
    consumed = b""
    cancelled = 0
    while (block := await follower.next_block()) is not None:
        consumed += block.buffer[block.start : block.end].tobytes()
        block.start = block.end
        if not block.final:
            call = asyncio.ensure_future(follower.next_block())
            call.cancel()  # before its first step
            await asyncio.wait([call])
            call = asyncio.ensure_future(follower.next_block())
            await asyncio.sleep(0)
            if call.cancel():
                cancelled += 1
                await asyncio.wait([call])
            else:
                block = call.result()
                assert block is not None
                consumed += block.buffer[block.start : block.end].tobytes()
                block.start = block.end
    await follower.close()
    executor.shutdown()
    assert cancelled > 3
    assert consumed == lines("a") + lines("b") + lines("c")


async def test_failed_call_skips_nothing(paths: list[Path], executor: Executor) -> None:
    """A file that is missing when its turn comes is an error each time, until it is there."""
    follower = Follower(paths, executor=executor)
    paths[0].rename(paths[0].with_name("away"))
    for _ in range(2):
        with pytest.raises(InputError, match=f"{paths[0]} cannot be opened: No such file"):
            await follower.next_block()
    paths[0].with_name("away").rename(paths[0])
    block = await follower.next_block()
    await follower.close()
    assert block is not None
    assert block.file == str(paths[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_forbidden_file_is_an_error_when_its_turn_comes(paths: list[Path], executor: Executor) -> None:
    """A file that may not be read is an error with its name, when its turn comes."""
    position = await stopped_in(paths, executor, IN_SECOND)
    paths[0].chmod(0)
    paths[2].chmod(0)
    run = Run()
    with pytest.raises(InputError, match=f"{paths[2]} cannot be opened: Permission denied"):
        await run.go(paths, executor, position)
    assert run.consumed == lines("b")[position.current.offset :]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
async def test_a_position_stands_on_either_side_of_damage(paths: list[Path], executor: Executor, compress: Compress) -> None:
    """Wherever a run was stopped, before, inside or behind damaged files: the next one reads the rest, each place once."""
    paths[0].write_bytes(compress(lines("a"))[:-40] + compress(lines("x")) + b"garbage")
    paths[1].write_bytes(compress(lines("b"))[:-5])
    paths[2].write_bytes(b"garbage" + compress(lines("c")) + b"garbage" + compress(lines("y")))
    whole = await Run().go(paths, executor)
    assert len(whole.damages) == 5
    count = whole.consumed.count(b"\n")
    for stop in [*range(1, count, 97), *range(count - 3, count + 1)]:
        first = await Run().go(paths, executor, stop=stop)
        assert first.position is not None
        second = await Run().go(paths, executor, first.position)
        assert first.consumed + second.consumed == whole.consumed, stop
