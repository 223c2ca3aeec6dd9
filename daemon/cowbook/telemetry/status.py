"""What a running service says of itself: the JSON of /status, and one line for systemd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cowbook.plain.messages import NONE

if TYPE_CHECKING:
    from cowbook.symbol.symbol_thread import SymbolThread

_FIELDS = (
    *(
        "epoch",
        "checkpoint_time",
        "events_since_checkpoint",
        "checkpoints_failed",
        "checkpoint_error",
        "events",
        "messages",
        "gaps",
        "stale",
    ),
    *("missing_updates", "synced", "last_update_id", "event_time", "levels", "dead_letters", "audits_failed", "file", "offset"),
    *("depth_messages", "compared", "refuted"),
    *("gaps_after_recovery", "events_per_busy_second", "throughput_impact"),
)
"""What is known of a symbol only once it has recovered."""

_SHOWN_WARNINGS = 10
_UNSETTLED = ("starting", "restarting")


def is_ready(threads: Sequence[SymbolThread]) -> bool:
    """Whether every symbol stands at its place, waits for its input, or has ended."""
    return all(thread.state not in _UNSETTLED for thread in threads)


def symbol_status(thread: SymbolThread) -> dict[str, Any]:
    """One symbol, as JSON values; times as ISO 8601. What is not known yet is null."""
    worker = thread.worker
    follower = worker.follower if worker is not None else None
    pipeline = worker.pipeline if worker is not None else None
    status: dict[str, Any] = {
        "id": thread.id,
        "state": thread.state,
        "error": thread.last_error if thread.state in ("failed", "restarting") else None,
        "waiting_for": follower.waiting_for if follower is not None and thread.state == "waiting" else None,
        "restarts": thread.restarts,
        "last_error": thread.last_error,
        "recovery_seconds": worker.recovery_seconds if worker is not None else None,
        "warnings": list(worker.new_warnings[-_SHOWN_WARNINGS:]) if worker is not None else [],
        "lag_bytes": follower.unread_bytes if follower is not None and thread.state != "failed" else None,
    }
    status |= dict.fromkeys(_FIELDS)
    if pipeline is None:
        return status
    engine, figures = pipeline.engine, pipeline.checkpointer.figures
    newest, last_id, impact = engine.value("newest"), engine.last_id, pipeline.throughput.impact_ratio
    rate = pipeline.throughput.rate(persisting=False)
    status |= {
        "epoch": figures.epoch or None,
        "checkpoint_time": _iso(figures.timestamp) if figures.timestamp else None,
        "events_since_checkpoint": engine.event_count - figures.events,
        "checkpoints_failed": figures.failed,
        "checkpoint_error": figures.last_error,
        "events": engine.event_count,
        "messages": engine.value("messages"),
        "gaps": engine.value("gaps"),
        "missing_updates": engine.value("missing_updates"),
        "stale": engine.value("stale"),
        "synced": engine.synced,
        "last_update_id": None if last_id == NONE else last_id,
        "event_time": None if newest == NONE else _iso(newest),
        "levels": len(engine.bids) + len(engine.asks),
        "dead_letters": sum(engine.dead_letter_statistics().values()),
        "audits_failed": sum(outcomes["failed"] for outcomes in engine.audit_statistics().values()),
        "depth_messages": engine.value("diffs") + engine.value("snapshots"),
        "compared": engine.value("compared"),
        "refuted": engine.value("refuted"),
        "gaps_after_recovery": pipeline.gaps_after_recovery,
        "events_per_busy_second": round(rate) if not math.isnan(rate) else None,
        "throughput_impact": round(impact, 4) if not math.isnan(impact) else None,
    }
    if pipeline.place is not None:
        status["file"], status["offset"] = pipeline.place
    return status


def status_line(threads: Sequence[SymbolThread]) -> str:
    """What there is to know at a glance."""
    states = [thread.state for thread in threads]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    events = newest = 0
    notes = [f"{thread.id}: {thread.last_error}" for thread in threads if thread.state in ("failed", "restarting")]
    for thread in threads:
        worker = thread.worker
        if worker is not None and worker.follower is not None and worker.follower.waiting_for is not None:
            notes.append(f"{thread.id} waits for {worker.follower.waiting_for}")
        if worker is not None and worker.pipeline is not None:
            figures = worker.pipeline.checkpointer.figures
            events += worker.pipeline.engine.event_count
            newest = max(newest, figures.timestamp)
            if figures.last_error is not None:
                notes.append(f"{thread.id}: checkpoint failed: {figures.last_error}")
    text = f"{counts}; {events:,} events"
    if newest:
        text += f"; newest checkpoint {_iso(newest)}"
    return text + (f"; {notes[0][:200]}" if notes else "") + (f"; and {len(notes) - 1} more" if len(notes) > 1 else "")


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")
