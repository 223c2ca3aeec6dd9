"""`cowbook report`: the same of a state directory and of an output directory, as far as both know it."""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.cli.main import main
from cowbook.report.day_report import DayQuality, read_report
from cowbook.report.verdict import WORDS, Verdict, judge_day
from support.generated_captures import make_lines
from support.harness import Run, reconstruct

FIGURES = [field.name for field in fields(DayQuality)]

DAY = 86_400_000
START = 1_700_000_000_000 // DAY * DAY


def lines_of_days() -> bytes:
    """Three days of diffs with a gap, a dead letter, a refuted and some proven books, and late and untimely ones."""
    lines = []
    number = 10
    for place in range(3):
        start = START + place * DAY
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
    result = reconstruct(tmp_path, {"a": lines_of_days()}, Run("X", engine=EngineSettings(part_events=4)))
    assert result.summary.state == "done"
    assert (result.summary.depth_messages, result.summary.compared, result.summary.refuted) == (15, 3, 1)
    days = read_report(tmp_path / "state")
    assert [day.day for day in days] == ["2023-11-14", "2023-11-15", "2023-11-16"]
    assert [day.events for day in days] == [9, 9, 9]
    assert [day.gaps for day in days] == [0, 1, 0]
    assert [day.missing_updates for day in days] == [0, 2, 0]
    assert [day.dead_letters for day in days] == [1, 0, 0]
    assert [(day.depth_messages, day.compared, day.refuted, day.uncheckable) for day in days] == [
        (5, 1, 1, 4),
        (5, 1, 0, 4),
        (5, 1, 0, 4),
    ]
    assert [(day.verified, day.comparable) for day in days] == [(0, 1), (1, 1), (1, 1)]
    assert [day.verified_percent for day in days] == [0, 100, 100]
    assert [day.comparable_percent for day in days] == [20, 20, 20]
    # Behind the refuted one (its own rows were there before), and behind the gap; the next day's snapshot mends it.
    assert [(day.synced_events, day.depth_events) for day in days] == [(5, 8), (6, 8), (8, 8)]
    same_of_parts(tmp_path, days)
    of_parts = read_report(tmp_path / "data")
    assert [(day.first_time, day.last_time) for day in of_parts] == [(day.first_time, day.last_time) for day in days]


def same_of_parts(directory: Path, days: list[DayQuality]) -> None:
    """The report of the output says the same as that of the state, but for what it cannot know."""
    times = {"first_time": None, "last_time": None}
    nothing = DayQuality("", "")
    unknown: dict[str, Any] = {name: None for name in FIGURES if getattr(nothing, name) is None and not name.startswith("gap_")}
    unknown["first_snapshot_time"] = 0
    # A message may have no rows, so that parts do not know its time.
    of_parts = [replace(day, **times) for day in read_report(directory / "data")]  # type: ignore[arg-type]
    assert [(day.gap_times, day.gap_sizes) for day in of_parts] == [(day.gap_times, day.gap_sizes) for day in days]
    for day in of_parts:
        assert len(day.gap_sizes or ()) == day.gaps
        assert sum(size or 0 for size in day.gap_sizes or ()) == day.missing_updates
        assert len(day.gap_times or ()) == day.gaps
        assert {name: getattr(day, name) for name in unknown} == unknown
    # Crossed books are those of bbo's rows.
    expected = [replace(day, crossed=0, **unknown) for day in days]
    assert [replace(day, crossed=0) for day in of_parts] == expected
    for day, of_state in zip(of_parts, days, strict=True):
        assert judge_day(day).word in ("no fault found", judge_day(of_state).word)


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


def test_a_report_is_two_tables_json_or_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, JSON, Markdown: days, totals and a legend; what is unknown is a question mark."""
    reconstruct(tmp_path, {"a": lines_of_days()}, Run("a|b", symbol="X"))
    assert main(["report", str(tmp_path / "state")]) == 0
    table = capsys.readouterr().out
    assert "1 of 1" in table
    assert table.count("2023-11-1") == 6
    assert table.count("total") == 2
    assert "proved: 1 day, gap: 2 days" in table
    assert all(meaning in table for meaning in WORDS.values())
    assert main(["report", str(tmp_path / "data"), "--json", "--symbol", "a|b"]) == 0
    report = json.loads(capsys.readouterr().out)
    days = report["days"]
    assert [day["gaps"] for day in days] == [0, 1, 0]
    assert [day["gap_sizes"] for day in days] == [None, [2], None]
    assert [day["verdict"] for day in days] == ["gap", "gap", "no fault found"]
    assert {day["verified_percent"] for day in days} == {None}
    assert days[0]["first_time"].startswith("2023-11-14T00:00:00")
    assert report["total"]["gaps"] == 1
    assert report["total"]["depth_messages"] is None
    assert report["total"]["verdicts"] == {"gap": 2, "no fault found": 1}
    assert report["legend"].items() >= WORDS.items()
    assert main(["report", str(tmp_path / "data"), "--markdown"]) == 0
    markdown = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in markdown].count("| ") == 2 * 6
    assert markdown[2].startswith("| a&#124;b | 2023-11-14 | gap | 62.50 % | ? | ? | 1 ticker failed |")
    assert markdown[9].startswith("| a&#124;b | 2023-11-14 | 9 | ? | 1 | ? | ")
    assert markdown[-1].startswith("* **first, last**: ")


def test_totals_are_the_sums_of_all_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The totals of the state are the summary's counts."""
    result = reconstruct(tmp_path, {"a": lines_of_days()}, Run("X"))
    capsys.readouterr()
    assert main(["report", str(tmp_path / "state"), "--json"]) == 0
    total, summary = json.loads(capsys.readouterr().out)["total"], result.summary
    for name in ("events", "depth_messages", "compared", "compared_unsynced", "refuted", "gaps", "missing_updates", "crossed"):
        assert total[name] == getattr(summary, name), name
    assert total["snapshots_judged"] == summary.witnesses
    assert total["best_known_percent"] == pytest.approx(100 * summary.known["best"])
    assert total["grid_known_percent"] == pytest.approx(100 * summary.known["grid"])


def test_a_symbol_without_a_usable_record_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its day is not known. The totals of the others are."""
    reconstruct(tmp_path, {"a": lines_of_days()}, Run("X"))
    reconstruct(tmp_path, {"b": b"nonsense\n"}, Run("Y"))
    capsys.readouterr()
    assert main(["report", str(tmp_path / "state"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (line,) = [day for day in report["days"] if day["symbol"] == "Y"]
    assert (line["day"], line["verdict"], line["reason"], line["dead_letters"]) == ("", "not provable", "no usable record", 1)
    assert (report["total"]["depth_messages"], report["total"]["dead_letters"]) == (15, 2)


def diff(number: int, time: int, size: str = "1") -> dict[str, Any]:
    """A diff of one id that sets the bid of 1.5."""
    return {"e": "depthUpdate", "E": time, "s": "X", "U": number, "u": number, "b": [["1.5", size]], "a": []}


def snapshot(number: int, time: int, size: str = "1") -> dict[str, Any]:
    """A snapshot of two bids and an ask."""
    return {"lastUpdateId": number, "E": time, "bids": [["1.5", size], ["1.25", "1"]], "asks": [["2.5", "1"]]}


def report_of(directory: Path, lines: list[dict[str, Any]]) -> list[DayQuality]:
    """The days of such a capture, from its state."""
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert reconstruct(directory, {"a": content}, Run("X")).summary.state == "done"
    return read_report(directory / "state")


def test_a_comparison_of_an_unsynced_book_is_neither_verified_nor_refuted(tmp_path: Path) -> None:
    """A ticker before the first snapshot proves nothing, whether it fails or matches."""
    tickers = [{"u": number, "s": "X", "b": "1.5", "B": "1", "a": "0", "A": "0"} for number in (10, 11)]
    (day,) = report_of(tmp_path, [diff(10, START), tickers[0], diff(11, START + 1, "2"), tickers[1], snapshot(11, START + 2)])
    assert (day.compared, day.compared_unsynced, day.refuted, day.verified, day.uncheckable) == (2, 2, 0, 0, 1)
    assert day.failed == {"bookTicker": 0, "checksum": 0, "snapshot": 0}
    assert day.failed_unsynced == 1
    assert judge_day(day).word == "consistent"


def test_snapshots_that_judged_are_counted_with_their_levels(tmp_path: Path) -> None:
    """A snapshot behind a gapless chain proves the day; one that differs inside of what was known is a failure, named as such."""
    lines = [snapshot(10, START), diff(11, START + 1, "2"), snapshot(11, START + 2, "2")]
    (day,) = report_of(tmp_path / "right", lines)
    assert (day.snapshots, day.snapshots_judged, day.snapshots_wrong, day.levels_wrong) == (1, 1, 0, 0)
    assert judge_day(day) == Verdict("proved", "1 snapshot matched")
    (day,) = report_of(tmp_path / "wrong", [*lines[:2], snapshot(11, START + 2, "3")])
    assert (day.snapshots, day.snapshots_judged, day.snapshots_wrong, day.levels_wrong) == (1, 1, 1, 1)
    assert judge_day(day) == Verdict("gap", "1 snapshot failed")
    same_of_parts(tmp_path / "wrong", [day])


def test_a_day_begins_to_be_judged_with_the_first_snapshot(tmp_path: Path) -> None:
    """What stands before the first snapshot of a capture is not synced; the verdict is about the rest, and says from when on."""
    lines = [diff(10, START + 1000), snapshot(10, START + 5000), diff(11, START + 6000, "2"), snapshot(11, START + 7000, "2")]
    (day,) = report_of(tmp_path, lines)
    assert judge_day(day) == Verdict("proved", "from 00:00:05 on: 1 snapshot matched")


def test_a_day_that_time_came_back_to_is_one_line(tmp_path: Path) -> None:
    """One wild time in the future makes a day of its own; the day that time falls back to is not reported twice."""
    year = 365 * DAY
    lines = [snapshot(10, START), diff(11, START + 1), diff(12, START + year), diff(13, START + 2), diff(14, START + 3)]
    days = report_of(tmp_path, lines)
    assert [day.day for day in days] == ["2023-11-14", "2024-11-13"]
    assert [day.depth_messages for day in days] == [4, 1]
    assert [day.time_resets for day in days] == [1, 0]
    assert [day.events for day in days] == [8, 1]
    same_of_parts(tmp_path, days)


def test_duplicates_stand_on_their_day(tmp_path: Path) -> None:
    """Trades that come a second time."""
    trade = {"e": "trade", "E": START, "T": START, "s": "X", "t": 5, "p": "1.5", "q": "1", "m": True}
    late = trade | {"E": START + DAY, "T": START + DAY}
    days = report_of(tmp_path, [trade, trade, late | {"t": 6}, late, late])
    assert [(day.duplicate_trades, day.duplicate_messages, day.duplicates) for day in days] == [(1, 0, 1), (2, 0, 2)]
    assert [judge_day(day) for day in days] == [Verdict("not provable", "no depth message")] * 2


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
