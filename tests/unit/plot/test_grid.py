"""The fold onto a grid: against a dictionary, column by column."""

from __future__ import annotations

import numpy as np
import pytest

from cowbook.plot.grid import PriceAxis, SideGrid

COLUMNS = 20


@pytest.mark.parametrize("seed", range(30))
def test_each_column_shows_the_dictionary_at_its_end(seed: int) -> None:
    """Whatever the rows are: changes, removals of unknown levels, and clears; in several parts."""
    random = np.random.default_rng(seed)
    axis = PriceAxis(110, 140, int(random.integers(5, 40)), 1)
    side = SideGrid(COLUMNS, axis)
    book = {int(price): int(random.integers(1, 9)) for price in random.choice(np.arange(100, 150), 8, replace=False)}
    side.start(np.array(list(book), np.int64), np.array(list(book.values()), np.int64))
    count = 300
    columns = np.sort(random.integers(0, COLUMNS, count))
    prices, sizes = random.integers(100, 150, count), random.integers(0, 4, count)
    clears = random.random(count) < 0.02
    for rows in np.array_split(np.arange(count), 4):
        side.add(columns[rows], prices[rows], sizes[rows], clears[rows])
    found_sizes, found_counts = side.finish()
    for column in range(COLUMNS):
        for row in np.flatnonzero(columns == column):
            if clears[row]:
                book.clear()
            elif sizes[row]:
                book[int(prices[row])] = int(sizes[row])
            else:
                book.pop(int(prices[row]), None)
        expected_sizes, expected_counts = np.zeros(axis.rows + 2), np.zeros(axis.rows + 2, np.int64)
        for price, size in book.items():
            place = axis.row_of(np.array([price]))[0]
            expected_sizes[place] += size
            expected_counts[place] += 1
        assert found_sizes[column].tolist() == expected_sizes.tolist(), (seed, column)
        assert found_counts[column].tolist() == expected_counts.tolist(), (seed, column)


def test_all_prices_of_a_range_have_rows_of_whole_ticks() -> None:
    """Those outside are in the rows beyond."""
    axis = PriceAxis(1000, 2000, 30, 7)
    assert axis.height % 7 == 0
    assert axis.rows <= 32
    assert axis.row_of(np.array([1000, 2000, 0, 9000])).tolist()[2:] == [0, axis.rows + 1]
    rows = axis.row_of(np.arange(1000, 2001))
    assert rows.min() >= 1
    assert rows.max() <= axis.rows
