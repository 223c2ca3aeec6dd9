"""`cowbook files`: what comes with cowbook beside its code, and copies of it."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from cowbook.cli.console import plain_console
from cowbook.errors import CowbookError
from cowbook.plain.escaping import escaped

_PREFIX = "@PREFIX@"
_IN_CHECKOUT = ("config", "systemd")

_WHAT = {
    "config/cowbook.toml": "every option of the configuration, with its default",
    "config/container": "Dockerfile",
    "config/kubernetes": "StatefulSet, Service, volumes and configuration for Kubernetes",
    "config/grafana": "dashboard for Grafana",
    "config/prometheus": "scraping and alert rules for Prometheus, with their tests",
    "config/shell": "completions for bash, zsh and fish; the man page",
    "systemd": "unit, target, user and directories for systemd",
}
"""What is there, in the order in which it is shown."""


def main(arguments: argparse.Namespace) -> int:
    """List the files, or copy them. Raises CowbookError if they are not there, and if the directory of the copies is."""
    root = find_root()
    if arguments.directory is None:
        _show(root)
        return 0
    _copy(root, arguments.directory)
    print(f"{escaped(str(arguments.directory))} has copies, made for the installation in {escaped(sys.prefix)}:")
    _show(arguments.directory)
    return 0


def find_root() -> Path:
    """The directory that has `config` and `systemd`: in the package where it is installed, else the checkout's own.

    Raises CowbookError if neither has them.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "files", package.parents[1]):
        if (root / "config" / "cowbook.toml").is_file():
            return root
    raise CowbookError(f"{package / 'files'}: not there: this installation is not whole; install cowbook again, from its wheel")


def _show(root: Path) -> None:
    console = plain_console()
    for name, what in _WHAT.items():
        paths = [path for path in sorted((root / name).rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]
        console.print(f"{what}:", markup=False, highlight=False, soft_wrap=True)
        for path in paths or [root / name]:
            console.print(f"  {escaped(str(path))}", markup=False, highlight=False, soft_wrap=True)


def _copy(root: Path, directory: Path) -> None:
    """Copy everything, with this installation's prefix in the units. Raises CowbookError if the directory exists."""
    try:
        directory.mkdir()
    except OSError as error:
        raise CowbookError(f"{directory}: cannot be made: {error.strerror}; give a new directory") from error
    try:
        for name in _IN_CHECKOUT:
            shutil.copytree(root / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in sorted((directory / "systemd").iterdir()):
            text = path.read_text(encoding="utf-8")
            if path.name.startswith("cowbook") and _PREFIX in text:
                path.write_text(text.replace(_PREFIX, sys.prefix), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        first = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        raise CowbookError(f"{directory}: cannot be written: {first}") from error
