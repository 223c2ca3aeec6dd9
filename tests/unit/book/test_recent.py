"""What came lately: every remembered key is found, the oldest is forgotten, and no run of keys grows long."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from cowbook.book.recent import _remove, fill, has, insert
from cowbook.plain.book_state import RECENT_TRADES


@pytest.mark.parametrize("stride", [1, 2, 3, 7, 10, 64, 1000])
@pytest.mark.parametrize("first", [1, 3_735_683_259, -3_735_683_259])
def test_ids_in_a_row_are_scattered(first: int, stride: int) -> None:
    """A removal walks to the end of its run: with all ids in one run it took longer than all that is done with a message."""
    table = np.zeros(2 * RECENT_TRADES, np.int64)
    fill(table, first + stride * np.arange(RECENT_TRADES, dtype=np.int64))
    runs = [sum(1 for _ in run) for is_used, run in itertools.groupby((table != 0).tolist()) if is_used]
    assert sum(runs) == RECENT_TRADES
    assert sum(run * run for run in runs) / RECENT_TRADES < 200  # of the run that a key is in, on average


def test_removed_keys_are_gone_and_all_others_found(seed: int) -> None:
    """As a set of numbers has it, whatever collides."""
    rng = random.Random(seed)
    table = np.zeros(64, np.int64)
    keys: set[int] = set()
    for _ in range(3000):
        key = rng.choice([rng.randint(1, 40), rng.randint(-(2**62), 2**62), rng.randint(1, 5) << 20])
        if key in keys and rng.random() < 0.8:
            _remove(table, key)
            keys.remove(key)
        elif key != 0 and key not in keys and len(keys) < 40:
            insert(table, key)
            keys.add(key)
        assert sorted(table[table != 0].tolist()) == sorted(keys)
        assert all(has(table, each) for each in keys)
        assert not has(table, 2**62 + 1)
