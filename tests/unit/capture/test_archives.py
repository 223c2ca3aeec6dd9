"""Archives are the sequence of their files in natural order, whatever the files are compressed by and wherever they stand."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.members import MARK

DAYS = {
    f"captures/day-{day}.jsonl": b"".join(b'{"day":%d,"line":%d}\n' % (day, line) for line in range(40)) for day in (1, 2, 10)
}
IN_ORDER = b"".join(DAYS.values())

Members = Mapping[str, bytes]


def tar(members: Members, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        directory = tarfile.TarInfo("captures")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("captures")
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


ARCHIVES = pytest.mark.parametrize(
    "make",
    [
        pytest.param(tar, id="tar"),
        pytest.param(lambda members: tar(members, tarfile.GNU_FORMAT), id="gnu_tar"),
        pytest.param(lambda members: tar(members, tarfile.USTAR_FORMAT), id="ustar"),
        pytest.param(lambda members: gzip.compress(tar(members)), id="tar_gz"),
        pytest.param(lambda members: lzma.compress(tar(members)), id="tar_xz"),
        pytest.param(zipped, id="zip"),
        pytest.param(lambda members: zipped(members, zipfile.ZIP_STORED), id="stored_zip"),
    ],
)


def read(path: Path, size: int = 1000) -> tuple[bytes, list[int], str | None]:
    """All decoded bytes, where damaged places stand between them, and what is wrong at their end."""
    decoded, places = b"", []
    with open_decoded(path) as file:
        while piece := file.read(size):
            decoded += piece
            if file.damage is not None:
                places.append(len(decoded) - 1)
        return decoded, places, file.damage


@ARCHIVES
def test_members_come_in_natural_order_wherever_they_stand(tmp_path: Path, make: Callable[[Members], bytes]) -> None:
    """Each order of them gives the same bytes, however they are read."""
    rng = random.Random(1)
    for _ in range(4):
        names = list(DAYS)
        rng.shuffle(names)
        path = tmp_path / "capture"
        path.write_bytes(make({name: DAYS[name] for name in names}))
        assert read(path) == (IN_ORDER, [], None), names
        assert read(path, 7) == (IN_ORDER, [], None)
        for offset in (1, len(DAYS["captures/day-1.jsonl"]), len(IN_ORDER) - 5):
            with open_decoded(path) as file:
                head = read_fully(file, min(1024, offset))
                assert file.go_to(offset, head) == IN_ORDER[:offset][-len(head) :]
                assert read_fully(file, 1 << 20) == IN_ORDER[offset:]


@ARCHIVES
def test_a_member_may_be_compressed_itself(tmp_path: Path, make: Callable[[Members], bytes]) -> None:
    """Each by something else, also in several members of its own."""
    first, second, third = DAYS.values()
    path = tmp_path / "capture"
    path.write_bytes(
        make(
            {
                "b.bz2": bz2.compress(second),
                "a.gz": gzip.compress(first[:99]) + gzip.compress(first[99:]),
                "c.xz": lzma.compress(third),
            }
        )
    )
    assert read(path) == (IN_ORDER, [], None)


@ARCHIVES
def test_lines_of_two_members_do_not_run_together(tmp_path: Path, make: Callable[[Members], bytes]) -> None:
    """A member may lack its last line feed, begin with a byte order mark, be UTF-16, or be empty."""
    path = tmp_path / "capture"
    path.write_bytes(make({"1": b"one", "2": b"\xef\xbb\xbftwo\n", "3": b"", "4": "three\n".encode("utf-16"), "5": b"four"}))
    assert read(path) == (b"one\ntwo\nthree\nfour", [], None)


@ARCHIVES
def test_a_tables_first_line_is_given_once(tmp_path: Path, make: Callable[[Members], bytes]) -> None:
    """Of members that have the same one. A record that two members begin with is there twice."""
    path = tmp_path / "capture"
    path.write_bytes(make({"1.csv": b"time,price\n1,2\n", "2.csv": b"time,price\n3,4\n", "3.csv": b"time,price"}))
    assert read(path)[0] == b"time,price\n1,2\n3,4\ntime,price"
    path.write_bytes(make({"1": b'{"e":1,"s":2}\n', "2": b'{"e":1,"s":2}\n'}))
    assert read(path)[0] == b'{"e":1,"s":2}\n{"e":1,"s":2}\n'


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar_gz"])
def test_an_archive_of_one_file_is_read_at_once(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Its names need not be read first: many such files are looked at before a run. What else fits into its end comes last."""
    content = random.Random(1).randbytes(1 << 21).hex().encode()
    path = tmp_path / "capture"
    path.write_bytes(compress(tar({"a": content})))
    with open_decoded(path) as file:
        assert read_fully(file, 1000) == content[:1000]
        assert file.tell_compressed() < path.stat().st_size / 4
    assert read(path, 1 << 20) == (content, [], None)
    path.write_bytes(compress(tar({"b": content, "a": b"small"})))
    assert read(path, 1 << 20) == (content + b"\nsmall", [], None)
    with GrowingFile(path) as growing:
        assert read_fully(growing, 1 << 24) == content + b"\nsmall"
    path.write_bytes(compress(tar({"b": content, "a": content})))
    assert read(path, 1 << 20) == (content + b"\n" + content, [], None)
    with open_decoded(path) as file:
        assert read_fully(file, 10) == content[:10]
        assert file.tell_compressed() > path.stat().st_size / 2  # the second one comes first


def test_names_of_any_length_are_read(tmp_path: Path) -> None:
    """Tar has three ways to write a long one, and none may change the order."""
    names = [f"{'long-' * 60}{number}" for number in (1, 2, 10)]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / "capture"
        path.write_bytes(tar(dict(reversed(list(zip(names, DAYS.values(), strict=True)))), form))
        assert read(path) == (IN_ORDER, [], None)
    prefixed = {f"{'directory/' * 12}{number}": content for number, content in zip((1, 2, 10), DAYS.values(), strict=True)}
    path.write_bytes(tar(dict(reversed(prefixed.items())), tarfile.USTAR_FORMAT))
    assert read(path) == (IN_ORDER, [], None)


def test_what_cannot_be_read_of_a_member_is_damage_and_the_next_one_follows(tmp_path: Path) -> None:
    """Encrypted, of a method that is not read, cut, or with a bad checksum: each is named."""
    archive = bytearray(zipped(DAYS))
    path = tmp_path / "capture"
    first, second, third = DAYS.values()
    with zipfile.ZipFile(io.BytesIO(bytes(archive))) as opened:
        info = opened.infolist()[2]
    directory = archive.rindex(b"PK\x01\x02", 0, archive.rindex(b"PK\x01\x02"))
    for place, change, expected, word in [
        (directory + 8, 1, first + MARK + third, "encrypted"),
        (directory + 10, 14 ^ 8, first + MARK + third, "LZMA"),
        (directory + 16, 1, first + second + MARK + third, "checksum"),
        (info.header_offset + 70, 0x55, None, "day-2"),
    ]:
        damaged = bytearray(archive)
        damaged[place] ^= change
        path.write_bytes(bytes(damaged))
        decoded, places, end = read(path)
        assert end is None
        assert decoded.startswith(first)
        assert decoded.endswith(MARK + third)
        assert places == [len(decoded) - len(third) - 1]
        assert expected in (None, decoded)
        with open_decoded(path) as file:
            while file.damage is None:
                assert file.read(1000)
            assert word in file.damage
            assert "day-2" in file.damage


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
def test_behind_a_damaged_header_the_next_member_follows(tmp_path: Path, pack: Callable[[bytes], bytes], form: int) -> None:
    """Of the member whose header is damaged nothing is given: nothing says how long it is."""
    whole = bytearray(tar(DAYS, form))
    place = whole.index(b"captures/day-2.jsonl")
    whole[place : place + 512] = b"\xff" * 512
    path = tmp_path / "capture"
    path.write_bytes(pack(bytes(whole)))
    decoded, places, end = read(path)
    first, third = DAYS["captures/day-1.jsonl"], DAYS["captures/day-10.jsonl"]
    assert decoded == first + MARK + third
    assert (places, end) == ([len(first)], None)


def _frames(content: bytes, cut: int) -> bytes:
    """In zstd frames of 1,000 bytes, of which the one with the byte `cut` ends in its middle."""
    frames = []
    for start in range(0, len(content), 1000):
        frame = zstandard.ZstdCompressor(write_checksum=True).compress(content[start : start + 1000])
        frames.append(frame[: len(frame) // 2] if start <= cut < start + 1000 else frame)
    return b"".join(frames)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["pax", "gnu", "ustar"])
@pytest.mark.parametrize("is_in_order", [True, False])
def test_behind_damage_of_a_compressed_archive_the_next_member_follows(tmp_path: Path, form: int, is_in_order: bool) -> None:
    """Blocks begin anywhere there. What is left of the member with the damage is skipped."""
    rng = random.Random(1)
    days = {
        f"captures/day-{day}.jsonl": b"".join(b'{"day":%d,"n":%d}\n' % (day, rng.getrandbits(60)) for _ in range(150))
        for day in (1, 2, 10)
    }
    stored = days if is_in_order else dict(reversed(days.items()))
    whole = tar(stored, form)
    first, second, third = days.values()
    path = tmp_path / "capture"
    path.write_bytes(_frames(whole, whole.index(second) + len(second) // 2))
    for size in (1000, 77):
        decoded, places, end = read(path, size)
        assert decoded.startswith(first)
        assert decoded.endswith(MARK + third)
        kept = decoded[len(first) : -len(third) - 1]
        assert 1000 < len(kept) < len(second)
        assert second.startswith(kept)
        assert (places, end) == ([len(first) + len(kept)], None)
    path.write_bytes(_frames(whole, len(whole) - len(tar({})) - 700))  # in the last member that is stored
    decoded, places, end = read(path)
    last = list(stored.values())[-1]
    assert decoded.replace(MARK + MARK, MARK).startswith(first[:1000])
    assert (len(places) + (end is not None)) == 1
    assert len(first + second + third) - len(last) < len(decoded) < len(first + second + third) + 1


@pytest.mark.random
def test_damage_of_a_compressed_archive_costs_the_members_it_meets(tmp_path: Path, seed: int) -> None:
    """Wherever it stands: all other members are whole, and it is said."""
    rng = random.Random(seed)
    path = tmp_path / "capture"
    for _ in range(60):
        members = {
            f"day-{rng.randrange(10**6)}": b"".join(b"%d\n" % rng.getrandbits(100) for _ in range(rng.randint(1, 60)))
            for _ in range(6)
        }
        whole = tar(members, rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
        last = max(whole.index(content) + len(content) for content in members.values())
        cut = rng.randrange(1000, last)
        path.write_bytes(_frames(whole, cut))
        decoded, places, end = read(path, rng.randint(1, 5000))
        damaged = range(cut // 1000 * 1000, cut // 1000 * 1000 + 1000)
        for name, content in members.items():
            start = whole.index(name.encode())
            if whole.index(content) + len(content) <= damaged.start or start >= damaged.stop:
                assert content in decoded, (name, start, damaged)
        assert places or end is not None


def test_an_archive_that_was_cut_gives_what_is_there(tmp_path: Path) -> None:
    """Up to the cut. A zip archive has its directory at its end: without that its members come as they stand there."""
    whole = tar(DAYS)
    path = tmp_path / "capture"
    place = whole.index(DAYS["captures/day-2.jsonl"]) + 100
    path.write_bytes(whole[:place])
    decoded, _, end = read(path)
    assert decoded == DAYS["captures/day-1.jsonl"] + DAYS["captures/day-2.jsonl"][:100]
    assert end is not None
    assert "cut off" in end
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = zipped(DAYS, method)
        path.write_bytes(archive[:-30])
        decoded, _, end = read(path)
        assert decoded == IN_ORDER
        assert end is not None
        assert "cut off" in end
        path.write_bytes(archive[: len(archive) // 2])
        decoded, _, end = read(path)
        assert IN_ORDER.startswith(decoded)
        assert decoded.startswith(DAYS["captures/day-1.jsonl"])
        assert end is not None


def test_a_zip_that_was_made_as_a_stream_is_read(tmp_path: Path) -> None:
    """The sizes of its members stand behind them. So they do where it was cut off in front of its directory."""

    class Pipe(io.RawIOBase):
        content = b""

        def writable(self) -> bool:
            return True

        def write(self, content: object, /) -> int:
            self.content += bytes(content)  # type: ignore[call-overload]
            return len(content)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in DAYS.items():
            archive.writestr(name, content)
    path = tmp_path / "capture"
    path.write_bytes(pipe.content)
    assert read(path) == (IN_ORDER, [], None)
    path.write_bytes(pipe.content[:-30])
    assert read(path)[0] == IN_ORDER


@ARCHIVES
def test_an_archive_that_is_still_written_waits_until_it_is_whole(tmp_path: Path, make: Callable[[Members], bytes]) -> None:
    """The order of its members is not known before."""
    content = make(dict(reversed(DAYS.items())))
    path = tmp_path / "capture"
    rng = random.Random(2)
    steps = sorted(rng.randrange(1, len(content) // 2) for _ in range(4))
    with path.open("wb") as writer, GrowingFile(path) as file:
        for start, end in zip([0, *steps], steps, strict=False):
            writer.write(content[start:end])
            writer.flush()
            assert file.read(100) == b""
            assert not file.look()[1]  # nothing to do before more is there
        writer.write(content[steps[-1] :])
        writer.flush()
        decoded = b""
        while piece := file.read(100):
            decoded += piece
        file.finish()
        decoded += file.read(100)
        assert (decoded, file.damage) == (IN_ORDER, None)


def test_what_macos_adds_to_an_archive_is_no_member(tmp_path: Path) -> None:
    """A file of properties beside each one, told by its first bytes."""
    path = tmp_path / "capture"
    path.write_bytes(zipped({**DAYS, "__MACOSX/captures/._day-1.jsonl": b"\x00\x05\x16\x07\x00\x02\x00\x00" + bytes(80)}))
    assert read(path) == (IN_ORDER, [], None)


def test_half_a_character_of_utf_16_is_no_utf_8(tmp_path: Path) -> None:
    """Nor is half a pair of them: its record is rejected, and the others are read."""
    path = tmp_path / "capture"
    text = "one\n".encode("utf-16-le") + b"\x3d\xd8" + "two\nthree\n".encode("utf-16-le")
    path.write_bytes(b"\xff\xfe" + text + b"x")
    decoded, _, damage = read(path)
    lines = decoded.split(b"\n")
    assert (lines[0], lines[2], damage) == (b"one", b"three", None)
    for line in (lines[1], lines[3]):
        with pytest.raises(UnicodeDecodeError):
            line.decode()
