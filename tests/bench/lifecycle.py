"""Start, reload and stop of a service with many followed symbols, in turn with another checkout.

python tests/bench/lifecycle.py [--symbols 200] [--rounds 3] [--other CHECKOUT]

Each round has a first start, in which everything is read; a reload that exchanges a tenth of the symbols; a stop with something
new for every symbol; and a second start, from checkpoints.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cowbook.simulate.capture import write_capture
from support.daemon_process import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
_DIFFS = 150
_LAST_LINES = 20  # appended before the stop
_PATIENCE_SECONDS = 300.0


class Service:
    """A process of one checkout, in a directory of its own."""

    def __init__(self, checkout: Path, directory: Path) -> None:
        self.config = directory / "cowbook.toml"
        self.log_path = directory / "log"
        self._port = free_port()
        environ = os.environ | {"PYTHONPATH": str(checkout / "daemon"), "COWBOOK_HTTP__LISTEN": f"127.0.0.1:{self._port}"}
        with self.log_path.open("wb") as log:
            command = [sys.executable, "-m", "cowbook", "run", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)

    def is_ready(self) -> bool:
        """Whether every symbol stands at its place."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=60) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def logs(self, event: str) -> bool:
        """Whether it has logged this."""
        return f'"event": "{event}"' in self.log_path.read_text()

    def seconds_until(self, condition: Callable[[], bool]) -> float:
        """How long it takes from now until something holds."""
        started = time.monotonic()
        while not condition():
            assert self.process.poll() is None, self.log_path.read_text()[-2000:]
            assert time.monotonic() - started < _PATIENCE_SECONDS, self.log_path.read_text()[-2000:]
            time.sleep(0.02)
        return time.monotonic() - started

    def cpu_seconds(self) -> float:
        """Time that it has computed so far. It depends less on what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> float:
        """Ask for the end. Returns how long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(_PATIENCE_SECONDS) == 0, self.log_path.read_text()[-2000:]
        return time.monotonic() - started


def write_config(path: Path, captures: list[Path]) -> None:
    """A configuration that follows these files."""
    tables = [
        f'[[symbol]]\nid = "{capture.stem}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{capture}"]\nfollow = true\n'
        for capture in captures
    ]
    path.write_text("".join(tables))


def measure(checkout: Path, directory: Path, lines: list[bytes], symbols: int) -> dict[str, float]:
    """One round: seconds of each step, by its name."""
    (directory / "input").mkdir(parents=True)
    captures = [directory / "input" / f"{number:04}.jsonl" for number in range(symbols + symbols // 10)]
    for capture in captures:
        capture.write_bytes(b"".join(lines[:-_LAST_LINES]))
    write_config(directory / "cowbook.toml", captures[:symbols])
    service = Service(checkout, directory)
    try:
        seconds = {"first start": service.seconds_until(service.is_ready), "first start, CPU": service.cpu_seconds()}
        write_config(service.config, captures[symbols // 10 :])
        service.process.send_signal(signal.SIGHUP)
        seconds["reload"] = service.seconds_until(lambda: service.logs("reloaded"))
        service.seconds_until(service.is_ready)
        for capture in captures:
            with capture.open("ab") as file:
                file.write(b"".join(lines[-_LAST_LINES:]))
        time.sleep(2)
        seconds["stop"] = service.stop()
        service = Service(checkout, directory)
        seconds["second start"] = service.seconds_until(service.is_ready)
        seconds["second start, CPU"] = service.cpu_seconds()
        seconds["second stop"] = service.stop()
    finally:
        service.process.kill()
        service.process.wait()
    return seconds


def main() -> None:
    """Measure the checkouts in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", type=Path, help="another checkout of cowbook")
    arguments = parser.parse_args()
    checkouts = {"this": REPOSITORY} | ({"other": arguments.other} if arguments.other is not None else {})
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="cowbook-lifecycle-") as temporary:
        capture = Path(temporary) / "capture.jsonl"
        write_capture(capture, symbol="BTCUSDT", messages=_DIFFS, seed=1)
        lines = capture.read_bytes().splitlines(keepends=True)
        for number in range(arguments.rounds):
            for name, checkout in checkouts.items():
                directory = Path(temporary) / f"{name}-{number}"
                for step, seconds in measure(checkout, directory, lines, arguments.symbols).items():
                    found.setdefault((name, step), []).append(seconds)
                shutil.rmtree(directory)
                print(
                    f"{name}: " + ", ".join(f"{step} {all_[-1]:.1f} s" for (of, step), all_ in found.items() if of == name),
                    flush=True,
                )
    for (name, step), all_ in found.items():
        print(f"{name}: {step}: median {statistics.median(all_):.1f} s")


if __name__ == "__main__":
    main()
