"""`systemctl` for tests: starts and stops cowbook's units in this user's name, by their ExecStart= and their drop-ins.

Below $MACHINE lie the files that the units name (`etc`, `run`). A start waits for READY=1, and fails if that never comes.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE_SECONDS = 120.0
_UNIT = Path(__file__).resolve().parents[2] / "systemd" / "cowbook@.service"
_STARTS = ("start", "enable --now")
_STOPS = ("stop", "disable --now")


def main() -> int:
    """Do what is asked for."""
    words = sys.argv[1:]
    action = " ".join(word for word in words[:2] if word == words[0] or word == "--now")
    units = [word for word in words[1:] if not word.startswith("-")]
    if action in _STARTS:
        return max(_start(unit) for unit in units)
    if action in _STOPS:
        for unit in units:
            _stop(unit)
        return 0
    return 0 if action in ("daemon-reload", "enable", "disable") else 1


def _machine() -> Path:
    return Path(os.environ["MACHINE"])


def _start(unit: str) -> int:
    name, instance = unit.split("@")
    (line,) = re.findall(r"^ExecStart=(.*)$", _UNIT.read_text(), re.MULTILINE)
    line = line.replace("@PREFIX@/bin/", f"{Path(sys.executable).parent}/").replace("%E", f"{_machine()}/etc")
    command = shlex.split(line.replace("%i", instance))
    run = _machine() / "run"
    run.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, (run / f"{unit}.log").open("ab") as log:
        place = run / "notify"
        place.unlink(missing_ok=True)
        listener.bind(str(place))
        environment = os.environ | _drop_in(f"{name}@{instance}") | {"NOTIFY_SOCKET": str(place)}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        (run / f"{unit}.pid").write_text(str(process.pid))
        listener.settimeout(0.1)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if b"READY=1" in listener.recv(4096).split(b"\n"):
                    return 0
            except TimeoutError:
                continue
    process.kill()
    process.wait()
    return 1


def _drop_in(unit: str) -> dict[str, str]:
    """The environment that the files beside a unit set."""
    found: dict[str, str] = {}
    for path in sorted((_machine() / "etc" / "systemd" / "system" / f"{unit}.service.d").glob("*.conf")):
        for line in re.findall(r"^Environment=(.*)$", path.read_text(), re.MULTILINE):
            found |= dict(word.partition("=")[::2] for word in line.split())
    return found


def _stop(unit: str) -> None:
    path = _machine() / "run" / f"{unit}.pid"
    if not path.exists():
        return
    pid = int(path.read_text())
    path.unlink()
    try:
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":  # its parent may never wait for it
            time.sleep(0.02)
    except (ProcessLookupError, FileNotFoundError):
        return


if __name__ == "__main__":
    sys.exit(main())
