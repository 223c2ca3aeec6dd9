"""The chapter of docs/machines.md on Ray, followed to the letter in a network where its addresses are this machine's."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from support.daemon_process import free_port
from support.pages import blocks, chapter, commands_on
from support.ray_campaign import Feeder, Seen, configure, finish_and_compare
from support.ray_nodes import QUIET

_PATIENCE_SECONDS = 180.0
_NOT_TYPED = "pip install"
"""What needs a network: the package is here."""


def follow_the_guide(directory: Path, seed: int) -> Seen:
    """Every command works: two nodes come up, are checked, run a configuration, and Ctrl-C ends it."""
    page = commands_on(blocks(chapter("docs/machines.md", "Ray"), "console")[0])
    assert [where for where, _ in page] == ["all", "all", "head", "others", "head", "head"]
    seen, feeder = Seen(), Feeder(directory, seed)
    feeder.hurry.set()
    feeder.start()
    feeder.join()
    os.environ |= {"RAY_TMPDIR": str(directory)} | QUIET
    for address in sorted(set(re.findall(r"10(?:[.][0-9]+){3}", " ".join(command for _, command in page)))):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    config = configure(directory, "cluster", free_port())
    (directory / "cowbook.toml").write_text(config.read_text())
    shell = _Shell(directory)
    try:
        for _, command in page[:-1]:
            if not command.startswith(_NOT_TYPED):
                print(shell.run(command), end="")
        _run_until_all_is_read(shell, page[-1][1], directory)
    finally:
        for process in psutil.Process().children(recursive=True):
            process.kill()
    finish_and_compare(directory, seen)
    return seen


class _Shell:
    """What is exported stays."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.environ = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}

    def run(self, command: str) -> str:
        """Returns what it prints. Raises AssertionError if it fails."""
        if command.startswith("export "):
            self.environ |= dict(word.partition("=")[::2] for word in shlex.split(command)[1:])
            return ""
        log = self._directory / "said.log"
        with log.open("wb") as file:  # a pipe would be open as long as what it starts
            typed = ["bash", "-ec", command]
            code = subprocess.run(
                typed, cwd=self._directory, env=self.environ, stdout=file, stderr=file, timeout=300, check=False
            ).returncode
        assert code == 0, f"{command}\n{log.read_text()[-3000:]}"
        return f"$ {command}\n"


def _run_until_all_is_read(shell: _Shell, command: str, directory: Path) -> None:
    """The last command is what runs on, until Ctrl-C."""
    log = directory / "driver.log"
    with log.open("wb") as file:
        driver = subprocess.Popen(["bash", "-ec", f"exec {command}"], cwd=directory, env=shell.environ, stdout=file, stderr=file)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while '"event": "ready"' not in re.sub(r".*RayShard.*", "", log.read_text(errors="replace")):
        assert driver.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(_PATIENCE_SECONDS) == 0, log.read_text()[-4000:]
