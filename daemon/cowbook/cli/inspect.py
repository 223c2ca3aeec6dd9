"""`cowbook inspect`: says what files are."""

from __future__ import annotations

import argparse
import json

from cowbook.cli.console import plain_console, print_indented
from cowbook.cli.looking import look_at_all
from cowbook.inspection.facts import FileFacts
from cowbook.inspection.proposal import files_not_read
from cowbook.inspection.wording import describe_counts, describe_file, describe_looked, describe_proof, describe_span
from cowbook.plain.escaping import escaped


def main(arguments: argparse.Namespace) -> int:
    """Print what each file is. Returns 1 if nothing of any of them can be used. Raises InputError."""
    files = look_at_all(arguments.paths)
    if arguments.json:
        print(json.dumps([facts.to_json() for facts in files], indent=2))
    else:
        console = plain_console()
        for line in (line for facts in files for line in _lines(facts)):
            text = line.lstrip(" ")
            print_indented(console, escaped(text), len(line) - len(text))
    return int(len(files_not_read(files)) == len(files))


def _lines(facts: FileFacts) -> list[str]:
    lines = [f"{facts.path}: {describe_file(facts)}"]
    if facts.unreadable is not None:
        lines.append(f"    not read: {facts.unreadable}")
    if facts.damage is not None:
        lines.append(f"    damaged: {facts.damage}")
    for format_ in facts.formats:
        if not format_.symbols:
            lines.append(f"    {format_.name}, without a record that is used")
        for symbol in format_.symbols:
            books = f" ({', '.join(symbol.books)})" if symbol.books else ""
            name = symbol.name or "no symbol is named"
            if symbol.is_empty:
                lines.append(f"    {format_.name} {name}: {describe_counts(symbol).removeprefix('; ')}")
                continue
            lines.append(f"    {format_.name} {name}{books}, {describe_span(symbol, facts.is_whole)}")
            lines.append(f"        {describe_counts(symbol)}")
            lines.append(f"        {describe_proof(symbol)}")
        if format_.not_counted:
            lines.append(f"    {format_.name}, not counted: {', '.join(format_.not_counted)}")
    looked = describe_looked(facts)
    return lines if looked is None else [*lines, f"    {looked}"]
