"""Following: everything that is written comes out once and in order, whatever happens to names meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from cowbook.capture import follower
from cowbook.capture.inotify import Watcher
from cowbook.capture.paths import Entry
from cowbook.capture.rotation import Observation, at_end
from cowbook.errors import InputError
from support.followed import Tail

pytestmark = pytest.mark.long


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Threads for reading."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["inotify", "polling"])
async def watcher(request: pytest.FixtureRequest) -> AsyncIterator[Watcher | None]:
    """With inotify, and without."""
    if request.param == "polling":
        yield None
        return
    watcher = Watcher.open(asyncio.get_running_loop())
    assert watcher is not None
    yield watcher
    watcher.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> float:
    """Have followers poll often; how long a step of one may take then."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)
    return 0.004


def lines(mark: str, count: int = 200) -> bytes:
    """Lines that say where they are from."""
    return b"".join(b"%s %d\n" % (mark.encode(), number) for number in range(count))


def append(path: Path, content: bytes) -> None:
    """Write more."""
    with path.open("ab") as file:
        file.write(content)


async def test_lines_come_as_they_are_written(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """Lines come as they are written; an unfinished one waits for its end, however long."""
    path = tmp_path / "x.log"
    path.write_bytes(lines("a"))
    tail = Tail(("x.log",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    append(path, b"half of ")
    for _ in range(10):
        await tail.step()
    assert tail.consumed == lines("a")
    append(path, b"a line\nand")
    await tail.expect(lines("a") + b"half of a line\n")
    assert tail.finals == []
    assert tail.follower.unread_bytes == 0
    position = await tail.close()
    append(path, b" more\n")
    again = Tail(("x.log",), tmp_path, executor, watcher, position)
    await again.expect(b"and more\n")
    await again.close()


async def test_missing_files_are_waited_for_by_name(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """Folder, file, target of a link: all are waited for, and the text says what is missing."""
    tail = Tail(("folder/x-*.log", "y.log"), tmp_path, executor, watcher)
    await tail.until(lambda: tail.follower.waiting_for is not None)
    assert tail.follower.waiting_for == f"{tmp_path}/folder/x-*.log: no file matches"
    assert not tail.follower.has_position
    (tmp_path / "y.log").symlink_to(tmp_path / "target")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x-1.log").write_bytes(lines("x"))
    await tail.until(lambda: tail.consumed == lines("x"))
    await tail.until(lambda: str(tmp_path / "y.log") in (tail.follower.waiting_for or ""))
    (tmp_path / "target").write_bytes(lines("y"))
    await tail.expect(lines("x") + lines("y"))
    assert tail.follower.waiting_for is None
    assert tail.finals == ["x-1.log"]
    assert tail.follower.rotations == 1
    await tail.close()


async def test_the_renamed_file_is_read_to_its_end_before_the_new_one(
    tmp_path: Path, executor: Executor, watcher: Watcher | None
) -> None:
    """One path: the old file is read to its end, what is written late too, then the new one."""
    path = tmp_path / "x.log"
    path.write_bytes(lines("a"))
    tail = Tail(("x.log",), tmp_path, executor, watcher, rotate_wait=0.1)
    await tail.expect(lines("a"))
    path.rename(tmp_path / "x.log.1")
    path.write_bytes(lines("b"))
    append(tmp_path / "x.log.1", b"late\nunfinished")
    await tail.expect(lines("a") + b"late\nunfinished" + lines("b"))
    assert tail.finals == ["x.log"]
    for mark in "cd":
        path.rename(tmp_path / f"x.log.{mark}")
        path.write_bytes(lines(mark))
        await tail.until(lambda mark=mark: tail.consumed.endswith(lines(mark)))  # type: ignore[misc]
    assert tail.follower.rotations == 3
    assert tail.follower.warnings == ()
    await tail.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_renamed_files_that_the_glob_shows_are_read_once(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, restart: bool
) -> None:
    """A glob that shows the renamed files, too: none is read twice, none is skipped."""
    path = tmp_path / "x.log"
    expected = b""
    tail = Tail(("x.log*",), tmp_path, executor, watcher)
    for number in range(4):
        for old in range(number - 1, 0, -1):
            (tmp_path / f"x.log.{old}").rename(tmp_path / f"x.log.{old + 1}")
        if number:
            path.rename(tmp_path / "x.log.1")
        content = lines(str(number))
        path.write_bytes(content)
        expected += content
        await tail.expect(expected)
        if restart:
            position = await tail.close()
            consumed = tail.consumed
            tail = Tail(("x.log*",), tmp_path, executor, watcher, position)
            tail.consumed = consumed
    await tail.expect(expected)
    assert tail.follower.warnings == ()
    await tail.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_files_between_two_rotations_are_read_in_their_place(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, restart: bool
) -> None:
    """Two rotations before the first file is left, or while nobody follows: the file between is read, in its place."""
    path = tmp_path / "x-current"
    path.write_bytes(lines("a"))
    tail = Tail(("x-*",), tmp_path, executor, watcher, rotate_wait=0.1)
    await tail.expect(lines("a"))
    consumed, position = tail.consumed, None
    if restart:
        position = await tail.close()
    for number, mark in enumerate("bc", 1):
        path.rename(tmp_path / f"x-{number}")
        path.write_bytes(lines(mark))
    if restart:
        tail = Tail(("x-*",), tmp_path, executor, watcher, position, rotate_wait=0.1)
        tail.consumed = consumed
    await tail.expect(lines("a") + lines("b") + lines("c"))
    assert tail.follower.warnings == ()
    assert tail.follower.skipped_files == 0
    await tail.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_files_between_two_rotations_are_read_in_a_list_too(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, restart: bool
) -> None:
    """As above, with a glob for the rotated files and a path for the one that is written."""
    patterns = ("old-*", "current")
    path = tmp_path / "current"
    (tmp_path / "old-0").write_bytes(lines("0"))
    path.write_bytes(lines("a"))
    tail = Tail(patterns, tmp_path, executor, watcher, rotate_wait=0.1)
    await tail.expect(lines("0") + lines("a"))
    consumed, position = tail.consumed, None
    if restart:
        position = await tail.close()
    for number, mark in enumerate("bc", 1):
        path.rename(tmp_path / f"old-{number}")
        path.write_bytes(lines(mark))
    if restart:
        tail = Tail(patterns, tmp_path, executor, watcher, position, rotate_wait=0.1)
        tail.consumed = consumed
    await tail.expect(lines("0") + lines("a") + lines("b") + lines("c"))
    assert tail.follower.warnings == ()
    assert tail.follower.skipped_files == 0
    await tail.close()


@pytest.mark.parametrize("name", ["x-0.5", "x-1.bak", "x-3"])
async def test_plain_copies(tmp_path: Path, executor: Executor, watcher: Watcher | None, name: str, quick_looks: float) -> None:
    """A copy of a consumed file or of the current one, also one that is not finished, is not read again."""
    first, second = tmp_path / "x-1", tmp_path / "x-2"
    first.write_bytes(lines("a", 5000))
    tail = Tail(("x-*",), tmp_path, executor, watcher, slice_seconds=quick_looks)
    await tail.expect(first.read_bytes())
    second.write_bytes(lines("b", 5000))
    expected = first.read_bytes() + second.read_bytes()
    await tail.expect(expected)
    for original in (first, second):
        content = original.read_bytes()
        copy = tmp_path / name
        for end in (5, len(content) // 2, len(content)):
            with copy.open("ab") as file:
                file.write(content[copy.stat().st_size : end])
            for _ in range(5):
                await tail.step()
            assert tail.consumed == expected
        position = await tail.close()
        tail = Tail(("x-*",), tmp_path, executor, watcher, position, slice_seconds=quick_looks)
        tail.consumed = expected
        append(second, b"%s\n" % original.name.encode())
        expected += b"%s\n" % original.name.encode()
        await tail.expect(expected)
        assert tail.follower.warnings == ()
        copy.unlink()
    await tail.close()


async def test_a_new_file_with_an_old_header_is_new(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """A new file with the header of the old one is a new file as soon as something else stands in it."""
    first, second = tmp_path / "x-1", tmp_path / "x-2"
    first.write_bytes(b"header\n" + lines("a"))
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(first.read_bytes())
    second.write_bytes(b"header\n")
    for _ in range(10):
        await tail.step()
    append(second, lines("b"))
    await tail.expect(first.read_bytes() + second.read_bytes())
    await tail.close()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
async def test_compressed_after_rotation(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, compress: Callable[[bytes], bytes], quick_looks: float
) -> None:
    """Compressing the current or a consumed file, slowly and with both there meanwhile, makes no new file."""
    first, second = tmp_path / "x-1", tmp_path / "x-2"
    first.write_bytes(lines("a", 5000))
    tail = Tail(("x-*",), tmp_path, executor, watcher, slice_seconds=quick_looks)
    await tail.expect(first.read_bytes())
    expected = tail.consumed
    for path in (first, second):
        compressed = compress(path.read_bytes())
        copy = path.with_name(f"{path.name}.gz")
        copy.write_bytes(b"")
        for end in (10, len(compressed) // 2, len(compressed)):
            for _ in range(5):
                await tail.step()
            with copy.open("ab") as file:
                file.write(compressed[copy.stat().st_size : end])
        path.unlink()
        for _ in range(10):
            await tail.step()
        assert tail.consumed == expected
        if path == first:
            second.write_bytes(lines("b", 5000))
            expected += second.read_bytes()
            await tail.expect(expected)
    assert tail.follower.warnings == ()
    third = tmp_path / "x-3"
    third.write_bytes(lines("c"))
    await tail.expect(expected + lines("c"))
    assert tail.follower.warnings == ()
    position = await tail.close()
    again = Tail(("x-*",), tmp_path, executor, watcher, position)
    append(third, b"more\n")
    await again.expect(b"more\n")
    assert again.follower.warnings == ()
    await again.close()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
async def test_a_growing_compressed_file_gives_what_can_be_decoded(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, kind: str
) -> None:
    """Byte by byte at its start, then in flushed pieces: what can be decoded comes; in the middle of a member it waits."""
    path = tmp_path / "x.log"
    path.write_bytes(b"")
    tail = Tail(("x.*",), tmp_path, executor, watcher)
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31) if kind == "gzip" else zstandard.ZstdCompressor().compressobj()
    flush = zlib.Z_SYNC_FLUSH if kind == "gzip" else zstandard.COMPRESSOBJ_FLUSH_BLOCK
    await tail.until(lambda: tail.follower.at_end)
    piece = compressor.compress(lines("a")) + compressor.flush(flush)
    for place in range(6):
        append(path, piece[place : place + 1])
        await tail.step()
    append(path, piece[6:])
    await tail.expect(lines("a"))
    append(path, compressor.compress(lines("b")) + compressor.flush(flush))
    await tail.expect(lines("a") + lines("b"))
    append(path, compressor.flush())
    append(path, gzip.compress(lines("c")) if kind == "gzip" else zstandard.compress(lines("c")))
    await tail.expect(lines("a") + lines("b") + lines("c"))
    append(path, gzip.compress(lines("d"))[:30] if kind == "gzip" else zstandard.compress(lines("d"))[:30])
    for _ in range(5):
        await tail.step()
    (tmp_path / "x.new").write_bytes(b"")
    assert tail.damages == []
    await tail.until(lambda: tail.finals == ["x.log"])
    assert [("damaged at decoded offset" in damage, "it ends in the middle" in damage) for damage in tail.damages] == [
        (True, True)
    ]
    position = await tail.close()
    assert position is not None
    again = Tail(("x.*",), tmp_path, executor, watcher, position)
    append(tmp_path / "x.new", lines("e"))
    await again.expect(lines("e"))
    assert again.damages == []
    await again.close()


async def test_a_short_file_waits_until_it_cannot_be_compressed(
    tmp_path: Path, executor: Executor, watcher: Watcher | None
) -> None:
    """What may be the start of a compressed file waits, and is plain when it is left."""
    path = tmp_path / "x-1"
    path.write_bytes(b"(")
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.until(lambda: tail.follower.at_end)
    assert tail.follower.unread_bytes == 1
    (tmp_path / "x-2").write_bytes(b"")
    await tail.until(lambda: tail.follower.rotations == 1)
    assert tail.consumed == b"("
    await tail.close()


@pytest.mark.parametrize("how", ["truncated", "regrown", "replaced"])
@pytest.mark.parametrize("compressed", [False, True])
async def test_truncation_in_place_is_an_error_with_the_offset(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, how: str, compressed: bool
) -> None:
    """An error that names file and offset, whatever stands there now."""
    path = tmp_path / "x.log"
    function = gzip.compress if compressed else bytes
    content = function(lines("a"))
    path.write_bytes(content)
    tail = Tail(("x.log",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    if how == "truncated":
        os.truncate(path, 100)
    else:
        path.write_bytes(function(lines("b", 100 if how == "replaced" else 1000)))
    with pytest.raises(InputError, match=rf"{path} was truncated or replaced in its place at offset {len(content)}"):
        await tail.until(lambda: False)
    await tail.close()


async def test_an_older_file_is_warned_about_once_and_never_read(
    tmp_path: Path, executor: Executor, watcher: Watcher | None
) -> None:
    """It is warned about once, counted, and never read."""
    (tmp_path / "x-5").write_bytes(lines("a"))
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    (tmp_path / "x-4").write_bytes(lines("older"))
    await tail.until(lambda: tail.follower.skipped_files == 1)
    (tmp_path / "x-6").write_bytes(lines("b"))
    (tmp_path / "x-10").write_bytes(lines("c"))
    await tail.expect(lines("a") + lines("b") + lines("c"))
    assert tail.follower.skipped_files == 1
    (warning,) = tail.follower.warnings
    assert warning.startswith(f"{tmp_path / 'x-4'} sorts before")
    await tail.close()


async def test_growth_after_leaving_is_an_error(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """It is an error that says where."""
    first, second = tmp_path / "x-1", tmp_path / "x-2"
    first.write_bytes(lines("a"))
    second.write_bytes(lines("b"))
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(lines("a") + lines("b"))
    append(first, b"late\n")
    with pytest.raises(InputError, match=f"{first} has grown behind offset {len(lines('a'))}"):
        await tail.until(lambda: False)
    await tail.close()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("unfinished", [b"", b"unfinished"], ids=["whole_lines", "unfinished_line"])
async def test_a_deleted_file_is_read_to_its_end(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, restart: bool, unfinished: bytes
) -> None:
    """It is read to its end and released; a restart knows that it was, and goes on with the next one."""
    first = tmp_path / "x-1"
    first.write_bytes(lines("a"))
    descriptor = first.open("ab")
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    before = tail.follower.mark_at(len(lines("a")))
    first.unlink()
    descriptor.write(b"late\n" + unfinished)
    descriptor.close()
    await tail.until(lambda: tail.finals == ["x-1"])
    assert tail.consumed == lines("a") + b"late\n" + unfinished
    await tail.until(lambda: tail.follower._reader.file is not None and tail.follower._reader.file.raw is None)
    assert tail.position is not None
    assert tail.position.progress > before.progress
    assert tail.position.current.disk_bytes == len(tail.consumed)
    if restart:
        position = await tail.close()
        tail = Tail(("x-*",), tmp_path, executor, watcher, position)
        await tail.until(lambda: tail.follower.has_position)
        assert tail.position == position
        assert tail.follower.mark_at(position.current.offset).progress == position.progress  # type: ignore[union-attr]
        tail.consumed = lines("a") + b"late\n" + unfinished
    await tail.until(lambda: tail.follower.waiting_for == f"{tmp_path}/x-*: no file matches")
    (tmp_path / "x-2").write_bytes(lines("b"))
    await tail.expect(lines("a") + b"late\n" + unfinished + lines("b"))
    assert tail.follower.files_consumed == 1
    await tail.close()


async def test_a_missing_position_is_waited_for(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """Its file is waited for, by whatever name it comes back; a replaced one is an error."""
    path = tmp_path / "x-1"
    path.write_bytes(lines("a"))
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    position = await tail.close()
    path.rename(tmp_path / "away")
    (tmp_path / "x-2").write_bytes(lines("b"))
    again = Tail(("x-*",), tmp_path, executor, watcher, position)
    await again.until(lambda: again.follower.waiting_for is not None)
    assert "x-1 up to offset" in (again.follower.waiting_for or "")
    (tmp_path / "away").rename(tmp_path / "x-1b")
    await again.expect(lines("b"))
    await again.close()
    (tmp_path / "x-1b").unlink()
    path.write_bytes(lines("other"))
    again = Tail(("x-*",), tmp_path, executor, watcher, position)
    with pytest.raises(InputError, match="it was replaced"):
        await again.until(lambda: False)
    await again.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_link_to_another_file_is_a_rotation(
    tmp_path: Path, executor: Executor, watcher: Watcher | None, restart: bool
) -> None:
    """A link that shows another file is a rotation; a link to a folder, too; also while nobody follows."""
    for mark in "abc":
        (tmp_path / mark).mkdir()
        (tmp_path / mark / "x").write_bytes(lines(mark))
    (tmp_path / "now").symlink_to(tmp_path / "a")
    tail = Tail(("now/x",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    for mark in "bc":
        consumed, position = tail.consumed, None
        if restart:
            position = await tail.close()
            append(tmp_path / chr(ord(mark) - 1) / "x", b"late\n")
            consumed += b"late\n"
        (tmp_path / "new").symlink_to(tmp_path / mark)
        (tmp_path / "new").rename(tmp_path / "now")
        if restart:
            tail = Tail(("now/x",), tmp_path, executor, watcher, position)
            tail.consumed = consumed.removesuffix(b"late\n")
        await tail.until(lambda tail=tail, mark=mark: tail.consumed.endswith(lines(mark)))  # type: ignore[misc]
    late = b"late\n" if restart else b""
    await tail.expect(lines("a") + late + lines("b") + late + lines("c"))
    assert tail.follower.warnings == ()
    await tail.close()


async def test_a_file_that_the_patterns_no_longer_show_is_read_to_its_end(
    tmp_path: Path, executor: Executor, watcher: Watcher | None
) -> None:
    """Patterns that do not show the file of the position any more: it is read to its end, then what they show."""
    for mark in "ab":
        (tmp_path / f"{mark}.log").write_bytes(lines(mark))
    tail = Tail(("a.log",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    position = await tail.close()
    append(tmp_path / "a.log", b"late\n")
    tail = Tail(("b.log",), tmp_path, executor, watcher, position)
    await tail.expect(b"late\n" + lines("b"))
    position = await tail.close()
    (tmp_path / "b.log").unlink()
    tail = Tail(("c.log",), tmp_path, executor, watcher, position)
    await tail.until(lambda: "b.log up to offset" in (tail.follower.waiting_for or ""))
    await tail.close()


async def test_two_names_of_one_file_are_one_file(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """Links, hard and symbolic, are one file, with a warning."""
    (tmp_path / "x-1").write_bytes(lines("a"))
    (tmp_path / "x-2").hardlink_to(tmp_path / "x-1")
    (tmp_path / "x-3").symlink_to(tmp_path / "x-1")
    tail = Tail(("x-*",), tmp_path, executor, watcher)
    await tail.expect(lines("a"))
    (tmp_path / "x-4").write_bytes(lines("b"))
    await tail.expect(lines("a") + lines("b"))
    assert len(tail.follower.warnings) == 2
    assert tail.follower.skipped_files == 0
    await tail.close()


async def test_a_folder_or_a_pipe_is_an_error(tmp_path: Path, executor: Executor, watcher: Watcher | None) -> None:
    """A folder or a pipe is no input, and waiting would not help."""
    os.mkfifo(tmp_path / "pipe")
    for pattern in ("pipe", "."):
        tail = Tail((pattern,), tmp_path, executor, watcher)
        with pytest.raises(InputError, match=r"is not a regular file|is a directory"):
            await tail.until(lambda: False)
        await tail.close()


def test_a_file_is_left_only_after_resting_while_a_next_one_is_known() -> None:
    """The decision at the end of a file, case by case."""
    entry = Entry(Path("/x"), (0, []), Path("/").stat())
    assert at_end(Observation(grown=True, next=entry, known_seconds=9), 9, 5) == ("read", 0)
    assert at_end(Observation(), 9, 5)[0] == "wait"
    assert at_end(Observation(next=entry, known_seconds=9), 9, 5)[0] == "leave"
    assert at_end(Observation(gone=True, known_seconds=9), 9, 5)[0] == "leave"
    assert at_end(Observation(next=entry, known_seconds=9), 3, 5) == ("wait", 2)
    assert at_end(Observation(next=entry, known_seconds=1), 9, 5) == ("wait", 4)
    assert at_end(Observation(next=entry, known_seconds=9, rest_seconds=9), 0, 5)[0] == "leave"
    assert at_end(Observation(next=entry, known_seconds=9, fresh=False), 9, 5)[0] == "wait"
