"""A scenario of the crash campaigns: runs over a small capture that grows once, and what any run must leave."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support import zygote
from support.harness import read_parts
from support.zygote import DONE, FAILED, KILLED, Ending, Fault

CHANGING_CALLS = (
    *("write", "pwrite64", "openat", "fsync", "fdatasync", "ftruncate"),
    *("?link", "linkat", "?rename", "?renameat", "renameat2", "?unlink", "unlinkat", "?rmdir", "?mkdir", "mkdirat"),
)
READING_CALLS = ("read", "pread64", "getdents64", "flock", "?stat", "?lstat", "?newfstatat", "fstat")


class CampaignError(Exception):
    """What a run has left is not what it should be; or the campaign itself does not work."""


@dataclass(slots=True)
class Tally:
    """What was run and compared."""

    starts: int = 0
    parts: int = 0
    compared_bytes: int = 0
    wrong_bytes: int = 0
    """Of parts that stand in their place and should not, or not so, and of those that are missing."""

    def add(self, other: Tally) -> None:
        """Add what was run and compared elsewhere."""
        self.starts += other.starts
        self.parts += other.parts
        self.compared_bytes += other.compared_bytes
        self.wrong_bytes += other.wrong_bytes

    def compare(self, parts: dict[str, bytes]) -> None:
        """Count parts that are about to be compared."""
        self.parts += len(parts)
        self.compared_bytes += sum(map(len, parts.values()))


@dataclass(frozen=True, slots=True)
class Point:
    """A call of a phase's undisturbed run: the `occurrence`-th of this system call that names the path."""

    phase: int
    syscall: str
    path: Path
    occurrence: int

    def name(self, directory: Path) -> str:
        """For a person, and to repeat it."""
        return f"{self.phase}:{self.syscall}:{self.path.relative_to(directory)}:{self.occurrence}"

    def fault(self, action: str) -> Fault:
        """A fault at this point."""
        return Fault(self.syscall, action, self.occurrence, self.path)


@dataclass(frozen=True, slots=True)
class Phase:
    """A run that begins where another one ended, after its input has grown: its input, what it leaves, and its calls."""

    files: dict[str, bytes]
    parts: dict[str, bytes]
    saved: Path | None
    """State and output before it; None if there are none."""
    points: list[Point]


class Scenario:
    """A small capture that grows once, its last line unfinished: two runs, with several checkpoints each, in one directory."""

    def __init__(self, root: Path, config: str, inputs: Iterable[dict[str, bytes]], *, commits: int = 3) -> None:
        """`inputs`: the files of the one run, and of the other; each is to make so many checkpoints at least."""
        self._least_commits = commits
        self.tally = Tally()
        self.root = root
        self.directory = root / "work"
        self.directory.mkdir(parents=True)
        (self.directory / "cowbook.toml").write_text(config)
        self.phases: list[Phase] = []
        for files in inputs:
            self._add(files)
        self.provisional = set(self.phases[0].parts.items()) - set(self.phases[1].parts.items())

    def _add(self, files: dict[str, bytes]) -> None:
        """Make the next phase: an undisturbed run from the beginning, and a traced one from where the phase before ended."""
        number = len(self.phases)
        saved = self._save(f"before-{number}") if number else None
        self.put(files)
        clear(self.directory)
        ending = zygote.run(self.directory, zygote.repeatable)
        parts = self._parts(ending)
        self._restore(saved)
        traced = zygote.run(self.directory, zygote.repeatable, trace=(*CHANGING_CALLS, *READING_CALLS))
        if self._parts(traced) != parts:
            raise CampaignError("a run in two parts has other parts than a whole one")
        points = list(read_points(self.directory / "trace", self.directory, number))
        commits = [point for point in points if "rename" in point.syscall and "/checkpoints/.tmp" in str(point.path)]
        if len(commits) < self._least_commits:
            raise CampaignError(f"there are too few checkpoints: {len(commits)}")
        self.phases.append(Phase(files, parts, saved, points))

    def _parts(self, ending: Ending) -> dict[str, bytes]:
        """Parts of a run that was not disturbed."""
        if ending.code != DONE:
            raise CampaignError(f"an undisturbed run ended with {ending.code}:\n{ending.text}")
        check_rest(self.directory)
        return read_parts(self.directory / "data")

    def _save(self, name: str) -> Path:
        """Keep state and output."""
        saved = self.root / name
        for part in ("state", "data"):
            shutil.copytree(self.directory / part, saved / part)
        return saved

    def _restore(self, saved: Path | None) -> None:
        """Bring state and output back."""
        clear(self.directory)
        if saved is not None:
            shutil.copytree(saved, self.directory, dirs_exist_ok=True)

    def put(self, files: dict[str, bytes]) -> None:
        """Make these the input."""
        for name, content in files.items():
            write(self.directory / "input" / name, content)
        for path in (self.directory / "input").iterdir():
            if path.name not in files:
                path.unlink()

    def begin(self, number: int) -> Phase:
        """Everything as before a phase, with its input."""
        phase = self.phases[number]
        self._restore(phase.saved)
        self.put(phase.files)
        return phase

    def run(self, *faults: Fault) -> Ending:
        """Run on what is there. Raises CampaignError for an exception that nothing has foreseen."""
        ending = zygote.run(self.directory, zygote.repeatable, faults=faults)
        self.tally.starts += 1
        if ending.code not in (DONE, FAILED, KILLED) or "Traceback" in ending.text:
            raise CampaignError(f"it ended with {ending.code}:\n{ending.text}")
        if ending.code == FAILED and not re.search(r"^failed: \w+: .", ending.text, re.MULTILINE):
            raise CampaignError(f"it failed without a message:\n{ending.text}")
        return ending

    def check_published(self, number: int) -> None:
        """Whenever a run of a phase is stopped, what is published is whole and right, up to then."""
        right = {part for phase in self.phases[: number + 1] for part in phase.parts.items()}
        check_published(self.directory, right, self.tally)

    def finish(self, number: int) -> None:
        """Run undisturbed to the end of a phase and check what it leaves."""
        ending = self.run()
        if ending.code != DONE:
            raise CampaignError(f"the run after it ended with {ending.code}:\n{ending.text}")
        self.check_output(number)
        check_rest(self.directory)

    def check_output(self, number: int) -> None:
        """Raises CampaignError when a finished phase left other parts than it should, or superseded any that were right."""
        check_parts(self.directory, self.phases[number].parts, self.tally)
        superseded = self.directory / "data" / ".superseded"
        allowed = {content for _, content in self.provisional} if number else set()
        for path in superseded.rglob("*.parquet"):
            if path.read_bytes() not in allowed:
                raise CampaignError(f"{path} was superseded, and was right")


def check_published(directory: Path, right: set[tuple[str, bytes]], tally: Tally) -> None:
    """Raises CampaignError when a part stands in its place and is not one of these."""
    parts = read_parts(directory / "data")
    tally.compare(parts)
    wrong = {name: content for name, content in parts.items() if (name, content) not in right}
    if wrong:
        tally.wrong_bytes += sum(map(len, wrong.values()))
        raise CampaignError(f"published, and wrong: {sorted(wrong)}")


def check_parts(directory: Path, right: dict[str, bytes], tally: Tally) -> None:
    """Raises CampaignError when these are not the parts, byte for byte."""
    parts = read_parts(directory / "data")
    tally.compare(parts)
    if parts != right:
        missing, surplus = sorted(right.keys() - parts.keys()), sorted(parts.keys() - right.keys())
        other = sorted(name for name in right.keys() & parts.keys() if right[name] != parts[name])
        tally.wrong_bytes += sum(len(parts.get(name, right.get(name, b""))) for name in (*missing, *surplus, *other))
        raise CampaignError(f"parts: missing {missing}, not expected {surplus}, with other bytes {other}")


def check_rest(directory: Path) -> None:
    """Raises CampaignError when anything is left of what was begun, or when others may read the state."""
    problems = [f"left in staging: {path}" for path in (directory / "data").glob(".staging/*/*") if path.name != "LOCK"]
    problems += [
        f"not expected: {path}" for path in (directory / "data").glob("*/symbol=*/date=*/*") if path.suffix != ".parquet"
    ]
    for path in (directory / "state").rglob("*"):
        status = path.lstat()
        if stat.S_IMODE(status.st_mode) != (0o700 if stat.S_ISDIR(status.st_mode) else 0o600):
            problems.append(f"mode {stat.S_IMODE(status.st_mode):04o}: {path}")
    for symbol in (directory / "state").iterdir():
        problems += [
            f"not expected: {path}" for path in symbol.iterdir() if path.name not in ("LOCK", "log", "checkpoints", "index.json")
        ]
        problems += [f"not an entry: {path}" for path in (symbol / "log").iterdir() if not path.name.isdigit()]
        epochs = sorted((symbol / "checkpoints").iterdir())
        problems += [f"left behind: {path}" for path in epochs if not path.name.isdigit()]
        if not epochs:
            problems.append(f"no checkpoint in {symbol}")
        elif not (max(epochs, key=lambda path: int(path.name) if path.name.isdigit() else -1) / "published").exists():
            problems.append(f"the newest checkpoint in {symbol} is not published")
    if problems:
        raise CampaignError("\n".join(problems))


def read_points(trace: Path, directory: Path, phase: int) -> Iterator[Point]:
    """The calls in a log of strace that name something below the state or the output."""
    below = (f"{directory}/state", f"{directory}/data")
    seen: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if call is None:
            continue
        # What a call gives back is not known when it begins.
        arguments = call[2].rpartition(" = ")[0] or call[2]
        paths = [path for pair in re.findall(r'"(/[^"]*)"|\d<(/[^>]*)>', arguments) for path in pair if path.startswith(below)]
        if call[1] == "rename":  # strace looks at the first path only
            del paths[1:]
        seen.update((call[1], path) for path in set(paths))
        if paths:
            yield Point(phase, call[1], Path(paths[0]), seen[call[1], paths[0]])


def clear(directory: Path) -> None:
    """Remove state and output."""
    for name in ("state", "data"):
        shutil.rmtree(directory / name, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file in place, and only what has changed: a capture that grows stays the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o644), "r+b") as file:
        if file.read() != content:
            file.seek(0)
            file.write(content)
            file.truncate()
