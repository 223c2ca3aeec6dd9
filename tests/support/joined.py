"""Several sources of one symbol: copies of a capture that each lack something, and a worker on them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cowbook.capture.paths import expand_paths
from cowbook.capture.rotation import FollowSettings
from cowbook.symbol.settings import SourceSettings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_worker import SymbolWorker
from support.harness import Reconstruction, Run, read_parts, worker_settings, write_files

_Record = TypeVar("_Record")


def lossy_copies(records: Sequence[_Record], copies: int, rng: random.Random, longest: int = 40) -> list[list[_Record]]:
    """Copies that each lack bursts of records, about 30 % in all; each record is in all copies but one at most."""
    found: list[list[_Record]] = [[] for _ in range(copies)]
    victim, left = 0, 0
    for record in records:
        if not left:
            victim, left = rng.randrange(copies + (copies < 3)), rng.randint(1, longest)
        left -= 1
        for number, copy in enumerate(found):
            if number != victim:
                copy.append(record)
    return found


def with_clock(records: Sequence[bytes], shift_ns: int, jitter_ns: int, rng: random.Random) -> list[bytes]:
    """Records with receive times of another clock, shifted and jittered."""
    found = []
    for record in records:
        time, _, message = record.partition(b" ")
        found.append(b"%d %s" % (int(time) + shift_ns + rng.randint(-jitter_ns, jitter_ns), message))
    return found


def sources_of(directory: Path, names: Sequence[str], run: Run, follow: bool, formats: Mapping[str, str] | None = None) -> Any:
    """Settings of a worker whose sources have the files of `directory/input/NAME`."""
    settings = worker_settings(directory, (), run)
    found = []
    for name in names:
        folder = directory / "input" / name
        followed = FollowSettings(("*",), folder) if follow else None
        paths = () if follow else expand_paths(["*"], folder).paths
        found.append(SourceSettings(name, (formats or {}).get(name, run.format), paths, settings.decoder, followed))
    return replace(settings, sources=tuple(found), follow=found[0].follow, source_wait_seconds=60.0)


def join(
    directory: Path, sources: Mapping[str, Mapping[str, bytes]], run: Run | None = None, formats: Mapping[str, str] | None = None
) -> Reconstruction:
    """As `harness.reconstruct`, for files of several sources, by the sources' names."""
    run = run or Run()
    for name, files in sources.items():
        write_files(directory / "input" / name, files)
    settings = sources_of(directory, list(sources), run, follow=False, formats=formats)
    with ThreadPoolExecutor(2) as executor, asyncio.Runner(loop_factory=run.loop_factory) as runner:

        async def go() -> SymbolSummary:
            return await SymbolWorker(settings, executor, executor).run()

        summary = runner.run(go())
    return Reconstruction(summary, directory / "data", read_parts(directory / "data"))


def follow_appends(
    directory: Path, appends: Sequence[tuple[str, bytes]], run: Run, *, wait_seconds: float = 60.0, least_events: int = 0
) -> SymbolSummary:
    """Follow sources whose files are appended to meanwhile, and stop a moment later. An append is a source's name, and bytes.

    It is waited for `least_events` for a minute: a busy machine may read nothing for a second.
    """
    names = sorted({name for name, _ in appends})
    for name in names:
        (directory / "input" / name).mkdir(parents=True, exist_ok=True)
    settings = replace(sources_of(directory, names, run, follow=True), source_wait_seconds=wait_seconds)
    with ThreadPoolExecutor(4) as executor, asyncio.Runner(loop_factory=run.loop_factory) as runner:

        async def go() -> SymbolSummary:
            worker = SymbolWorker(settings, executor, executor)
            running = asyncio.ensure_future(worker.run())
            for name, content in appends:
                with (directory / "input" / name / "x.jsonl").open("ab") as file:
                    file.write(content)
                await asyncio.sleep(0.02)
            deadline = time.monotonic() + 60.0
            while worker.pipeline is None or worker.pipeline.engine.event_count < least_events:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            before = -1
            while worker.pipeline is None or worker.pipeline.input_bytes > before:  # until a second brings nothing new
                before = worker.pipeline.input_bytes if worker.pipeline is not None else -1
                await asyncio.sleep(1.0)
            worker.stop()
            return await running

        return runner.run(go())


def cut_off(sources: Mapping[str, Mapping[str, bytes]], seed: int) -> dict[str, dict[str, bytes]]:
    """The files of the sources as they were while the recorders still wrote them."""
    rng = random.Random(seed)
    return {
        source: {name: content[: rng.randrange(len(content) // 8, len(content))] for name, content in files.items()}
        for source, files in sources.items()
    }


def rows_without_receipt(result: Reconstruction) -> dict[str, list[dict[str, Any]]]:
    """The rows of all streams but for when they were received."""
    streams = sorted({name.partition("/")[0] for name in result.parts})
    return {
        stream: [{key: value for key, value in row.items() if key != "ts_recv"} for row in result.rows(stream)]
        for stream in streams
    }
