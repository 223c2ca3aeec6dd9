"""The copy-on-write ladder against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowbook.book import block_pool, ladder
from cowbook.book.ladder_view import Ladder
from cowbook.kernels.jit import as_records
from cowbook.plain.messages import NONE
from support.search import examples

Book = tuple[dict[int, int], dict[int, int]]

TICKS = st.sampled_from([1, 7, 100, 10**6, 25 * 10**5, 10**15])
PRICES = st.one_of(
    st.builds(lambda tick, number: tick * number, TICKS, st.integers(0, 500)),
    st.integers(0, 100),
    st.builds(lambda tick, number: tick * number, TICKS, st.integers(-500, 20)),
    st.integers(0, 10**18 - 1),
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.sampled_from([-(10**18) + 1, -(2**53) - 1, -64, -1, 0, 1, 10**18 - 1]),
)
SIZES = st.one_of(st.just(0), st.integers(1, 10**18 - 1), st.integers(1, 9))
UPDATES = st.tuples(st.integers(0, 1), PRICES, SIZES)


def allocate(max_book_bytes: int) -> ladder.Book:
    """An empty book, as kernels take it."""
    book: ladder.Book = as_records(ladder.allocate(max_book_bytes))
    return book


def levels_of(arrays: ladder.Book, side: int) -> dict[int, int]:
    """All levels of a live side, in the order that the ladder gives them."""
    prices, sizes = Ladder(side, arrays).levels()
    return dict(zip(prices.tolist(), sizes.tolist(), strict=True))


def in_order(book: Book, side: int) -> dict[int, int]:
    """A dictionary's levels, best first."""
    return dict(sorted(book[side].items(), reverse=side == ladder.BID))


def update(arrays: ladder.Book, book: Book, side: int, price: int, size: int) -> None:
    """Set a level in both."""
    assert ladder.set_level(arrays, side, price, size) == ladder.OK
    if size:
        book[side][price] = size
    else:
        book[side].pop(price, None)


def used_blocks(arrays: ladder.Book) -> int:
    """Blocks that are neither free nor fresh."""
    total = (int(arrays.pool["end"][0]) - block_pool.FIRST_BLOCK) // block_pool.BLOCK_WORDS
    return total - int(block_pool.blocks_available(arrays.pool))


def check_sums(arrays: ladder.Book) -> None:
    """The sums of the leaves of the live sides are those of their sizes, but where a size was ever large."""
    sides, blocks = arrays.sides, arrays.blocks
    for side in sides[:2]:
        pending = [int(side["root"])] if side["root"] != block_pool.NO_BLOCK else []
        while pending:
            block = pending.pop()
            used = int(blocks[block + block_pool.USED])
            entries = [int(blocks[block + entry]) for entry in range(block_pool.ENTRIES) if used >> entry & 1]
            if blocks[block + block_pool.HEIGHT] > 1:
                pending += entries
                continue
            total = int(blocks[block_pool.sum_place(blocks, block)])
            assert total in (sum(entries), block_pool.NO_SUM)
            assert max(entries) < block_pool.LARGE or total == block_pool.NO_SUM


@given(st.lists(UPDATES, max_size=300))
def test_a_ladder_equals_a_dictionary(updates: list[tuple[int, int, int]]) -> None:
    """Levels, order, best and counts are those of a dictionary, for any prices."""
    arrays = allocate(1 << 22)
    book: Book = ({}, {})
    for side, price, size in updates:
        update(arrays, book, side, price, size)
        best = ladder.best_level(arrays, side)
        expected = next(iter(in_order(book, side).items()), (NONE, NONE))
        assert best == expected
        assert Ladder(side, arrays).size_at(price) == size
    for side in (ladder.BID, ladder.ASK):
        assert list(levels_of(arrays, side).items()) == list(in_order(book, side).items())
        assert len(Ladder(side, arrays)) == len(book[side])
    check_sums(arrays)


@given(st.lists(UPDATES, max_size=100))
def test_removing_all_levels_frees_every_block(updates: list[tuple[int, int, int]]) -> None:
    """When all levels are removed, every block is free again."""
    arrays = allocate(1 << 22)
    book: Book = ({}, {})
    for side, price, size in updates:
        update(arrays, book, side, price, size)
    for side in (ladder.BID, ladder.ASK):
        for price in list(book[side]):
            update(arrays, book, side, price, 0)
    assert used_blocks(arrays) == 0


@given(st.lists(UPDATES, max_size=100))
def test_clearing_a_side_frees_its_blocks_and_keeps_the_other(updates: list[tuple[int, int, int]]) -> None:
    """Clearing a side frees its blocks and leaves the other."""
    arrays = allocate(1 << 22)
    book: Book = ({}, {})
    for side, price, size in updates:
        update(arrays, book, side, price, size)
    ladder.clear_side(arrays, ladder.BID)
    assert levels_of(arrays, ladder.BID) == {}
    assert levels_of(arrays, ladder.ASK) == book[ladder.ASK]
    ladder.clear_side(arrays, ladder.ASK)
    assert used_blocks(arrays) == 0


class Frozen:
    """A snapshot of the arrays, as the engine takes it, with the dictionary of its moment."""

    def __init__(self, arrays: ladder.Book, book: Book, slot: str) -> None:
        self.blocks = arrays.blocks
        self.pool = arrays.pool.copy()
        self.sides = arrays.sides.copy()
        self.book = tuple(in_order(book, side) for side in (0, 1))
        self.epoch = int(arrays.pool["epoch"][0])
        arrays.pool[slot] = arrays.pool["protected"] = self.epoch
        arrays.pool["epoch"] += 1

    def check(self) -> None:
        """The snapshot still shows the book of its moment."""
        for side in (0, 1):
            prices, sizes = Ladder(side, ladder.Book(self.pool, self.sides, self.blocks)).levels()
            assert list(zip(prices.tolist(), sizes.tolist(), strict=True)) == list(self.book[side].items())


ACTIONS = st.lists(st.one_of(UPDATES, st.sampled_from(["freeze", "release_first", "release_second", "clear"])), max_size=200)


@settings(max_examples=examples(200))
@given(ACTIONS)
def test_snapshots_never_change(actions: list[tuple[int, int, int] | str]) -> None:
    """Whatever the live book does, up to two snapshots show their moment; released ones give back every block."""
    arrays = allocate(1 << 22)
    book: Book = ({}, {})
    held: dict[str, Frozen] = {}
    for action in actions:
        if isinstance(action, tuple):
            update(arrays, book, *action)
        elif action == "clear":
            ladder.clear_side(arrays, ladder.BID)
            book[0].clear()
        elif action == "freeze":
            slot = next((slot for slot in ("first_snapshot", "second_snapshot") if slot not in held), None)
            if slot is not None:
                held[slot] = Frozen(arrays, book, slot)
        else:
            frozen = held.pop(action.removeprefix("release_") + "_snapshot", None)
            if frozen is not None:
                frozen.check()
                block_pool.release(arrays.pool, arrays.blocks, frozen.epoch)
        for frozen in held.values():
            frozen.check()
    check_sums(arrays)
    for side in (0, 1):
        assert list(levels_of(arrays, side).items()) == list(in_order(book, side).items())
    for frozen in held.values():
        block_pool.release(arrays.pool, arrays.blocks, frozen.epoch)
    for side in (0, 1):
        ladder.clear_side(arrays, side)
    assert used_blocks(arrays) == 0
    assert arrays.pool["retired_count"][0] == 0


def test_the_tick_is_the_common_divisor_of_the_prices() -> None:
    """The tick is the greatest common divisor of the prices seen; a removal of an unknown finer price changes nothing."""
    arrays = allocate(1 << 20)
    for price, size, tick in ((600, 5, 600), (900, 5, 300), (450, 0, 300), (450, 5, 150), (0, 1, 150), (1, 1, 1)):
        ladder.set_level(arrays, 0, price, size)
        assert arrays.pool["tick"][0] == tick
    assert levels_of(arrays, 0) == {900: 5, 600: 5, 450: 5, 1: 1, 0: 1}


def test_ticks_are_numbered_from_the_lowest_price_of_the_book_on() -> None:
    """A book of positive prices counts ticks from price 0. Negative prices move that to a power of 64, which fits for long."""
    arrays = allocate(1 << 20)
    for price, origin in ((500, 0), (700, 0), (-100, 64), (-6400, 64), (-6500, 4096), (-409_600, 4096), (-(10**17), 64**9)):
        ladder.set_level(arrays, 0, price, 1)
        assert arrays.pool["origin"][0] == origin
    assert list(levels_of(arrays, 0)) == [700, 500, -100, -6400, -6500, -409_600, -(10**17)]
    assert ladder.worst_level(arrays, 0) == -(10**17)


def test_levels_of_both_signs_span_the_highest_tree() -> None:
    """The least and the greatest price lie in one tree, with no price between them lost, and are found from either end."""
    arrays = allocate(1 << 20)
    prices = [-(10**18) + 1, -1, 0, 1, 10**18 - 1]
    for price in prices:
        ladder.set_level(arrays, 0, price, 1)
    assert arrays.sides["height"][0] == ladder.MAX_HEIGHT
    assert list(levels_of(arrays, 0)) == prices[::-1]
    found, index = [], 0
    while (index := ladder.next_level(arrays.blocks, arrays.sides[0], index, False)) >= 0:
        found.append(ladder.price_of(arrays, index))
        index += 1
    assert found == prices
    assert Ladder(0, arrays).size_at(-2) == 0


def test_the_first_price_may_be_zero() -> None:
    """A book may begin with price 0, before any tick is known."""
    arrays = allocate(1 << 20)
    ladder.set_level(arrays, 1, 0, 7)
    ladder.set_level(arrays, 1, 123, 8)
    assert levels_of(arrays, 1) == {0: 7, 123: 8}


def test_an_exhausted_pool_is_reported() -> None:
    """A full pool is reported; nothing is written outside it."""
    arrays = allocate(1)
    results = [ladder.set_level(arrays, 0, (price << 40) + 1, 1) for price in range(1, 1000)]
    assert ladder.POOL_EXHAUSTED in results


@pytest.mark.parametrize("downwards", [True, False])
def test_next_level_finds_the_nearest_one_across_block_boundaries(downwards: bool) -> None:
    """The nearest level at or beside any tick is found, also at block boundaries."""
    arrays = allocate(1 << 20)
    ticks = [0, 1, 63, 64, 4095, 4096, 262143, 262144, 10**15]
    for tick in ticks:
        ladder.set_level(arrays, 0, tick, 1)
    assert arrays.pool["tick"][0] == 1
    for tick in ticks:
        for index in (tick - 1, tick, tick + 1):
            beside = [t for t in ticks if (t <= index if downwards else t >= index)]
            expected = -1 if index < 0 or not beside else max(beside) if downwards else min(beside)
            assert ladder.next_level(arrays.blocks, arrays.sides[0], index, downwards) == expected


def test_copy_levels_stops_when_the_arrays_are_full() -> None:
    """Only as many levels are copied as fit, best first."""
    arrays = allocate(1 << 20)
    for price in range(10):
        ladder.set_level(arrays, 0, price, price + 1)
    prices = np.zeros(3, np.int64)
    sizes = np.zeros(3, np.int64)
    assert ladder.copy_levels(arrays, 0, 3, prices, sizes, 0, 1) == 3
    assert prices.tolist() == [9, 8, 7]
    assert sizes.tolist() == [10, 9, 8]
