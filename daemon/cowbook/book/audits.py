"""Audits against what the capture itself carries: best bid and offer as the exchange saw them (docs/rules.md, section 2)."""

from __future__ import annotations

from cowbook.book.ladder import ASK, BID, best_level
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.book_state import BOOK_TICKER, CHECKSUM, COMPARED, NOT_COMPARED, REFUTED, WAITING_LIMIT
from cowbook.plain.messages import NONE


@kernel
def best_or_zero(tick, side, blocks):
    """(price, size) of a side's best level, zeros of an empty one."""
    price, size = best_level(tick, side, blocks)
    if price == NONE:
        return 0, 0
    return price, size


@kernel
def _note(state, is_same):
    """Count the last depth message as compared, and as refuted, once each."""
    if state.verdict == NOT_COMPARED:
        state.compared += 1
        state.verdict = COMPARED
    if not is_same and state.verdict != REFUTED:
        state.refuted += 1
        state.verdict = REFUTED


@kernel
def _compare(state, pool, sides, blocks, ticker, rows):
    """Hold a ticker against the book: counted, a row and the end of sync when it fails while synced."""
    tick = pool[0].tick
    bid_price, bid_size = best_or_zero(tick, sides[BID], blocks)
    ask_price, ask_size = best_or_zero(tick, sides[ASK], blocks)
    ticker_bid_price = ticker.bid_price if ticker.bid_size != 0 else 0
    ticker_ask_price = ticker.ask_price if ticker.ask_size != 0 else 0
    same = (
        bid_price == ticker_bid_price
        and bid_size == ticker.bid_size
        and ask_price == ticker_ask_price
        and ask_size == ticker.ask_size
    )
    _note(state, same)
    if same:
        if state.synced:
            state.audit_matched += 1
        else:
            state.audit_matched_unsynced += 1
        return
    if not state.synced:
        state.audit_failed_unsynced += 1
        return
    state.audit_failed += 1
    state.synced = 0
    row = rows.audits[state.audit_rows]
    state.audit_rows += 1
    row.event_index = state.next_event
    row.ts_event = state.last_depth_time
    row.update_id = state.last_id
    row.kind = BOOK_TICKER
    row.expected_bid_price = ticker_bid_price
    row.expected_bid_size = ticker.bid_size
    row.expected_ask_price = ticker_ask_price
    row.expected_ask_size = ticker.ask_size
    row.found_bid_price = bid_price
    row.found_bid_size = bid_size
    row.found_ask_price = ask_price
    row.found_ask_size = ask_size


@inlined_kernel
def take_ticker(state, pool, sides, blocks, message, prices, sizes, rows, logs):
    """A ticker arrives: it is compared, waits, or comes too late. The log must have a free place behind its end."""
    if state.last_id != NONE and message.last_id < state.last_id:
        state.audit_not_comparable += 1
        return
    entry = logs.tickers[state.ticker_end]
    entry.id = message.last_id
    entry.bid_price = prices[message.bid_start]
    entry.bid_size = sizes[message.bid_start]
    entry.ask_price = prices[message.ask_start]
    entry.ask_size = sizes[message.ask_start]
    if message.last_id == state.last_id:
        _compare(state, pool, sides, blocks, entry, rows)
        return
    state.ticker_end += 1
    if state.ticker_end - state.ticker_start > WAITING_LIMIT:
        state.ticker_start += 1
        state.audit_not_comparable += 1


@inlined_kernel
def audit_waiting_tickers(state, pool, sides, blocks, rows, logs):
    """After a depth message: compare the tickers of its id, forget older ones, keep the newer.

    What is kept is appended anew, behind the end: nothing that a snapshot refers to is written. The log must have room for
    as many tickers as wait.
    """
    first = state.ticker_start
    end = state.ticker_end
    while first < end and logs.tickers[first].id > state.last_id:
        first += 1
    if first == end:
        return
    kept_end = end
    for position in range(state.ticker_start, end):
        ticker = logs.tickers[position]
        if ticker.id > state.last_id:
            kept = logs.tickers[kept_end]
            kept.id = ticker.id
            kept.bid_price = ticker.bid_price
            kept.bid_size = ticker.bid_size
            kept.ask_price = ticker.ask_price
            kept.ask_size = ticker.ask_size
            kept_end += 1
        elif ticker.id == state.last_id:
            _compare(state, pool, sides, blocks, ticker, rows)
        else:
            state.audit_not_comparable += 1
    state.ticker_start = end
    state.ticker_end = kept_end


@kernel
def audit_checksum(state, expected, found, rows):
    """Hold a checksum of the venue against the book's: counted, a row and the end of sync when it fails while synced."""
    _note(state, expected == found)
    if expected == found:
        if state.synced:
            state.checksum_matched += 1
        else:
            state.checksum_matched_unsynced += 1
        return
    if not state.synced:
        state.checksum_failed_unsynced += 1
        return
    state.checksum_failed += 1
    state.synced = 0
    row = rows.audits[state.audit_rows]
    state.audit_rows += 1
    row.event_index = state.next_event
    row.ts_event = state.last_depth_time
    row.update_id = state.last_id
    row.kind = CHECKSUM
    row.expected_bid_price = expected
    row.found_bid_price = found
    row.expected_bid_size = 0
    row.expected_ask_price = 0
    row.expected_ask_size = 0
    row.found_bid_size = 0
    row.found_ask_price = 0
    row.found_ask_size = 0
