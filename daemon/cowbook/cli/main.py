"""`cowbook`: takes the arguments, runs the command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from cowbook.cli.parser import Parser, make_parser
from cowbook.cli.streams import make_unbreakable
from cowbook.errors import ConfigError, CowbookError, UsageError
from cowbook.plain.escaping import escaped

EXIT_FAILED = 1  # a symbol failed
EXIT_USAGE = 2
EXIT_CONFIG = 78  # wrong configuration: systemd must not restart it
_EXIT_INTERRUPTED = 130


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
    parser = make_parser()
    if not (sys.argv[1:] if argv is None else argv):  # somebody looks what there is
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    arguments = parser.parse_args(argv)
    if arguments.command == "run" and arguments.json and not arguments.once:
        parser.fail("run", "--json needs --once; ask a running service at /status instead")
    if arguments.command in ("run", "check"):
        _refuse_mixed_engines(parser, arguments)
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
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except PermissionError as error:  # what is readable for its owner alone, such as a state directory
        print(escaped(f"cowbook: {error.filename}: {error.strerror} for user {os.geteuid()}"), file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("cowbook: interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return code


def _refuse_mixed_engines(parser: Parser, arguments: argparse.Namespace) -> None:
    """End with wrong usage where options need an engine, or do not go with one."""
    without = {"--shard": arguments.shard, "--allow-fresh": getattr(arguments, "allow_fresh", False)}
    only = {f"--{name}": getattr(arguments, name, None) for name in ("address", "shards", "detach", "balance")}
    for option, value in (without if arguments.engine else only).items():
        if value is not None and value is not False:  # 0s is a value
            why = "does not go with --engine, which divides the symbols itself" if option == "--shard" else "needs --engine ray"
            if option == "--allow-fresh":
                why = "does not go with --engine: run it once without, where state or output does not fit"
            parser.fail(arguments.command, f"{option} {why}")
    if arguments.engine and arguments.command == "run" and arguments.once and arguments.detach:
        parser.fail("run", "--detach does not go with --once, whose end it would not see")
