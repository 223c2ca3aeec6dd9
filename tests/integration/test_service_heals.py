"""What goes wrong around a running service is named by metrics, log and /status, and heals when its cause is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowbook.simulate.capture import write_capture
from support.daemon_process import DaemonProcess
from support.harness import read_parts

pytestmark = pytest.mark.on_disk

_CONFIG = """
[service]
state_dir = "disk/state"
output_dir = "disk/data"
[checkpoint]
min_pause = "0s"
[output]
part_events = 2000
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
follow = true
"""


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A simulated capture."""
    path = tmp_path_factory.mktemp("capture") / "a"
    write_capture(path, symbol="BTCUSDT", messages=400, seed=11)
    return path.read_bytes()


@pytest.fixture(scope="module")
def reference(capture: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an undisturbed run."""
    directory = tmp_path_factory.mktemp("reference")
    (directory / "input").mkdir()
    (directory / "input" / "1").write_bytes(capture)
    return finish(configure(directory))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def configure(directory: Path) -> Path:
    """Write the configuration."""
    path = directory / "cowbook.toml"
    path.write_text(_CONFIG)
    return path


def fill(path: Path) -> None:
    """Take all the space that there is."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(descriptor, bytes(4096)):
            pass
    except OSError:
        os.close(descriptor)


def finish(config: Path) -> dict[str, bytes]:
    """Run to the end of the input: the parts."""
    command = [sys.executable, "-m", "cowbook", "run", str(config), "--once"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return read_parts(config.parent / "disk" / "data")


def test_a_service_on_a_full_disk_goes_on_once_there_is_space(
    small_disk: Path, tmp_path: Path, capture: bytes, reference: dict[str, bytes]
) -> None:
    """A full disk: checkpoints fail, and say so everywhere; with space they go on, and nothing is lost."""
    config = configure(tmp_path)
    (tmp_path / "input").mkdir()
    path = tmp_path / "input" / "1"
    path.write_bytes(capture[: len(capture) // 2])
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["events"], "the first half")
        fill(small_disk / "filler")
        with path.open("ab") as file:
            file.write(capture[len(capture) // 2 :])
        asked = daemon.command("checkpoint")
        assert asked.returncode == 1
        assert "No space left" in asked.stderr
        daemon.wait_for(lambda: daemon.symbol()["state"] == "restarting" or daemon.symbol()["checkpoint_error"], "a failure")
        daemon.wait_for(
            lambda: (
                daemon.metric('cowbook_checkpoints_total{outcome="failed",symbol="BTCUSDT",trigger="manual"}') > 0
                or daemon.metric('cowbook_worker_restarts_total{reason="storage",symbol="BTCUSDT"}') > 0
            ),
            "metrics that tell of it",
        )
        symbol = daemon.symbol()
        assert "No space left" in str(symbol["checkpoint_error"] or symbol["last_error"])
        assert any("No space left" in str(line.get("error")) for line in daemon.log())
        (small_disk / "filler").unlink()
        daemon.wait_for(lambda: daemon.command("checkpoint").returncode == 0, "a checkpoint")
        daemon.wait_for(lambda: daemon.symbol()["state"] == "running" and not daemon.symbol()["checkpoint_error"], "health")
        daemon.wait_for(lambda: daemon.symbol()["offset"] == len(capture), "the second half")
        assert daemon.stop() == 0
    assert finish(config) == reference


@pytest.mark.parametrize("trouble", ["missing", "unreadable", "dangling"])
def test_missing_input_is_waited_for_by_name(trouble: str, tmp_path: Path, capture: bytes, reference: dict[str, bytes]) -> None:
    """Input that is missing or may not be read is waited for, by name; the service is ready meanwhile."""
    config = configure(tmp_path)
    (tmp_path / "disk").mkdir()
    (tmp_path / "input").mkdir()
    path, elsewhere = tmp_path / "input" / "1", tmp_path / "elsewhere"
    prefix: list[str] = []
    if trouble == "unreadable":
        path.write_bytes(capture)
        path.chmod(0)
        if os.geteuid() == 0:  # who may read everything, unless that is taken away
            prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
            if shutil.which("setpriv") is None:
                pytest.skip("setpriv is not there")
    elif trouble == "dangling":
        path.symlink_to(elsewhere)
    with DaemonProcess(config, prefix=prefix) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["state"] == "waiting", "it waits")
        assert str(tmp_path / "input") in daemon.symbol()["waiting_for"]
        daemon.wait_for(lambda: daemon.metric('cowbook_input_present{symbol="BTCUSDT"}') == 0, "the metrics tell")
        daemon.wait_for(lambda: daemon.metric('cowbook_symbol_state{state="waiting",symbol="BTCUSDT"}') == 1, "here, too")
        daemon.wait_for(lambda: daemon.get("/readyz") == "ready\n", "it is ready all the same")
        daemon.wait_for(lambda: any(line["event"] == "waiting for input" for line in daemon.log()), "the log tells")
        if trouble == "unreadable":
            path.chmod(0o644)
        elif trouble == "dangling":
            elsewhere.write_bytes(capture)
        else:
            path.write_bytes(capture)
        daemon.wait_for(lambda: daemon.symbol()["offset"] == len(capture), "everything")
        assert daemon.symbol()["state"] == "running"
        daemon.wait_for(lambda: daemon.metric('cowbook_input_present{symbol="BTCUSDT"}') == 1, "the metrics tell")
        daemon.wait_for(lambda: any(line["event"] == "input is there" for line in daemon.log()), "the log tells")
        assert daemon.stop() == 0
    assert finish(config) == reference


def test_a_service_that_waits_for_input_stops_at_once(tmp_path: Path) -> None:
    """A service that waits for input stops as fast as any other."""
    config = configure(tmp_path)
    (tmp_path / "disk").mkdir()
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["state"] == "waiting", "it waits")
        assert daemon.stop(signal.SIGTERM) == 0


def test_truncated_input_fails_the_symbol_after_a_last_checkpoint(tmp_path: Path, capture: bytes) -> None:
    """A followed file that shrinks ends the symbol with its reason; what was consumed before stays, in a last checkpoint."""
    config = configure(tmp_path)
    (tmp_path / "disk").mkdir()
    (tmp_path / "input").mkdir()
    path = tmp_path / "input" / "1"
    path.write_bytes(capture)
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["offset"] == len(capture), "everything")
        os.truncate(path, len(capture) // 2)
        daemon.wait_for(lambda: daemon.symbol()["state"] == "failed", "the end")
        symbol = daemon.symbol()
        assert "truncated" in symbol["error"]
        assert str(path) in symbol["error"]
        assert symbol["events_since_checkpoint"] == 0
        daemon.wait_for(lambda: daemon.metric('cowbook_symbol_state{state="failed",symbol="BTCUSDT"}') == 1, "the metrics tell")
        assert daemon.get("/healthz") == "ok\n"
        assert daemon.command("status").returncode == 1
        assert any(line["event"] == "symbol failed" for line in daemon.log())
        assert daemon.stop() == 0


@pytest.mark.parametrize("removed", ["disk", "disk/state", "disk/data", "disk/state/BTCUSDT/checkpoints"])
def test_a_request_fails_once_the_checkpoints_are_removed(
    removed: str, tmp_path: Path, capture: bytes, reference: dict[str, bytes]
) -> None:
    """Nobody is told of a checkpoint that has gone: asking fails, and the symbol starts anew, or is refused by name."""
    config = configure(tmp_path)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "1").write_bytes(capture)
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["offset"] == len(capture), "the input")
        assert daemon.command("checkpoint").returncode == 0
        shutil.rmtree(tmp_path / removed)
        asked = daemon.command("checkpoint")
        assert asked.returncode == 1
        assert "removed" in asked.stderr
        assert "while this symbol runs" in asked.stderr
        if removed in ("disk", "disk/data"):  # until then the worker that has failed may still be seen
            restarts = 'cowbook_worker_restarts_total{reason="storage",symbol="BTCUSDT"}'
            daemon.wait_for(lambda: daemon.metric(restarts) >= 1, "its end")
            daemon.wait_for(lambda: daemon.symbol()["state"] == "running", "another start")
        if removed == "disk":  # all of it: a new beginning
            daemon.wait_for(lambda: daemon.symbol()["offset"] == len(capture), "the input")
            assert daemon.command("checkpoint").returncode == 0
            assert daemon.stop() == 0
            assert finish(config) == reference
        elif removed == "disk/data":  # parts that were moved away are not made again, and the symbol says so
            assert daemon.command("checkpoint").returncode == 0
        else:  # parts without a checkpoint are not to be overwritten
            daemon.wait_for(lambda: daemon.symbol()["state"] == "failed", "a refusal")
            assert "--allow-fresh" in daemon.symbol()["error"]
            assert daemon.stop() == 0
            assert any(line["event"] == "stopped" and line["failed"] == ["BTCUSDT"] for line in daemon.log())


def test_a_symbol_that_makes_dead_letters_only_is_shown_and_corrected_by_a_reload(
    capture: bytes, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """Its state says so everywhere, with what the input looks like; the right format is taken as if there had been no other."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "1").write_bytes(capture)
    config = configure(tmp_path)
    config.write_text(_CONFIG.replace('"binance"', '"kraken"'))
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["state"] == "unusable", "the state")
        assert 'these look like binance records: format = "binance" would fit' in daemon.symbol()["error"]
        assert daemon.metric('cowbook_symbol_state{state="unusable",symbol="BTCUSDT"}') == 1
        shown = daemon.command("status")
        assert shown.returncode == 0
        assert "unusable: BTCUSDT: no usable record in the input" in shown.stdout.replace("\n", " ")
        assert "unusable" in daemon.get("/")
        assert daemon.command("checkpoint").returncode == 0, "its dead letters are in a checkpoint"
        config.write_text(_CONFIG)
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: daemon.symbol()["state"] == "running" and daemon.symbol()["events"], "the right format")
        assert daemon.symbol()["dead_letters"] == 0
        assert daemon.stop() == 0
    assert finish(config) == reference


def test_a_reload_refuses_an_input_that_check_refuses(capture: bytes, tmp_path: Path) -> None:
    """What runs goes on."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "1").write_bytes(capture)
    config = configure(tmp_path)
    with DaemonProcess(config) as daemon:
        daemon.wait_for(lambda: daemon.symbol()["state"] == "running" and daemon.symbol()["events"], "a start")
        config.write_text(_CONFIG + '[[symbol]]\nname = "X/Y"\nformat = "kraken"\npaths = ["input/1"]\n')
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: any("reload refused" in line.get("event", "") for line in daemon.log()), "the refusal")
        assert "binance" in str(daemon.log()[-1])
        assert daemon.symbol()["state"] == "running"
        assert daemon.stop() == 0
