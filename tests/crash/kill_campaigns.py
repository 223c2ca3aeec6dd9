"""Killing at every system call, failing every system call once, and killing at random moments under load."""

from __future__ import annotations

import gzip
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cowbook.simulate import write_capture
from cowbook.summary import SymbolSummary
from crash_states import comparable, scratch
from forked import Ended, run_forked
from harness import Reconstruction, read_parts

KILLED_AT = ("write", "openat", "fsync", "rename", "unlink", "rmdir", "mkdir", "pwrite64")
FAILED_AT = ("write", "openat", "fsync", "rename", "unlink", "mkdir")
ERRORS = ("EIO", "ENOSPC")

_CONFIG = """
[service]
loop = "{loop}"
[checkpoint]
every_events = {every_events}
min_pause = "0s"
retain = 2
[output]
part_events = {part_events}
part_interval = "15min"
book_levels = 3
[log]
level = "error"
"""
_SYMBOL = """
[[symbol]]
name = "{name}"
format = "binance"
paths = ["input/{name}-*"]
"""


@dataclass(slots=True)
class Outcome:
    """What a campaign came to."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """A capture in two steps, directories to start from, and the parts that must stand at the end."""

    root: Path
    first: dict[str, bytes]
    whole: dict[str, bytes]
    parts: dict[str, object]

    def begin(self, phase: int) -> Path:
        """A directory before the run of a phase: the first one from nothing, or the second one after the first."""
        directory = self.root / "trial"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.root / f"before-{phase}", directory)
        return directory


def write_input(directory: Path, files: dict[str, bytes]) -> None:
    """Put files where the configuration looks for them; those that are there grow."""
    (directory / "input").mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / "input" / name).write_bytes(content)


def parts_in(directory: Path) -> dict[str, object]:
    """Comparable parts."""
    output = directory / "data"
    return comparable(Reconstruction(SymbolSummary("any"), output, read_parts(output)))


def make_scene(root: Path, seed: int) -> Scene:
    """A small capture with gaps, dead letters, an unfinished last line, a compressed file; and both runs undisturbed."""
    path = root / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=200, seed=seed, gaps=2)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(len(lines) // 3, b"nonsense\n")
    pieces = [b"".join(lines[len(lines) * part // 6 : len(lines) * (part + 1) // 6]) for part in range(6)]
    names = [f"BTCUSDT-{number}" for number in range(6)]
    whole = dict(zip(names, pieces, strict=True))
    whole[names[1]] = gzip.compress(pieces[1])
    first = {name: whole[name] for name in names[:3]} | {names[3]: pieces[3][: len(pieces[3]) // 2]}
    before = root / "before-1"
    before.mkdir()
    text = _CONFIG.format(loop="asyncio", every_events=900, part_events=1100) + _SYMBOL.format(name="BTCUSDT")
    (before / "cowbook.toml").write_text(text)
    write_input(before, first)
    after = root / "before-2"
    shutil.copytree(before, after)
    _expect_done(run_forked(after / "cowbook.toml"))
    write_input(after, whole)
    undisturbed = root / "undisturbed"
    shutil.copytree(before, undisturbed)
    write_input(undisturbed, whole)
    _expect_done(run_forked(undisturbed / "cowbook.toml"))
    return Scene(root, first, whole, parts_in(undisturbed))


def _expect_done(ended: Ended) -> None:
    if ended.code:
        raise AssertionError(f"exit code {ended.code}: {ended.output}")


_CALL = re.compile(r"^(\d+) +(\w+)\(")


def count_calls(scene: Scene, phase: int, calls: Sequence[str]) -> Counter[str]:
    """How often the thread that does everything durable makes each call in an undisturbed run."""
    directory = scene.begin(phase)
    log = directory / "strace.log"
    _expect_done(run_forked(directory / "cowbook.toml", strace=["-o", str(log), "-e", "trace=" + ",".join({*calls, "fsync"})]))
    counts: dict[str, Counter[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match:
            counts.setdefault(match[1], Counter())[match[2]] += 1
    return max(counts.values(), key=lambda counter: counter["fsync"])


def points(scene: Scene, calls: Sequence[str]) -> Iterator[tuple[int, str, int]]:
    """Phase, call and number of every crash point."""
    for phase in (1, 2):
        counts = count_calls(scene, phase, calls)
        for call in calls:
            for number in range(1, counts[call] + 1):
                yield phase, call, number


def finish(scene: Scene, directory: Path) -> str | None:
    """Run undisturbed over the whole input; what is wrong with the result, if anything is."""
    write_input(directory, scene.whole)
    ended = run_forked(directory / "cowbook.toml")
    if ended.code:
        return f"exit code {ended.code}, hung: {ended.hung}: {ended.output}"
    if parts_in(directory) != scene.parts:
        return "other parts"
    left = [path for path in (directory / "state").rglob(".*") if path.name.startswith((".tmp-", ".del-"))]
    left += [path for path in (directory / "data" / ".staging").rglob("*") if path.name != "LOCK" and path.is_file()]
    modes = [path for path in (directory / "state").rglob("*") if path.stat().st_mode & 0o077]
    return f"left behind: {left}" if left else f"modes: {modes}" if modes else None


def try_kill(scene: Scene, phase: int, call: str, number: int, rng: random.Random) -> str | None:
    """Kill at the number-th call, sometimes the recovery, too; then finish, and compare."""
    directory = scene.begin(phase)
    arguments = ["-o", str(directory / "strace.log"), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    ended = run_forked(directory / "cowbook.toml", strace=arguments)
    if ended.code not in (0, -9):
        return f"exit code {ended.code}: {ended.output}"
    if rng.random() < 0.3:
        run_forked(directory / "cowbook.toml", kill_after_seconds=rng.uniform(0.005, 0.08))
    return finish(scene, directory)


def try_error(scene: Scene, phase: int, call: str, number: int, error: str) -> str | None:
    """Let the number-th call fail once: the process heals by itself; then finish, and compare."""
    directory = scene.begin(phase)
    log = directory / "strace.log"
    arguments = ["-o", str(log), "-y", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
    ended = run_forked(directory / "cowbook.toml", strace=arguments, limit_seconds=30)
    injected = [line for line in log.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
    if not all(re.search(r"/(state|data)[/>\"]", line) for line in injected):
        return None if not ended.hung else f"hung after {injected}"  # input or log: not the storage that is meant
    if ended.code == 1 and "cannot be read" in ended.output and "O_RDONLY" in injected[0]:
        return finish(scene, directory)  # a checkpoint that cannot be read may be whole: it is refused, not passed over
    if ended.code or "Traceback" in ended.output:
        return f"exit code {ended.code}, hung: {ended.hung}, after {injected}: {ended.output}"
    return finish(scene, directory)


def kill_campaign(scene: Scene, seed: int, sample: float) -> Outcome:
    """Every crash point, or a random share of them."""
    outcome = Outcome()
    rng = random.Random(seed)
    for phase, call, number in points(scene, KILLED_AT):
        if rng.random() >= sample:
            continue
        outcome.tried += 1
        problem = try_kill(scene, phase, call, number, rng)
        if problem:
            outcome.failures.append(f"phase {phase}, killed at {call} {number}: {problem}")
    return outcome


def error_campaign(scene: Scene, seed: int, sample: float) -> Outcome:
    """Every call failed once with every error, or a random share of them."""
    outcome = Outcome()
    rng = random.Random(seed)
    for phase, call, number in points(scene, FAILED_AT):
        for error in ERRORS:
            if rng.random() >= sample:
                continue
            outcome.tried += 1
            problem = try_error(scene, phase, call, number, error)
            if problem:
                outcome.failures.append(f"phase {phase}, {error} at {call} {number}: {problem}")
    return outcome


def random_campaign(seed: int, kills: int) -> Outcome:
    """Two symbols side by side under load, killed at random moments until they come to the end; again, until it is enough."""
    outcome = Outcome()
    rng = random.Random(seed)
    while outcome.tried < kills and not outcome.failures:
        root = scratch()
        outcome.tried += _kill_until_done(root, rng, outcome)
        if not outcome.failures:
            shutil.rmtree(root)
    return outcome


def _kill_until_done(root: Path, rng: random.Random, outcome: Outcome) -> int:
    """The number of kills that one capture took."""
    names = ("BTCUSDT", "ETHUSDT")
    text = _CONFIG.format(loop="uvloop", every_events=20_000, part_events=30_000)
    text += "".join(_SYMBOL.format(name=name) for name in names)
    for directory in (root / "killed", root / "undisturbed"):
        (directory / "input").mkdir(parents=True)
        (directory / "cowbook.toml").write_text(text)
    for name in names:
        for part in range(3):
            path = root / "killed" / "input" / f"{name}-{part}{'.gz' if part == 1 else ''}"
            write_capture(path, symbol=name, messages=6000, seed=rng.randrange(1000), gaps=2)
            shutil.copy(path, root / "undisturbed" / "input")
    _expect_done(run_forked(root / "undisturbed" / "cowbook.toml"))
    tried = 0
    longest = 0.2
    while True:
        ended = run_forked(root / "killed" / "cowbook.toml", kill_after_seconds=rng.uniform(0.02, longest))
        if ended.code != -9:
            break
        tried += 1
        longest *= 1.02  # so that it ends
    if ended.code:
        outcome.failures.append(f"{root}: exit code {ended.code}: {ended.output}")
    elif parts_in(root / "killed") != parts_in(root / "undisturbed"):
        outcome.failures.append(f"{root}: other parts after {tried} kills")
    return tried
