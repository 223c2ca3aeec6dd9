"""`cowbook status --watch`: what it shows, and in which order."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from cowbook.cli.main import main
from cowbook.cli.watch import watch
from cowbook.errors import ServiceError

HEALTHY = {
    "state": "running",
    "events": 1_000,
    "synced": True,
    "gaps": 0,
    "lag_bytes": 0,
    "event_time": "2026-01-01T00:00:00Z",
    "epoch": 3,
    "waiting_for": None,
    "error": None,
    "checkpoint_error": None,
}


def status(*symbols: dict[str, Any]) -> dict[str, Any]:
    """A status of these symbols."""
    return {"version": "9.9", "ready": True, "started": "2026-01-01T00:00:00+00:00", "symbols": list(symbols)}


def symbol(name: str, **fields: Any) -> dict[str, Any]:
    """A symbol that is well, but for these fields."""
    return HEALTHY | {"id": name} | fields


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "16")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the last screen, without colours."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\0", capsys.readouterr().out)
    lines = [line.replace("\0", "").rstrip() for line in text.split("\n")]
    return lines[max(place for place, line in enumerate(lines) if "cowbook 9.9" in line) :]


def test_problems_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Failed, then waiting, then what is not synced, then the rest as they are configured."""
    symbols = [
        symbol("WELL"),
        symbol("UNSYNCED", synced=False),
        symbol("WAITS", state="waiting", waiting_for="a*.gz"),
        symbol("FAILED", state="failed", error="a gap"),
        symbol("ALSO-WELL"),
    ]
    assert watch(lambda: status(*symbols), looks=1) == 1
    lines = shown(capsys)
    assert "2 running" not in lines[0]
    assert "3 running" in lines[0]
    assert lines[1:3] == ["failed: FAILED: a gap", "waiting: WAITS: a*.gz"]
    ids = [line.split()[0] for line in lines if re.match(r"[A-Z-]+ +(running|failed|waiting)", line)]
    assert ids == ["FAILED", "WAITS", "UNSYNCED", "WELL", "ALSO-WELL"]


def test_what_does_not_fit_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve symbols on sixteen lines; forty are more than fit."""
    assert watch(lambda: status(*(symbol(f"S{number}") for number in range(40))), looks=1) == 0
    lines = shown(capsys)
    assert len([line for line in lines if line]) <= 16
    assert any("and 29 more symbols" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_rates_are_between_two_looks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbol that has begun anew has none."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 2 * seconds))
    answers = iter([status(symbol("A"), symbol("B")), status(symbol("A", events=5_000), symbol("B", events=3))])
    assert watch(lambda: next(answers), looks=2) == 0
    cells = {line.split()[0]: line.split() for line in shown(capsys) if line.startswith(("A ", "B "))}
    assert cells["A"][2:4] == ["5,000", "2,000"]
    assert cells["B"][2:4] == ["3", "-"]


def test_a_service_that_goes_away_is_said_and_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The last answer stays."""
    answers = [status(symbol("A"))]

    def fetch() -> dict[str, Any]:
        if not answers:
            raise ServiceError("no answer from http://x")
        return answers.pop()

    assert watch(fetch, looks=2, pause=0.0) == 0
    lines = shown(capsys)
    assert lines[1].startswith("no answer from http://x: asked again")
    assert any(line.startswith("A ") for line in lines)


def test_no_answer_at_first_is_an_error() -> None:
    """As without --watch."""

    def fetch() -> dict[str, Any]:
        raise ServiceError("no answer")

    with pytest.raises(ServiceError):
        watch(fetch, looks=1)


def test_it_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file gets no screens."""
    assert main(["status", "--watch"]) == 2
    assert "--watch needs a terminal" in capsys.readouterr().err
