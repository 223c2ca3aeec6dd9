"""The page: the worst first, states that need no colour, and curves of what was seen."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from cowbook.telemetry.history import MOST_SAMPLES, History
from cowbook.telemetry.page import render_main

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


def symbol(symbol_id: str, state: str = "running", **more: object) -> dict[str, Any]:
    """As of /status."""
    usual = {"error": None, "waiting_for": None, "checkpoint_error": None, "events": 1000, "synced": True, "epoch": 1}
    return {"id": symbol_id, "state": state, **usual, "freeze_seconds": 0.001, **more}


def status(*symbols: dict[str, Any], ready: bool = True) -> dict[str, Any]:
    """As /status."""
    return {"version": "1.0", "started": "2026-01-01T00:00:00+00:00", "ready": ready, "symbols": list(symbols)}


def test_problems_come_first() -> None:
    """Failed, then what waits, then a checkpoint that failed, then an unsynced book, then what is well."""
    page = render_main(
        status(
            symbol("well"),
            symbol("unsynced", synced=False),
            symbol("checkpoint", checkpoint_error="disk full"),
            symbol("waiting", "waiting", waiting_for="a file"),
            symbol("failed", "failed", error="gap"),
            ready=False,
        ),
        History(),
        NOW,
    )
    assert re.findall(r'href="#book/(\w+)"', page) == ["failed", "waiting", "checkpoint", "unsynced", "well"]
    assert re.findall(r"<li>(.*?)</li>", page) == [
        "failed: failed: gap",
        "waiting: waiting: a file",
        "checkpoint failed: checkpoint: disk full",
    ]
    for sign in ("✗ failed", "… waiting", "✓ running", "! no", "not ready"):
        assert sign in page


def test_without_problems_it_says_so() -> None:
    """And has no list of them."""
    page = render_main(status(symbol("a")), History(), NOW)
    assert "No problems." in page
    assert "<li>" not in page


def test_a_name_is_a_link_to_its_book() -> None:
    """Whatever is in it."""
    page = render_main(status(symbol('BTC/USD "#&<é')), History(), NOW)
    assert 'href="#book/BTC%2FUSD%20%22%23%26%3C%C3%A9"' in page
    assert "BTC/USD &quot;#&amp;&lt;é" in page


def test_ages_and_rates_are_shown() -> None:
    """Of the last event and the last checkpoint; rates from two looks on."""
    history = History()
    looked = symbol("a", event_time="2026-01-01T00:09:18Z", checkpoint_time="2025-12-31T22:10:00Z")
    history.add(status(looked), 10.0)
    assert "1,500" not in render_main(status(looked), history, NOW)
    history.add(status(looked | {"events": 4000}), 12.0)
    page = render_main(status(looked), history, NOW)
    assert "42 s ago" in page
    assert "2 h ago" in page
    assert "; 1,500 events/s;" in page


def test_curves_have_a_point_for_each_look_and_bars_one_for_each_checkpoint() -> None:
    """They are bounded, and have a text for those who do not see them."""
    history = History()
    for place in range(3 * MOST_SAMPLES):
        history.add(
            status(symbol("a", events=1000 * place, epoch=place // 100, freeze_seconds=(place // 100 + 1) / 1e3)), float(place)
        )
    page = render_main(status(symbol("a")), history, NOW)
    (points,) = re.findall(r'points="([^"]*)"', page)
    assert len(points.split()) == MOST_SAMPLES
    assert page.count("<rect") == 5
    assert 'aria-label="events per second, at most 1,000"' in page
    assert 'aria-label="freezes of 5 checkpoints, at most 5.000 ms"' in page


def test_a_symbol_that_begins_anew_has_no_rate_and_one_that_is_gone_no_history() -> None:
    """Its count of events falls."""
    history = History()
    history.add(status(symbol("a"), symbol("b")), 0.0)
    history.add(status(symbol("a", events=10)), 1.0)
    assert history.symbols["a"].rate is None
    assert list(history.symbols) == ["a"]
    history.add(status(symbol("a", events=30)), 2.0)
    assert history.symbols["a"].rate == 20


def test_two_looks_at_once_make_no_rate() -> None:
    """Two pages that are open ask one after the other: the rate stays that of a second or more."""
    history = History()
    for time, events in ((0.0, 0), (2.0, 2000), (2.001, 2100), (4.0, 4000)):
        history.add(status(symbol("a", events=events)), time)
    assert list(history.symbols["a"].rates) == [1000, 1000]
