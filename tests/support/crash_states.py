"""Every state that a power cut may leave, between any two operations of runs with several checkpoints, and going on from it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.simulate.capture import write_capture
from support.campaigns import Options, Result
from support.harness import Reconstruction, Run, reconstruct
from support.recording_files import Disk, Operation, RecordingFiles, torn_contents
from support.scenario import Tally

RUN = Run(
    engine=EngineSettings(part_events=1500, part_interval=15_000_000_000, book_levels=3, book_interval=1_000_000_000),
    block_bytes=30_000,
    triggers=TriggerSettings(every_events=1200, every=10**18, min_pause=0),
    retain=2,
)

Write = Callable[[Path], None]
"""Materialises a crash state in a directory."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One run: its input, the operations of it and of all runs before it, and the parts that stand at its end."""

    files: dict[str, bytes]
    operations: list[Operation]
    first: int
    parts: dict[str, object]


def comparable(result: Reconstruction) -> dict[str, object]:
    """Parts by their bytes; dead letters by their rows without the file's path, which is another one in each directory."""
    parts: dict[str, object] = {name: part for name, part in result.parts.items() if not name.startswith("dead_letter/")}
    letters = [{key: value for key, value in row.items() if key != "file"} for row in result.rows("dead_letter")]
    names = [name for name in result.parts if name.startswith("dead_letter/")]
    return parts | {"dead letters": (letters, names)}


def scratch() -> Path:
    """A directory to work in, in memory if possible: thousands of small trees are made in it."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))


def record(directory: Path, seed: int) -> list[Phase]:
    """Run a capture that grows twice, its last line unfinished, and record everything."""
    path = directory / "capture.jsonl"
    directory.mkdir(parents=True)
    write_capture(path, symbol="BTCUSDT", messages=130, seed=seed, gaps=2)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(len(lines) // 2, b"nonsense\n")
    content = b"".join(lines)
    half = content.rfind(b"\n", 0, len(content) // 2) + 1
    first, second = content[:half], content[half:]
    inputs = [
        {"1.jsonl": first[: len(first) // 2 + 17]},
        {"1.jsonl": first, "2.jsonl": second[: len(second) // 2]},
        {"1.jsonl": first, "2.jsonl": second},
    ]
    files = RecordingFiles(directory)
    phases = []
    for names in inputs:
        begun = len(files.operations)
        result = reconstruct(directory, names, RUN, durable_files=files)
        assert result.summary.state == "done", result.summary.error
        phases.append(Phase(names, files.operations, begun, comparable(result)))
    undisturbed = reconstruct(directory / "undisturbed", inputs[-1], RUN)
    assert comparable(undisturbed) == phases[-1].parts
    return phases


def crash_states(phases: list[Phase], rng: random.Random, mixed: int) -> Iterator[tuple[str, Phase, Write]]:
    """What it is, the phase, and what materialises it, of every crash state; a tree that came before is left out."""
    seen: set[str] = set()
    for number, phase in enumerate(phases):
        end = phases[number + 1].first if number + 1 < len(phases) else len(phase.operations)
        for place in range(phase.first, end + 1):
            for name, write in _variants(phase.operations, place, place < end, rng, mixed):
                digest = f"{number} {_digest(write)}"
                if digest not in seen:
                    seen.add(digest)
                    yield f"phase {number}, after {place} operations, {name}", phase, write


def _variants(
    operations: list[Operation], place: int, has_next: bool, rng: random.Random, mixed: int
) -> Iterator[tuple[str, Write]]:
    before = operations[:place]
    yield "all unsynced lost", _disk(before).write
    kept = _disk(before)
    kept.keep_all()
    yield "all kept", kept.write
    for _ in range(mixed):
        seed = rng.randrange(1 << 30)
        disk = _disk(before)
        disk.keep_some(seed)
        yield f"mixed by {seed}", disk.write
    if has_next and operations[place].kind == "create":
        for number, content in enumerate(torn_contents(operations[place].content)):
            torn = _disk(before)
            torn.tear(operations[place], content)
            torn.keep_all()
            yield f"the next write torn ({number})", torn.write


def _disk(operations: list[Operation]) -> Disk:
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    return disk


def _digest(write: Write) -> str:
    """Of the tree that is written."""
    directory = scratch()
    try:
        write(directory)
        digest = hashlib.sha256()
        for path in sorted(directory.rglob("*")):
            digest.update(str(path.relative_to(directory)).encode() + b"\0")
            digest.update(path.read_bytes() if path.is_file() else b"/")
        return digest.hexdigest()
    finally:
        shutil.rmtree(directory)


def states_campaign(root: Path, options: Options) -> Result:
    """Go on from every crash state, or from every n-th."""
    started = time.monotonic()
    result = Result("states")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    states = crash_states(record(root, options.seed % 7), random.Random(options.seed), 3)
    for number, (name, phase, write) in enumerate(states):
        if number % options.every:
            continue
        result.tried += 1
        problem = recover(phase, write, result.tally)
        if problem is not None:
            result.failures += 1
            print(f"states, seed {options.seed}: {name}: {problem}", flush=True)
    result.seconds = time.monotonic() - started
    return result


def recover(phase: Phase, write: Write, tally: Tally) -> str | None:
    """Go on from a crash state to the end of the input; what is wrong with the result, if anything is."""
    directory = scratch()
    try:
        write(directory)
        result = reconstruct(directory, phase.files, RUN)
        if result.summary.state != "done":
            return f"failed: {result.summary.error}"
        tally.starts += 1
        tally.compare(result.parts)
        parts = comparable(result)
        if parts != phase.parts:
            tally.wrong_bytes += sum(map(len, result.parts.values()))
            differing = [name for name in {*parts, *phase.parts} if parts.get(name) != phase.parts.get(name)]
            return f"other parts: {sorted(differing)}"
        left = [path for path in (directory / "state").rglob(".*") if path.name.startswith((".tmp", ".del"))]
        left += [path for path in (directory / "data" / ".staging").rglob("*") if path.suffix == ".parquet"]
        return f"left behind: {left}" if left else None
    finally:
        shutil.rmtree(directory)
