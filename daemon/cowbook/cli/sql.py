"""`cowbook sql`: prints views and macros for DuckDB."""

from __future__ import annotations

import argparse
from pathlib import Path

from cowbook.query.sql import make_sql


def main(arguments: argparse.Namespace) -> int:
    """Print the statements. Raises QueryError if the directory holds no output."""
    print(make_sql(Path(arguments.directory)), end="")
    return 0
