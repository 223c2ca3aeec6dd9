"""What is known of the book: on each side every level from the best price to a bound (docs/rules.md, section 2).

The bound is a price. Beyond it a level is known only if it has changed, so nothing there is called known. While the book is not
synced, nothing is known.
"""

from __future__ import annotations

from cowbook.book.ladder import BID
from cowbook.book.slots import mark_ahead
from cowbook.book.state import ALL_OF_ASKS, ALL_OF_BIDS, NOTHING_OF_ASKS, NOTHING_OF_BIDS
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.messages import IS_PICTURE, NONE


@rare_kernel
def snapshot_bounds(settings, message, levels):
    """Returns (bid bound, ask bound) of what a snapshot shows.

    A side is known as a whole if it has fewer levels than the other one: then no limit has cut it. Otherwise it is known to its
    farthest price. Levels count as they were sent, also those of size 0. A picture shows no more than that, whatever the venue's
    other snapshots do.
    """
    if settings.snapshots_are_whole and message.flags & IS_PICTURE == 0:
        return ALL_OF_BIDS, ALL_OF_ASKS
    bids, asks = message.bid_count, message.ask_count
    if bids == 0 and asks == 0:
        return NOTHING_OF_BIDS, NOTHING_OF_ASKS
    bid_bound = ALL_OF_BIDS
    if bids >= asks:
        bid_bound = NOTHING_OF_BIDS
        for level in range(message.bid_start, message.bid_start + bids):
            bid_bound = min(bid_bound, levels.prices[level])
    ask_bound = ALL_OF_ASKS
    if asks >= bids:
        ask_bound = NOTHING_OF_ASKS
        for level in range(message.ask_start, message.ask_start + asks):
            ask_bound = max(ask_bound, levels.prices[level])
    return bid_bound, ask_bound


@inlined_kernel
def is_inside(side_number, price, bound):
    """Returns whether a price is known. `price` is NONE for the best price of an empty side, which is known only as a whole."""
    if side_number == BID:
        return bound == ALL_OF_BIDS or (price != NONE and price >= bound)
    return bound == ALL_OF_ASKS or (price != NONE and price <= bound)


@inlined_kernel
def bound_of(state, side_number):
    """Returns the bound of a side."""
    return state.bid_bound if side_number == BID else state.ask_bound


@rare_kernel
def end_sync(state, slots):
    """End sync, if the book is synced: nothing is known any more, and a witness that waits is used at once."""
    if state.synced:
        state.synced = 0
        mark_ahead(state, slots)
    forget_known(state)


@inlined_kernel
def forget_known(state):
    """Nothing is known any more."""
    state.bid_bound = NOTHING_OF_BIDS
    state.ask_bound = NOTHING_OF_ASKS
    state.best_is_known = 0
    state.grid_is_known = 0
    state.feature_known = 0


@rare_kernel
def known_levels(state, side_number, levels, count):
    """Returns how many of a side's `count` levels in a grid row are known, from the best one on. `levels` are the row's."""
    bound = bound_of(state, side_number)
    known = count
    while known > 0 and not is_inside(side_number, levels[4 * (known - 1) + 2 * side_number], bound):
        known -= 1
    return known


@inlined_kernel
def note_grid(state, row, count):
    """Note whether all `count` levels of a grid row are known on both sides, also that there are no more than it has."""
    bids_known = row.bids_known == count or state.bid_bound == ALL_OF_BIDS
    state.grid_is_known = bids_known and (row.asks_known == count or state.ask_bound == ALL_OF_ASKS)
