"""What clients of the HTTP endpoint cost: events per second of a daemon while it is asked, against one that is left alone.

    python tests/bench/http_clients.py [MESSAGES] [ROUNDS]

Each round runs one daemon per way of asking, one after the other, on the same input. Medians, and the ratio to quiet.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cowbook.simulate.capture import write_capture

_CONFIG = """
[http]
listen = "127.0.0.1:{port}"
[log]
level = "error"
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["{capture}"]
"""


def scrape_each_second(port: int) -> None:
    """As Prometheus would, only more often."""
    while True:
        _get(port, "/metrics")
        time.sleep(1.0)


def scrape_always(port: int) -> None:
    """Without a pause."""
    while True:
        _get(port, "/metrics")


def status_always(port: int) -> None:
    """What is not kept for a second."""
    while True:
        _get(port, "/status")


def never_read(port: int) -> None:
    """Connections that ask and never read, as many as there may be, and more."""
    clients: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            client = socket.create_connection(("127.0.0.1", port), timeout=1)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            clients.append(client)
        if len(clients) > 200:
            clients.pop(0).close()
        time.sleep(0.001)


def _get(port: int, path: str) -> None:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()


def measure(capture: Path, client: Callable[[int], None] | None) -> float:
    """Events per second from the first to the last, while a client asks."""
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        config = Path(name) / "cowbook.toml"
        config.write_text(_CONFIG.format(port=port, capture=capture))
        asking = multiprocessing.get_context("spawn").Process(target=client, args=(port,)) if client is not None else None
        if asking is not None:
            asking.start()
        daemon = subprocess.Popen([sys.executable, "-m", "cowbook", "run", str(config)])
        try:
            return _rate(port)
        finally:
            if asking is not None:
                asking.kill()
                asking.join()
            daemon.terminate()
            daemon.wait()


def _rate(port: int) -> float:
    """What the daemon itself has measured: events per busy second say nothing of waiting, so the clock is looked at instead."""
    started = None
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as response:
                (symbol,) = json.load(response)["symbols"]
        except (OSError, ValueError):
            time.sleep(0.01)
            continue
        now = time.perf_counter()
        if started is None and symbol["events"]:
            started, before = now, symbol["events"]
        if symbol["state"] == "done":
            assert started is not None
            return float((symbol["events"] - before) / (now - started))
        time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ways: dict[str, Callable[[int], None] | None] = {
        "quiet": None,
        "a scrape a second": scrape_each_second,
        "scrapes without a pause": scrape_always,
        "/status without a pause": status_always,
        "clients that never read": never_read,
    }
    with tempfile.TemporaryDirectory() as name:
        capture = Path(name) / "capture.jsonl"
        write_capture(capture, symbol="BTCUSDT", messages=messages, seed=1)
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, client in ways.items():
                rates[way].append(measure(capture, client))
    quiet = statistics.median(rates["quiet"])
    print(f"{os.cpu_count()} cores, {messages:,} messages, {rounds} rounds")
    for way, measured in rates.items():
        median = statistics.median(measured)
        print(f"{way:26} {median / 1e6:6.2f} M events/s   {median / quiet:5.2f} of quiet")


if __name__ == "__main__":
    main()
