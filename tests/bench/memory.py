"""Peak memory of reconstructing a capture of 1 GB, as the operating system accounts it for the whole process.

python tests/bench/memory.py [--gigabytes 1]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cowbook.simulate.capture import write_capture

LIMIT_BYTES = 300_000_000
_MESSAGES = 60_000
_CONFIG = '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["capture-*.jsonl"]\n'


def main() -> int:
    """Make the capture, run cowbook on it, and print what it took; 1 when over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        size = make_capture(directory, int(arguments.gigabytes * 1e9))
        (directory / "cowbook.toml").write_text(_CONFIG)
        # Set-up compiles the kernels; compiling takes memory of its own.
        subprocess.run([sys.executable, "-m", "cowbook", "warm"], check=True)
        started = time.perf_counter()
        command = [sys.executable, "-m", "cowbook", "run", str(directory / "cowbook.toml"), "--once"]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
    peak = usage.ru_maxrss * 1024
    print(
        f"{size / 1e9:.2f} GB in {seconds:.1f} s: peak resident set {peak / 1e6:.0f} MB "
        f"(limit {LIMIT_BYTES / 1e6:.0f} MB), exit code {process.returncode}"
    )
    return 0 if process.returncode == 0 and peak <= LIMIT_BYTES else 1


def make_capture(directory: Path, size_bytes: int) -> int:
    """One simulated file, and as many copies of it as make up the size; the size.

    A copy goes on where nothing is missing but time: its first snapshot is older than the book, and is stale; then its
    diffs are. So that the book has work, every copy speaks of later ids.
    """
    first = directory / "capture-0.jsonl"
    write_capture(first, symbol="BTCUSDT", messages=_MESSAGES, seed=0)
    size = first.stat().st_size
    for number in range(1, -(-size_bytes // size)):
        shift_ids(first, directory / f"capture-{number}.jsonl", number)
    return size * -(-size_bytes // size)


def shift_ids(source: Path, target: Path, number: int) -> None:
    """Copy a capture with all update ids moved up: their leading digits 50 become 51, 52, and so on."""
    old, new = b":50", f":{50 + number}".encode()
    with source.open("rb") as reader, target.open("wb") as writer:
        for line in reader:
            writer.write(
                line.replace(b'"U"' + old, b'"U"' + new).replace(b'"u"' + old, b'"u"' + new).replace(b'Id"' + old, b'Id"' + new)
            )
    shutil.copystat(source, target)


if __name__ == "__main__":
    sys.exit(main())
