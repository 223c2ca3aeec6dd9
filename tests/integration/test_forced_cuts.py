"""Too many open rows that are no events make a cut, where no event happens, too, and whatever checkpoints there are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.plain.messages import EventBatch
from cowbook.plain.parts import cut_of_name
from cowbook.plain.streams import MOST_OPEN_ROWS
from support.ended_runs import end_behind
from support.harness import Reconstruction, Run, reconstruct

ALWAYS = TriggerSettings(every_events=1, every=1, min_pause=0, min_events=0)
CALM = TriggerSettings(every_events=10**14, every=10**18, min_pause=0)
SMALL = EngineSettings(most_open_rows=10, book_levels=1, book_interval=1_000_000, max_book_bytes=1 << 22)
BAD = b"nonsense\n"


def diff(number: int, *, bids: Iterable[str] = ("9",), first: int | None = None, ms: int = 1) -> bytes:
    """A diff with a level of a size that differs from diff to diff for each price."""
    record = {"e": "depthUpdate", "E": 10**12 + ms * number, "s": "BTCUSDT", "U": first or number, "u": number}
    levels = {"b": [[price, str(1 + number)] for price in bids], "a": []}
    return json.dumps(record | levels).encode() + b"\n"


def snapshot(number: int, levels: int) -> bytes:
    """A depth snapshot with so many bids."""
    bids = [[str(1 + price), "1"] for price in range(levels)]
    return json.dumps({"lastUpdateId": number, "E": 10**12 + number, "bids": bids, "asks": []}).encode() + b"\n"


def finished(
    directory: Path, content: bytes, engine: EngineSettings = SMALL, triggers: TriggerSettings = CALM, block_bytes: int = 400
) -> Reconstruction:
    """Run to the end of the input."""
    run = Run(engine=engine, triggers=triggers, block_bytes=block_bytes)
    result = reconstruct(directory, {"a": content}, run)
    assert result.summary.state == "done", result.summary.error
    return result


def names(result: Reconstruction, stream: str) -> list[str]:
    """Names of a stream's parts in the order in which they were written, without what all have in common."""
    found = [name.rpartition("/")[2] for name in result.parts if name.startswith(f"{stream}/")]
    found.sort(key=lambda name: cut_of_name(name) or (-1, 0))
    return [name.removeprefix("part-").removesuffix(".parquet").replace("0" * 13, "") for name in found]


def letters_behind_events() -> bytes:
    """Twelve events, 35 dead letters, and an event."""
    return snapshot(100, 9) + diff(101) + BAD * 35 + diff(102)


def test_parts_without_an_event_between_them_are_numbered(tmp_path: Path) -> None:
    """The first ten letters belong to the events before them; the next ten each have a number, and the event has the last."""
    result = finished(tmp_path, letters_behind_events())
    assert names(result, "dead_letter") == ["000-011", "012-011", "012-011.1", "012-012.2"]
    assert names(result, "depth") == ["000-011", "012-012.2"]
    assert names(result, "frame") == ["012-011", "012-011.1", "012-012.2"]
    assert [row["event_index"] for row in result.rows("dead_letter")] == [12] * 35
    assert [row["offset"] for row in result.rows("dead_letter")] == sorted(row["offset"] for row in result.rows("dead_letter"))


def test_the_bound_of_a_configured_symbol_is_100_000(tmp_path: Path) -> None:
    """One row less makes no cut; this one does, and the next row is behind it."""
    for letters, expected in ((99_999, ["000-002"]), (100_000, ["000-001", "002-002"])):
        engine = EngineSettings(max_book_bytes=1 << 22)
        content = diff(1, bids=("9", "8")) + b"x\n" * letters + diff(2)
        result = finished(tmp_path / str(letters), content, engine, block_bytes=1 << 20)
        assert names(result, "depth") == expected
        assert names(result, "dead_letter") == expected[:1]
    assert MOST_OPEN_ROWS == 100_000


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        pytest.param("gaps", b"".join(diff(2 * number, bids=()) for number in range(1, 36)), id="empty_diffs_that_are_gaps"),
        pytest.param("book", diff(1) + b"".join(diff(number, bids=(), ms=7) for number in range(2, 40)), id="grid_rows"),
        pytest.param("drift", snapshot(5, 3) + snapshot(5, 3) * 35, id="witnesses_that_agree"),
        pytest.param("bbo", b"".join(diff(number) for number in range(1, 36)), id="best_prices"),
    ],
)
def test_rows_of_any_stream_that_are_no_events_make_cuts(tmp_path: Path, stream: str, content: bytes) -> None:
    """Whichever it is, no part has more than the bound; all parts are those of a run in one piece."""
    result = finished(tmp_path / "one", content)
    assert len(result.rows(stream)) >= 34
    assert len(names(result, stream)) == -(-len(result.rows(stream)) // 10)
    again = finished(tmp_path / "many", content, triggers=ALWAYS, block_bytes=150)
    assert again.summary.checkpoints > 1
    assert again.parts == result.parts


def capture() -> bytes:
    """Runs of letters, gaps without levels, and grid rows between events, with a time cut among them."""
    lines = [snapshot(100, 3), BAD * 25]
    for number in range(101, 125):
        lines.append(diff(number, bids=("9",) if number % 5 else (), first=number + (number % 7 == 0), ms=3))
        lines.append(BAD * (number % 4) * 3)
    return b"".join([*lines, BAD * 22, diff(125, ms=10**7), BAD * 31, b'{"e":"depthUpdate"'])


@pytest.mark.parametrize(("stops", "triggers"), [(True, CALM), (False, ALWAYS)])
def test_a_run_that_ends_behind_any_record_goes_on_to_the_same_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triggers: TriggerSettings, *, stops: bool
) -> None:
    """Every row is written once, in the same parts, wherever a checkpoint or a kill comes."""
    content = capture()
    whole = finished(tmp_path / "run", content)
    numbers = [place[1] for name in whole.parts if (place := cut_of_name(name.rpartition("/")[2]))]
    assert max(numbers) >= 2
    allocate = EventBatch.allocate
    monkeypatch.setattr(EventBatch, "allocate", lambda *_: allocate(1, 16))
    for records in range(1, content.count(b"\n"), 13):
        shutil.rmtree(tmp_path / "run")
        run = Run(engine=SMALL, triggers=triggers, block_bytes=400)
        end_behind(tmp_path / "run", {"a": content}, run, records, stops=stops)
        assert finished(tmp_path / "run", content).parts == whole.parts


def first_event(content: bytes) -> int:
    """Where the first record that can be used ends: an input without one is a failure."""
    return content.index(b"\n", content.index(b"depthUpdate")) + 1


def test_runs_over_a_growing_file_end_with_the_parts_of_one_run(tmp_path: Path) -> None:
    """A tail has the number that its regular part will have, and that one replaces it; its rows are there at each end."""
    content = capture()
    whole = finished(tmp_path / "run", content)
    shutil.rmtree(tmp_path / "run")
    tails = set()
    for length in range(first_event(content), len(content), 97):
        result = finished(tmp_path / "run", content[:length])
        is_unfinished = not content[:length].endswith(b"\n")  # that is a letter, too
        assert len(result.rows("dead_letter")) == content[:length].count(BAD) + is_unfinished
        assert [row["event_index"] for row in result.rows("depth")] == list(range(result.summary.events))
        tails |= {name for name in names(result, "dead_letter") if name not in names(whole, "dead_letter")}
    assert any("." in name for name in tails)
    assert finished(tmp_path / "run", content).parts == whole.parts


def test_a_tail_makes_room_for_the_part_with_its_first_event_and_number(tmp_path: Path) -> None:
    """The unfinished last line was a letter, alone in its part; once it is finished it is an event of the same part."""
    content, line = diff(1) + BAD * 20, diff(2)
    tail = finished(tmp_path, content + line[:9])
    assert names(tail, "dead_letter") == ["000-000", "001-000", "001-000.1"]
    whole = finished(tmp_path, content + line)
    assert names(whole, "dead_letter") == ["000-000", "001-000"]
    assert names(whole, "depth") == ["000-000", "001-001.1"]
    superseded = (tmp_path / "data" / ".superseded").rglob("part-*.1.parquet")
    assert {path.parts[-4] for path in superseded} == {"dead_letter", "frame"}
