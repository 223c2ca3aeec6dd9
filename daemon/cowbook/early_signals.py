"""Signals between the first import and the event loop that takes them over. Imports nothing slow, and nothing of cowbook's."""

from __future__ import annotations

import os
import signal
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""What a running cowbook answers to."""

_ENDING = (signal.SIGTERM, signal.SIGINT)

noted: list[int] = []
"""Signals that came before the event loop could take them, oldest first."""


def hold_signals() -> None:
    """Note SIGUSR1 and SIGHUP, whose default action kills; SIGTERM and SIGINT end the process: nothing has begun yet.

    Raises KeyboardInterrupt in the main thread for the first of these two, and ends the process at the second.
    """
    for number in HANDLED:
        signal.signal(number, _hold)


def is_ending() -> bool:
    """Whether a signal that ends the process has come, and no event loop has taken it over."""
    return any(number in _ENDING for number in noted)


def let_signals_go() -> None:
    """All is done: SIGUSR1 and SIGHUP come too late to mean anything, and SIGTERM and SIGINT end what is left of the process."""
    for number in HANDLED:
        ends = number in _ENDING
        signal.signal(number, signal.SIG_DFL if ends else signal.SIG_IGN)


def _hold(number: int, _frame: FrameType | None) -> None:
    if number in _ENDING and is_ending():
        os._exit(128 + number)  # whoever sends a second one will not wait
    noted.append(number)
    if number in _ENDING:
        raise KeyboardInterrupt
