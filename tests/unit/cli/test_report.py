"""`cowbook report`: the same of a state directory and of an output directory, as far as both know it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.cli.main import main
from cowbook.report.day_report import DayQuality, read_report
from support.generated_captures import make_lines
from support.harness import Run, reconstruct


def lines_of_days() -> bytes:
    """Three days of diffs with a gap, a dead letter, a refuted and some proven books, and late and untimely ones."""
    day = 86_400_000
    lines = []
    number = 10
    for place in range(3):
        start = 1_700_000_000_000 // day * day + place * day
        lines.append({"lastUpdateId": number, "E": start + 1, "bids": [["1.5", "1"]], "asks": [["2.5", "1"]]})
        for step in range(4):
            number += 3 if (place, step) == (1, 2) else 1
            diff = {
                "e": "depthUpdate",
                "E": start + 10 * step,
                "s": "X",
                "U": number,
                "u": number,
                "b": [["1.25", f"{step + 1}"]],
                "a": [],
            }
            lines.append(diff)
            if step == place:
                best = "1.5" if place else "1.4"
                lines.append({"u": number, "s": "X", "b": best, "B": "1", "a": "2.5", "A": "1"})
        lines.append({"e": "trade", "E": start - 5, "T": start - 5, "s": "X", "t": place, "p": "1.5", "q": "1", "m": True})
    text = "\n".join(json.dumps(line) for line in lines[:7]) + "\nnonsense\n" + "\n".join(json.dumps(line) for line in lines[7:])
    return text.encode() + b"\n"


def test_each_count_stands_on_its_day(tmp_path: Path) -> None:
    """Each count stands on its day."""
    result = reconstruct(tmp_path, {"a": lines_of_days()}, Run("X", engine=EngineSettings(part_events=3)))
    assert result.summary.state == "done"
    assert (result.summary.depth_messages, result.summary.compared, result.summary.refuted) == (15, 3, 1)
    days = read_report(tmp_path / "state")
    assert [day.day for day in days] == ["2023-11-14", "2023-11-15", "2023-11-16"]
    assert [day.events for day in days] == [7, 7, 7]
    assert [day.gaps for day in days] == [0, 1, 0]
    assert [day.missing_updates for day in days] == [0, 2, 0]
    assert [day.dead_letters for day in days] == [1, 0, 0]
    assert [(day.depth_messages, day.compared, day.refuted, day.uncheckable) for day in days] == [
        (5, 1, 1, 4),
        (5, 1, 0, 4),
        (5, 1, 0, 4),
    ]
    assert [day.verified_percent for day in days] == [0, 20, 20]
    # Behind the refuted one (its own rows were there before), and behind the gap; the next day's snapshot mends it.
    assert [(day.synced_events, day.depth_events) for day in days] == [(3, 6), (4, 6), (6, 6)]
    same_of_parts(tmp_path, days)


def same_of_parts(directory: Path, days: list[DayQuality]) -> None:
    """The report of the output says the same as that of the state, but for what it cannot know."""
    unknown = {"depth_messages": None, "compared": None}
    of_parts = [replace(day, refuted=day.refuted or 0, **unknown) for day in read_report(directory / "data")]  # type: ignore[arg-type]
    for day in of_parts:
        assert len(day.gap_sizes or ()) == day.gaps
        assert sum(size or 0 for size in day.gap_sizes or ()) == day.missing_updates
        day.gap_sizes = None
    # Refuted ones are written while synced only; crossed books by bbo's rows.
    expected = [replace(day, refuted=0, crossed=0, **unknown) for day in days]  # type: ignore[arg-type]
    assert [replace(day, refuted=0, crossed=0) for day in of_parts] == expected


@pytest.mark.parametrize("seed", range(6))
def test_reports_from_state_and_from_output_agree(tmp_path: Path, seed: int) -> None:
    """State and output agree on captures with everything wrong in them, after checkpoints anywhere."""
    lines, style = make_lines(random.Random(seed), 150)
    content = b"".join(line + b"\n" for line in lines)
    engine, triggers = EngineSettings(part_events=50), TriggerSettings(40, 10**12, 0)
    run = Run("BTCUSDT", price_decimals=style.decimals[0], size_decimals=style.decimals[1], engine=engine, triggers=triggers)
    reconstruct(tmp_path, {"a": content[: len(content) // 2].rpartition(b"\n")[0] + b"\n"}, run)
    result = reconstruct(tmp_path, {"a": content}, run)
    days = read_report(tmp_path / "state")
    assert sum(day.events for day in days) == result.summary.events
    assert sum(day.gaps for day in days) == result.summary.gaps
    assert sum(day.crossed for day in days) == result.summary.crossed
    same_of_parts(tmp_path, days)


def test_a_report_is_a_table_json_or_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, JSON, Markdown; what is unknown is a question mark."""
    reconstruct(tmp_path, {"a": lines_of_days()}, Run("a|b", symbol="X"))
    assert main(["report", str(tmp_path / "state")]) == 0
    table = capsys.readouterr().out
    assert "20.00 %" in table
    assert table.count("2023-11-1") == 3
    assert main(["report", str(tmp_path / "data"), "--json", "--symbol", "a|b"]) == 0
    days = json.loads(capsys.readouterr().out)
    assert [day["gaps"] for day in days] == [0, 1, 0]
    assert [day["gap_sizes"] for day in days] == [None, [2], None]
    assert {day["verified_percent"] for day in days} == {None}
    assert days[0]["first_time"].startswith("2023-11-14T00:00:00")
    assert main(["report", str(tmp_path / "data"), "--markdown"]) == 0
    markdown = capsys.readouterr().out.splitlines()
    assert len(markdown) == 5
    assert markdown[2].startswith("| a&#124;b | 2023-11-14 | 7 | ? | 1 | ? | ")


@pytest.mark.parametrize("missing", [True, False])
def test_a_directory_of_neither_kind_is_an_error_that_says_what_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: bool
) -> None:
    """Says what to name."""
    directory = tmp_path / "none" if missing else tmp_path
    assert main(["report", str(directory)]) == 1
    assert ("cannot be read" if missing else "neither checkpoints nor parts") in capsys.readouterr().err


def test_a_missing_symbol_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there is said to be so."""
    reconstruct(tmp_path, {"a": lines_of_days()}, Run("X"))
    for name in ("state", "data"):
        assert main(["report", str(tmp_path / name), "--symbol", "Y"]) == 1
        assert "nothing of symbol Y" in capsys.readouterr().err
