"""docs/operating.md, its chapters on systemd and wheels, followed to the letter on a machine that has never seen cowbook."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowbook.simulate.capture import write_capture
from support.machine import Machine, building, interpreter, why_not

# It installs every package, twice, and compiles all kernels.
pytestmark = [pytest.mark.system, pytest.mark.slow]

_REPOSITORY = Path(__file__).resolve().parents[2]
_OFFLINE = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/packages HOME=/root; "


def chapter() -> dict[str, list[str]]:
    """The commands of each paragraph, by its bold title; a here-document is part of its command."""
    text = _REPOSITORY.joinpath("docs", "operating.md").read_text().partition("## Under systemd\n")[2].partition("\n## ")[0]
    commands: dict[str, list[str]] = {}
    for title, block in re.findall(r"\*\*([^*]+?)\.?\*\*[^`]*?(?:`[^`\n]+`[^`]*?)*\n\n```console\n(.*?)```", text, re.DOTALL):
        commands[title] = [command.rstrip() for command in re.split(r"^# ", block, flags=re.MULTILINE) if command.strip()]
    return commands


@pytest.fixture(scope="module")
def bare(disk: Path) -> Iterator[Machine]:
    """A machine without cowbook, with a checkout, a capture, and the packages that installing would download."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    python = interpreter()
    if python is None:
        pytest.skip("no Python of this version outside of home directories, which a service may not see")
    tree = disk / "tree"
    tree.mkdir(mode=0o755)
    (tree / "srv" / "captures").mkdir(parents=True)
    write_capture(tree / "srv" / "captures" / "BTCUSDT-1.jsonl.gz", symbol="BTCUSDT", messages=500, seed=9)
    packages = tree / "packages"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(packages), str(_REPOSITORY), "setuptools>=77"]
    with building():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    checkout = tree / "checkout"
    archive = subprocess.run(["git", "-C", str(_REPOSITORY), "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in archive.decode().split("\0"):
        source = _REPOSITORY / name
        if name and source.is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes(source.read_bytes())
            (checkout / name).chmod(source.stat().st_mode)
    with Machine(disk / "bare" / "work", tree) as machine:
        machine.run("! command -v cowbook; test ! -e /etc/cowbook; test ! -e /var/lib/cowbook")
        yield machine


def test_operations(bare: Machine) -> None:
    """Every command of the chapter, in order, works."""
    paragraphs = chapter()
    titles = ["Install", "Configure and enable", "Watch", "Checkpoint now", "Change the configuration", "Upgrade"]
    assert list(paragraphs) == [*titles, "Back up and move", "Uninstall"]
    assert sum(map(len, paragraphs.values())) >= 20
    said: dict[str, str] = {}
    offline = f"{_OFFLINE}cd /checkout; "
    for title, commands in paragraphs.items():
        for command in commands:
            python = interpreter()
            # The version that packages are for here may not be the one that /usr/bin/python3 is.
            given = command.replace("INTERPRETER=/usr/bin/python3", f"INTERPRETER={python} PYTHON={python}")
            said[title] = said.get(title, "") + bare.run(offline + given).stdout
        if title == "Configure and enable":
            bare.wait_for(lambda: "1 running" in bare.show("cowbook@crypto", "StatusText"), "it runs")
    assert "running" in said["Configure and enable"]
    assert '"event": "ready"' in said["Watch"]
    assert re.search(r"BTCUSDT: epoch \d+", said["Checkpoint now"])
    assert bare.run("command -v cowbook", check=False).returncode != 0
    left = bare.run("ls /etc/cowbook; ls /var/lib/cowbook/crypto; ls /var/backups/cowbook-crypto").stdout.split()
    assert left == ["crypto.toml", "data", "state", "data", "state"]


def test_from_a_wheel(bare: Machine) -> None:
    """Where no checkout helps; then the service is configured, asked and stopped as with `make install`."""
    text = _REPOSITORY.joinpath("docs", "operating.md").read_text().partition("## From a wheel\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    commands = re.findall(r"^# (.*)$", block, re.MULTILINE)
    assert [command.split()[0] for command in commands[:3]] == ["python3", "/opt/cowbook/bin/pip", "/opt/cowbook/bin/cowbook"]
    # One shell for all, since one of them changes the directory; the wheel lies where pip begins.
    script = "\n".join(commands).replace("python3 -m venv", f"{interpreter()} -m venv")
    bare.run(f"mv /checkout /hidden; rm -rf /etc/cowbook /var/lib/cowbook; cd /packages; {_OFFLINE}{script}")
    bare.run("! command -v cowbook")
    for command in chapter()["Configure and enable"]:
        bare.run(re.sub(r"^cowbook ", "/opt/cowbook/bin/cowbook ", command))
    bare.wait_for(lambda: "1 running" in bare.show("cowbook@crypto", "StatusText"), "it runs")
    assert re.search(r"BTCUSDT: epoch \d+", bare.run("/opt/cowbook/bin/cowbook checkpoint").stdout)
    bare.run("systemctl stop cowbook@crypto")
    assert "BTCUSDT" in bare.run("/opt/cowbook/bin/cowbook report /var/lib/cowbook/crypto/state").stdout
