"""How fast records of venues other than Binance are read, on one core.

The captures are made up: changes of one to three levels, trades, and records of another symbol, 66 a second. With `--faster 1`
they are two a second, so that every other one has a row of the grid. Beside it, what orjson takes to make Python objects of the
same records, and the reference decoder alone.

python tests/bench/texts.py [--events N] [--rounds N] [--faster N]
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rates import measure_rates
from cowbook import replay
from cowbook.config import load_config
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.input.venue import Venue
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import EventBatch
from cowbook.service.service import run_once
from cowbook.symbol.warm import warm
from cowbook.venues import load_venue
from support.venue_samples import START_MS, make_events, records_of

SAMPLES = {
    "kraken-v1": ("kraken", "XBT/USD"),
    "kraken-v2-frames": ("kraken", "BTC/USD"),
    "okx-chain": ("okx", "BTC-USDT"),
    "bitget": ("bitget", "BTCUSDT"),
    "bybit": ("bybit", "BTCUSDT"),
    "coinbase": ("coinbase", "BTC-USD"),
    "coinbase-advanced": ("coinbase_advanced", "BTC-USD"),
    "deribit": ("deribit", "BTC-PERPETUAL"),
    "kraken-futures": ("kraken_futures", "PI_XBTUSD"),
}
_CONFIG = """
[service]
output_dir = "data"
state_dir = "state"
[log]
level = "warning"
[[symbol]]
id = "X"
name = "{name}"
format = "{format}"
paths = ["{path}"]
"""


def run_orjson(records: list[bytes]) -> int:
    """Python objects, and nothing done with them; how many records."""
    for record in records:
        orjson.loads(record)
    return len(records)


def run_decoder(venue: Venue, name: str, buffer: npt.NDArray[np.uint8]) -> int:
    """Batches of messages, and nothing done with them; how many messages."""
    block = Block(buffer, 0, len(buffer) - PADDING, "", 0, final=True, head=buffer[:1024].tobytes())
    decoder = LineDecoder(venue, DecoderSettings(name, 8, 8, 1 << 20))
    batch = EventBatch.allocate()
    count = 0
    while decoder.decode(block, batch):
        count += batch.message_count
        batch.clear()
    return count + batch.message_count


def apply_to_book(format_name: str, name: str, path: Path) -> int:
    """The book at the end, audited, and no rows; how many messages."""
    *_, engine = replay(str(path), name, format=format_name, every=1 << 60)
    return engine.value("messages") + engine.value("other_symbol")


def run_pipeline(format_name: str, name: str, path: Path) -> int:
    """The whole of it, from the file to published parts of all streams; how many messages."""
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        config = Path(directory) / "cowbook.toml"
        config.write_text(_CONFIG.format(name=name, format=format_name, path=path))
        (summary,) = run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    assert not any(summary.dead_letters.values())
    return summary.messages + summary.other_symbol


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faster", type=int, default=30)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warm()
    gc.collect()
    gc.freeze()  # as the daemon does: a collection of all that was imported takes as long as 100,000 records
    table = Table(title="text venues, on one core: M messages/s")
    columns = ("orjson, objects only", "reference decoder", "decode", "decode + apply", "to parts, all streams")
    for column in ("records", *columns, "decode x orjson", "+ apply x orjson"):
        table.add_column(column, justify="left" if column == "records" else "right")
    events = [
        replace(event, time_ms=START_MS + (event.time_ms - START_MS) // arguments.faster)
        for event in make_events(3, arguments.events, (75, 15, 10, 0, 0))
    ]
    with tempfile.TemporaryDirectory() as directory:
        for sample, (format_name, name) in SAMPLES.items():
            records = [record for _, record in records_of(sample, events)]
            few = records[: len(records) // 10]
            content, start = (np.frombuffer(b"\n".join([*some, bytes(PADDING)]), np.uint8).copy() for some in (records, few))
            path = Path(directory) / sample
            path.write_bytes(content[:-PADDING].tobytes())
            venue = load_venue(format_name)
            subjects: dict[str, Callable[[], int]] = {
                columns[0]: partial(run_orjson, records),
                columns[1]: partial(run_decoder, replace(venue, make_scanner=None), name, start),
                columns[2]: partial(run_decoder, venue, name, content),
                columns[3]: partial(apply_to_book, format_name, name, path),
                columns[4]: partial(run_pipeline, format_name, name, path),
            }
            measured = measure_rates(subjects, arguments.rounds)
            rates = {column: statistics.median(values) for column, values in measured.items()}
            ratios = (rates[column] / rates[columns[0]] for column in columns[2:4])
            table.add_row(sample, *(f"{rates[column]:.3f}" for column in columns), *(f"{ratio:.1f}" for ratio in ratios))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
