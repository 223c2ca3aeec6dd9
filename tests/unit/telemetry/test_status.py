"""What /status says, in every state of a symbol, and the line for systemd."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from cowbook.plain.messages import NONE
from cowbook.telemetry.metrics import STATES
from cowbook.telemetry.status import is_ready, status_line, symbol_status

KEYS = [
    *("id", "state", "error", "waiting_for", "restarts", "last_error", "recovery_seconds", "warnings", "lag_bytes"),
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
]
"""Programs read these: one that goes or is renamed breaks them."""

SECOND = 1_000_000_000


def make_pipeline(**changes: Any) -> Any:
    """What a worker would work with."""
    values = {"newest": 1_767_225_600 * SECOND + 999_999_999, "messages": 20, "gaps": 3, "missing_updates": 4, "stale": 5}
    values |= {"diffs": 15, "snapshots": 2, "compared": 12, "refuted": 1}
    known = {
        "last_id": 77,
        "impact": 0.123456,
        "rate": 1234.6,
        "last_timestamp": 1_767_225_601 * SECOND,
        "last_epoch": 8,
        "place": ("a", 9),
    } | changes
    return SimpleNamespace(
        engine=SimpleNamespace(
            value=lambda name: (values | known)[name],
            last_id=known["last_id"],
            event_count=1000,
            synced=True,
            bids=[0] * 2,
            asks=[0] * 3,
            dead_letter_statistics=lambda: {"malformed": 1, "unknown": 2},
            audit_statistics=lambda: {"bookTicker": {"matched": 9, "failed": 4}, "checksum": {"failed": 2}},
        ),
        checkpointer=SimpleNamespace(
            figures=SimpleNamespace(
                last_error=None,
                epoch=known["last_epoch"],
                timestamp=known["last_timestamp"],
                events=900,
                failed=2,
            )
        ),
        throughput=SimpleNamespace(
            impact_ratio=known["impact"], rate=lambda persisting: math.nan if persisting else known["rate"]
        ),
        gaps_after_recovery=1,
        place=known["place"],
    )


def make_thread(state: str, *, pipeline: Any = None, waiting_for: str | None = None, name: str = "A") -> Any:
    """A symbol's thread, as far as it is looked at."""
    follower = SimpleNamespace(waiting_for=waiting_for, unread_bytes=55)
    recovery_seconds = 0.5 if pipeline is not None else None
    worker = SimpleNamespace(follower=follower, pipeline=pipeline, recovery_seconds=recovery_seconds, new_warnings=("a", "b"))
    has_worker = pipeline is not None or waiting_for is not None
    return SimpleNamespace(id=name, state=state, restarts=2, last_error="disk full", worker=worker if has_worker else None)


FULL = {
    "id": "A",
    "state": "running",
    "error": None,
    "waiting_for": None,
    "restarts": 2,
    "last_error": "disk full",
    "recovery_seconds": 0.5,
    "warnings": ["a", "b"],
    "lag_bytes": 55,
    "epoch": 8,
    "checkpoint_time": "2026-01-01T00:00:01Z",
    "events_since_checkpoint": 100,
    "checkpoints_failed": 2,
    "checkpoint_error": None,
    "events": 1000,
    "messages": 20,
    "gaps": 3,
    "stale": 5,
    "missing_updates": 4,
    "synced": True,
    "last_update_id": 77,
    "event_time": "2026-01-01T00:00:00Z",
    "levels": 5,
    "dead_letters": 3,
    "audits_failed": 6,
    "file": "a",
    "offset": 9,
    "depth_messages": 17,
    "compared": 12,
    "refuted": 1,
    "gaps_after_recovery": 1,
    "events_per_busy_second": 1235,
    "throughput_impact": 0.1235,
}


def test_running() -> None:
    """Everything is known."""
    status = symbol_status(make_thread("running", pipeline=make_pipeline()))
    assert status == FULL
    assert list(status) == KEYS


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("has_pipeline", [False, True])
def test_keys_are_always_there(state: str, has_pipeline: bool) -> None:
    """And all is JSON, with null for what is not known; an error is one while it holds, the last one always."""
    thread = make_thread(state, pipeline=make_pipeline() if has_pipeline else None, waiting_for="a file")
    status = symbol_status(thread)
    assert list(status) == KEYS
    json.dumps(status, allow_nan=False)
    assert status["error"] == ("disk full" if state in ("failed", "restarting") else None)
    assert status["last_error"] == "disk full"
    assert status["waiting_for"] == ("a file" if state == "waiting" else None)
    assert (status["events"] is not None) == has_pipeline


def test_before_there_is_a_worker() -> None:
    """Only what the thread knows."""
    status = symbol_status(make_thread("starting"))
    assert {key for key, value in status.items() if value is not None} == {"id", "state", "restarts", "last_error", "warnings"}


def test_nothing_happened_yet() -> None:
    """What has no value yet is null, not zero or 1970."""
    pipeline = make_pipeline(
        last_id=NONE, newest=NONE, impact=math.nan, rate=math.nan, last_timestamp=0, last_epoch=0, place=None
    )
    status = symbol_status(make_thread("running", pipeline=pipeline))
    unknown = ("last_update_id", "event_time", "throughput_impact", "events_per_busy_second", "checkpoint_time", "epoch", "file")
    assert {key: status[key] for key in (*unknown, "offset")} == dict.fromkeys((*unknown, "offset"))
    json.dumps(status, allow_nan=False)


@pytest.mark.parametrize("state", STATES)
def test_is_ready(state: str) -> None:
    """Unless a symbol is starting or restarting."""
    others = [make_thread("running"), make_thread(state)]
    assert is_ready(others) == (state not in ("starting", "restarting"))
    assert is_ready([])


def test_status_line() -> None:
    """At a glance: states in the order of the symbols, sums, the newest checkpoint, and the first thing that is wrong."""
    one, other = make_pipeline(), make_pipeline(last_timestamp=1_767_225_700 * SECOND)
    threads = [make_thread("running", pipeline=one), make_thread("done", pipeline=other), make_thread("running", pipeline=one)]
    assert status_line(threads) == "2 running, 1 done; 3,000 events; newest checkpoint 2026-01-01T00:01:40Z"
    waiting = make_thread("waiting", waiting_for="a file", name="W")
    assert status_line([waiting]) == "1 waiting; 0 events; W waits for a file"
    failed = make_thread("failed", name="F")
    assert status_line([waiting, failed]) == "1 waiting, 1 failed; 0 events; F: disk full; and 1 more"
    failed.last_error = "x" * 1000
    assert len(status_line([failed])) < 300
