"""A terminal of a given size that a command runs in, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte


@dataclass(frozen=True, slots=True)
class Recording:
    """All that a command has written to its terminal."""

    content: bytes
    returncode: int
    columns: int
    rows: int

    def lines(self) -> list[str]:
        """The lines above the screen and on it at the end, without those that are empty."""
        return self._looks([len(self.content)])[0]

    def lines_on_the_way(self, looks: int = 40) -> list[list[str]]:
        """The same after each of some pieces of what was written. Each ends where a line has been finished or a bar drawn."""
        ends = [place + 1 for place, byte in enumerate(self.content) if byte == 0x0A]
        return self._looks(ends[:: max(1, len(ends) // looks)])

    def _looks(self, ends: Sequence[int]) -> list[list[str]]:
        """What stands there after so many bytes each."""
        screen = pyte.HistoryScreen(self.columns, self.rows, history=10_000)
        stream = pyte.ByteStream(screen)
        found, start = [], 0
        for end in ends:
            stream.feed(self.content[start:end])
            start = end
            above = ["".join(line[column].data for column in range(self.columns)) for line in screen.history.top]
            found.append([line.rstrip() for line in (*above, *screen.display) if line.strip()])
        return found


def record(
    arguments: Sequence[str | Path],
    cwd: Path,
    *,
    columns: int = 80,
    rows: int = 24,
    until: bytes = b"",
    program: Sequence[str | Path] = (sys.executable, "-m", "cowbook"),
    variables: Mapping[str, str] = os.environ,
) -> Recording:
    """Run `cowbook` in a terminal. Standard output and standard error both lead to it.

    With `until` it is interrupted as by Ctrl-C, once it has written these bytes. `program` is another cowbook than that of
    this checkout, `variables` its environment.
    """
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environ = {name: value for name, value in variables.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    command = [*map(str, program), *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=cwd, stdin=terminal, stdout=terminal, stderr=terminal, env=environ | {"TERM": "xterm-256color"}
    ) as process:
        os.close(terminal)
        content = b""
        try:
            while piece := os.read(master, 1 << 16):
                content += piece
                if until and until in content:
                    until = b""
                    process.send_signal(signal.SIGINT)
        except OSError:  # what a terminal's other side gives at the end
            pass
        finally:
            os.close(master)
    return Recording(content, process.returncode, columns, rows)
