"""What is built from the checkout is whole: the wheel works outside of it, and a source distribution is a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from cowbook.kernels.cache import cache_folder

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED_SETUPTOOLS = 77  # as pyproject.toml says

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        int(version("setuptools").partition(".")[0]) < NEEDED_SETUPTOOLS,
        reason=f"setuptools {version('setuptools')} is too old to build with: make setup",
    ),
]


def environment() -> dict[str, str]:
    """Without what would lead to this checkout, and with its compiled kernels."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COWBOOK"))}
    return clean | {"NUMBA_CACHE_DIR": str(cache_folder().parent), "COLUMNS": "100"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a wheel and a source distribution, built from a copy, so that nothing old in `build` is in them."""
    folder = tmp_path_factory.mktemp("built")
    names = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
    )
    copy = folder / "copy"
    for name in filter(None, names.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    program = "import setuptools.build_meta as backend; backend.build_sdist('..'); backend.build_wheel('..')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=copy, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield folder
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def environment_directory(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel. Dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (wheel,) = built.glob("*.whl")
    python = str(folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (packages,) = folder.glob("lib/python3*/site-packages")
    # A path that a .pth adds has its own .pth files ignored: an editable cowbook there is not found.
    theirs = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in theirs))
    return folder


def run(directory: Path, environment_directory: Path, *words: str) -> str:
    """Standard output of a `cowbook` of the fresh environment, which must end well."""
    command = [str(environment_directory / "bin" / "cowbook"), *words]
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_works_outside_of_the_checkout(environment_directory: Path, tmp_path: Path) -> None:
    """From a simulated capture over its configuration to Parquet, by the installed code."""
    program = "import cowbook; print(cowbook.__file__)"
    python = environment_directory / "bin" / "python"
    where = subprocess.run([python, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(environment_directory))
    assert re.fullmatch(r"cowbook \d+\.\d+\.\d+\n", run(tmp_path, environment_directory, "--version"))
    run(tmp_path, environment_directory, "simulate", "--messages", "200", "a.jsonl.gz")
    (tmp_path / "cowbook.toml").write_text(run(tmp_path, environment_directory, "init", "a.jsonl.gz"))
    assert "BTCUSDT" in run(tmp_path, environment_directory, "run", "cowbook.toml", "--once")
    assert list(tmp_path.glob("data/depth/symbol=BTCUSDT/*/*.parquet"))


def test_the_wheel_has_what_an_operator_needs(environment_directory: Path, tmp_path: Path) -> None:
    """Each file of `config` and `systemd` is listed and there; copied units start the command of this environment."""
    listed = {Path(line.strip()) for line in run(tmp_path, environment_directory, "files").splitlines() if line.startswith("  ")}
    assert all(path.is_file() and path.is_relative_to(environment_directory) for path in listed)
    ours = {path for top in ("config", "systemd") for path in (REPOSITORY / top).rglob("*") if path.is_file()}
    expected = {path.relative_to(REPOSITORY) for path in ours if path.parent.name != "__pycache__"}
    assert {Path(*path.parts[path.parts.index("files") + 1 :]) for path in listed} == expected
    run(tmp_path, environment_directory, "files", "copies")
    unit = (tmp_path / "copies" / "systemd" / "cowbook@.service").read_text()
    assert f"{environment_directory}/bin/cowbook run" in unit
    assert "@PREFIX@" not in unit


def test_the_wheel_has_types_completions_and_the_man_page(built: Path) -> None:
    """So that mypy, the shells and man find them."""
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "cowbook/py.typed" in names
    for name in ("man/man1/cowbook.1", "bash-completion/completions/cowbook.bash", "zsh/site-functions/_cowbook"):
        assert any(path.endswith(f"data/share/{name}") for path in names)
    assert not [path for path in names if path.startswith("tests") or "__pycache__" in path]


def test_a_source_distribution_is_a_checkout(built: Path) -> None:
    """All that git knows is in it: tests, pages, Makefile."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    known = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    assert {name for name in known if name and (REPOSITORY / name).is_file()} <= names
