"""Tickers that no id ties to a depth message: how many show a state that the book had shortly before or after them.

The last states of the best levels are in the state's words, as a ring. A ticker that matches none of them waits in the log of
tickers; its `id` is then the number of the depth message behind which it is given up. Nothing here proves or disproves the
book.
"""

from __future__ import annotations

from cowbook.book.audits import best_or_zero
from cowbook.book.ladder import ASK, BID
from cowbook.kernels.jit import kernel, rare_kernel
from cowbook.plain.book_state import NEARNESS, PLACES, WAITING_LIMIT

_RING = PLACES["past_0"]


@kernel
def _remember_best(engine):
    """Put the best levels into the ring."""
    words, state = engine.words, engine.state[0]
    place = _RING + 4 * (state.past_count % NEARNESS)
    words[place], words[place + 1] = best_or_zero(engine.book, BID)
    words[place + 2], words[place + 3] = best_or_zero(engine.book, ASK)
    state.past_count += 1


@kernel
def _is_near(words, number, ticker):
    """Returns whether a ticker shows the state behind depth message `number`. Sizes of -1 are not given."""
    place = _RING + 4 * (number % NEARNESS)
    return (
        words[place] == ticker.bid_price
        and words[place + 2] == ticker.ask_price
        and (ticker.bid_size < 0 or words[place + 1] == ticker.bid_size)
        and (ticker.ask_size < 0 or words[place + 3] == ticker.ask_size)
    )


@kernel
def take_loose_ticker(engine, message, levels):
    """Compare a ticker with the last states of a book that is synced, and let it wait for the next ones if none is the same.

    Until so many states are there, tickers are unused. The log must have a free place after its end.
    """
    state, words = engine.state[0], engine.words
    if state.synced and state.past_count == 0:
        state.has_loose_tickers = 1
        _remember_best(engine)
    if state.past_count < NEARNESS:
        state.unused += 1
        return
    entry = engine.logs.tickers[state.ticker_end]
    entry.id = state.past_count + NEARNESS
    entry.bid_price, entry.bid_size, entry.ask_price, entry.ask_size = 0, 0, 0, 0
    if message.bid_count > 0:
        entry.bid_price = levels.prices[message.bid_start]
        entry.bid_size = levels.sizes[message.bid_start]
    if message.ask_count > 0:
        entry.ask_price = levels.prices[message.ask_start]
        entry.ask_size = levels.sizes[message.ask_start]
    for number in range(state.past_count - NEARNESS, state.past_count):
        if _is_near(words, number, entry):
            state.tickers_near += 1
            return
    state.ticker_end += 1
    if state.ticker_end - state.ticker_start > WAITING_LIMIT:
        state.ticker_start += 1


@rare_kernel
def follow_loose_tickers(engine):
    """After a depth message: compare the tickers that wait with the book, and give up those that have waited for long enough.

    The kept ones are appended again after the end, so that no entry to which a snapshot refers is overwritten. The log must have
    room for as many tickers as are waiting.
    """
    state, tickers, words = engine.state[0], engine.logs.tickers, engine.words
    if not state.synced:
        state.past_count = 0
        state.ticker_start = state.ticker_end
        return
    _remember_best(engine)
    newest, end = state.past_count - 1, state.ticker_end
    first = state.ticker_start
    while first < end and tickers[first].id > state.past_count and not _is_near(words, newest, tickers[first]):
        first += 1
    if first == end:
        return
    kept_end = end
    for position in range(state.ticker_start, end):
        ticker = tickers[position]
        if _is_near(words, newest, ticker):
            state.tickers_near += 1
        elif ticker.id <= state.past_count:
            state.tickers_far += 1
        else:
            kept = tickers[kept_end]
            kept.id = ticker.id
            kept.bid_price = ticker.bid_price
            kept.bid_size = ticker.bid_size
            kept.ask_price = ticker.ask_price
            kept.ask_size = ticker.ask_size
            kept_end += 1
    state.ticker_start = end
    state.ticker_end = kept_end
