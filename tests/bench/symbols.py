"""Many symbols in one process: recovery of 200, two on two cores, memory of each further one, lag of the event loops.

python tests/bench/symbols.py [--symbols 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cowbook.simulate.capture import write_capture
from support.daemon_process import DaemonProcess
from support.harness import read_parts

_SMALL = 150  # diffs of a small capture
_BUSY = 200_000
_SAMPLE = 5  # symbols that are compared with a run of their own


def configure(directory: Path, captures: dict[str, Path], *, follow: bool, part_events: int = 1_000_000) -> Path:
    """A configuration for these symbols in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    tables = [
        f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["{path}"]\nfollow = {json.dumps(follow)}\n'
        for name, path in captures.items()
    ]
    path = directory / "cowbook.toml"
    path.write_text(f'[http]\nlisten = ""\n[output]\npart_events = {part_events}\n' + "".join(tables))
    return path


def run_once(config: Path, cores: Sequence[int] = ()) -> list[dict[str, float]]:
    """Run to the end of the input, on these cores or on all: the summaries."""
    command = [sys.executable, "-m", "cowbook", "run", str(config), "--once", "--json"]
    if cores:
        command = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summaries: list[dict[str, float]] = json.loads(done.stdout)
    return summaries


def small_captures(directory: Path, count: int) -> dict[str, Path]:
    """Captures of a few thousand events."""
    directory.mkdir(parents=True)
    captures = {f"SYM{number:03}USDT": directory / f"{number:03}.jsonl" for number in range(count)}
    for seed, (name, path) in enumerate(captures.items()):
        write_capture(path, symbol=name, messages=_SMALL, seed=seed)
    return captures


def consumed(daemon: DaemonProcess, sizes: list[int]) -> bool:
    """Whether every symbol stands at the end of its file."""
    return [symbol["offset"] for symbol in json.loads(daemon.get("/status"))["symbols"]] == sizes


def bench_many(directory: Path, captures: dict[str, Path]) -> None:
    """Kill all in the middle, recover, finish."""
    whole = {name: path.read_bytes() for name, path in captures.items()}
    for name, path in captures.items():
        path.write_bytes(whole[name][: len(whole[name]) // 2])
    config = configure(directory / "many", captures, follow=True, part_events=2000)
    with DaemonProcess(config) as daemon:
        halves = [path.stat().st_size for path in captures.values()]
        daemon.wait_for(lambda: json.loads(daemon.get("/status"))["ready"], "ready")
        assert daemon.command("checkpoint").returncode == 0
        daemon.stop(signal.SIGKILL)
        for name, path in captures.items():
            path.write_bytes(whole[name])
        started = time.monotonic()
        daemon.start()
        daemon.wait_for(lambda: json.loads(daemon.get("/status"))["ready"], "ready again")
        ready = time.monotonic() - started
        daemon.wait_for(lambda: consumed(daemon, [len(content) for content in whole.values()]), "everything")
        finished = time.monotonic() - started
        descriptors = daemon.metric("process_open_fds")
        resident = daemon.metric("process_resident_memory_bytes")
        recovered = sum(symbol["recovery_seconds"] is not None for symbol in json.loads(daemon.get("/status"))["symbols"])
        assert daemon.stop() == 0
    states = {str(summary["state"]) for summary in run_once(config)}
    parts = read_parts(directory / "many" / "data")
    sample = dict(list(captures.items())[:: max(len(captures) // _SAMPLE, 1)])
    run_once(configure(directory / "sample", sample, follow=False, part_events=2000))
    expected = read_parts(directory / "sample" / "data")
    same = all(parts[name] == content for name, content in expected.items())
    print(
        f"{len(captures)} symbols, killed after {sum(halves) / 1e6:.0f} MB: ready again {ready:.1f} s after the start, all read "
        f"after {finished:.1f} s, {recovered} recovered, {resident / 1e6:.0f} MB, {descriptors:.0f} descriptors; "
        f"states at the end {states}, {len(expected)} parts of {len(sample)} symbols {'identical' if same else 'DIFFERENT'}"
    )


def bench_memory(directory: Path, captures: dict[str, Path]) -> None:
    """Resident memory with more and more symbols."""
    sizes = []
    for count in (1, 11, 51, len(captures)):
        some = dict(list(captures.items())[:count])
        with DaemonProcess(configure(directory / f"memory-{count}", some, follow=True)) as daemon:
            daemon.wait_for(lambda: consumed(daemon, [path.stat().st_size for path in some.values()]), "everything")  # noqa: B023 - at once
            time.sleep(1.5)
            before = daemon.metric("process_cpu_seconds_total")
            time.sleep(5)
            cpu = (daemon.metric("process_cpu_seconds_total") - before) / 5
            sizes.append((count, daemon.metric("process_resident_memory_bytes"), cpu))
            daemon.stop()
    for count, size, cpu in sizes:
        each = f", {(size - sizes[0][1]) / (count - 1) / 1e6:.1f} MB for each further one" if count > 1 else ""
        print(f"{count} symbols that wait for growth: {size / 1e6:.0f} MB{each}; idle they take {cpu:.1%} of a core")


def bench_two(directory: Path, busy: dict[str, Path], rounds: int) -> None:
    """Two busy symbols on two cores against one on one; beside it one on two cores, whose encoding has the second."""
    first = dict(list(busy.items())[:1])
    cores = sorted(os.sched_getaffinity(0))[:2]
    runs = (("one on one core", first, 1), ("one on two cores", first, 2), ("two on two cores", busy, 2))
    found: dict[str, list[float]] = {name: [] for name, _, _ in runs}
    for number in range(rounds):
        for name, captures, count in runs:
            config = configure(directory / f"{name.replace(' ', '-')}-{number}", captures, follow=False)
            summaries = run_once(config, cores[:count])
            found[name].append(sum(summary["events"] for summary in summaries) / max(summary["seconds"] for summary in summaries))
            shutil.rmtree(config.parent)
        print("; ".join(f"{name} {rates[-1] / 1e6:.2f} M events/s" for name, rates in found.items()), flush=True)
    alone = found["one on one core"]
    for name, rates in found.items():
        ratios = [rate / base for rate, base in zip(rates, alone, strict=True)]
        rate = statistics.median(rates) / 1e6
        print(f"{name}: median {rate:.2f} M events/s, {statistics.median(ratios):.2f} x one on one core")


def bench_lag(directory: Path, busy: dict[str, Path], idle: dict[str, Path]) -> None:
    """How late event loops answer while symbols are busy and metrics are scraped once a second."""
    for count in (0, len(idle)):
        captures = busy | dict(list(idle.items())[:count])
        with DaemonProcess(configure(directory / f"lag-{count}", captures, follow=True)) as daemon:
            answers = []
            while True:
                started = time.monotonic()
                try:
                    daemon.get("/metrics")
                    done = consumed(daemon, [path.stat().st_size for path in captures.values()])
                except OSError:
                    time.sleep(0.1)
                    continue
                answers.append(time.monotonic() - started)
                if done:
                    break
                time.sleep(max(1 - answers[-1], 0))
            buckets: dict[float, float] = {}
            for line in daemon.get("/metrics").splitlines():
                if line.startswith("cowbook_event_loop_lag_seconds_bucket"):
                    bound = float(line.split('le="')[1].split('"')[0])
                    buckets[bound] = buckets.get(bound, 0) + float(line.rpartition(" ")[2])
            total = max(buckets.values())
            p99 = min(bound for bound, number in buckets.items() if number >= 0.99 * total)
            daemon.stop()
        print(
            f"2 busy and {count} quiet symbols, a scrape a second: of {total:.0f} answers of the symbols' loops 99 % within "
            f"{p99 * 1e3:.0f} ms; scrape and status took {max(answers) * 1e3:.0f} ms at most"
        )


def main() -> None:
    """Measure all, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("many", "memory", "two", "lag"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cowbook-symbols-") as name:
        directory = Path(name)
        small = small_captures(directory / "small", arguments.symbols)
        busy = {f"BUSY{number}USDT": directory / f"busy{number}.jsonl" for number in range(2)}
        for seed, (symbol, path) in enumerate(busy.items()):
            write_capture(path, symbol=symbol, messages=_BUSY, seed=seed)
        if arguments.only in (None, "many"):
            bench_many(directory, small)
        if arguments.only in (None, "memory"):
            bench_memory(directory, small)
        if arguments.only in (None, "two"):
            bench_two(directory, busy, arguments.rounds)
        if arguments.only in (None, "lag"):
            bench_lag(directory, busy, small)


if __name__ == "__main__":
    main()
