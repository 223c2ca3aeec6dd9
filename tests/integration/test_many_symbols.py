"""Many symbols in one process: killed together, recovered together, and none troubled by another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from cowbook.simulate.capture import write_capture
from support.daemon_process import DaemonProcess
from support.harness import read_parts

_COUNT = 24
_BROKEN = 7  # the place of one whose input has a gap


def configure(directory: Path, paths: list[Path]) -> Path:
    """All symbols, followed; the broken one halts at its gap."""
    directory.mkdir()
    tables = [
        f'[[symbol]]\nname = "S{place}"\nformat = "binance"\npaths = ["{path}"]\nfollow = true\n'
        f'on_gap = "{"halt" if place == _BROKEN else "continue"}"\n'
        for place, path in enumerate(paths)
    ]
    config = directory / "cowbook.toml"
    config.write_text("[checkpoint]\nevery_events = 500\n[output]\npart_events = 700\n" + "".join(tables))
    return config


def run_once(config: Path) -> list[str]:
    """Run to the end of the input: the symbols' states."""
    command = [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return [summary["state"] for summary in json.loads(done.stdout)]


def test_many_symbols_recover_and_one_that_fails_fails_alone(tmp_path: Path) -> None:
    """Killed in the middle and started again, all have the parts of an undisturbed run; the broken one has failed alone."""
    paths = [tmp_path / f"{place}.jsonl" for place in range(_COUNT)]
    contents = []
    for place, path in enumerate(paths):
        write_capture(path, symbol=f"S{place}", messages=60, seed=place, gaps=1 if place == _BROKEN else 0)
        contents.append(path.read_bytes())
    expected_states = ["failed" if place == _BROKEN else "done" for place in range(_COUNT)]
    reference = configure(tmp_path / "reference", paths)
    assert run_once(reference) == expected_states
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content[: len(content) // 2])
    with DaemonProcess(configure(tmp_path / "killed", paths)) as daemon:

        def offsets() -> list[int | None]:
            return [symbol["offset"] for symbol in json.loads(daemon.get("/status"))["symbols"]]

        def is_everywhere(share: int) -> bool:
            ends = [len(content) // share for content in contents]
            return all(
                place == _BROKEN or (offset is not None and end - 5000 < offset <= end)
                for place, (offset, end) in enumerate(zip(offsets(), ends, strict=True))
            )

        daemon.wait_for(lambda: is_everywhere(2), "the first halves")
        daemon.command("checkpoint")
        assert daemon.threads() <= _COUNT + 20
        assert daemon.metric("process_open_fds") <= 12 * _COUNT + 40
        daemon.stop(signal.SIGKILL)
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        daemon.start()
        daemon.wait_for(lambda: is_everywhere(1), "everything")
        states = [symbol["state"] for symbol in json.loads(daemon.get("/status"))["symbols"]]
        assert states == ["failed" if place == _BROKEN else "running" for place in range(_COUNT)]
        assert daemon.symbol(_BROKEN)["error"].count("gap")
        assert daemon.get("/healthz") == "ok\n"
        assert daemon.stop() == 0
    assert run_once(tmp_path / "killed" / "cowbook.toml") == expected_states
    assert read_parts(tmp_path / "killed" / "data") == read_parts(tmp_path / "reference" / "data")
