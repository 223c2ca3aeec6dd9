"""Checks by a file's beginning whether it has the configured format."""

from __future__ import annotations

from pathlib import Path

from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError
from cowbook.input.settings import DecoderSettings
from cowbook.venues.recognise import SNIFFED_BYTES, misfit_of


def what_it_looks_like(path: Path, format_name: str, settings: DecoderSettings) -> str | None:
    """Returns a warning for users if a file's first records are unknown in its format, but known in another one.

    It also returns one if the format is of tables and the file is no such table, or if the file's beginning is damaged. Returns
    None for any other file, and for a file that cannot be opened.
    """
    try:
        with open_decoded(path) as file:
            head = file.read(SNIFFED_BYTES) or b""
    except InputError as error:
        return str(error)
    except OSError:
        return None
    misfit = misfit_of(head, format_name, settings)
    return f"{path} {misfit}" if misfit is not None else None
