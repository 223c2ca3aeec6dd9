"""`depth` folds: its rows, read back from the parts, give the engine's book after every message of every venue.

The engine beside is fed message by message; the run that writes the parts stops and goes on anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cowbook import replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from support.fold import Fold, fold_row
from support.harness import Reconstruction, Run, reconstruct, write_files
from support.search import examples
from support.venue_samples import LINES, SAMPLE_IDS, Sample, disturbed, make_sample

COUNT = 90
"""Events of a sample."""

Files = Mapping[str, bytes]


def run_of(sample: Sample, depth: int) -> Run:
    """Small parts; a venue that keeps `depth` levels of each side, 0 for all."""
    engine = EngineSettings(part_events=40, part_interval=15_000_000_000, book_levels=3, depth=depth)
    return Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)


def books_beside(directory: Path, files: Files, run: Run) -> dict[int, Fold]:
    """By number of events so far: the engine's book behind each message. Where several messages end alike, the last one's."""
    paths = [str(directory / name) for name in write_files(directory, files)]
    books: dict[int, Fold] = {}
    arguments = {"format": run.format, "price_decimals": 1, "size_decimals": 2, "settings": run.engine}
    for engine in replay(paths, run.symbol, every=1, **arguments):  # type: ignore[arg-type]
        bids, asks = (dict(zip(*(array.tolist() for array in side.levels()), strict=True)) for side in (engine.bids, engine.asks))
        for side, price, size in (
            (engine.bids, engine.bid_price, engine.bid_size),
            (engine.asks, engine.ask_price, engine.ask_size),
        ):
            best = side.best()
            assert (price, size) == ((None, None) if best is None else (best[0] / 10, best[1] / 100))
        assert not run.engine.depth or max(map(len, (bids, asks))) <= run.engine.depth
        books[engine.event_count] = bids, asks
    return books


def check_parts(result: Reconstruction, books: Mapping[int, Fold]) -> int:
    """Fold the parts, and compare after each message. Returns how many were compared.

    Several messages may come of one record (a witness that waited for it): then the engine is seen behind the last one only.
    """
    book: Fold = ({}, {})
    compared = 0
    rows = result.rows("depth")
    for row in rows:
        fold_row(book, row)
        number = row["event_index"] + 1
        assert row["is_last"] or number not in books, f"event {number}: within a message"
        if row["is_last"] and number in books:
            assert book == books[number], f"event {number}"
            compared += 1
    messages = sum(row["is_last"] for row in rows)
    assert compared >= messages * 0.7 > 0
    assert rows[-1]["is_last"]
    assert book == books[max(books)]
    return compared


def broken_up(rng: random.Random, files: Files) -> list[Files]:
    """Files that grow: those of a run, and of the runs before it. What is compressed or a Parquet file grows as a whole."""
    steps: list[Files] = []
    there: dict[str, bytes] = {}
    for name, content in files.items():
        grows = content[:4].isascii() and content[:4] != b"PAR1"
        first = content.find(b"\n") + 1  # a table's first line is not read in pieces
        lengths = sorted(rng.sample(range(first or 1, len(content)), 2)) if grows else []
        steps += [there | {name: content[:length]} for length in lengths]
        there = there | {name: content}
        steps.append(there)
    return steps


def check_sample(directory: Path, sample: Sample, files: Files, rng: random.Random, depth: int) -> int:
    """One capture, in as many runs as it takes."""
    run = run_of(sample, depth)
    books = books_beside(directory / "beside", files, run)
    result = None
    for step in broken_up(rng, files):
        triggers = TriggerSettings(rng.choice([1, 7, 50]), 10**12, 0)
        result = reconstruct(directory / "run", step, replace(run, block_bytes=rng.choice([400, 30_000]), triggers=triggers))
        assert result.summary.state == "done" or "no usable record" in (result.summary.error or ""), result.summary.error
    assert result is not None
    assert result.summary.state == "done"
    return check_parts(result, books)


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_the_fold_is_the_engines_book(sample_id: str, tmp_path: Path, seed: int) -> None:
    """All venues and containers; venues that keep few levels, too."""
    rng = random.Random(seed)
    for place in range(examples(20) // 5):
        sample = make_sample(sample_id, rng.randrange(10**6), COUNT)
        check_sample(tmp_path / f"{place}", sample, sample.files, rng, rng.choice([0, 0, 4, 1]))


@pytest.mark.parametrize("sample_id", LINES)
def test_the_fold_is_the_engines_book_whatever_is_lost(sample_id: str, tmp_path: Path, seed: int) -> None:
    """Gaps, repetitions, late records and dead letters: books that are not synced fold, too."""
    rng = random.Random(seed)
    for place in range(examples(20) // 5):
        sample = make_sample(sample_id, rng.randrange(10**6), COUNT)
        lines = sample.files["a"].split(b"\n")[:-1]
        content = b"\n".join([*lines[:6], *disturbed(rng, lines[6:]), b""])  # Bitfinex's connection begins with five
        check_sample(tmp_path / f"{place}", sample, {"a": content}, rng, rng.choice([0, 0, 4]))
