"""`cowbook check`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.table import Table

from cowbook.checkpoint.load import who_could_remove
from cowbook.cli.console import plain_console
from cowbook.config import Config, load_config, output_directory_name
from cowbook.errors import ConfigError, InputError
from cowbook.symbol.misfit import what_it_looks_like
from cowbook.symbol.naming import check_name
from cowbook.symbol.settings import decoder_settings, files_of


def main(arguments: argparse.Namespace) -> int:
    """Validate a configuration, and show what would be read and written. Raises ConfigError with every problem."""
    config = load_config(arguments.config, os.environ)
    problems = unwritable_directories(config)
    table = Table(title="would be read")
    for column in ("symbol", "files", "MB", "first", "last"):
        table.add_column(column, justify="right" if column in ("files", "MB") else "left", overflow="fold")
    exposed = who_could_remove(config.service.state_dir)
    warnings = [] if exposed is None else [exposed]
    for symbol in config.symbol:
        try:
            expanded = files_of(symbol, config.base_dir)
        except InputError as error:
            found = [f"{error}"]
            table.add_row(symbol.id, "0", "0.0", "", "")
        else:
            found = [
                f"{path} is not a file that this user can read"
                for path in expanded.paths
                if not (path.is_file() and os.access(path, os.R_OK))
            ]
            warnings += expanded.warnings
            decoder = decoder_settings(symbol)
            looks = [what_it_looks_like(path, symbol.format, decoder) for path in expanded.paths[:1]]
            found += [problem for problem in looks if problem is not None]
            warnings += [f'"{symbol.id}": {text}' for text in check_name(expanded.paths, symbol.format, decoder)]
            size = sum(path.stat().st_size for path in expanded.paths)
            table.add_row(
                symbol.id, str(len(expanded.paths)), f"{size / 1e6:.1f}", expanded.paths[0].name, expanded.paths[-1].name
            )
        if symbol.follow:  # files may come later
            warnings += [f'"{symbol.id}" will wait for its input: {problem}' for problem in found]
        else:
            problems += [f'[[symbol]] "{symbol.id}" paths: {problem}' for problem in found]
    if problems:
        raise ConfigError(str(arguments.config), problems)
    console = plain_console()
    console.print(table)
    for symbol in config.symbol:
        place = f"{config.service.output_dir}/<stream>/symbol={output_directory_name(symbol.id)}/"
        console.print(f"would be written: {place}", soft_wrap=True)
    for warning in warnings:
        console.print(f"note: {warning}", soft_wrap=True)
    return 0


def unwritable_directories(config: Config) -> list[str]:
    """Problems with the directories that a run would write to. Creates nothing."""
    problems = []
    for key in ("state_dir", "output_dir"):
        path: Path = getattr(config.service, key)
        there = path
        try:
            while not there.exists() and there != there.parent:
                there = there.parent
        except OSError as error:
            problems.append(f"[service] {key}: {there}: {error.strerror} for user {os.getuid()}")
            continue
        if not there.is_dir():
            problems.append(f"[service] {key}: {there} is not a directory")
        elif not os.access(there, os.W_OK | os.X_OK):
            problems.append(f"[service] {key}: {there} is not writable for user {os.getuid()}")
    return problems
