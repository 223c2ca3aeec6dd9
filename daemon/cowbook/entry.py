"""The entry point of the command. Installs signal handlers before the imports that take time."""

from __future__ import annotations

import faulthandler
import sys

from cowbook.service import early_signals

_EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command of `sys.argv`. Returns its exit code."""
    runs = sys.argv[1:2] == ["run"]
    if runs:
        # A signal before anything has begun: a service has stopped as told, but a run to the end of the input was interrupted.
        early_signals.hold_signals(_EXIT_INTERRUPTED if "--once" in sys.argv else 0)
        if sys.stderr is not None:  # it may have been closed
            faulthandler.enable()  # systemd's watchdog ends a hung process by SIGABRT: show where it hung
    from cowbook.cli.main import main as run_command  # noqa: PLC0415 - takes time, in which signals may come

    try:
        return run_command()
    finally:
        if runs:
            early_signals.ignore_signals()
