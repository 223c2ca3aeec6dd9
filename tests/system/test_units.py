"""The units by themselves: what systemd says of them without running them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

_SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a command that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there")
    for name in ("cowbook@.service", "cowbook.target"):
        text = (_SYSTEMD / name).read_text().replace("@PREFIX@/bin/cowbook", "/bin/true").replace("@PREFIX@", "/usr")
        (tmp_path / name).write_text(text)
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_verify(units: Path) -> None:
    """Nothing is wrong or unknown in them."""
    done = analyze("verify", "--recursive-errors=no", str(units / "cowbook@crypto-a.service"), str(units / "cowbook.target"))
    assert (done.returncode, done.stderr) == (0, "")


def test_verify_finds_mistakes(units: Path) -> None:
    """The test above can fail."""
    path = units / "cowbook@.service"
    path.write_text(path.read_text().replace("WatchdogSec=30", "WatchdogSeconds=30"))
    assert analyze("verify", "--recursive-errors=no", str(units / "cowbook@crypto-a.service")).stderr


def test_exposure(units: Path) -> None:
    """At most 1.3 of 10."""
    done = analyze("security", "--offline=true", "--threshold=13", str(units / "cowbook@crypto-a.service"))
    assert done.returncode == 0, done.stdout[-300:]


def test_every_setting_is_explained() -> None:
    """No setting of the sandbox that breaks the kernels' compiler or takes metrics away."""
    text = (_SYSTEMD / "cowbook@.service").read_text()
    settings = {line.split("=")[0] for line in text.splitlines() if "=" in line and not line.startswith("#")}
    assert not settings & {"MemoryDenyWriteExecute", "ProcSubset", "DynamicUser"}
    assert "%I" not in text
