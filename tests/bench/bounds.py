"""Peak memory of inputs that were made to take all of it, each in a process of its own. Exits with 1 if one is over the limit.

python tests/bench/bounds.py [--scale 1.0] [NAME…]

NAME is one of the cases below. `--scale` makes every input smaller or larger.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


def measure(config: Path) -> tuple[int, float, int, str]:
    """Run to the end of the input: peak resident set in bytes, seconds, exit code, and the symbol's error.

    This process is small, since a child's peak includes that of the process that it was forked from.
    """
    with (config.parent / "summary.json").open("wb") as out, (config.parent / "log").open("wb") as log:
        started = time.perf_counter()
        command = [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
        process = subprocess.Popen(command, stdout=out, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
    try:
        error = json.loads((config.parent / "summary.json").read_text())[0]["error"] or ""
    except ValueError:
        error = (config.parent / "log").read_text()[-300:]
    return usage.ru_maxrss * 1024, seconds, process.returncode, error.replace(f"{config.parent}/", "")


def run_case(name: str, scale: float) -> int:
    """Make one input, run cowbook on it, and print what it took. Returns the peak in bytes."""
    with tempfile.TemporaryDirectory(prefix="cowbook-bounds-") as temporary:
        directory = Path(temporary)
        config = directory / "cowbook.toml"
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # making some inputs takes gigabytes
            format_name = pool.apply(CASES[name], (directory, scale))
        inputs = [path for path in directory.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in inputs)
        config.write_text(
            f'[[symbol]]\nname = "X"\nformat = "{format_name}"\npaths = ["{"many/*" if name == "files" else inputs[0].name}"]\n'
        )
        peak, seconds, code, error = measure(config)
    print(
        f"{name}: {size:,} bytes in {len(inputs):,} files: peak resident set {peak / 1e6:.0f} MB "
        f"(limit {LIMIT_BYTES / 1e6:.0f} MB), {seconds:.1f} s, exit code {code}{': ' + error if error else ''}",
        flush=True,
    )
    return peak


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    # Kernels are compiled beforehand; compiling takes memory of its own.
    subprocess.run([sys.executable, "-m", "cowbook", "warm", "--format", "binance", "--format", "cryptolake"], check=True)
    peaks = [run_case(name, arguments.scale) for name in arguments.names or CASES]
    return int(max(peaks) > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
