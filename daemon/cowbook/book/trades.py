"""Trades. One that comes a second time is skipped and counted (docs/rules.md, section 2)."""

from __future__ import annotations

from cowbook.book.clock import advance, enter, leave
from cowbook.book.diffs import give_time, is_of_other_market
from cowbook.book.emit import trade_row
from cowbook.book.outcomes import CONSUMED, CUT_AFTER
from cowbook.book.recent import TRADES_RANGE, has, remember, trade_key
from cowbook.book.slots import NO_SLOT, find_slot
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.book_state import UNTIMED
from cowbook.plain.messages import HAS_NO_SIDE, IS_AGGREGATE, NONE, SELL_AGGRESSOR, TRADE
from cowbook.plain.vocabulary import UNTOLD


@inlined_kernel
def _is_new(engine, trade_id, flags):
    """Returns whether a trade is none of those that came lately. One without an id always is."""
    return trade_id == NONE or not has(engine.seen.trades, trade_key(trade_id, flags))


@inlined_kernel
def _remember(engine, trade_id, flags):
    if trade_id != NONE:
        remember(engine.words, engine.logs.trades, engine.seen.trades, TRADES_RANGE, trade_key(trade_id, flags))


@inlined_kernel
def _side_of(flags):
    """Returns the place of a trade's side in TRADE_SIDES."""
    return UNTOLD if flags & HAS_NO_SIDE != 0 else flags & SELL_AGGRESSOR


@rare_kernel
def _count_new(engine, message, levels):
    """Returns how many trades of a record did not come before."""
    first = message.ask_start + message.bid_count
    count = 0
    for number in range(message.bid_count):
        count += _is_new(engine, levels.prices[first + number], 0)
    return count


@rare_kernel
def _take_each(engine, message, levels):
    """Take the trades of a record with several; plain.messages.MESSAGE describes its layout."""
    state = engine.state[0]
    prices, sizes = levels.prices, levels.sizes
    for number in range(message.bid_count):
        first, second = message.bid_start + number, message.ask_start + number
        trade_id = prices[second + message.bid_count]
        if not _is_new(engine, trade_id, 0):
            state.duplicate_trades += 1
            continue
        _remember(engine, trade_id, 0)
        side = _side_of(sizes[second])
        trade_row(engine, message, prices[second], trade_id, side, 0, prices[first], sizes[first])


@inlined_kernel
def trade(engine, message, levels):
    """Take a trade, or several of one record. Returns the outcome."""
    state, settings = engine.state[0], engine.settings[0]
    if is_of_other_market(state, message.market):
        state.unused += 1
        return CONSUMED
    is_one = message.kind == TRADE
    if is_one:
        if not _is_new(engine, message.last_id, message.flags):
            state.duplicate_trades += 1
            return CONSUMED
    elif _count_new(engine, message, levels) == 0 and message.bid_count > 0:
        state.duplicate_trades += message.bid_count
        return CONSUMED
    if state.slot_count > 0 and find_slot(state, engine.slots, UNTIMED) != NO_SLOT:
        return give_time(state, engine.slots, message.ts_event)
    outcome = enter(engine, message.ts_event)
    if outcome != CONSUMED:
        return outcome
    first_event = state.next_event
    if is_one:
        _remember(engine, message.last_id, message.flags)
        side = _side_of(message.flags)
        is_aggregate = message.flags & IS_AGGREGATE != 0
        price, size = levels.prices[message.bid_start], levels.sizes[message.bid_start]
        trade_row(engine, message, message.ts_event, message.last_id, side, is_aggregate, price, size)
    else:
        _take_each(engine, message, levels)
    advance(state, message.ts_event)
    state.trades += state.next_event - first_event
    return CUT_AFTER if leave(state, settings, first_event) else CONSUMED
