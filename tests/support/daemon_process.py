"""The service as a real process, for tests: started, asked, signalled, and ended in any case."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

_PATIENCE_SECONDS = 120.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class DaemonProcess:
    """`cowbook run CONFIG`, with the endpoint on a port of its own; its log lies beside the configuration."""

    def __init__(self, config: Path, *, prefix: Sequence[str] = ()) -> None:
        """`prefix` is a command that runs another one."""
        self._config = config
        self._prefix = list(prefix)
        self.port = free_port()
        self.log_path = config.parent / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Start it, and do not wait."""
        environment = os.environ | {"COWBOOK_HTTP__LISTEN": f"127.0.0.1:{self.port}"}
        with self.log_path.open("ab") as log:
            command = [*self._prefix, sys.executable, "-m", "cowbook", "run", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end: the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(_PATIENCE_SECONDS)

    def get(self, path: str) -> str:
        """What it answers. Raises OSError while it does not."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return str(response.read().decode())

    def symbol(self, place: int = 0) -> dict[str, Any]:
        """What /status says of a symbol."""
        symbols: list[dict[str, Any]] = json.loads(self.get("/status"))["symbols"]
        return symbols[place]

    def metric(self, series: str) -> float:
        """The value of a series, named as the exposition does; NaN where there is none."""
        for line in self.get("/metrics").splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return float("nan")

    def threads(self) -> int:
        """How many it has."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/task").iterdir()))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line that asks this process."""
        return subprocess.run(
            [sys.executable, "-m", "cowbook", *arguments, f"http://127.0.0.1:{self.port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )

    def log(self) -> list[dict[str, Any]]:
        """Every line of its log so far."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; while nobody answers it does not."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, f"it ended: {self.log_path.read_text()[-3000:]}"
            try:
                if condition():
                    return
            except (OSError, urllib.error.URLError):
                pass  # not there yet
            time.sleep(0.02)
        raise AssertionError(f"not in time: {what}; log: {self.log_path.read_text()[-3000:]}")
