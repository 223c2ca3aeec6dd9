"""Several nodes of a Ray cluster on this machine, each of which can be killed with all that runs on it, or suspended.

Run in a network namespace (`in_own_network`): else Ray dials the machine's outer address, and its ports are open to others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

_HEAD_PORT = 6379
_PATIENCE_SECONDS = 60.0
_OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes
_HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""As docs/machines.md has it: the default notices a node's loss after half a minute."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "COWBOOK_LOG__FORMAT": "json",
}


def why_not_here() -> str | None:
    """Why Ray cannot be tried on this machine; None if it can."""
    try:
        import ray  # noqa: F401
    except ImportError:
        return "Ray is not installed: pip install -e '.[ray]'"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        return "no network namespace of one's own here (unshare -n)"
    return None


def in_own_network(command: Sequence[str]) -> list[str]:
    """A command, run where there is no network but loopback. What it starts ends with it."""
    return [
        "unshare",
        "-n",
        "-p",
        "-f",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
        *command,
    ]


class RayNodes:
    """A head, which has no shards, and nodes that have some."""

    def __init__(self, directory: Path, environ: dict[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{_HEAD_PORT}"
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._environ = os.environ | QUIET | (environ or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, environ: dict[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        """Start a node; the first one is the head. `prefix` is a command that runs another one."""
        script = Path(sys.executable).with_name("ray")
        command = [*prefix, str(script), "start", "--block", "--node-name", name, "--node-ip-address", "127.0.0.1"]
        command += ["--num-cpus", "1", "--object-store-memory", str(_OBJECT_STORE_BYTES), "--disable-usage-stats"]
        command += ["--min-worker-port", "0", "--max-worker-port", "0"]
        if not self._processes:
            command += [
                "--head",
                "--port",
                str(_HEAD_PORT),
                "--include-dashboard",
                "false",
                "--system-config",
                json.dumps(_HEALTH),
            ]
            command += ["--temp-dir", str(self._directory)]
        else:
            command += ["--address", self.address, "--resources", '{"cowbook": 1}']
        log = (self._directory / f"{name}.log").open("ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ | (environ or {}), start_new_session=True)
        self._processes[name] = process
        self._wait_until_up(name)

    def kill(self, name: str) -> None:
        """Kill a node: the raylet, its workers, and all others, at once."""
        self._signal(name, signal.SIGKILL)
        self._processes.pop(name).wait()

    def suspend(self, name: str, *, only_raylet: bool = False) -> None:
        """Stop all processes of a node, as a machine that was cut off seems to others; or its raylet, and its work goes on."""
        self._signal(name, signal.SIGSTOP, only_raylet=only_raylet)

    def resume(self, name: str) -> None:
        """Let a suspended node go on."""
        self._signal(name, signal.SIGCONT)

    def names(self) -> list[str]:
        """Names of the nodes that run."""
        return list(self._processes)

    def processes_named(self, name: str) -> list[str]:
        """Titles of the nodes' processes that begin so."""
        found = []
        for node in self._processes.values():
            for process in psutil.Process(node.pid).children(recursive=True):
                try:
                    title = " ".join(process.cmdline())
                except psutil.NoSuchProcess:
                    continue
                found += [title] if title.startswith(name) else []
        return found

    def fenced(self) -> dict[int, int]:
        """Processes that were fenced, by FencedError in their logs, and the one that has taken each one's symbol."""
        found = {}
        for path in self._directory.glob("session_2*/logs/worker-*.err"):
            for successor in re.findall(r"was taken over by process (\d+)", path.read_text(errors="replace")):
                found[int(path.stem.rpartition("-")[2])] = int(successor)
        return found

    def pids_of(self, name: str) -> set[int]:
        """All processes of a node."""
        return {process.pid for process in psutil.Process(self._processes[name].pid).children(recursive=True)}

    def close(self) -> None:
        """Kill all nodes, the head last."""
        for name in reversed(self.names()):
            self.kill(name)

    def _signal(self, name: str, number: int, *, only_raylet: bool = False) -> None:
        root = psutil.Process(self._processes[name].pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                if not only_raylet or process.name() == "raylet":
                    process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _wait_until_up(self, name: str) -> None:
        log = self._directory / f"{name}.log"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert self._processes[name].poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, f"not up in time: {log.read_text(errors='replace')[-3000:]}"
            time.sleep(0.05)
