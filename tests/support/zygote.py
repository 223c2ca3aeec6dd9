"""Runs of cowbook in processes that are forked from one which has imported and compiled everything: a crash costs no imports.

A forked process waits at a gate until strace is attached to it, so that a fault can hit any of its system calls. The environment
that crash.py sets keeps numpy and pyarrow from starting threads: a fork would not take them along.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from cowbook.checkpoint import commit_log, triggers
from cowbook.config import load_config
from cowbook.errors import CowbookError
from cowbook.service import service
from cowbook.symbol import symbol_thread
from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.settings import WorkerSettings, worker_settings
from cowbook.symbol.warm import warm

DONE = 0
FAILED = 1
BROKEN = 2  # an exception that nothing has foreseen
KILLED = -signal.SIGKILL

_SUSPICIOUS_SECONDS = 45
"""After that long a run writes down where its threads are."""


class TimeLimitError(Exception):
    """A run did not end in time; it was killed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the `when`-th call, in one thread, of a system call: of all of them, or of those that name `path`."""

    syscall: str
    action: str  # as strace calls it: signal=KILL, error=EIO, …
    when: int
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: its exit code, or minus the signal, and all that it has printed."""

    code: int
    text: str


def prepare() -> None:
    """Load all kernels; raises RuntimeError when a fork would lose threads."""
    warm()
    # What is there now need not be looked at by the collections of each child.
    gc.collect()
    gc.freeze()
    _check_single()


def _check_single() -> None:
    """Raises RuntimeError when this process has threads."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("this process has threads, and must not be forked: set what crash.py sets before anything is imported")


class Child:
    """A forked run of the configuration `directory/cowbook.toml`, waiting at its gate."""

    def __init__(self, directory: Path, setup: Callable[[], None], log: str = "log") -> None:
        _check_single()
        self._log = directory / log
        gate, self._opener = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._opener)
            _run(directory / "cowbook.toml", self._log, gate, setup)
        os.close(gate)
        self._handle = os.pidfd_open(self.pid)

    def open_gate(self) -> None:
        """Let it run."""
        os.write(self._opener, b"!")

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within some time."""
        return bool(select.select([self._handle], [], [], seconds)[0])

    def wait(self, seconds: float) -> Ending:
        """Wait for its end. Raises TimeLimitError when it has to be killed after some time."""
        in_time = self.ended(seconds)
        if not in_time:
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        os.close(self._opener)
        text = self._log.read_text(errors="replace")
        if not in_time:
            raise TimeLimitError(f"it did not end within {seconds} seconds; its output:\n{text}")
        return Ending(os.waitstatus_to_exitcode(status), text)


def run(
    directory: Path,
    setup: Callable[[], None],
    *,
    faults: tuple[Fault, ...] = (),
    trace: tuple[str, ...] = (),
    seconds: float = 60.0,
) -> Ending:
    """Run to the end, or to a fault; with `trace` the calls of these names are logged in `directory/trace`."""
    child = Child(directory, setup)
    tracer = None
    if faults or trace:
        try:
            tracer = _attach(child.pid, directory / "trace", faults, trace)
        except BaseException:
            child.kill()
            child.wait(seconds)
            raise
    child.open_gate()
    try:
        return child.wait(seconds)
    finally:
        if tracer is not None:
            tracer.communicate()


def _attach(pid: int, log: Path, faults: tuple[Fault, ...], trace: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start strace on a process that waits, and wait until it is there."""
    names = trace or tuple({fault.syscall for fault in faults})
    options = ["-f", "-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(names)}"]
    for fault in faults:
        options += ["-e", f"inject={fault.syscall}:{fault.action}:when={fault.when}"]
        if fault.path is not None:
            options += ["-P", str(fault.path)]
    tracer = subprocess.Popen(["strace", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = []
    for line in tracer.stderr:
        said.append(line)
        if "attached" in line:
            return tracer
    tracer.wait()
    raise RuntimeError(f"strace could not attach: {''.join(said)}")


def strace_problem() -> str | None:
    """Why faults cannot be injected here; None if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=1", "-p", str(sleeper.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
    finally:
        sleeper.kill()
        sleeper.wait()
    said += tracer.communicate()[1]
    return None if "attached" in said else f"strace cannot attach to a process: {said.strip()}"


def _run(config: Path, log: Path, gate: int, setup: Callable[[], None]) -> NoReturn:
    """What the child does, to its end."""
    code = BROKEN
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(config.parent)
        faulthandler.dump_traceback_later(_SUSPICIOUS_SECONDS)
        setup()
        if not os.read(gate, 1):
            os._exit(BROKEN)  # the driver is gone
        summaries = service.run_once(load_config(config, {}))
        for summary in summaries:
            if summary.restarts:
                print(f"restarts: {summary.id}: {summary.restarts}")
            if summary.state != "done":
                print(f"failed: {summary.id}: {summary.error}")
        code = FAILED if any(summary.state != "done" for summary in summaries) else DONE
    except CowbookError as error:  # as the command line ends
        print(f"failed: all: {error}")
        code = FAILED
    except BaseException:  # noqa: BLE001 - the end of the process
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def soon_again() -> None:
    """Try again quickly after failures."""
    mock.patch.object(symbol_thread, "_FIRST_BACKOFF_SECONDS", 0.01).start()
    mock.patch.object(triggers, "_FIRST_BACKOFF_NS", 10_000_000).start()


def _new_word(directory: Path) -> str:
    """The least number that no earlier run has as its word, by the names of files and the entries of the log that it has left."""
    try:
        found = list(directory.rglob("*"))
        used = {path.name.rpartition("-")[2] for path in found}
        for path in found:
            if path.parent.name == "log" and path.is_file():
                used |= set(re.findall(r'"uuid": ?"(\w+)"', path.read_text(errors="replace")))
        return next(str(number) for number in itertools.count() if str(number) not in used)
    except OSError:  # a fault has met this
        return "x"


def repeatable(*, fixed_names: bool = True) -> None:
    """Small blocks, a wait for the checkpoint after each, one writing thread: every run makes the same calls in order.

    With `fixed_names` it makes them with the same names of files, too; then two must not run at once.
    """
    soon_again()
    process = Pipeline.process

    def with_small_blocks(*arguments: Any, **options: Any) -> WorkerSettings:
        return replace(worker_settings(*arguments, **options), block_bytes=25_000)

    async def process_and_wait(self: Pipeline, block: Any) -> None:
        await process(self, block)
        self.checkpointer._launch()
        running = self.checkpointer._running
        if running is not None:
            await asyncio.wait([running])

    mock.patch.object(service, "_WRITERS", 1).start()
    if fixed_names:
        mock.patch.object(commit_log, "new_uuid", partial(_new_word, Path.cwd() / "state")).start()
    mock.patch.object(service, "worker_settings", with_small_blocks).start()
    mock.patch.object(Pipeline, "process", process_and_wait).start()
