"""What the command line takes. Imports no command: answers such as --help come at once."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cowbook import __version__
from cowbook.plain.places import is_url

URL = "http://127.0.0.1:9464"
"""Where a cowbook listens by default."""


def _directory(text: str) -> Path:
    """A directory to read. What lies in object storage is for other tools, or to be copied."""
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text} is object storage, which this command does not read: copy it (aws s3 sync)")
    return Path(text)


def _data(text: str) -> str:
    """A directory to read, or where a running cowbook answers."""
    return str(_directory(text)) if is_url(text) else text


def _file(text: str) -> Path:
    """A file or a directory of this machine, to read or to write."""
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text} is object storage: name a file or a directory of this machine")
    return Path(text)


def nearest(word: str, known: Collection[str]) -> str:
    """A hint to the known word that is most like a wrong one; empty if none is."""
    import difflib

    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""


class Parser(argparse.ArgumentParser):
    """As argparse's, with hints to what may have been meant."""

    def __init__(self, **options: Any) -> None:
        """As `argparse.ArgumentParser`. Examples keep their lines."""
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is no choice, in argparse's place."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            text = f"there is no {value!r}{nearest(str(value), known)} (choose from {', '.join(known)})"
            raise argparse.ArgumentError(action, text)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As `argparse.ArgumentParser.parse_args`, with the nearest options to unknown ones."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [option for parser in self._chosen(parsed) for option in parser.options()]
            hint = next((found for word in unknown if (found := nearest(word.partition("=")[0], options))), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return parsed

    def options(self) -> list[str]:
        """The options that this parser itself takes."""
        return [option for action in self._actions for option in action.option_strings]

    def commands(self) -> dict[str, Parser]:
        """Parsers of the commands below this one, by name."""
        chosen = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 - argparse has no other way
        return {name: parser for action in chosen for name, parser in action.choices.items()}

    def _chosen(self, parsed: argparse.Namespace) -> list[Parser]:
        """The parser itself, and those of the commands that were given."""
        names = {parsed.command, getattr(parsed, "action", None)}
        below = [parser for name, parser in self.commands().items() if name in names]
        return [self, *below, *(lower for parser in below for name, lower in parser.commands().items() if name in names)]

    def fail(self, command: str, message: str) -> NoReturn:
        """End with wrong usage of a command."""
        self.commands()[command].error(message)


def make_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="cowbook",
        description="Exact limit order books from recorded exchange captures, as Parquet.",
        epilog="""\
example:
  cowbook init captures/* > cowbook.toml && cowbook run cowbook.toml --once

without a capture:
  cowbook demo

exit codes: 0 done, 1 a symbol failed, 2 wrong usage, 78 wrong configuration, 130 interrupted""",
    )
    parser.add_argument("--version", action="version", version=f"cowbook {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_captures(commands)
    _add_run(commands)
    _add_clients(commands)
    _add_checkpoints(commands)
    _add_report(commands)
    _add_book(commands)
    _add_plot(commands)
    _add_export(commands)
    _add_tools(commands)
    return parser


def _add(commands: Any, name: str, text: str, *examples: str) -> Parser:
    """Add a command. Its help has the text and the examples."""
    label = "example" if len(examples) == 1 else "examples"
    lines = "\n".join([f"{label}:", *(f"  {example}" for example in examples)])
    description = f"{text[:1].upper()}{text[1:]}."
    added: Parser = commands.add_parser(name, help=text, description=description, epilog=lines)
    return added


def _add_demo(commands: Any) -> None:
    demo = _add(
        commands,
        "demo",
        "simulate a day of a quiet market, reconstruct it, and show what came out",
        "cowbook demo",
        "cowbook demo /tmp/demo",
    )
    demo.add_argument(
        "directory",
        nargs="?",
        type=_file,
        default=Path("cowbook-demo"),
        metavar="DIRECTORY",
        help="a new or empty directory (default: cowbook-demo)",
    )


def _add_captures(commands: Any) -> None:
    init = _add(
        commands,
        "init",
        "look at captures, and print a configuration that reads them",
        "cowbook init captures/* > cowbook.toml",
    )
    inspect = _add(
        commands,
        "inspect",
        "say what each file is: venue, symbols, counts, times, gaps, and what can be proved with it",
        "cowbook inspect captures/*",
        "cowbook inspect captures/a.jsonl.gz --json",
    )
    for command in (init, inspect):
        command.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or a quoted glob")
    inspect.add_argument("--json", action="store_true", help="JSON on standard output")
    explain = _add(
        commands,
        "explain",
        "show one record of a file: container, venue, verdict and decoded message",
        "cowbook explain captures/a.jsonl.gz --offset 4711",
    )
    explain.add_argument("file", metavar="FILE", help="a path, or a URL of object storage")
    explain.add_argument(
        "--offset",
        type=parse_count,
        required=True,
        metavar="N",
        help="a decoded byte of the record, as dead_letter and logs say it",
    )
    explain.add_argument("--format", type=parse_format, metavar="F", help="the format (default: what the file looks like)")
    explain.add_argument("--symbol", type=parse_symbol, metavar="S", help="the symbol's name (default: what the record says)")


def _add_run(commands: Any) -> None:
    run = _add(
        commands,
        "run",
        "reconstruct every symbol of a configuration, until stopped",
        "cowbook run cowbook.toml --once",
        "cowbook run cowbook.toml --once --json | jq '.[].gaps'",
        "cowbook run cowbook.toml --engine ray --address ray-head:6379",
    )
    run.add_argument("config", type=_file, metavar="CONFIG")
    run.add_argument(
        "--once", action="store_true", help="stop at the end of the input and print a summary; follow and serve nothing"
    )
    run.add_argument("--json", action="store_true", help="with --once: the summary as JSON on standard output")
    run.add_argument(
        "--allow-fresh",
        action="store_true",
        help="if existing state or output does not fit, move it away and start from the beginning",
    )
    check = _add(
        commands, "check", "validate a configuration, and show what would be read and written", "cowbook check cowbook.toml"
    )
    check.add_argument("config", type=_file, metavar="CONFIG")
    for command in (run, check):
        command.add_argument(
            "--shard",
            type=parse_shard_text,
            metavar="I/N",
            help="only the symbols of shard I of N, from 0 on (default: [service] shard, or all)",
        )
        command.add_argument(
            "--engine",
            choices=("ray",),
            help="all nodes of a cluster instead of this process (needs the extra: cowbook[ray])",
        )
        command.add_argument(
            "--address",
            type=parse_address,
            metavar="HOST:PORT",
            help="with --engine: the cluster's head (default: the cluster of this machine)",
        )
    run.add_argument("--shards", type=parse_shards, metavar="N", help="with --engine: how many (default: two for each node)")
    run.add_argument(
        "--balance",
        type=parse_interval,
        metavar="DURATION",
        help="with --engine: how often load is measured and evened out (default: 5min; 0s: never)",
    )
    run.add_argument("--detach", action="store_true", help="with --engine: end when all is ready; the shards go on")


def _add_clients(commands: Any) -> None:
    status = _add(
        commands,
        "status",
        "show what a running cowbook does, or several ones",
        "cowbook status --watch",
        "cowbook status http://host-a:9464 http://host-b:9464",
    )
    checkpoint = _add(
        commands,
        "checkpoint",
        "ask a running cowbook for a checkpoint of every symbol, and print the epochs",
        "cowbook checkpoint --symbol BTCUSDT",
    )
    status.add_argument(
        "urls", nargs="*", default=[URL], metavar="URL", help=f"its HTTP endpoint, or those of several (default: {URL})"
    )
    checkpoint.add_argument("url", nargs="?", default=URL, metavar="URL", help=f"its HTTP endpoint (default: {URL})")
    forms = status.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--watch", action="store_true", help="go on showing it, with problems first, until Ctrl-C")
    checkpoint.add_argument("--json", action="store_true", help="JSON on standard output")
    checkpoint.add_argument("--symbol", metavar="ID", help="only this symbol (default: all)")
    checkpoint.add_argument("--token", metavar="TOKEN", help="its [http] token (default: $COWBOOK_HTTP__TOKEN)")
    checkpoint.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="wait until the checkpoints are durable (default: --wait)",
    )


def _add_checkpoints(commands: Any) -> None:
    checkpoints = _add(
        commands, "checkpoints", "list, verify or remove the checkpoints of a state directory", "cowbook checkpoints list state"
    )
    actions = checkpoints.add_subparsers(dest="action", required=True, metavar="ACTION")
    helps = {
        "list": "list all checkpoints, each verified",
        "show": "show all that the newest checkpoint holds, or that of --epoch",
        "verify": "check every digest; exit code 1 if one is wrong",
        "prune": "remove old checkpoints; never the newest two, and never beside a running cowbook",
    }
    for name, text in helps.items():
        action = _add(actions, name, text, f"cowbook checkpoints {name} state --symbol BTCUSDT")
        action.add_argument("state_dir", type=_directory, metavar="STATE_DIR")
        action.add_argument("--symbol", metavar="ID", help="only this symbol (default: all)")
        action.add_argument("--epoch", type=parse_positive, metavar="N", help="only this checkpoint")
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        if name == "prune":
            action.add_argument(
                "--retain", type=parse_retain, default=3, metavar="N", help="how many to keep (default: 3, at least 2)"
            )


def _add_report(commands: Any) -> None:
    report = _add(
        commands,
        "report",
        "show what can be trusted, per symbol and day",
        "cowbook report state",
        "cowbook report data --html report.html",
    )
    report.add_argument("directory", type=_directory, metavar="STATE_DIR|OUTPUT_DIR")
    report.add_argument("--symbol", metavar="ID", help="only this symbol (default: all)")
    forms = report.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--markdown", action="store_true", help="a Markdown table on standard output")
    forms.add_argument("--html", type=_file, metavar="FILE", help="write a page with a calendar, all in one file")


def _add_book(commands: Any) -> None:
    book = _add(
        commands,
        "book",
        "show the book at any instant of an output directory, with its proof, or a live one",
        "cowbook book data --symbol BTCUSDT --at 2024-08-09T12:34:56.789Z --levels 5",
        "cowbook book http://127.0.0.1:9464 --symbol BTCUSDT",
    )
    book.add_argument("data", type=_data, metavar="OUTPUT_DIR|URL", help="published parts, or a running cowbook's HTTP endpoint")
    book.add_argument("--symbol", metavar="ID", required=True)
    instants = book.add_mutually_exclusive_group()
    instants.add_argument("--at", metavar="TIME", help="ISO 8601, in UTC unless it has a zone (default: the end)")
    instants.add_argument("--event", type=parse_count, metavar="N", help="behind the message with this event_index")
    book.add_argument("--levels", type=parse_positive, metavar="N", help="the best N levels (default: 10; all in a file)")
    book.add_argument("--token", metavar="TOKEN", help="of a URL: its [http] token (default: $COWBOOK_HTTP__TOKEN)")
    forms = book.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="JSON on standard output")
    forms.add_argument("--parquet", type=_file, metavar="FILE", help="write the levels as Parquet")

    sql = _add(
        commands,
        "sql",
        "print views and macros for DuckDB: the book at a time, spread, depth within x bp",
        "cowbook sql data | duckdb books.duckdb",
    )
    sql.add_argument("directory", type=_directory, metavar="OUTPUT_DIR")

    compact = _add(
        commands,
        "compact",
        "join the parts of closed days: of each stream and day one, with the same rows",
        "cowbook compact data",
        "cowbook compact data --before 2024-08-01",
    )
    compact.add_argument("directory", type=_directory, metavar="OUTPUT_DIR")
    compact.add_argument("--before", metavar="DATE", help="only days before this one (default: all but the newest)")


def _add_plot(commands: Any) -> None:
    plot = _add(
        commands,
        "plot",
        "draw depth over time with trades, gaps and what is not known (needs the extra: cowbook[plot])",
        "cowbook plot data --symbol BTCUSDT --from 2024-08-09T12:00 --to 2024-08-09T13:00 hour.png",
    )
    plot.add_argument("data", type=_directory, metavar="OUTPUT_DIR", help="published parts")
    plot.add_argument("--symbol", metavar="ID", required=True)
    plot.add_argument(
        "--from", dest="start", metavar="TIME", help="ISO 8601, in UTC unless it has a zone (default: the beginning)"
    )
    plot.add_argument("--to", dest="end", metavar="TIME", help="likewise (default: the end)")
    plot.add_argument("file", type=_file, metavar="FILE", help="what to write: .png, .svg, or .html with all in one file")


def _add_export(commands: Any) -> None:
    export = _add(
        commands,
        "export",
        "write published output for another program",
        "cowbook export hftbacktest data --symbol BTCUSDT day.npz",
        "cowbook export nautilus data --symbol BTCUSDT --instrument BTCUSDT.BINANCE catalog",
        "cowbook export npz data --symbol BTCUSDT --from 2024-08-09T00:00Z --to 2024-08-09T01:00Z book.npz",
    )
    kinds = export.add_subparsers(dest="action", required=True, metavar="FORM")
    helps = {
        "hftbacktest": "depth and trades as events of hftbacktest 2, one .npz file",
        "nautilus": "order book deltas and trades in a Parquet data catalogue of nautilus_trader",
        "npz": "the stream book as a dense array (T, levels, 4), one .npz file",
        "csv": "each stream as a CSV file, in a new directory",
    }
    for name, text in helps.items():
        kind = _add(
            kinds, name, text, f"cowbook export {name} data --symbol BTCUSDT {'day' if name != 'nautilus' else 'catalog'}"
        )
        kind.add_argument("data", type=_directory, metavar="OUTPUT_DIR")
        kind.add_argument("--symbol", metavar="ID", required=True)
        kind.add_argument(
            "--from", dest="start", metavar="T", help="ISO 8601, in UTC unless it has a zone (default: the beginning)"
        )
        kind.add_argument("--to", dest="end", metavar="T", help="the first time that is left out (default: the end)")
        kind.add_argument("destination", type=_file, metavar="DEST", help="must not exist; of a catalogue, the files in it")
        if name == "nautilus":
            kind.add_argument("--instrument", metavar="ID", help="the id in the catalogue, SYMBOL.VENUE (default: <symbol>.SIM)")
        if name == "npz":
            kind.add_argument(
                "--holes",
                choices=("fill", "nan"),
                default="fill",
                help="points without a row: as the book stands, or NaN (default: fill)",
            )
            kind.add_argument(
                "--numbers", choices=("float32", "float64"), default="float32", help="of prices and sizes (default: float32)"
            )


def _add_tools(commands: Any) -> None:
    warm = _add(commands, "warm", "compile the kernels into the cache", "cowbook warm --format binance")
    warm.add_argument(
        "--format",
        type=parse_format,
        action="append",
        metavar="F",
        help="only what this format needs; may be given again (default: all formats)",
    )
    simulate = _add(
        commands,
        "simulate",
        "write a realistic capture in Binance's format",
        "cowbook simulate --symbol BTCUSDT --messages 60000 --gaps 1 BTCUSDT.jsonl.gz",
    )
    simulate.add_argument("out", type=_file, metavar="OUT", help="the file; .gz and .zst compress it")
    simulate.add_argument("--symbol", type=parse_symbol, default="BTCUSDT", help="its name in the records (default: BTCUSDT)")
    simulate.add_argument("--messages", type=parse_positive, default=60_000, help="number of depth diffs (default: 60000)")
    simulate.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes (default: 1)")
    simulate.add_argument("--gaps", type=int, default=0, help="number of places where diffs are missing (default: 0)")
    simulate.add_argument("--futures", action="store_true", help="USD-M futures instead of spot (default: spot)")

    files = _add(
        commands,
        "files",
        "list the files that come with cowbook: configuration, units, dashboards, rules, containers, completions",
        "cowbook files",
        "cowbook files etc-cowbook",
    )
    files.add_argument(
        "directory",
        nargs="?",
        type=_file,
        metavar="DIRECTORY",
        help="a new directory for copies, in which the systemd units name this installation",
    )


def parse_retain(text: str) -> int:
    """A number of checkpoints to keep. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError("must be a number, at least 2")
    return int(text)


def parse_positive(text: str) -> int:
    """A whole number above 0. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a positive number")
    return int(text)


def parse_count(text: str) -> int:
    """A whole number, 0 or more, below 2^63. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError("must be a number, 0 or more")
    return int(text)


def parse_format(text: str) -> str:
    """The name of a format. Raises ArgumentTypeError."""
    from cowbook.venues import venue_names

    if text not in venue_names():
        hint = nearest(text.lower(), venue_names())
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(venue_names())}{hint}")
    return text


def parse_shard_text(text: str) -> str:
    """A shard, such as "0/4". Raises ArgumentTypeError."""
    from cowbook.plain.shards import parse_shard

    try:
        return str(parse_shard(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_shards(text: str) -> int:
    """A number of shards. Raises ArgumentTypeError."""
    from cowbook.plain.shards import MOST_SHARDS

    if not text.isdecimal() or not 0 < int(text) <= MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"must be a positive number, at most {MOST_SHARDS:,}")
    return int(text)


def parse_interval(text: str) -> int:
    """A duration, such as "5min", in ns. Raises ArgumentTypeError."""
    from cowbook.config import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_address(text: str) -> str:
    """The address of a cluster's head. Raises ArgumentTypeError."""
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 1 << 16) or "/" in host:
        raise argparse.ArgumentTypeError("must be HOST:PORT, as `ray start --head` prints it; ray:// does not do: join as a node")
    return text


def parse_symbol(text: str) -> str:
    """A symbol's name. Raises ArgumentTypeError."""
    from cowbook.config import symbol_name

    try:
        return symbol_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def find_parsers(parser: Parser) -> Sequence[Parser]:
    """The parser and all below it."""
    return [parser, *(lower for command in parser.commands().values() for lower in find_parsers(command))]
