"""The status of a running service: the JSON of /status, and one line for systemd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cowbook.symbol.figures import PipelineFigures, WorkerFigures
    from cowbook.symbol.symbol_thread import SymbolThread

_FIELDS = (
    *(
        "epoch",
        "checkpoint_time",
        "events_since_checkpoint",
        "checkpoints_failed",
        "checkpoint_error",
        "freeze_seconds",
        "events",
        "messages",
        "gaps",
        "stale",
    ),
    *("missing_updates", "synced", "last_update_id", "event_time", "levels", "dead_letters", "audits_failed", "file", "offset"),
    *("depth_messages", "compared", "refuted", "compared_unsynced"),
    *("known", "snapshots_judged", "levels_compared", "levels_wrong", "levels_learned", "tickers_near", "tickers_far"),
    *("duplicate_trades", "duplicate_messages", "foreign_snapshots", "time_resets"),
    *("sources", "late_records"),
    *("kept_bytes", "gaps_after_recovery", "events_per_busy_second", "throughput_impact"),
)
"""Fields of a symbol's status that are null until it has recovered."""

_SHOWN_WARNINGS = 10
TROUBLED = ("failed", "lost", "unusable", "restarting", "waiting", "starting", "moving")
"""States of symbols that are not running, the worst first. `lost` and `moving` are those of a shard on other machines."""
_UNSETTLED = ("starting", "restarting")


def is_ready(states: Sequence[str]) -> bool:
    """Returns whether no symbol is starting or restarting any more, by their states."""
    return all(state not in _UNSETTLED for state in states)


def empty_status(symbol_id: str) -> dict[str, Any]:
    """Returns the status of a symbol of which nothing is known yet."""
    own = ("error", "waiting_for", "last_error", "recovery_seconds", "lag_bytes", *_FIELDS)
    return {"id": symbol_id, "state": "starting", "restarts": 0, "warnings": []} | dict.fromkeys(own)


def symbol_status(thread: SymbolThread) -> dict[str, Any]:
    """Returns one symbol's status as JSON values. Times are ISO 8601, and unknown values are None."""
    state, figures = thread.state, thread.figures
    found = figures.input
    problem = figures.pipeline.problem if figures.pipeline is not None and state == "unusable" else None
    status: dict[str, Any] = {
        "id": thread.id,
        "state": state,
        "error": thread.last_error if state in ("failed", "restarting") else problem,
        "waiting_for": figures.waiting_for if state == "waiting" else None,
        "restarts": thread.restarts,
        "last_error": thread.last_error,
        "recovery_seconds": figures.recovery_seconds,
        "warnings": list(found.warnings[-_SHOWN_WARNINGS:]) if found is not None else [],
        "lag_bytes": found.unread_bytes if found is not None and state != "failed" else None,
    }
    status |= dict.fromkeys(_FIELDS)
    if figures.pipeline is not None:
        status |= _pipeline_status(figures, figures.pipeline)
    return status


def _pipeline_status(figures: WorkerFigures, pipeline: PipelineFigures) -> dict[str, Any]:
    """Returns the fields in _FIELDS of a symbol that has recovered."""
    book, checkpoints = pipeline.book, figures.checkpoints
    file, offset = pipeline.place or (None, None)
    return {
        "epoch": checkpoints.epoch or None,
        "checkpoint_time": _iso(checkpoints.timestamp) if checkpoints.timestamp else None,
        "events_since_checkpoint": figures.events_since_checkpoint,
        "checkpoints_failed": checkpoints.failed,
        "checkpoint_error": checkpoints.last_error,
        "freeze_seconds": checkpoints.freeze_seconds,
        "events": book.events,
        "messages": book.messages,
        "gaps": book.gaps,
        "missing_updates": book.missing_updates,
        "stale": book.stale,
        "synced": book.synced,
        "last_update_id": book.last_update_id,
        "event_time": _iso(book.newest) if book.newest is not None else None,
        "levels": book.bid_levels + book.ask_levels,
        "dead_letters": sum(book.dead_letters.values()),
        "audits_failed": sum(outcomes["failed"] for outcomes in book.audits.values()),
        "file": file,
        "offset": offset,
        "depth_messages": book.depth_messages,
        "compared": book.compared,
        "refuted": book.refuted,
        "compared_unsynced": book.compared_unsynced,
        "known": book.known.to_json(),
        "snapshots_judged": book.witnesses,
        "levels_compared": book.levels_compared,
        "levels_wrong": book.levels_wrong,
        "levels_learned": book.levels_learned,
        "tickers_near": book.tickers_near,
        "tickers_far": book.tickers_far,
        "duplicate_trades": book.duplicate_trades,
        "duplicate_messages": book.duplicate_messages,
        "foreign_snapshots": book.foreign_snapshots,
        "time_resets": book.time_resets,
        "sources": [source.to_json() for source in pipeline.sources],
        "late_records": sum(source.late_records for source in pipeline.sources),
        "kept_bytes": book.kept_bytes,
        "gaps_after_recovery": pipeline.gaps_after_recovery,
        "events_per_busy_second": round(pipeline.quiet_rate) if not math.isnan(pipeline.quiet_rate) else None,
        "throughput_impact": round(pipeline.impact, 4) if not math.isnan(pipeline.impact) else None,
    }


def urgency(symbol: Mapping[str, Any]) -> int:
    """Where a symbol stands in a list, by its status: problems come first."""
    if symbol["state"] in TROUBLED:
        return TROUBLED.index(symbol["state"])
    if symbol["checkpoint_error"]:
        return len(TROUBLED)
    return len(TROUBLED) + (1 if symbol["synced"] is False else 2)


def problems_of(symbol: Mapping[str, Any]) -> list[str]:
    """What is wrong with a symbol, by its status: a line each."""
    why = symbol["waiting_for"] or symbol["error"]
    problems = [f"{symbol['state']}: {symbol['id']}: {why}"] if why else []
    if symbol["checkpoint_error"]:
        problems.append(f"checkpoint failed: {symbol['id']}: {symbol['checkpoint_error']}")
    return problems


def describe_known(known: dict[str, Any] | None) -> str | None:
    """Returns a status' `known` as text for people: `<lowest known bid> to <highest known ask>`. None stands for None."""
    if known is None:
        return None
    bids, asks = (
        "all" if side["whole"] else "nothing" if side["to"] is None else _shorten(side["to"])
        for side in (known["bids"], known["asks"])
    )
    return bids if bids == asks else f"{bids} to {asks}"


def _shorten(price: str) -> str:
    return price.rstrip("0").rstrip(".") if "." in price else price


def status_line(threads: Sequence[SymbolThread], states: Sequence[str]) -> str:
    """Returns one line about all symbols: their states, events, newest checkpoint and first problem."""
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    events = newest = 0
    troubled = [thread for thread, state in zip(threads, states, strict=True) if state in ("failed", "restarting")]
    notes = [f"{thread.id}: {thread.last_error}" for thread in troubled]
    for thread in threads:
        figures = thread.figures
        if figures.waiting_for is not None:
            notes.append(f"{thread.id} waits for {figures.waiting_for}")
        if figures.pipeline is not None:
            events += figures.pipeline.book.events
            newest = max(newest, figures.checkpoints.timestamp)
            if figures.pipeline.problem is not None:
                notes.append(f"{thread.id}: {figures.pipeline.problem}")
            if figures.checkpoints.last_error is not None:
                notes.append(f"{thread.id}: checkpoint failed: {figures.checkpoints.last_error}")
    text = f"{counts}; {events:,} events"
    if newest:
        text += f"; newest checkpoint {_iso(newest)}"
    return text + (f"; {notes[0][:200]}" if notes else "") + (f"; and {len(notes) - 1} more" if len(notes) > 1 else "")


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")
