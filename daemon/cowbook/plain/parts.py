"""Plain data between the sink and the checkpoints: the cuts of a symbol's output and their parts."""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finished Parquet file: what identifies it, where it waits, and where it belongs."""

    stream: str
    first: int
    last: int
    rows: int
    size_bytes: int
    sha256: str
    staged: str  # relative to the symbol's staging directory
    final: str  # relative to the output directory


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of one range of events, at most one of each stream.

    A *provisional* cut was made by the end of the input: when more input arrives, another one with the same first event takes
    its place.
    """

    first: int
    last: int
    parts: tuple[Part, ...]
    provisional: bool = False
