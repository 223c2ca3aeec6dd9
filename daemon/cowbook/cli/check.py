"""`cowbook check`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

from rich.table import Table

from cowbook.checkpoint.listing import newest_checkpoint
from cowbook.checkpoint.load import who_could_remove
from cowbook.cli.console import plain_console, print_prose
from cowbook.config import Config, SymbolConfig, load_config, output_directory_name
from cowbook.errors import ConfigError, CowbookError
from cowbook.objects.bucket import Bucket
from cowbook.symbol.input_check import check_input, describe_problems, unwritable_directories
from cowbook.symbol.naming import check_name
from cowbook.symbol.pipeline_integration import is_useless, refusal_of
from cowbook.symbol.settings import decoder_settings, fingerprint
from cowbook.symbol.source_spans import describe_spans, span_of


def main(arguments: argparse.Namespace) -> int:
    """Validate a configuration, and show what would be read and written. Raises ConfigError with every problem."""
    whole = load_config(arguments.config, os.environ, arguments.shard)
    config = whole.of_shard()
    problems = unwritable_directories(config)
    table = Table(title="would be read")
    for column in ("symbol", "files", "MB", "first", "last"):
        table.add_column(column, justify="right" if column in ("files", "MB") else "left", overflow="fold")
    exposed = who_could_remove(config.service.state_dir)
    warnings = [] if exposed is None else [exposed]
    for symbol in config.symbol:
        spans = []
        for number, own in enumerate(symbol.inputs):
            label = f"{symbol.id} / {symbol.source[number].name}" if symbol.source else symbol.id
            found = check_input(config, own)
            files = found.files
            if files.paths:
                warnings += files.warnings
                warnings += [f'"{label}": {found.doubt}'] if found.doubt is not None else []
                warnings += [f'"{label}": {text}' for text in check_name(files.paths, own.format, decoder_settings(own))]
                if symbol.source:
                    spans.append((symbol.source[number].name, span_of(own, files.paths)))
                size = sum(path.stat().st_size for path in files.paths)
                table.add_row(label, str(len(files.paths)), f"{size / 1e6:.1f}", files.paths[0].name, files.paths[-1].name)
            else:
                table.add_row(label, "0", "0.0", "", "")
            if own.follow:  # files may come later
                warnings += [f'"{label}" will wait for its input: {problem}' for problem in found.problems]
            else:
                problems += describe_problems(symbol, found, number)
        warnings += [f'"{symbol.id}": {line}' for line in describe_spans(spans)] if symbol.source else []
        warnings += [f'"{symbol.id}" would not start: {text}' for text in _refusals(config, symbol)]
    if problems:
        raise ConfigError(str(arguments.config), problems)
    for url in config.objects or ():
        Bucket(url).probe()
    if arguments.engine:
        from cowbook.cli.cluster import check_cluster

        warnings += check_cluster(arguments, config)
    _show(config, len(whole.symbol), table, warnings)
    return 0


def _refusals(config: Config, symbol: SymbolConfig) -> Iterator[str]:
    """Why a run would not go on from the symbol's state. State in object storage is not looked at."""
    root = config.service.state_dir / output_directory_name(symbol.id)
    if config.objects is not None or not root.is_dir():
        return
    try:
        checkpoint = newest_checkpoint(root, symbol.id)
    except CowbookError as error:
        yield str(error)
        return
    refusal = None if checkpoint is None or is_useless(checkpoint) else refusal_of(checkpoint, fingerprint(config, symbol))
    if refusal is not None:
        yield refusal


def _show(config: Config, all_symbols: int, table: Table, warnings: Sequence[str]) -> None:
    console = plain_console()
    console.print(table)
    if config.service.shard:
        console.print(f"shard {config.service.shard} has {len(config.symbol)} of {all_symbols} symbols", soft_wrap=True)
    for symbol in config.symbol:
        output = config.service.output_dir if config.objects is None else config.objects.output_url
        place = f"{output}/<stream>/symbol={output_directory_name(symbol.id)}/"
        console.print(f"would be written: {place}", soft_wrap=True)
    for warning in warnings:
        print_prose(console, f"note: {warning}")
