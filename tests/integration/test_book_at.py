"""The book at an instant, from parts alone, is the engine's book then: for every venue, at random events and times."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.captures import CAPTURES, FOLDER
from bench.captures import reconstruct as reconstruct_captures
from cowbook import book_at, replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.errors import QueryError
from cowbook.plain.streams import CHOSEN_STREAMS
from cowbook.query.book import InstantBook
from support.fold import Fold, fold
from support.harness import Reconstruction, Run, reconstruct, write_files
from support.search import examples
from support.venue_samples import LINES, SAMPLE_IDS, Sample, disturbed, make_sample

COUNT = 90
DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine was between two records."""

    book: Fold
    synced: bool
    known_to: tuple[int | None, int | None]


def engine_beside(directory: Path, files: Mapping[str, bytes], run: Run) -> dict[int, list[Seen]]:
    """By number of events so far: what the engine was behind each record that ended there."""
    paths = [str(directory / name) for name in write_files(directory, files)]
    seen: dict[int, list[Seen]] = defaultdict(list)
    arguments: dict[str, Any] = {"format": run.format, "price_decimals": 1, "size_decimals": 2, "settings": run.engine}
    for engine in replay(paths, run.symbol, every=1, **arguments):
        bids, asks = (dict(zip(*(array.tolist() for array in side.levels()), strict=True)) for side in (engine.bids, engine.asks))
        seen[engine.event_count].append(Seen((bids, asks), engine.synced, (engine.bids.known_to, engine.asks.known_to)))
    return seen


def as_fold(book: InstantBook) -> Fold:
    """The levels of a book."""
    bids, asks = (dict(zip(side.prices.tolist(), side.sizes.tolist(), strict=True)) for side in (book.bids, book.asks))
    return bids, asks


def check_claims(book: InstantBook, states: list[Seen]) -> None:
    """What is said of sync and known levels is true of the engine at that event."""
    assert list(book.bids.prices) == sorted(book.bids.prices, reverse=True)
    assert list(book.asks.prices) == sorted(book.asks.prices)
    if book.synced is not None:
        assert book.synced in {state.synced for state in states}
    bids, asks = (side.prices[: side.known].tolist() if side.known else [] for side in (book.bids, book.asks))
    assert any(
        (not bids or (state.known_to[0] is not None and bids[-1] >= state.known_to[0]))
        and (not asks or (state.known_to[1] is not None and asks[-1] <= state.known_to[1]))
        for state in states
    )


def event_of_time(result: Reconstruction, time: int) -> int | None:
    """The last event at which the running maximum of event time is not above a time; rows alone, one by one."""
    rows = sorted((row["event_index"], row["ts_event"]) for stream in ("depth", "trades") for row in result.rows(stream))
    newest, found = None, None
    for event, ts in rows:
        newest = ts if newest is None or ts < newest - DAY else max(newest, ts)
        if newest <= time:
            found = event
    return found


def run_sample(
    directory: Path, sample: Sample, files: Mapping[str, bytes], rng: random.Random, streams: tuple[str, ...] = CHOSEN_STREAMS
) -> Any:
    """A run with small parts, and the engine beside it."""
    depth = rng.choice([0, 0, 4])
    engine = EngineSettings(part_events=40, part_interval=15_000_000_000, book_levels=3, depth=depth, streams=streams)
    run = Run("X/Y é", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)
    run = replace(run, triggers=TriggerSettings(rng.choice([7, 50]), 10**12, 0))
    seen = engine_beside(directory / "beside", files, run)
    result = reconstruct(directory / "run", files, replace(run, name="X"))
    assert result.summary.state == "done", result.summary.error
    return result, seen


def check_sample(result: Reconstruction, seen: dict[int, list[Seen]], rng: random.Random, count: int) -> int:
    """Ask for books at random events and times. Returns how many levels were called known."""
    depth = result.rows("depth")
    known = 0
    first_time = min(row["ts_event"] for row in depth)
    last_time = max(row["ts_event"] for row in depth)
    events = [event for event in seen if event > depth[0]["event_index"]]
    for _ in range(count):
        event = rng.choice(events)
        book = book_at(result.output_dir, "X", event=event - 1)
        assert as_fold(book) in [state.book for state in seen[event]], event
        check_claims(book, seen[event])
        known += sum(book.known[side] or 0 for side in (0, 1))
        time = rng.choice([rng.randint(first_time, last_time), rng.choice(depth)["ts_event"], rng.choice(depth)["ts_event"] - 1])
        expected = event_of_time(result, time)
        if expected is None or expected < depth[0]["event_index"]:
            with pytest.raises(QueryError):
                book_at(result.output_dir, "X", time)
            continue
        book = book_at(result.output_dir, "X", time)
        assert book.event == expected
        assert as_fold(book) == fold(row for row in depth if row["event_index"] <= expected)
        assert expected + 1 not in seen or as_fold(book) in [state.book for state in seen[expected + 1]]
        if expected + 1 in seen:
            check_claims(book, seen[expected + 1])
    for row in rng.sample(result.rows("book"), min(count, len(result.rows("book")))):
        book = book_at(result.output_dir, "X", row["ts"])
        for side, prices in (("bid", book.bids.prices), ("ask", book.asks.prices)):
            shown = [row[f"{side}_px_{level:02d}"] for level in range(3) if row[f"{side}_px_{level:02d}"] is not None]
            assert prices[:3].tolist() == shown, row["ts"]
    return known


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_the_book_at_an_instant_is_the_engines(sample_id: str, tmp_path: Path, seed: int) -> None:
    """All venues and containers, all streams."""
    rng = random.Random(seed)
    for place in range(examples(20) // 10):
        sample = make_sample(sample_id, rng.randrange(10**6), COUNT)
        result, seen = run_sample(tmp_path / f"{place}", sample, sample.files, rng)
        assert check_sample(result, seen, rng, 6) > 0 or not result.summary.synced


@pytest.mark.parametrize("sample_id", LINES)
def test_the_book_at_an_instant_whatever_is_lost(sample_id: str, tmp_path: Path, seed: int) -> None:
    """Gaps, repetitions, late records and dead letters; with and without frames and trades."""
    rng = random.Random(seed)
    for place in range(examples(20) // 10):
        sample = make_sample(sample_id, rng.randrange(10**6), COUNT)
        lines = sample.files["a"].split(b"\n")[:-1]
        content = b"\n".join([*lines[:6], *disturbed(rng, lines[6:]), b""])
        streams = rng.choice([CHOSEN_STREAMS, ("depth", "trades"), ("depth", "trades", "bbo"), ("depth", "trades", "frame")])
        result, seen = run_sample(tmp_path / f"{place}", sample, {"a": content}, rng, streams)
        check_sample(result, seen, rng, 6)


@pytest.mark.usefixtures("shared_data")
def test_the_book_of_recorded_captures_is_the_engines(tmp_path: Path, seed: int) -> None:
    """At random places of whole captures of spot and futures: levels, sync, and what is called known."""
    rng = random.Random(seed)
    reconstruct_captures(tmp_path)
    for symbol, capture in CAPTURES.items():
        kept: dict[int, tuple[Seen, int]] = {}
        for engine in replay([str(FOLDER / name) for name in capture.files], capture.name, every=997):
            if engine.value("snapshots") + engine.value("diffs") and rng.random() < 0.3:
                bids, asks = (
                    dict(zip(*(array.tolist() for array in side.levels()), strict=True)) for side in (engine.bids, engine.asks)
                )
                known_to = engine.bids.known_to, engine.asks.known_to
                kept[engine.event_count] = Seen((bids, asks), engine.synced, known_to), engine.value("last_depth_time")
        assert len(kept) > 3
        for event, (state, time) in rng.sample(sorted(kept.items(), key=lambda item: item[0]), 4):
            book = book_at(tmp_path / "data", symbol, event=event - 1)
            assert (as_fold(book), book.time) == (state.book, time)
            check_claims(book, [state])
