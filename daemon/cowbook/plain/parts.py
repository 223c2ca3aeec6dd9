"""The cuts of a symbol's output and their parts, which the sink makes and checkpoints list (ADR 6)."""

from __future__ import annotations

import msgspec


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

    A *provisional* cut was made at the end of the input. When more input arrives, a cut with the same first event replaces it.
    """

    first: int
    last: int
    parts: tuple[Part, ...]
    provisional: bool = False
