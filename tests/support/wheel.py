"""The wheel of this checkout in an environment of its own, and commands that people type there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from cowbook.kernels.cache import cache_folder

REPOSITORY = Path(__file__).resolve().parents[2]
_NEEDED_SETUPTOOLS = 77  # as pyproject.toml says


def why_not() -> str | None:
    """What is missing for building one; None when nothing is."""
    if not (REPOSITORY / ".git").exists():
        return "no git checkout, which says what belongs to it"
    if int(version("setuptools").partition(".")[0]) < _NEEDED_SETUPTOOLS:
        return f"setuptools {version('setuptools')} is too old to build with: make setup"
    return None


def environment() -> dict[str, str]:
    """Without what would lead to this checkout, and with its compiled kernels."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COWBOOK"))}
    return clean | {"NUMBA_CACHE_DIR": str(cache_folder().parent), "COLUMNS": "100"}


def build(folder: Path) -> None:
    """Build a wheel and a source distribution into a directory, from a copy, so that nothing old in `build` is in them."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
    )
    copy = folder / "copy"
    for name in filter(None, names.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    program = "import setuptools.build_meta as backend; backend.build_sdist('..'); backend.build_wheel('..')"
    _must([sys.executable, "-c", program], cwd=copy)
    shutil.rmtree(copy)


def install(wheel: Path, folder: Path) -> None:
    """Make an environment with the wheel. Dependencies are those of the tests."""
    _must([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = str(folder / "bin" / "python")
    _must([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", str(wheel)])
    (packages,) = folder.glob("lib/python3*/site-packages")
    # A path that a .pth adds has its own .pth files ignored: an editable cowbook there is not found.
    theirs = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in theirs))


def _must(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a `console` block, continued lines and all, each with what the page prints below it."""
    found = []
    for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        match = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", text, re.DOTALL)
        assert match is not None
        found.append((match[1], match[2]))
    return found


@dataclass
class Shell:
    """A shell in a directory, with the commands of an environment on its PATH."""

    environment: Path
    directory: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *, code: int = 0) -> str:
        """What a command prints on standard output. It must end with this exit code."""
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.directory,
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == code, f"$ {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def python(self, source: str) -> str:
        """What a Python program prints."""
        path = self.directory / ".program.py"
        path.write_text(source)
        return self.run(f"python {path}")

    def query(self, source: str) -> int:
        """The number of rows that a query finds, by DuckDB."""
        program = f"import duckdb\nprint(len(duckdb.connect().execute({source!r}).fetchall()))"
        return int(self.python(program))

    def environ(self) -> dict[str, str]:
        """The variables of the environment that commands see."""
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return environment() | {"PATH": path} | self.variables


def add_duckdb(folder: Path) -> None:
    """Add a command `duckdb FILE -c SQL` to an environment: what the pages use of DuckDB's own, which PyPI does not have."""
    program = f"""\
        #!{folder / "bin" / "python"}
        import sys
        import duckdb
        file, option, text = sys.argv[1:]
        assert option == "-c"
        print(duckdb.connect(file).execute(text).fetchall())
        """
    path = folder / "bin" / "duckdb"
    path.write_text(textwrap.dedent(program))
    path.chmod(0o755)
