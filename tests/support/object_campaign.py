"""The crash campaign in object storage: processes are killed at every request, and requests fail in every way that they can.

State, output and input lie in a server that runs in a process of its own, since what forks must have no threads. The server
counts the requests of a run, and does to one of them what a trial says.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from cowbook.objects import bucket
from support import zygote
from support.campaigns import SMALL, Options, Result, report, small_inputs
from support.fake_s3 import FakeS3
from support.scenario import CampaignError, Tally
from support.zygote import DONE, FAILED, KILLED, Child, Ending, TimeLimitError

KILLS = ("kill before", "kill behind", "kill, and it comes late")
"""A process is killed when the server has the request: and it is not done, it is done, or it is done while a successor works."""
FAULTS = ("throttle", "lose", "drop", "hang", "delay")

_SECONDS = 60.0
_LATE_SECONDS = (0.0, 1.0)
_HANG_SECONDS, _TIMEOUT_SECONDS, _DELAY_SECONDS = 2.0, 1.0, 0.2
_RETAIN = 2
_MOST_FAILURES = 10
_PROBE = "/.cowbook-probe-"

_CONFIG = SMALL.replace(
    "[service]", '[service]\nstate_dir = "s3://bucket/a/state"\noutput_dir = "s3://bucket/a/data"\nscratch_dir = "scratch"'
).replace("input/*.jsonl*", "s3://bucket/input/*.jsonl*")


class Server:
    """A FakeS3 in a process of its own."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()
        self.environment: dict[str, str] = self._pipe.recv()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have it do something, and answer."""
        self._pipe.send((what, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        """End it."""
        self._pipe.send(None)
        self._process.join()


def _serve(pipe: Connection) -> None:
    """What the server's process does until it is told to end."""
    with FakeS3() as server:
        server.hang_seconds = _HANG_SECONDS
        pipe.send(server.environment)
        while (asked := pipe.recv()) is not None:
            what, arguments = asked
            pipe.send(_do(server, what, *arguments))


def _do(server: FakeS3, what: str, *arguments: Any) -> Any:
    if what == "objects":
        return dict(server.objects)
    if what == "requests":
        return list(server.requests)
    if what == "put":
        while server.in_flight:  # what hangs since a trial before must not be done to the objects of the next one
            time.sleep(0.01)
        (objects,) = arguments
        server.objects.clear()
        server.objects.update(objects)
        return None
    assert what == "plan"
    server.requests.clear()
    server.fault = _Plan(*arguments)
    return None


class _Plan:
    """Does something to the `number`-th request from now on; to none, where that is 0."""

    def __init__(self, number: int, action: str, pid: int, late_seconds: float) -> None:
        self._left = number
        self._action, self._pid, self._late_seconds = action, pid, late_seconds

    def __call__(self, _method: str, _key: str) -> str:
        """As a Fault."""
        self._left -= 1
        if self._left:
            return ""
        if self._action == "delay":
            time.sleep(_DELAY_SECONDS)
            return ""
        if self._action in FAULTS:
            return self._action
        os.kill(self._pid, signal.SIGKILL)
        if self._action == "kill before":
            return "drop"
        if self._action != "kill behind":
            time.sleep(self._late_seconds)
        return "lose"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done to which request of a phase's undisturbed run."""

    phase: int
    number: int
    method: str
    key: str
    action: str

    @property
    def name(self) -> str:
        """For a person, and to repeat it."""
        return f"{self.phase}:{self.number}:{self.method}:{self.key}:{self.action}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A run that begins where another one ended, after its input has grown."""

    before: dict[str, bytes]
    """All objects, its input among them."""
    parts: dict[str, bytes]
    """That it leaves."""
    requests: list[tuple[str, str]]
    """That it makes, undisturbed."""


class ObjectScenario:
    """A small capture that grows once; what runs leave in the server."""

    def __init__(self, root: Path, server: Server, inputs: list[dict[str, bytes]]) -> None:
        self.tally = Tally()
        self.root, self.directory = root, root / "work"
        self.directory.mkdir(parents=True)
        (self.directory / "cowbook.toml").write_text(_CONFIG)
        self._server = server
        self.phases: list[Phase] = []
        for files in inputs:
            self._add({f"input/{name}": content for name, content in files.items()})

    def _add(self, files: dict[str, bytes]) -> None:
        """Make the next phase: an undisturbed run from the beginning, and one from where the phase before ended."""
        before = {key: content for key, content in self._server.ask("objects").items() if not key.startswith("input/")} | files
        self._server.ask("put", files)
        self._lose_machine()
        self.finish()
        parts = self.parts()
        self._server.ask("put", before)
        self._lose_machine()
        self.finish()
        if self.parts() != parts:
            raise CampaignError("a run in two parts has other parts than a whole one")
        requests = self._server.ask("requests")
        if sum(method == "PUT" and "/log/" in key for method, key in requests) < 3:
            raise CampaignError("there are too few checkpoints")
        self.phases.append(Phase(before, parts, requests))

    def _lose_machine(self) -> None:
        shutil.rmtree(self.directory / "scratch", ignore_errors=True)

    def begin(self, number: int) -> None:
        """Everything as before a phase, on a new machine."""
        self._server.ask("put", self.phases[number].before)
        self._lose_machine()

    def grow(self) -> None:
        """The input of the next phase."""
        objects = self._server.ask("objects")
        self._server.ask("put", objects | {key: c for key, c in self.phases[1].before.items() if key.startswith("input/")})

    def run(self, number: int = 0, action: str = "", late_seconds: float = 0.0, *, on_new_machine: bool = False) -> Ending:
        """Run with something done to one request. Raises CampaignError for an exception that nothing has foreseen."""
        if on_new_machine:
            self._lose_machine()
        child = Child(self.directory, lambda: self._set_up(action))
        self._server.ask("plan", number, action, child.pid, late_seconds)
        child.open_gate()
        ending = child.wait(_SECONDS)
        self.tally.starts += 1
        if ending.code not in (DONE, FAILED, KILLED) or "Traceback" in ending.text:
            raise CampaignError(f"it ended with {ending.code}:\n{ending.text}")
        return ending

    def _set_up(self, action: str) -> None:
        os.environ.update(self._server.environment)
        zygote.repeatable(fixed_names=False)
        if action == "hang":
            mock.patch.object(bucket, "_TIMEOUT", timedelta(seconds=_TIMEOUT_SECONDS)).start()

    def parts(self) -> dict[str, bytes]:
        """What is published."""
        objects = self._server.ask("objects")
        return {key.removeprefix("a/data/"): c for key, c in objects.items() if key.startswith("a/data/") and _PROBE not in key}

    def check_published(self) -> None:
        """Raises CampaignError when a part stands that neither phase leaves, or one with other bytes."""
        parts = self.parts()
        self.tally.compare(parts)
        right = {part for phase in self.phases for part in phase.parts.items()}
        wrong = {name: content for name, content in parts.items() if (name, content) not in right}
        if wrong:
            self.tally.wrong_bytes += sum(map(len, wrong.values()))
            raise CampaignError(f"published, and wrong: {sorted(wrong)}")

    def finish(self, goal: int | None = None, *, on_new_machine: bool = False, is_last: bool = True) -> None:
        """Run undisturbed to the end of a phase, and check what it leaves; unless `is_last`, the parts alone."""
        ending = self.run(on_new_machine=on_new_machine)
        if ending.code != DONE:
            raise CampaignError(f"the run after it ended with {ending.code}:\n{ending.text}")
        if goal is not None:
            parts, right = self.parts(), self.phases[goal].parts
            self.tally.compare(parts)
            if parts != right:
                raise CampaignError(f"parts: missing {sorted(right.keys() - parts.keys())}, or not as expected")
        if is_last:
            self.check_rest()

    def check_rest(self) -> None:
        """Raises CampaignError unless the log is dense, and its commits have their packs; and nothing else is there.

        The object that a process makes to see whether the storage is conditional may be left by one that was killed then.
        """
        objects = self._server.ask("objects")
        state = {key.removeprefix("a/state/BTCUSDT/") for key in objects if key.startswith("a/state/") and _PROBE not in key}
        numbers = sorted(int(key.removeprefix("log/")) for key in state if key.startswith("log/"))
        if numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise CampaignError(f"the log has holes: {numbers}")
        entries = [json.loads(objects[f"a/state/BTCUSDT/log/{number}"])["entry"] for number in numbers]
        committed = [entry["directory"].removeprefix(".tmp-") for entry in entries if entry.get("directory")]
        packs = {key for key in state if key.startswith("checkpoints/")}
        known = {f"checkpoints/{name}.zip" for name in committed}
        surplus = state - packs - {f"log/{number}" for number in numbers} | packs - known
        # One that was given up with its machine has an entry, and no pack.
        is_short = len(committed) > _RETAIN and len(packs) < _RETAIN
        if surplus or is_short or f"checkpoints/{committed[-1]}.zip" not in packs:
            raise CampaignError(f"left behind: {sorted(surplus)}; committed: {committed}; there: {sorted(packs)}")


def objects(root: Path, options: Options) -> Result:
    """SIGKILL at every request, before it is done, behind that, and done late; and every request fails in every way."""
    result = Result("objects")
    started = time.monotonic()
    server = Server()
    try:
        scenario = ObjectScenario(root, server, small_inputs(root, options.seed))
        trials = [
            Trial(number, place, method, key, action)
            for number, phase in enumerate(scenario.phases)
            for place, (method, key) in enumerate(phase.requests, start=1)
            for action in (*KILLS, *FAULTS)
        ]
        for trial in _chosen(trials, options):
            result.tried += 1
            try:
                _attempt(scenario, trial, random.Random(f"{options.seed} {trial.name}"), result.notes)
            except (CampaignError, TimeLimitError) as error:
                result.failures += 1
                kept = scenario.root / f"failure-{result.failures}"
                shutil.copytree(scenario.directory, kept)
                report("objects", options, f"--point '{trial.name}'", kept, error)
                if result.failures == _MOST_FAILURES:
                    break
        result.tally.add(scenario.tally)
    finally:
        server.close()
    result.seconds = time.monotonic() - started
    return result


def _chosen(trials: list[Trial], options: Options) -> list[Trial]:
    """What to try: all, every n-th, some of each action, or one by its name, whose key may have other random words."""
    rng = random.Random(options.seed)
    if options.point is not None:
        begin, end = options.point.split(":")[:3], options.point.rpartition(":")[2]
        return [trial for trial in trials if trial.name.split(":")[:3] == begin and trial.action == end]
    if options.sample is None:
        return trials[rng.randrange(options.every) :: options.every]
    by_action: dict[str, list[Trial]] = {}
    for trial in trials:
        by_action.setdefault(trial.action, []).append(trial)
    return [trial for group in by_action.values() for trial in rng.sample(group, min(options.sample, len(group)))]


def _attempt(scenario: ObjectScenario, trial: Trial, rng: random.Random, notes: Counter[str]) -> None:
    goal = trial.phase
    scenario.begin(goal)
    ending = scenario.run(trial.number, trial.action, late := rng.uniform(*_LATE_SECONDS))
    is_killed = trial.action in KILLS
    if is_killed != (ending.code == KILLED):
        if not is_killed or ending.code != DONE:
            raise CampaignError(f"it ended with {ending.code}:\n{ending.text}")
        notes["not met: the run made fewer requests"] += 1
    notes[trial.action] += 1
    scenario.check_published()
    if goal == 0 and rng.random() < 0.3:
        goal = 1
        scenario.grow()
        notes["grown meanwhile"] += 1
    requests = len(scenario.phases[goal].requests)
    while is_killed and rng.random() < 0.4:
        again = rng.choice(KILLS[:2])
        if scenario.run(rng.randint(1, requests), again, on_new_machine=rng.random() < 0.5).code == KILLED:
            notes["killed in recovery"] += 1
        scenario.check_published()
    if trial.action == KILLS[2]:
        # What comes while the successor works, or after it, is removed by the next start.
        scenario.finish(goal, on_new_machine=rng.random() < 0.5, is_last=False)
        time.sleep(late)
    scenario.finish(goal, on_new_machine=rng.random() < 0.5)
