"""Crash campaigns: real processes are killed, or their storage fails, at every call that reaches the disk, and at any moment.

Whatever happens, the run that goes on afterwards ends with the parts of an undisturbed one, byte for byte, and leaves no litter.
"""

from __future__ import annotations

import gzip
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cowbook.simulate.capture import write_capture
from support import zygote
from support.harness import read_parts
from support.scenario import (
    CHANGING_CALLS,
    CampaignError,
    Point,
    Scenario,
    Tally,
    check_parts,
    check_published,
    check_rest,
    clear,
    write,
)
from support.venue_samples import SAMPLE_IDS, make_sample
from support.zygote import DONE, KILLED, Fault, TimeLimitError

_ERRORS = ("EIO", "ENOSPC")
_RETAIN = 2
_MOST_FAILURES = 10
_VENUES_AT_ONCE = 4
_SAMPLED_VENUES = 2
"""With a sample of points of each."""
_SYMBOLS = ("BTCUSDT", "ETHUSDT")

SMALL = """
[service]
loop = "asyncio"
[checkpoint]
every_events = 2200
min_pause = "0s"
retain = 2
[output]
book_levels = 3
part_events = 1800
part_interval = "1min"
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*.jsonl*"]
"""

VENUE = """
[service]
loop = "asyncio"
[checkpoint]
every_events = 100
min_pause = "0s"
retain = 2
[output]
book_levels = 3
part_events = 100
part_interval = "1min"
[[symbol]]
id = "SYMBOL"
name = "{name}"
format = "{format}"
paths = ["input/*"]
price_decimals = 1
size_decimals = 2
"""

_LARGE = """
[checkpoint]
every_events = 4000
every = "50ms"
min_pause = "0s"
retain = 2
[output]
book_levels = 5
part_events = 20000
part_interval = "15min"
"""

_LARGE_SYMBOL = """
[[symbol]]
name = "{symbol}"
format = "binance"
paths = ["{symbol}/*.jsonl*"]
"""


@dataclass(slots=True)
class Result:
    """What came of a campaign."""

    name: str
    tried: int = 0
    failures: int = 0
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be tried: all points, every n-th, some of each system call, or one by its name."""

    seed: int
    every: int = 1
    sample: int | None = None
    point: str | None = None
    kills: int = 60

    def choose(self, points: list[Point]) -> list[Point]:
        """The points to try."""
        rng = random.Random(self.seed)
        if self.sample is None:
            return points[rng.randrange(self.every) :: self.every]
        by_syscall = defaultdict(list)
        for point in points:
            by_syscall[point.syscall].append(point)
        return [point for group in by_syscall.values() for point in rng.sample(group, min(self.sample, len(group)))]


def kill(root: Path, options: Options) -> Result:
    """SIGKILL at every call that changes state or output, and sometimes again while the next run recovers."""
    scenario = Scenario(root, SMALL, small_inputs(root, options.seed))
    if not scenario.provisional:
        raise CampaignError("no part of the first run is replaced in the second")
    return kill_everywhere("kill", scenario, options)


def add_result(total: Result, what: str, result: Result) -> None:
    """Add what came of one scenario, and say how much of it there was."""
    total.tried += result.tried
    total.failures += result.failures
    total.seconds += result.seconds
    total.tally.add(result.tally)
    total.notes.update(result.notes)
    total.notes[what] = result.tried


_MISSED = "not met: which checkpoints are taken, and what is in them, depends on the machine's speed"

_TRIES = 3
"""Runs until a fault must be met: threads make calls, and which one is the n-th of a place may differ."""


def venues(root: Path, options: Options) -> Result:
    """As `kill`, of the venues and containers whose turn it is: seeds that follow each other take all."""
    total = Result("venues")
    count = _VENUES_AT_ONCE if options.sample is None else _SAMPLED_VENUES
    for sample_id in in_turn(SAMPLE_IDS, options.seed, count):
        sample = make_sample(sample_id, options.seed % 1000, 320)
        config = VENUE.format(name=sample.name, format=sample.format)
        scenario = Scenario(root / sample_id, config, sample.phases, commits=1)
        add_result(total, sample_id, kill_everywhere(f"venues {sample_id}", scenario, options))
    return total


def in_turn(names: Sequence[str], seed: int, count: int) -> list[str]:
    """So many of the names, from where the seed before this one has ended."""
    return [names[(seed * count + place) % len(names)] for place in range(count)]


def kill_everywhere(name: str, scenario: Scenario, options: Options) -> Result:
    """SIGKILL at every call of a scenario that changes state or output, as far as the options choose it."""
    changing = {name.removeprefix("?") for name in CHANGING_CALLS}
    points = [point for phase in scenario.phases for point in phase.points if point.syscall in changing]
    trials = [(point, "signal=KILL") for point in options.choose(points)]
    syscalls = sorted({point.syscall for point in points})

    def attempt(point: Point, action: str, rng: random.Random, notes: Counter[str]) -> None:
        goal = point.phase
        for _ in range(_TRIES):
            scenario.begin(goal)
            if scenario.run(point.fault(action)).code == KILLED:
                break
        else:
            scenario.check_output(goal)
            notes[_MISSED] += 1
            return
        notes[point.syscall] += 1
        scenario.check_published(goal)
        if goal == 0 and rng.random() < 0.3:
            goal = 1
            scenario.put(scenario.phases[goal].files)
            notes["grown meanwhile"] += 1
        while rng.random() < 0.4:
            syscall = rng.choice(syscalls)
            if scenario.run(Fault(syscall, "signal=KILL", rng.randint(1, 30 if syscall == "write" else 12))).code == KILLED:
                notes["killed in recovery"] += 1
            scenario.check_published(goal)
        scenario.finish(goal)
        if goal == 0 and rng.random() < 0.3:
            scenario.put(scenario.phases[1].files)
            scenario.finish(1)

    return _campaign(name, scenario, trials, options, attempt)


def errors(root: Path, options: Options) -> Result:
    """One call fails with EIO or ENOSPC, then storage works again: the process goes on by itself, or says why it does not."""
    scenario = Scenario(root, SMALL, small_inputs(root, options.seed))
    changing = {name.removeprefix("?") for name in CHANGING_CALLS}
    chosen = options.choose([point for phase in scenario.phases for point in phase.points])
    names = [(point, f"error={name}") for point in chosen for name in _ERRORS if name == "EIO" or point.syscall in changing]
    if options.sample is not None:
        names = [
            random.Random(f"{options.seed} {point}").choice([name for name in names if name[0] is point]) for point in chosen
        ]

    def attempt(point: Point, action: str, rng: random.Random, notes: Counter[str]) -> None:
        goal = point.phase
        scenario.begin(goal)
        ending = scenario.run(point.fault(action))
        if "(INJECTED)" not in (scenario.directory / "trace").read_text():
            notes[_MISSED] += 1
        scenario.check_published(goal)
        if ending.code == DONE:
            scenario.check_output(goal)  # what could not be removed, the next start removes
        else:
            notes[f"{point.syscall} {action}: ended with a message"] += 1
        if goal == 0 and rng.random() < 0.3:
            goal = 1
            scenario.put(scenario.phases[goal].files)
        scenario.finish(goal)

    return _campaign("errors", scenario, names, options, attempt)


def _campaign(
    name: str,
    scenario: Scenario,
    trials: list[tuple[Point, str]],
    options: Options,
    attempt: Callable[[Point, str, random.Random, Counter[str]], None],
) -> Result:
    """Try all, count, and keep the directories of failures."""
    result = Result(name)
    started = time.monotonic()
    for number, (point, action) in enumerate(trials):
        if sys.stderr.isatty():
            print(f"\r{name} {number}/{len(trials)}", end=" ", file=sys.stderr, flush=True)
        label = f"{scenario.root.name}/{point.name(scenario.directory)}:{action}"
        if options.point is not None and options.point != label:
            continue
        result.tried += 1
        try:
            attempt(point, action, random.Random(f"{options.seed} {label}"), result.notes)
        except (CampaignError, TimeLimitError) as error:
            result.failures += 1
            kept = scenario.root / f"failure-{result.failures}"
            shutil.copytree(scenario.directory, kept)
            report(name, options, f"--point '{label}'", kept, error)
            if result.failures == _MOST_FAILURES:
                print("That is enough.")
                break
    if result.tried > 1 and 2 * result.notes[_MISSED] > result.tried:
        raise CampaignError(f"{result.notes[_MISSED]} of {result.tried} faults were not met in the campaign {name}")
    result.seconds = time.monotonic() - started
    result.tally.add(scenario.tally)
    return result


def randomly(root: Path, options: Options) -> Result:
    """SIGKILL at any moment, over and over, of two symbols under load; in every other round their input grows meanwhile."""
    result = Result("random")
    started = time.monotonic()
    rng = random.Random(options.seed)
    directory = root / "work"
    inputs = _large_inputs(root, options.seed, min(20_000, 400 * options.kills))
    directory.mkdir(parents=True, exist_ok=True)
    symbols = "".join(_LARGE_SYMBOL.format(symbol=symbol) for symbol in _SYMBOLS)
    (directory / "cowbook.toml").write_text(_LARGE + symbols)
    for name, content in inputs.items():
        write(directory / name, content)
    begun = time.monotonic()
    undisturbed = zygote.run(directory, zygote.soon_again)
    pace = 0.03 + 2 * (time.monotonic() - begun) / options.kills
    if undisturbed.code != DONE:
        raise CampaignError(f"an undisturbed run ended with {undisturbed.code}:\n{undisturbed.text}")
    parts = read_parts(directory / "data")
    result.notes["parts"] = len(parts)
    try:
        while result.tried < options.kills or result.notes["rounds"] < 2:
            result.notes["rounds"] += 1
            kills = _round(directory, inputs, parts, rng, pace, result.tally, grows=result.notes["rounds"] % 2 == 0)
            result.tried += kills
            pace *= 0.7 if 2 * kills < options.kills else 1.0
    except (CampaignError, TimeLimitError) as error:
        result.failures += 1
        kept = root / "failure-1"
        shutil.copytree(directory, kept)
        report("random", options, f"--kills {options.kills}", kept, error)
    result.seconds = time.monotonic() - started
    return result


def _round(
    directory: Path,
    inputs: dict[str, bytes],
    parts: dict[str, bytes],
    rng: random.Random,
    pace: float,
    tally: Tally,
    *,
    grows: bool,
) -> int:
    """From nothing to the end, with kills at random moments; how many."""
    clear(directory)
    shares = dict.fromkeys(inputs, 1.0)
    if grows:
        shares = {name: 0.05 if name.endswith("2.jsonl") else 1.0 for name in inputs}
    kills = idle = 0
    progress: list[int] = []
    while True:
        for name, share in shares.items():
            write(directory / name, inputs[name][: int(len(inputs[name]) * share)])
        child = zygote.Child(directory, zygote.soon_again)
        tally.starts += 1
        child.open_gate()
        if not child.ended(rng.uniform(0.0, 2.0 * pace) * 1.3**idle):
            child.kill()
            kills += 1
        ending = child.wait(60.0)
        if ending.code not in (DONE, KILLED):
            raise CampaignError(f"after {kills} kills it ended with {ending.code}:\n{ending.text}")
        if not grows:
            check_published(directory, set(parts.items()), tally)
        if ending.code == DONE and min(shares.values()) == 1.0:
            check_parts(directory, parts, tally)
            check_rest(directory)
            return kills
        before, progress = progress, _newest_epochs(directory)
        idle = idle + 1 if progress == before else 0
        shares = {name: min(1.0, share + rng.choice([0.0, 0.05, 0.15])) for name, share in shares.items()}


def _newest_epochs(directory: Path) -> list[int]:
    """Of each symbol, 0 if there is none."""
    checkpoints = [directory / "state" / symbol / "checkpoints" for symbol in _SYMBOLS]
    return [max((int(path.name) for path in folder.glob("[0-9]*")), default=0) for folder in checkpoints]


def report(campaign: str, options: Options, what: str, kept: Path, error: Exception) -> None:
    """Say what failed, where it can be looked at, and how to see it again."""
    print(f"\nFAILED: {campaign}: {error}\n  kept: {kept}")
    print(f"  again: python tests/crash/crash.py --only {campaign.partition(' ')[0]} --seed {options.seed} {what}\n", flush=True)


def simulated_lines(root: Path, symbol: str, messages: int, gaps: int, seed: int) -> list[bytes]:
    """Lines of a simulated capture."""
    path = root / "capture.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_capture(path, symbol=symbol, messages=messages, seed=seed, gaps=gaps)
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    return lines


def spoil(lines: list[bytes], places: Iterable[int]) -> None:
    """Put lines between that mean nothing, or that are of another symbol."""
    other = b'{"e":"trade","E":1,"s":"XRPUSDT","t":1,"p":"1","q":"1","T":1,"m":true}\n'
    for number, place in enumerate(sorted(places)):
        lines.insert(place, (b"nonsense\n", other, b'{"e":"depthUpdate","E":"?"}\n')[number % 3])


def small_inputs(root: Path, seed: int) -> list[dict[str, bytes]]:
    """Compressed and plain files with gaps and dead letters, the last line unfinished; then grown, and once more unfinished."""
    lines = simulated_lines(root, "BTCUSDT", 240, 4, seed % 1000)
    spoil(lines, range(7, len(lines), len(lines) // 9))
    third = len(lines) // 3
    first, second, last = (b"".join(part) for part in (lines[:third], lines[third : 2 * third], lines[2 * third :]))
    packed = gzip.compress(first, mtime=0)
    cut = second.index(b"\n", len(second) // 3) + 31
    return [
        {"1.jsonl.gz": packed, "2.jsonl": second[:cut]},
        {"1.jsonl.gz": packed, "2.jsonl": second, "3.jsonl": last[:-11]},
    ]


def _large_inputs(root: Path, seed: int, messages: int) -> dict[str, bytes]:
    """A compressed file and a longer plain one of each symbol."""
    files = {}
    for number, symbol in enumerate(_SYMBOLS):
        lines = simulated_lines(root, symbol, messages, 12, seed % 1000 + number)
        spoil(lines, range(100, len(lines), len(lines) // 25))
        third = len(lines) // 3
        files[f"{symbol}/1.jsonl.gz"] = gzip.compress(b"".join(lines[:third]), compresslevel=1, mtime=0)
        files[f"{symbol}/2.jsonl"] = b"".join(lines[third:])
    return files


CAMPAIGNS: dict[str, Callable[[Path, Options], Result]] = {
    "kill": kill,
    "venues": venues,
    "errors": errors,
    "random": randomly,
}
