"""Handles signals from the first import to the end of the process. One handler stays installed; the receiver changes.

Handlers of an event loop would not suffice: they are installed late, and their removal leaves a moment in which a signal's
default action kills the process. This module imports nothing slow, and nothing of cowbook.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""The signals that cowbook handles while it runs."""

_noted: list[int] = []  # signals that arrived before there was a receiver, oldest first
_receiver: Callable[[int], None] | None = None
_exit_code = 0


def hold_signals(exit_code: int = 0) -> dict[int, Any]:
    """Handle signals from now on. Returns the previous handlers, by signal number.

    While there is no receiver, SIGUSR1 and SIGHUP are kept, and SIGTERM and SIGINT end the process at once with `exit_code`: no
    work has begun. An exception in the middle of an import might surface as another one, or mark the process as killed.
    """
    global _exit_code  # noqa: PLW0603 - a process has one set of handlers
    _exit_code = exit_code
    return {number: signal.signal(number, _handle) for number in HANDLED}


def are_held() -> bool:
    """Returns whether `hold_signals` was called and its handlers are still installed."""
    return signal.getsignal(signal.SIGTERM) is _handle


def deliver_to(receiver: Callable[[int], None] | None) -> None:
    """Pass each signal to `receiver` from now on, the kept ones first; None keeps signals again.

    It is called in the main thread, between two bytecode instructions of the code that runs there.
    """
    global _receiver  # noqa: PLW0603 - as above
    _receiver = receiver
    while receiver is not None and _noted:
        receiver(_noted.pop(0))


def ignore_signals() -> None:
    """Ignore all signals from now on, because the work is done."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _receiver is not None:
        _receiver(number)
    elif number in (signal.SIGTERM, signal.SIGINT):
        os._exit(_exit_code)
    else:
        _noted.append(number)
