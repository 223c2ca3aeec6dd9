"""`cowbook simulate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cowbook.plain.counting import counted
from cowbook.plain.escaping import escaped

if TYPE_CHECKING:
    from cowbook.simulate.capture import SimulationSummary


def main(arguments: argparse.Namespace) -> int:
    """Write a capture, and print what is in it. Returns 2 for arguments that do not fit."""
    from cowbook.simulate.capture import write_capture

    if not arguments.out.absolute().parent.is_dir():
        text = f"cowbook simulate: {arguments.out}: there is no directory {arguments.out.parent}; make it first"
        print(escaped(text), file=sys.stderr)
        return 2
    if arguments.out.is_file():
        print(escaped(f"cowbook simulate: {arguments.out}: exists: remove it, or give another name"), file=sys.stderr)
        return 2
    try:
        with _showing() as progress:
            summary = write_capture(
                arguments.out,
                symbol=arguments.symbol,
                messages=arguments.messages,
                seed=arguments.seed,
                gaps=arguments.gaps,
                futures=arguments.futures,
                progress=progress,
            )
    except (ValueError, OSError) as error:
        print(escaped(f"cowbook simulate: {error}"), file=sys.stderr)
        return 2
    _describe(summary)
    return 0


def write_day(path: Path, *, messages: int, interval_ns: int) -> int:
    """Write a capture of BTCUSDT with one gap for the demo, and print what is in it. Returns 1 if it cannot be written."""
    from cowbook.simulate.capture import write_capture

    try:
        with _showing() as progress:
            summary = write_capture(
                path, symbol="BTCUSDT", messages=messages, seed=1, gaps=1, interval_ns=interval_ns, progress=progress
            )
    except OSError as error:
        print(escaped(f"cowbook demo: {path}: cannot be written: {error.strerror}"), file=sys.stderr)
        return 1
    _describe(summary)
    return 0


def _describe(summary: SimulationSummary) -> None:
    """Print what a capture holds."""
    from cowbook.cli.console import plain_console, print_prose

    print_prose(
        plain_console(),
        f"{summary.path}: {counted(summary.events, 'event')} in "
        f"{counted(summary.messages, 'diff')}, {counted(summary.snapshots, 'snapshot')} and {counted(summary.trades, 'trade')}, "
        f"{counted(summary.tickers, 'ticker')}, {counted(summary.gaps, 'gap')}, {summary.size_bytes / 1e6:.1f} MB",
    )


@contextmanager
def _showing() -> Iterator[Callable[[int, int], None]]:
    """Shows progress on a terminal, and nothing elsewhere. A bar that is done goes away: the last line says what was written."""
    if not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    from cowbook.cli.console import plain_console
    from cowbook.cli.progress import make_bars

    with make_bars(plain_console(stderr=True), stays=False) as bars:
        task = bars.add_task("simulating", text="")
        yield lambda done, of: bars.update(task, completed=done, total=of, text=f"{done:,} of {of:,} diffs")
