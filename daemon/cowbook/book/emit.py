"""Writes the rows of accepted messages, in the order of docs/rules.md, section 3. Each stream has a function."""

from __future__ import annotations

from cowbook.book.features import features_row, note_trade
from cowbook.book.known import is_inside, known_levels, note_grid
from cowbook.book.ladder import ASK, BID, best_level, copy_levels
from cowbook.kernels.copying import copy_sides
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import CHANGE


@rare_kernel
def grid_row(engine, ts):
    """Note what is known at the grid point `ts`, and write its row from the current book if that is wanted."""
    state = engine.state[0]
    state.grid_due = 0
    row = engine.rows.book[state.open_book]
    levels = engine.rows.book_levels[state.open_book]
    row.event_index = state.next_event - 1
    row.ts = ts
    row.update_id = state.last_id
    row.synced = state.synced
    for place in range(levels.size):
        levels[place] = NONE
    # Each level is bid price, bid size, ask price, ask size.
    count = engine.settings[0].book_levels
    bids = copy_levels(engine.book, BID, count, levels, levels[1:], 0, 4)
    asks = copy_levels(engine.book, ASK, count, levels, levels[1:], 2, 4)
    row.bids_known = known_levels(state, BID, levels, bids)
    row.asks_known = known_levels(state, ASK, levels, asks)
    note_grid(state, row, count)
    if engine.settings[0].with_book:
        state.open_book += 1  # else the row is only a place to look at
    if engine.settings[0].with_features:
        features_row(engine, ts)


@rare_kernel
def gap_row(state, rows, ts, expected, received, is_dense):
    """Count a gap and write its row. `is_dense` says that every number in between is that of a missing message."""
    row = rows.gaps[state.open_gaps]
    state.open_gaps += 1
    row.event_index = state.next_event
    row.ts_event = ts
    row.expected_id = expected
    row.received_id = received
    row.missing = received - expected if is_dense and received >= expected else NONE
    state.gaps += 1
    if row.missing != NONE:
        state.missing_updates += row.missing


@inlined_kernel
def trade_row(engine, message, ts, trade_id, side, is_aggregate, price, size):
    """Write a trade's row, and count it as an event. `side` is the place of the aggressor's in TRADE_SIDES."""
    state = engine.state[0]
    event = state.next_event
    state.next_event += 1
    if engine.settings[0].with_flows:
        note_trade(engine.measured, side, size)
    if not engine.settings[0].with_trades:
        return
    row = engine.rows.trades[state.open_trades]
    state.open_trades += 1
    row.event_index = event
    row.ts_event = ts
    row.ts_recv = message.ts_recv
    row.trade_id = trade_id
    row.is_sell = side  # not only 0 or 1
    row.price = price
    row.size = size
    row.is_aggregate = is_aggregate


@inlined_kernel
def change_rows(state, settings, rows, message, levels):
    """Write the levels of a diff, bids first, and count them as events. `finish_depth` sets `synced` after the audits."""
    count = message.bid_count + message.ask_count
    if count == 0:
        return
    if settings.with_depth:
        begin_run(state, settings, rows, CHANGE, message.ts_event, message.ts_recv, message.last_id)
        row = rows.depth[state.open_depth - 1]
        row.bid_count = message.bid_count
        row.ask_count = message.ask_count
        copy_sides(rows.depth_prices, rows.depth_sizes, state.open_depth_levels, levels, message)
        state.open_depth_levels += count
    state.next_event += count


@inlined_kernel
def begin_run(state, settings, rows, kind, ts, ts_recv, update_id):
    """Begin a run of levels of one kind. `add_level` and `add_side` append to it."""
    if not settings.with_depth:
        return
    row = rows.depth[state.open_depth]
    state.open_depth += 1
    row.level_start = state.open_depth_levels
    row.bid_count = 0
    row.ask_count = 0
    row.event_index = state.next_event
    row.ts_event = ts
    row.ts_recv = ts_recv
    row.update_id = update_id
    row.kind = kind
    row.is_last = 0


@kernel
def add_level(state, settings, rows, side_number, price, size):
    """Append a level to the run that was begun last, and count it as an event. All bids must come before all asks."""
    state.next_event += 1
    if not settings.with_depth:
        return
    place = state.open_depth_levels
    rows.depth_prices[place] = price
    rows.depth_sizes[place] = size
    state.open_depth_levels += 1
    row = rows.depth[state.open_depth - 1]
    if side_number == BID:
        row.bid_count += 1
    else:
        row.ask_count += 1


@rare_kernel
def add_side(state, settings, rows, book, side_number):
    """Append all levels of a side, best first, and count them as events."""
    count = book.sides[side_number].level_count
    state.next_event += count
    if not settings.with_depth:
        return
    place = state.open_depth_levels
    copy_levels(book, side_number, count, rows.depth_prices, rows.depth_sizes, place, 1)
    state.open_depth_levels += count
    row = rows.depth[state.open_depth - 1]
    if side_number == BID:
        row.bid_count += count
    else:
        row.ask_count += count


@rare_kernel
def drift_row(state, rows, ts, update_id, was_synced):
    """Count a comparison with a snapshot, append its row and return it. `compare` fills in the differences."""
    row = rows.drift[state.open_drift]
    state.open_drift += 1
    state.drifts += 1
    row.event_index = state.next_event
    row.ts_event = ts
    row.update_id = update_id
    row.was_synced = was_synced
    return row


@rare_kernel
def audit_row(state, rows, kind):
    """Append the row of a failed audit of the last depth message and return it. The caller sets the expected and found values."""
    row = rows.audits[state.open_audits]
    state.open_audits += 1
    row.event_index = state.next_event
    row.ts_event = state.last_depth_time
    row.update_id = state.last_id
    row.kind = kind
    row.expected_bid_price = 0
    row.expected_bid_size = 0
    row.expected_ask_price = 0
    row.expected_ask_size = 0
    row.found_bid_price = 0
    row.found_bid_size = 0
    row.found_ask_price = 0
    row.found_ask_size = 0
    return row


@rare_kernel
def dead_letter_row(state, rows):
    """Write the row of a dead letter. Its content is kept in Python (plain/messages.py:DeadLetter)."""
    rows.dead_letter[state.open_dead_letter].event_index = state.next_event
    state.open_dead_letter += 1


@inlined_kernel
def finish_depth(engine, ts, ts_recv, first_event, first_run):
    """Finish a depth message after its audits: its rows get `synced` and `is_last`, and the bbo row is written if it is due.

    `first_event` and `first_run` are where the message began: its first event, and its first run of open rows.
    """
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    state.grid_due = 1
    level_count = state.next_event - first_event
    state.depth_events += level_count
    if state.synced:
        state.synced_events += level_count
    else:
        state.unsynced_messages += 1
        if state.snapshots == 0:
            state.early_messages += 1
    for run in range(first_run, state.open_depth):
        rows.depth[run].synced = state.synced
    if state.open_depth > first_run:
        rows.depth[state.open_depth - 1].is_last = 1
    bid_price, bid_size = best_level(book, BID)
    ask_price, ask_size = best_level(book, ASK)
    if bid_price != NONE and ask_price != NONE:
        state.crossed += bid_price > ask_price
        state.locked += bid_price == ask_price
    bid_known = is_inside(BID, bid_price, state.bid_bound)
    ask_known = is_inside(ASK, ask_price, state.ask_bound)
    state.best_is_known = bid_known and ask_known
    if not settings.with_bbo or state.next_event == 0:
        return
    if (
        state.bbo_written
        and bid_price == state.bbo_bid_price
        and bid_size == state.bbo_bid_size
        and ask_price == state.bbo_ask_price
        and ask_size == state.bbo_ask_size
        and state.synced == state.bbo_synced
        and bid_known == state.bbo_bid_known
        and ask_known == state.bbo_ask_known
    ):
        return
    state.bbo_written = 1
    state.bbo_bid_price = bid_price
    state.bbo_bid_size = bid_size
    state.bbo_ask_price = ask_price
    state.bbo_ask_size = ask_size
    state.bbo_synced = state.synced
    state.bbo_bid_known = bid_known
    state.bbo_ask_known = ask_known
    row = rows.bbo[state.open_bbo]
    state.open_bbo += 1
    row.event_index = state.next_event - 1
    row.ts_event = ts
    row.ts_recv = ts_recv
    row.update_id = state.last_id
    row.bid_price = bid_price
    row.bid_size = bid_size
    row.ask_price = ask_price
    row.ask_size = ask_size
    row.synced = state.synced
    row.bid_known = bid_known
    row.ask_known = ask_known
