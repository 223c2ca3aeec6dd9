"""Which symbols of which files are to be read, from what a caller names: paths, captures, or a configuration file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cowbook.book.order_book_engine import EngineSettings
from cowbook.config import SymbolConfig, load_config
from cowbook.errors import ConfigError, InputError, UsageError
from cowbook.plain.parts import parse_part_name
from cowbook.plain.streams import STREAM_NAMES
from cowbook.symbol.input_check import what_it_looks_like, why_doubtful
from cowbook.symbol.naming import check_name, nobody_names
from cowbook.symbol.settings import decoder_settings, files_of

PathArgument = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Capture:
    """One symbol's recording, where `replay` reads several: other venues, other formats.

    * `paths`: a path or a glob, or several of them, as for `replay`.
    * `symbol`: the symbol's name in its records.
    * `format`, "binance": the venue's name.
    * `price_decimals`, 8, and `size_decimals`, 8: decimals of its fixed-point numbers.
    * `channel`, empty: which of several books of the symbol.
    * `id`, the symbol's name: what the book is called in `book.id`. Two captures may not have the same one.
    """

    paths: PathArgument | Sequence[PathArgument]
    symbol: str
    format: str = "binance"
    price_decimals: int = 8
    size_decimals: int = 8
    channel: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """One symbol to read, with all that its configuration says of it."""

    config: SymbolConfig
    base: Path
    engine: EngineSettings

    def files(self) -> tuple[Path, ...]:
        """The files in reading order. Raises InputError if one is missing or what it holds is not of the format."""
        paths = files_of(self.config, self.base).paths
        _check_is_no_output(paths[0])
        misfit = what_it_looks_like(paths[0], self.config.format, decoder_settings(self.config))
        if misfit is not None:
            raise InputError(misfit)
        return paths

    def is_doubtful(self, paths: Sequence[Path]) -> bool:
        """Whether the first records of the first files name other symbols and not this one, or mean nothing in this format."""
        settings = decoder_settings(self.config)
        if check_name(paths, self.config.format, settings):
            return True
        return bool(paths) and why_doubtful(paths[0], self.config.format, settings) is not None


Paths = PathArgument | Capture | Iterable[PathArgument | Capture]


def make_inputs(paths: Paths, names: Sequence[str] | None, common: dict[str, Any], chosen: EngineSettings | None) -> list[Input]:
    """Returns what to read.

    `common` are fields of SymbolConfig for paths that say nothing of themselves: format and decimals. `names` selects symbols,
    by name or id; None: all that `paths` names. Raises UsageError, ConfigError or InputError.
    """
    if isinstance(paths, str | PathLike | Capture):
        items: list[PathArgument | Capture] = [paths]
    elif isinstance(paths, Iterable):
        items = list(paths)
    else:
        raise UsageError(f"paths = {paths!r}: must be a path, a Capture, or several of them")
    if not items:
        raise UsageError("paths: is empty: name at least one file")
    captures = [item for item in items if isinstance(item, Capture)]
    files = [_text(item) for item in items if not isinstance(item, Capture)]
    if captures and files:
        raise UsageError("paths: holds both captures and paths: make a Capture of each path")
    for file in files:
        _check_is_no_output(Path(file))
    if len(files) == 1 and files[0].endswith(".toml"):
        config = load_config(Path(files[0]), os.environ)
        inputs = [Input(symbol, config.base_dir, chosen or _settings_of(symbol)) for symbol in config.symbol]
        return _selected(inputs, names, files[0])
    if captures:
        symbols = [_symbol(_of_capture(capture)) for capture in captures]
    elif names is None:
        raise UsageError(f"symbol is missing{_what_there_is(files, common)}")
    else:
        symbols = [_symbol({"name": name, "paths": files, **common}) for name in names]
    ids = [symbol.id for symbol in symbols]
    double = next((name for name in ids if ids.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"there are two symbols {double}: give each Capture an id of its own")
    inputs = [Input(symbol, Path(), chosen or _settings_of(symbol)) for symbol in symbols]
    return _selected(inputs, names, "paths") if captures else inputs


def _check_is_no_output(path: Path) -> None:
    """Raises UsageError for the directory of an output or of one of its streams, and for a part."""
    own = any((path / stream).is_dir() for stream in STREAM_NAMES), any(path.glob("symbol=*")), path.name.startswith("symbol=")
    if any(own) or (parse_part_name(path.name) is not None and path.parent.name.startswith("date=")):
        raise UsageError(
            f"{path} is output of cowbook's, and this reads captures: outputs are read by cowbook.features, book_at and scan"
        )


def _text(path: object) -> str:
    if not isinstance(path, str | PathLike):
        raise UsageError(f"paths: {path!r} is neither a path nor a Capture")
    text = fspath(path)
    if not isinstance(text, str):
        raise UsageError(f"paths: {text!r} is bytes: decode it with os.fsdecode")
    return text


def _of_capture(capture: Capture) -> dict[str, Any]:
    paths = [capture.paths] if isinstance(capture.paths, str | PathLike) else list(capture.paths)
    named = {"id": capture.id} if capture.id else {}
    decimals = {"price_decimals": capture.price_decimals, "size_decimals": capture.size_decimals}
    texts = [_text(path) for path in paths]
    return {"name": capture.symbol, "format": capture.format, "channel": capture.channel, "paths": texts, **decimals, **named}


def _symbol(values: dict[str, Any]) -> SymbolConfig:
    """A symbol as a configuration would have it. Raises ConfigError with what is wrong, by the names of arguments."""
    try:
        return SymbolConfig.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            where = {"name": "symbol"}.get(str(problem["loc"][0]), problem["loc"][0]) if problem["loc"] else ""
            text = problem["msg"].removeprefix("Value error, ")
            is_shown = where and isinstance(problem.get("input"), str | int | float)
            problems.append(f"{where} = {problem['input']!r}: {text}" if is_shown else f"{where}: {text}" if where else text)
        raise ConfigError("replay", problems) from error


def _settings_of(symbol: SymbolConfig) -> EngineSettings:
    """What an engine of this configuration does, without rows that nobody reads. Short cuts keep what is kept of them small."""
    return EngineSettings(
        on_gap=symbol.on_gap,
        streams=(),
        part_events=1 << 16,
        max_book_bytes=symbol.max_book_bytes,
        depth=symbol.depth,
        channel=symbol.channel,
    )


def _selected(inputs: list[Input], names: Sequence[str] | None, source: str) -> list[Input]:
    """Those whose id or name is one of `names`, in their order. Raises UsageError for a name that none has."""
    if names is None:
        return inputs
    found = []
    for name in names:
        alike = [each for each in inputs if each.config.id == name] or [each for each in inputs if each.config.name == name]
        if not alike:
            known = ", ".join(each.config.id for each in inputs)
            raise UsageError(f"symbol {name}: {source} has {known}")
        found += [each for each in alike if each not in found]
    return found


def _what_there_is(files: Sequence[str], common: dict[str, Any]) -> str:
    """The symbols that the first records of the first file name, for a message."""
    nobody = _symbol({"name": "-", "paths": files, **common})
    paths = Input(nobody, Path(), EngineSettings()).files()
    text = check_name(paths[:1], nobody.format, decoder_settings(nobody))
    return ": " + text[0].partition(": ")[2] if text else ": name the symbol as its records do"


def raise_if_unnamed(name: str, others: Sequence[str]) -> None:
    """Raises InputError if records named other symbols. Call it where none named this one."""
    text = nobody_names(name, others)
    if text is not None:
        raise InputError(text)
