"""Whether an input names the configured symbol.

A name that none of its records has is a mistake. It must not pass for an empty book, nor for one made of unlabelled snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.capture.compression import open_decoded
from cowbook.errors import InputError
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import MAX_OTHER_SYMBOLS
from cowbook.plain.messages import DIFF, IS_UNLABELLED, SNAPSHOT, TICKER, TRADE, TRADES
from cowbook.venues.recognise import SNIFFED_BYTES, names_in

_OWN_KINDS = (DIFF, SNAPSHOT, TRADE, TICKER, TRADES)
_CHECKED_FILES = 8


def has_named(messages: npt.NDArray[np.void]) -> bool:
    """Whether one of these messages is the symbol's by what its record says."""
    return bool(are_named(messages).any())


def are_named(messages: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which of these messages are the symbol's by what their records say."""
    kinds, flags = messages["kind"], messages["flags"]
    unlabelled = (kinds == SNAPSHOT) & (flags & IS_UNLABELLED != 0)
    named: npt.NDArray[np.bool_] = np.isin(kinds, _OWN_KINDS) & ~unlabelled
    return named


def nobody_names(name: str, others: Iterable[str]) -> str | None:
    """What to say of an input in which no usable record names the symbol; None if it names no others either."""
    named = [other for other in others if other]
    if not named:
        return None
    more = " and maybe more" if len(named) == MAX_OTHER_SYMBOLS else ""
    alike = next((other for other in named if other.casefold() == name.casefold()), None)
    advice = f'; name = "{alike}" would fit' if alike is not None else ""
    return f"no usable record names {name}: the input speaks of {', '.join(named)}{more}{advice}"


def check_name(paths: Sequence[Path], format_name: str, settings: DecoderSettings) -> list[str]:
    """As `nobody_names`, by the beginnings of the first files, for a list of notes. Files that cannot be read say nothing."""
    others: dict[str, None] = {}
    for path in paths[:_CHECKED_FILES]:
        try:
            with open_decoded(path) as file:
                head = file.read(SNIFFED_BYTES) or b""
            is_named, found = names_in(head, format_name, settings)
        except (InputError, OSError):
            continue
        if is_named:
            return []
        others |= dict.fromkeys(found)
    text = nobody_names(settings.name, list(others)[:MAX_OTHER_SYMBOLS])
    return [f"{text} (by the first records of the first files)"] if text is not None else []
