"""The numbers that a worker publishes: what other threads know of it, for the status, the metrics and the log.

A worker makes a whole new record on its own thread, between two messages, and puts it in the place of the old one by a single
assignment. Whoever reads takes the record once and looks at nothing else of the worker: all of its numbers are of one moment, and
no lock is needed. Records are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cowbook.plain.merge_state import SourceFigures


@dataclass(frozen=True, slots=True)
class InputFigures:
    """Where a worker's input stands."""

    waiting_for: str | None = None
    """What is missing or cannot be read, and is waited for."""
    unread_bytes: int = 0
    """On disk and not read yet, as of the last look."""
    rotations: int = 0
    """Files that were left for a newer one."""
    skipped_files: int = 0
    """Files that sort before the current one, and are never read."""
    warnings: tuple[str, ...] = ()
    """What has shown of the files since the start; it only grows."""


@dataclass(frozen=True, slots=True)
class CheckpointFigures:
    """What a worker's attempts at a checkpoint have come to."""

    epoch: int = 0
    """Of the newest checkpoint, the recovered one included; 0 without one."""
    events: int = 0
    """Events in it."""
    timestamp: int = 0
    """When its state was frozen, in ns since 1970; 0 without one."""
    committed: int = 0
    """Attempts that this worker has committed."""
    failed: int = 0
    """Attempts of this worker that have failed."""
    parts: int = 0
    """Parts that these checkpoints have published."""
    part_bytes: int = 0
    freeze_seconds: float | None = None
    """How long processing stood still for the last one that was committed; None before the first of this worker."""
    last_error: str | None = None
    """Why the last attempt has failed; None when it has not."""


@dataclass(frozen=True, slots=True)
class KnownFigures:
    """How much of a book is known: of each side how far, and during how much of event time."""

    bids_to: str | None
    """The price down to which every bid is known; None if nothing is known, and if all is."""
    asks_to: str | None
    """The price up to which every ask is known; None likewise."""
    bids_whole: bool
    asks_whole: bool
    time_total: int
    """Event time that has passed, in ns."""
    time_best: int
    """Of it, while the best levels of both sides were known."""
    time_grid: int
    """Of it, while all levels of the grid were."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values. The shares of event time are None before any has passed."""
        total = self.time_total
        return {
            "bids": {"to": self.bids_to, "whole": self.bids_whole},
            "asks": {"to": self.asks_to, "whole": self.asks_whole},
            "best": self.time_best / total if total else None,
            "grid": self.time_grid / total if total else None,
        }


@dataclass(frozen=True, slots=True)
class MarketFigures:
    """Prices of a book. NaN is what it does not have."""

    bid: float
    ask: float
    spread: float
    """Exact, unlike the difference of the two; negative of a crossed book."""
    bid_known_to: float
    """The price down to which every bid is known: minus infinite if all are."""
    ask_known_to: float
    """The price up to which every ask is known: infinite if all are."""


@dataclass(frozen=True, slots=True)
class BookFigures:
    """What a pipeline has counted since the start of its input, and how its book stands."""

    events: int
    trades: int
    messages: int
    """Accepted ones."""
    gaps: int
    missing_updates: int
    stale: int
    duplicate_trades: int
    duplicate_messages: int
    foreign_snapshots: int
    time_resets: int
    crossed: int
    depth_messages: int
    """Applied ones, snapshots included."""
    compared: int
    """Of these, those after which the book was compared with something."""
    compared_unsynced: int
    """Of these, those after which it was not synced."""
    refuted: int
    """Of those after which it was synced, those where a comparison failed."""
    witnesses: int
    """Depth snapshots that judged the book."""
    levels_compared: int
    levels_wrong: int
    levels_learned: int
    tickers_near: int
    """Tickers without ids that show a state which the book had within 8 depth messages."""
    tickers_far: int
    """Those that do not."""
    known: KnownFigures
    dead_letters: Mapping[str, int]
    """By reason."""
    audits: Mapping[str, Mapping[str, int]]
    """By kind, then outcome."""
    drift_size_error: float
    """Sum of absolute size differences over all drift measurements, in units of size."""
    synced: bool
    last_update_id: int | None
    """None before the first."""
    newest: int | None
    """The newest event time, in ns since 1970; None before the first."""
    market: MarketFigures
    bid_levels: int
    ask_levels: int
    blocks_used: int
    """Blocks of the ladder's pool, those of snapshots included."""
    kept_bytes: int
    """Of the diffs that are kept for late snapshots."""
    block_copies: int
    """Blocks that were copied because a snapshot was held, since the worker's start."""


@dataclass(frozen=True, slots=True)
class PipelineFigures:
    """How a worker's pipeline stands between two messages."""

    book: BookFigures
    input_bytes: int
    """Decoded bytes consumed since the start of the input."""
    place: tuple[str, int] | None
    """File and decoded offset behind the last block that was processed."""
    gaps_after_recovery: int
    """Gaps between the recovered state and the first depth message after it."""
    quiet_rate: float
    """Events per busy second while no checkpoint is persisted; NaN until it is known."""
    persisting_rate: float
    """The same while one is."""
    impact: float
    """1 - persisting rate / quiet rate; NaN until both were measured for long enough."""
    sources: tuple[SourceFigures, ...] = ()
    """What came of each source, if the symbol has several."""
    problem: str | None = None
    """Why nothing of the input is usable, so far or any more; None if something is."""

    @property
    def is_useless(self) -> bool:
        """Whether nothing was made of the input that a person would keep: no message was accepted."""
        return self.problem is not None and self.book.messages == 0


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """All that a worker tells other threads: the one attribute of it that they may read."""

    input: InputFigures | None = None
    """None until the input is looked for."""
    recovery_seconds: float | None = None
    """How long it took until the input stood at its place; None before that."""
    pipeline: PipelineFigures | None = None
    """None until the input stands at its place."""
    checkpoints: CheckpointFigures = field(default_factory=CheckpointFigures)

    @property
    def waiting_for(self) -> str | None:
        """What the input waits for; None when it does not wait, or is not looked for yet."""
        return self.input.waiting_for if self.input is not None else None

    @property
    def events_since_checkpoint(self) -> int | None:
        """Events that the newest checkpoint lacks; None until the input stands at its place."""
        return self.pipeline.book.events - self.checkpoints.events if self.pipeline is not None else None
