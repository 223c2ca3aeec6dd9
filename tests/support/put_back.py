"""Puts faults that were once there back into a copy of the checkout, to see that what should find them does."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
FAULTS = _REPOSITORY / "tests" / "crash" / "faults"
"""A patch for each fault. It begins with what was wrong; a line `Found by: …` is a command of this repository that must fail."""
_PARTS = ("daemon", "tests", "pyproject.toml", "config")


@dataclass(frozen=True, slots=True)
class Found:
    """What a command said of a copy of the checkout."""

    code: int | None
    """None if it was ended after its time."""
    seconds: float
    text: str


def patches(name: str | None = None) -> list[Path]:
    """All patches, or the one of this name."""
    return [path for path in sorted(FAULTS.glob("*.patch")) if name in (None, path.stem)]


def command_of(patch: Path) -> str:
    """The command that must find the fault. Raises ValueError if the patch names none."""
    for line in patch.read_text().splitlines():
        if line.startswith("Found by: "):
            return line.removeprefix("Found by: ")
    raise ValueError(f"{patch} has no line 'Found by: …'")


def copy_checkout(directory: Path) -> Path:
    """A copy of what the tests need."""
    directory.mkdir()
    for part in _PARTS:
        source = _REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, directory / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, directory / part)
    return directory


def put_back(patch: Path, directory: Path) -> None:
    """Apply a patch to a copy of the checkout. Raises CalledProcessError when it does not fit any more."""
    subprocess.run(["patch", "--quiet", "-p1", "-d", str(directory), "-i", str(patch)], check=True)


def run(command: str, directory: Path, seconds: float) -> Found:
    """Run a command in a copy of the checkout, with this Python and the modules that lie there."""
    words = shlex.split(command)
    words = [sys.executable if word == "python" else word for word in words]
    environment = os.environ | {"PYTHONPATH": f"{directory / 'daemon'}:{directory / 'tests'}"}
    started = time.monotonic()
    try:
        done = subprocess.run(words, cwd=directory, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Found(None, time.monotonic() - started, "")
    return Found(done.returncode, time.monotonic() - started, done.stdout + done.stderr)
