"""Logs to standard error through structlog: JSON lines for machines, coloured text for terminals."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import structlog

from cowbook.plain.escaping import escaped_all

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}

_NO_PADDING = 0
"""Columns that the text of an event takes at least."""

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Priorities of syslog(3)."""

_DETAILS = {"checkpoint": {"persist_ms", "size_bytes", "trigger"}}
"""Fields of an event that a terminal shows at the level debug only, so that the line fits 80 columns."""

_threshold = logging.INFO  # checked for each line, so that it can change while loggers are in use
_print_above: Callable[[str], None] | None = None  # takes each line while a display owns the terminal


@contextmanager
def lines_above(print_line: Callable[[str], None]) -> Iterator[None]:
    """Hand each line of the log to a display of the terminal, such as progress bars, which prints it above itself.

    Two writers of one terminal would tear each other's lines. `print_line` gets a line without its line feed, with the escape
    sequences of its colours, on whatever thread has logged it.
    """
    global _print_above  # noqa: PLW0603 - the process has one terminal
    _print_above = print_line
    try:
        yield
    finally:
        _print_above = None


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
        else [
            _drop_details,
            _begin_with_symbol,
            _escape_for_terminal,
            structlog.dev.ConsoleRenderer(_NO_PADDING, colors=sys.stderr.isatty(), pad_level=False),
        ]
    )
    if as_json and is_journal(sys.stderr.fileno, os.environ.get("JOURNAL_STREAM", "")):
        renderers.append(_prefix_priority)
    stream: Any = _UnbreakableStream(sys.stderr)  # has only the methods that PrintLogger needs
    structlog.configure(
        processors=[
            _drop_below_threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%SZ", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class _UnbreakableStream:
    """A stream that ignores errors, so that work goes on when the log's reader is gone. It yields to `lines_above`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""  # the beginning of a line that is to be printed above a display

    def write(self, text: str) -> int:
        """As `TextIO.write`, without errors. The logger writes a line and its line feed under a lock."""
        with suppress(OSError, ValueError):
            if _print_above is None:
                self._stream.write(text)
            else:
                *lines, self._line = (self._line + text).split("\n")
                for line in lines:
                    _print_above(line)
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


def _drop_details(_logger: object, _method: str, event: Any) -> Any:
    """Leave out what only somebody who debugs wants to see on each line. JSON always has it."""
    if _threshold <= logging.DEBUG:
        return event
    dropped = _DETAILS.get(event["event"], ())
    return {name: value for name, value in event.items() if name not in dropped}


def _begin_with_symbol(_logger: object, _method: str, event: Any) -> Any:
    """Put the symbol's id in front of what is said of it: a shorter line, and the first thing that somebody looks for."""
    symbol = event.pop("symbol", None)
    return event if symbol is None else event | {"event": f"{symbol}: {event['event']}"}


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
