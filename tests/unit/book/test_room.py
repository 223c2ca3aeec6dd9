"""Room in the append-only arrays: nothing is ever written behind one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cowbook import replay
from cowbook.errors import BookMemoryError
from cowbook.kernels.jit import IS_COMPILED
from cowbook.plain.book_state import DIFF_ENTRY

COMPILED = pytest.mark.skipif(not IS_COMPILED, reason="thousands of records take a minute where kernels run uncompiled")


def write(path: Path, records: list[dict[str, Any]]) -> str:
    """A capture of JSON lines."""
    path.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return str(path)


def test_days_without_number_end_the_symbol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that jump between two days make a row of counts at each jump: there is a bound, and it says what is wrong."""
    monkeypatch.setattr("cowbook.book.room.MOST_DAYS", 50)
    day = 86_400_000
    records = [
        {
            "e": "depthUpdate",
            "E": 1723161580000 + number % 2 * 3 * day,
            "s": "X",
            "U": number,
            "u": number,
            "b": [["1", "1"]],
            "a": [],
        }
        for number in range(1, 100)
    ]
    path = write(tmp_path / "a.jsonl", records)
    with pytest.raises(
        BookMemoryError, match=r"from one UTC day into another [0-9]+ times, the most is 50: there is a wrong clock"
    ):
        for _ in replay(path, "X"):
            pass
    path = write(tmp_path / "b.jsonl", records[:49])
    assert [engine.value("day_count") for engine in replay(path, "X")][-1] == 48


@pytest.mark.parametrize("count", [*range(20, 34), 62, 63, 64, *(pytest.param(count, marks=COMPILED) for count in (8000, 8463))])
def test_a_snapshot_that_waited_and_its_message_have_room_for_both_audits(tmp_path: Path, count: int) -> None:
    """Both are applied in one turn, and each keeps the tickers that still wait by appending them again."""
    records: list[dict[str, Any]] = [
        {"e": "bookTicker", "u": 5 if number == 0 else 100 + number, "s": "X", "b": "1", "B": "1", "a": "2", "A": "1"}
        for number in range(count)
    ]
    records += [
        {"lastUpdateId": 10, "bids": [["1", "1"]], "asks": [["2", "1"]]},  # it has no time, and so it waits
        {"e": "depthUpdate", "E": 1723161580000, "s": "X", "U": 11, "u": 101, "b": [["1", "1"]], "a": [["2", "1"]]},
    ]
    for engine in replay(write(tmp_path / "a.jsonl", records), "X"):
        assert engine.value("ticker_end") <= len(engine.arrays.logs.tickers)
    audits = engine.audit_statistics()["bookTicker"]
    assert (audits["matched"], audits["not_comparable"]) == (1, 1)
    assert engine.value("ticker_end") - engine.value("ticker_start") == count - 2


@COMPILED
def test_kept_bytes_are_those_of_the_newest_diffs(tmp_path: Path) -> None:
    """They grow with each diff and its levels, and no more once 16,384 are kept, wherever their levels go round."""
    records: list[dict[str, Any]] = [
        {"e": "depthUpdate", "E": 1723161580000, "s": "X", "U": number, "u": number, "b": [["1", "1"]] * (number % 3), "a": []}
        for number in range(1, 40_001)
    ]
    seen = 0
    for engine in replay(write(tmp_path / "a.jsonl", records), "X", every=997):
        seen = min(seen + 997, len(records))
        kept = [record["u"] % 3 for record in records[max(0, seen - 16_384) : seen]]
        assert engine.kept_bytes == len(kept) * DIFF_ENTRY.itemsize + sum(kept) * 16


@COMPILED
@pytest.mark.parametrize("taken_at", [15_000, 27_000])
def test_a_snapshot_that_is_held_for_long_keeps_its_diffs(tmp_path: Path, taken_at: int) -> None:
    """Levels of kept diffs go round in their arrays, before a snapshot and while it is held, and never over what it reads."""
    levels = [[str(price), "1"] for price in range(50)]
    records: list[dict[str, Any]] = [
        {"e": "depthUpdate", "E": 1723161580000, "s": "X", "U": number, "u": number, "b": levels[: 35 + number % 10], "a": []}
        for number in range(1, 40_001)
    ]
    before = held = None
    for place, engine in enumerate(replay(write(tmp_path / "a.jsonl", records), "X", every=1000), 1):
        if place * 1000 == taken_at:
            held = engine.snapshot()
            before = held.get_checkpoint_state()
    assert before is not None
    assert held is not None
    after = held.get_checkpoint_state()
    for name in ("diffs", "diff_prices", "diff_sizes"):
        assert (getattr(before, name) == getattr(after, name)).all(), name
