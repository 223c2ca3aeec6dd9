"""`cowbook warm`."""

from __future__ import annotations

import argparse


def main(_arguments: argparse.Namespace) -> int:
    """Compile the kernels into the cache, unless they are there."""
    from cowbook.symbol.warm import cache_folder, warm

    seconds = warm()
    print(f"kernels are ready after {seconds:.1f} s; cache: {cache_folder()}")
    return 0
