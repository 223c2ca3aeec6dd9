"""Limits that a process runs under: descriptors and sizes of files. Each is named, and the process outlives what it can."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cowbook.config import load_config
from cowbook.service import service
from cowbook.simulate.capture import write_capture
from support.daemon_process import DaemonProcess
from support.harness import read_parts

SYMBOL = '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["input/*.jsonl"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A capture in one file."""
    (tmp_path / "input").mkdir()
    write_capture(tmp_path / "input" / "1.jsonl", symbol="BTCUSDT", messages=100, seed=1)
    path = tmp_path / "cowbook.toml"
    path.write_text(SYMBOL)
    return path


def run_limited(limit: str, config: Path) -> subprocess.CompletedProcess[str]:
    """`cowbook run --once` under one of the shell's limits."""
    command = ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", sys.executable, "-m", "cowbook", "run", str(config), "--once"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_too_few_descriptors_are_a_sentence(config: Path) -> None:
    """Not a traceback of the event loop; with a few more, it runs."""
    done = run_limited("-n 16", config)
    assert done.returncode == 1
    assert done.stderr == (
        "cowbook: this process may open 16 files and needs 32 at least: raise the limit (`ulimit -n`, LimitNOFILE=)\n"
    )
    done = run_limited("-n 32", config)
    assert done.returncode == 0, done.stderr
    assert "1 symbols may need 42: symbols wait when they run out" in done.stderr


def test_a_part_that_may_not_be_so_large_ends_the_symbol(config: Path) -> None:
    """The error names the file, the limit and what to do; it is not tried again without end."""
    done = run_limited("-f 16", config)
    assert done.returncode == 1
    assert "File too large; files may not be that large: raise the limit (`ulimit -f`, LimitFSIZE=)" in done.stderr


def test_a_service_without_descriptors_goes_on_when_there_are_some(config: Path, tmp_path: Path) -> None:
    """A later file cannot be opened: the symbol says why and waits, and the parts are those of an undisturbed run."""
    config.write_text(SYMBOL + 'follow = true\nrotate_wait = "0s"\n')
    pieces = [tmp_path / "input" / f"{number}.jsonl" for number in (1, 2)]
    lines = pieces[0].read_bytes().splitlines(keepends=True)
    pieces[0].write_bytes(b"".join(lines[:60]))
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["offset"] == pieces[0].stat().st_size, "the first file")
        process = daemon._process
        assert process is not None
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        used = {int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (min(set(range(1024)) - used), hard))
        pieces[1].write_bytes(b"".join(lines[60:]))
        daemon.wait_for(lambda: any("Too many open files" in line.get("error", "") for line in daemon.log()), "the error")
        line = next(line for line in daemon.log() if "Too many open files" in line.get("error", ""))
        assert line["symbol"] == "BTCUSDT"
        assert "raise the limit (`ulimit -n`, LimitNOFILE=)" in line["error"]
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        daemon.wait_for(
            lambda: daemon.symbol()["file"] == str(pieces[1]) and daemon.symbol()["offset"] == pieces[1].stat().st_size,
            "the second file",
        )
        assert daemon.stop() == 0
    config.write_text(SYMBOL)
    (summary,) = service.run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    parts = read_parts(tmp_path / "data")
    config.write_text(SYMBOL + '[service]\nstate_dir = "state2"\noutput_dir = "data2"\n')
    service.run_once(load_config(config, {}))
    assert parts == read_parts(tmp_path / "data2")


def test_sigusr1_with_nothing_new_says_what_covers_it(config: Path) -> None:
    """Whoever asked for a checkpoint is told the epoch in which everything is."""
    config.write_text(SYMBOL + 'follow = true\n[[symbol]]\nname = "B"\nformat = "binance"\npaths = ["none"]\nfollow = true\n')
    with DaemonProcess(config) as daemon:
        size = (config.parent / "input" / "1.jsonl").stat().st_size
        daemon.wait_for(lambda: daemon.symbol()["offset"] == size, "the file")
        for _ in range(2):
            daemon.send(signal.SIGUSR1)
            daemon.wait_for(lambda: daemon.symbol()["epoch"] == 1, "a checkpoint")
        daemon.wait_for(lambda: any("nothing new" in line["event"] for line in daemon.log()), "an answer")
        line = next(line for line in daemon.log() if "nothing new" in line["event"])
        assert (line["symbol"], line["epoch"]) == ("BTCUSDT", 1)
        assert line["event"] == "nothing new: this checkpoint covers everything"
        assert sum(line["event"] == "checkpoint" for line in daemon.log()) == 1
        assert daemon.stop() == 0
