"""The command line's own answers: hints to what was meant, and help that shows how."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from cowbook.cli.main import EXIT_USAGE, main
from cowbook.cli.parser import Parser, find_parsers, make_parser

COMMANDS = [parser for parser in find_parsers(make_parser()) if not parser.commands()]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rnu"], "did you mean run?"),
        (["statsu"], "did you mean status?"),
        (["checkpoints", "lst", "state"], "did you mean list?"),
        (["run", "x.toml", "--onec"], "did you mean --once?"),
        (["checkpoints", "prune", "state", "--retian=3"], "did you mean --retain?"),
        (["warm", "--format", "Binanse"], "did you mean binance?"),
    ],
)
def test_what_may_have_been_meant_is_said(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of commands, options and formats; exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


def test_nothing_is_guessed_where_nothing_is_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """The choices are listed all the same."""
    with pytest.raises(SystemExit):
        main(["xylophone"])
    said = capsys.readouterr().err
    assert "did you mean" not in said
    assert "choose from" in said


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_help_has_an_example_that_the_parser_takes(parser: Parser) -> None:
    """An example is a line that may be copied."""
    assert parser.epilog is not None
    assert parser.epilog.startswith("example")
    examples = [line.strip() for line in parser.epilog.splitlines()[1:]]
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" > ")[0].partition(" | ")[0].partition(" && ")[0])
        assert words[: len(parser.prog.split())] == parser.prog.split()
        make_parser().parse_args(words[1:])


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_help_says_the_defaults(parser: Parser) -> None:
    """Of each option that has one, in its own text."""
    for action in parser._actions:
        default: Any = action.default
        if action.option_strings and default not in (None, False, "==SUPPRESS=="):
            assert "default" in (action.help or ""), action.option_strings
            assert default is True or str(default) in (action.help or "")


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """It is wrong usage all the same."""
    assert main([]) == EXIT_USAGE
    shown = capsys.readouterr()
    assert not shown.out
    assert re.search(r"^ +demo +\S", shown.err, re.MULTILINE)
