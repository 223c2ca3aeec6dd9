"""What is in a kernel's digest: everything that its machine code depends on, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

import cowbook
from cowbook.kernels import frozen
from cowbook.kernels.frozen import digest_of
from cowbook.kernels.jit import KERNELS, Kernel

SOURCE = """
from typing import NamedTuple
import numpy as np
from cowbook.kernels.jit import inlined_kernel, kernel
LIMIT = 3
NAMES = (1, 2)
ROW = np.dtype([("a", np.int64), ("b", np.int64)])
class Group(NamedTuple):
    first: int
    second: int
@kernel
def callee(x):
    return x + LIMIT
@kernel
def caller(x):
    "Says something."
    group = Group(x, NAMES[0])  # a pair
    return callee(group.first) + ROW.itemsize
"""

for module in pkgutil.walk_packages(cowbook.__path__, "cowbook."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
ALL = dict(KERNELS)
"""Every kernel of the package; importing a module in which one is declared lists it."""


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are made anew."""
    monkeypatch.setattr(frozen, "_digests", {})


def digest_in(source: str) -> str:
    """Of `caller` in a module with this source."""
    module = ModuleType("example")
    exec(compile(source, "example.py", "exec"), module.__dict__)  # noqa: S102 - our own text, with edits
    made: FunctionType = module.__dict__["caller"].py_func
    return digest_of(made)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("# a pair", "# two  of them", id="comment"),
        pytest.param("Says something.", "Says something else.", id="docstring"),
        pytest.param("LIMIT = 3", "\n\n\nLIMIT = 3", id="lines"),
        pytest.param("def callee(x):", "def other(x):\n    return 1\n@kernel\ndef callee(x):", id="a kernel that is not called"),
        pytest.param("LIMIT = 3", "LIMIT = 2 + 1", id="a constant written otherwise"),
    ],
)
def test_an_edit_without_effect_on_machine_code_keeps_the_digest(old: str, new: str) -> None:
    """An edit that changes no machine code changes no digest."""
    assert old in SOURCE
    assert digest_in(SOURCE.replace(old, new)) == digest_in(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("ROW.itemsize", "ROW.itemsize + 1", id="its own code"),
        pytest.param("LIMIT = 3", "LIMIT = 4", id="a constant of a callee"),
        pytest.param("NAMES = (1, 2)", "NAMES = (2, 1)", id="a tuple's order"),
        pytest.param('("b", np.int64)', '("b", np.int32)', id="a dtype"),
        pytest.param("    first: int\n    second: int", "    second: int\n    first: int", id="a named tuple's fields"),
        pytest.param("return x + LIMIT", "return x - LIMIT", id="a callee's code"),
        pytest.param("@kernel\ndef callee", "@inlined_kernel\ndef callee", id="how a callee is compiled"),
    ],
)
def test_an_edit_of_machine_code_changes_the_digest(old: str, new: str) -> None:
    """An edit that changes machine code changes the digest."""
    assert old in SOURCE
    assert digest_in(SOURCE.replace(old, new)) != digest_in(SOURCE)


def test_a_value_without_a_digest_is_an_error() -> None:
    """A value of an unknown kind is not left out silently."""
    with pytest.raises(TypeError, match="of which no digest can be made"):
        digest_in(SOURCE.replace("NAMES = (1, 2)", "NAMES = [1, 2]"))


def test_every_kernel_has_a_digest() -> None:
    """The kernels of the package name only values of known kinds."""
    assert len(ALL) > 100
    digests = {name: digest_of(compiled.py_func) for name, compiled in ALL.items()}
    assert len(set(digests.values())) > len(ALL) - 5  # a few are alike but for where they stand


def frozen_numbers(compiled: Kernel) -> Iterator[str]:
    """Names of the numbers that a kernel's code loads from its module."""
    for name in compiled.py_func.__code__.co_names:
        if isinstance(compiled.py_func.__globals__.get(name), int | float | np.integer):
            yield name


def roots_above() -> dict[str, set[str]]:
    """By kernel: it, and all that call it, directly or not."""
    callers: dict[str, set[str]] = {name: {name} for name in ALL}
    names = {id(compiled): name for name, compiled in ALL.items()}
    for name, compiled in ALL.items():
        for called in compiled.py_func.__code__.co_names:
            value = compiled.py_func.__globals__.get(called)
            if id(value) in names:
                callers[names[id(value)]].add(name)
    changed = True
    while changed:
        changed = False
        for above in callers.values():
            more = set().union(*(callers[other] for other in above)) - above
            above.update(more)
            changed |= bool(more)
    return callers


ABOVE = roots_above()


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_changed_constant_changes_all_digests_above_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a kernel were missing in the digest of its callers, stale code would run."""
    compiled = ALL[name]
    before = {above: digest_of(ALL[above].py_func) for above in ABOVE[name]}
    for constant in frozen_numbers(compiled):
        monkeypatch.setattr(frozen, "_digests", {})
        value: Any = compiled.py_func.__globals__[constant]
        with monkeypatch.context() as patch:
            patch.setitem(compiled.py_func.__globals__, constant, -value or 1)
            for above, digest in before.items():
                assert digest_of(ALL[above].py_func) != digest, (constant, above)
