"""Rooms import only what lies below them: the order of docs/architecture.md, from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "daemon" / "cowbook"

BASE = {"plain", "kernels", "errors", "log"}
WORKER = BASE | {"objects", "capture", "input", "venues", "merge", "book", "sink", "checkpoint", "config", "symbol"}
MAY_IMPORT = {
    "errors": set[str](),
    "log": {"plain"},  # what people are shown is escaped
    "plain": {"errors"},  # durable_files raises
    "kernels": set[str](),
    "capture": BASE | {"objects"},
    "input": BASE,
    "merge": BASE,
    "book": BASE,
    "objects": {"plain", "errors"},
    "sink": BASE | {"objects"},
    "checkpoint": BASE | {"objects"},
    "venues": BASE | {"input"},
    "config": BASE | {"venues"},
    "symbol": WORKER,
    "inspection": WORKER,
    "query": {"plain", "errors"},
    "plot": {"plain", "errors", "query"},
    "library": WORKER | {"query"},
    "export": {"plain", "errors", "query"},
    "report": BASE | {"checkpoint", "query"},
    "simulate": BASE,
    "telemetry": WORKER | {"__init__"},
    "service": WORKER | {"telemetry", "__init__"},
    "cluster": WORKER | {"service", "telemetry", "__init__"},
    "cli": WORKER
    | {"cluster", "service", "telemetry", "inspection", "query", "plot", "export", "report", "simulate", "__init__"},
    "entry": {"cli", "service"},  # signals before everything else
    "__main__": {"entry"},
    "__init__": {"book", "errors", "library", "query"},
}
"""By room, or by module of the package's root: the others that it may import from."""

OUTSIDE = {
    "plain": {"numpy", "msgspec"},
    "book": {"numpy", "numba", "msgspec"},
    "merge": {"numpy"},
}
"""Libraries that a room may use, where that is a rule."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room of a module, or its own name on the package's root."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of all modules that a module imports, at whatever place."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            names |= {f"{base}.{alias.name}" for alias in node.names} if base == "cowbook" else {base}
    return names


def rooms_imported(path: Path) -> set[str]:
    """Rooms of cowbook that a module imports from, its own aside."""
    rooms = set()
    for name in imported(path):
        head, _, rest = name.partition(".")
        if head == "cowbook":
            first = rest.partition(".")[0]
            is_module = (PACKAGE / f"{first}.py").exists() or (PACKAGE / first).is_dir()
            rooms.add(first if is_module else "__init__")
    return rooms - {room_of(path)}


def test_every_room_has_its_place_in_the_order() -> None:
    """None is left out of the table, and the table names none that is not there."""
    assert {room_of(path) for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rooms_below(path: Path) -> None:
    """Vocabulary that two rooms share belongs into plain/."""
    assert rooms_imported(path) <= MAY_IMPORT[room_of(path)]


@pytest.mark.parametrize("room", OUTSIDE)
def test_plain_data_and_the_book_know_of_no_io(room: str) -> None:
    """Neither asyncio, nor files, nor Arrow: only what computes."""
    import sys

    used = {name.partition(".")[0] for path in (PACKAGE / room).rglob("*.py") for name in imported(path)}
    assert used - {"cowbook"} - set(sys.stdlib_module_names) <= OUTSIDE[room]
    assert not used & {"asyncio", "threading", "concurrent", "subprocess", "socket"}


def test_nothing_below_the_service_knows_of_http_or_signals() -> None:
    """What a symbol does can be used without a process around it."""
    below = [path for path in MODULES if room_of(path) not in ("service", "telemetry", "cluster", "cli", "entry", "__main__")]
    for path in below:
        wrong = {name.partition(".")[0] for name in imported(path)} & {"aiohttp", "prometheus_client"}
        assert not wrong, (path, wrong)


def test_one_module_knows_the_engine_and_only_the_commands_know_the_cluster() -> None:
    """A service is the same on one machine and on several."""
    assert [path.name for path in MODULES if "ray" in {name.partition(".")[0] for name in imported(path)}] == ["ray_cluster.py"]
    assert {room_of(path) for path in MODULES if "cluster" in rooms_imported(path)} == {"cli"}


def test_rooms_form_no_circle() -> None:
    """Taking away rooms that import nothing more, again and again, leaves none."""
    graph = {room: {other for path in MODULES if room_of(path) == room for other in rooms_imported(path)} for room in MAY_IMPORT}
    while graph:
        free = {room for room, others in graph.items() if not others & graph.keys()}
        assert free, graph
        graph = {room: others for room, others in graph.items() if room not in free}
