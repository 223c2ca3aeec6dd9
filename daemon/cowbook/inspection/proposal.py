"""Proposes a configuration for files that were looked at: which symbols there are, and which files are each one's."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cowbook.capture.paths import natural_key
from cowbook.capture.written_order import is_rotated, uncompressed
from cowbook.inspection.facts import FileFacts, SymbolFacts

_NOT_UTF_8 = re.compile(r"[\ud800-\udfff]")
"""Bytes of names that a configuration, which is UTF-8, cannot have: a wildcard stands for each."""
_SHAPE = re.compile(r"\d+")
_DATE_AT_END = re.compile(r"(?:\d+[-_.:T]?)+$")
_DATE_AT_START = re.compile(r"^(?:[-_.:T]?\d+)+")
"""What a glob leaves out around the part in which names differ: the next month's file belongs to the series, too."""
_LETTERS = re.compile(r"[A-Za-z]+")
_NOT_NAMES = {"book", "books", "trade", "trades", "depth", "delta", "deltas", "incremental", "l", "v", "parquet", "snappy"}
_HIVE_SYMBOL = re.compile(r"symbol=([^/]+)")
_NOT_IN_NAMES = re.compile(r"[^!#-\[\]-~]+")
_LONGEST_NAME = 64
_MARKETS = ("spot", "futures")


@dataclass(slots=True)
class Proposed:
    """A symbol of the proposed configuration."""

    id: str
    name: str
    format: str
    channel: str = ""
    """Whose book it is, where the same files have several of this name; empty otherwise."""
    is_named: bool = True
    """Whether the records say the name."""
    files: list[tuple[FileFacts, SymbolFacts]] = field(default_factory=list)
    """Where it was found, in the order of the paths."""
    patterns: list[str] = field(default_factory=list)
    """Paths and globs that match these files, and no others."""

    @property
    def books(self) -> tuple[str, ...]:
        """Names of all books that its files have."""
        return tuple(sorted({book for _, facts in self.files for book in facts.books}))

    @property
    def decimals(self) -> tuple[int, int]:
        """The decimals of prices and of sizes that fit all of its files."""
        return max(facts.price_decimals for _, facts in self.files), max(facts.size_decimals for _, facts in self.files)


def propose(files: Sequence[FileFacts]) -> list[Proposed]:
    """The symbols that a run over these files could have, sorted by name. Symbols of which nothing was used are left out."""
    found: dict[tuple[str, str, bool], list[tuple[FileFacts, SymbolFacts]]] = {}
    for file in files:
        for format_ in file.formats:
            for symbol in format_.symbols:
                if not symbol.is_empty:
                    name = symbol.name or _label_of(Path(file.path))
                    found.setdefault((format_.name, name, bool(symbol.name)), []).append((file, symbol))
    proposed = []
    for (format_name, name, is_named), where in found.items():
        both = {book for _, symbol in where for book in symbol.books if book in _MARKETS}
        for channel in sorted(both, reverse=True) if len(both) > 1 else [""]:
            own = [(file, symbol) for file, symbol in where if not channel or channel in symbol.books or not symbol.depth]
            proposed.append(Proposed(name, name, format_name, channel, is_named, own))
    proposed.sort(key=lambda symbol: (natural_key(symbol.name), symbol.format, symbol.channel))
    _name_apart(proposed)
    for each in proposed:
        times = {file.path: symbol.first_time for file, symbol in each.files}
        each.patterns = find_patterns([file.path for file, _ in each.files], times)
    return proposed


def _label_of(path: Path) -> str:
    """A name for a symbol whose records say none: of its directory, if that is `symbol=…`, else of its file."""
    hive = _HIVE_SYMBOL.search(str(path))
    words = [word for word in _LETTERS.findall(path.name.partition(".")[0]) if word.lower() not in _NOT_NAMES]
    label = hive[1] if hive else "-".join(words) or path.absolute().parent.name
    return _NOT_IN_NAMES.sub("-", label)[:_LONGEST_NAME] or "SYMBOL"


def _name_apart(proposed: Sequence[Proposed]) -> None:
    """Give each symbol an id of its own, also where a file system ignores case."""
    taken: set[str] = set()
    names = [symbol.name.lower() for symbol in proposed]
    for symbol in proposed:
        choices = [symbol.name] if names.count(symbol.name.lower()) == 1 else []
        choices += [f"{symbol.name}-{symbol.channel}"] if symbol.channel else []
        choices += [f"{symbol.format}-{symbol.name}", f"{symbol.format}-{symbol.name}-{symbol.channel}"]
        choices += [f"{symbol.format}-{symbol.name}-{number}" for number in range(2, len(proposed) + 2)]
        symbol.id = next(choice for choice in choices if choice.lower() not in taken)
        taken.add(symbol.id.lower())


def find_patterns(paths: Sequence[str], times: Mapping[str, int | None]) -> list[str]:
    """Paths and globs that match these files and no others. Files of one rotation, and of one dated series, share a glob.

    They are in the order of their first `times` (ns since 1970), where these are known, else of their names.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for path in sorted(dict.fromkeys(paths), key=natural_key):
        place = Path(path)
        rotation = next(
            (key for key in groups if key[0] == str(place.parent) and is_rotated(place.name, Path(groups[key][0]).name)), None
        )
        shape = _SHAPE.sub("0", place.name)
        groups.setdefault(rotation or (str(place.parent), shape), []).append(path)
    patterns = []
    for group in sorted(groups.values(), key=lambda group: min(times.get(path) or 0 for path in group)):
        pattern = _glob_of(group) if len(group) > 1 else None
        matched = {os.path.realpath(match) for match in glob.glob(pattern)} if pattern is not None else set()  # noqa: PTH207 - as a run does
        # It has no other file, and none that another pattern has.
        patterns += (
            [pattern]
            if pattern is not None and matched == {os.path.realpath(path) for path in group}
            else [_NOT_UTF_8.sub("?", glob.escape(path)) for path in group]
        )
    return patterns


def _glob_of(paths: Sequence[str]) -> str:
    """A glob with one wildcard that matches all of these paths, which lie in one directory."""
    names = [Path(path).name for path in paths]
    compressed = {name.removeprefix(uncompressed(name)) for name in names}
    if len(compressed) > 1:
        names = [uncompressed(name) for name in names]
    start = os.path.commonprefix(names)  # noqa: RUF071 - of characters
    end = os.path.commonprefix([name[len(start) :][::-1] for name in names])[::-1]  # noqa: RUF071 - of characters
    start, end = _DATE_AT_END.sub("", start), _DATE_AT_START.sub("", end)
    ending = "*" if len(compressed) > 1 and end else ""
    pattern = str(Path(glob.escape(str(Path(paths[0]).parent))) / f"{glob.escape(start)}*{glob.escape(end)}{ending}")
    return _NOT_UTF_8.sub("?", pattern)


def files_not_read(files: Iterable[FileFacts]) -> list[FileFacts]:
    """The files that no format reads, or that have nothing that can be used."""
    return [file for file in files if not any(not symbol.is_empty for format_ in file.formats for symbol in format_.symbols)]
