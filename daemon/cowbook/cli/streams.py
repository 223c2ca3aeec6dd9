"""Standard output and standard error that go on when whoever reads them is gone, so that a run ends with its own exit code."""

from __future__ import annotations

import io
import os
import sys

from cowbook.errors import StorageError

_STANDARD_OUTPUT = 1


class _UnbreakableFile(io.FileIO):
    """A descriptor that takes everything once its reader is gone, and after another error, such as a full disk, was raised."""

    def write(self, data: object, /) -> int:
        """As `FileIO.write`. Raises StorageError for standard output that cannot be written: a result without its end is none."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            self._lead_nowhere()
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if self.fileno() != _STANDARD_OUTPUT:
                raise
            self._lead_nowhere()
            raise StorageError(f"standard output cannot be written: {error.strerror}") from error

    def _lead_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_unbreakable() -> None:
    """Replace both streams. One that was closed before the start leads nowhere."""
    for name, descriptor in (("stdout", _STANDARD_OUTPUT), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - it stays open to the end
        elif _is_of_descriptor(stream, descriptor):
            stream.flush()
            file = io.BufferedWriter(_UnbreakableFile(descriptor, "w", closefd=False))
            by_line = name == "stderr" or stream.line_buffering
            setattr(sys, name, io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=by_line))


def _is_of_descriptor(stream: object, descriptor: int) -> bool:
    """Whether a stream is the process's own, and not one that a test has put in its place."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor
    except (OSError, ValueError):
        return False
