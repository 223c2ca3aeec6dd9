"""`cowbook init`: prints a configuration for files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from cowbook.cli.looking import look_at_all
from cowbook.errors import InputError
from cowbook.inspection.facts import FileFacts
from cowbook.inspection.proposal import Proposed, files_not_read, propose
from cowbook.inspection.wording import describe_counts, describe_looked, describe_proof, describe_span
from cowbook.plain.escaping import escaped

_HEAD = """\
# Made by `cowbook init`. Relative paths are relative to this file. The other options have their defaults:
# docs/guide.md and config/cowbook.toml list them.
#
#   cowbook check cowbook.toml         what would be read and written
#   cowbook run cowbook.toml --once    to the end of the input

[service]
state_dir = "state"     # checkpoints
output_dir = "data"     # Parquet: <stream>/symbol=<id>/date=<day>/"""

_DEFAULT_DECIMALS = 8
_MOST_NOTES = 20


def main(arguments: argparse.Namespace) -> int:
    """Print a configuration. Raises InputError if there is nothing that can be used."""
    files = look_at_all(arguments.paths)
    proposed = propose(files)
    unread = files_not_read(files)
    if not proposed:
        raise InputError("nothing of these files can be used: " + "; ".join(_why(file) for file in unread[:_MOST_NOTES]))
    print("\n".join(_configuration(proposed, files, unread)))
    for file in unread:
        print(escaped(f"cowbook init: left out: {_why(file)}"), file=sys.stderr)
    return 0


def _why(file: FileFacts) -> str:
    return f"{file.path}: {file.unreadable or 'no record of a symbol that is used'}"


def _configuration(proposed: Sequence[Proposed], files: Sequence[FileFacts], unread: Sequence[FileFacts]) -> list[str]:
    """The lines of the configuration."""
    lines = _HEAD.splitlines()
    cut = [file for file in files if not file.is_whole]
    if cut:
        text = f"# {escaped(cut[0].path)}{f' and {len(cut) - 1} more' if len(cut) > 1 else ''}: {describe_looked(cut[0])}"
        lines += ["", f"{text}.", "# Symbols that come later are not listed here."]
    for file in unread[:_MOST_NOTES]:
        lines.append(f"# Not read: {escaped(_why(file))}")
    for symbol in proposed:
        lines += ["", *_table_of(symbol)]
    return lines


def _table_of(symbol: Proposed) -> list[str]:
    """The lines of one [[symbol]]."""
    price_decimals, size_decimals = symbol.decimals
    lines = [f"# {escaped(line)}" for line in _notes(symbol)]
    lines.append("[[symbol]]")
    if symbol.id != symbol.name:
        lines.append(f"id = {_quote(symbol.id)}")
    lines += [f"name = {_quote(symbol.name)}", f"format = {_quote(symbol.format)}"]
    if len(symbol.patterns) == 1:
        lines.append(f"paths = [{_quote(symbol.patterns[0])}]")
    else:
        lines += ["paths = [", *(f"    {_quote(pattern)}," for pattern in symbol.patterns), "]"]
    lines.append("follow = false          # true: without --once, wait for more")
    if symbol.channel:
        lines.append(f"channel = {_quote(symbol.channel)}")
    if price_decimals != _DEFAULT_DECIMALS:
        lines.append(f"price_decimals = {price_decimals}")
    if size_decimals != _DEFAULT_DECIMALS:
        lines.append(f"size_decimals = {size_decimals}")
    return lines


def _notes(symbol: Proposed) -> list[str]:
    """Comments on a symbol: what its files have."""
    notes = []
    if not symbol.is_named:
        notes.append(f'The records name no symbol: "{symbol.name}" is only a label.')
    if len(symbol.books) > 1 and not symbol.channel:
        notes.append(f"The files have several books of it: {', '.join(symbol.books)}. Without `channel` the first one is taken.")
    for file, facts in symbol.files[:_MOST_NOTES]:
        notes.append(f"{file.path}: {describe_span(facts, file.is_whole)}, {describe_counts(facts)}")
        notes.append(f"    {describe_proof(facts)}")
    if len(symbol.files) > _MOST_NOTES:
        notes.append(f"... and {len(symbol.files) - _MOST_NOTES} more files")
    return notes


def _quote(text: str) -> str:
    """A string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
