"""The service for as long as one likes: files grow and rotate, signals and kills come at random, and the output is compared.

Two symbols are fed from simulated captures. One's files are new names under a glob, of which old ones are compressed and deleted;
the other's are renamed and created anew. In the first half the process is killed, stopped and started at random; in the second
half it is left running, so that memory and descriptors can be seen to stay flat. Then the same configuration is run to the end of
the input, and every part must equal that of one undisturbed run over the whole capture.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cowbook.simulate.capture import write_capture
from support.harness import read_parts

_DIFFS_PER_MINUTE = 5_000
_PATIENCE_SECONDS = 300.0  # a machine may be busy
_LEAST_LOOKS = 4  # at its size
_MOST_GROWTH = 1.10
_MOST_DESCRIPTORS_MORE = 4


class Feeder:
    """Writes a capture's lines into growing files, evenly over time."""

    def __init__(self, directory: Path, name: str, lines: list[bytes], rng: random.Random, *, renames: bool) -> None:
        self._directory = directory
        self._name = name
        self._content = b"".join(lines)
        self._ends = list(_ends(lines))
        self._rng = rng
        self._renames = renames
        self._number = 0
        self._written = 0
        self.rotations = 0
        self._file = self._path().open("ab", buffering=0)

    @property
    def is_done(self) -> bool:
        """Whether everything is written."""
        return self._written == len(self._content)

    def write_up_to(self, share: float) -> None:
        """Write so that this share of the whole is there; it may end in the middle of a line."""
        end = len(self._content) if share >= 1 else int(len(self._content) * share)
        while self._written < end:
            count = min(self._rng.randrange(1, 200_000), end - self._written)
            self._written += self._file.write(self._content[self._written : self._written + count])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def rotate(self) -> None:
        """Finish the line and begin a new file; older files may be compressed or go."""
        line_end = next(end for end in self._ends if end >= self._written)
        self._written += self._file.write(self._content[self._written : line_end])
        self._file.close()
        self._number += 1
        self.rotations += 1
        if self._renames:
            self._path().rename(self._directory / f"{self._name}-{self._number:04}.jsonl")
        self._file = self._path().open("ab", buffering=0)
        self._tidy()

    def _path(self) -> Path:
        return self._directory / (f"{self._name}-current.jsonl" if self._renames else f"{self._name}-{self._number:04}.jsonl")

    def _tidy(self) -> None:
        """Files that were left long ago are compressed, and deleted still later."""
        old = sorted(self._directory.glob(f"{self._name}-0*.jsonl"))[:-4]
        for path in old:
            compressed = path.with_suffix(".jsonl.gz")
            temporary = path.with_suffix(".tmp")
            with path.open("rb") as source, gzip.open(temporary, "wb", compresslevel=1) as target:
                shutil.copyfileobj(source, target)
            temporary.rename(compressed)
            path.unlink()
        for path in sorted(self._directory.glob(f"{self._name}-0*.gz"))[:-4]:
            path.unlink()


def _ends(lines: list[bytes]) -> Iterator[int]:
    end = 0
    for line in lines:
        end += len(line)
        yield end


class Daemon:
    """The process, started and ended as often as asked."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        self._config, self._port, self._log = config, port, log
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start it; whether it comes up shows later."""
        self.starts += 1
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "cowbook", "run", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        if number != signal.SIGKILL:
            self._wait_for_handlers()
        self._process.send_signal(number)

    def end(self, number: int) -> None:
        """End it by a signal and wait; a stop must end well."""
        assert self._process is not None
        self.send(number)
        code = self._process.wait(_PATIENCE_SECONDS)
        expected = -signal.SIGKILL if number == signal.SIGKILL else 0
        if code != expected:
            raise SystemExit(f"the daemon ended with {code} after signal {number}; its log: {self._log}")

    def kill(self) -> None:
        """End it, whatever has become of it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _wait_for_handlers(self) -> None:
        """Until the interpreter has come to cowbook's first lines, which take the signals over: before, their defaults kill."""
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1:
                return
            time.sleep(0.01)
        raise SystemExit(f"no handlers after {_PATIENCE_SECONDS:.0f} s; its log: {self._log}")

    def check(self) -> None:
        """It must be running."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the daemon ended by itself with {self._process.returncode}; its log: {self._log}")

    def get(self, path: str) -> str | None:
        """What it answers; None while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except (OSError, urllib.error.URLError):
            return None


def _value(metrics: str, name: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(name))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _configure(path: Path, symbols: dict[str, list[str]], *, port: int, follow: bool) -> Path:
    tables = "".join(
        f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = {json.dumps(paths)}\nfollow = {json.dumps(follow)}\n'
        'rotate_wait = "1s"\n'
        for name, paths in symbols.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'[http]\nlisten = "127.0.0.1:{port}"\n[checkpoint]\nevery = "20s"\nevery_events = 200_000\n'
        f"[output]\npart_events = 50_000\n{tables}"
    )
    return path


def soak(directory: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """Run it in a directory; what was seen. Raises SystemExit when something is not as it must be."""
    started = time.monotonic()
    rng = random.Random(seed)
    diffs = max(int(_DIFFS_PER_MINUTE * seconds / 60), 300)
    symbols = {"AAAUSDT": ["input/AAAUSDT-*.jsonl*"], "BBBUSDT": ["input/BBBUSDT-*.jsonl*"]}
    (directory / "input").mkdir(parents=True)
    feeders = []
    for place, name in enumerate(symbols):
        capture = directory / f"{name}.jsonl"
        write_capture(capture, symbol=name, messages=diffs, seed=seed + place)
        lines = capture.read_bytes().splitlines(keepends=True)
        feeders.append(Feeder(directory / "input", name, lines, rng, renames=place == 1))
    port = _free_port()
    daemon = Daemon(_configure(directory / "cowbook.toml", symbols, port=port, follow=True), port, directory / "log")
    try:
        seen = _disturb(daemon, feeders, directory / "input", rng, seconds)
        _wait_until_consumed(daemon, directory / "input")
        daemon.end(signal.SIGTERM)
    except BaseException:
        daemon.kill()
        raise
    finally:
        for feeder in feeders:
            feeder.close()
    run_once(directory / "cowbook.toml")
    whole = {name: [str(directory / f"{name}.jsonl")] for name in symbols}
    run_once(_configure(directory / "reference" / "cowbook.toml", whole, port=port, follow=False))
    parts, expected = read_parts(directory / "data"), read_parts(directory / "reference" / "data")
    different = sorted(name for name in parts.keys() | expected.keys() if parts.get(name) != expected.get(name))
    wrong_bytes = sum(len(parts.get(name, expected.get(name, b""))) for name in different)
    if different:
        raise SystemExit(
            f"{len(different)} of {len(expected)} parts differ, {wrong_bytes} bytes, "
            f"the first: {different[0]}; all lies in {directory}"
        )
    return seen | {
        "hours": round((time.monotonic() - started) / 3600, 2),
        "rotations": sum(feeder.rotations for feeder in feeders),
        "starts": daemon.starts,
        "identical parts": len(expected),
        "MB compared": round(sum(map(len, expected.values())) / 1e6, 1),
        "wrong bytes": wrong_bytes,
    }


def _disturb(daemon: Daemon, feeders: list[Feeder], inputs: Path, rng: random.Random, seconds: float) -> dict[str, Any]:
    """Feed, rotate and disturb for this long, with kills in the first half; before the second, nearly all is consumed."""
    started = time.monotonic()
    counts = dict.fromkeys(("kills", "stops", "checkpoints asked for", "reloads"), 0)
    sizes: list[tuple[float, float]] = []  # RSS and descriptors in the second half
    next_look = next_rotation = next_blow = 0.0
    has_caught_up = False
    while not all(feeder.is_done for feeder in feeders) or len(sizes) < _LEAST_LOOKS:
        now = time.monotonic() - started
        if now >= seconds / 2 and not has_caught_up:
            _wait_until_consumed(daemon, inputs, but=200_000)
            has_caught_up = True
            started = time.monotonic() - now  # it may have taken long: none of that belongs to the second half
        for feeder in feeders:
            feeder.write_up_to(now / seconds)
        if now >= next_rotation and not all(feeder.is_done for feeder in feeders):
            rng.choice(feeders).rotate()
            next_rotation = now + rng.uniform(1, 8)
        daemon.check()
        if now > seconds + _PATIENCE_SECONDS:
            raise SystemExit(f"the daemon has hardly answered for {_PATIENCE_SECONDS:.0f} s")
        if now >= next_blow:
            next_blow = now + rng.uniform(0.2, 6)
            blows = ("kills", "kills", "stops") if now < seconds / 2 else ()
            what = (
                rng.choice((*blows, "checkpoints asked for", "checkpoints asked for", "reloads")) if counts["kills"] else "kills"
            )
            counts[what] += 1
            if what in ("kills", "stops"):
                daemon.end(signal.SIGKILL if what == "kills" else signal.SIGTERM)
                time.sleep(rng.choice((0.0, 0.0, 1.5)))  # files go on rotating when it comes back later
                daemon.start()
            else:
                daemon.send(signal.SIGUSR1 if what == "checkpoints asked for" else signal.SIGHUP)
        if now >= next_look:
            next_look = now + 1
            metrics = daemon.get("/metrics")
            if metrics is not None and now > seconds * 0.55:
                sizes.append((_value(metrics, "process_resident_memory_bytes "), _value(metrics, "process_open_fds ")))
        time.sleep(0.02)
    quarter = max(len(sizes) // 4, 1)
    first, last = sizes[:quarter], sizes[-quarter:]
    memory = [statistics.median(size for size, _ in some) for some in (first, last)]
    descriptors = [statistics.median(count for _, count in some) for some in (first, last)]
    if memory[1] > memory[0] * _MOST_GROWTH or descriptors[1] > descriptors[0] + _MOST_DESCRIPTORS_MORE:
        raise SystemExit(f"not flat: memory {memory}, descriptors {descriptors}")
    return {
        **counts,
        "RSS MB, first and last quarter of the second half": [round(size / 1e6) for size in memory],
        "descriptors": descriptors,
    }


def _wait_until_consumed(daemon: Daemon, directory: Path, *, but: int = 0) -> None:
    """Wait until the daemon has caught up with what was written, `but` for some bytes: a line may be unfinished."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        daemon.check()
        text = daemon.get("/status")
        if text is not None:
            states = json.loads(text)["symbols"]
            failed = [state for state in states if state["state"] == "failed"]
            if failed:
                raise SystemExit(f"failed: {failed}")
            newest = [max(directory.glob(f"{state['id']}-*l"), key=lambda path: path.stat().st_mtime_ns) for state in states]
            if all(
                state["file"] is not None
                and os.path.basename(state["file"]) == path.name  # noqa: PTH119 - as text
                and state["offset"] >= path.stat().st_size - but
                for state, path in zip(states, newest, strict=True)
            ):
                return
        time.sleep(0.2)
    raise SystemExit("the daemon has not consumed everything after five minutes")


def run_once(config: Path) -> None:
    """Run to the end of the input. Raises SystemExit if that fails."""
    result = subprocess.run(
        [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"run --once ended with {result.returncode}: {result.stdout[-2000:]} {result.stderr[-2000:]}")
