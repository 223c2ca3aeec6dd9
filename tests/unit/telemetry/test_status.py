"""What /status says, in every state of a symbol, and the line for systemd."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cowbook.symbol.figures import CheckpointFigures, InputFigures, KnownFigures, PipelineFigures, WorkerFigures
from cowbook.telemetry.metrics import STATES
from cowbook.telemetry.status import describe_known, is_ready, status_line, symbol_status
from support.figures import make_pipeline_figures

KEYS = [
    *("id", "state", "error", "waiting_for", "restarts", "last_error", "recovery_seconds", "warnings", "lag_bytes"),
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
]
"""Programs read these: one that goes or is renamed breaks them."""

SECOND = 1_000_000_000


def make_pipeline(**changes: Any) -> PipelineFigures:
    """What a worker would say of its pipeline."""
    known: dict[str, Any] = {
        "newest": 1_767_225_600 * SECOND + 999_999_999,
        "events": 1000,
        "messages": 20,
        "gaps": 3,
        "missing_updates": 4,
        "stale": 5,
        "depth_messages": 17,
        "compared": 12,
        "refuted": 1,
        "compared_unsynced": 2,
        "known": KnownFigures("9.50000000", None, bids_whole=False, asks_whole=True, time_total=40, time_best=30, time_grid=10),
        "witnesses": 6,
        "levels_compared": 60,
        "levels_wrong": 1,
        "levels_learned": 7,
        "tickers_near": 12,
        "tickers_far": 13,
        "kept_bytes": 14,
        "duplicate_trades": 8,
        "duplicate_messages": 9,
        "foreign_snapshots": 10,
        "time_resets": 11,
        "last_update_id": 77,
        "synced": True,
        "bid_levels": 2,
        "ask_levels": 3,
        "dead_letters": {"malformed": 1, "unknown": 2},
        "audits": {"bookTicker": {"matched": 9, "failed": 4}, "checksum": {"failed": 2}},
        "impact": 0.123456,
        "quiet_rate": 1234.6,
        "gaps_after_recovery": 1,
        "place": ("a", 9),
    }
    return make_pipeline_figures(**known | changes)


CHECKPOINTS = CheckpointFigures(epoch=8, events=900, timestamp=1_767_225_601 * SECOND, failed=2, freeze_seconds=0.000125)


def make_thread(
    state: str,
    *,
    pipeline: PipelineFigures | None = None,
    checkpoints: CheckpointFigures = CHECKPOINTS,
    waiting_for: str | None = None,
    name: str = "A",
) -> Any:
    """A symbol's thread, as far as it is looked at."""
    found = InputFigures(waiting_for=waiting_for, unread_bytes=55, warnings=("a", "b"))
    figures = WorkerFigures()
    if pipeline is not None:
        figures = WorkerFigures(found, 0.5, pipeline, checkpoints)
    elif waiting_for is not None:
        figures = WorkerFigures(found)
    return SimpleNamespace(id=name, state=state, restarts=2, last_error="disk full", figures=figures)


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
    "freeze_seconds": 0.000125,
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
    "compared_unsynced": 2,
    "known": {"bids": {"to": "9.50000000", "whole": False}, "asks": {"to": None, "whole": True}, "best": 0.75, "grid": 0.25},
    "snapshots_judged": 6,
    "levels_compared": 60,
    "levels_wrong": 1,
    "levels_learned": 7,
    "tickers_near": 12,
    "tickers_far": 13,
    "duplicate_trades": 8,
    "duplicate_messages": 9,
    "foreign_snapshots": 10,
    "time_resets": 11,
    "sources": [],
    "late_records": 0,
    "kept_bytes": 14,
    "gaps_after_recovery": 1,
    "events_per_busy_second": 1235,
    "throughput_impact": 0.1235,
}


def line_of(threads: Any) -> str:
    """The line about these, in the states that they are in."""
    return status_line(threads, [thread.state for thread in threads])


def test_a_running_symbol_has_every_field() -> None:
    """A running symbol's status has a value in every field."""
    status = symbol_status(make_thread("running", pipeline=make_pipeline()))
    assert status == FULL
    assert list(status) == KEYS


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("has_pipeline", [False, True])
def test_every_state_has_all_keys_as_json(state: str, has_pipeline: bool) -> None:
    """Every status is JSON with all keys. `error` is set while the symbol is failed or restarting, `last_error` always."""
    thread = make_thread(state, pipeline=make_pipeline() if has_pipeline else None, waiting_for="a file")
    status = symbol_status(thread)
    assert list(status) == KEYS
    json.dumps(status, allow_nan=False)
    assert status["error"] == ("disk full" if state in ("failed", "restarting") else None)
    assert status["last_error"] == "disk full"
    assert status["waiting_for"] == ("a file" if state == "waiting" else None)
    assert (status["events"] is not None) == has_pipeline


def test_before_the_first_worker_only_the_threads_fields_are_known() -> None:
    """Before there is a worker, only the thread's own fields are set."""
    status = symbol_status(make_thread("starting"))
    assert {key for key, value in status.items() if value is not None} == {"id", "state", "restarts", "last_error", "warnings"}


def test_unknown_values_are_null() -> None:
    """A value that is not known yet is null, not zero or 1970."""
    pipeline = make_pipeline(last_update_id=None, newest=None, impact=math.nan, quiet_rate=math.nan, place=None)
    status = symbol_status(make_thread("running", pipeline=pipeline, checkpoints=CheckpointFigures()))
    unknown = ("last_update_id", "event_time", "throughput_impact", "events_per_busy_second", "checkpoint_time", "epoch", "file")
    assert {key: status[key] for key in (*unknown, "offset")} == dict.fromkeys((*unknown, "offset"))
    json.dumps(status, allow_nan=False)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        pytest.param(("9.50000000", "11.00000000", False, False), "9.5 to 11", id="to_prices"),
        pytest.param(("100", None, False, True), "100 to all", id="asks_as_a_whole"),
        pytest.param((None, None, True, True), "all", id="as_a_whole"),
        pytest.param((None, None, False, False), "nothing", id="nothing"),
    ],
)
def test_known_depth_is_said_in_prices(figures: tuple[str | None, str | None, bool, bool], text: str) -> None:
    """How far bids and asks are known, as people write prices."""
    bids_to, asks_to, bids_whole, asks_whole = figures
    known = KnownFigures(bids_to, asks_to, bids_whole, asks_whole, time_total=0, time_best=0, time_grid=0)
    assert known.to_json()["best"] is None
    assert describe_known(known.to_json()) == text
    assert describe_known(None) is None


@pytest.mark.parametrize("state", STATES)
def test_only_starting_and_restarting_symbols_are_not_ready(state: str) -> None:
    """The service is ready unless a symbol is starting or restarting."""
    others = [make_thread("running"), make_thread(state)]
    assert is_ready([each.state for each in others]) == (state not in ("starting", "restarting"))
    assert is_ready([])


def test_the_status_line_names_states_sums_and_the_first_problem() -> None:
    """The line has the states in the order of the symbols, sums, the newest checkpoint, and the first problem."""
    running = make_thread("running", pipeline=make_pipeline())
    newest = replace(CHECKPOINTS, timestamp=1_767_225_700 * SECOND)
    threads = [running, make_thread("done", pipeline=make_pipeline(), checkpoints=newest), running]
    assert line_of(threads) == "2 running, 1 done; 3,000 events; newest checkpoint 2026-01-01T00:01:40Z"
    waiting = make_thread("waiting", waiting_for="a file", name="W")
    assert line_of([waiting]) == "1 waiting; 0 events; W waits for a file"
    failed = make_thread("failed", name="F")
    assert line_of([waiting, failed]) == "1 waiting, 1 failed; 0 events; F: disk full; and 1 more"
    failed.last_error = "x" * 1000
    assert len(line_of([failed])) < 300
