"""The notify protocol of systemd: datagrams of KEY=VALUE lines to the socket that the environment names (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Notifier:
    """Tells systemd how the process is; silent where nobody listens."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes its variables out of `environ`, so that no child speaks in this process's name."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        process = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
        self.watchdog_seconds = int(period) / 1e6 if period.isdecimal() and process == str(os.getpid()) else None
        """Without a sign of life for this long the process is killed; None: never."""
        self._socket: socket.socket | None = None
        self._status = ""
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Start-up, or a reload, is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """All is well; to be said at least twice in `watchdog_seconds`."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Starting or stopping goes on: do not give up before this time has passed."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """What `systemctl status` shows, one line."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split()))

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            # Whoever listened is gone or does not keep up. A lost sign of life is followed by the next one.
            return
