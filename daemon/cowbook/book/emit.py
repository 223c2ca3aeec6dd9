"""Writes the rows of accepted messages, in the order of docs/rules.md, section 3. Each stream has a function."""

from __future__ import annotations

from cowbook.book.ladder import ASK, BID, best_level, copy_levels
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import IS_AGGREGATE, NONE, SELL_AGGRESSOR


@rare_kernel
def grid_row(engine, ts):
    """Write the row of the grid point `ts` from the current book."""
    state = engine.state[0]
    state.grid_due = 0
    row = engine.rows.book[state.open_book]
    levels = engine.rows.book_levels[state.open_book]
    state.open_book += 1
    row.event_index = state.next_event - 1
    row.ts = ts
    row.update_id = state.last_id
    row.synced = state.synced
    for place in range(levels.size):
        levels[place] = NONE
    for side_number in range(2):
        # Each level is bid price, bid size, ask price, ask size.
        count = engine.settings[0].book_levels
        copy_levels(engine.book, side_number, count, levels, levels[1:], 2 * side_number, 4)


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


@kernel
def _trade_row(state, rows, ts_recv, price, size):
    """Append a trade's row and return it. The caller sets its other fields, such as the event's index and time."""
    row = rows.trades[state.open_trades]
    state.open_trades += 1
    row.ts_recv = ts_recv
    row.price = price
    row.size = size
    return row


@inlined_kernel
def trade_row(state, settings, rows, message, levels):
    """Write the row of a message with one trade."""
    if not settings.with_trades:
        return
    row = _trade_row(state, rows, message.ts_recv, levels.prices[message.bid_start], levels.sizes[message.bid_start])
    row.event_index = state.next_event
    row.ts_event = message.ts_event
    row.trade_id = message.last_id
    row.is_sell = message.flags & SELL_AGGRESSOR != 0
    row.is_aggregate = message.flags & IS_AGGREGATE != 0


@inlined_kernel
def trade_rows(state, settings, rows, message, levels):
    """Write the rows of a message with several trades; plain.messages.MESSAGE describes its layout."""
    if not settings.with_trades:
        return
    prices, sizes = levels.prices, levels.sizes
    for number in range(message.bid_count):
        first, second = message.bid_start + number, message.ask_start + number
        row = _trade_row(state, rows, message.ts_recv, prices[first], sizes[first])
        row.event_index = state.next_event + number
        row.ts_event = prices[second]
        row.trade_id = prices[second + message.bid_count]
        row.is_sell = sizes[second] & SELL_AGGRESSOR != 0
        row.is_aggregate = 0


@inlined_kernel
def _copy_levels(rows, position, levels, start, count):
    for level in range(count):
        rows.depth_prices[position + level] = levels.prices[start + level]
        rows.depth_sizes[position + level] = levels.sizes[start + level]


@inlined_kernel
def depth_rows(state, settings, rows, message, levels, ts, ts_recv, is_snapshot):
    """Write a depth message's row and its levels, bids first. `finish_depth` sets `synced` after the audits."""
    if not settings.with_depth or message.bid_count + message.ask_count == 0:
        return
    row = rows.depth[state.open_depth]
    state.open_depth += 1
    row.level_start = state.open_depth_levels
    row.bid_count = message.bid_count
    row.ask_count = message.ask_count
    row.event_index = state.next_event
    row.ts_event = ts
    row.ts_recv = ts_recv
    row.update_id = message.last_id
    row.is_snapshot = is_snapshot
    _copy_levels(rows, state.open_depth_levels, levels, message.bid_start, message.bid_count)
    state.open_depth_levels += message.bid_count
    _copy_levels(rows, state.open_depth_levels, levels, message.ask_start, message.ask_count)
    state.open_depth_levels += message.ask_count


@rare_kernel
def drift_row(state, rows, ts, update_id, was_synced):
    """Count a comparison with a snapshot, append its row and return it. `measure` fills in the differences."""
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
def finish_depth(state, settings, book, rows, ts, ts_recv, level_count):
    """Finish a depth message after its audits: set `synced` in its row, count crossed and locked books, and write the bbo row."""
    state.grid_due = 1
    state.depth_events += level_count
    if state.synced:
        state.synced_events += level_count
    if settings.with_depth and level_count > 0:
        rows.depth[state.open_depth - 1].synced = state.synced
    bid_price, bid_size = best_level(book, BID)
    ask_price, ask_size = best_level(book, ASK)
    if bid_price != NONE and ask_price != NONE:
        state.crossed += bid_price > ask_price
        state.locked += bid_price == ask_price
    if not settings.with_bbo or state.next_event == 0:
        return
    if (
        state.bbo_written
        and bid_price == state.bbo_bid_price
        and bid_size == state.bbo_bid_size
        and ask_price == state.bbo_ask_price
        and ask_size == state.bbo_ask_size
        and state.synced == state.bbo_synced
    ):
        return
    state.bbo_written = 1
    state.bbo_bid_price = bid_price
    state.bbo_bid_size = bid_size
    state.bbo_ask_price = ask_price
    state.bbo_ask_size = ask_size
    state.bbo_synced = state.synced
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
