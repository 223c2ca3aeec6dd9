"""Damage anywhere in a compressed file costs the member in which it stands, from there on, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from cowbook.capture.compression import DecodedFile, open_decoded, read_fully
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.members import MARK
from cowbook.capture.stored_file import PlainFile
from support.members import decode_member, zstd_frame

CONTENTS = [b"".join(b"%d of %d is %d\n" % (line, member, line * line) for line in range(30)) for member in range(3)]


def gunzip(content: bytes) -> bytes:
    """All that zlib makes of the beginning of a member."""
    return decode_member(content, "gzip")[0]


def lz4_frame(content: bytes) -> bytes:
    """One frame with a checksum."""
    return bytes(lz4.frame.compress(content, content_checksum=True))


@dataclass(frozen=True)
class Kind:
    """How members are made and read."""

    name: str
    compress: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]
    harmless: range
    """Bytes of a header that may be anything."""


GZIP = Kind("gzip", gzip.compress, gunzip, range(3, 10))
ZSTD = Kind("zstd", zstd_frame, lambda content: decode_member(content, "zstd")[0], range(0))
BZIP2 = Kind("bzip2", bz2.compress, lambda content: decode_member(content, "bzip2")[0], range(0))
XZ = Kind("xz", lzma.compress, lambda content: decode_member(content, "xz")[0], range(0))
LZ4 = Kind("lz4", lz4_frame, lambda content: decode_member(content, "lz4")[0], range(0))
OTHERS = pytest.mark.parametrize("kind", [BZIP2, XZ, LZ4], ids=["bzip2", "xz", "lz4"])
KINDS = pytest.mark.parametrize("kind", [GZIP, ZSTD], ids=["gzip", "zstd"])


def read(path: Path, size: int = 1 << 16) -> tuple[bytes, int, int | None]:
    """All decoded bytes, how many damaged places there are between them, and where it says that the end is damaged."""
    decoded, places = b"", 0
    with open_decoded(path) as file:
        while piece := file.read(size):
            decoded += piece
            if file.damage is not None:
                assert place_of(file.damage) == len(decoded) - 1
                places += 1
        return decoded, places, place_of(file.damage)


def place_of(damage: str | None) -> int | None:
    """The decoded offset that it names."""
    return int(damage.split("decoded offset ")[1].split(":")[0]) if damage is not None else None


def read_growing(path: Path, kind: Kind, steps: list[int]) -> tuple[bytes, int, int | None]:
    """The same from a file that has only so many bytes at first, then so many, until all are there."""
    content = path.read_bytes()
    growing = path.with_name("growing")
    decoded, places = b"", 0

    def take(file: DecodedFile) -> None:
        nonlocal decoded, places
        while piece := file.read(100):
            decoded += piece
            places += file.damage is not None

    with growing.open("wb") as writer, DecodedFile(growing, PlainFile(growing, "rb"), kind.name, growing=True) as file:
        for start, end in zip([0, *steps], [*steps, len(content)], strict=True):
            writer.write(content[start:end])
            writer.flush()
            take(file)
        file.finish()
        take(file)
        return decoded, places, place_of(file.damage)


def check(path: Path, kind: Kind, rng: random.Random, expected: bytes, places: int, *, ends_damaged: bool) -> None:
    """However the file is read, it gives this."""
    end = len(expected) if ends_damaged else None
    assert read(path) == (expected, places, end)
    assert read(path, 61) == (expected, places, end)
    size = path.stat().st_size
    steps = sorted(rng.randrange(size + 1) for _ in range(6))
    assert read_growing(path, kind, steps) == (expected, places, end), steps
    for offset in {0, len(expected), rng.randrange(len(expected) + 1)}:
        with open_decoded(path) as file:
            head = read_fully(file, min(offset, 1024))
            assert file.go_to(offset, head) == expected[:offset][-len(head) :] if head else True
            assert read_fully(file, len(expected)) == expected[offset:]


@KINDS
def test_a_damaged_byte_costs_its_member_from_there_on(tmp_path: Path, kind: Kind) -> None:
    """At every byte of three members: those before and behind are whole."""
    rng = random.Random(1)
    members = [kind.compress(content) for content in CONTENTS]
    path = tmp_path / "file"
    for number, member in enumerate(members):
        for place in range(len(member)):
            if place in kind.harmless or (number == 0 and place < 4):  # a first member's magic tells what the file is
                continue
            damaged = member[:place] + bytes((member[place] ^ rng.choice((1, 0x55, 0x80)),)) + member[place + 1 :]
            path.write_bytes(b"".join([*members[:number], damaged, *members[number + 1 :]]))
            decoded, is_sound = decode_member(damaged, kind.name)  # bits that fill the last byte up may be anything
            before, behind = b"".join(CONTENTS[:number]), b"".join(CONTENTS[number + 1 :])
            is_last = number == len(members) - 1
            expected = before + decoded + (b"" if is_last or is_sound else MARK) + behind
            check(path, kind, rng, expected, int(not is_last and not is_sound), ends_damaged=is_last and not is_sound)


@KINDS
def test_a_member_behind_one_that_was_cut_anywhere_is_whole(tmp_path: Path, kind: Kind) -> None:
    """As a killed recorder leaves it, which was started again: what can be decoded of the first, and all of the others."""
    rng = random.Random(2)
    first, *others = (kind.compress(content) for content in CONTENTS)
    path = tmp_path / "file"
    for place in range(4, len(first)):
        path.write_bytes(b"".join([first[:place], *others]))
        expected = kind.decode(first[:place]) + MARK + b"".join(CONTENTS[1:])
        check(path, kind, rng, expected, 1, ends_damaged=False)
        path.write_bytes(first[:place])
        check(path, kind, rng, kind.decode(first[:place]), 0, ends_damaged=True)


@OTHERS
def test_a_stream_behind_one_that_was_cut_is_whole(tmp_path: Path, kind: Kind) -> None:
    """As a killed recorder leaves it, in kinds that give what they have a block at a time; at every third byte."""
    rng = random.Random(9)
    first, *others = (kind.compress(content) for content in CONTENTS)
    path = tmp_path / "file"
    for place in range(10, len(first), 3):
        path.write_bytes(b"".join([first[:place], *others]))
        expected = kind.decode(first[:place]) + MARK + b"".join(CONTENTS[1:])
        check(path, kind, rng, expected, 1, ends_damaged=False)
        path.write_bytes(first[:place])
        check(path, kind, rng, kind.decode(first[:place]), 0, ends_damaged=True)


@OTHERS
def test_a_damaged_byte_of_a_stream_costs_no_other_one(tmp_path: Path, kind: Kind) -> None:
    """At every fifth byte of the second of three."""
    rng = random.Random(10)
    members = [kind.compress(content) for content in CONTENTS]
    path = tmp_path / "file"
    for place in range(0, len(members[1]), 5):
        damaged = members[1][:place] + bytes((members[1][place] ^ 0x55,)) + members[1][place + 1 :]
        path.write_bytes(b"".join([members[0], damaged, members[2]]))
        decoded, is_sound = decode_member(damaged, kind.name)
        expected = CONTENTS[0] + decoded + (b"" if is_sound else MARK) + CONTENTS[2]
        check(path, kind, rng, expected, int(not is_sound), ends_damaged=False)


@KINDS
def test_what_was_flushed_before_the_kill_is_there_and_what_comes_behind_too(tmp_path: Path, kind: Kind) -> None:
    """A recorder that flushes each record, killed and started again several times, anywhere."""
    rng = random.Random(3)
    path = tmp_path / "file"
    for attempt in range(60):
        content, expected = b"", b""
        for restart in range(4):
            pieces = list(
                flushed(
                    kind,
                    [b"%d %d %s\n" % (attempt, restart, rng.randbytes(rng.randrange(6, 30)).hex().encode()) for _ in range(20)],
                )
            )
            kept = b"".join(pieces)
            if restart < 3:
                kept = kept[: rng.randrange(len(pieces[0]) + 12, len(kept))]
            content += kept
            expected += kind.decode(kept) + (MARK if restart < 3 else b"")
        path.write_bytes(content)
        check(path, kind, rng, expected, 3, ends_damaged=False)


def flushed(kind: Kind, lines: list[bytes]) -> Iterator[bytes]:
    """What a recorder writes that flushes after each line, and closes its file at the end."""
    if kind is GZIP:
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        for line in lines:
            yield compressor.compress(line) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()
    else:
        zstd_compressor = zstandard.ZstdCompressor().compressobj()
        for line in lines:
            yield zstd_compressor.compress(line) + zstd_compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        yield zstd_compressor.flush()


@KINDS
@pytest.mark.parametrize("noise", [1, 2, 9, 300, 40_000])
def test_noise_between_members_and_behind_them_is_passed_over(tmp_path: Path, kind: Kind, noise: int) -> None:
    """Also noise with beginnings of members in it, which decode to nothing."""
    rng = random.Random(noise)
    path = tmp_path / "file"
    magic = kind.compress(b"")[:4]
    for _ in range(5):
        garbage = bytes((rng.randrange(32, 127),)) + rng.randbytes(noise - 1)
        if noise > 30:
            garbage = garbage[: noise // 2] + magic + garbage[noise // 2 :] + magic
        members = [kind.compress(content) for content in CONTENTS]
        path.write_bytes(members[0] + garbage + members[1] + members[2] + garbage)
        expected = CONTENTS[0] + MARK + CONTENTS[1] + CONTENTS[2]
        check(path, kind, rng, expected, 1, ends_damaged=True)


@KINDS
def test_a_new_member_written_over_the_old_beginning_is_read(tmp_path: Path, kind: Kind) -> None:
    """A recorder that does not truncate: the new member, the rest of the old one, and the members behind that."""
    rng = random.Random(5)
    path = tmp_path / "file"
    new, old = kind.compress(CONTENTS[0][:200]), kind.compress(b"".join(CONTENTS))
    for more in (b"", kind.compress(CONTENTS[1])):
        path.write_bytes(new + old[len(new) :] + more)
        expected = CONTENTS[0][:200] + (MARK + CONTENTS[1] if more else b"")
        check(path, kind, rng, expected, int(bool(more)), ends_damaged=not more)


def test_members_that_stand_in_a_member_as_content_are_content(tmp_path: Path) -> None:
    """An archive of compressed files, compressed again, has their very bytes inside."""
    rng = random.Random(6)
    inner = [gzip.compress(b"".join(b"%d\n" % rng.getrandbits(200) for _ in range(count))) for count in (5, 500, 20_000)]
    content = b"a header of an archive\n" + b"".join(inner)
    for level in (0, 6):
        outer = gzip.compress(content, level)
        assert any(member[:100] in outer for member in inner)
        path = tmp_path / "file"
        path.write_bytes(outer)
        check(path, GZIP, rng, content, 0, ends_damaged=False)


@pytest.mark.long
@KINDS
def test_damage_far_behind_the_first_chunk_costs_only_what_cannot_be_decoded(tmp_path: Path, kind: Kind) -> None:
    """With noise, cuts and flips."""
    rng = random.Random(3)
    contents = [b"".join(b"%d,%d\n" % (number, rng.getrandbits(60)) for number in range(9000)) for _ in range(2)]
    members = [kind.compress(content) for content in contents]
    assert len(members[0]) > 4 << 14
    path = tmp_path / "damaged"
    for attempt in range(6):
        place = rng.randrange(4 << 10, len(members[0]))
        noise = (b"", rng.randbytes(40), bytes((members[0][place] ^ 4,)))[attempt % 3]
        damaged = members[0][:place] + noise + (members[0][place + len(noise) :] if noise else b"")
        path.write_bytes(damaged + members[1])
        decoded = kind.decode(damaged + (members[1] if noise else b""))
        check(path, kind, rng, decoded + MARK + contents[1], 1, ends_damaged=False)


def test_a_growing_file_waits_at_an_unfinished_member(tmp_path: Path) -> None:
    """Nothing is wrong with it until it is complete; then it is damaged."""
    path = tmp_path / "file"
    member = gzip.compress(CONTENTS[0])
    path.write_bytes(member[:100])
    with GrowingFile(path) as file:
        decoded = read_fully(file, 1 << 16)
        assert (file.read(1), file.damage) == (b"", None)
        with path.open("ab") as writer:
            writer.write(member[100:150])
        decoded += read_fully(file, 1 << 16)
        assert (file.read(1), file.damage) == (b"", None)
        file.finish()
        decoded += read_fully(file, 1 << 16)
        assert file.damage is not None
    assert decoded == gunzip(member[:150])


def test_a_growing_file_goes_on_with_a_member_that_was_appended_behind_an_unfinished_one(tmp_path: Path) -> None:
    """As soon as its first lines are there."""
    path = tmp_path / "file"
    member, second = gzip.compress(CONTENTS[0]), list(flushed(GZIP, CONTENTS[1].splitlines(keepends=True)))
    path.write_bytes(member[:100])
    with GrowingFile(path) as file, path.open("ab", buffering=0) as writer:
        assert read_fully(file, 1 << 16) == gunzip(member[:100])
        given = b""
        for number, piece in enumerate(second):
            writer.write(piece)
            given += read_fully(file, 1 << 16)
            if number > 20:
                assert given == MARK + b"".join(CONTENTS[1].splitlines(keepends=True)[: number + 1])
        assert given == MARK + CONTENTS[1]


def test_a_file_without_a_name_on_disk_is_read(tmp_path: Path) -> None:
    """It may be deleted while it is open, and be damaged nevertheless."""
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(CONTENTS[0])[:-3])
    with open_decoded(path) as file:
        path.unlink()
        assert isinstance(file, io.RawIOBase)
        assert read_fully(file, 1 << 16) == CONTENTS[0]
        assert not file.read(1)
        assert file.damage is not None
