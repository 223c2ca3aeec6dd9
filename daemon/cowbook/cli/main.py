"""`cowbook`: arguments, exit codes, and errors as one line each."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cowbook import __version__
from cowbook.errors import ConfigError, CowbookError

EXIT_DONE = 0
EXIT_FAILED = 1  # a symbol failed
EXIT_USAGE = 2
EXIT_CONFIG = 78  # wrong configuration: systemd must not restart it
_EXIT_INTERRUPTED = 130
_URL = "http://127.0.0.1:9464"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cowbook",
        description="Exact limit order books from recorded exchange captures, as Parquet.",
        epilog="Exit codes: 0 done, 1 a symbol failed, 2 wrong usage, 78 wrong configuration, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"cowbook {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="reconstruct every symbol of a configuration, and go on until stopped")
    run.add_argument("config", type=Path, metavar="CONFIG")
    run.add_argument("--once", action="store_true", help="to the end of the input, then a summary; nothing is followed or served")
    run.add_argument("--json", action="store_true", help="with --once: the summary as JSON on standard output")
    run.add_argument(
        "--allow-fresh",
        action="store_true",
        help="where what is there does not fit, move it away and start from the beginning",
    )

    check = commands.add_parser("check", help="validate a configuration, and say what would be read and written")
    check.add_argument("config", type=Path, metavar="CONFIG")

    _add_clients(commands)
    _add_checkpoints(commands)

    report = commands.add_parser("report", help="per symbol and day: what can be trusted")
    report.add_argument("directory", type=Path, metavar="STATE_DIR|OUTPUT_DIR")
    report.add_argument("--symbol", metavar="ID", help="only this symbol")
    forms = report.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--markdown", action="store_true", help="a Markdown table on standard output")

    commands.add_parser("warm", help="compile the kernels into the cache")

    simulate = commands.add_parser("simulate", help="write a realistic capture in Binance's format")
    simulate.add_argument("out", type=Path, metavar="OUT", help="the file; .gz and .zst are compressed")
    simulate.add_argument("--symbol", type=_symbol, default="BTCUSDT", help="what the records call it (default: BTCUSDT)")
    simulate.add_argument("--messages", type=_positive, default=60_000, help="number of depth diffs (default: 60000)")
    simulate.add_argument("--seed", type=int, default=1, help="another seed, another capture (default: 1)")
    simulate.add_argument("--gaps", type=int, default=0, help="number of places where diffs are missing (default: 0)")
    simulate.add_argument("--futures", action="store_true", help="as on USD-M futures")
    return parser


def _add_clients(commands: Any) -> None:
    helps = {
        "status": "what a running cowbook does, as a table",
        "checkpoint": "ask a running cowbook for a checkpoint of every symbol, and print the epochs",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("url", nargs="?", default=_URL, metavar="URL", help=f"of its HTTP endpoint (default: {_URL})")
        command.add_argument("--json", action="store_true", help="JSON on standard output")
        if name == "checkpoint":
            command.add_argument("--symbol", metavar="ID", help="only of this symbol")
            command.add_argument("--token", metavar="TOKEN", help="what its [http] token says (default: $COWBOOK_HTTP__TOKEN)")
            command.add_argument(
                "--wait", action=argparse.BooleanOptionalAction, default=True, help="wait until it is durable (default)"
            )


def _add_checkpoints(commands: Any) -> None:
    checkpoints = commands.add_parser("checkpoints", help="look at the checkpoints of a state directory")
    actions = checkpoints.add_subparsers(dest="action", required=True, metavar="ACTION")
    helps = {
        "list": "a table of all checkpoints, each verified",
        "show": "everything that the newest one, or that of --epoch, says",
        "verify": "check every digest; exit code 1 when one does not hold",
        "prune": "remove old ones; never the newest two, and never beside a running cowbook",
    }
    for name, text in helps.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("state_dir", type=Path, metavar="STATE_DIR")
        action.add_argument("--symbol", metavar="ID", help="only this symbol")
        action.add_argument("--epoch", type=_positive, metavar="N", help="only this checkpoint")
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        if name == "prune":
            action.add_argument("--retain", type=_retain, default=3, metavar="N", help="how many stay (default: 3, at least 2)")


def _retain(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError("must be a number, at least 2")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a positive number")
    return int(text)


def _symbol(text: str) -> str:
    from cowbook.config import symbol_name

    try:
        return symbol_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "run" and arguments.json and not arguments.once:
        parser.error("--json goes with --once: a running service says what it does at /status")
    try:
        command = importlib.import_module(f"cowbook.cli.{arguments.command}")
        code: int = command.main(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except CowbookError as error:
        print(f"cowbook: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("cowbook: interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away: nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    return code
