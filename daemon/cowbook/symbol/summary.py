"""The result of a symbol's run, for tables, JSON and tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class SymbolSummary:
    """The result of a symbol's run. Counts are since the start of its input; parts, checkpoints and `seconds` are of this run."""

    id: str
    state: str = "done"  # done | failed
    error: str | None = None
    events: int = 0
    messages: int = 0
    gaps: int = 0
    missing_updates: int = 0
    stale: int = 0
    stale_snapshots: int = 0
    foreign_snapshots: int = 0  # that no diff of the symbol joined
    replaced_witnesses: int = 0  # that waited when a better one came
    time_resets: int = 0
    duplicate_trades: int = 0
    duplicate_messages: int = 0
    late_records: int = 0  # of sources that others had gone on without
    other_symbol: int = 0
    unused: int = 0
    crossed: int = 0
    locked: int = 0
    witnesses: int = 0  # depth snapshots that judged the book
    levels_compared: int = 0  # by them
    levels_wrong: int = 0  # of these, inside of what was known
    levels_learned: int = 0  # that they showed beyond what was known
    drift_rows: int = 0  # comparisons with a snapshot, also with one that replaced an unsynced book
    drift_levels: int = 0  # levels that were missing, extra or different in these rows
    known: dict[str, Any] = field(default_factory=dict)  # bids, asks: to, whole; shares of event time: best, grid
    dead_letters: dict[str, int] = field(default_factory=dict)  # by reason
    audits: dict[str, dict[str, int]] = field(default_factory=dict)  # by kind, then outcome
    depth_messages: int = 0  # applied
    compared: int = 0  # of these, those after which the book was compared with something
    compared_unsynced: int = 0  # of these, those after which it was not synced, so that nothing is proved
    refuted: int = 0  # of the others, those where a comparison failed
    tickers_near: int = 0  # tickers without ids that show a state which the book had within 8 depth messages
    tickers_far: int = 0  # those that do not
    sources: list[dict[str, Any]] = field(default_factory=list)  # what came of each, if there are several
    synced: bool = False
    parts: int = 0
    part_bytes: int = 0
    checkpoints: int = 0  # committed in this run
    checkpoints_failed: int = 0
    recovered_epoch: int | None = None  # the checkpoint that this run went on from
    recovered_events: int = 0  # number of events in that checkpoint
    recovery_seconds: float = 0.0
    gaps_after_recovery: int = 0
    restarts: int = 0  # of the symbol's worker, after storage had failed
    input_bytes: int = 0  # decoded
    seconds: float = 0.0
    output: str = ""
    warnings: list[str] = field(default_factory=list)
    days: npt.NDArray[np.void] | None = field(default=None, compare=False)  # DAY_ROWs, of which verdicts are made
