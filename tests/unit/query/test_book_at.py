"""The book at an instant: which instant is meant, what is refused, and what is said of the book."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cowbook
from cowbook import InstantBook, book_at
from cowbook.errors import QueryError, UsageError
from cowbook.query.columns import PartReader
from cowbook.query.fold import _last_of_each, to_fixed_point
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import MovedError
from cowbook.sink.columns import NumberKind
from support.fold import fold
from support.harness import Reconstruction
from support.small_output import ASKS, BIDS, START_MS, diff, make_lines, make_output, snapshot, ticker, trade

START = START_MS * 10**6


def ns(milliseconds: float) -> int:
    """A time so many ms after the start."""
    return START + int(milliseconds * 10**6)


def levels_of(book: InstantBook) -> tuple[dict[int, int], dict[int, int]]:
    """Bids and asks."""
    return tuple(dict(zip(side.prices.tolist(), side.sizes.tolist(), strict=True)) for side in (book.bids, book.asks))  # type: ignore[return-value]


def part_of(result: Reconstruction, stream: str, event: int) -> Path:
    """The part of a stream with an event."""
    for name in result.parts:
        first, last = name.rpartition("part-")[2].split(".")[0].split("-")
        if name.startswith(f"{stream}/") and int(first) <= event <= int(last):
            return result.output_dir / name
    raise AssertionError(f"no part of {stream} has event {event}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """An output that tests only read."""
    return make_output(tmp_path_factory.mktemp("book-at"), make_lines())


@pytest.fixture
def own(made: Reconstruction, tmp_path: Path) -> Reconstruction:
    """A copy of it that a test may spoil."""
    shutil.copytree(made.output_dir, tmp_path / "data")
    return Reconstruction(made.summary, tmp_path / "data", made.parts)


def test_every_event_and_every_time_gives_the_fold_of_depth(made: Reconstruction) -> None:
    """Row by row: an event means the whole of its message, a time all messages up to it."""
    depth = made.rows("depth")
    for row in depth:
        last = next(each["event_index"] for each in depth if each["event_index"] >= row["event_index"] and each["is_last"])
        book = book_at(made.output_dir, "BTCUSDT", event=row["event_index"])
        assert book.event == last
        assert levels_of(book) == fold(each for each in depth if each["event_index"] <= last)
        assert (book.time, book.update_id, book.synced) == (row["ts_event"], row["update_id"], row["synced"])
        for time in (row["ts_event"], row["ts_event"] + 1):
            assert levels_of(book_at(made.output_dir, "BTCUSDT", time)) == fold(
                each for each in depth if each["ts_event"] <= time
            )


def test_an_event_that_is_a_trade_gives_the_book_in_front_of_it(made: Reconstruction) -> None:
    """A trade changes nothing of the book, and is its last event."""
    event = made.rows("trades")[1]["event_index"]
    book = book_at(made.output_dir, "BTCUSDT", event=event)
    assert book.event == event
    assert levels_of(book) == fold(row for row in made.rows("depth") if row["event_index"] < event)


def test_without_an_instant_it_is_the_book_at_the_end(made: Reconstruction) -> None:
    """All of the output; later times give the same, and say that the output ends."""
    book = book_at(str(made.output_dir), "BTCUSDT")
    assert levels_of(book) == fold(made.rows("depth"))
    assert book.is_at_end
    later = book_at(made.output_dir, "BTCUSDT", "2030-01-01")
    assert levels_of(later) == levels_of(book)
    assert later.is_at_end
    assert not book_at(made.output_dir, "BTCUSDT", ns(100)).is_at_end


@pytest.mark.parametrize(
    "time",
    [
        "2024-08-09T00:00:00.750Z",
        "2024-08-09 00:00:00.750",
        "2024-08-09T02:00:00.750000000+02:00",
        datetime(2024, 8, 9, 0, 0, 0, 750_000, UTC),
        datetime(2024, 8, 9, 0, 0, 0, 750_000),  # noqa: DTZ001 - UTC is meant
        datetime(2024, 8, 9, 2, 0, 0, 750_000, timezone(timedelta(hours=2))),
        np.datetime64("2024-08-09T00:00:00.750"),
        ns(750),
        np.int64(ns(750)),
    ],
)
def test_times_may_be_given_in_every_usual_form(made: Reconstruction, time: Any) -> None:
    """Text, datetimes with and without a zone, numpy's, and nanoseconds."""
    book = book_at(made.output_dir, "BTCUSDT", time)
    assert book.asked_time == ns(750)
    assert book.time == ns(700)
    assert book.datetime == datetime(2024, 8, 9, 0, 0, 0, 700_000, UTC)


def test_a_time_is_exact_to_the_nanosecond(made: Reconstruction) -> None:
    """One ns before a message the book is without it."""
    assert book_at(made.output_dir, "BTCUSDT", "2024-08-09T00:00:00.699999999Z").time == ns(600)
    assert book_at(made.output_dir, "BTCUSDT", "2024-08-09T00:00:00.7Z").time == ns(700)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"event": 10**6}, "has no event 1000000 of BTCUSDT: it has 0 to"),
        ({"time": "2024-08-08"}, "nothing of BTCUSDT at or before 2024-08-08T00:00:00.000Z: it has events 0 to"),
    ],
)
def test_what_is_not_there_is_refused(made: Reconstruction, arguments: Any, words: str) -> None:
    """Each with what there is."""
    with pytest.raises(QueryError, match=words):
        book_at(made.output_dir, "BTCUSDT", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"time": "2024-08-09", "event": 3}, "not both"),
        ({"levels": 0}, "levels = 0: must be a whole number from 1 on, or None for all"),
        ({"levels": "5"}, "levels = '5': must be a whole number"),
        ({"event": -1}, "event = -1: must be a whole number from 0 on, or None for the end"),
        ({"event": "3"}, "event = '3': must be a whole number"),
        ({"event": True}, "event = True: must be a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(made: Reconstruction, arguments: Any, words: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match=words):
        book_at(made.output_dir, "BTCUSDT", **arguments)


@pytest.mark.parametrize("time", ["noon", 1.5, True])
def test_what_is_no_time_is_refused(made: Reconstruction, time: Any) -> None:
    """As everywhere in the library."""
    with pytest.raises(UsageError, match=f"^time = {time!r}: must be a time"):
        book_at(made.output_dir, "BTCUSDT", time)


def test_another_symbol_or_directory_is_refused_with_what_there_is(made: Reconstruction, tmp_path: Path) -> None:
    """The ids of an output, the directories of what is none."""
    with pytest.raises(QueryError, match="nothing of symbol ETHUSDT: it has BTCUSDT"):
        book_at(made.output_dir, "ETHUSDT")
    with pytest.raises(
        QueryError, match=r"is no output of cowbook: it has data, input, state, and none of depth.*did you mean .*data"
    ):
        book_at(made.output_dir.parent, "BTCUSDT")
    with pytest.raises(QueryError, match="cannot be read: No such file"):
        book_at(tmp_path / "none", "BTCUSDT")


def test_a_symbol_of_any_name_is_found(tmp_path: Path) -> None:
    """Directories have encoded names; the id is given as it is."""
    result = make_output(tmp_path, make_lines())
    for directory in result.output_dir.glob("[!.]*/symbol=BTCUSDT"):
        directory.rename(directory.with_name("symbol=BTC%2FUSD%20%C3%A9"))
    assert book_at(result.output_dir, "BTC/USD é").symbol == "BTC/USD é"


def test_times_that_go_back_follow_the_running_maximum(tmp_path: Path) -> None:
    """A message with an earlier time counts from the time on that the one before it had."""
    lines = [
        snapshot(100, 0, BIDS, ASKS),
        diff(101, 500, [("7", "1")]),
        diff(102, 300, [("6", "1")]),
        diff(103, 600, [("5", "1")]),
    ]
    output = make_output(tmp_path, lines).output_dir
    assert [book_at(output, "BTCUSDT", ns(time)).update_id for time in (0, 300, 499, 500, 599, 600)] == [
        100,
        100,
        100,
        102,
        102,
        103,
    ]


def test_one_time_far_ahead_spoils_no_other_instant(tmp_path: Path) -> None:
    """Behind it event time falls back by more than a day: the instants there are found, and so are those before."""
    wild = 76 * 365 * 86_400_000
    lines = [snapshot(100, 0, BIDS, ASKS), diff(101, 100, [("7", "1")]), diff(102, wild, [("6", "1")])]
    lines += [diff(number, (number - 101) * 100, [("5", str(number))]) for number in range(103, 110)]
    output = make_output(tmp_path, lines, part_events=1000).output_dir
    ids = [book_at(output, "BTCUSDT", ns(time)).update_id for time in (0, 100, 199, 200, 350, 800, 10**9)]
    assert ids == [100, 101, 101, 103, 104, 109, 109]
    assert book_at(output, "BTCUSDT", ns(wild)).update_id == 109  # the last message with a maximum up to it


def test_a_trade_ends_the_instants_before_it(tmp_path: Path) -> None:
    """As in `book`: the grid point is due with the first message of any kind behind it."""
    lines = [snapshot(100, 0, BIDS, ASKS), trade(1, 500), diff(101, 400, [("7", "1")])]
    output = make_output(tmp_path, lines).output_dir
    assert [book_at(output, "BTCUSDT", ns(time)).update_id for time in (450, 500)] == [100, 101]


@pytest.mark.parametrize("stream", ["depth", "frame", "bbo"])
def test_a_torn_part_is_refused_by_name(own: Reconstruction, stream: str) -> None:
    """Cut in the middle, or empty; instants that do not need it are answered."""
    part = part_of(own, stream, 30)
    for content in (part.read_bytes()[:-40], b"", b"PAR1"):
        part.write_bytes(content)
        with pytest.raises(QueryError, match=f"{part.name} is damaged: .*restore it"):
            book_at(own.output_dir, "BTCUSDT", event=30)
    assert book_at(own.output_dir, "BTCUSDT", event=3).event == 7


@pytest.mark.parametrize("stream", ["depth", "frame"])
def test_a_changed_bit_is_refused_or_changes_nothing(own: Reconstruction, stream: str, seed: int) -> None:
    """Wherever it is, whatever can still be decoded: never a wrong book."""
    rng = random.Random(seed)
    right = book_at(own.output_dir, "BTCUSDT", event=30)
    part = part_of(own, stream, 30)
    content = part.read_bytes()
    refused = 0
    for _ in range(60):
        place = rng.randrange(len(content))
        part.write_bytes(content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :])
        try:
            book = book_at(own.output_dir, "BTCUSDT", event=30)
        except QueryError as error:
            refused += 1
            assert part.name in str(error) or "contradict" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert levels_of(book) == levels_of(right)
            assert (book.synced, book.known) == (right.synced, right.known)
    assert refused > 10


def test_a_part_whose_content_is_anothers_is_refused(own: Reconstruction) -> None:
    """One that has other columns, and one of another cut under this name."""
    part = part_of(own, "depth", 30)
    shutil.copy(part_of(own, "depth", 20), part)
    with pytest.raises(QueryError, match=r"a part of depth or trades is missing|out of order, or not"):
        book_at(own.output_dir, "BTCUSDT", event=30)
    pq.write_table(pa.table({"price": [1.5], "amount": [2]}), part)
    with pytest.raises(QueryError, match=r"no part of cowbook's stream depth.*it has price, amount"):
        book_at(own.output_dir, "BTCUSDT", event=30)
    part.rename(part.with_name("mine.parquet"))
    with pytest.raises(QueryError, match=r"mine.parquet is no part of cowbook's"):
        book_at(own.output_dir, "BTCUSDT", event=30)


def test_a_missing_part_of_depth_is_refused_where_it_counts(own: Reconstruction) -> None:
    """By event, and by a time that falls into it; instants behind the next frame are answered."""
    part = part_of(own, "depth", 30)
    rows = [row for row in own.rows("depth") if part_of(own, "depth", row["event_index"]) == part]
    last = own.rows("depth")[-1]["event_index"]
    part.unlink()
    for instant in ({"event": rows[2]["event_index"]}, {"time": rows[2]["ts_event"]}):
        with pytest.raises(QueryError, match=f"{part.name} of BTCUSDT has .* a part of depth or trades is missing"):
            book_at(own.output_dir, "BTCUSDT", **instant)
    assert book_at(own.output_dir, "BTCUSDT").event == last


def test_a_cut_that_is_missing_as_a_whole_is_a_hole(own: Reconstruction) -> None:
    """No stream has its events: neither its events nor its times are answered, nor the last ones before it by time."""
    name = part_of(own, "depth", 30).name
    lost = [row for row in own.rows("depth") if part_of(own, "depth", row["event_index"]).name == name]
    for path in own.output_dir.glob(f"*/*/*/{name}"):
        path.unlink()
    with pytest.raises(QueryError, match="restore the part"):
        book_at(own.output_dir, "BTCUSDT", event=lost[2]["event_index"])
    with pytest.raises(QueryError, match=r"events \d+ to \d+ are in no part"):
        book_at(own.output_dir, "BTCUSDT", lost[2]["ts_event"])
    assert book_at(own.output_dir, "BTCUSDT").is_at_end


def test_without_frames_it_folds_from_the_beginning(tmp_path: Path) -> None:
    """And refuses where the beginning is missing."""
    result = make_output(tmp_path, make_lines(), streams=("depth", "trades"))
    for event in (3, 17, 40, 60):
        book = book_at(result.output_dir, "BTCUSDT", event=event)
        assert levels_of(book) == fold(row for row in result.rows("depth") if row["event_index"] <= book.event)
        assert (book.proof.frame_event, book.proof.compared_with_bbo) == (None, None)
        assert book.known == ((0, 0) if book.synced is False else (None, None))
    for path in result.output_dir.glob("*/*/*/part-0000000000000000-*"):
        path.unlink()
    with pytest.raises(QueryError, match=r"has no frame to begin with, and events 0 to \d+ are in no part"):
        book_at(result.output_dir, "BTCUSDT", event=17)


def test_a_snapshot_that_replaces_ends_the_search_for_a_frame(tmp_path: Path) -> None:
    """What lies before it need not be there."""
    result = make_output(tmp_path, make_lines(), streams=("depth", "trades"))
    last = [row["event_index"] for row in result.rows("depth") if row["kind"] == "clear"][-1]
    assert last > 20
    expected = fold(result.rows("depth"))
    for path in result.output_dir.glob("*/*/*/part-0000000000000000-*"):
        path.unlink()
    assert levels_of(book_at(result.output_dir, "BTCUSDT")) == expected


def test_output_without_depth_is_refused(tmp_path: Path) -> None:
    """With the setting that it takes."""
    result = make_output(tmp_path, make_lines(), streams=("bbo",))
    with pytest.raises(QueryError, match=r"has no depth of BTCUSDT.*it has bbo, drift, gaps; add depth to \[output\] streams"):
        book_at(result.output_dir, "BTCUSDT")


def test_output_whose_depth_was_taken_away_says_so(own: Reconstruction) -> None:
    """Other parts speak of it: no setting would help."""
    for path in (own.output_dir / "depth").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(QueryError, match=r"has no depth of BTCUSDT.* speaks of [\d,]+ rows of depth: restore its parts"):
        book_at(own.output_dir, "BTCUSDT")


def test_a_tail_in_whose_place_a_regular_part_has_come_does_not_count(own: Reconstruction) -> None:
    """Both may be seen while one replaces the other; the longer one is the regular one."""
    part = part_of(own, "depth", 30)
    first = part.name.split("-")[1]
    shutil.copy(part_of(own, "depth", 3), part.with_name(f"part-{first}-{int(first) + 1:016d}.parquet"))
    assert levels_of(book_at(own.output_dir, "BTCUSDT", event=30)) == fold(
        row for row in own.rows("depth") if row["event_index"] <= book_at(own.output_dir, "BTCUSDT", event=30).event
    )


def test_a_publication_under_way_is_waited_for(made: Reconstruction, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that goes away while it is looked for is looked for again; what never ends is an error."""
    answer = SymbolOutput
    moves = iter([True, True, False])

    def move(*arguments: Any) -> Any:
        if next(moves, True):
            raise MovedError("part-1.parquet is gone")
        return answer(*arguments)

    monkeypatch.setattr("cowbook.query.book_at.SymbolOutput", move)
    assert book_at(made.output_dir, "BTCUSDT", event=30).event >= 30
    with pytest.raises(QueryError, match=r"part-1.parquet is gone; if a publication was interrupted, start cowbook again"):
        book_at(made.output_dir, "BTCUSDT", event=30)


def test_streams_that_disagree_on_a_cut_are_an_interrupted_publication(own: Reconstruction) -> None:
    """One stream has its regular part already, another its earlier tail."""
    part = part_of(own, "depth", 30)
    part.rename(part.with_name(part.name.replace(part.name.split("-")[2][:16], f"{int(part.name.split('-')[2][:16]) - 1:016d}")))
    with pytest.raises(
        QueryError, match="begin with the same event and end with different ones; if a publication was interrupted"
    ):
        book_at(own.output_dir, "BTCUSDT", event=3)


def test_depth_that_contradicts_bbo_is_refused(own: Reconstruction) -> None:
    """A part of another run under this name, with rows of the same events."""
    part = part_of(own, "frame", 30)
    table = pq.read_table(part)
    sizes = pa.array([size + 1 for size in table["size"].to_pylist()], table.schema.field("size").type)
    pq.write_table(table.set_column(table.schema.get_field_index("size"), "size", sizes), part, store_schema=False)
    with pytest.raises(QueryError, match="depth and bbo of BTCUSDT contradict each other"):
        book_at(own.output_dir, "BTCUSDT", event=27)


@pytest.mark.parametrize("numbers", ["float64", "int64"])
def test_other_kinds_of_numbers_give_the_same_books(made: Reconstruction, tmp_path: Path, numbers: NumberKind) -> None:
    """Whole numbers exactly; doubles with the fewest decimals that give them back."""
    other = make_output(tmp_path, make_lines(), numbers=numbers).output_dir
    for event in range(0, made.rows("depth")[-1]["event_index"], 5):
        expected, found = book_at(made.output_dir, "BTCUSDT", event=event), book_at(other, "BTCUSDT", event=event)
        for side, same in ((expected.bids, found.bids), (expected.asks, found.asks)):
            assert side.decimals() == same.decimals()
            assert (side.known, side.known_to) == (same.known, same.known_to)
        assert (found.synced, found.proof) == (expected.synced, expected.proof)


@pytest.mark.parametrize("spread", [1, 7, 10**9])
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_the_last_size_at_each_price_counts(seed: int, spread: int, kind: type) -> None:
    """Prices near each other, and too far apart for a table."""
    rng = np.random.default_rng(seed)
    for count in (0, 1, 5, 300):
        prices: Any = (rng.integers(-50, 50, count) * spread).astype(kind)
        sizes = rng.integers(0, 9, count)
        found = dict(zip(*(column.tolist() for column in _last_of_each(prices, sizes)), strict=True))
        assert found == dict(zip(prices.tolist(), sizes.tolist(), strict=True))


def test_no_import_is_made_that_takes_longer_than_the_answer(made: Reconstruction) -> None:
    """Neither the kernels' compiler, nor Arrow's functions, nor pandas, where that is installed, are loaded."""
    script = (
        "import sys, cowbook; cowbook.book_at(sys.argv[1], 'BTCUSDT'); "
        "sys.exit(bool({'numba', 'pandas', 'pyarrow.compute'} & {*sys.modules}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cowbook.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script, str(made.output_dir)], check=True, env=environment)


def test_doubles_become_decimals_again() -> None:
    """The fewest decimals that give all of them back; what has more than any exchange's is refused."""
    (prices, sizes), decimals = to_fixed_point(np.array([61837.62, 0.1]), np.array([3.0, 1e-8]))
    assert (prices.tolist(), sizes.tolist(), decimals) == ([6_183_762_000_000, 10_000_000], [300_000_000, 1], 8)
    assert to_fixed_point(np.empty(0))[1] == 0
    with pytest.raises(QueryError, match="more than 18 digits"):
        to_fixed_point(np.array([1e17, 1e-18]))


def test_few_files_are_opened_for_an_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grid rows tell which part has the time: of a day of many parts only some are looked at."""
    lines = [snapshot(100, 0, BIDS, ASKS), *(diff(101 + n, 1000 + n * 1000, [("10", str(n % 7 + 1))]) for n in range(400))]
    output = make_output(tmp_path, lines, part_events=4).output_dir
    opened: list[Path] = []
    init = PartReader.__init__

    def open_and_count(reader: PartReader, stream: str, part: Any, footer: Any) -> None:
        opened.append(part.path)
        init(reader, stream, part, footer)

    monkeypatch.setattr(PartReader, "__init__", open_and_count)
    for second in (7, 150, 390):
        opened.clear()
        assert book_at(output, "BTCUSDT", ns(1000 * second + 500)).update_id == 100 + second
        assert len(opened) < 20


def test_the_proof_names_frame_changes_gaps_and_comparisons(made: Reconstruction) -> None:
    """In front of the gap, behind it, and behind the snapshot that ends the gap's harm."""
    (gap,) = made.rows("gaps")
    (drift,) = made.rows("drift")
    before = book_at(made.output_dir, "BTCUSDT", event=gap["event_index"] - 1)
    assert before.synced
    assert (before.proof.last_gap, before.proof.next_gap.event) == (None, gap["event_index"])  # type: ignore[union-attr]
    assert before.proof.gaps == 0
    behind = book_at(made.output_dir, "BTCUSDT", event=gap["event_index"])
    assert behind.synced is False
    assert behind.known == (0, 0)
    assert behind.proof.last_gap is not None
    assert (behind.proof.last_gap.event, behind.proof.last_gap.text) == (gap["event_index"], "1 id missing")
    assert (behind.proof.gaps, behind.proof.next_gap) == (1, None)
    assert behind.proof.next_comparison is not None
    assert behind.proof.next_comparison.event == drift["event_index"]
    end = book_at(made.output_dir, "BTCUSDT")
    assert end.synced
    assert end.proof.last_comparison is not None
    assert end.proof.last_comparison.event == drift["event_index"]
    assert end.proof.frame_event == max(row["event_index"] for row in made.rows("frame"))
    assert end.proof.changes == sum(row["event_index"] >= end.proof.frame_event for row in made.rows("depth"))


def test_a_ticker_that_fails_ends_sync_at_once(tmp_path: Path) -> None:
    """No row of `depth` shows it before the next message; the failed comparison does."""
    lines = [
        snapshot(100, 0, BIDS, ASKS),
        diff(101, 100, [("10", "2")]),
        ticker(101, ("10", "7"), ("11", "1")),
        trade(1, 200),
        trade(2, 300),
    ]
    output = make_output(tmp_path, lines).output_dir
    assert [book_at(output, "BTCUSDT", ns(time)).synced for time in (100, 200, 300)] == [True, False, False]
    failure = book_at(output, "BTCUSDT", ns(300)).proof.last_failure
    assert failure is not None
    assert failure.text.startswith("bookTicker: expected 10.00000000 x 7.00000000")


def test_a_comparison_that_fails_without_a_row_of_depth_ends_sync(tmp_path: Path) -> None:
    """Of what lies behind the instant in the same part nothing counts."""
    lines = [snapshot(100, 0, BIDS, ASKS), diff(101, 100, [("10", "2")]), ticker(101, ("10", "7"), ("11", "1")), trade(1, 200)]
    lines += [diff(102, 300, [("10", "3")]), snapshot(102, 400, [*BIDS[1:], ("10", "3")], ASKS), diff(103, 500, [("10", "4")])]
    output = make_output(tmp_path, lines, part_events=1000).output_dir
    found = [book_at(output, "BTCUSDT", ns(time)).synced for time in (100, 200, 300, 400, 500)]
    assert found == [True, False, False, True, True]


def test_a_rejected_record_leaves_sync_open_until_the_next_message(tmp_path: Path) -> None:
    """Whether it was one that ends sync only the next depth message shows."""
    lines = [snapshot(100, 0, BIDS, ASKS), b"nonsense\n", trade(1, 200)]
    output = make_output(tmp_path / "open", lines).output_dir
    assert [book_at(output, "BTCUSDT", ns(time)).synced for time in (100, 200)] == [True, None]
    assert book_at(output, "BTCUSDT", ns(200)).known == (None, None)
    output = make_output(tmp_path / "shown", [*lines, diff(101, 300, [("10", "2")])], part_events=1000).output_dir
    assert book_at(output, "BTCUSDT", ns(200)).synced


def test_known_levels_are_those_of_the_snapshot(tmp_path: Path) -> None:
    """A level beyond the farthest one of the snapshot is not called known, in whatever cut."""
    lines = [snapshot(100, 0, BIDS, ASKS), *(diff(101 + n, 1000 + n * 100, [("7", "1"), ("10", str(n + 1))]) for n in range(8))]
    output = make_output(tmp_path, lines).output_dir
    book = book_at(output, "BTCUSDT")
    assert [str(price) for price, _ in book.bids.decimals()] == ["10.00000000", "9.00000000", "8.00000000", "7.00000000"]
    assert book.known == (3, 3)
    assert (book.bids.known_to, book.asks.known_to) == (Decimal(8), Decimal(13))
    assert book_at(output, "BTCUSDT", levels=2).known == (2, 2)
    assert book_at(output, "BTCUSDT", levels=2).bids.known_to == Decimal(8)


def test_numbers_come_as_decimals_floats_or_integers(made: Reconstruction) -> None:
    """One and the same level in each form."""
    book = book_at(made.output_dir, "BTCUSDT", event=7, levels=2)
    assert len(book.bids) == 2
    assert book.bids.best == (Decimal(10), Decimal(1))
    assert book.bids.decimals(1) == [(Decimal(10), Decimal(1))]
    assert [column.tolist() for column in book.asks.floats()] == [[11.0, 12.0], [1.0, 2.0]]
    assert [column.tolist() for column in book.asks.integers(1)] == [[1_100_000_000], [100_000_000]]
    assert (book.spread, book.mid) == (Decimal(1), Decimal("10.5"))
    assert repr(book.bids).startswith("<BookSide of ")
    assert repr(book).startswith("<InstantBook of BTCUSDT at 2024-08-09T00:00:00.000Z, event 7: 10 x 1 | ")


def test_the_table_has_the_levels_with_their_decimals(made: Reconstruction) -> None:
    """Bids best first, then asks; exact decimals; what is known."""
    book = book_at(made.output_dir, "BTCUSDT", event=7)
    table = book.to_arrow()
    assert table.column_names == ["side", "price", "size", "known"]
    assert table.to_pylist()[0] == {"side": "bid", "price": Decimal(10), "size": Decimal(1), "known": True}
    assert table["side"].to_pylist() == ["bid"] * 3 + ["ask"] * 3
    assert table.schema.metadata[b"cowbook.event"] == b"7"
