"""The installed service under a real systemd: start, signals, reload, watchdog, crash, stop, modes and sandbox."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.simulate.capture import write_capture
from support.machine import Machine

pytestmark = pytest.mark.system

_CONFIG = """
[checkpoint]
min_pause = "0s"
[output]
part_events = 5000
[[symbol]]
name = "AAAUSDT"
format = "binance"
paths = ["/srv/captures/AAA*"]
follow = true
"""
_UNIT = "cowbook@crypto-a"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A simulated capture."""
    path = tmp_path_factory.mktemp("capture") / "a"
    write_capture(path, symbol="AAAUSDT", messages=2000, seed=5)
    return path.read_text().splitlines(keepends=True)


@pytest.fixture(scope="module")
def service(machine: Machine, lines: list[str]) -> Iterator[Machine]:
    """The service, started; the kernels are compiled on the way."""
    machine.write("/srv/captures/AAA.jsonl", "".join(lines[:5000]))
    machine.write("/etc/cowbook/crypto-a.toml", _CONFIG)
    machine.run(f"systemctl start {_UNIT}")
    # It comes back ready, and ready means that the symbol stands at its place.
    assert status(machine)["ready"]
    assert symbol(machine)["state"] == "running"
    yield machine
    machine.run(f"systemctl stop {_UNIT}", check=False)


def status(machine: Machine) -> dict[str, Any]:
    """What `cowbook status` says."""
    result: dict[str, Any] = json.loads(machine.run("cowbook status --json || true").stdout)
    return result


def symbol(machine: Machine, place: int = 0) -> dict[str, Any]:
    """What it says of a symbol."""
    found: dict[str, Any] = status(machine)["symbols"][place]
    return found


def log(machine: Machine) -> list[dict[str, Any]]:
    """The service's lines in the journal."""
    text = machine.run(f"journalctl -u {_UNIT} -o cat --no-pager _COMM=cowbook").stdout
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_user_and_modes(service: Machine) -> None:
    """It runs as its user. State is for the user alone; parts are for the group to read, and nobody else may."""
    service.run("cowbook checkpoint")
    base = "/var/lib/cowbook/crypto-a"
    found = service.run(f"find {base} -printf '%m:%u:%g:%y %p\\n'").stdout.splitlines()
    modes = {path: mode for mode, path in (line.split(" ", 1) for line in found)}
    assert modes[base] == "750:cowbook:cowbook:d"
    state = {path: mode for path, mode in modes.items() if path.startswith(f"{base}/state")}
    assert set(state.values()) == {"700:cowbook:cowbook:d", "600:cowbook:cowbook:f"}
    assert any(path.endswith("/checkpoints/1/manifest.json") for path in state)
    parts = {mode for path, mode in modes.items() if path.endswith(".parquet") and "/data/" in path}
    assert parts == {"640:cowbook:cowbook:f"}


def test_sigusr1(service: Machine, lines: list[str]) -> None:
    """A signal to the main process alone: another epoch."""
    service.run("cat >> /srv/captures/AAA.jsonl", stdin="".join(lines[5000:5040]))
    size = int(service.run("stat -c %s /srv/captures/AAA.jsonl").stdout)
    service.wait_for(lambda: symbol(service)["offset"] == size, "the new lines are read")
    before = symbol(service)["epoch"]
    service.run(f"systemctl kill --kill-whom=main --signal=USR1 {_UNIT}")
    service.wait_for(lambda: symbol(service)["epoch"] > before, "another epoch")
    assert service.show(_UNIT, "NRestarts") == "0"


def test_reload(service: Machine) -> None:
    """A reload adds and removes symbols; a wrong configuration is refused, and all goes on."""
    more = _CONFIG + _CONFIG[_CONFIG.index("[[symbol]]") :].replace("AAA", "BBB")
    service.write("/etc/cowbook/crypto-a.toml", more)
    service.run(f"systemctl reload {_UNIT}")
    assert [entry["id"] for entry in status(service)["symbols"]] == ["AAAUSDT", "BBBUSDT"]
    service.wait_for(lambda: symbol(service, 1)["state"] == "waiting", "the new one waits for its input")
    service.write("/etc/cowbook/crypto-a.toml", more.replace("format", "formt"))
    refused = service.run(f"systemctl reload {_UNIT}", check=False)
    assert refused.returncode != 0
    assert service.show(_UNIT, "ActiveState") == "active"
    assert len(status(service)["symbols"]) == 2
    assert "did you mean format?" in service.run(f"journalctl -u {_UNIT} -o cat --no-pager").stdout
    service.write("/etc/cowbook/crypto-a.toml", _CONFIG)
    service.run(f"systemctl reload {_UNIT}")
    assert [entry["id"] for entry in status(service)["symbols"]] == ["AAAUSDT"]
    assert service.show(_UNIT, "NRestarts") == "0"


def test_sandbox(service: Machine) -> None:
    """No capability, no new privileges, a filter for system calls; of the file system only its own is to be written."""
    process = service.show(_UNIT, "MainPID")
    text = service.run(f"cat /proc/{process}/status").stdout
    facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    inside = f"nsenter -t {process} -m"
    for path in ("/etc/x", "/usr/x", "/var/lib/x", "/srv/captures/x"):
        assert "Read-only file system" in service.run(f"{inside} touch {path}", check=False).stderr
    assert service.run(f"{inside} ls -A /home /root").stdout.split() == ["/home:", "/root:"]
    service.run(f"{inside} touch /var/lib/cowbook/crypto-a/x && rm /var/lib/cowbook/crypto-a/x")
    assert service.run("cowbook status >/dev/null; echo seen").stdout == "seen\n"


def test_killed(service: Machine) -> None:
    """After SIGKILL it comes back, recovers, and is ready only then."""
    epoch = symbol(service)["epoch"]
    before = int(service.show(_UNIT, "NRestarts"))
    service.run(f"kill -KILL {service.show(_UNIT, 'MainPID')}")
    service.wait_for(lambda: int(service.show(_UNIT, "NRestarts")) == before + 1, "it is started again")
    service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "active", "it is ready")
    assert symbol(service)["epoch"] == epoch
    events = [line["event"] for line in log(service)]
    assert events[-2:] == ["recovered", "ready"]


def test_watchdog(service: Machine) -> None:
    """A process that hangs is ended, started again, and recovers."""
    service.write(f"/run/systemd/system/{_UNIT}.service.d/watchdog.conf", "[Service]\nWatchdogSec=5\nTimeoutAbortSec=5\n")
    service.run(f"systemctl daemon-reload; systemctl restart {_UNIT}")
    assert service.show(_UNIT, "WatchdogUSec") == "5s"
    epoch, process = symbol(service)["epoch"], service.show(_UNIT, "MainPID")
    service.run(f"sleep 6; systemctl show -p MainPID {_UNIT} | grep -q '={process}$'")  # all is well: nothing happens
    service.run(f"kill -STOP {process}")
    service.wait_for(lambda: service.show(_UNIT, "NRestarts") == "1", "it is started again")
    service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "active", "it is ready")
    assert "Watchdog timeout" in service.run("journalctl --no-pager -o cat _PID=1").stdout
    assert symbol(service)["epoch"] == epoch
    assert symbol(service)["state"] == "running"


def test_stop(service: Machine, lines: list[str]) -> None:
    """A stop is quick, ends with a checkpoint, and is no failure."""
    service.run("cat >> /srv/captures/AAA.jsonl", stdin="".join(lines[5040:5080]))
    size = int(service.run("stat -c %s /srv/captures/AAA.jsonl").stdout)
    service.wait_for(lambda: symbol(service)["offset"] == size, "the new lines are read")
    events = symbol(service)["events"]
    service.run(f"systemctl stop {_UNIT}")
    assert service.show(_UNIT, "Result") == "success"
    assert service.show(_UNIT, "ExecMainStatus") == "0"
    show = "cowbook checkpoints show /var/lib/cowbook/crypto-a/state --symbol AAAUSDT --json"
    shown = json.loads(service.run(show).stdout)
    text = json.dumps(shown)
    assert '"stop"' in text
    assert f'"events_processed": {events}' in text


def test_wrong_configuration(machine: Machine) -> None:
    """It does not start, says why, and is not tried again."""
    machine.write("/etc/cowbook/wrong.toml", "[[symbol]]\nname = 3\n")
    assert machine.run("systemctl start cowbook@wrong", check=False).returncode != 0
    assert machine.show("cowbook@wrong", "ActiveState") == "failed"  # one that is tried again is activating
    assert machine.show("cowbook@wrong", "ExecMainStatus") == "78"
    assert machine.show("cowbook@wrong", "NRestarts") == "0"
    assert "name" in machine.run("journalctl -u cowbook@wrong -o cat --no-pager").stdout


def test_signals_at_once(service: Machine) -> None:
    """SIGUSR1 and SIGHUP from its first command on, again and again: they never kill it."""
    service.run(f"systemctl stop {_UNIT}; systemctl start --no-block {_UNIT}")
    main = f"/proc/$(systemctl show --value -p MainPID {_UNIT})/status"

    def ignores_both() -> bool:
        mask = service.run(f"sed -n 's/SigIgn:\\t//p' {main}", check=False).stdout.strip()
        wanted = 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGUSR1 - 1)
        return int(mask or "0", 16) & wanted == wanted

    service.wait_for(ignores_both, "it has begun")
    for _ in range(40):
        service.run(
            f"systemctl kill --kill-whom=main --signal=USR1 {_UNIT}; systemctl kill --kill-whom=main --signal=HUP {_UNIT}",
            check=False,
        )
    service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "active", "it is ready")
    assert service.show(_UNIT, "NRestarts") == "0"


def test_killed_by_a_signal_that_is_meant_well(service: Machine) -> None:
    """Should one come before anything handles it, the unit is started again."""
    override = f"/run/systemd/system/{_UNIT}.service.d"
    service.write(f"{override}/test.conf", "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep 60\n")
    service.run(f"systemctl stop {_UNIT}; systemctl daemon-reload; systemctl start {_UNIT}")
    for number, name in enumerate(("HUP", "USR1"), 1):
        service.run(f"systemctl kill --kill-whom=main --signal={name} {_UNIT}")
        service.wait_for(lambda number=number: service.show(_UNIT, "NRestarts") == str(number), "another start")  # type: ignore[misc]
        service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "active", "it runs")
    service.run(f"rm -r {override}; systemctl daemon-reload; systemctl stop {_UNIT}")


def test_target(service: Machine) -> None:
    """The target starts and stops what is enabled."""
    service.run(f"systemctl enable {_UNIT}; systemctl stop cowbook.target; systemctl start cowbook.target")
    service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "active", "the target has started it")
    service.run("systemctl stop cowbook.target")
    service.wait_for(lambda: service.show(_UNIT, "ActiveState") == "inactive", "the target has stopped it")


def test_what_is_installed(installed: Path) -> None:
    """Nothing says where it was made, and uninstalling leaves nothing."""
    texts = [path for path in installed.rglob("*") if path.is_file() and "/lib/cowbook/" not in str(path)]
    assert texts
    assert [path for path in texts if str(installed).encode() in path.read_bytes() or b"@PREFIX@" in path.read_bytes()] == []


def test_shards(machine: Machine, lines: list[str]) -> None:
    """The chapter on shards, followed to the letter: three instances have three symbols, each one of them once."""
    text = Path(__file__).resolve().parents[2].joinpath("docs", "operating.md").read_text().partition("## Shards\n")[2]
    block = text.partition("```console\n")[2].partition("```")[0]
    names = ["S1", "S2", "S3"]
    tables = [_CONFIG[_CONFIG.index("[[symbol]]") :].replace("name", f'id = "{name}"\nname') for name in names]
    machine.write("/srv/captures/AAA.jsonl", "".join(lines[:500]))
    machine.write("/etc/cowbook/crypto.toml", "\n".join(tables))
    machine.run("systemctl stop 'cowbook@*'")
    said = ""
    for command in re.split(r"^# ", block, flags=re.MULTILINE):
        said = machine.run(command).stdout if command.strip() else said
    assert all(name in said for name in names)  # of the status
    urls = " ".join(f"http://127.0.0.1:{port}" for port in (9464, 9465, 9466))
    found = json.loads(machine.run(f"cowbook status --json {urls}").stdout)
    assert sorted(entry["id"] for entry in found["symbols"]) == names
    assert found["ready"]
    assert found["shard"] == "0/3, 1/3, 2/3"
    machine.run("systemctl stop 'cowbook@*'")
    assert "no answer from http://127.0.0.1:9464" in machine.run(f"cowbook status {urls} 2>&1", check=False).stdout
