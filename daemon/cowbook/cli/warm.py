"""`cowbook warm`."""

from __future__ import annotations

import argparse

from cowbook.cli.console import plain_console
from cowbook.plain.escaping import escaped


def main(arguments: argparse.Namespace) -> int:
    """Compile the kernels of the formats that were named, or of all, into the cache, unless they are there."""
    from cowbook.symbol.warm import SEVERAL_SOURCES, cache_folder, missing, warm, why_not_cached
    from cowbook.venues import venue_names

    formats = arguments.format or [*venue_names(), SEVERAL_SOURCES]
    count, why = missing(formats), why_not_cached()
    if count and why is not None:
        print(escaped(f"compiled kernels cannot be kept in {cache_folder()}: {why}"))
        return 1
    console = plain_console(stderr=True)
    if not console.is_terminal or not count:
        seconds = warm(formats)
    else:
        with console.status(f"compiling {count} kernels") as status:
            seconds = warm(formats, lambda done, of: status.update(f"compiling kernels: {done} of {of} are ready"))
    left = missing(formats)
    if left:
        print(f"{left} of the compiled kernels could not be kept in {cache_folder()}: is its disk full?")
        return 1
    print(f"kernels are ready after {seconds:.1f} s, {count} of them compiled; cache: {cache_folder()}")
    return 0
