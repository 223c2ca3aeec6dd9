"""The cuts of a symbol's output and their parts, which the sink makes and checkpoints list (ADR 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

CutPlace = tuple[int, int]
"""First event and number of a cut. It identifies the cut, and cuts are made in the order of their places (ADR 16)."""

ROWS_OF_CUT = "rows_of_cut"
"""Key of the metadata in which each part says how many rows all streams have in its cut: `depth=12 trades=3`."""

CUTS_OF_PART = "cuts_of_part"
"""Key of the metadata in which a part that was joined of several lists their cuts: `JoinedCut` in JSON."""

_JOINED = ".joined"
_NAME = re.compile(r"part-(\d+)-(-?\d+)(?:\.(\d+))?(\.joined)?\.parquet")


def part_name(first: int, last: int, number: int) -> str:
    """The name of a cut's parts."""
    return f"part-{first:016d}-{last:016d}{f'.{number}' if number else ''}.parquet"


def joined_name(first: int, last: int, number: int) -> str:
    """The name of a part that was joined of those of several cuts, from that with `first` and `number` to that with `last`."""
    return part_name(first, last, number).removesuffix(".parquet") + f"{_JOINED}.parquet"


def is_joined_name(name: str) -> bool:
    """Whether a part of this name was joined of several."""
    return name.endswith(f"{_JOINED}.parquet")


def cut_of_name(name: str) -> CutPlace | None:
    """The place of the cut whose part has this name; None if it is no part's, or that of several cuts."""
    found = parse_part_name(name)
    return None if found is None or is_joined_name(name) else found[0]


def parse_part_name(name: str) -> tuple[CutPlace, int] | None:
    """The place of the cut, or the first of the cuts, whose part has this name, and the last event; None if it is no part's."""
    match = _NAME.fullmatch(name)
    return None if match is None else ((int(match[1]), int(match[3] or 0)), int(match[2]))


def describe_rows(counts: Mapping[str, int]) -> str:
    """What `ROWS_OF_CUT` says of these numbers of rows by stream. Streams without rows are left out."""
    return " ".join(f"{stream}={count}" for stream, count in counts.items() if count)


def parse_rows(text: str) -> dict[str, int]:
    """Numbers of rows by stream, of what `ROWS_OF_CUT` says. Raises ValueError for another text."""
    counts = {}
    for pair in text.split():
        stream, _, count = pair.partition("=")
        counts[stream] = int(count)
    return counts


class JoinedCut(msgspec.Struct, frozen=True):
    """One of the cuts whose parts were joined. Each part is a row group, in the order of the cuts."""

    first: int
    last: int
    number: int
    rows: dict[str, int]
    """How many rows each stream has in it. Streams without rows are left out, and have no row group."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finished Parquet file."""

    stream: str
    first: int  # event_index of the cut's first event
    last: int  # of its last event; first - 1 if it has none
    rows: int
    size_bytes: int
    sha256: str
    staged: str  # relative to the symbol's staging directory
    final: str  # relative to the output directory


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of one range of events, at most one per stream.

    A *provisional* cut was made at the end of the input. When more input arrives, the cut with the same place replaces it.
    """

    first: int
    last: int
    parts: tuple[Part, ...]
    provisional: bool = False
    number: int = 0  # of cuts with this first event before it; they had no events

    @property
    def place(self) -> CutPlace:
        """What identifies the cut, and orders cuts."""
        return self.first, self.number
