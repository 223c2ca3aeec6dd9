"""What the pages name is there: paths, functions, modules, links and their anchors."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "daemon" / "cowbook"
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
_TOPS = {path.name for path in REPOSITORY.iterdir() if path.is_dir()} - {"build"}
_ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_dir()}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def code_spans(page: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", text_of(page))


def find(path: str) -> Path | None:
    """A path of the repository or of the package, or a file's name that only one module has."""
    for root in (REPOSITORY, PACKAGE):
        if (root / path).exists():
            return root / path
    found = list(PACKAGE.rglob(path)) if "/" not in path else []
    return found[0] if len(found) == 1 else None


@cache
def names_in(path: Path) -> set[str]:
    """Functions, classes, methods and constants of a module."""
    names: set[str] = set()

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    add(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign):
                names.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(prefix + node.target.id)

    add(ast.parse(path.read_text()).body, "")
    return names


@pages
def test_paths_exist(page: Path) -> None:
    """Each path that a page names, of the repository or of the package, is there."""
    for span in code_spans(page):
        path = span.partition(":")[0]
        is_path = re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", path) is not None
        first = path.split("/")[0]
        if is_path and (path.endswith(".py") or ("/" in path and first in _TOPS | _ROOMS)) and "*" not in path:
            assert find(path), f"{page.name}: `{span}`"


@pages
def test_functions_exist(page: Path) -> None:
    """Each `file.py:name` of a page is in that file."""
    for span in code_spans(page):
        match = re.fullmatch(r"([\w./-]+\.py):([\w.]+)", span)
        if match is not None:
            path = find(match[1])
            assert path is not None, f"{page.name}: `{span}`"
            assert match[2] in names_in(path), f"{page.name}: `{span}`"


@pages
def test_modules_exist(page: Path) -> None:
    """Each dotted name that begins with cowbook leads to a module, a room, or a name in one."""
    for span in code_spans(page):
        match = re.match(r"(cowbook(?:\.\w+)+)(?:$|\()", span)
        if match is None or match[1].split(".")[-1] in ("toml", "rules", "target"):
            continue
        parts = match[1].split(".")[1:]
        place = PACKAGE
        while parts and (place / parts[0]).is_dir():
            place /= parts.pop(0)
        is_module = parts and (place / f"{parts[0]}.py").is_file()
        path = place / (f"{parts.pop(0)}.py" if is_module else "__init__.py")
        if parts:
            known = names_in(path) | set(re.findall(r'"(\w+)"', path.read_text()))
            assert ".".join(parts) in known, f"{page.name}: `{span}`"


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file leads to one, and its anchor to a heading there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}"


def test_architecture_names_every_room() -> None:
    """The page of the tree has each room of the package, and each module of its root."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    for room in sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        assert f"`{room}/`" in page, room


def test_adrs_have_a_date_and_a_status() -> None:
    """Each decision says when it was made and whether it holds, and they are numbered without holes."""
    decisions = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))
    for number, path in enumerate(decisions, 1):
        lines = path.read_text().splitlines()
        assert path.name.startswith(f"{number:04d}-")
        assert lines[0].startswith(f"# {number}. ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d\. (Accepted|Superseded by ADR \d+)[.,].*", lines[2]), path.name


def test_adrs_are_named_by_the_code() -> None:
    """Each decision is named by a module of the package that rests on it."""
    code = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
    named = {int(number) for number in re.findall(r"\bADR (\d+)\b", code)}
    assert named == set(range(1, len(list((REPOSITORY / "docs" / "adr").glob("*.md"))) + 1))
