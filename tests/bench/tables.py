"""How fast tables are read, on one core: a CSV file as Tardis.dev has them, a Parquet file as Crypto Lake has them.

Beside it, what pyarrow takes for reading the same files into memory.

python tests/bench/tables.py [--rows N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import structlog
from rich.console import Console
from rich.table import Table

from bench.rates import measure_rates
from cowbook import replay
from cowbook.config import load_config
from cowbook.service.service import run_once

_DAY = 1_600_000_000_000_000  # µs
_CONFIG = """
[service]
output_dir = "data"
state_dir = "state"
[log]
level = "warning"
[output]
streams = {streams}
[[symbol]]
name = "BTCUSDT"
format = "{format}"
paths = ["{path}"]
"""


def write_tables(directory: Path, row_count: int) -> dict[str, Path]:
    """The same random changes of a book as both tables, by format."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 25, row_count // 4)
    counts = counts[: int(np.searchsorted(np.cumsum(counts), row_count))]
    message = np.repeat(np.arange(len(counts)), counts)
    rows = len(message)
    at = _DAY + np.cumsum(rng.integers(1_000, 40_000, len(counts)))[message]
    is_bid = rng.random(rows) < 0.5
    ticks = 90_000 + np.where(is_bid, -1, 1) * rng.integers(1, 2_000, rows)
    lots = np.where(rng.random(rows) < 0.4, 0, rng.integers(1, 10_000, rows))
    csv = directory / "book.csv"
    with csv.open("w") as file:
        file.write("exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n")
        file.writelines(
            f"binance-futures,BTCUSDT,{time},{time + 3123},false,{'bid' if bid else 'ask'},{tick / 10},{lot / 1000}\n"
            for time, bid, tick, lot in zip(at.tolist(), is_bid.tolist(), ticks.tolist(), lots.tolist(), strict=True)
        )
    parquet = directory / "book.parquet"
    table = pa.table(
        {
            "origin_time": pa.array(at * 1000, pa.timestamp("ns")),
            "received_time": pa.array(at * 1000 + 3_123_000, pa.timestamp("ns")),
            "sequence_number": pa.array(message),
            "side_is_bid": pa.array(is_bid),
            "price": pa.array(ticks / 10),
            "size": pa.array(lots / 1000),
        }
    )
    pq.write_table(table, parquet, compression="snappy")
    return {"tardis": csv, "cryptolake": parquet}


def read_with_pyarrow(path: Path) -> int:
    """The table in memory, with exact prices where that is to be had; its number of rows."""
    if path.suffix == ".parquet":
        return int(pq.read_table(path, use_threads=False).num_rows)
    types = {"price": pa.decimal128(18, 8), "amount": pa.decimal128(18, 8)}
    table = pc.read_csv(path, pc.ReadOptions(use_threads=False), convert_options=pc.ConvertOptions(column_types=types))
    return int(table.num_rows)


def decode_and_apply(path: Path, format_name: str) -> int:
    """The book at the end, and no rows; the number of events."""
    *_, engine = replay(str(path), "BTCUSDT", format=format_name, every=1 << 60)
    return engine.event_count


def reconstruct(path: Path, format_name: str, streams: str) -> int:
    """The whole of it, from the file to published parts; the number of events."""
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        config = Path(directory) / "cowbook.toml"
        config.write_text(_CONFIG.format(format=format_name, path=path, streams=streams))
        (summary,) = run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    return summary.events


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as directory:
        paths = write_tables(Path(directory), arguments.rows)
        subjects: dict[tuple[str, str], Callable[[], int]] = {}
        for name, path in paths.items():
            subjects[name, "pyarrow, into memory"] = partial(read_with_pyarrow, path)
            subjects[name, "decode + apply"] = partial(decode_and_apply, path, name)
            for streams in (["depth"], ["bbo", "book"], ["depth", "trades", "bbo", "book"]):
                subjects[name, f"to parts: {', '.join(streams)}"] = partial(reconstruct, path, name, json.dumps(streams))
        rates = measure_rates(subjects, arguments.rounds)
    table = Table(title="tables, on one core: M rows/s")
    for column in ("format", "subject", "median", "lowest", "highest", "x pyarrow"):
        table.add_column(column, justify="left" if column in ("format", "subject") else "right")
    for (name, what), values in rates.items():
        ratio = statistics.median(values) / statistics.median(rates[name, "pyarrow, into memory"])
        figures = (statistics.median(values), min(values), max(values))
        table.add_row(name, what, *(f"{value:.2f}" for value in figures), f"{ratio:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
