"""PipelineState: everything that a symbol's worker knows between two messages, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from cowbook.plain.engine_state import EngineState
from cowbook.plain.frame import Frame
from cowbook.plain.merge_state import MergeState
from cowbook.plain.messages import NONE, DeadLetter
from cowbook.plain.parts import CutPlace
from cowbook.plain.position import Position
from cowbook.plain.vocabulary import GAP_STATISTICS


@dataclass(slots=True)
class DriftTotals:
    """Sums over the drift measurements whose rows are in closed cuts. `size_error` is in units of 10^-size_decimals."""

    measurements: int = 0
    levels_missing: int = 0
    levels_extra: int = 0
    levels_differing: int = 0
    size_error: int = 0
    levels_compared: int = 0
    levels_learned: int = 0

    @property
    def levels(self) -> int:
        """Number of levels that were missing, extra or differing."""
        return self.levels_missing + self.levels_extra + self.levels_differing

    def plus(self, rows: Any) -> DriftTotals:
        """Return the totals with more rows (of the stream `drift`) added."""
        return DriftTotals(
            self.measurements + len(rows),
            self.levels_missing + int(rows["levels_missing"].sum()),
            self.levels_extra + int(rows["levels_extra"].sum()),
            self.levels_differing + int(rows["levels_differing"].sum()),
            self.size_error + int(rows["size_error_high"].sum()) * 10**18 + int(rows["size_error_low"].sum()),
            self.levels_compared + int(rows["levels_compared"].sum()),
            self.levels_learned + int(rows["levels_learned"].sum()),
        )


class DecoderState(NamedTuple):
    """What a decoder remembers between records."""

    other_symbols: tuple[str, ...] = ()  # the first ones that records named, for messages
    misfit: tuple[int, str] | None = None  # offset of the first value out of range, and what is wrong with it
    input_bytes: int = 0  # decoded, consumed since the start of the input
    connection: Mapping[str, str] = MappingProxyType({})  # state of the venue's connection
    is_named: bool = True  # whether a usable record named the symbol; True also where that is not known


@dataclass(frozen=True, slots=True)
class PipelineState:
    """State of a pipeline after the last consumed record, whatever became of that record.

    A worker that starts from this state with the same input writes exactly the rows that the first one would have written.
    """

    id: str
    symbol: str
    order_book_state: EngineState
    position: Position
    fingerprint: dict[str, Any]
    """The settings that change rows or files, by name."""
    dead_letters: tuple[DeadLetter, ...] = ()
    """The dead letters of the open rows, in order."""
    frame: Frame | None = None
    """The book at the first event of the open cut, if that is to be written."""
    decoder: DecoderState = field(default_factory=DecoderState)
    drift: DriftTotals = field(default_factory=DriftTotals)
    merge: MergeState | None = None
    """The state of several sources, of which `position` is that of the first; None where the input is one."""
    provisional: tuple[CutPlace, ...] = ()
    """Places of provisional cuts that were published at an earlier end of input and are not replaced yet."""
    end_of_input: str | None = None
    """Set if the input ended here: a digest of the unfinished record after the position, or "halted"."""
    processing_rate: float = 0.0
    """Events per second since the checkpoint before, or since the start."""
    checkpoint_timestamp: int = 0
    """Wall clock in ns since 1970 at the freeze."""
    snapshot_duration_ms: float = 0.0
    """How long the freeze of this checkpoint held up processing."""

    @property
    def last_update_id(self) -> int | None:
        """Update id of the last applied depth message; None before the first."""
        last_id = self.order_book_state.values["last_id"]
        return None if last_id == NONE else last_id

    @property
    def progress(self) -> tuple[Any, ...]:
        """Where the input stands. Two states of equal progress are of the same place."""
        return self.merge.progress if self.merge is not None else self.position.progress

    @property
    def current_file(self) -> str:
        """Path of the file that the position is in."""
        return self.position.current.path

    @property
    def file_offset(self) -> int:
        """Consumed bytes of that file, decoded."""
        return self.position.current.offset

    @property
    def events_processed(self) -> int:
        """Number of events so far, which is the index of the next one."""
        return self.order_book_state.values["next_event"]

    @property
    def gap_statistics(self) -> dict[str, int]:
        """Gaps, missing update ids, and messages that were not applied, since the start of the input."""
        return {name: self.order_book_state.values[name] for name in GAP_STATISTICS}

    @property
    def drift_metrics(self) -> dict[str, int]:
        """Sums over all drift measurements since the start of the input."""
        totals = self.drift.plus(self.order_book_state.rows["drift"])
        return {
            "measurements": totals.measurements,
            "levels_missing": totals.levels_missing,
            "levels_extra": totals.levels_extra,
            "levels_differing": totals.levels_differing,
            "size_error": totals.size_error,
            "levels_compared": totals.levels_compared,
            "levels_learned": totals.levels_learned,
        }

    @property
    def levels(self) -> int:
        """Number of price levels on both sides."""
        return len(self.order_book_state.bid_prices) + len(self.order_book_state.ask_prices)
