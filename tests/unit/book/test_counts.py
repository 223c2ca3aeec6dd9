"""Counts that people read agree with each other, whatever is in a capture."""

from __future__ import annotations

import pytest

from support.generated_captures import make_capture
from support.oracle_pipeline import Pipeline

COUNTS = ("compared", "compared_unsynced", "refuted", "unsynced_messages", "witnesses", "levels_wrong", "duplicate_trades")


@pytest.mark.parametrize("seed", range(30))
def test_words_mean_what_they_say(seed: int) -> None:
    """Only a synced book is refuted; each depth message is counted under one word; days add up to the whole."""
    capture = make_capture(seed, 120)
    pipeline = Pipeline(capture.settings)
    pipeline.run(capture.files, 1 << 20)
    engine = pipeline.engine
    value, audits = engine.value, engine.audit_statistics()
    messages = value("diffs") + value("snapshots") + value("witnesses")
    comparable = value("compared") - value("compared_unsynced")
    assert value("refuted") == sum(outcomes["failed"] for outcomes in audits.values())
    assert 0 <= value("refuted") <= comparable <= value("compared") <= messages
    assert value("early_messages") <= value("unsynced_messages") <= messages
    assert value("synced_events") <= value("depth_events")
    assert (value("levels_wrong") > 0) == (audits["snapshot"]["failed"] > 0)
    assert value("witnesses") == sum(audits["snapshot"].values())
    for name in ("time_best_known", "time_grid_known"):
        assert 0 <= value(name) <= value("time_total")
    days = engine.days()
    if messages:
        assert {name: int(days[-1][name]) for name in COUNTS} == {name: value(name) for name in COUNTS}
        assert int(days[-1]["depth_messages"]) == messages
