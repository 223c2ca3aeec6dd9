"""What log lines look like, and which there are."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from cowbook import log as module
from cowbook.log import LEVELS, configure_logging, get_logger, is_journal, set_level


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold, settings = module._threshold, structlog.get_config()
    yield
    module._threshold = threshold
    structlog.configure(**settings)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines so far, from JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json(stream: io.StringIO) -> None:
    """A line each, with level, time in UTC, what was bound and what was given."""
    configure_logging("info", "json")
    get_logger().bind(symbol="A").warning("two\nlines", epoch=7, path=os.fsdecode(b"\xff"))
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "two\nlines", "level": "warning", "symbol": "A", "epoch": 7, "path": "\udcff"}


def test_errors_as_json(stream: io.StringIO) -> None:
    """The traceback is part of the line."""
    configure_logging("info", "json")
    get_logger().error("a", exc_info=ValueError("why"))
    (line,) = lines(stream)
    assert "ValueError: why" in line["exception"]


def test_console(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text for people, with colours on a terminal only."""
    configure_logging("info", "console")
    get_logger().info("hello", symbol="A")
    assert "hello" in stream.getvalue()
    assert "[info] A: hello\n" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    terminal = Terminal()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=terminal))
    configure_logging("info", "console")
    get_logger().info("hello", symbol="A")
    assert "\x1b" in terminal.getvalue()


@pytest.mark.parametrize(("kind", "is_json"), [(io.StringIO, True), (Terminal, False)])
def test_auto(monkeypatch: pytest.MonkeyPatch, kind: type[io.StringIO], is_json: bool) -> None:
    """Text on a terminal, JSON elsewhere."""
    stream = kind()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
    configure_logging("info", "auto")
    get_logger().info("hello")
    assert stream.getvalue().startswith("{") == is_json


@pytest.mark.parametrize("level", LEVELS)
def test_levels(stream: io.StringIO, level: str) -> None:
    """What is below is not there."""
    configure_logging(level, "json")
    for method in LEVELS:
        getattr(get_logger(), method)(method)
    names = list(LEVELS)
    assert [line["event"] for line in lines(stream)] == names[names.index(level) :]


def test_level_changes_for_bound_loggers(stream: io.StringIO) -> None:
    """Loggers that are in use already follow."""
    configure_logging("warning", "json")
    log = get_logger().bind(symbol="A")
    log.info("before")
    set_level("debug")
    log.debug("then")
    set_level("error")
    log.warning("after")
    log.error("always")
    assert [line["event"] for line in lines(stream)] == ["then", "always"]


def test_is_journal() -> None:
    """By device and inode of what is written to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        status = os.fstat(ours.fileno())
        name = f"{status.st_dev}:{status.st_ino}"
        assert is_journal(ours.fileno, name)
        assert not is_journal(theirs.fileno, name)
        assert not is_journal(ours.fileno, "")
    assert not is_journal(io.StringIO().fileno, name)
    assert not is_journal(ours.fileno, name)  # closed


_PROGRAM = """
import os, sys
from cowbook.log import configure_logging, get_logger
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = sys.argv[1] or f"{status.st_dev}:{status.st_ino}"
configure_logging("debug", sys.argv[2])
log = get_logger().bind(symbol="A")
for method in ("debug", "info", "warning", "error"):
    getattr(log, method)("hello")
try:
    raise ValueError("why")
except ValueError:
    log.exception("hello")
"""


@pytest.mark.parametrize(
    ("stream", "log_format", "prefixes"),
    [("", "auto", ["<7>{", "<6>{", "<4>{", "<3>{", "<3>{"]), ("1:2", "auto", ["{"] * 5), ("", "console", None)],
)
def test_priorities(stream: str, log_format: str, prefixes: list[str] | None) -> None:
    """In front of each line for the journal, and nowhere else."""
    command = [sys.executable, "-c", _PROGRAM, stream, log_format]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    if prefixes is None:
        assert "<" not in output.splitlines()[0]
    else:
        assert [line.partition('"')[0] for line in output.splitlines()] == prefixes
        assert all(json.loads(line[line.index("{") :])["symbol"] == "A" for line in output.splitlines())


def test_lines_go_above_a_display_that_owns_the_terminal(stream: io.StringIO) -> None:
    """Whole lines, without their line feed, while it does; then to the stream again."""
    configure_logging("info", "console")
    above: list[str] = []
    with module.lines_above(above.append):
        get_logger().info("one", symbol="A")
        get_logger().warning("two")
        assert stream.getvalue() == ""
    get_logger().info("three")
    assert [line.partition("] ")[2] for line in above] == ["A: one", "two"]
    assert "three" in stream.getvalue()
    assert "one" not in stream.getvalue()


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_a_checkpoint_is_a_short_line_unless_debugging(level: str, shown: bool, stream: io.StringIO) -> None:
    """Its phases, its size and what has triggered it are details on a terminal."""
    configure_logging(level, "console")
    fields = {"epoch": 11, "events": 11_604_112, "frozen_ms": 0.117, "symbol": "BTCUSDT"}
    get_logger().info("checkpoint", **fields, trigger="events", size_bytes=99_771, persist_ms={"gather": 5.8})
    line = stream.getvalue()
    assert "epoch=11" in line
    assert all((name in line) is shown for name in ("trigger", "size_bytes", "persist_ms"))
    assert shown or len(line.rstrip()) <= 88
    get_logger().error("checkpoint failed", trigger="timer")
    assert "trigger=timer" in stream.getvalue()


def test_json_has_every_detail_of_a_checkpoint(stream: io.StringIO) -> None:
    """Whatever the level."""
    configure_logging("info", "json")
    get_logger().info("checkpoint", epoch=1, persist_ms={"gather": 5.8})
    assert lines(stream)[0]["persist_ms"] == {"gather": 5.8}
