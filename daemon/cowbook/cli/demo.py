"""`cowbook demo`: from nothing to a reconstructed day and its report."""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path

from cowbook.cli import plot, report, run, simulate
from cowbook.cli.console import plain_console, print_prose
from cowbook.cli.parser import make_parser
from cowbook.errors import CowbookError
from cowbook.plain.escaping import escaped

_MESSAGES = 14_400
_SECONDS_PER_DAY = 86_400
_INTERVAL_NS = _SECONDS_PER_DAY * 1_000_000_000 // _MESSAGES
_CAPTURE = "BTCUSDT.jsonl.gz"
_PICTURE = "day.png"
_CONFIGURATION = f"""\
# Made by `cowbook demo`. Relative paths are relative to this file.
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["{_CAPTURE}"]
"""
_INSTANT = "2024-08-09T12:34:56Z"


def main(arguments: argparse.Namespace) -> int:
    """Simulate, run, report, and draw the day where matplotlib is there. Returns 1 if that fails.

    Raises CowbookError if the directory has anything in it.
    """
    directory: Path = arguments.directory
    _make_empty(directory)
    capture, configuration = directory / _CAPTURE, directory / "cowbook.toml"
    code = simulate.write_day(capture, messages=_MESSAGES, interval_ns=_INTERVAL_NS)
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    code = code or run.main(_parse("run", str(configuration), "--once"))
    code = code or report.main(_parse("report", str(directory / "state")))
    can_plot = find_spec("matplotlib") is not None
    if can_plot:
        code = code or plot.main(_parse("plot", str(directory / "data"), "--symbol", "BTCUSDT", str(directory / _PICTURE)))
    if code == 0:
        print()
        picture = f", {_PICTURE} a picture of the day" if can_plot else ""
        what = f"{_CAPTURE} is the capture, data/ the Parquet, state/ the checkpoints{picture}"
        print_prose(plain_console(), f"{directory}: {what}. Next:")
        for command in next_commands(directory):
            print(escaped(f"  {command}"))
    return code


def next_commands(directory: Path) -> list[str]:
    """What to try with a demo's directory."""

    def path(name: str) -> str:
        return shlex.quote(str(directory / name))

    return [
        f"cowbook inspect {path(_CAPTURE)}",
        f"cowbook book {path('data')} --symbol BTCUSDT --at {_INSTANT} --levels 5",
        f"cowbook plot {path('data')} --symbol BTCUSDT {path('day.html')}",
        f"cowbook checkpoints list {path('state')}",
        "cowbook init YOUR-CAPTURES > cowbook.toml",
    ]


def _parse(*words: str) -> argparse.Namespace:
    """A command's arguments, with its defaults."""
    parsed: argparse.Namespace = make_parser().parse_args(words)
    return parsed


def _make_empty(directory: Path) -> None:
    """Make the directory, unless it is there and empty. Raises CowbookError: nothing is ever overwritten."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CowbookError(f"{directory}: not empty, and a demo overwrites nothing: give a new directory, or remove it first")
    except OSError as error:
        raise CowbookError(f"{directory}: cannot be made: {error.strerror}; give another directory") from error
