"""Nodes of a Ray cluster are killed at random under a driver: parts must be those of an undisturbed run on one machine."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cowbook.simulate.capture import write_capture
from support.daemon_process import free_port
from support.harness import read_parts
from support.ray_nodes import RayNodes

SYMBOLS = ("BTCUSDT", "ETHUSDT")
NODES = ("node-a", "node-b", "node-c")
_MESSAGES = 12_000
_PATIENCE_SECONDS = 120.0
_FEED_SECONDS = 0.02
_HEAD_SECONDS = 180.0  # Ray gives up after a minute
_PACKAGE = Path(__file__).resolve().parents[2] / "daemon" / "cowbook"
_SETTLING_SECONDS = 10.0  # a node starts six processes
_CONFIG = """
[service]
state_dir = "{directory}/{name}/state"
output_dir = "{directory}/{name}/data"
[http]
listen = "127.0.0.1:{port}"
[checkpoint]
every_events = 20000
[output]
part_events = 20000
"""
_SYMBOL = """
[[symbol]]
name = "{symbol}"
format = "binance"
paths = ["{directory}/input/{symbol}.jsonl"]
follow = {follow}
"""


@dataclass
class Seen:
    """What came of a campaign."""

    kills: int = 0
    takeover_seconds: list[float] = field(default_factory=list)
    """From the kill until the shard was ready on another node, as somebody outside sees it."""
    parts: int = 0
    unequal: list[str] = field(default_factory=list)


class Feeder(threading.Thread):
    """Appends to captures what recorders would, line by line, until it has appended everything or is told to hurry."""

    def __init__(self, directory: Path, seed: int, symbols: Sequence[str] = SYMBOLS, busy: Collection[str] | None = None) -> None:
        """With `busy` only these symbols' lines come, one by one, until it is told to hurry."""
        super().__init__(daemon=True)
        self._lines, self._pause_seconds = (10, _FEED_SECONDS) if busy is None else (1, _FEED_SECONDS / 10)
        (directory / "input").mkdir(parents=True)
        self.hurry = threading.Event()
        self.symbols = symbols
        self._pieces: list[tuple[Path, list[bytes], bool]] = []
        for place, symbol in enumerate(symbols):
            whole = directory / f"{symbol}.whole"
            write_capture(whole, symbol=symbol, messages=_MESSAGES, seed=seed + place)
            path = directory / "input" / f"{symbol}.jsonl"
            lines = whole.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(lines[:200]))
            self._pieces.append((path, lines[200:], busy is None or symbol in busy))

    def run(self) -> None:
        """Append some lines at a time."""
        while any(lines for _, lines, _ in self._pieces):
            for path, lines, is_busy in self._pieces:
                count = len(lines) if self.hurry.is_set() else self._lines * is_busy
                with path.open("ab") as file:
                    file.write(b"".join(lines[:count]))
                del lines[:count]
            time.sleep(self._pause_seconds)


class RunningDriver:
    """`cowbook run CONFIG --engine ray`, asked over its endpoint."""

    def __init__(self, config: Path, port: int, address: str, *options: str, program: Sequence[str] = ("-m", "cowbook")) -> None:
        self._port = port
        self.log = config.parent / "driver.log"
        command = [sys.executable, *program, "run", str(config), "--engine", "ray", "--address", address, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def status(self) -> dict[str, Any]:
        """What /status says. Raises OSError while nobody answers."""
        status: dict[str, Any] = json.loads(self.get("/status"))
        return status

    def get(self, path: str) -> str:
        """What it answers. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as response:
            return str(response.read().decode())

    def node_of(self, shard: str) -> str | None:
        """The node on which a shard is ready; None while there is none."""
        for row in self.status()["shards"]:
            if row["shard"] == shard and row["state"] == "running":
                return str(row["node"])
        return None

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; while nobody answers it does not."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the driver has ended: {self.log.read_text()[-4000:]}"
            try:
                if condition():
                    return
            except (OSError, urllib.error.URLError):
                pass  # not there yet
            time.sleep(0.05)
        raise AssertionError(f"not in time: {what}; log: {self.log.read_text()[-4000:]}")

    def stop(self) -> int:
        """As Ctrl-C. Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(_PATIENCE_SECONDS)


def configure(directory: Path, name: str, port: int = 0, *, follow: bool = True, symbols: Sequence[str] = SYMBOLS) -> Path:
    """A configuration with state and output of its own, which all nodes share."""
    path = directory / f"{name}-{'follow' if follow else 'once'}.toml"
    tables = [_SYMBOL.format(directory=directory, symbol=symbol, follow=str(follow).lower()) for symbol in symbols]
    path.write_text(_CONFIG.format(directory=directory, name=name, port=port) + "".join(tables))
    return path


def kill_nodes(directory: Path, kills: int, seed: int) -> Seen:
    """Kill nodes, one after the other, each at a random moment and with all that runs on it. Returns what came of it."""
    chosen = random.Random(seed)
    seen = Seen()
    feeder = Feeder(directory, seed)
    nodes = RayNodes(directory / "ray")
    try:
        for name in ("head", *NODES):
            nodes.start(name)
        port = free_port()
        driver = RunningDriver(configure(directory, "cluster", port), port, nodes.address, "--shards", "2")
        driver.wait_for(lambda: driver.status()["ready"], "the shards are ready")
        feeder.start()
        for _ in range(kills):
            time.sleep(chosen.uniform(0.5, 3.0))
            kill_one(nodes, driver, chosen, seen)
        read_all(directory, feeder, driver)
        _check_discovery(driver)
        code = driver.stop()
        assert code == 0, driver.log.read_text()[-4000:]
    finally:
        nodes.close()
    finish_and_compare(directory, seen)
    return seen


def kill_one(nodes: RayNodes, driver: RunningDriver, chosen: random.Random, seen: Seen, prefix: Sequence[str] = ()) -> None:
    """Kill the node of a random shard, wait until another one has it, and start the node anew. Notes and prints the seconds."""
    for _ in range(2):  # the driver looks at nodes once a second, and makes spare processes then
        driver.wait_for(lambda: _is_settled(driver, nodes), "all nodes, shards and spare processes are ready")
        time.sleep(1.5)
    row = chosen.choice(driver.status()["shards"])
    killed = time.monotonic()
    nodes.kill(row["node"])

    driver.wait_for(lambda: _is_elsewhere(driver, row), f"shard {row['shard']} of {row['node']} is taken over")
    seen.takeover_seconds.append(time.monotonic() - killed)
    seen.kills += 1
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in _row_of(driver, row["shard"])["takeover_stages"].items())
    print(f"kill {seen.kills}: taken over after {seen.takeover_seconds[-1]:.1f} s ({stages})", flush=True)
    driver.wait_for(lambda: driver.status()["ready"], "the node's other shards are taken over, too")
    nodes.start(row["node"], prefix=prefix)


def _is_settled(driver: RunningDriver, nodes: RayNodes) -> bool:
    """Whether a node may die: all are there, and everything that is to take its shards."""
    status, count = driver.status(), len(nodes.names()) - 1  # the head has no shards
    spares = status["spares"]
    return bool(status["ready"] and spares["ready"] == spares["wanted"] and f"cowbook_nodes {count}.0" in driver.get("/metrics"))


def cut_off(directory: Path, seed: int) -> Seen:
    """A node is cut off, its shard goes on elsewhere, and it comes back: with locks that hold between nodes, and without any.

    Without locks only the commit log is there. It is cut off whole at first; then only its raylet is, and the shard's process
    writes on, beside its successor.
    """
    seen = Seen()
    for case, environ in (("locks", {}), ("none", {"PYTHONPATH": os.pathsep.join([str(_no_locks(directory)), _python_path()])})):
        place = directory / case
        feeder, nodes = Feeder(place, seed), RayNodes(place / "ray", environ)
        try:
            for name in ("head", *NODES):
                nodes.start(name)
            port = free_port()
            driver = RunningDriver(configure(place, "cluster", port), port, nodes.address, "--shards", "2")
            driver.wait_for(lambda driver=driver: driver.status()["ready"] and _events(driver), "the shards have begun")  # type: ignore[misc]
            feeder.start()
            time.sleep(2.0)
            if case == "locks":
                _suspend_with_locks(nodes, driver)
            else:
                for only_raylet in (True, False):
                    seconds = _suspend_without_locks(nodes, driver, only_raylet=only_raylet)
                    print(f"{'raylet' if only_raylet else 'node'} cut off: taken over after {seconds:.1f} s", flush=True)
            read_all(place, feeder, driver)
            assert [symbol["restarts"] for symbol in driver.status()["symbols"]] == [0, 0]  # no successor was disturbed
            assert (case == "locks") == (not nodes.fenced())
            assert driver.stop() == 0, driver.log.read_text()[-4000:]
        finally:
            nodes.close()
        finish_and_compare(place, seen)
    return seen


def _suspend_with_locks(nodes: RayNodes, driver: RunningDriver) -> None:
    """The successor waits for the lock that the suspended process holds, and goes on when that one is gone."""
    row = driver.status()["shards"][0]
    nodes.suspend(row["node"])

    def is_waiting() -> bool:
        return any("lock" in (symbol["waiting_for"] or "") for symbol in driver.status()["symbols"])

    driver.wait_for(is_waiting, "the successor waits for the lock")
    nodes.resume(row["node"])
    driver.wait_for(lambda: not is_waiting() and driver.status()["ready"], "the successor has the lock")
    _bring_back(nodes, row["node"])


def _suspend_without_locks(nodes: RayNodes, driver: RunningDriver, *, only_raylet: bool) -> float:
    """The successor claims the symbols at once. Returns the seconds until it was ready."""
    row = driver.status()["shards"][0]
    started = time.monotonic()
    cut_off, fenced_before = nodes.pids_of(row["node"]), {*nodes.fenced()}
    nodes.suspend(row["node"], only_raylet=only_raylet)
    driver.wait_for(lambda: _is_elsewhere(driver, row), f"shard {row['shard']} of {row['node']} is taken over")
    seconds = time.monotonic() - started
    before = _events(driver)
    driver.wait_for(lambda: _events(driver) > before, "the successor goes on")
    if only_raylet:  # both write now
        driver.wait_for(lambda: {*nodes.fenced()} - fenced_before, "the old process is fenced")
    nodes.resume(row["node"])
    time.sleep(5.0)
    fenced = {pid: successor for pid, successor in nodes.fenced().items() if pid not in fenced_before}
    assert {*fenced} <= cut_off, (fenced, cut_off)
    assert not {*fenced.values()} & cut_off, (fenced, cut_off)  # who was not cut off has the symbols for good
    _bring_back(nodes, row["node"])
    return seconds


def _bring_back(nodes: RayNodes, name: str) -> None:
    """Start a node anew that Ray takes for dead."""
    nodes.kill(name)
    nodes.start(name)
    time.sleep(_SETTLING_SECONDS)


def _no_locks(directory: Path) -> Path:
    """A place of which Python starts with `flock` without effect, as on some network file systems."""
    place = directory / "no-locks"
    place.mkdir(parents=True)
    (place / "sitecustomize.py").write_text("import fcntl\nfcntl.flock = lambda *_: None\n")
    return place


def _python_path() -> str:
    return os.environ.get("PYTHONPATH", "")


def detach_and_adopt(directory: Path, seed: int) -> Seen:
    """A driver ends and its shards go on; the next one is killed, and they go on; the last one ends them well."""
    seen, feeder, nodes = Seen(), Feeder(directory, seed), RayNodes(directory / "ray")
    try:
        for name in ("head", *NODES[:2]):
            nodes.start(name)
        port = free_port()
        config = configure(directory, "cluster", port)
        feeder.start()
        detached = RunningDriver(config, port, nodes.address, "--shards", "2", "--detach")
        assert detached.process.wait(_PATIENCE_SECONDS) == 0, detached.log.read_text()[-4000:]
        killed = RunningDriver(config, port, nodes.address)
        killed.wait_for(lambda: killed.status()["ready"], "the shards are adopted")
        before = _events(killed)
        killed.process.kill()
        killed.process.wait()
        last = RunningDriver(config, port, nodes.address)
        last.wait_for(lambda: last.status()["ready"] and _events(last) > before, "they went on")
        assert '"adopted": 2' in last.log.read_text()
        assert sum(row["takeovers"] for row in last.status()["shards"]) == 0
        last.process.send_signal(signal.SIGUSR1)
        last.wait_for(lambda: all(symbol["epoch"] for symbol in last.status()["symbols"]), "checkpoints are taken")
        read_all(directory, feeder, last)
        assert last.stop() == 0, last.log.read_text()[-4000:]
        _expect_no_shards(nodes)
    finally:
        nodes.close()
    finish_and_compare(directory, seen)
    return seen


def kill_the_driver_and_the_head(directory: Path, seed: int) -> Seen:
    """Shards that are not detached end with their driver, and all shards with the head. What goes on afterwards loses nothing."""
    seen, feeder, nodes = Seen(), Feeder(directory, seed), RayNodes(directory / "ray")
    try:
        for name in ("head", *NODES[:2]):
            nodes.start(name)
        port = free_port()
        config = configure(directory, "cluster", port)
        feeder.start()
        first = RunningDriver(config, port, nodes.address, "--shards", "2")
        first.wait_for(lambda: first.status()["ready"] and _events(first), "the shards have begun")
        first.process.kill()
        first.process.wait()
        _expect_no_shards(nodes)
        second = RunningDriver(config, port, nodes.address, "--shards", "2")
        second.wait_for(lambda: second.status()["ready"], "the shards go on")
        read_all(directory, feeder, second)
        nodes.kill("head")
        code = second.process.wait(_HEAD_SECONDS)
        assert code != 0
        print(f"the driver ended with {code} after the head", flush=True)
    finally:
        nodes.close()
    finish_and_compare(directory, seen)
    return seen


def check_nodes(directory: Path, seed: int) -> Seen:
    """`cowbook check` passes where all nodes fit, and names the node that has another release or storage of its own."""
    Feeder(directory, seed)
    nodes = RayNodes(directory / "ray")
    config = configure(directory, "cluster")
    command = [sys.executable, "-m", "cowbook", "check", str(config), "--engine", "ray", "--address", nodes.address]

    def check() -> tuple[int, str]:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
        return done.returncode, done.stdout + done.stderr

    try:
        nodes.start("head")
        nodes.start("node-a")
        code, said = check()
        assert code == 0, said
        other = directory / "other"
        shutil.copytree(_PACKAGE, other / "cowbook", ignore=shutil.ignore_patterns("__pycache__"))
        init = other / "cowbook" / "__init__.py"
        init.write_text(re.sub(r'__version__ = "[^"]*"', '__version__ = "0.0.1"', init.read_text()))
        nodes.start("old-release", {"PYTHONPATH": str(other)})
        code, said = check()
        assert code == 78, said
        assert "node old-release has cowbook 0.0.1" in said, said
        nodes.kill("old-release")
        mount = f'mount -t tmpfs none {directory}/cluster && exec "$@"'
        nodes.start("own-storage", prefix=["unshare", "--mount", "sh", "-c", mount, "sh"])
        code, said = check()
        assert code == 78, said
        assert f"node own-storage does not see what this one writes to {directory}/cluster/state" in said, said
    finally:
        nodes.close()
    return Seen()


def _events(driver: RunningDriver) -> int:
    return sum(symbol["events"] or 0 for symbol in driver.status()["symbols"])


def read_all(directory: Path, feeder: Feeder, driver: RunningDriver) -> None:
    """Have everything appended, and wait until it is read."""
    feeder.hurry.set()
    feeder.join()
    sizes = {symbol: (directory / "input" / f"{symbol}.jsonl").stat().st_size for symbol in feeder.symbols}

    def is_all_read() -> bool:
        return all(symbol["offset"] == sizes[symbol["id"]] for symbol in driver.status()["symbols"])

    driver.wait_for(is_all_read, "all is read")


def _expect_no_shards(nodes: RayNodes) -> None:
    """No worker of any shard is left, soon."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while workers := nodes.processes_named("ray::RayShard"):
        assert time.monotonic() < deadline, workers
        time.sleep(0.1)


def _is_elsewhere(driver: RunningDriver, row: dict[str, Any]) -> bool:
    """Whether the shard of a status' row runs on another node by now."""
    now = _row_of(driver, row["shard"])
    return bool(now["takeovers"] > row["takeovers"] and now["state"] == "running" and now["node"] != row["node"])


def _row_of(driver: RunningDriver, shard: str) -> dict[str, Any]:
    """What the status says of a shard."""
    rows: list[dict[str, Any]] = driver.status()["shards"]
    return next(row for row in rows if row["shard"] == shard)


def _check_discovery(driver: RunningDriver) -> None:
    """Each shard's endpoint is found by the driver's, and shows the metrics of the shard's symbols."""
    targets = json.loads(driver.get("/sd"))
    assert sorted(group["labels"]["shard"] for group in targets) == ["0/2", "1/2"], targets
    shown = ""
    for group in targets:
        (target,) = group["targets"]
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=30) as response:
            shown += response.read().decode()
    assert all(f'cowbook_events_total{{kind="depth",symbol="{symbol}"}}' in shown for symbol in SYMBOLS), shown[:3000]


def finish_and_compare(directory: Path, seen: Seen, symbols: Sequence[str] = SYMBOLS) -> None:
    """Take the cluster's state to the end on this machine alone, and everything from the beginning: the parts must be equal."""
    for name in ("cluster", "alone"):
        config = configure(directory, name, follow=False, symbols=symbols)
        command = [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"COWBOOK_LOG__LEVEL": "warning"})
    expected, found = read_parts(directory / "alone" / "data"), read_parts(directory / "cluster" / "data")
    assert expected
    seen.parts += len(expected)
    seen.unequal += sorted(str(name) for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
