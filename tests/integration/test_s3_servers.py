"""Object storage as others have written it: what was made for one server holds with these, too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.checkpoint.commit_log import CommitLog
from cowbook.checkpoint.object_store import ObjectLog
from cowbook.config import load_config
from cowbook.errors import InputError
from cowbook.objects.bucket import Bucket
from cowbook.objects.object_path import find_objects
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.symbol.summary import SymbolSummary
from support.harness import read_parts
from support.s3_servers import COMMANDS, is_installed, serve

pytest.importorskip("obstore")
pytestmark = pytest.mark.long

_CONFIG = """
{service}
[checkpoint]
every_events = 4000
min_pause = "0s"
retain = 2
[output]
part_events = 4000
book_levels = 3
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = {paths}
"""
_PLACES = '[service]\nstate_dir = "s3://bucket/a/state"\noutput_dir = "s3://bucket/a/data"\nscratch_dir = "scratch"\n'
_RACES = 30


@pytest.fixture(scope="module", params=COMMANDS)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server, and how to find it."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with serve(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(autouse=True)
def _found(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with structlog.testing.capture_logs():
        yield


def run(directory: Path, *paths: str, service: str = "") -> SymbolSummary:
    """Run to the end of these paths."""
    directory.mkdir(exist_ok=True)
    (directory / "cowbook.toml").write_text(_CONFIG.format(paths=json.dumps(paths), service=service))
    (summary,) = run_once(load_config(directory / "cowbook.toml", {}))
    return summary


def test_state_output_and_captures_lie_there(tmp_path: Path) -> None:
    """Two machines, the second of which goes on: the parts are those of a run on directories, all but those of its tail."""
    write_capture(tmp_path / "capture.jsonl", symbol="BTCUSDT", messages=700, seed=3, gaps=1)
    content = (tmp_path / "capture.jsonl").read_bytes()
    half = content.index(b"\n", len(content) // 2) + 1
    expected = run(tmp_path / "expected", str(tmp_path / "capture.jsonl"))
    right = read_parts(tmp_path / "expected" / "data")
    tail = max(name.rpartition("part-")[2] for name in right)
    bucket = Bucket("s3://bucket")
    bucket.put("feed/b c/1.jsonl", content[:half])
    first = run(tmp_path / "one", "s3://bucket/feed/b c/*.jsonl", service=_PLACES)
    assert (first.state, first.restarts) == ("done", 0), first.error
    bucket.put("feed/b c/2.jsonl", content[half:])
    second = run(tmp_path / "two", "s3://bucket/feed/b c/*.jsonl", service=_PLACES)
    assert (second.state, second.recovered_epoch, second.restarts) == ("done", first.checkpoints, 0), second.error
    assert (second.events, second.gaps) == (expected.events, expected.gaps)
    parts = {key.removeprefix("a/data/"): bucket.read(key) for key in bucket.sizes("a/data/")}
    assert parts == {name: part for name, part in right.items() if not name.endswith(tail)}
    assert Counter(key.split("/")[3] for key in bucket.sizes("a/state/"))["checkpoints"] == 2


def test_of_two_writers_one_wins_each_race() -> None:
    """A number of the log is created once, also by requests of one moment; the probe says so."""
    bucket = Bucket("s3://bucket/races")
    bucket.probe()
    with ThreadPoolExecutor(2) as executor:
        for number in range(_RACES):
            won = list(executor.map(lambda content, key=str(number): bucket.create(key, content), (b"a", b"b")))
            assert sorted(won) == [False, True]
            assert bucket.read(str(number)) == (b"a" if won[0] else b"b")
    assert len(bucket.sizes("")) == _RACES
    first, second = (CommitLog(ObjectLog(bucket, "A"), "A") for _ in range(2))
    for log in (first, second):
        log.read()
    assert first.claim()
    assert not second.claim()
    assert second.owner == 2


def test_ranges_are_of_one_content() -> None:
    """Any range, and none of an object that was replaced since it was listed."""
    bucket = Bucket("s3://bucket")
    content = bytes(range(256)) * 1000
    bucket.put("ranges/ü+%41.bin", content)
    (path,) = find_objects("s3://bucket/ranges/*")
    assert path.stat().st_size == len(content)
    for start, end in ((0, 1), (0, len(content)), (1000, 70_000), (len(content) - 1, len(content))):
        assert bucket.read_range(path.listed, start, end) == content[start:end]
    bucket.put("ranges/ü+%41.bin", content[::-1])
    with pytest.raises(InputError, match="was replaced while it was read"), open_decoded(path) as file:
        read_fully(file, 10)
    bucket.delete("ranges/ü+%41.bin")
    with pytest.raises(FileNotFoundError):
        bucket.read_range(path.listed, 0, 1)
    assert find_objects("s3://bucket/ranges/*") == []
