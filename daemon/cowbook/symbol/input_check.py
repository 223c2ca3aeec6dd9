"""Checks before a run what a configuration would read and write: `check` shows it, and `run` and a reload refuse by it.

It looks at names, rights, and the beginning of each symbol's first file. What shows only on the way ends the symbol later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.capture.paths import ExpandedPaths
from cowbook.config import Config, SymbolConfig
from cowbook.errors import ConfigError, InputError, StorageError
from cowbook.input.settings import DecoderSettings
from cowbook.objects.object_path import ObjectPath
from cowbook.symbol.settings import decoder_settings, files_of
from cowbook.venues.recognise import SNIFFED_BYTES, doubt_of, misfit_of


@dataclass(frozen=True, slots=True)
class SymbolCheck:
    """What was found of a symbol's input."""

    files: ExpandedPaths
    problems: tuple[str, ...]
    """Why it cannot be read; empty if nothing shows that."""
    doubt: str | None = None
    """What makes the input look wrong, though it may be right further on."""


def check_input(config: Config, symbol: SymbolConfig) -> SymbolCheck:
    """Look at a symbol's input."""
    try:
        files = files_of(symbol, config.base_dir)
        path, settings = files.paths[0], decoder_settings(symbol)
        misfit = what_it_looks_like(path, symbol.format, settings)
    except (InputError, StorageError) as error:
        return SymbolCheck(ExpandedPaths((), (), ()), (str(error),))
    unreadable = [
        f"{path} is not a file that this user can read"
        for path in files.paths
        if not (isinstance(path, ObjectPath) or (path.is_file() and os.access(path, os.R_OK)))
    ]
    problems = (*unreadable, *([misfit] if misfit is not None else []))
    return SymbolCheck(files, problems, None if problems else why_doubtful(path, symbol.format, settings))


def why_doubtful(path: Path, format_name: str, settings: DecoderSettings) -> str | None:
    """Why a file that nothing is known against looks wrong; None if it does not."""
    try:
        with open_decoded(path) as file:
            doubt = doubt_of(read_fully(file, SNIFFED_BYTES), format_name, settings)
    except (InputError, OSError):  # it is told as a problem
        return None
    return None if doubt is None else f"{path} {doubt}"


def refuse_unusable(
    config: Config, source: str, *, once: bool = False, of: Callable[[SymbolConfig], bool] = lambda _: True
) -> None:
    """Raise ConfigError, from `source`, with all problems that `check` shows `of` these symbols.

    With `once` no input is waited for.
    """
    problems = unwritable_directories(config)
    for symbol in config.symbol:
        for number, own in enumerate(symbol.inputs):
            if (once or not own.follow) and of(symbol):
                problems += describe_problems(symbol, check_input(config, own), number)
    if problems:
        raise ConfigError(source, problems)


def describe_problems(symbol: SymbolConfig, found: SymbolCheck, number: int = 0) -> list[str]:
    """The problems of a symbol's input as lines of a ConfigError: of its only one, or of the source with this number."""
    where = f' source "{symbol.source[number].name}"' if symbol.source else ""
    return [f'[[symbol]] "{symbol.id}"{where} paths: {problem}' for problem in found.problems]


def what_it_looks_like(path: Path, format_name: str, settings: DecoderSettings) -> str | None:
    """Say what a file is, if its first records are unknown in its format and known as something else, or if it has none.

    It also says so if the format is of tables and the file is no such table, or if nothing of a damaged file can be decoded.
    Returns None for any other file, and for a file that cannot be opened.
    """
    try:
        with open_decoded(path) as file:
            head = read_fully(file, SNIFFED_BYTES)
            damage = file.damage
    except InputError as error:
        return str(error)
    except OSError:
        return None
    if not head:
        return damage
    misfit = misfit_of(head, format_name, settings)
    return f"{path} {misfit}" if misfit is not None else None


def unwritable_directories(config: Config) -> list[str]:
    """Problems with the directories that a run would write to. Creates nothing."""
    problems = []
    for key in ("state_dir", "output_dir"):
        path: Path = getattr(config.service, key)
        there = path
        try:
            while not there.exists() and there != there.parent:
                there = there.parent
        except OSError as error:
            problems.append(f"[service] {key}: {there}: {error.strerror} for user {os.getuid()}")
            continue
        if not there.is_dir():
            problems.append(f"[service] {key}: {there} is not a directory")
        elif not os.access(there, os.W_OK | os.X_OK):
            problems.append(f"[service] {key}: {there} is not writable for user {os.getuid()}")
    return problems
