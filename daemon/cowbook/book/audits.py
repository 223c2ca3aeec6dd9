"""Audits: the book is compared with the best bid and ask, or the checksum, that the capture itself carries.

The rules are in docs/rules.md, section 2.
"""

from __future__ import annotations

from cowbook.book.emit import audit_row
from cowbook.book.known import end_sync
from cowbook.book.ladder import ASK, BID, best_level
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.book_state import COMPARED, NOT_COMPARED, PLACES, WAITING_LIMIT
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import (
    AUDIT_FIELDS,
    BOOK_TICKER,
    CHECKSUM,
    FAILED,
    FAILED_UNSYNCED,
    MATCHED,
    MATCHED_UNSYNCED,
    NOT_COMPARABLE,
    OUTCOMES,
)

_COUNTERS = tuple(PLACES[f"{field}_{OUTCOMES[0]}"] for field in AUDIT_FIELDS.values())
"""By kind of audit: the place of the first outcome's counter among the state's words. The others follow as in OUTCOMES."""


@inlined_kernel
def best_or_zero(book, side_number):
    """Returns (price, size) of a side's best level; (0, 0) for an empty side."""
    price, size = best_level(book, side_number)
    if price == NONE:
        return 0, 0
    return price, size


@inlined_kernel
def count_audit(words, kind, outcome):
    """Count an audit's outcome."""
    words[_COUNTERS[kind] + outcome] += 1


@kernel
def judge_audit(words, state, kind, is_same):
    """Count an audit of the last depth message. Returns whether it failed while synced: the caller must then end sync.

    Only a synced book can be refuted, and only once, because sync ends then.
    """
    if state.verdict == NOT_COMPARED:
        state.compared += 1
        if not state.synced:
            state.compared_unsynced += 1
        state.verdict = COMPARED
    if is_same:
        count_audit(words, kind, MATCHED if state.synced else MATCHED_UNSYNCED)
        return False
    count_audit(words, kind, FAILED if state.synced else FAILED_UNSYNCED)
    if not state.synced:
        return False
    state.refuted += 1
    return True


@kernel
def _is_best(book, ticker):
    """Returns whether a ticker has the best levels of the book."""
    bid_price, bid_size = best_or_zero(book, BID)
    ask_price, ask_size = best_or_zero(book, ASK)
    return (
        bid_price == (ticker.bid_price if ticker.bid_size != 0 else 0)
        and bid_size == ticker.bid_size
        and ask_price == (ticker.ask_price if ticker.ask_size != 0 else 0)
        and ask_size == ticker.ask_size
    )


@inlined_kernel
def _compare(engine, ticker):
    """Compare a ticker with the best levels of the book."""
    if judge_audit(engine.words, engine.state[0], BOOK_TICKER, _is_best(engine.book, ticker)):
        _refute(engine, ticker)


@rare_kernel
def _refute(engine, ticker):
    """End sync, and write the row of a ticker that failed."""
    end_sync(engine.state[0], engine.slots)
    bid_price, bid_size = best_or_zero(engine.book, BID)
    ask_price, ask_size = best_or_zero(engine.book, ASK)
    row = audit_row(engine.state[0], engine.rows, BOOK_TICKER)
    row.expected_bid_price = ticker.bid_price if ticker.bid_size != 0 else 0
    row.expected_bid_size = ticker.bid_size
    row.expected_ask_price = ticker.ask_price if ticker.ask_size != 0 else 0
    row.expected_ask_size = ticker.ask_size
    row.found_bid_price = bid_price
    row.found_bid_size = bid_size
    row.found_ask_price = ask_price
    row.found_ask_size = ask_size


@inlined_kernel
def take_ticker(engine, message, levels):
    """Compare a ticker with the book, keep it for a later depth message, or count it as too late.

    The log must have a free place after its end.
    """
    state = engine.state[0]
    if state.last_id != NONE and message.last_id < state.last_id:
        count_audit(engine.words, BOOK_TICKER, NOT_COMPARABLE)
        return
    entry = engine.logs.tickers[state.ticker_end]
    entry.id = message.last_id
    entry.bid_price = levels.prices[message.bid_start]
    entry.bid_size = levels.sizes[message.bid_start]
    entry.ask_price = levels.prices[message.ask_start]
    entry.ask_size = levels.sizes[message.ask_start]
    if message.last_id == state.last_id:
        _compare(engine, entry)
        return
    state.ticker_end += 1
    if state.ticker_end - state.ticker_start > WAITING_LIMIT:
        state.ticker_start += 1
        count_audit(engine.words, BOOK_TICKER, NOT_COMPARABLE)


@inlined_kernel
def audit_waiting_tickers(engine):
    """After a depth message, compare the tickers with its id, drop older ones, and keep newer ones.

    The kept ones are appended again after the end, so that no entry to which a snapshot refers is overwritten. The log must have
    room for as many tickers as are waiting.
    """
    state, tickers = engine.state[0], engine.logs.tickers
    if state.has_loose_tickers:
        return
    first = state.ticker_start
    end = state.ticker_end
    while first < end and tickers[first].id > state.last_id:
        first += 1
    if first == end:
        return
    kept_end = end
    for position in range(state.ticker_start, end):
        ticker = tickers[position]
        if ticker.id > state.last_id:
            kept = tickers[kept_end]
            kept.id = ticker.id
            kept.bid_price = ticker.bid_price
            kept.bid_size = ticker.bid_size
            kept.ask_price = ticker.ask_price
            kept.ask_size = ticker.ask_size
            kept_end += 1
        elif ticker.id == state.last_id:
            _compare(engine, ticker)
        else:
            count_audit(engine.words, BOOK_TICKER, NOT_COMPARABLE)
    state.ticker_start = end
    state.ticker_end = kept_end


@rare_kernel
def forget_tickers(engine):
    """Forget the tickers that wait: the ids begin anew."""
    state = engine.state[0]
    engine.words[_COUNTERS[BOOK_TICKER] + NOT_COMPARABLE] += state.ticker_end - state.ticker_start
    state.ticker_start = state.ticker_end


@rare_kernel
def audit_checksum(engine, expected, found):
    """Compare the venue's checksum, `expected`, with the book's, `found`."""
    state = engine.state[0]
    if judge_audit(engine.words, state, CHECKSUM, expected == found):
        end_sync(state, engine.slots)
        row = audit_row(state, engine.rows, CHECKSUM)
        row.expected_bid_price = expected
        row.found_bid_price = found
