"""Files are told by their content; damage inside is in test_members."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.members import MARK

CONTENT = b"".join(b"line %d %d\n" % (number, number * number) for number in range(100))


def read(path: Path, size: int) -> tuple[bytes, str | None]:
    """All decoded bytes, read `size` at a time, and what is wrong at their end."""
    buffer = memoryview(bytearray(size))
    decoded = b""
    with open_decoded(path) as file:
        while count := file.readinto(buffer):
            decoded += buffer[:count]
        return decoded, file.damage


def zstd(content: bytes, *, with_size: bool = True) -> bytes:
    """One frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True, write_content_size=with_size).compress(content)


def tar_of(name: str, content: bytes) -> bytes:
    """A tar archive with one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zip_of(name: str, content: bytes) -> bytes:
    """A zip archive with one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize(
    "compressed",
    [
        pytest.param(CONTENT, id="plain"),
        pytest.param(gzip.compress(CONTENT), id="gzip"),
        pytest.param(gzip.compress(CONTENT[:500]) + gzip.compress(b"") + gzip.compress(CONTENT[500:]), id="gzip_members"),
        pytest.param(gzip.compress(CONTENT) + bytes(600), id="gzip_padded"),
        pytest.param(gzip.compress(CONTENT[:500]) + bytes(20) + gzip.compress(CONTENT[500:]), id="gzip_padded_between"),
        pytest.param(zstd(CONTENT), id="zstd"),
        pytest.param(zstd(CONTENT, with_size=False), id="zstd_without_size"),
        pytest.param(zstd(CONTENT[:500]) + zstd(b"") + zstd(CONTENT[500:], with_size=False), id="zstd_frames"),
        pytest.param(struct.pack("<II", 0x184D2A50, 4) + b"size" + zstd(CONTENT), id="zstd_after_skippable_frame"),
        pytest.param(bz2.compress(CONTENT[:500]) + bz2.compress(CONTENT[500:]), id="bzip2_streams"),
        pytest.param(lzma.compress(CONTENT[:500]) + bytes(8) + lzma.compress(CONTENT[500:]), id="xz_streams"),
        pytest.param(lz4.frame.compress(CONTENT[:500]) + lz4.frame.compress(CONTENT[500:]), id="lz4_frames"),
        pytest.param(CONTENT.decode().encode("utf-16"), id="utf_16"),
        pytest.param(b"\xfe\xff" + CONTENT.decode().encode("utf-16-be"), id="utf_16_other_order"),
        pytest.param(gzip.compress(CONTENT.decode().encode("utf-16")), id="utf_16_in_gzip"),
        pytest.param(zip_of("a.jsonl", CONTENT), id="zip"),
        pytest.param(zip_of("a.jsonl.gz", gzip.compress(CONTENT)), id="gzip_in_zip"),
        pytest.param(tar_of("a.jsonl", CONTENT), id="tar"),
        pytest.param(gzip.compress(tar_of("a.jsonl", CONTENT)), id="tar_in_gzip"),
        pytest.param(zstd(tar_of("a.jsonl.bz2", bz2.compress(CONTENT))), id="bzip2_in_tar_in_zstd"),
        pytest.param(zstd(CONTENT) + struct.pack("<II", 0x184D2A5E, 10) + b"seek table", id="zstd_before_skippable_frame"),
    ],
)
def test_every_sound_encoding_decodes_to_the_same_bytes(tmp_path: Path, compressed: bytes, size: int) -> None:
    """Members, frames, padding, frames to skip: the same bytes."""
    path = tmp_path / "name-says-nothing"
    path.write_bytes(compressed)
    assert read(path, size) == (CONTENT, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f", b"\x28\xb5\x2f", b"P*M", b"P*L\x18"],
    ids=["empty", "gzip_start", "zstd_start", "skippable_start", "almost_skippable"],
)
def test_short_and_empty_files_are_plain(tmp_path: Path, content: bytes) -> None:
    """What no magic begins is given as it is."""
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    assert read(path, 10) == (content, None)


@pytest.mark.parametrize(
    ("compress", "most_bytes"),
    [
        pytest.param(zstandard.compress, 160 << 20, id="zstd"),  # the whole would take 256 MiB, and once more
        pytest.param(bz2.compress, 32 << 20, id="bzip2"),
        pytest.param(partial(lzma.compress, preset=1), 32 << 20, id="xz"),
        pytest.param(lz4.frame.compress, 32 << 20, id="lz4"),
        pytest.param(partial(zip_of, "a.jsonl"), 32 << 20, id="zip"),
    ],
)
def test_one_read_decodes_a_bounded_chunk(tmp_path: Path, compress: Callable[[bytes], bytes], most_bytes: int) -> None:
    """A small file that decodes to very much is not decoded at once."""
    path = tmp_path / "file"
    path.write_bytes(compress(bytes(1 << 28)))
    assert path.stat().st_size < 2_000_000
    buffer = memoryview(bytearray(1 << 20))
    tracemalloc.start()
    with open_decoded(path) as file:
        assert file.readinto(buffer) == len(buffer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most_bytes


def test_a_recorded_damage_is_at_the_same_offset_each_time(shared_data: Path) -> None:
    """A gzip file that was damaged in its repository: its good lines, and damage at the same place each time."""
    path = shared_data / "tardis" / "CORRUPT_binance-futures_trades.csv.gz"
    decoded, damage = read(path, 1 << 20)
    assert decoded.count(b"\n") > 150
    assert damage is not None
    assert f"decoded offset {len(decoded)}:" in damage
    assert read(path, 17) == (decoded, damage)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(b"LZIP" + CONTENT, "lzip", id="lzip"),
        pytest.param(b"\x02\x21\x4c\x18" + CONTENT, "old lz4", id="old_lz4"),
        pytest.param(b"\x5d\x00\x00" + CONTENT, "lzma", id="lzma"),
        pytest.param(b"\x1f\x9d" + CONTENT, "(.Z)", id="compress"),
        pytest.param(b"\xff\x06\x00\x00sNaPpY" + CONTENT, "snappy", id="snappy"),
        pytest.param(b"PK\x07\x08" + CONTENT, "several files", id="zip_in_several_files"),
        pytest.param(b"Rar!\x1a\x07" + CONTENT, "rar", id="rar"),
        pytest.param(b"ARROW1\0\0" + CONTENT, "write it as Parquet", id="arrow"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + CONTENT, "HDF5", id="hdf5"),
        pytest.param(b"SQLite format 3\0" + CONTENT, "SQLite", id="sqlite"),
        pytest.param(b"7z\xbc\xaf\x27\x1c" + CONTENT, "7z", id="7z"),
        pytest.param(gzip.compress(gzip.compress(CONTENT)), "twice", id="gzip_in_gzip"),
        pytest.param(gzip.compress(zip_of("a.jsonl", CONTENT)), "zip archive inside", id="zip_in_gzip"),
        pytest.param(zip_of("a.tar", tar_of("a.jsonl", CONTENT)), "tar archive inside of an archive", id="tar_in_zip"),
        pytest.param(tar_of("a.zip", zip_of("a.jsonl", CONTENT)), "zip archive inside of an archive", id="zip_in_tar"),
        pytest.param(tar_of("a.parquet", b"PAR1" + CONTENT), "Parquet inside", id="parquet_in_tar"),
        pytest.param(zstd(b"DBN\x01" + bytes(600)), "DBN", id="dbn_in_zstd"),
    ],
)
def test_a_container_that_is_not_read_gives_nothing_and_says_what_it_is(tmp_path: Path, content: bytes, word: str) -> None:
    """Of an archive's header and the first record of its file no line is made."""
    path = tmp_path / "capture"
    path.write_bytes(content)
    decoded, damage = read(path, 1000)
    assert decoded == b""
    assert damage is not None
    assert word in damage
    with GrowingFile(path) as file:
        file.finish()
        assert file.read(1000) == b""
        assert file.damage == damage


@pytest.mark.parametrize("overwritten", [bytes(37), b"\x80" * 90, bytes(5000)], ids=["zeros", "noise", "many_zeros"])
@pytest.mark.parametrize("make", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_compressed_file_is_known_by_its_members_where_its_beginning_is_overwritten(
    tmp_path: Path, make: Callable[[bytes], bytes], overwritten: bytes
) -> None:
    """All that stands behind is read."""
    rng = random.Random(4)
    first = make(b"".join(b"%d\n" % rng.getrandbits(90) for _ in range(400)))
    path = tmp_path / "capture"
    path.write_bytes(overwritten + first[len(overwritten) :] + make(CONTENT))
    assert len(first) > len(overwritten)
    assert read(path, 1000) == (MARK + CONTENT, None)
    with GrowingFile(path) as file:
        assert read_fully(file, 1 << 20) == MARK + CONTENT
    path.write_bytes(overwritten + b"\n" + CONTENT)
    assert read(path, 1000) == (overwritten + b"\n" + CONTENT, None)
