"""What a record costs in a loop of one's own that reads the time and both best prices, against orjson and `order-book`.

python tests/bench/replay.py [--messages N] [--rounds N] [--pandas PYTHON]

Also what features add to decoding and applying, in a daemon and in `cowbook.features`, and, where `--pandas` names an interpreter
with pandas and pyarrow or this one has them, how long pandas takes for those of the best level, of a finished output.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import orjson
from rich.console import Console
from rich.table import Table

from bench.pipeline import LoadedCapture, run_stages
from cowbook import features, replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture

NAME = "BTCUSDT"

APPLY = "replay: nothing read, one step"

STREAMS = ("depth", "trades", "bbo", "book")

PANDAS = """
import json, sys, time
import numpy as np
import pandas as pd
root = sys.argv[1]

def best_features():
    quotes = pd.read_parquet(f"{root}/bbo", columns=["event_index", "ts_event", "bid_price", "bid_size", "ask_price", "ask_size"])
    trades = pd.read_parquet(f"{root}/trades", columns=["event_index", "ts_event", "side", "size"])
    quotes, trades = quotes.sort_values("event_index"), trades.sort_values("event_index")
    for name in ("bid_price", "bid_size", "ask_price", "ask_size"):
        quotes[name] = quotes[name].astype("float64")
    before = quotes.shift()
    quotes["ofi_1"] = (
        np.where(quotes.bid_price >= before.bid_price, quotes.bid_size, 0.0)
        - np.where(quotes.bid_price <= before.bid_price, before.bid_size, 0.0)
        - np.where(quotes.ask_price <= before.ask_price, quotes.ask_size, 0.0)
        + np.where(quotes.ask_price >= before.ask_price, before.ask_size, 0.0)
    )
    by_second = quotes.set_index("ts_event").resample("1s", closed="right", label="right")
    rows = by_second[["bid_price", "bid_size", "ask_price", "ask_size"]].last()
    rows["ofi_1"] = by_second["ofi_1"].sum()
    rows["mid"], rows["spread"] = (rows.bid_price + rows.ask_price) / 2, rows.ask_price - rows.bid_price
    rows["imbalance_1"] = (rows.bid_size - rows.ask_size) / (rows.bid_size + rows.ask_size)
    trades["size"] = trades["size"].astype("float64")
    for side in ("buy", "sell"):
        sizes = trades[trades.side == side].set_index("ts_event")["size"].resample("1s", closed="right", label="right")
        rows[f"{side}_volume"], rows[f"{side}_count"] = sizes.sum(), sizes.count()
    return rows

best_features()
seconds = []
for _ in range(int(sys.argv[2])):
    started = time.process_time()
    rows = best_features()
    seconds.append(time.process_time() - started)
print(json.dumps([len(rows), seconds]))
"""


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


def report_stream(path: Path, what: str, rounds: int, console: Console) -> None:
    """What the stream `features` adds to decoding and applying in a daemon. A round takes a tenth of a second."""
    capture = LoadedCapture(path, NAME)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 1):
        for has_features, figures in seconds.items():
            streams = (*STREAMS, "features") if has_features else STREAMS
            taken = run_stages(capture, apply=True, settings=EngineSettings(streams=streams))[1]
            if number:
                figures.append(taken)
    ratio = statistics.median(with_them / without for without, with_them in zip(*seconds.values(), strict=True))
    console.print(f"decode + apply with the stream features, a row a second, {what}: {ratio:.2f} x decode + apply without")


def report_pandas(path: Path, python: str, rounds: int, console: Console) -> None:
    """Features of the best level of a finished output: `cowbook.features`, and pandas over `bbo` and `trades`."""
    config_path = path.with_name("cowbook.toml")
    config_path.write_text(f'[log]\nlevel = "error"\n[[symbol]]\nname = "{NAME}"\nformat = "binance"\npaths = ["{path.name}"]\n')
    (summary,) = run_once(load_config(config_path, {}))
    assert summary.state == "done", summary.error
    data = path.with_name("data")
    own: list[float] = []
    rows = 0
    for number in range(rounds + 1):
        started = time.process_time()
        rows = len(features(data, NAME, levels=1, bps=()))
        if number:
            own.append(time.process_time() - started)
    answer = subprocess.run([python, "-c", PANDAS, str(data), str(rounds)], check=True, capture_output=True)
    pandas_rows, theirs = json.loads(answer.stdout)
    assert abs(pandas_rows - rows) <= 2, (pandas_rows, rows)
    mine, other = statistics.median(own), statistics.median(theirs)
    text = f"{rows:,} rows of features of the best level, of an output: cowbook.features {1000 * mine:.0f} ms of the processor, "
    console.print(f"{text}pandas {1000 * other:.0f} ms, {other / mine:.1f} x")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000, help="depth diffs of the simulated capture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pandas", metavar="PYTHON", default=sys.executable if importlib.util.find_spec("pandas") else "")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    other = f"orjson + order-book {importlib.metadata.version('order-book')}"
    subjects: dict[str, Callable[[Path], tuple[int, object]]] = {
        other: run_order_book,
        "replay: time, best prices": run_replay,
        "replay: time, mid, spread, micro-price": run_figures,
        "replay: five levels of both sides": run_levels,
        APPLY: run_apply,
        "features: a row a second": run_features,
    }
    figures: dict[str, list[float]] = {name: [] for name in subjects}
    console = Console(width=110)
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
        print_table(figures, other, results[other][0], arguments.rounds, console)
        report_stream(path, "of that capture", 8 * arguments.rounds, console)
        diffs = path.with_name("diffs.jsonl")
        diffs.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b"@depth" in line))
        report_stream(diffs, "of its diffs alone", 8 * arguments.rounds, console)
        if arguments.pandas:
            report_pandas(path, arguments.pandas, arguments.rounds, console)
        else:
            console.print("pandas is not installed: name an interpreter that has it by --pandas")


def print_table(figures: dict[str, list[float]], other: str, records: int, rounds: int, console: Console) -> None:
    """The figures as ratios, each to that of the same round."""
    table = Table(title=f"a loop over {records:,} records, on one core, {rounds} rounds in turn, medians")
    for column in ("", "µs/record", "order-book's time over it", "x decode + apply"):
        table.add_column(column, justify="right" if column else "left")
    for name, own in figures.items():
        ratio = statistics.median(base / figure for base, figure in zip(figures[other], own, strict=True))
        share = statistics.median(figure / base for base, figure in zip(figures[APPLY], own, strict=True))
        table.add_row(name, f"{statistics.median(own):.2f}", f"{ratio:.1f}", f"{share:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
