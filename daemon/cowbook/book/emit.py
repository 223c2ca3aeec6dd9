"""Rows of accepted messages, in the order of docs/rules.md, section 3."""

from __future__ import annotations

from cowbook.book.ladder import ASK, BID, best_level, copy_levels
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import IS_AGGREGATE, NONE, SELL_AGGRESSOR


@kernel
def grid_row(state, settings, pool, sides, blocks, rows, ts):
    """Write the row of grid point `ts`: the book as it stands."""
    state.grid_due = 0
    row = rows.book[state.book_rows]
    levels = rows.book_levels[state.book_rows]
    state.book_rows += 1
    row.event_index = state.next_event - 1
    row.ts = ts
    row.update_id = state.last_id
    row.synced = state.synced
    for place in range(levels.size):
        levels[place] = NONE
    tick = pool[0].tick
    for side_number in range(2):
        # bid price, bid size, ask price, ask size of each level
        copy_levels(
            tick,
            sides[side_number],
            blocks,
            side_number == BID,
            settings.book_levels,
            levels,
            levels[1:],
            2 * side_number,
            4,
        )


@inlined_kernel
def gap_row(state, rows, ts, expected, received, is_dense):
    """Count a gap and write its row; `is_dense` says that the numbers between two are of messages."""
    row = rows.gaps[state.gap_rows]
    state.gap_rows += 1
    row.event_index = state.next_event
    row.ts_event = ts
    row.expected_id = expected
    row.received_id = received
    row.missing = received - expected if is_dense and received >= expected else NONE
    state.gaps += 1
    if row.missing != NONE:
        state.missing_updates += row.missing


@inlined_kernel
def trade_row(state, settings, rows, message, prices, sizes):
    """Write a trade's row."""
    if not settings.with_trades:
        return
    row = rows.trades[state.trade_rows]
    state.trade_rows += 1
    row.event_index = state.next_event
    row.ts_event = message.ts_event
    row.ts_recv = message.ts_recv
    row.trade_id = message.last_id
    row.price = prices[message.bid_start]
    row.size = sizes[message.bid_start]
    row.is_sell = message.flags & SELL_AGGRESSOR != 0
    row.is_aggregate = message.flags & IS_AGGREGATE != 0


@inlined_kernel
def one_of_trades(state, settings, rows, message, number, prices, sizes):
    """Write the row of one trade of a record with several (event_batch.MESSAGE says where what stands)."""
    if settings.with_trades:
        row = rows.trades[state.trade_rows]
        state.trade_rows += 1
        row.event_index = state.next_event + number
        row.ts_event = prices[message.ask_start + number]
        row.ts_recv = message.ts_recv
        row.trade_id = prices[message.ask_start + message.bid_count + number]
        row.price = prices[message.bid_start + number]
        row.size = sizes[message.bid_start + number]
        row.is_sell = sizes[message.ask_start + number] & SELL_AGGRESSOR != 0
        row.is_aggregate = 0


@inlined_kernel
def _copy_levels(rows, position, prices, sizes, start, count):
    for level in range(count):
        rows.depth_prices[position + level] = prices[start + level]
        rows.depth_sizes[position + level] = sizes[start + level]


@inlined_kernel
def depth_rows(state, settings, rows, message, ts, ts_recv, is_snapshot, prices, sizes):
    """Write a depth message's levels, bids first. `synced` is set when it is known, by `bbo_row`."""
    if not settings.with_depth or message.bid_count + message.ask_count == 0:
        return
    row = rows.depth_messages[state.depth_messages]
    state.depth_messages += 1
    row.level_start = state.depth_levels
    row.bid_count = message.bid_count
    row.ask_count = message.ask_count
    row.event_index = state.next_event
    row.ts_event = ts
    row.ts_recv = ts_recv
    row.update_id = message.last_id
    row.is_snapshot = is_snapshot
    _copy_levels(rows, state.depth_levels, prices, sizes, message.bid_start, message.bid_count)
    state.depth_levels += message.bid_count
    _copy_levels(rows, state.depth_levels, prices, sizes, message.ask_start, message.ask_count)
    state.depth_levels += message.ask_count


@inlined_kernel
def finish_depth(state, settings, pool, sides, blocks, rows, ts, ts_recv, level_count):
    """After a depth message's audits: stamp its rows with `synced`, count crossed books, write the bbo row."""
    state.grid_due = 1
    state.depth_events += level_count
    if state.synced:
        state.synced_events += level_count
    if settings.with_depth and level_count > 0:
        rows.depth_messages[state.depth_messages - 1].synced = state.synced
    tick = pool[0].tick
    bid_price, bid_size = best_level(tick, sides[BID], blocks)
    ask_price, ask_size = best_level(tick, sides[ASK], blocks)
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
    row = rows.bbo[state.bbo_rows]
    state.bbo_rows += 1
    row.event_index = state.next_event - 1
    row.ts_event = ts
    row.ts_recv = ts_recv
    row.update_id = state.last_id
    row.bid_price = bid_price
    row.bid_size = bid_size
    row.ask_price = ask_price
    row.ask_size = ask_size
    row.synced = state.synced
