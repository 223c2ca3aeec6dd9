"""A machine of its own for tests: systemd as process 1, in namespaces, over this one's files. What it writes is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_REPOSITORY = Path(__file__).resolve().parents[2]
_SYSTEMD = Path("/lib/systemd/systemd")
_NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net", "--cgroup")
_PATIENCE_SECONDS = 180.0


def why_not() -> str | None:
    """What is missing for a machine; None when nothing is."""
    if os.geteuid() != 0:
        return "only root makes namespaces here"
    for command in ("unshare", "nsenter", "systemctl", "systemd-analyze", "ip"):
        if shutil.which(command) is None:
            return f"{command} is not there"
    if not _SYSTEMD.exists():
        return f"{_SYSTEMD} is not there"
    tried = subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Machine:
    """Runs from `__enter__` to `__exit__`."""

    def __init__(self, work: Path, tree: Path) -> None:
        """`work` is a directory to be made; `tree` is put over this machine's files."""
        work.mkdir(parents=True)
        self._log = work.parent / "console"
        self._arguments = [str(work), str(tree)]
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        """Boot it."""
        boot = _REPOSITORY / "tests" / "system" / "boot.sh"
        with self._log.open("wb") as log:
            command = ["unshare", *_NAMESPACES, str(boot), *self._arguments]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.wait_for(self._is_up, "it has booted")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with everything in it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)  # unshare takes its child along, and with process 1 all others go
        self._process.wait()

    def run(self, command: str, *, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it. With `check` a failure raises AssertionError."""
        environment = ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "COLUMNS=200"]
        arguments = ["nsenter", "-t", str(self._pid), "-a", "--", "env", "-i", *environment, "sh", "-ec", command]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, input=stdin, timeout=300)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def write(self, path: str, content: str) -> None:
        """Write a file on it."""
        self.run(f"mkdir -p '{Path(path).parent}'; cat > '{path}'", stdin=content)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --value -p {name} {unit}").stdout.strip()

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, f"it went down: {self._log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self._log.read_text()[-3000:]}"
            time.sleep(0.1)

    def _is_up(self) -> bool:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children or not Path(f"/proc/{children[0]}/comm").read_text().startswith("systemd"):
            return False
        self._pid = int(children[0])
        return self.run("systemctl is-active bare.target", check=False).returncode == 0


def interpreter() -> str | None:
    """A Python that a service may run, not in a home directory, of the version that packages are made for here; None without."""
    names = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", f"/usr/local/bin/python3.{sys.version_info.minor}"]
    paths = [os.path.realpath(name) for name in names]
    return next((path for path in paths if os.access(path, os.X_OK) and not path.startswith(("/root/", "/home/"))), None)


@contextmanager
def building() -> Iterator[None]:
    """Whoever builds in the checkout's `build` does it alone: tests run in several processes."""
    (_REPOSITORY / "build").mkdir(exist_ok=True)
    with (_REPOSITORY / "build" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(tree: Path) -> None:
    """`make install` into a directory."""
    names = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["INTERPRETER"] = interpreter() or ""
    command = ["make", "install", f"DESTDIR={tree}", "PREFIX=/usr", f"VENV={sys.prefix}"]
    with building():
        done = subprocess.run(command, cwd=_REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
