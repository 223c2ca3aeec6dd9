"""`cowbook`: parses the arguments, runs the command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cowbook import __version__
from cowbook.cli.streams import make_unbreakable
from cowbook.errors import ConfigError, CowbookError
from cowbook.plain.escaping import escaped

EXIT_FAILED = 1  # a symbol failed
EXIT_USAGE = 2
EXIT_CONFIG = 78  # wrong configuration: systemd must not restart it
_EXIT_INTERRUPTED = 130
_URL = "http://127.0.0.1:9464"


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cowbook",
        description="Exact limit order books from recorded exchange captures, as Parquet.",
        epilog="Exit codes: 0 done, 1 a symbol failed, 2 wrong usage, 78 wrong configuration, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"cowbook {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="reconstruct every symbol of a configuration, until stopped")
    run.add_argument("config", type=Path, metavar="CONFIG")
    run.add_argument(
        "--once", action="store_true", help="stop at the end of the input and print a summary; follow and serve nothing"
    )
    run.add_argument("--json", action="store_true", help="with --once: the summary as JSON on standard output")
    run.add_argument(
        "--allow-fresh",
        action="store_true",
        help="if existing state or output does not fit, move it away and start from the beginning",
    )

    check = commands.add_parser("check", help="validate a configuration, and show what would be read and written")
    check.add_argument("config", type=Path, metavar="CONFIG")

    _add_clients(commands)
    _add_checkpoints(commands)

    report = commands.add_parser("report", help="show what can be trusted, per symbol and day")
    report.add_argument("directory", type=Path, metavar="STATE_DIR|OUTPUT_DIR")
    report.add_argument("--symbol", metavar="ID", help="only this symbol")
    forms = report.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--markdown", action="store_true", help="a Markdown table on standard output")

    _add_book(commands)

    warm = commands.add_parser("warm", help="compile the kernels into the cache")
    warm.add_argument(
        "--format", type=_parse_format, action="append", metavar="F", help="only what this format needs; may be given again"
    )

    simulate = commands.add_parser("simulate", help="write a realistic capture in Binance's format")
    simulate.add_argument("out", type=Path, metavar="OUT", help="the file; .gz and .zst compress it")
    simulate.add_argument("--symbol", type=_parse_symbol, default="BTCUSDT", help="its name in the records (default: BTCUSDT)")
    simulate.add_argument("--messages", type=_parse_positive, default=60_000, help="number of depth diffs (default: 60000)")
    simulate.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes (default: 1)")
    simulate.add_argument("--gaps", type=int, default=0, help="number of places where diffs are missing (default: 0)")
    simulate.add_argument("--futures", action="store_true", help="USD-M futures instead of spot")
    return parser


def _add_clients(commands: Any) -> None:
    helps = {
        "status": "show what a running cowbook does",
        "checkpoint": "ask a running cowbook for a checkpoint of every symbol, and print the epochs",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("url", nargs="?", default=_URL, metavar="URL", help=f"its HTTP endpoint (default: {_URL})")
        command.add_argument("--json", action="store_true", help="JSON on standard output")
        if name == "checkpoint":
            command.add_argument("--symbol", metavar="ID", help="only this symbol")
            command.add_argument("--token", metavar="TOKEN", help="its [http] token (default: $COWBOOK_HTTP__TOKEN)")
            command.add_argument(
                "--wait",
                action=argparse.BooleanOptionalAction,
                default=True,
                help="wait until the checkpoints are durable (default)",
            )


def _add_book(commands: Any) -> None:
    book = commands.add_parser("book", help="show the book at any instant of an output directory, with its proof, or a live one")
    book.add_argument("data", metavar="OUTPUT_DIR|URL", help="published parts, or a running cowbook's HTTP endpoint")
    book.add_argument("--symbol", metavar="ID", required=True)
    instants = book.add_mutually_exclusive_group()
    instants.add_argument("--at", metavar="TIME", help="ISO 8601, in UTC unless it has a zone (default: the end)")
    instants.add_argument("--event", type=_parse_event, metavar="N", help="behind the message with this event_index")
    book.add_argument("--levels", type=_parse_positive, metavar="N", help="the best N levels (default: 10; all in a file)")
    book.add_argument("--token", metavar="TOKEN", help="of a URL: its [http] token (default: $COWBOOK_HTTP__TOKEN)")
    forms = book.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--parquet", type=Path, metavar="FILE", help="write the levels as Parquet")

    sql = commands.add_parser("sql", help="print views and macros for DuckDB: the book at a time, spread, depth within x bp")
    sql.add_argument("directory", type=Path, metavar="OUTPUT_DIR")


def _add_checkpoints(commands: Any) -> None:
    checkpoints = commands.add_parser("checkpoints", help="list, verify or remove the checkpoints of a state directory")
    actions = checkpoints.add_subparsers(dest="action", required=True, metavar="ACTION")
    helps = {
        "list": "list all checkpoints, each verified",
        "show": "show all that the newest checkpoint holds, or that of --epoch",
        "verify": "check every digest; exit code 1 if one is wrong",
        "prune": "remove old checkpoints; never the newest two, and never beside a running cowbook",
    }
    for name, text in helps.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("state_dir", type=Path, metavar="STATE_DIR")
        action.add_argument("--symbol", metavar="ID", help="only this symbol")
        action.add_argument("--epoch", type=_parse_positive, metavar="N", help="only this checkpoint")
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        if name == "prune":
            action.add_argument(
                "--retain", type=_parse_retain, default=3, metavar="N", help="how many to keep (default: 3, at least 2)"
            )


def _parse_retain(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError("must be a number, at least 2")
    return int(text)


def _parse_positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a positive number")
    return int(text)


def _parse_event(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("must be a number, at least 0")
    return int(text)


def _parse_format(text: str) -> str:
    from cowbook.venues import venue_names

    if text not in venue_names():
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(venue_names())}")
    return text


def _parse_symbol(text: str) -> str:
    from cowbook.config import symbol_name

    try:
        return symbol_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _import_command(name: str) -> ModuleType:
    """Import a command's module. What modules are made of is never garbage; looking for some would take a tenth of the time."""
    gc.disable()
    try:
        return importlib.import_module(f"cowbook.cli.{name}")
    finally:
        gc.freeze()
        gc.enable()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    make_unbreakable()
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "run" and arguments.json and not arguments.once:
        parser.error("--json needs --once; ask a running service at /status instead")
    try:
        command = _import_command(arguments.command)
        code: int = command.main(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for problem in error.problems:
            print(escaped(f"{error.source}: {problem}"), file=sys.stderr)
        return EXIT_CONFIG
    except CowbookError as error:
        print(escaped(f"cowbook: {error}"), file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("cowbook: interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return code
