"""Captures that lie in object storage are read as files are: in ranges, from where a checkpoint stands, and each content once."""

from __future__ import annotations

import glob
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog
import zstandard

import cowbook
from cowbook.capture import stored_file
from cowbook.capture.compression import open_decoded, read_fully
from cowbook.capture.stored_file import ObjectFile
from cowbook.cli.main import main
from cowbook.config import load_config
from cowbook.errors import ConfigError, InputError, StorageError
from cowbook.objects.object_path import ObjectPath, find_objects
from cowbook.plain.durable_files import LASTING
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_thread
from cowbook.symbol.summary import SymbolSummary
from support.fake_s3 import FakeS3
from support.harness import read_parts

pytest.importorskip("obstore")

_CONFIG = """
[checkpoint]
every_events = 4000
min_pause = "0s"
[output]
part_events = 4000
book_levels = 3
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = {paths}
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Storage, and the environment by which it is found."""
    monkeypatch.setattr(symbol_thread, "_FIRST_BACKOFF_SECONDS", 0.01)
    with structlog.testing.capture_logs(), FakeS3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A capture of 700 messages."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=700, seed=3, gaps=1)
    return path.read_bytes()


def thirds(capture: bytes) -> list[bytes]:
    """The capture in three files of whole lines."""
    lines = capture.splitlines(keepends=True)
    third = len(lines) // 3
    return [b"".join(lines[:third]), b"".join(lines[third : 2 * third]), b"".join(lines[2 * third :])]


def run(directory: Path, *paths: str) -> SymbolSummary:
    """Run to the end of these paths."""
    directory.mkdir(exist_ok=True)
    (directory / "cowbook.toml").write_text(_CONFIG.format(paths=json.dumps(paths)))
    (summary,) = run_once(load_config(directory / "cowbook.toml", {}))
    return summary


def gets(s3: FakeS3, key: str) -> int:
    """Requests for content of an object."""
    return sum(request == ("GET", key) for request in s3.requests)


def test_objects_give_the_parts_of_files(tmp_path: Path, s3: FakeS3, capture: bytes) -> None:
    """In their natural order, whatever they are compressed with, and without what the pattern leaves out; each is read once."""
    packed = [gzip.compress(thirds(capture)[0], mtime=0), thirds(capture)[1], zstandard.compress(thirds(capture)[2])]
    names = ["9.jsonl.gz", "10.jsonl", "11.jsonl.zst"]
    files = tmp_path / "files"
    files.mkdir()
    for name, content in zip(names, packed, strict=True):
        s3.objects[f"feed/BTCUSDT/{name}"] = content
        (files / name).write_bytes(content)
    s3.objects["feed/BTCUSDT/notes.txt"] = s3.objects["feed/BTCUSDT/.hidden.jsonl"] = b"nonsense\n"
    s3.objects["feed/BTCUSDT/deeper/12.jsonl"] = s3.objects["feed/BTCUSDT2/1.jsonl"] = b"nonsense\n"
    s3.objects["feed/BTCUSDT/10-copy.jsonl"] = packed[1]
    expected = run(tmp_path / "expected", str(files / "*"))
    found = run(tmp_path / "all", "s3://bucket/feed/BTCUSDT/*.jsonl*")
    assert found.state == "done", found.error
    assert any("has the content of s3://bucket/feed/BTCUSDT/10" in text for text in found.warnings)
    assert read_parts(tmp_path / "all" / "data") == read_parts(tmp_path / "expected" / "data")
    assert (found.events, found.dead_letters) == (expected.events, expected.dead_letters)


def test_a_dead_letter_names_the_url(tmp_path: Path, s3: FakeS3) -> None:
    """As its file, as the configuration has it: the same on every machine."""
    s3.objects["a/b c+d/ü.jsonl"] = b'{"e":"nonsense\n'
    run(tmp_path, "s3://bucket/a/b c+d/*.jsonl")
    (part,) = (tmp_path / "data" / "dead_letter").rglob("*.parquet")
    assert pq.read_table(part)["file"].to_pylist() == ["s3://bucket/a/b c+d/ü.jsonl"]


def _archive(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, piece in enumerate(thirds(content)):
            archive.writestr(f"{number}.jsonl", piece)
    return packed.getvalue()


def _table(content: bytes) -> bytes:
    times = list(range(1_700_000_000_000, 1_700_000_000_000 + content.count(b"\n")))
    packed = pa.BufferOutputStream()
    pq.write_table(pa.table({"timestamp": times, "side": ["bid"] * len(times)}), packed, row_group_size=50)
    return bytes(packed.getvalue())


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lzma.compress, zstandard.compress, _archive, _table],
    ids=["plain", "gzip", "xz", "zstd", "zip", "parquet"],
)
def test_decoded_bytes_are_those_of_a_file(
    tmp_path: Path, s3: FakeS3, capture: bytes, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the beginning, and from any offset, in ranges of whatever size; so is what a damaged one still gives."""
    monkeypatch.setattr(stored_file, "_FIRST_BYTES", 1000)
    monkeypatch.setattr(stored_file, "_MOST_BYTES", 5000)
    whole = pack(capture)
    for number, content in enumerate((whole, whole[: len(whole) // 2], b"")):
        s3.objects[f"{number}"] = content
        (tmp_path / "file").write_bytes(content)
        (path,) = find_objects(f"s3://bucket/{number}")
        with open_decoded(tmp_path / "file") as file, open_decoded(path) as read:
            head, offset = read_fully(file, 100), 0
            assert read_fully(read, 100) == head
            while content := read_fully(file, 1 << 14):
                assert read_fully(read, 1 << 14) == content
                offset += len(content)
            assert str(read.damage).partition(" ")[2] == str(file.damage).partition(" ")[2]
        if head and number == 0:
            for place in (len(head) + 1, offset // 2):
                with open_decoded(tmp_path / "file") as file, open_decoded(path) as read:
                    assert read.go_to(place, read_fully(read, 100)) == file.go_to(place, read_fully(file, 100))
                    assert read_fully(read, 999) == read_fully(file, 999)


def test_a_resume_gets_no_byte_before_the_checkpoint(tmp_path: Path, s3: FakeS3, capture: bytes) -> None:
    """New objects are found by the next run. It looks at the first ones' beginnings and ends, and reads them no more."""
    pieces = thirds(capture)
    assert len(pieces[0]) > 4 * stored_file._FIRST_BYTES
    for number, piece in enumerate(pieces[:2]):
        s3.objects[f"feed/{number}.jsonl"] = piece
    first = run(tmp_path, "s3://bucket/feed/*.jsonl")
    assert first.state == "done", first.error
    assert gets(s3, "feed/0.jsonl") > 2
    s3.objects["feed/2.jsonl"] = pieces[2]
    s3.requests.clear()
    sizes: list[int] = []
    get = ObjectFile._get

    def noted(self: ObjectFile, place: int) -> None:
        get(self, place)
        if str(self._path).endswith("0.jsonl"):
            sizes.append(len(self._window))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectFile, "_get", noted)
        second = run(tmp_path, "s3://bucket/feed/*.jsonl")
    assert (second.state, second.recovered_epoch) == ("done", first.checkpoints), second.error
    assert 0 < sum(sizes) < len(pieces[0])
    assert max(sizes) <= stored_file._FIRST_BYTES
    whole = tmp_path / "whole"
    whole.mkdir()
    for number, piece in enumerate(pieces):
        (whole / f"{number}.jsonl").write_bytes(piece)
    undisturbed = run(tmp_path / "expected", str(whole / "*"))
    assert read_parts(tmp_path / "data") == read_parts(tmp_path / "expected" / "data")
    assert second.events == undisturbed.events


def test_the_same_content_is_found_in_files_and_objects(tmp_path: Path, s3: FakeS3, capture: bytes) -> None:
    """A checkpoint knows its input by content: captures that have moved to object storage since are gone on with."""
    pieces = thirds(capture)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "0.jsonl").write_bytes(pieces[0])
    (tmp_path / "local" / "1.jsonl").write_bytes(pieces[1][: len(pieces[1]) // 2])
    first = run(tmp_path, str(tmp_path / "local" / "*.jsonl"))
    for number, piece in enumerate(pieces):
        s3.objects[f"moved/{number}.jsonl"] = piece
    second = run(tmp_path, "s3://bucket/moved/*.jsonl")
    assert (second.state, second.recovered_epoch) == ("done", first.checkpoints), second.error
    s3.objects["whole/capture.jsonl"] = capture
    expected = run(tmp_path / "expected", "s3://bucket/whole/capture.jsonl")
    assert (second.events, second.gaps) == (expected.events, expected.gaps)


@pytest.mark.parametrize("fault", ["throttle", "lose", "drop"])
def test_requests_that_fail_are_made_again(tmp_path: Path, s3: FakeS3, capture: bytes, fault: str) -> None:
    """Every third, at first."""
    s3.objects["a.jsonl"] = capture
    expected = run(tmp_path / "expected", "s3://bucket/a.jsonl")
    count = 0

    def third(_method: str, _key: str) -> str:
        nonlocal count
        count += 1
        return fault if count % 3 == 0 else ""

    s3.fault = third
    summary = run(tmp_path / "disturbed", "s3://bucket/a.jsonl")
    assert (summary.state, summary.events) == ("done", expected.events), summary.error
    assert read_parts(tmp_path / "disturbed" / "data") == read_parts(tmp_path / "expected" / "data")


def test_an_object_that_was_replaced_ends_the_symbol(tmp_path: Path, s3: FakeS3, capture: bytes) -> None:
    """While it is read, by its ETag: nothing of the new content is taken for the old one's. Later, by what a checkpoint knows."""
    s3.objects["a.jsonl"] = capture
    other = capture.replace(b'"BTCUSDT"', b'"BTCUSDX"')
    get = ObjectFile._get

    def replaced(self: ObjectFile, place: int) -> None:
        if place > len(capture) // 2:
            s3.objects["a.jsonl"] = other
        get(self, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_file, "_MOST_BYTES", stored_file._FIRST_BYTES)
        patch.setattr(ObjectFile, "_get", replaced)
        summary = run(tmp_path, "s3://bucket/a.jsonl")
    assert summary.state == "failed"
    assert re.search(r"s3://bucket/a\.jsonl was replaced while it was read, at byte \d+", str(summary.error))
    assert not any(summary.dead_letters.values())
    assert summary.other_symbol == 0
    s3.objects["a.jsonl"] = capture
    assert run(tmp_path, "s3://bucket/a.jsonl").state == "done"
    s3.objects["a.jsonl"] = other
    summary = run(tmp_path, "s3://bucket/a.jsonl")
    assert summary.state == "failed"
    assert "s3://bucket/a.jsonl has different content: it was replaced" in str(summary.error)


def test_an_object_that_vanished_is_named(tmp_path: Path, s3: FakeS3, capture: bytes) -> None:
    """Between the listing and its turn."""
    s3.objects |= {"feed/0.jsonl": thirds(capture)[0], "feed/1.jsonl": thirds(capture)[1]}

    def vanish(method: str, key: str) -> str:
        if method == "GET" and key == "feed/0.jsonl" and gets(s3, key) == 4:
            del s3.objects["feed/1.jsonl"]
        return ""

    s3.fault = vanish
    summary = run(tmp_path, "s3://bucket/feed/*")
    assert summary.state == "failed"
    assert "s3://bucket/feed/1.jsonl" in str(summary.error)
    assert "there is no such object" in str(summary.error)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://bucket/none.jsonl", "there is no such object"),
        ("s3://bucket/feed/*.jsonl", "no object matches"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, s3: FakeS3, path: str, words: str) -> None:  # noqa: ARG001 - the environment
    """By its URL, with what to do."""
    summary = run(tmp_path, path)
    assert summary.state == "failed"
    assert f"{path}: {words}; correct the URL, or provide the object" in str(summary.error)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_may_not_be_read_is_said(
    tmp_path: Path, s3: FakeS3, capture: bytes, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a run and by a check: the object, and what to look at."""
    s3.objects["a.jsonl"] = capture
    s3.fault = lambda asked, key: "deny" if asked == method and key == "a.jsonl" else ""
    summary = run(tmp_path, "s3://bucket/a.jsonl")
    assert summary.state == "failed"
    for text in (str(summary.error), _said_by_check(tmp_path, capsys)):
        assert "s3://bucket/a.jsonl" in text
        assert "look at the credentials and what they allow" in text


def _said_by_check(directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check", str(directory / "cowbook.toml")]) == 78
    said = capsys.readouterr()
    return said.out + said.err


def test_objects_are_not_followed(tmp_path: Path) -> None:
    """It is refused with what to do instead, of a symbol and of a source."""
    text = _CONFIG.format(paths='["s3://bucket/a*"]\nfollow = true')
    sources = _CONFIG.replace("paths = {paths}", '[[symbol.source]]\nname = "a"\npaths = ["s3://bucket/a*"]\nfollow = true')
    for config in (text, sources):
        (tmp_path / "cowbook.toml").write_text(config)
        with pytest.raises(ConfigError, match=r"s3://bucket/a\* is object storage, where nothing grows: leave follow out"):
            load_config(tmp_path / "cowbook.toml", {})


def test_commands_and_library_read_them(tmp_path: Path, s3: FakeS3, capture: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """`check`, `inspect` and `explain` say what they say of files, what `init` prints runs, and `replay` reads them."""
    s3.objects |= {f"feed/{number}.jsonl": piece for number, piece in enumerate(thirds(capture))}
    expected = run(tmp_path, "s3://bucket/feed/*.jsonl")
    assert main(["check", str(tmp_path / "cowbook.toml")]) == 0
    assert "BTCUSDT" in capsys.readouterr().out
    assert main(["inspect", "--json", "s3://bucket/feed/"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in files] == [f"s3://bucket/feed/{number}.jsonl" for number in range(3)]
    offset = str(len(thirds(capture)[1]) // 2)
    (tmp_path / "1.jsonl").write_bytes(thirds(capture)[1])
    said = []
    for place in ("s3://bucket/feed/1.jsonl", str(tmp_path / "1.jsonl")):
        assert main(["explain", place, "--offset", offset]) == 0
        said.append(capsys.readouterr().out)
        assert place in said[-1]
    assert said[0].partition("\n")[2] == said[1].partition("\n")[2]
    assert main(["explain", "s3://bucket/feed/", "--offset", offset]) != 0
    assert "s3://bucket/feed/: 3 files, the first is s3://bucket/feed/0.jsonl; name one of them" in capsys.readouterr().err
    assert main(["inspect", "s3://bucket/none*"]) != 0
    assert "s3://bucket/none*: no such object" in capsys.readouterr().err
    assert main(["init", "s3://bucket/feed/*"]) == 0
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "cowbook.toml").write_text(capsys.readouterr().out)
    (summary,) = run_once(load_config(tmp_path / "init" / "cowbook.toml", {}))
    assert (summary.state, summary.events) == ("done", expected.events), summary.error
    messages = sum(1 for _ in cowbook.replay("s3://bucket/feed/*.jsonl", symbol="BTCUSDT", format="binance"))
    assert messages >= expected.messages


def test_patterns_match_as_globs_do(tmp_path: Path, s3: FakeS3) -> None:
    """The same names as of files."""
    keys = ["a/1.gz", "a/2.gz", "a/b/3.gz", "a/b/c/4.gz", "a/.5.gz", "a/.d/6.gz", "ab/7.gz", "a/x[1].gz", "8.gz"]
    for key in keys:
        s3.objects[key] = b"x"
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    names = ("*.gz", "a/*.gz", "a/?.gz", "a/[13-9]*", "*/7*", "a/x[[]1].gz", "a/.*")
    for pattern in (*names, "a/*", "a/**/*.gz", "**/*.gz", "a/*/*"):
        matched = glob.glob(str(tmp_path / pattern), recursive=True)  # noqa: PTH207 - as the reading of files does
        wanted = {str(Path(name).relative_to(tmp_path)) for name in matched if Path(name).is_file()}
        assert {path.listed.key for path in find_objects(f"s3://bucket/{pattern}")} == wanted, pattern


def test_a_listed_object_is_a_path(s3: FakeS3) -> None:
    """Its text is its URL; it is no file that the system could open; another content has another inode."""
    s3.objects["a/c d.jsonl"] = b"one"
    (path,) = find_objects("s3://bucket/a/")
    assert isinstance(path, ObjectPath)
    assert (str(path), path.name, path.suffix) == ("s3://bucket/a/c d.jsonl", "c d.jsonl", ".jsonl")
    status = path.stat()
    assert (status.st_size, status.st_nlink) == (3, 1)
    assert status.st_mtime_ns == 1_767_225_600_000_000_000
    s3.objects["a/c d.jsonl"] = b"two"
    (other,) = find_objects("s3://bucket/a/")
    assert other.stat().st_ino != status.st_ino
    with pytest.raises(FileNotFoundError):
        path.open()
    with pytest.raises(InputError, match="was replaced while it was read"), ObjectFile(path) as file:
        file.read(1)


@pytest.mark.parametrize("key", ["a//b.jsonl", "a/../b.jsonl"])
def test_a_key_that_is_no_path_is_refused(s3: FakeS3, key: str) -> None:
    """By name, and as what does not pass by itself."""
    s3.objects[key] = b"x"
    for pattern in (f"s3://bucket/{key}", "s3://bucket/a/*"):
        with pytest.raises(StorageError, match="an object with such a key must not be there") as error:
            find_objects(pattern)
        assert error.value.code in LASTING


def test_storage_that_does_not_answer_is_waited_for(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is storage that fails, and no fault of the input."""
    from cowbook.objects import bucket

    monkeypatch.setattr(bucket, "_MOST_RETRIES", 1)
    s3.objects["a.jsonl"] = b"x"
    (path,) = find_objects("s3://bucket/a.jsonl")
    s3.fault = lambda _method, _key: "throttle"
    with pytest.raises(StorageError, match=r"cannot read s3://bucket/a\.jsonl"), ObjectFile(path) as file:
        file.read(1)
