"""What a record costs in a loop of one's own that reads the time and both best prices, against orjson and `order-book`.

python tests/bench/replay.py [--messages N] [--rounds N]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import orjson
from rich.console import Console
from rich.table import Table

from cowbook import features, replay
from cowbook.simulate.capture import write_capture

NAME = "BTCUSDT"


def run_order_book(path: Path) -> tuple[int, object]:
    """The C extension order-book with orjson and floats: records, and what was read last."""
    from order_book import OrderBook

    book = OrderBook()
    records = 0
    last: object = None
    with path.open("rb") as file:
        for line in file:
            records += 1
            message = orjson.loads(line[20:])
            message = message.get("data", message)
            if message.get("e") == "depthUpdate":
                for side, changes in ((book.bids, message["b"]), (book.asks, message["a"])):
                    for price_text, size_text in changes:
                        price, size = float(price_text), float(size_text)
                        if size:
                            side[price] = size
                        elif price in side:
                            del side[price]
            elif "lastUpdateId" in message:
                book.bids = {float(price): float(size) for price, size in message["bids"]}
                book.asks = {float(price): float(size) for price, size in message["asks"]}
            if len(book.bids) and len(book.asks):
                last = message.get("E"), book.bids.index(0)[0], book.asks.index(0)[0]
    return records, last


def run_replay(path: Path) -> tuple[int, object]:
    """The same of `cowbook.replay`."""
    records = 0
    last: object = None
    for book in replay(path, NAME):
        records += 1
        last = book.time, book.bid_price, book.ask_price
    return records, last


def run_levels(path: Path) -> tuple[int, object]:
    """The best five levels of both sides beside."""
    records = 0
    last: object = None
    for book in replay(path, NAME):
        records += 1
        last = book.levels(5)
    return records, last


def run_figures(path: Path) -> tuple[int, object]:
    """Mid, spread and micro-price beside."""
    records = 0
    last: object = None
    for book in replay(path, NAME):
        records += 1
        last = book.time, book.mid, book.spread, book.microprice
    return records, last


def run_features(path: Path) -> tuple[int, object]:
    """A table of features, a row a second."""
    return RECORDS_OF[path], features(path, NAME)


def run_apply(path: Path) -> tuple[int, object]:
    """Decoding and applying, and nothing read."""
    *_, book = replay(path, NAME, every=1 << 60)
    return RECORDS_OF[path], book.event_count


RECORDS_OF: dict[Path, int] = {}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000, help="depth diffs of the simulated capture")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    other = f"orjson + order-book {importlib.metadata.version('order-book')}"
    subjects: dict[str, Callable[[Path], tuple[int, object]]] = {
        other: run_order_book,
        "replay: time, best prices": run_replay,
        "replay: time, mid, spread, micro-price": run_figures,
        "replay: five levels of both sides": run_levels,
        "replay: nothing read, one step": run_apply,
        "features: a row a second": run_features,
    }
    figures: dict[str, list[float]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "capture.jsonl"
        write_capture(path, symbol=NAME, messages=arguments.messages, seed=7)
        RECORDS_OF[path] = run_replay(path)[0]
        results = {name: subject(path) for name, subject in subjects.items()}  # a round that does not count
        assert len({records for records, _ in results.values()}) == 1
        for _ in range(arguments.rounds):
            for name, subject in subjects.items():
                started = time.process_time()
                records, _ = subject(path)
                figures[name].append((time.process_time() - started) / records * 1e6)
    table = Table(title=f"a loop over {results[other][0]:,} records, on one core, {arguments.rounds} rounds in turn, medians")
    for column in ("", "µs/record", "order-book's time over it"):
        table.add_column(column, justify="right" if column else "left")
    for name, own in figures.items():
        ratio = statistics.median(base / figure for base, figure in zip(figures[other], own, strict=True))
        table.add_row(name, f"{statistics.median(own):.2f}", f"{ratio:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
