"""Writes the shells' completions and the man page beside this file, from the command line's parser: `make shell-files`."""

from __future__ import annotations

import re
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from cowbook import __version__
from cowbook.cli.parser import find_parsers, make_parser
from cowbook.venues import venue_names

HERE = Path(__file__).resolve().parent
FILES = {"bash": "cowbook.bash", "zsh": "_cowbook", "fish": "cowbook.fish"}
MAN_PAGE = "cowbook.1"

_NAMES_FILE = ("config", "file", "out", "paths")
_NAMES_DIRECTORY = ("state_dir", "directory")


def make_files() -> dict[str, str]:
    """The content of each file, by its name."""
    parser = make_parser()
    man_page = str(Manpage(parser, format="single-commands-section"))
    for each in find_parsers(parser):
        for action in each._actions:  # noqa: SLF001 - argparse has no other way
            if action.dest in _NAMES_FILE:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.dest in _NAMES_DIRECTORY:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.dest == "format":
                action.choices = venue_names()
    # A date would change the page each day.
    man_page = re.sub(
        r"^\.TH .*$", f'.TH COWBOOK "1" "" "cowbook {__version__}" "User Commands"', man_page, count=1, flags=re.MULTILINE
    )
    what = str(parser.description).rstrip(".")
    man_page = man_page.replace(".SH NAME\ncowbook\n", f".SH NAME\ncowbook \\- {what[:1].lower()}{what[1:]}\n")
    return {MAN_PAGE: man_page} | {name: shtab.complete(parser, shell) for shell, name in FILES.items()}


if __name__ == "__main__":
    for name, content in make_files().items():
        (HERE / name).write_text(content.rstrip("\n") + "\n", encoding="utf-8")
