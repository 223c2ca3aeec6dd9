"""Signals to real processes, at any moment: nothing dies of them, nothing is lost, nothing is written twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.harness import read_parts

COMMAND = (sys.executable, "-m", "cowbook")

# Symbols that go on when their input has ended, until they are stopped, as if it were followed.
PATIENT = (
    sys.executable,
    "-c",
    """
import asyncio, os, sys
from cowbook.service import early_signals
early_signals.hold_signals(130 if "--once" in sys.argv else 0)
from cowbook import entry
from cowbook.symbol import symbol_worker
consume = symbol_worker.SymbolWorker._consume
async def wait(worker, pipeline):
    await consume(worker, pipeline)
    while not worker._stopping:
        pipeline.checkpoint_if_due()
        await worker._wait_for({asyncio.get_running_loop().create_future()}, 0.01)
    if "HANG" in os.environ:
        await asyncio.sleep(3600)
symbol_worker.SymbolWorker._consume = wait
raise SystemExit(entry.main())
""",
)

CONFIG = """
[service]
state_dir = "{name}/state"
output_dir = "{name}/data"
loop = "{loop}"
[http]
listen = ""
[checkpoint]
every_events = 20000
min_pause = "0s"
[output]
part_events = 10000
"""

SYMBOL = '[[symbol]]\nid = "{id}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{paths}"]\n'


def write_config(directory: Path, name: str, *symbols: str, loop: str = "uvloop", more: str = "") -> Path:
    """A configuration; its state and output lie in a directory of this name."""
    path = directory / f"{name}.toml"
    path.write_text(CONFIG.format(name=name, loop=loop) + more + "".join(symbols or [SYMBOL.format(id="A", paths="input/*")]))
    return path


class Daemon:
    """A running process, and what it has logged so far."""

    def __init__(self, config: Path, *options: str, command: tuple[str, ...] = COMMAND, **environ: str) -> None:
        self.log_path = config.with_suffix(".log")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "run", str(config), *options],
                stderr=log,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environ,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Whole lines of the log that are JSON."""
        lines = self.log_path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self) -> list[str]:
        """What the lines are about."""
        return [line["event"] for line in self.lines()]

    def holds_signals(self) -> bool:
        """Whether the process has a handler for SIGHUP, the last one to be set."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
        return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1 and int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)

    def until(self, condition: Callable[[], object], seconds: float = 120.0) -> None:
        """Wait until something holds, while the process runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, (self.process.returncode, self.log_path.read_text())
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.002)

    def ends(self) -> int:
        """Its exit code."""
        code = self.process.wait(120)
        text = self.log_path.read_text()
        assert "Traceback" not in text, text
        return code


@contextlib.contextmanager
def running(config: Path, *options: str, command: tuple[str, ...] = COMMAND, **environ: str) -> Iterator[Daemon]:
    """A process that is gone afterwards."""
    daemon = Daemon(config, *options, command=command, **environ)
    try:
        yield daemon
    finally:
        daemon.process.kill()
        daemon.process.wait()


@pytest.fixture(scope="module")
def input_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture in 30 files, and what an undisturbed run makes of it in `plain`."""
    directory = tmp_path_factory.mktemp("signals")
    (directory / "input").mkdir()
    write_capture(directory / "capture", symbol="BTCUSDT", messages=20_000, seed=3)
    lines = (directory / "capture").read_bytes().splitlines(keepends=True)
    for number in range(30):
        part = lines[len(lines) * number // 30 : len(lines) * (number + 1) // 30]
        (directory / "input" / f"{number:02}").write_bytes(b"".join(part))
    (summary,) = run_once(load_config(write_config(directory, "plain"), {}))
    assert summary.state == "done"
    return directory


def assert_as_undisturbed(directory: Path, config: Path) -> None:
    """Go on to the end, and compare."""
    (summary,) = run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    parts = read_parts(directory / config.stem / "data")
    assert len(parts) > 20
    assert parts == read_parts(directory / "plain" / "data")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_storm_of_signals_harms_nothing(input_directory: Path, loop: str) -> None:
    """SIGUSR1 and SIGHUP arrive as fast as possible, from the first import to the end of the process."""
    config = write_config(input_directory, f"storm-{loop}", loop=loop)
    with running(config, command=PATIENT) as daemon:
        process = daemon.process
        daemon.until(daemon.holds_signals)
        is_asked = False
        while process.poll() is None:
            for number in (signal.SIGUSR1, signal.SIGHUP):
                process.send_signal(number)
            time.sleep(0.0005)
            if not is_asked and {"ready", "reloaded", "checkpoint asked for"} <= set(daemon.events()):
                process.send_signal(signal.SIGTERM)
                is_asked = True
        assert daemon.ends() == 0
        assert {"ready", "reloaded", "checkpoint asked for", "stopped"} <= set(daemon.events())
    assert_as_undisturbed(input_directory, config)


def test_a_stop_at_any_moment_is_exit_code_0(input_directory: Path, seed: int) -> None:
    """After SIGTERM or SIGINT at any moment the exit code is 0, and the next start goes on."""
    rng = random.Random(seed)
    config = write_config(input_directory, "stopped")
    for number in range(8):
        with running(config, command=PATIENT) as daemon:
            daemon.until(daemon.holds_signals)
            if number % 2:
                daemon.until(lambda: "kernels" in daemon.log_path.read_text() or is_there(daemon, "/A/LOCK"))
                time.sleep(rng.random() * 0.15)
            else:
                time.sleep(rng.random() * 0.8)
            daemon.process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT]))
            assert daemon.ends() == 0
    assert_as_undisturbed(input_directory, config)


def is_there(daemon: Daemon, name: str) -> bool:
    """Whether the process has a file open whose path ends like this."""
    for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).endswith(name):
                return True
    return False


def test_two_early_stops_end_well_or_at_once(input_directory: Path, seed: int) -> None:
    """Two signals one after the other while it starts: it ends well or at once, and nothing else."""
    rng = random.Random(seed)
    config = write_config(input_directory, "twice")
    for _ in range(4):
        with running(config) as daemon:
            daemon.until(daemon.holds_signals)
            time.sleep(rng.random() * 0.5)
            daemon.process.send_signal(signal.SIGTERM)
            time.sleep(rng.random() * 0.005)
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.ends() in (0, 143, -15)
    assert_as_undisturbed(input_directory, config)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_stop_ends_at_once(input_directory: Path, number: int) -> None:
    """The second signal ends a stop that hangs. The next start goes on from the last checkpoint."""
    config = write_config(input_directory, f"hangs{number}")
    with running(config, command=PATIENT, HANG="1") as daemon:
        daemon.until(lambda: "ready" in daemon.events())
        daemon.process.send_signal(number)
        daemon.until(lambda: "stopping" in daemon.events())
        time.sleep(0.1)
        assert daemon.process.poll() is None
        daemon.process.send_signal(number)
        assert daemon.process.wait(120) == 128 + number
    assert_as_undisturbed(input_directory, config)


def test_an_interrupted_single_run_is_exit_code_130(input_directory: Path) -> None:
    """An interrupted run to the end says so with its exit code, whenever that was, and the next one goes on."""
    config = write_config(input_directory, "once")
    for wait in (0.0, 0.3, None):
        with running(config, "--once", command=PATIENT) as daemon:
            daemon.until(daemon.holds_signals)
            if wait is None:
                daemon.until(lambda: "ready" in daemon.events())
            else:
                time.sleep(wait)
            daemon.process.send_signal(signal.SIGINT)
            assert daemon.ends() == 130
    assert_as_undisturbed(input_directory, config)


class Reloading:
    """A process whose configuration is changed under it."""

    def __init__(self, directory: Path, daemon: Daemon) -> None:
        self.directory = directory
        self.daemon = daemon
        self.seen = 0

    def reload(self, *symbols: str, text: str | None = None, more: str = "", loop: str = "uvloop") -> dict[str, Any]:
        """Write the file, send SIGHUP, and wait: what is logged of it."""
        path = write_config(self.directory, "reload", *symbols, more=more, loop=loop)
        if text is not None:
            path.write_text(text)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.until(lambda: len(self.answers()) > self.seen)
        self.seen += 1
        return self.answers()[-1]

    def answers(self) -> list[dict[str, Any]]:
        """Lines about reloads."""
        return [line for line in self.daemon.lines() if line["event"].startswith("reload")]


def test_a_reload_changes_what_it_should_or_is_refused_whole(input_directory: Path) -> None:
    """Adds, removes and starts again what it should, refuses whole what it must, and harms nobody else."""
    a, c = (SYMBOL.format(id=one, paths="input/*") for one in "AC")
    broken, mended = (SYMBOL.format(id="B", paths=paths) for paths in ("other/*", "input/0*"))
    (input_directory / "other").mkdir()  # of another symbol, and then a table: only the second file shows that it is none
    (input_directory / "other" / "0").write_text('{"e":"trade","E":1,"s":"OTHER","t":1,"p":"1","q":"1","T":1,"m":true}\n')
    (input_directory / "other" / "1").write_text("exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n")
    config = write_config(input_directory, "reload", a, broken)
    with running(config, command=PATIENT) as daemon:
        daemon.until(lambda: {"ready", "symbol failed"} <= {*daemon.events()})
        assert [line["symbol"] for line in daemon.lines() if line["event"] == "symbol failed"] == ["B"]
        reloading = Reloading(input_directory, daemon)

        def consequences(answer: dict[str, Any]) -> tuple[list[str], ...]:
            assert answer["event"] == "reloaded", answer
            return answer["added"], answer["removed"], answer["restarted"]

        def problems(answer: dict[str, Any]) -> str:
            assert answer["event"] == "reload refused: everything goes on as before", answer
            return "\n".join(answer["problems"])

        # A failed symbol is tried again at each reload.
        assert consequences(reloading.reload(a, broken)) == ([], [], ["B"])
        daemon.until(lambda: len([line for line in daemon.lines() if line["event"] == "symbol failed"]) == 2)
        assert consequences(reloading.reload(a, mended, c)) == (["C"], [], ["B"])
        recoveries = 2  # of B, which had nothing of its first input: any other is as good
        daemon.until(lambda: daemon.events().count("recovered") == recoveries)
        assert "is not TOML" in problems(reloading.reload(text="[[symbol"))
        assert "unknown key paths_" in problems(reloading.reload(a, c + 'paths_ = "a"\n'))
        assert "no file matches" in problems(reloading.reload(a, mended, SYMBOL.format(id="D", paths="nothing/*")))
        assert "price_decimals was 8 and is 3" in problems(reloading.reload(a + "price_decimals = 3\n", mended))
        assert "part_events was 10000 and is 7" in problems(
            reloading.reload(text=config.read_text().replace("10000", "7").replace("price_decimals = 3\n", ""))
        )
        refused = problems(reloading.reload(a, loop="asyncio"))
        assert "[service] loop" in refused
        assert "remove" not in refused
        # All three run on: each takes a checkpoint or has one already, and nobody has started again.
        assert daemon.events().count("recovered") == recoveries
        assert consequences(reloading.reload(a, mended, c)) == ([], [], [])
        assert consequences(reloading.reload(a + "max_book_bytes = 2000000000\n", c)) == ([], ["B"], ["A"])
        daemon.until(lambda: daemon.events().count("recovered") == recoveries + 1)
        recovered = [line["symbol"] for line in daemon.lines() if line["event"] == "recovered"]
        assert recovered[-1] == "A"
        # Nothing is said of this one: its level holds at once. That it has come is seen by a symbol that it adds.
        d = SYMBOL.format(id="D", paths="input/0*")
        write_config(input_directory, "reload", a + "max_book_bytes = 2000000000\n", c, d, more='[log]\nlevel = "error"\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda: is_there(daemon, "/D/LOCK"))
        assert "is not TOML" in problems(reloading.reload(text="[[symbol"))
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.ends() == 0
        assert "stopped" not in daemon.events()  # of a level that is not logged any more
    write_config(input_directory, "reload", a, c)
    assert [summary.state for summary in run_once(load_config(config, {}))] == ["done", "done"]
    plain = read_parts(input_directory / "plain" / "data")
    parts = read_parts(input_directory / "reload" / "data")
    for symbol in "AC":
        assert {name: part for name, part in parts.items() if f"symbol={symbol}/" in name} == {
            name.replace("symbol=A/", f"symbol={symbol}/"): part for name, part in plain.items()
        }
