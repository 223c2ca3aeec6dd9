"""What `import cowbook` offers: its names, its types, and what is said of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import cowbook


def test_dir_shows_the_public_names() -> None:
    """`dir(cowbook)` shows exactly what can be used, also what has not been loaded yet."""
    assert dir(cowbook) == sorted(cowbook.__all__)
    for name in cowbook.__all__:
        assert getattr(cowbook, name) is not None


def test_dir_loads_nothing() -> None:
    """Looking at the names, in a new process, does not load the compiler."""
    script = "import sys, cowbook; dir(cowbook); sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": str(Path(cowbook.__file__).parents[1])})


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that there is not is said by name."""
    with pytest.raises(AttributeError, match="replays"):
        _ = cowbook.replays


def test_types_are_shipped() -> None:
    """The marker of PEP 561 lies in the package: without it a user's mypy takes every name for Any."""
    assert (Path(cowbook.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", [name for name in cowbook.__all__ if name != "__version__"])
def test_every_public_member_is_described(name: str) -> None:
    """Every public class, method and property has a docstring."""
    public = getattr(cowbook, name)
    assert public.__doc__
    for member, value in inspect.getmembers(public):
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert value.__doc__, f"{name}.{member}"


@pytest.mark.parametrize("name", ["features", "replay", "scan"])
def test_every_parameter_is_described(name: str) -> None:
    """Each parameter of a function, each optional one with its default."""
    described = getattr(cowbook, name).__doc__ or ""
    for parameter in inspect.signature(getattr(cowbook, name)).parameters.values():
        assert f"`{parameter.name}`" in described
        if parameter.default is not inspect.Parameter.empty:
            default = {1 << 20: "1 MiB"}.get(parameter.default, str(parameter.default))
            place = described.index(f"`{parameter.name}`, ")
            assert default in described[place : place + 60]
