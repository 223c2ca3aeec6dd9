"""Inputs that were made to take all memory, and the peak of a run on each of them."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 600_000_000
START_MS = 1_723_161_600_000
DAY_MS = 86_400_000


def diff(number: int, time_ms: int) -> bytes:
    """A depth diff of one level."""
    record = {"e": "depthUpdate", "E": time_ms, "s": "X", "U": number, "u": number, "b": [["150", str(number)]], "a": []}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def make_junk(directory: Path, scale: float) -> str:
    """1 GB of lines of 200 bytes that are no records: each is a dead letter."""
    line = b"junk " * 39 + b"junk\n"
    lines = line * 5_000
    with (directory / "junk.jsonl").open("wb") as file:
        for _ in range(round(1_000 * scale)):
            file.write(lines)
    return "binance"


def make_bomb(directory: Path, scale: float) -> str:
    """A Parquet file of 65 KB with a text column that has 40 values of 50 MB, in a dictionary."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, values, size = 1000, round(40 * scale), 50_000_000
    offsets = np.arange(values + 1, dtype=np.int32) * size
    text = np.full(values * size, ord("9"), np.uint8)
    for number in range(values):
        text[number * size : number * size + 2] = np.frombuffer(b"%02d" % number, np.uint8)
    dictionary = pa.Array.from_buffers(pa.string(), values, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    table = pa.table(
        {
            "origin_time": np.full(rows, 1.7231616e9),
            "received_time": np.full(rows, 1.7231616e9),
            "sequence_number": np.arange(rows),
            "side_is_bid": np.ones(rows, bool),
            "price": np.arange(1.0, rows + 1),
            "size": np.ones(rows),
            "symbol": pa.DictionaryArray.from_arrays(np.arange(rows, dtype=np.int32) % values, dictionary),
        }
    )
    options = {"dictionary_pagesize_limit": 2**31 - 1, "write_statistics": False, "store_schema": False}
    pq.write_table(table, directory / "bomb.parquet", compression="zstd", **options)
    return "cryptolake"


def make_zeros(directory: Path, scale: float) -> str:
    """10 GB of zeros in one gzip member of 10 MB."""
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(1, wbits=31)
    zeros = bytes(10_000_000)
    with (directory / "zeros.gz").open("wb") as file:
        for _ in range(round(1_000 * scale)):
            file.write(compressor.compress(zeros))
        file.write(compressor.flush())
    return "binance"


def make_files(directory: Path, scale: float) -> str:
    """100,000 files of one record each."""
    (directory / "many").mkdir()
    for number in range(1, round(100_000 * scale) + 1):
        (directory / "many" / f"{number:06}.jsonl").write_bytes(diff(number, START_MS + number))
    return "binance"


def make_days(directory: Path, scale: float) -> str:
    """3,000 records of 3,000 days."""
    days = range(1, round(3_000 * scale) + 1)
    (directory / "days.jsonl").write_bytes(b"".join(diff(number, START_MS + number * DAY_MS) for number in days))
    return "binance"


CASES: dict[str, Callable[[Path, float], str]] = {
    "junk": make_junk,
    "bomb": make_bomb,
    "zeros": make_zeros,
    "files": make_files,
    "days": make_days,
}
"""What makes an input in a directory, and returns its format."""


_LAUNCHER = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
out = process.stdout.read()
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024, time.perf_counter() - started, process.returncode, out.decode())
"""
"""A small process that runs the command: a child's peak includes that of the process from which it was forked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run took."""

    input_bytes: int
    files: int
    peak_bytes: int
    """Of the resident set of the process."""
    seconds: float
    exit_code: int
    error: str
    """Of the symbol; empty if there is none."""


def run_case(name: str, scale: float) -> Outcome:
    """Make an input, and run cowbook on it to its end."""
    with tempfile.TemporaryDirectory(prefix="cowbook-bounds-") as temporary:
        directory = Path(temporary)
        config = directory / "cowbook.toml"
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # making some inputs takes gigabytes
            format_name = pool.apply(CASES[name], (directory, scale))
        inputs = [path for path in directory.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in inputs)
        pattern = "many/*" if name == "files" else inputs[0].name
        config.write_text(f'[[symbol]]\nname = "X"\nformat = "{format_name}"\npaths = ["{pattern}"]\n')
        command = [sys.executable, "-c", _LAUNCHER, sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, seconds, code, summary = done.stdout.split(" ", 3)
    error = json.loads(summary)[0]["error"] if summary.strip() else done.stderr[-300:]
    return Outcome(size, len(inputs), int(peak), float(seconds), int(code), (error or "").replace(f"{directory}/", ""))
