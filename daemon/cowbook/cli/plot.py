"""`cowbook plot`: a picture of depth over time, with trades, gaps and unknown depth."""

from __future__ import annotations

import argparse

from cowbook.plain.escaping import escaped
from cowbook.plot.depth_map import read_depth_map
from cowbook.plot.picture import check_picture, write_picture


def main(arguments: argparse.Namespace) -> int:
    """Write the picture. Raises QueryError if the output has nothing of it, MissingExtraError without matplotlib."""
    check_picture(arguments.file)
    write_picture(read_depth_map(arguments.data, arguments.symbol, arguments.start, arguments.end), arguments.file)
    print(escaped(f"{arguments.file} shows {arguments.symbol}"))
    return 0
