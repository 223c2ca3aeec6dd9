"""State and output in object storage: the same parts as in directories, whatever the storage does; and one writer."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from cowbook.checkpoint import triggers
from cowbook.checkpoint.commit_log import CommitLog
from cowbook.checkpoint.manifest import Manifest
from cowbook.checkpoint.object_store import ObjectCheckpointStore, ObjectLog
from cowbook.config import load_config
from cowbook.errors import ConfigError, RestartNeededError, ServiceError
from cowbook.objects import bucket as bucket_module
from cowbook.objects.bucket import Bucket
from cowbook.service import service
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.sink.object_publication import ObjectPublication
from cowbook.symbol import symbol_thread
from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.settings import WorkerSettings, worker_settings
from cowbook.symbol.summary import SymbolSummary
from support.fake_s3 import FakeS3
from support.harness import read_parts

pytest.importorskip("obstore")

_CONFIG = """
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
paths = ["capture.jsonl"]
"""

_PLACES = '[service]\nstate_dir = "s3://bucket/a/state"\noutput_dir = "s3://bucket/a/data"\nscratch_dir = "scratch"\n'


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def _slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, and a wait for the checkpoint after each, so that there are some; no wait after failures."""
    process = Pipeline.process

    async def process_and_wait(self: Pipeline, block: Any) -> None:
        await process(self, block)
        self.checkpointer._launch()
        if self.checkpointer._running is not None:
            await asyncio.wait([self.checkpointer._running])

    def with_small_blocks(*arguments: Any, **options: Any) -> WorkerSettings:
        return replace(worker_settings(*arguments, **options), block_bytes=25_000)

    monkeypatch.setattr(symbol_thread, "_FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(triggers, "_FIRST_BACKOFF_NS", 10_000_000)
    monkeypatch.setattr(service, "worker_settings", with_small_blocks)
    monkeypatch.setattr(Pipeline, "process", process_and_wait)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Storage, and the environment by which it is found."""
    _slow_down(monkeypatch)
    with FakeS3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A capture, and the same grown."""
    path = tmp_path_factory.mktemp("captures") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=700, seed=3, gaps=1)
    content = path.read_bytes()
    return content[: content.index(b"\n", len(content) // 2) + 1], content


@pytest.fixture(scope="module")
def expected(captures: tuple[bytes, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of a run in directories that has not ended yet: all but those of its tail."""
    directory = tmp_path_factory.mktemp("expected")
    (directory / "capture.jsonl").write_bytes(captures[1])
    (directory / "cowbook.toml").write_text(_CONFIG)
    with structlog.testing.capture_logs():
        (summary,) = run_once(load_config(directory / "cowbook.toml", {}))
    assert summary.state == "done"
    parts = read_parts(directory / "data")
    last = max(name.rpartition("part-")[2] for name in parts)
    return {name: content for name, content in parts.items() if not name.endswith(last)}


def run(directory: Path, content: bytes, config: str = _PLACES + _CONFIG) -> SymbolSummary:
    """Run to the end of a capture on a machine of its own."""
    directory.mkdir(exist_ok=True)
    (directory / "capture.jsonl").write_bytes(content)
    (directory / "cowbook.toml").write_text(config)
    (summary,) = run_once(load_config(directory / "cowbook.toml", {}))
    return summary


def parts_in(s3: FakeS3) -> dict[str, bytes]:
    """Published parts."""
    return {key.removeprefix("a/data/"): content for key, content in s3.objects.items() if key.startswith("a/data/")}


def test_parts_are_those_of_a_run_in_directories(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes]
) -> None:
    """Byte for byte; a checkpoint is two requests that write, and one is not taken where nothing is new."""
    summary = run(tmp_path, captures[1])
    assert (summary.state, summary.restarts) == ("done", 0), summary.error
    assert summary.output == "s3://bucket/a/data"
    assert parts_in(s3) == expected
    kinds = Counter(
        "part" if "/data/" in key else "claim" if key.endswith("/log/1") else key.split("/")[3] if "/BTCUSDT/" in key else "probe"
        for method, key in s3.requests
        if method == "PUT" and ".cowbook-probe" not in key
    )
    count = summary.checkpoints
    assert count > 3
    assert kinds == {"part": len(expected), "claim": 1, "checkpoints": count, "log": count}
    state = sorted(key.removeprefix("a/state/BTCUSDT/").partition("/")[0] for key in s3.objects if key.startswith("a/state/"))
    assert state == ["checkpoints"] * 2 + ["log"] * 2
    puts = s3.count("PUT")
    again = run(tmp_path, captures[1])
    assert (again.state, again.checkpoints) == ("done", 0)
    assert s3.count("PUT") - puts == 2 * 2 + 1  # two probes, and a claim


def _count_of_writes(s3: FakeS3) -> Counter[str]:
    """Requests of the symbol that write, by the folder of their keys."""
    return Counter(key.split("/")[3] for method, key in s3.requests if method == "PUT" and key.startswith("a/state/BTCUSDT/"))


def test_the_timer_writes_nothing_for_few_new_events(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `min_events`, as the server counts: two requests for each checkpoint, and the claim; the parts are the same ones."""
    seen: list[int] = []
    write = ObjectCheckpointStore.commit

    def commit(self: ObjectCheckpointStore, manifest: Manifest) -> Path:
        seen.append(manifest.events_processed)
        return write(self, manifest)

    monkeypatch.setattr(ObjectCheckpointStore, "commit", commit)
    places = _PLACES + _CONFIG.replace("every_events = 4000", 'every_events = 1_000_000_000\nevery = "1ms"\nmin_events = {}')
    counts = []
    for number, least in enumerate((0, 3000)):
        s3.objects.clear()
        s3.requests.clear()
        seen.clear()
        summary = run(tmp_path / str(number), captures[1], places.format(least))
        assert (summary.state, summary.restarts) == ("done", 0), summary.error
        assert parts_in(s3) == expected
        assert _count_of_writes(s3) == {"checkpoints": summary.checkpoints, "log": summary.checkpoints + 1}
        assert all(later - earlier >= least for earlier, later in pairwise([0, *seen[:-1]]))  # the last one is that of the end
        counts.append(summary.checkpoints)
    assert counts[0] > 2 * counts[1] > 2


def test_another_machine_goes_on(tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes]) -> None:
    """With nothing of the first one but what lies in storage."""
    first = run(tmp_path / "one", captures[0])
    assert first.state == "done"
    second = run(tmp_path / "one", captures[0])  # its input has the same path for both
    shutil.rmtree(tmp_path / "one" / "scratch")
    second = run(tmp_path / "one", captures[1])
    assert (second.state, second.recovered_epoch) == ("done", first.checkpoints), second.error
    assert parts_in(s3) == expected


@pytest.mark.parametrize("fault", ["throttle", "lose", "drop"])
def test_requests_that_fail_are_made_again(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes], fault: str, seed: int
) -> None:
    """Throttled, lost on the way, or done with the answer lost: every fifth."""
    rng = random.Random(seed)
    s3.fault = lambda _method, key: fault if ".cowbook-probe" not in key and rng.random() < 0.2 else ""
    summary = run(tmp_path, captures[1])
    assert summary.state == "done", summary.error
    assert parts_in(s3) == expected


def test_a_request_that_hangs_is_given_up(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, and made again; processing goes on meanwhile."""
    monkeypatch.setattr(bucket_module, "_TIMEOUT", timedelta(seconds=0.3))
    s3.hang_seconds = 0.9
    hung: list[str] = []

    def fault(method: str, key: str) -> str:
        if method == "PUT" and "/checkpoints/" in key and len(hung) < 2:
            hung.append(key)
            return "hang"
        return ""

    s3.fault = fault
    summary = run(tmp_path, captures[1])
    assert summary.state == "done", summary.error
    assert len(hung) == 2
    assert parts_in(s3) == expected


def test_a_machine_lost_before_it_published_is_made_up_for(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts that its last commit lists went with it: the next one goes on from the commit before, and makes them again."""
    publish = ObjectPublication.publish
    count = 0

    def stops(self: ObjectPublication, *arguments: object) -> None:
        nonlocal count
        count += 1
        if count >= 3:
            raise KeyboardInterrupt
        publish(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectPublication, "publish", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, captures[1])
    monkeypatch.setattr(ObjectPublication, "publish", publish)
    assert len(parts_in(s3)) < len(expected)
    shutil.rmtree(tmp_path / "scratch")
    summary = run(tmp_path, captures[1])
    assert (summary.state, summary.recovered_epoch) == ("done", 2), summary.error
    assert parts_in(s3) == expected
    assert run(tmp_path, captures[1]).state == "done"


def test_what_is_damaged_is_not_retained(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `retain = 2` there are two that can be gone on from, right behind the next checkpoint, too."""
    run(tmp_path, captures[0])
    older, newest = sorted(key for key in s3.objects if "/checkpoints/" in key)
    s3.objects[newest] = b"damaged"
    there: list[set[str]] = []
    prune = ObjectCheckpointStore.prune

    def noted(self: ObjectCheckpointStore, retain: int) -> list[int]:
        old = prune(self, retain)
        there.append({key for key in s3.objects if "/checkpoints/" in key})
        return old

    monkeypatch.setattr(ObjectCheckpointStore, "prune", noted)
    assert run(tmp_path, captures[1]).state == "done"
    assert older in there[0]
    assert len(there[0]) == 3  # the damaged one is removed once it is older than what is retained
    assert newest not in there[1]
    assert len(there[-1]) == 2


def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes]
) -> None:
    """Altered, cut, gone: the one before is gone on from, and the same parts come of it."""
    first = run(tmp_path, captures[0])
    newest = max(key for key in s3.objects if "/checkpoints/" in key)
    whole = s3.objects[newest]
    kept = dict(s3.objects)
    for content in (whole[:-30], whole[:100] + b"x" + whole[101:], b"", None):
        s3.objects.clear()
        s3.objects |= kept
        if content is None:
            del s3.objects[newest]
        else:
            s3.objects[newest] = content
        summary = run(tmp_path, captures[1])
        assert (summary.state, summary.recovered_epoch) == ("done", first.checkpoints - 1), summary.error
        assert parts_in(s3) == expected


def test_a_writer_that_was_replaced_is_fenced(
    tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes], expected: dict[str, bytes]
) -> None:
    """Another one claims while it works: it fails for good, and the next start goes on."""

    def fault(method: str, key: str) -> str:
        if method == "PUT" and "/checkpoints/3-" in key:
            s3.fault = lambda _method, _key: ""
            other = CommitLog(ObjectLog(Bucket("s3://bucket/a/state"), "BTCUSDT"), "BTCUSDT")
            other.read()
            assert other.claim()
        return ""

    s3.fault = fault
    summary = run(tmp_path, captures[1])
    assert (summary.state, summary.restarts) == ("failed", 0)
    assert "BTCUSDT was taken over by process" in str(summary.error)
    assert set(parts_in(s3)) < set(expected)
    assert run(tmp_path, captures[1]).state == "done"
    assert parts_in(s3) == expected


def test_storage_that_replaces_is_refused(tmp_path: Path, captures: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, before anything is written there."""
    with FakeS3(is_conditional=False) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ServiceError, match="s3://bucket/a/state ignores If-None-Match"):
            run(tmp_path, captures[0])
        assert not server.objects


def test_what_may_not_be_done_is_said(tmp_path: Path, s3: FakeS3, captures: tuple[bytes, bytes]) -> None:
    """Credentials that do not suffice: the message names the object and what to look at."""
    s3.fault = lambda method, key: "deny" if method == "PUT" and "/log/" in key else ""
    summary = run(tmp_path, captures[0])
    assert summary.state == "failed"
    assert "s3://bucket/a/state/BTCUSDT/log/1" in str(summary.error)
    assert "look at the credentials" in str(summary.error)


def test_an_entry_whose_answer_is_lost_counts(s3: FakeS3) -> None:
    """Made once and asked for again; and one that cannot be told needs a restart."""
    bucket = Bucket("s3://bucket/b")
    lost: list[str] = []

    def lose(method: str, key: str) -> str:
        if method == "PUT" and key not in lost:
            lost.append(key)
            return "lose"
        return ""

    s3.fault = lose
    log = CommitLog(ObjectLog(bucket, "A"), "A")
    log.read()
    s3.fault = lambda _method, _key: ""
    assert log.claim()
    s3.fault = lose
    log.append(1, ".tmp-1-1-1-1", ())
    assert lost == ["b/A/log/2"]
    s3.fault = lambda _method, _key: "drop"
    with pytest.raises(RestartNeededError, match="s3://bucket/b/A/log/3"):
        log.append(2, ".tmp-2-1-1-1", ())


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ('state_dir = "s3://b/s"', "must both be URLs"),
        ('state_dir = "s3://b/s"\noutput_dir = "s3://b/d"', "scratch_dir must be a directory of this machine"),
        ('state_dir = "s3://b/s"\noutput_dir = "s3://b/s/d"\nscratch_dir = "x"', "must not lie in each other"),
        ('state_dir = "s3://b/s"\noutput_dir = "s3://b/s/"\nscratch_dir = "x"', "must not lie in each other"),
    ],
)
def test_places_that_do_not_fit_together_are_refused(tmp_path: Path, places: str, words: str) -> None:
    """With what to do."""
    (tmp_path / "cowbook.toml").write_text(f"[service]\n{places}\n{_CONFIG}")
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "cowbook.toml", {})


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(Exception, match=r"pip install 'cowbook\[s3\]'"):
        Bucket("s3://bucket")
