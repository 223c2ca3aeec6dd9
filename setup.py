"""Copies into wheels what lies beside the package: `cowbook files` shows it. All else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithFiles(build_py):
    """As setuptools', and `config` and `systemd` into cowbook/files. A checkout uses its own."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        if self.editable_mode:
            return
        files = Path(self.build_lib) / "cowbook" / "files"
        shutil.rmtree(files, ignore_errors=True)
        for name in ("config", "systemd"):
            shutil.copytree(HERE / name, files / name, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithFiles})
