"""`cowbook simulate`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: argparse.Namespace) -> int:
    """Write a capture, and print what is in it. Returns 2 for arguments that do not fit."""
    from cowbook.simulate.capture import write_capture

    if not arguments.out.absolute().parent.is_dir():
        print(f"cowbook simulate: {arguments.out}: there is no directory {arguments.out.parent}; make it first", file=sys.stderr)
        return 2
    try:
        summary = write_capture(
            arguments.out,
            symbol=arguments.symbol,
            messages=arguments.messages,
            seed=arguments.seed,
            gaps=arguments.gaps,
            futures=arguments.futures,
        )
    except (ValueError, OSError) as error:
        print(f"cowbook simulate: {error}", file=sys.stderr)
        return 2
    print(
        f"{summary.path}: {summary.events:,} events in {summary.messages:,} diffs, {summary.snapshots} snapshots and "
        f"{summary.trades:,} trades, {summary.tickers:,} tickers, {summary.gaps} gaps, {summary.size_bytes / 1e6:.1f} MB"
    )
    return 0
