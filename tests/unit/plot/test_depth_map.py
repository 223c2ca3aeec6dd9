"""What a picture shows is what the output shows: the book of each column, and never more known than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cowbook import book_at
from cowbook.errors import QueryError
from cowbook.plain.vocabulary import SOLD
from cowbook.plot.depth_map import DepthMap, read_depth_map
from cowbook.sink.columns import NumberKind
from support.harness import Reconstruction
from support.small_output import ASKS, BIDS, START_MS, diff, make_lines, make_output, snapshot

START = START_MS * 10**6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """An output with a snapshot, a gap at 1.5 s, and a snapshot at 2.2 s; parts of nine events."""
    return make_output(tmp_path_factory.mktemp("plot"), make_lines())


def rows_of(depth: DepthMap, column: int) -> dict[float, float]:
    """Sizes by the price in the middle of their row."""
    height = (depth.high - depth.low) / depth.sizes.shape[1]
    return {round(depth.low + (row + 0.5) * height, 6): size for row, size in enumerate(depth.sizes[column]) if size}


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (START + 700_000_000, None), (None, START + 1_850_000_000), (START + 910_000_001, START + 10**10)],
)
def test_each_column_shows_the_book_at_its_end(made: Reconstruction, start: int | None, end: int | None) -> None:
    """As `book_at` has it: sizes, best prices, sync."""
    depth = read_depth_map(made.output_dir, "BTCUSDT", start, end, columns=60)
    assert len(depth.edges) == 61
    for column, time in enumerate(depth.edges[1:].tolist()):
        book = book_at(made.output_dir, "BTCUSDT", time)
        expected: dict[float, float] = {}
        for side in (book.bids, book.asks):
            for price, size in side.decimals():
                expected[float(price)] = expected.get(float(price), 0) + float(size)
        assert rows_of(depth, column) == expected, column
        for side, best in zip((book.bids, book.asks), depth.best, strict=True):
            assert (side.best is None and np.isnan(best[column])) or float(side.best[0]) == best[column]  # type: ignore[index]
        assert not depth.is_synced[column] or book.synced


def test_a_gap_ends_what_is_known_until_the_next_snapshot(made: Reconstruction) -> None:
    """No column in which it was not synced claims anything; elsewhere what the snapshot had is known, and no more."""
    depth = read_depth_map(made.output_dir, "BTCUSDT", columns=58)
    assert [int(time) - START for time in depth.gaps.times] == [1_600_000_000]
    assert depth.gaps.missing.tolist() == [1]
    unsynced = (depth.edges[1:] >= depth.gaps.times[0]) & (depth.edges[:-1] < START + 2_250_000_000)
    assert not depth.is_synced[unsynced].any()
    assert depth.is_synced[~unsynced].mean() > 0.9
    for known, bound in zip(depth.known, (8.0, 13.0), strict=True):
        assert np.isnan(known[~depth.is_synced]).all()
        assert np.nanmin(known * (1 if bound == 8.0 else -1)) == bound * (1 if bound == 8.0 else -1)


def test_what_a_later_snapshot_teaches_was_not_known_before(tmp_path: Path) -> None:
    """Two more levels of each side, seen by a witness: known from then on, and not a moment earlier."""
    more_bids, more_asks = [*BIDS, ("7", "1"), ("6", "1")], [*ASKS, ("14", "1"), ("15", "1")]
    lines = [snapshot(100, 0, BIDS, ASKS)]
    for number in range(101, 132):
        lines.append(diff(number, (number - 100) * 100, [("10", str(number % 3 + 1))]))
        if number == 110:
            lines.append(snapshot(110, 1050, [("10", str(number % 3 + 1)), *more_bids[1:]], more_asks))
    made = make_output(tmp_path, lines, part_events=1000, book_levels=5)
    assert len({row["event_index"] for row in made.rows("drift")}) == 1
    depth = read_depth_map(made.output_dir, "BTCUSDT", columns=40)
    before = depth.edges[1:] < START + 1_050_000_000
    for known, first, then in ((depth.known[0], 8.0, 6.0), (depth.known[1], 13.0, 15.0)):
        seen = known[before & depth.is_synced]
        assert len(seen)
        assert (seen == first).all()
        assert known[-1] == then


def test_trades_of_a_column_and_row_are_added_up(made: Reconstruction) -> None:
    """All of them are there, by aggressor."""
    depth = read_depth_map(made.output_dir, "BTCUSDT", columns=2)
    rows: list[dict[str, Any]] = made.rows("trades")
    assert depth.trades.sizes.sum() == sum(row["size"] for row in rows) / 1e8
    assert (depth.trades.sides == SOLD).all()
    assert all(row["side"] == "sell" for row in rows)
    assert len(depth.trades.sizes) == 2


def test_without_bbo_trades_and_grid_the_book_is_still_there(tmp_path: Path) -> None:
    """`depth` and `frame` are enough, without lines of best prices."""
    made = make_output(tmp_path, make_lines(), streams=("depth", "frame"))
    depth = read_depth_map(made.output_dir, "BTCUSDT", columns=20)
    assert np.isnan(depth.best[0]).all()
    assert not len(depth.trades.sizes)
    book = book_at(made.output_dir, "BTCUSDT")
    assert set(rows_of(depth, 19)) == {float(price) for side in (book.bids, book.asks) for price, _ in side.decimals()}
    assert depth.known[0][5] == 8.0  # from the frames


@pytest.mark.parametrize("symbol", ["ETHUSDT", ""])
def test_an_unknown_symbol_is_refused(made: Reconstruction, symbol: str) -> None:
    """With the names that are there."""
    with pytest.raises(QueryError, match="BTCUSDT"):
        read_depth_map(made.output_dir, symbol)


def test_a_span_without_events_is_refused(made: Reconstruction) -> None:
    """The error says what there is."""
    with pytest.raises(QueryError, match="2024-08-09T00:00:00"):
        read_depth_map(made.output_dir, "BTCUSDT", "2024-08-10", "2024-08-11")
    with pytest.raises(QueryError, match="to show from"):
        read_depth_map(made.output_dir, "BTCUSDT", START + 10**9, START + 10**9)


def test_a_missing_part_is_refused(made: Reconstruction, tmp_path: Path) -> None:
    """It is not drawn as if nothing had happened."""
    import shutil

    shutil.copytree(made.output_dir, tmp_path / "data")
    sorted((tmp_path / "data").glob("depth/*/*/*.parquet"))[2].unlink()
    with pytest.raises(QueryError, match="restore"):
        read_depth_map(tmp_path / "data", "BTCUSDT")


@pytest.mark.parametrize("numbers", ["float64", "int64"])
def test_the_picture_is_the_same_whatever_numbers_are(made: Reconstruction, tmp_path: Path, numbers: NumberKind) -> None:
    """Decimals, doubles and whole numbers."""
    other = make_output(tmp_path, make_lines(), numbers=numbers)
    expected, found = (read_depth_map(each.output_dir, "BTCUSDT", columns=30) for each in (made, other))
    assert np.allclose(found.sizes, expected.sizes, rtol=1e-12)
    assert (found.low, found.high) == (expected.low, expected.high)
    for name in ("best", "known"):
        for side in range(2):
            assert np.array_equal(getattr(found, name)[side], getattr(expected, name)[side], equal_nan=True)
