"""Two writers of one symbol, as after a partition: the old one is suspended at an operation, and goes on behind its successor.

Locks have no effect here, as on some network file systems: only the commit log is left to tell who may write.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from cowbook.checkpoint.commit_log import Entry, read_run
from cowbook.checkpoint.listing import epochs_in
from cowbook.checkpoint.load import read_manifest
from cowbook.checkpoint.manifest import FileEntry
from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.plain.durable_files import DurableFiles
from support import zygote
from support.campaigns import SMALL, Options, Result, small_inputs
from support.scenario import CampaignError, Scenario
from support.zygote import DONE, FAILED, Child, Ending, TimeLimitError

_OPERATIONS = ("create", "link", "rename", "unlink", "remove_directory", "make_directory", "sync_directory")
_SECONDS = 60.0


def _suspended(at: int, counted: Path | None = None) -> None:
    """Set a run up: locks without effect, and the process stops itself before its `at`-th operation, 0: never."""
    zygote.repeatable(fixed_names=False)
    mock.patch.object(fcntl, "flock", return_value=None).start()
    count = 0

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if counted is not None:
                counted.write_text(str(count))
            if count == at:
                os.kill(os.getpid(), signal.SIGSTOP)
            return method(*arguments, **named)

        return wrapped

    for name in _OPERATIONS:
        mock.patch.object(DurableFiles, name, wrap(getattr(DurableFiles, name))).start()


class _Writer:
    """A process that may stop itself."""

    def __init__(self, directory: Path, at: int, log: str) -> None:
        self._child = Child(directory, partial(_suspended, at), log)
        self._child.open_gate()
        self.is_suspended = self._stops()

    def _stops(self) -> bool:
        """Wait until it stops itself or ends; whether it has stopped."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            status = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()[0]
            if status in "TZX":
                return status == "T"
            time.sleep(0.002)
        raise TimeLimitError("a writer neither stops nor ends")

    def finish(self) -> Ending:
        """Let it go on, to its end."""
        os.kill(self._child.pid, signal.SIGCONT)
        self.is_suspended = False
        return self._child.wait(_SECONDS)


def partition(root: Path, options: Options) -> Result:
    """Suspend the old writer before every operation, or every n-th, and let it go on when its successor has ended, or works."""
    started = time.monotonic()
    result = Result("partition")
    scenario = Scenario(root, SMALL, small_inputs(root, options.seed))
    trials = [(phase, at) for phase in (0, 1) for at in range(1, _count_operations(scenario, phase) + 1)]
    rng = random.Random(options.seed)
    if options.sample is not None:
        trials = rng.sample(trials, min(8 * options.sample, len(trials)))
    for phase, at in trials[rng.randrange(options.every) :: options.every]:
        draw = random.Random(f"{options.seed} {phase} {at}")
        behind = draw.choice([0, draw.randint(1, 60), draw.randint(1, 400)])
        grows = phase == 0 and behind == 0 and draw.random() < 0.7
        result.tried += 1
        try:
            result.notes[_attempt(scenario, phase, at, behind, grows)] += 1
        except (CampaignError, TimeLimitError) as error:
            result.failures += 1
            kept = root / f"failure-{result.failures}"
            shutil.copytree(scenario.directory, kept)
            print(f"\nFAILED: partition: phase {phase}, suspended before {at}, successor before {behind}, grows {grows}: {error}")
            print(f"  kept: {kept}\n", flush=True)
    result.seconds = time.monotonic() - started
    result.tally.add(scenario.tally)
    return result


def _count_operations(scenario: Scenario, phase: int) -> int:
    scenario.begin(phase)
    counted = scenario.root / "operations"
    if zygote.run(scenario.directory, partial(_suspended, 0, counted)).code != DONE:
        raise CampaignError("an undisturbed run failed")
    return int(counted.read_text())


def _attempt(scenario: Scenario, phase: int, at: int, behind: int, grows: bool) -> str:
    """One trial; how the old writer has ended."""
    scenario.begin(phase)
    old = _Writer(scenario.directory, at, "log")
    if not old.is_suspended:
        raise CampaignError("the old writer was not suspended")
    goal = phase
    has_claimed = _last_number(scenario.directory) > _last_number(scenario.phases[phase].saved)
    if grows and has_claimed:
        goal = 1
        scenario.put(scenario.phases[goal].files)
    new = _Writer(scenario.directory, behind, "log-of-successor")
    scenario.tally.starts += 2
    was_suspended = new.is_suspended
    old_ending = old.finish() if was_suspended else None  # beside each other
    new_ending = new.finish()
    old_ending = old_ending or old.finish()
    if has_claimed:
        _check_endings(old_ending, new_ending)
    else:  # whoever was the second to claim is the successor
        first, second = (new_ending, old_ending) if old_ending.code == DONE else (old_ending, new_ending)
        _check_endings(first, second)
    scenario.check_output(goal)
    _check_log(scenario.directory / "state" / "BTCUSDT")
    scenario.finish(goal)
    return f"{'ended' if old_ending.code == DONE else 'fenced'} {'beside' if was_suspended else 'behind'} its successor"


def _last_number(directory: Path | None) -> int:
    """Number of the symbol's last entry, 0 without any."""
    return max((int(path.name) for path in directory.glob("state/*/log/[0-9]*")), default=0) if directory is not None else 0


def _check_endings(old: Ending, new: Ending) -> None:
    """The successor is not disturbed; the old writer is fenced, or had nothing left to commit."""
    if new.code != DONE or "restarts" in new.text:
        raise CampaignError(f"the successor ended with {new.code}, the old writer with {old.code}:\n{new.text}\n{old.text}")
    if old.code not in (DONE, FAILED) or (old.code == FAILED and "was taken over by" not in old.text):
        raise CampaignError(f"the old writer ended with {old.code}:\n{old.text}")


def _check_log(root: Path) -> None:
    """Entries are dense and whole, the last one is the successor's, each commit is of a new epoch, and every checkpoint is whole.

    State is not decoded, since pyarrow starts threads: then nothing could be forked any more.
    """
    entries = read_run(DirectoryStorage(root / "log", DurableFiles()))
    if any(entry is None for entry in entries.values()):
        raise CampaignError(f"damaged entries: {entries}")
    whole: list[Entry] = [entry for _, entry in sorted(entries.items()) if entry is not None]
    owner = 0
    epochs = [entry.epoch for entry in whole if entry.is_commit]
    for entry in whole:
        if entry.owner < owner or (not entry.is_commit and entry.owner != entry.number):
            raise CampaignError(f"an entry of claim {entry.owner} behind one of {owner}: {whole}")
        owner = entry.owner
    if epochs != sorted(set(epochs)):
        raise CampaignError(f"epochs in the log: {epochs}")
    commits = {entry.epoch: entry for entry in whole if entry.is_commit}
    for epoch in epochs_in(root / "checkpoints"):
        directory = root / "checkpoints" / str(epoch)
        manifest = read_manifest(directory, root.name, os.getuid(), committed=commits[epoch].files)
        if any(FileEntry.of(entry.name, (directory / entry.name).read_bytes()) != entry for entry in manifest.files):
            raise CampaignError(f"{directory} is damaged")
