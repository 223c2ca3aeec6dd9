"""What encoding a stream's rows takes, by kernels and by pyarrow, in turn on one core: nanoseconds and bytes a row.

python tests/bench/encoding.py [--messages N] [--rounds N] [CAPTURE NAME]

pyarrow is given a table that is made already, and writes it as people do: zstd at a fast level, with its dictionaries. The
kernels begin with the rows of the book's messages, which they spread over levels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.pipeline import LoadedCapture, rows_of_cuts
from cowbook.simulate.capture import write_capture
from cowbook.sink.stream_files import StreamFiles
from cowbook.symbol.warm import warm

STREAMS = ("depth", "trades", "bbo", "book")
_DECIMALS = 8
_PRICES = ["price", "bid_price", "ask_price"]
BAR = 30.0
"""Most nanoseconds a row of `depth`."""


@dataclass(slots=True)
class Figures:
    """What a stream's rows took."""

    rows: int = 0
    kernel_bytes: int = 0
    pyarrow_bytes: int = 0
    kernel_ns: list[float] = field(default_factory=list)
    """A row, by round."""
    pyarrow_ns: list[float] = field(default_factory=list)


def by_pyarrow(table: pa.Table) -> int:
    """Have pyarrow write a table into memory. Returns how many bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=-3, use_dictionary=True)
    return int(sink.getvalue().size)


def measure(capture: LoadedCapture, rounds: int) -> dict[str, Figures]:
    """Encode the rows of all cuts in turn, after one round that does not count."""
    cuts = rows_of_cuts(capture)
    files = StreamFiles(_DECIMALS, _DECIMALS, 20)
    found: dict[str, Figures] = defaultdict(Figures)
    for number in range(rounds + 1):
        spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for rows in cuts:
            made = files.make(rows, ())
            while True:
                started = time.process_time_ns()
                file = next(made, None)
                seconds = time.process_time_ns() - started
                if file is None:
                    break
                if file.stream not in STREAMS:
                    continue
                table = pq.read_table(pa.BufferReader(file.content))
                started = time.process_time_ns()
                written = by_pyarrow(table)
                of_stream = spent[file.stream]
                of_stream[0] += seconds
                of_stream[1] += time.process_time_ns() - started
                if number == 0:
                    figures = found[file.stream]
                    figures.rows += file.rows
                    figures.kernel_bytes += len(file.content)
                    figures.pyarrow_bytes += written
        if number:
            for stream, (kernels, pyarrow) in spent.items():
                found[stream].kernel_ns.append(kernels / found[stream].rows)
                found[stream].pyarrow_ns.append(pyarrow / found[stream].rows)
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", nargs="?", type=Path, help="a plain Binance capture with 19-digit receive times")
    parser.add_argument("name", nargs="?", default="BTCUSDT")
    parser.add_argument("--messages", type=int, default=100_000, help="depth diffs of the simulated capture")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    warm()
    with tempfile.TemporaryDirectory() as temporary:
        path = arguments.capture
        if path is None:
            path = Path(temporary) / "capture.jsonl"
            write_capture(path, symbol=arguments.name, messages=arguments.messages, seed=7)
        found = measure(LoadedCapture(path, arguments.name), arguments.rounds)
    table = Table(title=f"encoding on one core, processor time, {arguments.rounds} rounds in turn; bar of depth: {BAR:.0f} ns")
    for column in ("stream", "rows", "ns a row", "pyarrow's", "x", "bytes a row", "pyarrow's"):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for stream in STREAMS:
        if stream not in found:
            continue
        figures = found[stream]
        own, other = statistics.median(figures.kernel_ns), statistics.median(figures.pyarrow_ns)
        sizes = (f"{size / figures.rows:.2f}" for size in (figures.kernel_bytes, figures.pyarrow_bytes))
        table.add_row(stream, f"{figures.rows:,}", f"{own:.1f}", f"{other:.1f}", f"{other / own:.1f}", *sizes)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
