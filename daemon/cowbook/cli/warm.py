"""`cowbook warm`."""

from __future__ import annotations

import argparse


def main(_arguments: argparse.Namespace) -> int:
    """Compile the kernels, or find them compiled."""
    from cowbook.symbol.warm import cache_folder, warm

    seconds = warm()
    print(f"kernels are ready after {seconds:.1f} s; cache: {cache_folder()}")
    return 0
