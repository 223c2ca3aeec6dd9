"""Signals between the first import and the event loop that takes them over. Imports nothing slow, and nothing of cowbook's."""

from __future__ import annotations

import signal
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""What a running cowbook answers to."""

noted: list[int] = []
"""Signals that came before the event loop could take them, oldest first."""


def hold_signals() -> None:
    """Note SIGUSR1 and SIGHUP, whose default action kills; SIGTERM and SIGINT end the process: nothing has begun yet.

    Raises KeyboardInterrupt in the main thread for these two.
    """
    for number in HANDLED:
        signal.signal(number, _hold)


def _hold(number: int, _frame: FrameType | None) -> None:
    noted.append(number)
    if number in (signal.SIGTERM, signal.SIGINT):
        raise KeyboardInterrupt
