"""Signals from the first import to the end: one handler, which never goes, and whoever takes what it gets.

Handlers of an event loop would not do: they come late, and go with a moment in which the default action kills. Imports nothing
slow, and nothing of cowbook's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""What a running cowbook answers to."""

_noted: list[int] = []  # that came before anyone took them, oldest first
_receiver: Callable[[int], None] | None = None
_exit_code = 0


def hold_signals(exit_code: int = 0) -> dict[int, Any]:
    """Handle signals from here on; the handlers that were there before.

    Until someone receives them, SIGUSR1 and SIGHUP are kept, and SIGTERM and SIGINT end the process with this code. At once:
    nothing has begun yet, and an exception in the middle of an import may come out as another one, or mark the process as killed.
    """
    global _exit_code  # noqa: PLW0603 - a process has one set of handlers
    _exit_code = exit_code
    return {number: signal.signal(number, _handle) for number in HANDLED}


def are_held() -> bool:
    """Whether `hold_signals` was called, and not undone."""
    return signal.getsignal(signal.SIGTERM) is _handle


def deliver_to(receiver: Callable[[int], None] | None) -> None:
    """Give each signal to a function, in the main thread between two steps of whatever runs there; first those that were kept."""
    global _receiver  # noqa: PLW0603 - as above
    _receiver = receiver
    while receiver is not None and _noted:
        receiver(_noted.pop(0))


def ignore_signals() -> None:
    """All is done: whatever comes now comes too late to mean anything."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _receiver is not None:
        _receiver(number)
    elif number in (signal.SIGTERM, signal.SIGINT):
        os._exit(_exit_code)
    else:
        _noted.append(number)
