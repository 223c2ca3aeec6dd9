"""What joining several sources of one symbol remembers between two messages, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from cowbook.plain.position import Mark, Position

_START = (0, -1)
"""The progress of a source of which no file is open yet: that of one with an open file of which nothing was consumed."""

MOST_SOURCES = 62
"""Sources of one symbol: each is a bit of a number."""

RECENT_MERGED = 8_192
"""How many messages that were handed on are remembered, to recognise what another source brings later."""

COUNTED_KINDS = ("depth", "snapshots", "trades", "tickers")
"""The kinds of messages that are counted apart."""

LANE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "messages",  # consumed, of any kind
            "first",  # handed on, because no other source had brought them
            "duplicates",  # skipped, because another source had
            "late",  # skipped, because the source was passed over when their time came
            "contradictions",  # skipped, though they say something else than the one with the same ids that was handed on
            "passed_event",  # newest event time, and newest receive time, that was handed on while the source was passed over
            "passed_recv",
            "shares",  # bits of the sources with which it has had a message in common
            "carries_book",  # not 0 once it has brought a depth message
            "in_hole",  # not 0 from a place where something may be missing to its next message that is used
            "missing",  # numbers of its connection that are missing in the hole
            "last_sequence",  # its connection's number of its last record; 0 before the first
            "newest_content",  # how many messages were handed on up to its newest one that only its content names and others have
            "newest_ticker",  # the same of tickers
            "clock",  # by how many ns its receive times are ahead of those of the first source with the same feed
            "has_clock",  # not 0 once messages that ids or times name have told that, or several in a row that content names
            "other_clock",  # by how much it would be ahead by the last messages that say something else
            "agreed",  # and how many of them agree
            "latest",  # the time from which on its last consumed message was expected (merge/queues.py)
            "others",  # records of other symbols that were consumed, and are handed on with its next message
            "names_others",  # not 0 once they are handed on as they come
            *(f"had_{kind}" for kind in COUNTED_KINDS),  # of all that were handed on, how many it has had, too
        )
    ]
)
"""What is known of one source."""

MERGED = np.dtype([(name, np.int64) for name in ("key", "content", "time", "sources", "first", "ts_recv", "sequence", "group")])
"""A message that was handed on: what identifies it, what it says, its time (NONE where the ids suffice), the bits of the sources
that have brought it, which was the first, when that one received it, its number on its
connection, and its group (merge/queues.py)."""

TOTALS = ("sequence", "numbering", "front", *(f"all_{kind}" for kind in COUNTED_KINDS), "contradicted_id", "contradicted_by")
"""Numbers of the whole: the joined numbering of connections, messages handed on by kind, and the last contradiction."""


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What came of one source, since the start of the input."""

    name: str
    messages: int
    """Consumed, of any kind."""
    first: int
    """Used, because no other source had brought them before."""
    duplicates: int
    """Skipped, because another source had."""
    late_records: int
    """Skipped, because others had gone on without the source when it brought them."""
    contradictions: int
    """Skipped, though they differ from the one with the same ids that was used."""
    clock_seconds: float
    """By how much its receive times are ahead of those of the first source with the same feed."""
    missed: Mapping[str, int]
    """By kind, how many messages it alone would have missed: only kinds of which it has any."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values. They are also the arguments that make the same figures."""
        return asdict(self) | {"missed": dict(self.missed)}


def make_figures(names: Sequence[str], lanes: npt.NDArray[np.void], totals: Mapping[str, int]) -> tuple[SourceFigures, ...]:
    """The figures of all sources, by what is known of each (LANE) and the numbers of the whole."""
    return tuple(
        SourceFigures(
            name,
            int(lane["messages"]),
            int(lane["first"]),
            int(lane["duplicates"]),
            int(lane["late"]),
            int(lane["contradictions"]),
            float(lane["clock"] / 1e9),
            {kind: totals[f"all_{kind}"] - int(lane[f"had_{kind}"]) for kind in COUNTED_KINDS if lane[f"had_{kind}"]},
        )
        for name, lane in zip(names, lanes, strict=True)
    )


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """Where one source stands: a position, and how many messages behind it are consumed already."""

    name: str
    position: Position | None
    """None while nothing of it was read."""
    skip: int
    connection: Mapping[str, str]
    """State of the venue's connection at the position."""
    input_bytes: int
    """Decoded bytes up to the position."""

    @property
    def progress(self) -> tuple[Any, int]:
        """As `Position.progress`, with `skip`."""
        return (self.position.progress if self.position is not None else _START), self.skip

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        position = self.position.to_json() if self.position is not None else None
        return {
            "name": self.name,
            "position": position,
            "skip": self.skip,
            "connection": dict(self.connection),
            "input_bytes": self.input_bytes,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SourcePlace:
        """Make a place from what `to_json` returned. Raises KeyError or TypeError for anything else."""
        position = Position.from_json(value["position"]) if value["position"] is not None else None
        return cls(value["name"], position, value["skip"], value["connection"], value["input_bytes"])


@dataclass(frozen=True, slots=True)
class MergeState:
    """Several sources of one symbol between two messages."""

    places: tuple[SourcePlace, ...]
    """In the order of the sources."""
    lanes: npt.NDArray[np.void]
    """One LANE a source."""
    merged: npt.NDArray[np.void]
    """The most recent MERGED, oldest first."""
    totals: Mapping[str, int]
    """By TOTALS."""
    at_end: tuple[SourceFigures, ...] = ()
    """At the end of the input: what came of each source with what is behind the places, for people."""

    @property
    def figures(self) -> tuple[SourceFigures, ...]:
        """What came of each source."""
        return self.at_end or make_figures([place.name for place in self.places], self.lanes, self.totals)

    @property
    def progress(self) -> tuple[tuple[Any, int], ...]:
        """Where all sources stand. Two states of equal progress are of the same place."""
        return tuple(place.progress for place in self.places)


class SourceMark(msgspec.Struct, frozen=True):
    """As SourcePlace, of which the hashes are not computed yet."""

    name: str
    mark: Mark | None
    skip: int
    connection: Mapping[str, str]
    input_bytes: int

    @property
    def progress(self) -> tuple[Any, int]:
        """As `SourcePlace.progress`."""
        return (self.mark.progress if self.mark is not None else _START), self.skip

    def place(self) -> SourcePlace:
        """Compute the hashes."""
        position = self.mark.position() if self.mark is not None else None
        return SourcePlace(self.name, position, self.skip, self.connection, self.input_bytes)


class JoinedMark(msgspec.Struct, frozen=True):
    """The place of several sources, as `Mark` is that of one. Cheap to make; its methods may be called in any thread."""

    sources: tuple[SourceMark, ...]
    lanes: bytes
    ring: bytes
    totals: bytes
    ring_count: int
    """How many messages were ever put into the ring of the recent ones."""

    @property
    def progress(self) -> tuple[tuple[Any, int], ...]:
        """As `MergeState.progress`."""
        return tuple(source.progress for source in self.sources)

    def position(self) -> Position:
        """Where the first source stands of which anything was read."""
        return next(source.mark for source in self.sources if source.mark is not None).position()

    def merge_state(self, at_end: tuple[SourceFigures, ...] = ()) -> MergeState:
        """All that a checkpoint holds of the sources. `at_end` is as in `MergeState`."""
        ring = np.frombuffer(self.ring, MERGED)
        count = self.ring_count
        merged = np.roll(ring, -(count % len(ring))) if count > len(ring) else ring[:count]
        totals = map(int, np.frombuffer(self.totals, np.int64))
        places = tuple(source.place() for source in self.sources)
        return MergeState(places, np.frombuffer(self.lanes, LANE), merged, dict(zip(TOTALS, totals, strict=True)), at_end)
