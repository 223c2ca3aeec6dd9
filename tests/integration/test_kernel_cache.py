"""The cache of compiled kernels, with processes of their own: what is found in it, and when it is not looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = """
from cowbook.kernels.jit import kernel
from {other} import callee
LIMIT = 3
@kernel
def root(x):
    return callee(x) + LIMIT  # the sum
"""
OTHER = """
from cowbook.kernels.jit import kernel
@kernel
def callee(x):
    return x * 2
"""
PROGRAM = """
import sys
from numba.core import event
class Count(event.Listener):
    compiled = 0
    def on_start(self, event): self.compiled += event.data["dispatcher"].py_func.__name__ == "root"
    def on_end(self, event): pass
count = Count()
event.register("numba:compile", count)
from example import root
print(root(20), count.compiled)
"""


class Checkout:
    """A folder with two modules of kernels, and a cache."""

    def __init__(self, folder: Path, cache_folder: Path) -> None:
        self.folder, self.cache_folder = folder, cache_folder
        folder.mkdir()
        self.write("example", MODULE.format(other="other"))
        self.write("other", OTHER)

    def write(self, name: str, source: str) -> None:
        """A module."""
        (self.folder / f"{name}.py").write_text(source)

    def run(self) -> tuple[int, int]:
        """In a process of its own: what the kernel gives, and how many versions of it were compiled."""
        environ = os.environ | {
            "NUMBA_CACHE_DIR": str(self.cache_folder),
            "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True)
        value, compiled = map(int, done.stdout.split())
        return value, compiled


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """With an empty cache."""
    return Checkout(tmp_path / "first", tmp_path / "cache")


def test_an_edit_compiles_what_it_touches(checkout: Checkout) -> None:
    """What was compiled is found by the next process; a comment compiles nothing, a constant and a callee's change do."""
    assert checkout.run() == (43, 1)
    assert checkout.run() == (43, 0)
    checkout.write("example", MODULE.format(other="other").replace("# the sum", "#  the sum "))
    assert checkout.run() == (43, 0)
    checkout.write("example", MODULE.format(other="other").replace("LIMIT = 3", "LIMIT = 4"))
    assert checkout.run() == (44, 1)
    checkout.write("other", OTHER.replace("x * 2", "x * 3"))
    assert checkout.run() == (64, 1)
    checkout.write("other", OTHER)
    checkout.write("example", MODULE.format(other="other"))
    assert checkout.run() == (43, 0)


def test_a_second_checkout_compiles_nothing(checkout: Checkout, tmp_path: Path) -> None:
    """The cache does not depend on the path of the code."""
    assert checkout.run() == (43, 1)
    assert Checkout(tmp_path / "second", checkout.cache_folder).run() == (43, 0)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="cut"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda content: content[:50] + b"x" + content[51:], id="altered"),
    ],
)
def test_a_damaged_file_is_compiled_again(checkout: Checkout, damage: Callable[[bytes], bytes]) -> None:
    """A power cut may leave anything."""
    assert checkout.run() == (43, 1)
    (file,) = (checkout.cache_folder / "kernels").glob("*root*.kernel")
    file.write_bytes(damage(file.read_bytes()))
    assert checkout.run() == (43, 1)
    assert checkout.run() == (43, 0)


def test_a_folder_that_others_can_write_to_is_not_used(checkout: Checkout) -> None:
    """What lies in the cache is code: a folder that is open to others is as good as none."""
    assert checkout.run() == (43, 1)
    (checkout.cache_folder / "kernels").chmod(0o777)
    assert checkout.run() == (43, 1)
    (checkout.cache_folder / "kernels").chmod(0o700)
    assert checkout.run() == (43, 0)
    checkout.cache_folder.chmod(0o777)
    assert checkout.run() == (43, 1)
    checkout.cache_folder.chmod(0o1777)  # as /tmp: nobody can replace what is ours
    assert checkout.run() == (43, 0)


GROUPED = """
from group import Group
from cowbook.kernels.jit import kernel
@kernel
def inner(x):
    return x.first + x.second
def root(x):
    return inner(Group(x, 3))
root.py_func = root
"""
GROUP = """
from typing import NamedTuple
class Group(NamedTuple):
    first: int
    second: int
"""


def test_a_group_that_moves_compiles_again(checkout: Checkout) -> None:
    """A cached kernel refers to the classes of its arguments by the modules that they stand in."""
    checkout.write("group", GROUP)
    checkout.write("example", GROUPED)
    assert checkout.run()[0] == 23
    checkout.write("elsewhere", GROUP)
    checkout.write("example", GROUPED.replace("from group", "from elsewhere"))
    (checkout.folder / "group.py").unlink()
    assert checkout.run()[0] == 23
