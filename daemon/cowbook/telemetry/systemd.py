"""The notify protocol of systemd: datagrams of KEY=VALUE lines to the socket that the environment names (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from cowbook.plain.escaping import escaped


class Notifier:
    """Sends the process's state to systemd. Does nothing if the environment names no socket."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Removes its variables from `environ`, so that no child process sends notifications in this process's name."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        process = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
        self.watchdog_seconds = int(period) / 1e6 if period.isdecimal() and process == str(os.getpid()) else None
        """systemd kills the process if `alive` is not called for this long; None: never."""
        self._socket: socket.socket | None = None
        self._status = ""
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Tell systemd that start-up, or a reload, is finished."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell systemd that a reload begins. `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell systemd that the process is stopping."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Tell systemd that the process is alive. Call it at least twice in `watchdog_seconds`."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask systemd to wait at least this long for starting or stopping to finish."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows. Sends nothing if it is unchanged."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + escaped(" ".join(text.split())))

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            # The receiver is gone or does not keep up. A lost sign of life is followed by the next one.
            return
