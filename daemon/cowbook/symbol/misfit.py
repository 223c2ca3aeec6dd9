"""Whether a file is of the format that it is configured as, by a look at its beginning."""

from __future__ import annotations

from pathlib import Path

from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError
from cowbook.input.settings import DecoderSettings
from cowbook.venues.recognise import SNIFFED_BYTES, misfit_of


def what_it_looks_like(path: Path, format_name: str, settings: DecoderSettings) -> str | None:
    """What a person should know of a file whose first records mean nothing in its format, but something in another one.

    Also of a file that is no table where there should be one, and of one whose beginning is damaged. None for any other file,
    also for one that cannot be opened.
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
