"""The stream `frame`: the whole book at the start of each cut, whatever checkpoints and restarts there are."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.book.freeze import BookSnapshot
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.plain.engine_state import EngineState
from cowbook.plain.frame import Frame
from cowbook.plain.messages import EventBatch
from cowbook.plain.parts import ROWS_OF_CUT, parse_rows
from cowbook.plain.streams import CHOSEN_STREAMS
from cowbook.symbol.pipeline import Pipeline
from support.ended_runs import end_behind
from support.fold import Fold, fold_row
from support.generated_captures import Capture, make_capture
from support.harness import Reconstruction, Run, fixed, read_parts, reconstruct
from support.hostile_captures import make_hostile_capture
from support.oracle_pipeline import engine_settings, without_halt
from support.search import examples

ALWAYS = TriggerSettings(every_events=1, every=1, min_pause=0)
CALM = TriggerSettings(every_events=10**14, every=10**18, min_pause=0)
SMALL = EngineSettings(part_events=4, book_levels=1, max_book_bytes=1 << 22)

Level = tuple[str, str]


def diff(number: int, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> bytes:
    """A diff with one update id."""
    levels = {"b": [list(level) for level in bids], "a": [list(level) for level in asks]}
    return (
        json.dumps({"e": "depthUpdate", "E": 10**12 + number, "s": "BTCUSDT", "U": number, "u": number, **levels}).encode()
        + b"\n"
    )


def snapshot(number: int, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> bytes:
    """A depth snapshot with a time."""
    levels = {"bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}
    return json.dumps({"lastUpdateId": number, "E": 10**12 + number, **levels}).encode() + b"\n"


def capture(records: int = 26) -> bytes:
    """A snapshot, a gap, a bad record and many diffs, so that cuts begin with books of all kinds."""
    lines = [diff(90, [("9", "1")]), snapshot(100, [("10", "1"), ("9", "2"), ("8", "3")], [("11", "1"), ("12", "2")])]
    for number in range(101, 101 + records):
        if number == 108:
            lines.append(b"nonsense\n")
        elif number != 115:
            lines.append(diff(number, [(str(number % 7 + 4), str(number % 3))], [(str(number % 5 + 11), str(number % 4))]))
    return b"".join(lines)


def finished(
    directory: Path, content: bytes, engine: EngineSettings = SMALL, triggers: TriggerSettings = CALM, block_bytes: int = 400
) -> Reconstruction:
    """A run to the end of the input."""
    result = reconstruct(directory, {"a": content}, Run(engine=engine, triggers=triggers, block_bytes=block_bytes))
    assert result.summary.state == "done", result.summary.error
    return result


def book_of(rows: Iterable[dict[str, Any]]) -> Fold:
    """The levels of a frame."""
    book: Fold = ({}, {})
    for row in rows:
        book[("bid", "ask").index(row["side"])][row["price"]] = row["size"]
    return book


def check_frames(result: Reconstruction) -> int:
    """Hold the fold of `depth` against each frame, and the fold from each frame on against that of all rows; how many frames."""
    depth = result.rows("depth")
    frames = result.cuts("frame")
    going: list[Fold] = []  # from each frame on
    whole: Fold = ({}, {})
    place = 0
    for (first, _number), rows in frames.items():
        assert {row["event_index"] for row in rows} == {first}
        while place < len(depth) and depth[place]["event_index"] < first:
            for book in (whole, *going):
                fold_row(book, depth[place])
            place += 1
        assert place == 0 or depth[place - 1]["is_last"], "a cut lies between two messages"
        assert all(book == whole for book in going)
        assert book_of(rows) == whole
        bids, asks = ([row["price"] for row in rows if row["side"] == side] for side in ("bid", "ask"))
        assert [row["side"] for row in rows] == ["bid"] * len(bids) + ["ask"] * len(asks)
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        going.append(book_of(rows))
    for row in depth[place:]:
        for book in (whole, *going):
            fold_row(book, row)
    assert all(book == whole for book in going)
    return len(frames)


def any_capture(seed: int) -> Capture:
    """Either kind of capture, with all streams and many cuts."""
    made = without_halt(make_hostile_capture(seed, 60, 0.03)) if seed % 3 == 0 else make_capture(seed, 90)
    settings = vars(made.settings) | {"streams": CHOSEN_STREAMS, "part_events": (7, 30)[seed % 2]}
    return Capture(made.files, type(made.settings)(**settings))


def test_a_frame_and_the_depth_behind_it_fold_to_the_book_from_any_cut_on(tmp_path: Path) -> None:
    """Read back from Parquet: whoever begins at a cut has the book of whoever began at the first event."""
    frames = 0
    for seed in range(examples(60)):
        made = any_capture(seed)
        settings = made.settings
        run = Run(
            settings.name,
            price_decimals=settings.price_decimals,
            size_decimals=settings.size_decimals,
            max_line_bytes=settings.max_line_bytes,
            engine=engine_settings(settings),
            triggers=CALM,
        )
        files = {f"file-{number}": content for number, content in enumerate(made.files)}
        result = reconstruct(tmp_path / str(seed), files, run)
        assert result.summary.state in ("done", "failed"), result.summary.error
        frames += check_frames(result)
    assert frames > examples(60)


def test_frames_are_the_books_of_the_cuts(tmp_path: Path) -> None:
    """The rows to the letter: the cut's first event, time and id of the last depth message, best first, and what is known."""
    content = snapshot(100, [("10", "1"), ("9", "2")], [("11", "1"), ("12", "2")])
    content += diff(101, [("8", "3"), ("10.5", "1")]) + diff(102, [("10", "0")])
    rows = finished(tmp_path, content).rows("frame")
    # The snapshot has events 0 to 5 and is cut behind its last one, the diff 6 and 7 and is cut, too.
    assert [
        (row["event_index"], row["update_id"], row["side"], row["price"], row["size"], row["known"], row["synced"])
        for row in rows
    ] == [
        (first, number, side, fixed(price), fixed(size), known, True)
        for first, number, levels in (
            (6, 100, [("bid", "10", "1", True), ("bid", "9", "2", True), ("ask", "11", "1", True), ("ask", "12", "2", True)]),
            (
                8,
                101,
                [
                    ("bid", "10.5", "1", True),
                    ("bid", "10", "1", True),
                    ("bid", "9", "2", True),
                    ("bid", "8", "3", False),
                    ("ask", "11", "1", True),
                    ("ask", "12", "2", True),
                ],
            ),
        )
        for side, price, size, known in levels
    ]
    assert {row["ts_event"] for row in rows if row["event_index"] == 8} == {(10**12 + 101) * 10**6}


@pytest.mark.parametrize(
    ("levels", "sides"),
    [
        pytest.param({"bids": [("9", "1")] * 4}, {"bid"}, id="bids_only"),
        pytest.param({"asks": [("9", "1")] * 4}, {"ask"}, id="asks_only"),
        pytest.param({"bids": [("9", "1"), ("9", "0")], "asks": [("9", "1"), ("9", "0")]}, set(), id="no_levels"),
    ],
)
def test_an_empty_side_has_no_rows_and_an_empty_book_no_frame(tmp_path: Path, levels: Any, sides: set[str]) -> None:
    """What is not there is not written."""
    result = finished(tmp_path, diff(1, **levels) + diff(2, [("5", "0")] * 4))
    assert {row["side"] for row in result.rows("frame") if row["event_index"] == 4} == sides
    assert any(name.startswith("frame/") for name in result.parts) == bool(sides)
    assert len(result.rows("depth")) == 8


def test_a_cut_without_other_rows_has_no_frame(tmp_path: Path) -> None:
    """An input that ends on a cut makes no part of a frame alone. A dead letter is another row."""
    content = diff(1, [("9", "1")] * 4)
    assert finished(tmp_path / "alone", content).rows("frame") == []
    result = finished(tmp_path / "letter", content + b"nonsense\n")
    assert [row["event_index"] for row in result.rows("frame")] == [4]
    assert {name.rpartition("/")[2] for name in result.parts if name.startswith(("frame/", "dead_letter/"))} == {
        "part-0000000000000004-0000000000000003.parquet"
    }


def test_frames_have_depths_types(tmp_path: Path) -> None:
    """Prices, sizes, times and sides of a frame are of the types of `depth`."""
    import pyarrow.parquet as pq

    result = finished(tmp_path, capture())
    schemas = {
        stream: next(pq.read_schema(result.output_dir / n) for n in result.parts if n.startswith(f"{stream}/"))
        for stream in ("frame", "depth")
    }
    frame: pa.Schema = schemas["frame"]
    assert frame.names == ["event_index", "ts_event", "update_id", "side", "price", "size", "known", "synced"]
    for name in frame.names:
        if name != "known":
            assert frame.field(name).equals(schemas["depth"].field(name))


def test_runs_over_a_growing_file_give_the_frames_of_one_run(tmp_path: Path) -> None:
    """A tail has its frame, too, and the regular part takes its place."""
    content = capture()
    whole = finished(tmp_path / "whole", content)
    check_frames(whole)
    for length in range(content.index(b"\n") + 1, len(content), 211):
        tail = finished(tmp_path / "steps", content[:length])
        assert tail.rows("frame") == [row for row in whole.rows("frame") if row["event_index"] <= last_cut(tail)]
    assert without_letters(finished(tmp_path / "steps", content).parts) == without_letters(whole.parts)


def last_cut(result: Reconstruction) -> int:
    """First event of the last cut."""
    return max((int(name.rpartition("part-")[2].split("-")[0]) for name in result.parts), default=0)


def without_letters(parts: dict[str, bytes]) -> dict[str, bytes]:
    """All parts but the dead letters, which name the file."""
    return {name: content for name, content in parts.items() if not name.startswith("dead_letter/")}


@pytest.mark.parametrize(("stops", "triggers"), [(True, CALM), (True, ALWAYS), (False, ALWAYS)])
def test_a_run_that_ends_behind_any_record_goes_on_to_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triggers: TriggerSettings, *, stops: bool
) -> None:
    """A checkpoint between any two records has the frame of the open cut."""
    content = capture()
    whole = finished(tmp_path / "run", content)
    assert check_frames(whole) > 10
    allocate = EventBatch.allocate
    monkeypatch.setattr(EventBatch, "allocate", lambda *_: allocate(1, 16))
    seen = 0
    for records in range(1, content.count(b"\n")):
        shutil.rmtree(tmp_path / "run")
        run = Run(engine=SMALL, triggers=triggers, block_bytes=400)
        end_behind(tmp_path / "run", {"a": content}, run, records, stops=stops)
        seen += any((tmp_path / "run" / "state").glob("*/checkpoints/*/open-frame.arrow"))
        assert finished(tmp_path / "run", content).parts == whole.parts
    assert seen > 10


def slowly(call: Callable[[Any], Any], seconds: float) -> Callable[[Any], Any]:
    """The same, later."""

    def call_late(snapshot: BookSnapshot) -> EngineState | Frame:
        time.sleep(seconds)
        result: EngineState | Frame = call(snapshot)
        return result

    return call_late


@pytest.mark.parametrize(("state_seconds", "frame_seconds"), [(0.03, 0.001), (0.001, 0.03), (0.02, 0.02)])
def test_a_checkpoint_and_a_frame_hold_two_snapshots_and_no_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_seconds: float, frame_seconds: float
) -> None:
    """However slowly they are read: no third is asked for, and the parts are the same."""
    calm = finished(tmp_path / "calm", capture())
    monkeypatch.setattr(BookSnapshot, "get_checkpoint_state", slowly(BookSnapshot.get_checkpoint_state, state_seconds))
    monkeypatch.setattr(BookSnapshot, "get_frame", slowly(BookSnapshot.get_frame, frame_seconds))
    busy = finished(tmp_path / "busy", capture(), triggers=ALWAYS)
    assert busy.summary.checkpoints > 1
    assert without_letters(busy.parts) == without_letters(calm.parts)


def crowded(sizes: int) -> bytes:
    """Diffs that change all of a book that nearly fills 1 MiB; without a line feed at the end."""
    return b"".join(
        diff(number, [(f"{price * 64}.0", f"{number}.5") for price in range(1, 850)]) for number in range(1, sizes)
    ).rstrip()


def test_a_pool_that_two_snapshots_exhaust_waits_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processing waits for the frame's snapshot as for the checkpoint's, and goes on."""
    engine = EngineSettings(max_book_bytes=1 << 20, part_events=1000, streams=("bbo", "frame"))
    calm = finished(tmp_path / "calm", crowded(40), engine, block_bytes=20_000)
    waits = []
    wait = Pipeline._snapshots_released

    async def wait_and_count(pipeline: Pipeline) -> None:
        waits.append(1)
        await wait(pipeline)

    monkeypatch.setattr(Pipeline, "_snapshots_released", wait_and_count)
    monkeypatch.setattr(BookSnapshot, "get_checkpoint_state", slowly(BookSnapshot.get_checkpoint_state, 0.03))
    monkeypatch.setattr(BookSnapshot, "get_frame", slowly(BookSnapshot.get_frame, 0.03))
    busy = finished(tmp_path / "busy", crowded(40), engine, ALWAYS, block_bytes=20_000)
    assert len(waits) > 3
    assert busy.parts == calm.parts


def test_an_unfinished_last_record_that_needs_the_whole_pool_is_applied(tmp_path: Path) -> None:
    """The state at the end of the input holds no blocks while that record is applied."""
    engine = EngineSettings(max_book_bytes=1 << 20, streams=("bbo",))
    assert finished(tmp_path, crowded(3), engine, block_bytes=20_000).summary.events == 2 * 849


def test_frames_that_nobody_chose_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the stream no snapshot is taken at a cut, no level gathered, no file written; the other parts are the same."""
    whole = finished(tmp_path / "whole", capture())

    def fail(_: BookSnapshot) -> Frame:
        raise AssertionError("no frame was chosen")

    monkeypatch.setattr(BookSnapshot, "get_frame", fail)
    without = replace(SMALL, streams=tuple(stream for stream in CHOSEN_STREAMS if stream != "frame"))
    result = finished(tmp_path / "without", capture(), without, ALWAYS)
    others = {name: content for name, content in without_letters(whole.parts).items() if not name.startswith("frame/")}
    assert without_letters(result.parts).keys() == others.keys()
    for name, content in without_letters(result.parts).items():
        ours, theirs = (pq.ParquetFile(pa.BufferReader(each)) for each in (content, others[name]))
        assert ours.read().equals(theirs.read())
        counts = [parse_rows((file.metadata.metadata or {})[ROWS_OF_CUT.encode()].decode()) for file in (ours, theirs)]
        assert counts[0] == {stream: count for stream, count in counts[1].items() if stream != "frame"}
    assert not list((tmp_path / "without").rglob("*frame*"))
    assert read_parts(tmp_path / "whole" / "data") == whole.parts
