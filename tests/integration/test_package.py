"""What is built from the checkout is whole: the wheel works outside of it, and a source distribution is a checkout."""

from __future__ import annotations

import re
import shlex
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.wheel import REPOSITORY, Shell, environment, why_not

pytestmark = [pytest.mark.long, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


def run(directory: Path, wheel_environment: Path, *words: str) -> str:
    """Standard output of a `cowbook` of the fresh environment, which must end well."""
    return Shell(wheel_environment, directory).run(shlex.join(["cowbook", *words]))


def test_the_wheel_works_outside_of_the_checkout(wheel_environment: Path, tmp_path: Path) -> None:
    """From a simulated capture over its configuration to Parquet, by the installed code."""
    program = "import cowbook; print(cowbook.__file__)"
    python = wheel_environment / "bin" / "python"
    where = subprocess.run([python, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(wheel_environment))
    assert re.fullmatch(r"cowbook \d+\.\d+\.\d+\n", run(tmp_path, wheel_environment, "--version"))
    run(tmp_path, wheel_environment, "simulate", "--messages", "200", "a.jsonl.gz")
    (tmp_path / "cowbook.toml").write_text(run(tmp_path, wheel_environment, "init", "a.jsonl.gz"))
    assert "BTCUSDT" in run(tmp_path, wheel_environment, "run", "cowbook.toml", "--once")
    assert list(tmp_path.glob("data/depth/symbol=BTCUSDT/*/*.parquet"))


def test_the_wheel_has_what_an_operator_needs(wheel_environment: Path, tmp_path: Path) -> None:
    """Each file of `config` and `systemd` is listed and there; copied units start the command of this environment."""
    listed = {Path(line.strip()) for line in run(tmp_path, wheel_environment, "files").splitlines() if line.startswith("  ")}
    assert all(path.is_file() and path.is_relative_to(wheel_environment) for path in listed)
    ours = {path for top in ("config", "systemd") for path in (REPOSITORY / top).rglob("*") if path.is_file()}
    expected = {path.relative_to(REPOSITORY) for path in ours if path.parent.name != "__pycache__"}
    assert {Path(*path.parts[path.parts.index("files") + 1 :]) for path in listed} == expected
    run(tmp_path, wheel_environment, "files", "copies")
    unit = (tmp_path / "copies" / "systemd" / "cowbook@.service").read_text()
    assert f"{wheel_environment}/bin/cowbook run" in unit
    assert "@PREFIX@" not in unit


def test_the_wheel_has_types_completions_and_the_man_page(distributions: Path) -> None:
    """So that mypy, the shells and man find them."""
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "cowbook/py.typed" in names
    for name in ("man/man1/cowbook.1", "bash-completion/completions/cowbook.bash", "zsh/site-functions/_cowbook"):
        assert any(path.endswith(f"data/share/{name}") for path in names)
    assert not [path for path in names if path.startswith("tests") or "__pycache__" in path]


def test_a_source_distribution_is_a_checkout(distributions: Path) -> None:
    """All that git knows is in it: tests, pages, Makefile."""
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    known = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    assert {name for name in known if name and (REPOSITORY / name).is_file()} <= names
