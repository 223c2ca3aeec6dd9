"""Rows of accepted messages, in the order of docs/rules.md, section 3."""

from __future__ import annotations

from cowbook.bits import inlined_kernel, kernel
from cowbook.book.ladder import ASK, BID, best_level, copy_levels
from cowbook.event_batch import IS_AGGREGATE, NONE, SELL_AGGRESSOR

_MAX_TIME = 2**63 - 1
_DAY = 86_400_000_000_000


@kernel
def fill_day(row, state):
    """The day of the newest event so far."""
    row.day = state.day_end // _DAY - 1
    row.first_time = state.day_first_time
    row.last_time = state.newest
    row.events = state.next_event
    row.depth_events = state.depth_events
    row.synced_events = state.synced_events
    row.depth_messages = state.diffs + state.snapshots
    row.compared = state.compared
    row.refuted = state.refuted
    row.gaps = state.gaps
    row.missing_updates = state.missing_updates
    row.crossed = state.crossed
    row.drifts = state.drifts
    row.dead_letters = (
        state.dead_overlong + state.dead_not_utf8 + state.dead_malformed + state.dead_unknown + state.dead_out_of_range
    )


@kernel
def _begin_day(state, ts, logs):
    """The first message of a day comes; the day before it, if there is one, has ended."""
    if state.day_end != 0:
        fill_day(logs.days[state.day_count], state)
        state.day_count += 1
    state.day_end = (ts // _DAY + 1) * _DAY
    state.day_first_time = ts


@inlined_kernel
def enter(state, settings, pool, sides, blocks, rows, logs, ts):
    """An accepted message of time `ts` comes: write the grid row that it makes due; whether a time cut comes first.

    May be called again for the same message after the cut.
    """
    if ts >= state.day_end:
        _begin_day(state, ts, logs)
    if state.newest == NONE or ts <= state.newest:
        return False
    if settings.with_book and state.grid_due and state.next_event > 0:
        behind = state.newest % settings.book_interval
        ahead = settings.book_interval - behind if behind != 0 else 0
        if state.newest <= _MAX_TIME - ahead and ts > state.newest + ahead:
            _grid_row(state, settings, pool, sides, blocks, rows, state.newest + ahead)
    if state.next_event == state.cut_first:
        return False
    return ts // settings.part_interval > state.newest // settings.part_interval


@kernel
def _grid_row(state, settings, pool, sides, blocks, rows, ts):
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


@kernel
def leave(state, settings, events_before):
    """Whether the message whose first event was `events_before` ends with a count cut."""
    state.messages += 1
    return state.next_event // settings.part_events > events_before // settings.part_events


@kernel
def advance(state, ts, events):
    """Number the events of a message and move the clock."""
    state.next_event += events
    state.newest = max(state.newest, ts)
    state.last_time = ts


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
