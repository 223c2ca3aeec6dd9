"""The follower: all bytes of all files once and in order, and positions from which it goes on."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from cowbook.capture.follower import Follower
from cowbook.capture.paths import expand_paths, natural_key
from cowbook.errors import InputError
from cowbook.plain.block import PADDING
from cowbook.plain.position import Position


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Threads for reading."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


async def collect(
    paths: Sequence[Path], executor: Executor, block_bytes: int = 1 << 20, position: Position | None = None
) -> tuple[bytes, list[tuple[int, Position]], str | None]:
    """Consume whole lines: all bytes, the position after every line, and the error that ended it."""
    follower = Follower(paths, executor=executor, block_bytes=block_bytes, position=position)
    consumed = b""
    positions = []
    error = None
    try:
        while (block := await follower.next_block()) is not None:
            assert len(block.buffer) >= block.end + PADDING
            content = block.buffer[block.start : block.end].tobytes()
            if not block.final:
                content = content[: content.rfind(b"\n") + 1]
            for line in content.splitlines(keepends=True):
                consumed += line
                block.start += len(line)
                positions.append((len(consumed), follower.position_at(block.offset_of(block.start))))
    except InputError as raised:
        error = str(raised)
    finally:
        await follower.close()
    return consumed, positions, error


@pytest.fixture
def contents() -> list[bytes]:
    """Three files that begin alike; lines from none to several KB; the last line of all is unfinished."""
    rng = random.Random(1)

    def lines(number: int) -> bytes:
        texts = [bytes(rng.choices(b"abcdef", k=rng.choice([0, 5, 300, 4000]))) for _ in range(15)]
        return b"the same header\n" * 100 + b"%d\n" % number + b"\n".join(texts)

    return [lines(1) + b"\n", lines(2) + b"\n", lines(3)]


@pytest.fixture
def paths(tmp_path: Path, contents: list[bytes]) -> list[Path]:
    """The contents as plain files."""
    names = [tmp_path / f"file-{number}" for number in range(3)]
    for path, content in zip(names, contents, strict=True):
        path.write_bytes(content)
    return names


def compress(path: Path, number: int) -> None:
    """Replace a file by a compressed one, in two pieces, the first and third by gzip, the second by zstd."""
    content = path.read_bytes()
    half = len(content) // 3
    function = zstandard.compress if number == 1 else gzip.compress
    path.write_bytes(function(content[:half]) + function(content[half:]))


@pytest.mark.parametrize("block_bytes", [1, 7, 100, 4096, 1 << 20])
async def test_all_bytes_come_in_order_at_any_block_size(
    paths: list[Path], contents: list[bytes], executor: Executor, block_bytes: int
) -> None:
    """Whatever the size of blocks."""
    if block_bytes == 1:  # a few thousand of them show it
        contents = [content[:2_500] + ending for content, ending in zip(contents, (b"\n", b"\n", b""), strict=True)]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
    assert (await collect(paths, executor, block_bytes))[0] == b"".join(contents)


async def test_compression_is_told_by_content(paths: list[Path], contents: list[bytes], executor: Executor) -> None:
    """Compressed files are told by their content."""
    for number, path in enumerate(paths):
        compress(path, number)
    for block_bytes in (100, 1 << 20):
        assert (await collect(paths, executor, block_bytes))[0] == b"".join(contents)


async def test_resumes_after_any_record(paths: list[Path], contents: list[bytes], executor: Executor) -> None:
    """From the position after any record, with the files as they were, and then compressed."""
    whole = b"".join(contents)
    _, positions, _ = await collect(paths, executor, 1000)
    assert len(positions) > 300
    sample = random.Random(2).sample(positions, 40) + positions[:2] + positions[-2:]
    for attempt in range(2):
        for offset, position in sample:
            again = Position.from_json(position.to_json())
            consumed, _, error = await collect(paths, executor, 1000, again)
            assert (consumed, error) == (whole[offset:], None)
        if attempt == 0:
            for number, path in enumerate(paths):
                compress(path, number)


async def test_finds_a_renamed_file_by_content(paths: list[Path], contents: list[bytes], executor: Executor) -> None:
    """A file is found under another name, by its content; those consumed before it may be gone."""
    _, positions, _ = await collect(paths, executor)
    offset, position = positions[len(positions) // 2]
    moved = [paths[0].with_name("a"), paths[1].with_name("b"), paths[2].with_name("c")]
    for old, new in zip(paths, moved, strict=True):
        old.rename(new)
    moved[0].unlink()
    assert position.current.path == str(paths[1])
    consumed, _, _ = await collect(moved, executor, position=position)
    assert consumed == b"".join(contents)[offset:]


@pytest.mark.parametrize("compressed", [False, True])
async def test_truncated_and_replaced_files_are_errors_that_say_which(
    paths: list[Path], executor: Executor, compressed: bool
) -> None:
    """Both are errors that say which."""
    _, positions, _ = await collect(paths[:1], executor)
    _, position = positions[-1]
    content = paths[0].read_bytes()
    for changed, words in ((content[:-5], "truncated"), (content[:-5] + b"other", "replaced"), (b"x" + content[1:], "replaced")):
        paths[0].write_bytes(changed)
        if compressed:
            compress(paths[0], 0)
        _, _, error = await collect(paths[:1], executor, position=position)
        assert error is not None
        assert words in error
        assert str(paths[0]) in error
    paths[0].unlink()
    _, _, error = await collect(paths[:1], executor, position=position)
    assert error is not None
    assert "no file exists" in error


async def test_the_last_file_goes_on_where_it_ended(paths: list[Path], executor: Executor) -> None:
    """The last file goes on where it ended."""
    content, positions, _ = await collect(paths[:1], executor)
    _, position = positions[-1]
    with paths[0].open("ab") as file:
        file.write(b"more\n")
    assert (await collect(paths[:1], executor, position=position))[0] == b"more\n"
    assert (await collect(paths[:1], executor))[0] == content + b"more\n"


def decodable(content: bytes) -> bytes:
    """All that zlib can decode, byte by byte."""
    decoder = zlib.decompressobj(31)
    pieces = []
    try:
        for byte in content:
            pieces.append(decoder.decompress(bytes((byte,))))  # noqa: PERF401 - what came before an error counts
    except zlib.error:
        pass
    return b"".join(pieces)


@pytest.mark.long
def test_damaged_gzip_delivers_all_that_can_be_decoded(tmp_path: Path, executor: Executor) -> None:
    """Flipped or cut at any byte: exactly what can be decoded is delivered, and the damage names the offset."""
    content = gzip.compress(b"".join(b"line %d %d\n" % (number, number * number) for number in range(100)))
    path = tmp_path / "damaged.gz"
    errors = 0
    for place in range(10, len(content)):
        for damaged in (content[:place], content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]):
            path.write_bytes(damaged)
            delivered, error = asyncio.run(everything(path, executor))
            expected = decodable(damaged)
            assert delivered == expected
            if error is not None:
                errors += 1
                assert f"decoded offset {len(expected)}:" in error
    assert errors >= 2 * (len(content) - 10) - 2


async def everything(path: Path, executor: Executor) -> tuple[bytes, str | None]:
    """All bytes, and what is wrong at their end."""
    follower = Follower([path], executor=executor, block_bytes=512)
    pieces, damage = [], None
    try:
        while (block := await follower.next_block()) is not None:
            damage = block.damage
            pieces.append(block.buffer[block.start : block.end - (damage is not None)].tobytes())
            block.start = block.end
    finally:
        await follower.close()
    return b"".join(pieces), damage


def test_truncated_zstd_is_damaged_after_its_content(tmp_path: Path, executor: Executor) -> None:
    """A zstd file that ends in the middle is damaged, after what it holds."""
    content = b"".join(b"line %d\n" % number for number in range(100_000))
    compressed = zstandard.compress(content)
    path = tmp_path / "cut.zst"
    for length in (5, len(compressed) // 2, len(compressed) - 1):
        path.write_bytes(compressed[:length])
        delivered, error = asyncio.run(everything(path, executor))
        assert content.startswith(delivered)
        assert error is not None
        assert f"damaged at decoded offset {len(delivered)}: it ends in the middle" in error


@pytest.mark.parametrize("says_so", [True, False], ids=["held_back", "handed_out"])
async def test_an_unfinished_line_is_neither_copied_nor_handed_out_as_often_as_it_grows(
    tmp_path: Path, executor: Executor, says_so: bool
) -> None:
    """A consumer that needs a line feed gets one; a long rest lies in few buffers, and no byte changes."""
    content = b"short\n" + bytes(range(97, 123)) * 20_000 + b"\nlast\n" + b"x" * 3000
    path = tmp_path / "x"
    path.write_bytes(content)
    follower = Follower([path], executor=executor, block_bytes=512, max_line_bytes=1 << 20)
    consumed, blocks, buffers = b"", 0, {}
    while (block := await follower.next_block()) is not None:
        blocks += 1
        buffers[block.buffer.ctypes.data] = len(block.buffer)
        text = block.buffer[block.start : block.end].tobytes()
        assert content[block.offset_of(block.start) :].startswith(text)
        whole = text if block.final else text[: text.rfind(b"\n") + 1]
        consumed += whole
        block.start += len(whole)
        block.lacks_line_feed = says_so and not block.final
        assert follower.position_at(block.offset_of(block.start)).current.offset == len(consumed)
    await follower.close()
    assert consumed == content
    assert blocks < 8 if says_so else blocks > 1000
    assert len(buffers) < 16


async def test_a_line_longer_than_allowed_is_handed_out(tmp_path: Path, executor: Executor) -> None:
    """The consumer must see that it is too long, though it has no line feed."""
    (tmp_path / "x").write_bytes(b"x" * 20_000)
    follower = Follower([tmp_path / "x"], executor=executor, block_bytes=512, max_line_bytes=10_000)
    longest = 0
    while (block := await follower.next_block()) is not None:
        longest = max(longest, block.end - block.start)
        if block.end - block.start > 10_001 or block.final:
            block.start = block.end
        block.lacks_line_feed = True
    await follower.close()
    assert 10_001 < longest <= 10_001 + 512


async def test_unreadable_paths_are_errors_that_name_them(tmp_path: Path, executor: Executor) -> None:
    """A directory and a vanished file are errors with their path."""
    for path in (tmp_path, tmp_path / "gone"):
        _, _, error = await collect([path], executor)
        assert error is not None
        assert str(path) in error


def test_files_come_in_the_order_of_the_list_then_in_natural_order(tmp_path: Path) -> None:
    """The order of the list, natural order in a glob, links resolved, each file once, odd directories as they are."""
    base = tmp_path / "odd [dir]"
    base.mkdir()
    for name in ("b10.gz", "b9.gz", "a.gz", "z"):
        (base / name).write_bytes(b"")
    (base / "link").symlink_to(base / "a.gz")
    (base / "b1.gz").mkdir()
    expanded = expand_paths(["z", "b*.gz", "link", "*.gz"], base)
    assert [path.name for path in expanded.paths] == ["z", "b9.gz", "b10.gz", "a.gz"]
    assert len(expanded.warnings) == 3


def test_numbers_in_names_sort_as_numbers() -> None:
    """Numbers inside names count as numbers."""
    names = ["f10", "f9", "f", "f9b", "f9a2", "f9a10", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "f", "f9", "f9a2", "f9a10", "f9b", "f10"]
