"""The completions and the man page below config/shell are those of the command line as it is: `make shell-files` writes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cowbook.cli.parser import find_parsers, make_parser

SHELL = Path(__file__).resolve().parents[3] / "config" / "shell"
NAMES = ("cowbook.bash", "_cowbook", "cowbook.fish", "cowbook.1")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_is_in_it(name: str) -> None:
    """One that is missing: run `make shell-files`."""
    content = (SHELL / name).read_text().replace("\\-", "-")
    for parser in find_parsers(make_parser()):
        assert all(command in content for command in parser.commands())
        for option in {*parser.options()} - {"-h", "--help"}:  # man pages leave them out
            wanted = option.lstrip("-") if name == "cowbook.fish" else option
            assert wanted in content, f"{parser.prog} {option}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["cowbook", "in"], {"init", "inspect"}),
        (["cowbook", "run", "--o"], {"--once"}),
        (["cowbook", "checkpoints", "pr"], {"prune"}),
        (["cowbook", "warm", "--format", "kra"], {"kraken", "kraken_futures"}),
    ],
)
def test_bash_completes(words: list[str], offered: set[str]) -> None:
    """Commands, options, commands of commands, and formats."""
    script = (
        f"source {SHELL / 'cowbook.bash'}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_shtab_cowbook; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) == offered


def test_the_man_page_names_the_command() -> None:
    """As whatis(1) wants it, and without a date, which would change each day."""
    page = (SHELL / "cowbook.1").read_text()
    assert ".SH NAME\ncowbook \\- exact limit order books" in page
    assert page.splitlines()[0].startswith('.TH COWBOOK "1" "" "cowbook ')
