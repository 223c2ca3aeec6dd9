"""`cowbook files`: what is there beside the code, and copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cowbook.cli import files
from cowbook.cli import main as command_line

REPOSITORY = Path(__file__).resolve().parents[3]


def test_every_file_of_a_checkout_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of `config` and `systemd`, which is where `_WHAT` must lead."""
    assert command_line.main(["files"]) == 0
    listed = {Path(line.strip()) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    there = {path for top in ("config", "systemd") for path in (REPOSITORY / top).rglob("*") if path.is_file()}
    assert listed == {path for path in there if path.parent.name != "__pycache__"}


def test_copies_never_replace_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that is there is refused."""
    assert command_line.main(["files", str(tmp_path)]) == 1
    assert "give a new directory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_installation_without_them_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the package was copied by hand."""
    package = tmp_path / "lib" / "cowbook"
    monkeypatch.setattr(files, "__file__", str(package / "cli" / "files.py"))
    assert command_line.main(["files"]) == 1
    assert f"{package / 'files'}: not there" in capsys.readouterr().err
