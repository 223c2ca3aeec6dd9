"""`cowbook export`: writes published output for another program, and says what it found."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cowbook.cli.console import plain_console, print_prose
from cowbook.export.grid import export_grid
from cowbook.export.hftbacktest import export_hftbacktest
from cowbook.export.nautilus import export_nautilus
from cowbook.export.span import Span
from cowbook.export.text import export_csv
from cowbook.plain.counting import counted
from cowbook.query.parts import retrying
from cowbook.query.times import parse_time


def main(arguments: argparse.Namespace) -> int:
    """Write it. Raises UsageError, QueryError for what the output does not have, ExportError for what cannot be written."""
    start, end = parse_time(arguments.start, "--from"), parse_time(arguments.end, "--to")
    export, console = _EXPORTS[arguments.action], plain_console()
    for line in retrying(lambda: export(arguments, start, end)):
        print_prose(console, line)
    return 0


def _hftbacktest(arguments: argparse.Namespace, start: int | None, end: int | None) -> list[str]:
    path = _with_suffix(arguments.destination)
    made = export_hftbacktest(Span(arguments.data, arguments.symbol, start, end), path)
    counts = (
        f"{counted(made.depth_rows, 'row')} of depth, {counted(made.trades, 'trade')}, "
        f"{counted(made.start_levels, 'level')} at the start"
    )
    lines = [
        f"{path}: {counted(made.events, 'event')}: {counts}",
        f"tick_size({made.tick_size:f}), lot_size({made.lot_size:f}): the greatest steps that fit all prices and sizes in it",
    ]
    if made.shift_ns:
        lines.append(
            f"local_ts is ts_recv + {made.shift_ns / 1e6:,.3f} ms: the recorder's clock was behind the exchange's by that"
        )
    return lines + _warnings(made.unsynced_rows, has_receive_times=made.has_receive_times, name="local_ts")


def _nautilus(arguments: argparse.Namespace, start: int | None, end: int | None) -> list[str]:
    instrument = arguments.instrument or f"{arguments.symbol}.SIM"
    made = export_nautilus(Span(arguments.data, arguments.symbol, start, end), arguments.destination, instrument)
    lines = [str(path) for path in made.files]
    lines.append(
        f"{instrument}: {counted(made.deltas, 'delta')}, {counted(made.trades, 'trade')}, "
        f"{counted(made.start_levels, 'level')} at the start; "
        f"price_precision {made.price_precision}, size_precision {made.size_precision}"
    )
    return lines + _warnings(made.unsynced_rows, has_receive_times=made.has_receive_times, name="ts_init")


def _npz(arguments: argparse.Namespace, start: int | None, end: int | None) -> list[str]:
    path = _with_suffix(arguments.destination)
    made = export_grid(arguments.data, arguments.symbol, start, end, path, holes=arguments.holes, numbers=arguments.numbers)
    how = "as the book stands" if arguments.holes == "fill" else "as NaN"
    shape = f"({made.points:,}, {made.levels}, 4)"
    every = f"one point every {made.interval_ns / 1e9:g} s" if made.interval_ns else "a single point"
    lines = [f"{path}: book {shape}, {every}; {counted(made.filled, 'point')} without a row, {how}"]
    if not made.is_exact:
        lines.append(
            f"warning: {arguments.numbers} makes some different prices or sizes equal; --numbers float64 has more digits"
        )
    return lines


def _csv(arguments: argparse.Namespace, start: int | None, end: int | None) -> list[str]:
    counts = export_csv(arguments.data, arguments.symbol, start, end, arguments.destination)
    return [f"{arguments.destination / stream}.csv: {counted(count, 'row')}" for stream, count in counts.items()]


def _with_suffix(path: Path) -> Path:
    """Numpy and its users look for .npz."""
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def _warnings(unsynced_rows: int, *, has_receive_times: bool, name: str) -> list[str]:
    lines = []
    if unsynced_rows:
        lines.append(f"warning: not synced: {counted(unsynced_rows, 'row')} of depth. The book behind them is not proved")
    if not has_receive_times:
        lines.append(f"warning: the capture lacks times of receipt; there, {name} is the exchange's time, without any latency")
    return lines


_EXPORTS: dict[str, Callable[[argparse.Namespace, int | None, int | None], list[str]]] = {
    "hftbacktest": _hftbacktest,
    "nautilus": _nautilus,
    "npz": _npz,
    "csv": _csv,
}
