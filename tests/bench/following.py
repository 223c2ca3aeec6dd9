"""What following costs: the CPU of a service whose files grow slowly, of idle ones, and of a long unfinished line.

python tests/bench/following.py [--other CHECKOUT] [--seconds 20] [--rounds 1]

With another checkout each case is measured in turn with its code, so that figures that drift with the machine can be compared.
Another checkout may not know `follow_delay`: then it runs without.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
_START_MS = 1_723_161_600_000
_SETTLE_SECONDS = 45.0
"""Idle files are looked at less and less often."""


@dataclass(frozen=True, slots=True)
class Case:
    """Files that are followed, and how they grow."""

    name: str
    files: int
    lines_per_second: float = 0.0
    delay: str = "20ms"
    unfinished_bytes: int = 0
    """Of a line without its end in front of what is appended, which has no line feeds either."""
    bar: float | None = None
    """The largest share of a core that is allowed."""


CASES = (
    Case("64 files, 10 lines/s each, follow_delay 20 ms", 64, 10.0, bar=0.25),
    Case("64 files, 10 lines/s each, follow_delay 1 s", 64, 10.0, delay="1s", bar=0.08),
    Case("200 idle files", 200, bar=0.02),
    Case("1 file, 250 appends/s behind 1 KB", 1, 250.0, unfinished_bytes=1_000),
    Case("1 file, 250 appends/s behind a line of 12 MB", 1, 250.0, unfinished_bytes=12_000_000, bar=0.35),
)


def diff(number: int) -> bytes:
    """A line of a capture."""
    record = {"e": "depthUpdate", "E": _START_MS + 100 * number, "s": "X", "U": number, "u": number, "b": [["150", "1"]], "a": []}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


class Appender:
    """Appends to all files, evenly spread over time, from a thread of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._files = [(folder / f"{number}.jsonl").open("ab", buffering=0) for number in range(case.files)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        snapshot = {"lastUpdateId": 0, "E": _START_MS, "bids": [["100", "1"]], "asks": [["200", "1"]]}
        for file in self._files:
            file.write(json.dumps(snapshot, separators=(",", ":")).encode() + b"\n")

    def begin(self) -> None:
        """Write the unfinished lines, and go on from there."""
        for file in self._files if self._case.unfinished_bytes else ():
            file.write(b"x" * self._case.unfinished_bytes)
        if self._case.lines_per_second:
            self._thread.start()

    def end(self) -> None:
        """Stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for file in self._files:
            file.close()

    def _run(self) -> None:
        pause = 1 / (self._case.lines_per_second * self._case.files)
        due, number = time.monotonic(), 0
        while not self._stop.is_set():
            line = b"x" * 100 if self._case.unfinished_bytes else diff(1 + number // self._case.files)
            self._files[number % self._case.files].write(line)
            number += 1
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))


def cpu_seconds(process: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(checkout: Path, case: Case, seconds: float) -> float:
    """Share of a core that the service takes."""
    knows_delay = "follow_delay" in (checkout / "daemon/cowbook/config.py").read_text()
    delay = f'follow_delay = "{case.delay}"\n' if knows_delay else ""
    with tempfile.TemporaryDirectory(prefix="cowbook-bench-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        tables = "".join(
            f'[[symbol]]\nid = "S{number}"\nname = "X"\nformat = "binance"\npaths = ["in/{number}.jsonl"]\nfollow = true\n{delay}'
            for number in range(case.files)
        )
        (folder / "c.toml").write_text(f'[http]\nlisten = ""\n{tables}')
        appender = Appender(case, folder / "in")
        log = (folder / "log").open("ab")
        environment = os.environ | {"PYTHONPATH": str(checkout / "daemon")}
        command = [sys.executable, "-m", "cowbook", "run", str(folder / "c.toml")]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_until_ready(process, folder / "log", case.files)
            appender.begin()
            time.sleep(4.0 if case.lines_per_second else _SETTLE_SECONDS)
            before, started = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            return (cpu_seconds(process.pid) - before) / (time.monotonic() - started)
        finally:
            appender.end()
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait()
            log.close()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, files: int) -> None:
    """Wait until the service has begun to wait for more, as its CPU time tells. Raises RuntimeError if it ended."""
    deadline = time.monotonic() + 120
    last = -1.0
    time.sleep(2.0 + files / 20)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        now = cpu_seconds(process.pid)
        if now - last < 0.1:
            return
        last = now
        time.sleep(1.0)


def main() -> int:
    """Print a table; 1 if a bar is not reached by this checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of one case, from 0")
    arguments = parser.parse_args()
    checkouts = [_REPOSITORY, *([arguments.other.resolve()] if arguments.other else [])]
    missed = 0
    print(f"{'share of a core':50} {'bar':>6} {'this':>16} {'other' if arguments.other else '':>16}")
    for number, case in enumerate(CASES):
        if arguments.only not in (None, number):
            continue
        shares: list[list[float]] = [[] for _ in checkouts]
        for _ in range(arguments.rounds):
            for place, checkout in enumerate(checkouts):
                shares[place].append(measure(checkout, case, arguments.seconds))
        shown = [" ".join(f"{share:.1%}" for share in of_checkout) for of_checkout in shares]
        bar = f"{case.bar:.0%}" if case.bar is not None else ""
        print(f"{case.name:50} {bar:>6} {shown[0]:>16} {shown[1] if len(shown) > 1 else '':>16}", flush=True)
        missed += case.bar is not None and min(shares[0]) > case.bar
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
