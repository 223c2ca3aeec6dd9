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

_ENDING = (signal.SIGTERM, signal.SIGINT)

_noted: list[int] = []  # that came before anyone took them, oldest first
_receiver: Callable[[int], None] | None = None


def hold_signals() -> dict[int, Any]:
    """Handle signals from here on; the handlers that were there before.

    Until someone receives them, SIGUSR1 and SIGHUP are kept, and SIGTERM and SIGINT end the process: nothing has begun yet. The first
    of these raises KeyboardInterrupt in the main thread, a second one exits.
    """
    return {number: signal.signal(number, _handle) for number in HANDLED}


def are_held() -> bool:
    """Whether `hold_signals` was called, and not undone."""
    return signal.getsignal(signal.SIGTERM) is _handle


def deliver_to(receiver: Callable[[int], None] | None) -> None:
    """Give each signal to a function, in the main thread between two steps of whatever runs there; first those that were kept."""
    global _receiver  # noqa: PLW0603 - a process has one set of handlers
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
        return
    if number in _ENDING and any(other in _ENDING for other in _noted):
        os._exit(128 + number)  # whoever sends a second one will not wait
    _noted.append(number)
    if number in _ENDING:
        raise KeyboardInterrupt
