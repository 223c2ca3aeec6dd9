"""The site's references are made of what they describe, and the site has every page."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import cowbook
from cowbook.cli.parser import find_parsers, make_parser
from cowbook.config import Config

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """docs/site/references.py, which is no package."""
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    yield import_module("references")
    sys.modules.pop("references", None)
    sys.modules.pop("build", None)


def test_every_option_is_in_the_command_line_reference(references: ModuleType) -> None:
    """Below the heading of its command."""
    sections = dict(
        re.findall(r"^## (cowbook[^\n]*)\n(.*?)(?=^## |\Z)", references.command_line_page(), re.DOTALL | re.MULTILINE)
    )
    parsers = find_parsers(make_parser())[1:]
    assert list(sections) == [parser.prog for parser in parsers]
    for parser in parsers:
        for option in {*parser.options()} - {"-h", "--help"}:
            assert re.search(rf"^\| `[^`]*{option}\b", sections[parser.prog], re.MULTILINE), f"{parser.prog} {option}"


def test_every_key_is_in_the_configuration_reference(references: ModuleType) -> None:
    """With its type, its default and words about it: no cell is empty."""
    page = references.configuration_page((DOCS.parent / "config" / "cowbook.toml").read_text())
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    keys = []
    for field in Config.model_fields.values():
        model = references._model(field)
        if model is not None:
            keys += list(model.model_fields)
    assert [row[0] for row in rows] == keys
    described = {key: (kind, default) for key, kind, default, _ in rows}
    assert described["book_levels"] == ("whole number from 1 to 1,000", "`20`")
    assert described["part_interval"] == ("duration", "`1h`")
    assert described["follow"] == ("true or false", "`false`")
    assert described["paths"] == ("list of texts", "required")


def test_a_key_without_words_is_an_error(references: ModuleType) -> None:
    """A new one needs its line in config/cowbook.toml."""
    sample = (DOCS.parent / "config" / "cowbook.toml").read_text()
    without = re.sub(r"^retain .*$", "", sample, flags=re.MULTILINE)
    with pytest.raises(ValueError, match=r"\[checkpoint\] retain has no comment"):
        references.configuration_page(without)


def test_every_public_name_is_in_the_library_reference(references: ModuleType) -> None:
    """Functions and classes; the version needs no words."""
    named = set(re.findall(r"auto(?:function|class):: [\w.]+\.(\w+)$", references.library_page(), re.MULTILINE))
    assert named == set(cowbook.__all__) - {"__version__"}


def test_links_lead_to_pages_beside_each_other(references: ModuleType) -> None:  # noqa: ARG001 - it makes build.py importable
    """Of pages above docs/, and of those in it. Names of directories stay, without a link."""
    adapt_links = import_module("build").adapt_links
    assert (
        adapt_links("[a](../CONTRIBUTING.md#x) [b](docs/guide.md) [c](input.md)")
        == "[a](CONTRIBUTING.md#x) [b](guide.md) [c](input.md)"
    )
    assert adapt_links("[rules](../config/prometheus), [why](docs/adr)") == "rules, why"


def test_a_notebook_becomes_a_page(references: ModuleType) -> None:  # noqa: ARG001 - it makes build.py importable
    """Words without their `#`, code in blocks, in their order."""
    text = "# %% [markdown]\n# # Title\n#\n# Words.\n\n# %%\nx = 1  # one\n# a comment\n"
    assert import_module("build").page_of_notebook(text) == "# Title\n\nWords.\n\n```python\nx = 1  # one\n# a comment\n```\n"


def test_the_navigation_has_every_page() -> None:
    """Each page of docs/ once."""
    named = re.findall(
        r"^([\w-]+)$", "\n".join(re.findall(r"```{toctree}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)), re.MULTILINE
    )
    made = {"cli", "configuration", "api", "CONTRIBUTING", "CHANGELOG"}
    assert sorted(named) == sorted({path.stem for path in DOCS.glob("*.md")} - {"index"} | made)
