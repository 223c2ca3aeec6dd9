"""Logs to standard error through structlog: JSON lines for machines, coloured text for terminals."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import structlog

from cowbook.plain.escaping import escaped_all

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Priorities of syslog(3)."""

_threshold = logging.INFO  # checked for each line, so that it can change while loggers are in use


def set_level(level: str) -> None:
    """Set the level below which no logger writes anything."""
    global _threshold  # noqa: PLW0603 - the process has one log
    _threshold = LEVELS[level]


def configure_logging(level: str, log_format: str) -> None:
    """Set up structlog. `log_format` is json, console, or auto: console on a terminal, JSON elsewhere."""
    set_level(level)
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    # JSON escapes by itself. Colours are for terminals only.
    renderers: list[Any] = [structlog.processors.format_exc_info]
    renderers += (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [_escape_for_terminal, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    if as_json and is_journal(sys.stderr.fileno, os.environ.get("JOURNAL_STREAM", "")):
        renderers.append(_prefix_priority)
    stream: Any = _UnbreakableStream(sys.stderr)  # has only the methods that PrintLogger needs
    structlog.configure(
        processors=[
            _drop_below_threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class _UnbreakableStream:
    """A stream that ignores errors, so that work goes on when the log's reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As `TextIO.write`, without errors."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As `TextIO.flush`, without errors."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def is_journal(fileno: Callable[[], int], journal_stream: str) -> bool:
    """Whether a descriptor leads to the journal. `journal_stream` is $JOURNAL_STREAM: "device:inode" of the journal's socket."""
    try:
        status = os.fstat(fileno())
    except (OSError, ValueError):  # a stream without a descriptor, as in tests
        return False
    return journal_stream == f"{status.st_dev}:{status.st_ino}"


def _drop_below_threshold(_logger: object, method: str, event: Any) -> Any:
    if LEVELS.get(method, logging.ERROR) < _threshold:
        raise structlog.DropEvent
    return event


def _escape_for_terminal(_logger: object, _method: str, event: Any) -> Any:
    """Escape all text, since a name or a record may hold escape sequences and line breaks. A traceback keeps its lines.

    They are indented, so that none of them passes for a line of the log.
    """
    traceback = event.pop("exception", None)
    event = escaped_all(event)
    if traceback is not None:
        event["exception"] = "\n".join(f"    {line}" for line in map(escaped_all, traceback.split("\n")))
    return event


def _prefix_priority(_logger: object, method: str, line: str) -> str:
    """Put the priority in front of a line, where the journal reads it (sd-daemon(3))."""
    return f"<{_PRIORITIES.get(method, 6)}>{line}"


def get_logger() -> Any:
    """A logger, to which the caller binds `symbol` and other fields."""
    return structlog.get_logger()
