"""Where the command begins: signals first, then what takes time to import."""

from __future__ import annotations

import faulthandler
import sys

from cowbook import early_signals

_EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command of the command line; its exit code."""
    runs = sys.argv[1:2] == ["run"]
    if runs:
        early_signals.hold_signals()
        faulthandler.enable()  # systemd's watchdog ends a process by SIGABRT: where it hung is worth a look
    try:
        from cowbook.cli.main import main as run_command  # noqa: PLC0415 - it takes time, in which signals may come

        return run_command()
    except BaseException as error:
        # What is being imported may turn the interrupt into an error of its own.
        if not isinstance(error, KeyboardInterrupt) and not early_signals.is_ending():
            raise
        # Nothing has begun yet: for a service that is a stop like any other.
        return 0 if runs and "--once" not in sys.argv else _EXIT_INTERRUPTED
    finally:
        if runs:
            early_signals.let_signals_go()
