"""How long the book at an instant of a busy symbol's day takes, cold, against what one writes with pandas.

python tests/bench/instant.py [--copies 15] [--rounds 5] [--pandas PYTHON]

The day is a simulated run of a hundred minutes, whose parts are written 15 times one behind the other: 32 million rows of
`depth`. Each round asks for one random instant in a process of its own, after the system was told to forget the files' pages.
`--pandas` is an interpreter with pandas and pyarrow, where this one has none. Processor time is shown, too: it says something
also on a machine that is busy.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from cowbook.config import load_config
from cowbook.plain.parts import parse_part_name, part_name
from cowbook.plain.streams import BY_NAME
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.sink.encoding import encode

STREAMS = ("depth", "trades", "bbo", "book", "frame")
SHIFT_NS = 5_700 * 10**9
"""Longer than the run behind its first midnight; 15 of them are less than a day."""

OURS = """
import json, sys, time
started = time.perf_counter()
from cowbook import book_at
imported, used = time.perf_counter(), time.process_time()
book = book_at(sys.argv[1], "BTCUSDT", int(sys.argv[2]))
seconds = [imported - started, time.perf_counter() - imported, time.process_time() - used]
print(json.dumps([seconds, len(book.bids) + len(book.asks), str(book.bids.best[0])]))
"""

PANDAS = """
import json, sys, time
started = time.perf_counter()
import pandas as pd
imported, used = time.perf_counter(), time.process_time()
root, instant = sys.argv[1], pd.Timestamp(int(sys.argv[2]), tz="UTC")
read = dict(engine="pyarrow", dtype_backend="pyarrow")
day = f"symbol=BTCUSDT/date={instant:%Y-%m-%d}"
start = pd.read_parquet(f"{root}/frame/{day}", columns=["event_index", "ts_event"], filters=[("ts_event", "<=", instant)], **read)
first = int(start["event_index"].max())
levels = ["side", "price", "size"]
frame = pd.read_parquet(f"{root}/frame/{day}", columns=levels, filters=[("event_index", "==", first)], **read)
wanted = [("event_index", ">=", first), ("ts_event", "<=", instant)]
depth = pd.read_parquet(f"{root}/depth/{day}", columns=[*levels, "kind"], filters=wanted, **read)
for side in ("bid", "ask"):
    clears = ((depth["side"] == side) & (depth["kind"] == "clear")).to_numpy().nonzero()[0]
    if len(clears):
        frame = frame[frame["side"] != side]
        depth = depth[(depth["side"] != side) | (pd.RangeIndex(len(depth)) > clears[-1])].reset_index(drop=True)
book = pd.concat([frame, depth[levels]]).drop_duplicates(["side", "price"], keep="last")
book = book[book["size"] != 0].sort_values("price", ascending=False)
best = str(book[book["side"] == "bid"]["price"].iloc[0])
seconds = [imported - started, time.perf_counter() - imported, time.process_time() - used]
print(json.dumps([seconds, len(book), best]))
"""


def make_day(directory: Path, copies: int) -> Path:
    """A run, and its parts behind the first one so many times, each with later events and times."""
    write_capture(directory / "BTCUSDT.jsonl", symbol="BTCUSDT", messages=60_000, seed=1)
    text = '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["BTCUSDT.jsonl"]\n'
    (directory / "cowbook.toml").write_text(text)
    (summary,) = run_once(load_config(directory / "cowbook.toml", {}))
    assert summary.state == "done"
    for stream in STREAMS:
        paths = sorted((directory / "data" / stream).glob("*/*/*.parquet"))
        names = [parse_part_name(path.name) for path in paths]
        begin = min(place[0] for place, _ in filter(None, names) if place[0])
        for path, name in zip(paths, names, strict=True):
            assert name is not None
            (first, _), last = name
            if first < begin:
                continue  # the day before
            table = pq.read_table(path)
            for copy in range(copies):
                events = copy * (summary.events - begin)
                target = (
                    directory
                    / "day"
                    / path.parent.relative_to(directory / "data")
                    / part_name(first - begin + events, last - begin + events, 0)
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode(BY_NAME[stream], shifted(table, events - begin, copy * SHIFT_NS), "zstd"))
    return directory / "day"


def shifted(table: pa.Table, events: int, nanoseconds: int) -> pa.Table:
    """The same rows with other numbers and times, of the types that the sink writes."""
    for place, field in enumerate(table.schema):
        column = table.column(place).combine_chunks()
        if field.name == "event_index":
            column = pa.array(column.to_numpy() + events)
        elif pa.types.is_timestamp(field.type):
            column = pa.compute.cast(pa.compute.add(column.cast(pa.int64()), nanoseconds), field.type)
        elif pa.types.is_decimal128(field.type):
            column = column.cast(pa.decimal64(field.type.precision, field.type.scale))
        elif pa.types.is_string(field.type):
            column = column.dictionary_encode()
        table = table.set_column(place, pa.field(field.name, column.type, field.nullable), column)
    return table.combine_chunks()


def forget_pages(directory: Path) -> None:
    """Have the next reader of these files read the disk."""
    for path in directory.rglob("*.parquet"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def ask(python: str, script: str, data: Path, instant: int) -> list[Any]:
    """Run a script in a process of its own: seconds of its imports, of the answer, of the processor; levels; best bid."""
    forget_pages(data)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[1:])} if python == sys.executable else dict(os.environ)
    answer = subprocess.run([python, "-c", script, str(data), str(instant)], check=True, capture_output=True, env=environment)
    result: list[Any] = json.loads(answer.stdout)
    return result


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pandas", metavar="PYTHON", default=sys.executable if importlib.util.find_spec("pandas") else "")
    arguments = parser.parse_args()
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as temporary:
        data = make_day(Path(temporary), arguments.copies)
        rows = sum(pq.read_metadata(path).num_rows for path in (data / "depth").rglob("*.parquet"))
        size = sum(path.stat().st_size for path in data.rglob("*.parquet"))
        rng = random.Random(1)
        start = pq.read_table(min((data / "depth").rglob("*.parquet")), columns=["ts_event"])["ts_event"][0].value
        scripts = {"cowbook.book_at": (sys.executable, OURS)}
        if arguments.pandas:
            scripts["pandas"] = (arguments.pandas, PANDAS)
        else:
            console.print("pandas is not installed: name an interpreter that has it by --pandas")
        figures: dict[str, list[list[float]]] = {name: [] for name in scripts}
        for _ in range(arguments.rounds):
            instant = start + rng.randrange(60 * 10**9, arguments.copies * SHIFT_NS - 200 * 10**9)
            answers = {name: ask(python, script, data, instant) for name, (python, script) in scripts.items()}
            assert len({tuple(answer[1:]) for answer in answers.values()}) == 1, answers
            for name, answer in answers.items():
                figures[name].append(answer[0])
    table = Table(title=f"the book at an instant, cold, of {rows:,} rows of depth in {size / 1e6:,.0f} MB; medians")
    for column in ("", "imports, ms", "answer, ms", "x cowbook", "processor, ms", "x cowbook"):
        table.add_column(column, justify="right" if column else "left")
    own = figures["cowbook.book_at"]
    for name, rounds in figures.items():
        imports, answer, processor = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = [statistics.median(each[at] / one[at] for each, one in zip(rounds, own, strict=True)) for at in (1, 2)]
        cells = [f"{imports:.0f}", f"{answer:.0f}", f"{ratios[0]:.1f}", f"{processor:.0f}", f"{ratios[1]:.1f}"]
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
