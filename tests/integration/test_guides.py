"""The guides to more than one machine and to object storage, followed to the letter. Only places and ports are others.

The chapter on Ray is followed by `tests/crash/machines.py --only guide`, and that on Kubernetes by tests/unit/test_containers.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cowbook.cli.main import main
from cowbook.simulate.capture import write_capture
from support import fake_systemctl
from support.fake_s3 import FakeS3
from support.pages import blocks, chapter, commands_on

_NAMES = tuple(f"S{number}" for number in range(6))
_PORTS = 3
_ADDRESSES = {"one": "127.0.0.1", "two": "127.0.0.2"}


def free_ports() -> int:
    """The first of some ports in a row that nobody listens on."""
    for base in range(20_000, 30_000, _PORTS):
        try:
            for port in range(base, base + _PORTS):
                with socket.socket() as listener:
                    listener.bind(("", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


class Site:
    """Two machines, each with an `etc` of its own; `srv` is what both mount."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = free_ports()
        tool = directory / "bin" / "systemctl"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_systemctl.__file__} "$@"\n')
        tool.chmod(0o755)
        for name in _ADDRESSES:
            (directory / name / "etc" / "cowbook").mkdir(parents=True)

    def run(self, machine: str, command: str) -> subprocess.CompletedProcess[str]:
        """Type a command on a machine."""
        place = self.directory / machine
        command = command.replace("/etc/", f"{place}/etc/").replace("9464", str(self.base))
        command = command.replace("127.0.0.1", _ADDRESSES[machine])
        path = os.pathsep.join([str(self.directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"MACHINE": str(place), "PATH": path}
        return subprocess.run(["bash", "-ec", command], env=environment, capture_output=True, text=True, check=False, timeout=300)

    def must(self, machine: str, command: str) -> str:
        """As `run`. Raises AssertionError with the units' logs if it fails."""
        done = self.run(machine, command)
        logs = "".join(path.read_text()[-1500:] for path in (self.directory / machine / "run").glob("*.log"))
        assert done.returncode == 0, f"[{machine}] {command}\n{done.stdout}{done.stderr}{logs}"
        return done.stdout

    def has(self, *shards: int) -> bool:
        """Whether just these shards answer, and all their symbols are running."""
        urls = " ".join(f"http://{host}:{self.base + shard}" for shard in range(_PORTS) for host in _ADDRESSES.values())
        status: dict[str, Any] = json.loads(self.run("one", f"cowbook status --json {urls}").stdout)
        running = all(symbol["state"] == "running" for symbol in status["symbols"])
        return running and status["shard"] == ", ".join(f"{shard}/{_PORTS}" for shard in shards)

    def kill(self, machine: str) -> None:
        """A machine dies: what it runs does."""
        for path in (self.directory / machine / "run").glob("*.pid"):
            with suppress(ProcessLookupError):  # it could not start
                os.kill(int(path.read_text()), signal.SIGKILL)
            path.unlink()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two machines with the instances of the chapter on shards, whose state and output are shared."""
    site = Site(tmp_path)
    write_capture(tmp_path / "capture.jsonl", symbol="BTCUSDT", messages=200, seed=1)
    shared = f'[service]\nstate_dir = "{tmp_path}/srv/state"\noutput_dir = "{tmp_path}/srv/data"\n'
    symbols = [
        f'[[symbol]]\nid = "{name}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{tmp_path}/capture.jsonl"]\nfollow = true\n'
        for name in _NAMES
    ]
    block = blocks(chapter("docs/operating.md", "Shards"), "console")[0]
    instances = re.split(r"^# ", block, flags=re.MULTILINE)[2]
    assert instances.startswith("for shard in 0 1 2; do\n")
    for machine in _ADDRESSES:
        (tmp_path / machine / "etc" / "cowbook" / "crypto.toml").write_text(shared + "".join(symbols))
        site.must(machine, instances)
    yield site
    for machine in _ADDRESSES:
        site.kill(machine)


@pytest.mark.long
def test_two_machines_under_systemd(site: Site) -> None:
    """Each has its shards; the other one takes them when it is gone, and gives them back. One that runs is not taken."""
    first, second = blocks(chapter("docs/machines.md", "Two machines under systemd"), "console")
    begun = commands_on(first)
    assert [machine for machine, _ in begun] == ["one", "two"]
    for machine, command in begun:
        site.must(machine, command)
    assert site.has(0, 1, 2)
    (_, take), (_, give_back) = commands_on(second)
    site.must("two", take)
    assert "is locked: another cowbook" in (site.directory / "two" / "run" / "cowbook@crypto-0.log").read_text()
    site.must("two", give_back)
    assert site.has(0, 1, 2)
    site.kill("one")
    assert site.has(1, 2)
    site.must("two", take)
    assert site.has(0, 1, 2)
    site.must("two", give_back)
    site.must("one", begun[0][1])
    assert site.has(0, 1, 2)
    for machine, units in (("one", "cowbook@crypto-0"), ("two", "cowbook@crypto-1 cowbook@crypto-2")):
        site.must(machine, f"systemctl stop {units}")


def test_object_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration is accepted, and a run leaves state and output in the bucket."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'cowbook[s3]'")
    (text,) = blocks(chapter("docs/operating.md", "Object storage"), "toml")
    for place in ("/var/cache", "/srv/captures"):
        assert place in text
        text = text.replace(place, f"{tmp_path}{place}")
    (tmp_path / "srv" / "captures").mkdir(parents=True)
    write_capture(tmp_path / "srv" / "captures" / "BTCUSDT-1.jsonl", symbol="BTCUSDT", messages=200, seed=1)
    (tmp_path / "cowbook.toml").write_text(f"[output]\npart_events = 1000\n{text}")  # else the capture has no cut
    with FakeS3() as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        assert main(["check", str(tmp_path / "cowbook.toml")]) == 0, capsys.readouterr()
        assert main(["run", str(tmp_path / "cowbook.toml"), "--once"]) == 0, capsys.readouterr()
        assert "read_parquet('s3://bucket/crypto/data/bbo/symbol=BTCUSDT/*/*.parquet'" in capsys.readouterr().out
        assert any(key.startswith("crypto/state/BTCUSDT/") for key in s3.objects), [*s3.objects]
        assert any(key.startswith("crypto/data/") and key.endswith(".parquet") for key in s3.objects), [*s3.objects]
