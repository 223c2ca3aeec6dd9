"""Real processes to be killed: forked from one that has everything imported and compiled, with strace attached if asked.

The forking process must have no other threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cowbook.service
from cowbook.checkpoint import triggers
from cowbook.config import load_config

STRACE = "strace"
_UNFORESEEN = 3


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; what it said; whether it had to be killed for taking too long."""

    code: int
    output: str
    hung: bool = False


def run_forked(
    config: Path, *, strace: Sequence[str] = (), kill_after_seconds: float | None = None, limit_seconds: float = 60.0
) -> Ended:
    """Run a configuration to the end of its input in a process of its own.

    `strace` are arguments for it; `kill_after_seconds` is when to kill the process.
    """
    assert threading.active_count() == 1
    output = config.with_name("output.txt")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _child(config, output, read_end)
    os.close(read_end)
    tracer = _attach(child, strace) if strace else None
    os.write(write_end, b"x")
    os.close(write_end)
    deadline = time.monotonic() + (limit_seconds if kill_after_seconds is None else kill_after_seconds)
    status = _wait(child, deadline)
    hung = status is None and kill_after_seconds is None
    if status is None:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait(10)
    return Ended(os.waitstatus_to_exitcode(status), output.read_text(errors="replace"), hung)


def _child(config: Path, output: Path, read_end: int) -> None:
    code = _UNFORESEEN
    try:
        os.setpgid(0, 0)
        descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.read(read_end, 1)
        # One thread for everything durable, so that its calls come in one order; and no long waits.
        cowbook.service._WRITERS = 1
        cowbook.service._FIRST_BACKOFF_SECONDS = 0.01
        triggers._FIRST_BACKOFF = 10_000_000
        summaries = cowbook.service.run_once(load_config(config, {}))
        for summary in summaries:
            print(summary.id, summary.state, summary.error, flush=True)
        code = 0 if all(summary.state == "done" for summary in summaries) else 1
    except BaseException:  # noqa: BLE001 - the parent reads it
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _attach(child: int, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen([STRACE, "-f", "-qq", *arguments, "-p", str(child)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            raise RuntimeError("strace could not be attached")
        time.sleep(0.002)
    return tracer


def _wait(child: int, deadline: float) -> int | None:
    """The status of a process that ends before the deadline."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    return None


def can_trace() -> str | None:
    """Why strace cannot be used here; None if it can."""
    try:
        result = subprocess.run([STRACE, "-f", "-o", "/dev/null", "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return "strace is not installed"
    return None if result.returncode == 0 else "processes cannot be traced here"
