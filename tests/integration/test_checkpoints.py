"""Checkpoints change nothing: whatever takes them, whatever ends the run, the parts are those of an undisturbed one."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cowbook.book.freeze import BookSnapshot
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.errors import RestartNeededError
from cowbook.plain.block import Block
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.engine_state import EngineState
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import displayable
from cowbook.simulate.capture import write_capture
from cowbook.symbol import checkpointer
from cowbook.symbol.checkpointer import Checkpointer
from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_worker import SymbolWorker
from support.ended_runs import end_behind
from support.harness import Reconstruction, Run, read_parts, reconstruct, worker_settings, write_files

SETTINGS = EngineSettings(part_events=1500, part_interval=15_000_000_000, book_levels=4, book_interval=200_000_000)
ALWAYS = TriggerSettings(every_events=1, every=1, min_pause=0)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Gaps, bad lines, one longer than allowed, and an unfinished last line."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=250, seed=11, gaps=3)
    lines = path.read_bytes().splitlines(keepends=True)
    rng = random.Random(5)
    for bad in (b"nonsense\n", b"\xff\n", b"y" * 260_000 + b"\n", b"\n", b"x" * 300_000 + b"\r\n"):
        lines.insert(rng.randrange(len(lines)), bad)
    return b"".join(lines)[:-20]


def run(**changes: object) -> Run:
    """Small parts, and a limit for lines."""
    calm = TriggerSettings(10**14, 10**18, 0)
    return replace(Run(engine=SETTINGS, max_line_bytes=250_000, triggers=calm), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every run of this module stands, one after the other, so that paths in dead letters are the same."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def reference(capture: bytes, directory: Path) -> Reconstruction:
    """Without any trigger."""
    result = reconstruct(directory, {"a.jsonl": capture}, run())
    assert result.summary.state == "done", result.summary.error
    assert result.summary.checkpoints == 1
    assert result.summary.dead_letters["overlong"] == 2
    assert len(result.parts) > 20
    shutil.rmtree(directory)
    return result


@pytest.fixture(autouse=True)
def clean(directory: Path) -> None:
    """Nothing is left of the run before."""
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("triggers", [ALWAYS, TriggerSettings(777, 10**18, 0), TriggerSettings(10**14, 5_000_000, 0)])
@pytest.mark.parametrize("block_bytes", [3_000, 50_000])
def test_trigger_settings_change_no_part(
    capture: bytes,
    reference: Reconstruction,
    directory: Path,
    triggers: TriggerSettings,
    block_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other trigger settings, many checkpoints: the same parts."""
    now = 0
    process = Pipeline.process
    blocks = 0

    async def process_and_let_time_pass(pipeline: Pipeline, block: Block) -> None:
        nonlocal now, blocks
        now += 5_000_000
        blocks += 1
        await process(pipeline, block)
        if blocks % 3 == 0:  # an attempt goes on beside two blocks at most, however slow the storage is
            await pipeline.checkpointer.finish()

    monkeypatch.setattr(Pipeline, "process", process_and_let_time_pass)
    monkeypatch.setattr(checkpointer, "time", SimpleNamespace(monotonic_ns=lambda: now, perf_counter=time.perf_counter))
    result = reconstruct(directory, {"a.jsonl": capture}, run(triggers=triggers, block_bytes=block_bytes))
    assert blocks > 10
    assert result.summary.checkpoints > 3
    assert result.parts == reference.parts


class AskingWorker(SymbolWorker):
    """Asks for a checkpoint after every block and waits for it; may stop behind the first that has something new."""

    stops: bool = False
    epochs: list[int]

    async def _consume(self, pipeline: Pipeline) -> None:
        self.epochs = []
        known = pipeline.checkpointer.figures.epoch
        process = pipeline.process

        async def process_and_ask(block: Block) -> None:
            request = self.request_checkpoint()
            await process(block)
            if not block.final:
                self.epochs.append(await request)
                if self.stops and self.epochs[-1] > known:
                    self.stop()

        pipeline.process = process_and_ask  # type: ignore[method-assign]
        await super()._consume(pipeline)


def asking_run(directory: Path, files: dict[str, bytes], settings: Run, *, stops: bool = False) -> SymbolSummary:
    """Run an AskingWorker."""
    with ThreadPoolExecutor(2) as executor, asyncio.Runner() as runner:

        async def go() -> SymbolSummary:
            names = write_files(directory / "input", files)
            worker = AskingWorker(worker_settings(directory, names, settings), executor, executor)
            worker.stops = stops
            summary = await worker.run()
            assert worker.epochs == sorted(worker.epochs)
            return summary

        return runner.run(go())


def test_requested_checkpoints_change_no_part(capture: bytes, reference: Reconstruction, directory: Path) -> None:
    """A checkpoint on request after each block: the same parts."""
    summary = asking_run(directory, {"a.jsonl": capture}, run(block_bytes=20_000))
    assert summary.state == "done"
    assert summary.checkpoints > 10
    assert read_parts(directory / "data") == reference.parts


def test_stops_after_every_block_change_no_part(capture: bytes, reference: Reconstruction, directory: Path) -> None:
    """Stopped behind every block, another process each time, each recovering from the one before."""
    for _ in range(1000):
        summary = asking_run(directory, {"a.jsonl": capture}, run(block_bytes=9_000), stops=True)
        assert summary.state == "done", summary.error
        if read_parts(directory / "data") == reference.parts:
            break
    assert read_parts(directory / "data") == reference.parts
    epochs = [int(path.name) for path in (directory / "state" / "BTCUSDT" / "checkpoints").iterdir()]
    assert max(epochs) > 20


def test_runs_over_a_growing_file_give_the_parts_of_one_run(
    capture: bytes, reference: Reconstruction, directory: Path, seed: int
) -> None:
    """Running again and again over a growing file, cut anywhere, gives the files of one run over the whole."""
    rng = random.Random(seed)
    for length in [*sorted(rng.sample(range(1, len(capture)), 15)), len(capture)]:
        result = reconstruct(directory, {"a.jsonl": capture[:length]}, run(block_bytes=rng.choice([5_000, 1 << 20])))
        assert result.summary.state == "done", result.summary.error
    assert result.parts == reference.parts
    again = reconstruct(directory, {"a.jsonl": capture}, run())
    assert again.parts == reference.parts
    assert again.summary.checkpoints == again.summary.parts == 0
    assert again.summary.events == reference.summary.events


def test_new_and_compressed_files_change_no_row(capture: bytes, directory: Path) -> None:
    """New files join, consumed ones are compressed meanwhile: the rows of one run over all."""
    lines = capture.splitlines(keepends=True)
    thirds = [b"".join(lines[len(lines) * part // 3 : len(lines) * (part + 1) // 3]) for part in range(3)]
    whole = reconstruct(directory / "whole", {"1": thirds[0], "2": thirds[1], "3": thirds[2]}, run())
    reconstruct(directory / "steps", {"1": thirds[0]}, run())
    reconstruct(directory / "steps", {"1": gzip.compress(thirds[0]), "2": thirds[1]}, run())
    last = reconstruct(directory / "steps", {"1": gzip.compress(thirds[0]), "2": thirds[1], "3": thirds[2]}, run())
    assert last.summary.state == "done", last.summary.error
    for stream in ("depth", "trades", "bbo", "book", "gaps", "drift", "audits"):
        assert last.rows(stream) == whole.rows(stream)
    assert [row["content"] for row in last.rows("dead_letter")] == [row["content"] for row in whole.rows("dead_letter")]


def test_a_halted_symbol_halts_again_at_the_same_place(directory: Path, capture: bytes) -> None:
    """A symbol that halts has its rows published; a second run halts at the same place and changes nothing."""
    first = reconstruct(directory, {"a.jsonl": capture}, run(on_bad_record="halt"))
    assert first.summary.state == "failed"
    assert first.parts
    second = reconstruct(directory, {"a.jsonl": capture}, run(on_bad_record="halt"))
    assert second.summary.error == first.summary.error
    assert second.parts == first.parts
    assert second.summary.checkpoints == 0


def test_an_exhausted_pool_waits_for_the_snapshot(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A book that fills its memory while a snapshot holds blocks waits for it instead of failing."""
    waits = []
    wait, gather = Checkpointer.snapshot_released, BookSnapshot.get_checkpoint_state

    async def wait_and_count(checkpointer: Checkpointer) -> None:
        waits.append(1)
        await wait(checkpointer)

    def gather_late(snapshot: BookSnapshot) -> EngineState:
        time.sleep(0.05)  # so that the book changes all over meanwhile
        return gather(snapshot)

    monkeypatch.setattr(Checkpointer, "snapshot_released", wait_and_count)
    monkeypatch.setattr(BookSnapshot, "get_checkpoint_state", gather_late)
    prices = [f"{number * 64}.0" for number in range(1, 850)]

    def diff(number: int, size: str) -> bytes:
        levels = ",".join(f'["{price}","{size}"]' for price in prices)
        ids = f'"U":{number},"u":{number}'
        return f'{{"e":"depthUpdate","E":{10**12 + number},"s":"BTCUSDT",{ids},"b":[{levels}],"a":[]}}\n'.encode()

    content = b"".join(diff(number, f"{number}.5") for number in range(1, 60))
    settings = Run(engine=EngineSettings(max_book_bytes=1 << 20, streams=("bbo",)), block_bytes=20_000)
    calm = reconstruct(directory / "calm", {"a": content}, settings)
    assert calm.summary.state == "done", calm.summary.error
    busy = reconstruct(directory / "busy", {"a": content}, replace(settings, triggers=ALWAYS))
    assert busy.summary.state == "done", busy.summary.error
    assert busy.summary.checkpoints > 1
    assert waits
    assert busy.parts == calm.parts


def test_a_gap_after_recovery_is_reported(directory: Path, capture: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """The continuity of the first messages is reported: none missing, or a gap that the input itself has."""
    lines = [line for line in capture.splitlines(keepends=True) if b"depthUpdate" in line][:-1]
    first, rest = lines[:100], lines[100:]
    reconstruct(directory / "whole", {"1": b"".join(first)}, run())
    joined = reconstruct(directory / "whole", {"1": b"".join(first), "2": b"".join(rest)}, run())
    assert joined.summary.gaps_after_recovery == 0
    assert "after recovery join on" in capsys.readouterr().out
    reconstruct(directory / "hole", {"1": b"".join(first)}, run())
    broken = reconstruct(directory / "hole", {"1": b"".join(first), "2": b"".join(rest[3:])}, run())
    assert broken.summary.gaps_after_recovery == 1
    assert "does not join on" in capsys.readouterr().out


def test_duckdb_reads_a_checkpoint(directory: Path, capture: bytes) -> None:
    """DuckDB reads the book and all scalars of a checkpoint."""
    import duckdb

    result = reconstruct(directory, {"a.jsonl": capture}, run())
    (path,) = (directory / "state" / "BTCUSDT" / "checkpoints").glob("*/book.parquet")
    with duckdb.connect() as connection:
        sides = connection.execute("SELECT DISTINCT side FROM read_parquet(?) ORDER BY side", [str(path)]).fetchall()
        query = "SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)"
        pairs = connection.execute(query, [str(path)]).fetchall()
    assert sides == [("ask",), ("bid",)]
    state = {key.removeprefix("cowbook."): value for key, value in pairs}
    assert int(state["events_processed"]) == result.summary.events
    assert state["current_file"].endswith("a.jsonl")
    assert 0 < int(state["file_offset"]) < len(capture)
    assert int(state["last_update_id"]) > 0
    assert json.loads(state["gap_statistics"])["gaps"] == result.summary.gaps
    assert json.loads(state["drift_metrics"])["measurements"] == result.summary.drift_rows
    assert json.loads(state["order_book_state"])["synced"] == result.summary.synced
    assert float(state["processing_rate"]) > 0
    assert float(state["snapshot_duration_ms"]) > 0
    assert state["checkpoint_timestamp"].startswith("20")
    assert (state["symbol"], state["id"]) == ("BTCUSDT", "BTCUSDT")


def test_state_is_for_its_owner_alone(directory: Path, capture: bytes) -> None:
    """State is for its owner alone; parts take their modes from the umask."""
    reconstruct(directory, {"a.jsonl": capture}, run())
    for path in (directory / "state").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert (directory / "state").stat().st_mode & 0o777 == 0o700


def test_a_checkpoint_between_any_two_messages_is_resumed_exactly_there(
    capture: bytes, reference: Reconstruction, directory: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A checkpoint between any two messages, and the run ended behind it: the next one goes on exactly there."""
    allocate = EventBatch.allocate
    monkeypatch.setattr(EventBatch, "allocate", lambda *_: allocate(3, 16))
    rng = random.Random(seed)
    for _ in range(12):
        settings = run(triggers=TriggerSettings(rng.randrange(1, 3000), 10**18, 0), block_bytes=rng.randrange(2_000, 60_000))
        end_behind(directory, {"a.jsonl": capture}, settings, rng.randrange(1, 300))
    result = reconstruct(directory, {"a.jsonl": capture}, run())
    assert result.parts == reference.parts


def test_too_many_waiting_cuts_cause_a_checkpoint(
    capture: bytes, reference: Reconstruction, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts do not wait for ever: when too many do, a checkpoint is taken without any other trigger."""
    monkeypatch.setattr(checkpointer, "MOST_UNPUBLISHED", 3)
    result = reconstruct(directory, {"a.jsonl": capture}, run(block_bytes=20_000))
    assert result.summary.checkpoints > 2
    assert result.parts == reference.parts


def test_a_backlog_that_cannot_be_committed_restarts_the_worker(
    capture: bytes, reference: Reconstruction, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When they cannot be committed either, the worker gives up, and another one goes on from the last checkpoint."""

    class NoCheckpoints(DurableFiles):
        def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
            if "checkpoints" in path.parts:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().create(path, content, mode)

    monkeypatch.setattr(checkpointer, "MOST_UNPUBLISHED", 3)
    with pytest.raises(RestartNeededError, match="3 cuts wait for a checkpoint, and attempts fail"):
        reconstruct(directory, {"a.jsonl": capture}, run(block_bytes=20_000, triggers=ALWAYS), durable_files=NoCheckpoints())
    assert read_parts(directory / "data") == {}
    result = reconstruct(directory, {"a.jsonl": capture}, run())
    assert result.parts == reference.parts


@pytest.mark.parametrize("bytes_in_name", [b"caf\xe9.jsonl", b"line\nbreak.jsonl"])
def test_file_names_of_any_bytes_are_found_again(capture: bytes, directory: Path, bytes_in_name: bytes) -> None:
    """Files whose names are no text are read, named in dead letters, and found again."""
    name = os.fsdecode(bytes_in_name)
    half = capture[: len(capture) // 2]
    assert reconstruct(directory, {name: half}, run()).summary.state == "done"
    result = reconstruct(directory, {name: capture}, run())
    assert result.summary.state == "done", result.summary.error
    assert result.summary.recovered_epoch == 1
    assert result.rows("dead_letter")[0]["file"].endswith(displayable(name))
