"""Compressed files: told by their content, and every byte that can be decoded is delivered, however it is read."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError

CONTENT = b"".join(b"line %d %d\n" % (number, number * number) for number in range(100))

Decoder = Callable[[bytes], tuple[bytes, bool]]


def read(path: Path, size: int) -> tuple[bytes, str | None]:
    """All decoded bytes, read `size` at a time, and the error that ended them."""
    buffer = memoryview(bytearray(size))
    decoded = b""
    try:
        with open_decoded(path) as file:
            while count := file.readinto(buffer):
                decoded += buffer[:count]
    except InputError as error:
        return decoded, str(error)
    return decoded, None


def gunzip_by_bytes(content: bytes) -> tuple[bytes, bool]:
    """What zlib makes of gzip members fed byte by byte, and whether all is well."""
    decoder = zlib.decompressobj(31)
    decoded = b""
    is_between = False  # zeros may pad what is between members
    try:
        for value in content:
            if is_between and value == 0:
                continue
            is_between = False
            decoded += decoder.decompress(bytes((value,)))
            if decoder.eof:
                decoder, is_between = zlib.decompressobj(31), True
    except zlib.error:
        return decoded, False
    return decoded, is_between


def unzstd_by_bytes(content: bytes) -> tuple[bytes, bool]:
    """What zstandard makes of frames fed byte by byte, and whether all is well."""
    decoder = zstandard.ZstdDecompressor().decompressobj()
    decoded = b""
    is_between = False
    try:
        for value in content:
            is_between = False
            decoded += decoder.decompress(bytes((value,)))
            if decoder.eof:
                decoder, is_between = zstandard.ZstdDecompressor().decompressobj(), True
    except zstandard.ZstdError:
        return decoded, False
    return decoded, is_between


def zstd(content: bytes, *, with_size: bool = True) -> bytes:
    """One frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True, write_content_size=with_size).compress(content)


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
    ("compressed", "by_bytes", "magic"),
    [
        (gzip.compress(CONTENT[:900]) + gzip.compress(CONTENT[900:]), gunzip_by_bytes, 2),
        (zstd(CONTENT[:900]) + zstd(CONTENT[900:]), unzstd_by_bytes, 4),
    ],
    ids=["gzip", "zstd"],
)
def test_damage_anywhere_loses_only_what_cannot_be_decoded(
    tmp_path: Path, compressed: bytes, by_bytes: Decoder, magic: int
) -> None:
    """Cut or flipped at any byte: what decoding by bytes gives, whatever the size of reads, and an error with the offset."""
    path = tmp_path / "damaged"
    damages = [compressed[:place] for place in range(magic, len(compressed))]
    for place in range(magic, len(compressed)):
        # isal reads over the reserved bits of a gzip member's flags, which zlib refuses; the checksum still decides.
        flips = (1, 0x1F) if compressed[place - 3 : place] == b"\x1f\x8b\x08" else (1, 0x55, 0x80)
        damages += [compressed[:place] + bytes((compressed[place] ^ flip,)) + compressed[place + 1 :] for flip in flips]
    failures = 0
    for damaged in damages:
        path.write_bytes(damaged)
        expected, is_sound = by_bytes(damaged)
        decoded, error = read(path, 1 << 16)
        assert decoded == expected
        assert (error is None) == is_sound
        assert read(path, 61) == (decoded, error)
        if error is not None:
            failures += 1
            assert error.startswith(f"{path} is damaged at decoded offset {len(expected)}: ")
    assert failures > 0.9 * len(damages)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damage_behind_the_first_chunk_loses_only_what_cannot_be_decoded(tmp_path: Path, kind: str) -> None:
    """The same far behind the first chunk that is decoded, with noise, cuts and flips."""
    rng = random.Random(3)
    content = b"".join(b"%d,%d\n" % (number, rng.getrandbits(60)) for number in range(6000))
    half = len(content) // 2
    function, by_bytes = (gzip.compress, gunzip_by_bytes) if kind == "gzip" else (zstd, unzstd_by_bytes)
    compressed = function(content[:half]) + function(content[half:])
    assert len(compressed) > 3 << 14
    path = tmp_path / "damaged"
    for attempt in range(9):
        place = rng.randrange(4, len(compressed))
        noise = (b"", rng.randbytes(40), bytes((compressed[place] ^ 4,)))[attempt % 3]
        path.write_bytes(compressed[:place] + noise + (compressed[place + len(noise) :] if noise else b""))
        expected, is_sound = by_bytes(path.read_bytes())
        decoded, error = read(path, 100_003)
        assert decoded == expected
        assert (error is None) == is_sound
        assert read(path, 4096) == (decoded, error)


@pytest.mark.parametrize("compressed", [gzip.compress(CONTENT), zstd(CONTENT)], ids=["gzip", "zstd"])
def test_garbage_after_the_last_member_is_damage(tmp_path: Path, compressed: bytes) -> None:
    """What is no member, frame or padding is damage after all that is good."""
    path = tmp_path / "file"
    for garbage in (b"x", b"garbage", b"\0\0garbage" * 10):
        path.write_bytes(compressed + garbage)
        decoded, error = read(path, 100)
        assert decoded == CONTENT
        assert error is not None
        assert f"decoded offset {len(CONTENT)}:" in error


def test_one_read_decodes_a_bounded_chunk(tmp_path: Path) -> None:
    """A small file that decodes to very much is not decoded at once."""
    path = tmp_path / "file"
    path.write_bytes(zstandard.compress(bytes(1 << 28)))
    assert path.stat().st_size < 20_000
    buffer = memoryview(bytearray(1 << 20))
    tracemalloc.start()
    with open_decoded(path) as file:
        assert file.readinto(buffer) == len(buffer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 << 20  # the whole would take 256 MiB, and once more while its pieces are joined


def test_a_recorded_damage_fails_at_the_same_offset_each_time(shared_data: Path) -> None:
    """A gzip file that was damaged in its repository: its good lines, then the error, at the same place each time."""
    path = shared_data / "tardis" / "CORRUPT_binance-futures_trades.csv.gz"
    expected, is_sound = gunzip_by_bytes(path.read_bytes())
    assert not is_sound
    decoded, error = read(path, 1 << 20)
    assert decoded == expected
    assert decoded.count(b"\n") > 150
    assert error is not None
    assert f"decoded offset {len(expected)}:" in error
    assert read(path, 17) == (decoded, error)
