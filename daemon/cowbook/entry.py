"""Where the command begins: signals first, then what takes time to import."""

from __future__ import annotations

import faulthandler
import sys

from cowbook.service import early_signals

_EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command of the command line; its exit code."""
    runs = sys.argv[1:2] == ["run"]
    if runs:
        # Before anything has begun, a service that is told to stop has stopped; a run to the end of the input was interrupted.
        early_signals.hold_signals(_EXIT_INTERRUPTED if "--once" in sys.argv else 0)
        faulthandler.enable()  # systemd's watchdog ends a process by SIGABRT: where it hung is worth a look
    from cowbook.cli.main import main as run_command  # noqa: PLC0415 - it takes time, in which signals may come

    try:
        return run_command()
    finally:
        if runs:
            early_signals.ignore_signals()
