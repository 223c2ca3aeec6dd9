"""Servers of S3's protocol that others have written, from PyPI, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMANDS = {
    "moto": ("moto.server", "-H", "127.0.0.1", "-p", "{port}"),
    "ministack": ("ministack",),
}
"""Their modules, and what these are told, by the names of their packages."""

_START_SECONDS = 60.0


def is_installed(name: str) -> bool:
    """Whether the server is there."""
    return importlib.util.find_spec(name) is not None


@contextmanager
def serve(name: str, directory: Path) -> Iterator[dict[str, str]]:
    """Run a server with an empty bucket called `bucket`: the variables by which clients find it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[name])]
    own = {"GATEWAY_PORT": str(port), "HOME": str(directory), "TMPDIR": str(directory)}
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=directory, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
    try:
        _make_bucket(f"{endpoint}/bucket", server, directory / "server.log")
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _make_bucket(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Ask for it until the server answers. Raises RuntimeError when it ends, or never does."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):  # noqa: S310 - of this machine
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"the server does not answer; its output:\n{log.read_text(errors='replace')[-3000:]}")
