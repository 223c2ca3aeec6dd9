"""Compares the book with what a snapshot says it must be, level by level.

Both stand for the same moment. The second book is in the BEFORE trees: either the book that a snapshot replaced, or the one that
a witness shows.
"""

from __future__ import annotations

from cowbook.book.emit import add_level, begin_run
from cowbook.book.known import is_inside
from cowbook.book.ladder import BEFORE, BID, MAX_TICK, OK, POOL_EXHAUSTED, next_level, price_of, set_level, size_at_tick
from cowbook.kernels.jit import kernel, rare_kernel
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import CHANGE, LEARNED

_UNIT = 10**18


@kernel
def _add_error(row, error):
    """Add to the row's size error, which has two fields because it may exceed 64 bits."""
    row.size_error_low += error
    if row.size_error_low >= _UNIT:
        row.size_error_low -= _UNIT
        row.size_error_high += 1


@rare_kernel
def clear_counts(row):
    """Set the counts of a drift row to 0."""
    row.levels_compared = 0
    row.levels_missing = 0
    row.levels_extra = 0
    row.levels_differing = 0
    row.levels_learned = 0
    row.size_error_high = 0
    row.size_error_low = 0


@kernel
def _count(row, before, after):
    """Count a level that had the size `before` and has the size `after`; 0 means that it is not there."""
    row.levels_missing += before == 0
    row.levels_extra += after == 0
    row.levels_differing += before != 0 and after != 0
    _add_error(row, abs(after - before))


@kernel
def _better(side_number, one, other):
    """Returns the better of two ticks, of which -1 stands for none."""
    if one < 0 or other < 0:
        return max(one, other)
    return max(one, other) if side_number == BID else min(one, other)


@rare_kernel
def measure_side(book, side_number, limit, row):
    """Count how a side of the live book differs from the one that it replaced, from the best level to the price `limit`."""
    old, new = book.sides[BEFORE + side_number], book.sides[side_number]
    blocks = book.blocks
    downwards = side_number == BID
    index = MAX_TICK if downwards else 0
    step = -1 if downwards else 1
    while True:
        before_at = next_level(blocks, old, index, downwards)
        after_at = next_level(blocks, new, index, downwards)
        index = _better(side_number, before_at, after_at)
        if index < 0 or not is_inside(side_number, price_of(book, index), limit):
            return
        before = size_at_tick(blocks, old, index)
        after = size_at_tick(blocks, new, index)
        row.levels_compared += after != 0
        if before != after:
            _count(row, before, after)
        index += step


@rare_kernel
def judge_side(engine, side_number, limit, row, blame, has_run, ts, ts_recv):
    """Compare a side of the live book with what a witness shows of it, to the price `limit`, and take what differs from it.

    A difference inside of what was known is blamed: it is counted in `row`. Any other one is learned. The first blamed one is
    written to `blame`, a row of audits, unless one is there. Returns (OK or POOL_EXHAUSTED, whether a run of rows is begun).
    """
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    bound = state.bid_bound if side_number == BID else state.ask_bound
    shown = book.sides[BEFORE + side_number]
    blocks = book.blocks
    downwards = side_number == BID
    index = MAX_TICK if downwards else 0
    step = -1 if downwards else 1
    while True:
        found_at = next_level(blocks, book.sides[side_number], index, downwards)
        shown_at = next_level(blocks, shown, index, downwards)
        index = _better(side_number, found_at, shown_at)
        price = price_of(book, index)
        if index < 0 or not is_inside(side_number, price, limit):
            return OK, has_run
        before = size_at_tick(blocks, book.sides[side_number], index)
        after = size_at_tick(blocks, shown, index)
        row.levels_compared += after != 0
        index += step
        if before == after:
            continue
        if is_inside(side_number, price, bound):
            if row.levels_missing + row.levels_extra + row.levels_differing == 0:
                _blame(blame, side_number, price, after, before)
            _count(row, before, after)
        else:
            row.levels_learned += 1
        if not has_run:
            begin_run(state, settings, rows, LEARNED, ts, ts_recv, state.last_id)
            has_run = True
        add_level(state, settings, rows, side_number, price, after)
        if set_level(book, side_number, price, after) != OK:
            return POOL_EXHAUSTED, has_run


@rare_kernel
def take_side(engine, side_number, update_id, has_run, ts, ts_recv):
    """Make a side of the live book equal to what the BEFORE trees show, with a row for each level that differs.

    Returns (OK or POOL_EXHAUSTED, whether a run of rows is begun).
    """
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    blocks = book.blocks
    downwards = side_number == BID
    index = MAX_TICK if downwards else 0
    step = -1 if downwards else 1
    while True:
        found_at = next_level(blocks, book.sides[side_number], index, downwards)
        shown_at = next_level(blocks, book.sides[BEFORE + side_number], index, downwards)
        index = _better(side_number, found_at, shown_at)
        if index < 0:
            return OK, has_run
        price, after = price_of(book, index), size_at_tick(blocks, book.sides[BEFORE + side_number], index)
        if size_at_tick(blocks, book.sides[side_number], index) != after:
            if not has_run:
                begin_run(state, settings, rows, CHANGE, ts, ts_recv, update_id)
                has_run = True
            add_level(state, settings, rows, side_number, price, after)
            if set_level(book, side_number, price, after) != OK:
                return POOL_EXHAUSTED, has_run
        index += step


@kernel
def _blame(row, side_number, price, expected, found):
    """Write the first blamed level into a row of audits: bids in the fields of the bid, asks in those of the ask."""
    row.expected_bid_price = price if side_number == BID else NONE
    row.expected_bid_size = expected if side_number == BID else 0
    row.expected_ask_price = NONE if side_number == BID else price
    row.expected_ask_size = 0 if side_number == BID else expected
    row.found_bid_price = row.expected_bid_price
    row.found_bid_size = found if side_number == BID else 0
    row.found_ask_price = row.expected_ask_price
    row.found_ask_size = 0 if side_number == BID else found
