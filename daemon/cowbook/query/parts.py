"""Finds a symbol's published parts: by stream, cut and day, from their names, and from what joined ones say of their cuts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.errors import QueryError
from cowbook.plain.parts import CUTS_OF_PART, CutPlace, JoinedCut, is_joined_name, parse_part_name
from cowbook.plain.streams import STREAM_NAMES

_TRIES = 10
_PAUSE_SECONDS = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PublishedPart:
    """One part of a stream, as its name says it."""

    path: Path
    place: CutPlace
    last: int  # the cut's last event; the first one minus 1 if it has none
    date: str  # YYYY-MM-DD: the day of the running maximum of event time
    group: int | None = None  # of a part that was joined of several: the row group that is this one
    rows_of_cut: Mapping[str, int] | None = None  # the rows of all streams in the cut, where they are at hand

    @property
    def is_joined(self) -> bool:
        """Whether it was joined of several, and is all of them."""
        return self.group is None and is_joined_name(self.path.name)


@dataclass(frozen=True, slots=True)
class PublishedCut:
    """One range of events, and its parts by stream."""

    place: CutPlace
    last: int
    date: str
    parts: dict[str, PublishedPart]

    @property
    def first(self) -> int:
        """The cut's first event."""
        return self.place[0]

    @property
    def event_count(self) -> int:
        """Number of its events."""
        return self.last - self.first + 1


class MovedError(Exception):
    """A part that was listed is gone, or streams disagree on a cut: a publication is under way. Look again."""


def retrying(question: Callable[[], T]) -> T:
    """Answer a question, and answer it again if a part was replaced meanwhile. Raises QueryError if that does not end."""
    for left in reversed(range(_TRIES)):
        try:
            return question()
        except MovedError as error:
            if not left:
                raise QueryError(f"{error}; if a publication was interrupted, start cowbook again, which finishes it") from error
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def find_cuts(output_dir: Path, symbol: str) -> list[PublishedCut]:
    """Returns a symbol's cuts in their order. Of a part that was joined of several each is one again.

    A part of an earlier end of the input, in whose place a regular one has come, is left out. Raises QueryError if the directory
    holds no output, nothing of the symbol, or a Parquet file among its parts that is none; MovedError as `retrying` expects it.
    """
    symbols = list_symbols(output_dir)
    if symbol not in symbols:
        raise QueryError(f"{output_dir} has nothing of symbol {symbol}: it has {some_of(symbols_like(symbol, list(symbols)))}")
    cuts: dict[CutPlace, dict[str, PublishedPart]] = {}
    joined: dict[tuple[str, str], list[JoinedCut]] = {}
    for stream, directory in symbols[symbol].items():
        for part in list_parts(directory):
            for own in _parts_of(part, stream, joined) if part.is_joined else (part,):
                cuts.setdefault(own.place, {})[stream] = own
    found = []
    for place in sorted(cuts):
        parts = cuts[place]
        some = next(iter(parts.values()))
        for part in parts.values():
            if part.last != some.last:
                raise MovedError(f"{part.path} and {some.path} begin with the same event and end with different ones")
        found.append(PublishedCut(place, some.last, some.date, parts))
    if not found:
        raise QueryError(f"{output_dir} has no part of symbol {symbol}")
    return found


def _read_cuts(part: PublishedPart) -> list[JoinedCut]:
    """The cuts whose parts were joined."""
    try:
        with pa.OSFile(str(part.path)) as source:
            metadata = pq.read_metadata(source).metadata or {}
        return msgspec.json.decode(metadata.get(CUTS_OF_PART.encode(), b""), type=list[JoinedCut])
    except FileNotFoundError as error:
        raise MovedError(f"{part.path} is gone") from error
    except (pa.ArrowException, OSError, ValueError, msgspec.MsgspecError) as error:
        raise QueryError(f"{part.path} does not say its cuts: {error}; restore it, or make the output anew") from error


def _parts_of(part: PublishedPart, stream: str, known: dict[tuple[str, str], list[JoinedCut]]) -> Iterator[PublishedPart]:
    """The parts of which one was joined. `known`: what one stream's part says of its cuts is so for all of that day and name."""
    key = part.date, part.path.name
    if key not in known:
        known[key] = _read_cuts(part)
    of_stream = [cut for cut in known[key] if cut.rows.get(stream)]
    for group, cut in enumerate(of_stream):
        yield PublishedPart(part.path, (cut.first, cut.number), cut.last, part.date, group, cut.rows)


def list_streams(output_dir: Path) -> set[str]:
    """Returns the streams that have a part. Raises QueryError if the directory holds no output."""
    return {
        stream
        for directories in list_symbols(output_dir).values()
        for stream, path in directories.items()
        if next(path.glob("date=*/part-*.parquet"), None)
    }


def list_symbols(output_dir: Path) -> dict[str, dict[str, Path]]:
    """Returns the directories of each symbol's parts by stream, by the symbol's id. Raises QueryError if there are none."""
    try:
        names = sorted(entry.name for entry in os.scandir(output_dir) if entry.is_dir())
    except OSError as error:
        raise QueryError(f"{output_dir} cannot be read: {error.strerror or error}") from error
    found: dict[str, dict[str, Path]] = {}
    for stream in STREAM_NAMES:
        for name in _symbol_directories(output_dir / stream) if stream in names else ():
            found.setdefault(unquote(name.removeprefix("symbol=")), {})[stream] = output_dir / stream / name
    if not found:
        shown = ", ".join(names[:8]) or "no directory"
        inside = next((name for name in names if any((output_dir / name / stream).is_dir() for stream in STREAM_NAMES)), None)
        hint = f"; did you mean {output_dir / inside}?" if inside is not None else ""
        raise QueryError(f"{output_dir} is no output of cowbook: it has {shown}, and none of {', '.join(STREAM_NAMES)}{hint}")
    return found


def _symbol_directories(directory: Path) -> list[str]:
    try:
        return sorted(name for name in _names(directory) if name.startswith("symbol="))
    except OSError as error:
        raise QueryError(f"{directory} cannot be read: {error.strerror or error}") from error


def list_parts(directory: Path) -> list[PublishedPart]:
    """Returns the parts of one stream of a symbol in their order, those that were joined as one.

    A part of an earlier end of the input, in whose place a longer one has come, is left out. Raises as `find_cuts`.
    """
    parts: dict[CutPlace, PublishedPart] = {}
    try:
        for day in sorted(name for name in _names(directory) if name.startswith("date=")):
            for name in _names(directory / day):
                path, of_name = directory / day / name, parse_part_name(name)
                if of_name is not None:
                    part = PublishedPart(path, *of_name, day.removeprefix("date="))
                    if part.place not in parts or parts[part.place].last < part.last:
                        parts[part.place] = part
                elif name.endswith(".parquet") and not name.startswith((".", "_")):
                    raise QueryError(f"{path} is no part of cowbook's: it is not named part-<first>-<last>.parquet")
    except FileNotFoundError as error:
        raise MovedError(f"{error.filename} is gone") from error
    except OSError as error:
        raise QueryError(f"{error.filename} cannot be read: {error.strerror}") from error
    return [parts[place] for place in sorted(parts)]


def _names(directory: Path) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def symbols_like(symbol: str, names: Sequence[str]) -> list[str]:
    """Names of symbols, those first that are most like one that is not among them."""
    wanted = symbol.casefold()

    def unlikeness(name: str) -> tuple[bool, float, str]:
        is_part = bool(wanted) and wanted in name.casefold()
        return not is_part, -SequenceMatcher(None, wanted, name.casefold()).ratio(), name

    return sorted(names, key=unlikeness)


def some_of(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def check_contiguous(cuts: Sequence[PublishedCut]) -> None:
    """Raises QueryError if events between two of these cuts are in no part."""
    for before, after in pairwise(cuts):
        if after.first != before.last + 1:
            events = f"events {before.last + 1} to {after.first - 1} are in no part"
            name = next(iter(after.parts.values())).path
            raise QueryError(f"{events}, though {name} begins behind them: restore the missing parts, or make the output anew")
