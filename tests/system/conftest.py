"""The machine that the tests of this folder share, with cowbook installed on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import Machine, why_not

_REPOSITORY = Path(__file__).resolve().parents[2]


def _interpreter() -> str:
    """One that a service may run: not in a home directory, and of the version that the packages are for."""
    names = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", f"/usr/local/bin/python3.{sys.version_info.minor}"]
    for name in names:
        path = os.path.realpath(name)
        if os.access(path, os.X_OK) and not path.startswith(("/root/", "/home/")):
            return path
    pytest.skip(f"no Python 3.{sys.version_info.minor} outside of home directories, which a service may not see")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` makes, in a directory of its own."""
    tree = tmp_path_factory.mktemp("installed")
    tree.chmod(0o755)
    command = ["make", "install", f"DESTDIR={tree}", "PREFIX=/usr", f"VENV={sys.prefix}"]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment["INTERPRETER"] = _interpreter()
    done = subprocess.run(command, cwd=_REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree


@pytest.fixture(scope="session")
def machine(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """It runs, and has the user and the directories."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("machine") / "work", installed) as machine:
        machine.run("systemd-sysusers; systemd-tmpfiles --create cowbook.conf; systemctl daemon-reload")
        yield machine
