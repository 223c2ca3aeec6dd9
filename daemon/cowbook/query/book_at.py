"""`cowbook.book_at`: the exact book at any instant of published output."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from cowbook.errors import QueryError, UsageError
from cowbook.plain.messages import NONE
from cowbook.query.book import BookSide, InstantBook
from cowbook.query.fold import Folding, Integers, Numbers, to_fixed_point
from cowbook.query.instant import Instant, at_end, at_event, at_time
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import retrying
from cowbook.query.proof import check_quote, find_known, find_synced, make_proof, read_quote
from cowbook.query.times import Time, parse_time


def book_at(
    data: str | PathLike[str],
    symbol: str,
    time: Time | None = None,
    *,
    event: int | None = None,
    levels: int | None = None,
) -> InstantBook:
    """Returns the exact book of a symbol at an instant, from published output alone.

    It is the engine's book between two messages: the newest `frame` at or before the instant, and the rows of `depth` behind it.

    * `data`: the output directory.
    * `symbol`: the symbol's id.
    * `time`, None: the book behind the last message at which the running maximum of event time is not above it, as a row of the
      stream `book` shows it at its `ts`. Text in ISO 8601, a datetime, a numpy datetime64, or ns since 1970; UTC unless it has a
      zone. Messages are those with rows in `depth` or `trades`.
    * `event`, None: the book behind the message that this `event_index` belongs to. With neither, the book at the end.
    * `levels`, None: so many of the best levels of each side; None for all.

    Prices and sizes are as exact as they are written. Of doubles (`[output] numbers = "float64"`) they have the fewest decimals
    that give these doubles back.

    Raises UsageError for arguments that make no sense, and QueryError if the output has no such symbol or instant, or if a part
    that is needed is missing or damaged. What the output does not show is None in the result: nothing is guessed.
    """
    if time is not None and event is not None:
        raise UsageError("give a time or an event, not both")
    _check_whole(levels, "levels", 1, "all")
    _check_whole(event, "event", 0, "the end")
    when = parse_time(time, "time")
    return retrying(lambda: _book_at(Path(data), symbol, when, event, levels))


def _check_whole(number: int | None, name: str, least: int, default: str) -> None:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least):
        raise UsageError(f"{name} = {number!r}: must be a whole number from {least} on, or None for {default}")


def _book_at(output_dir: Path, symbol: str, time: int | None, event: int | None, levels: int | None) -> InstantBook:
    output = SymbolOutput(output_dir, symbol)
    output.need("depth", "of which books are made")
    instant = _find(output, time, event)
    fold = Folding(output, instant).run()
    quote = read_quote(output, instant)
    check_quote(output, fold, quote)
    synced = find_synced(output, instant, fold, quote)
    known = find_known(output, instant, fold, quote, synced=synced)
    last = fold.last or fold.frame
    if last is None:
        raise QueryError(f"{output_dir} has no row of depth of {symbol} up to event {instant.event}")
    (bid_prices, ask_prices), price_decimals = _as_integers(fold.bids[0], fold.asks[0], fold.price_decimals)
    (bid_sizes, ask_sizes), size_decimals = _as_integers(fold.bids[1], fold.asks[1], fold.size_decimals)
    sides = [
        BookSide(
            prices[:levels],
            sizes[:levels],
            price_decimals,
            size_decimals,
            count if count is None or levels is None else min(count, levels),
            int(prices[count - 1]) if count else None,
        )
        for prices, sizes, count in ((bid_prices, bid_sizes, known[0]), (ask_prices, ask_sizes, known[1]))
    ]
    return InstantBook(
        symbol=symbol,
        bids=sides[0],
        asks=sides[1],
        asked_time=time,
        event=instant.event,
        time=last.time,
        update_id=None if last.update_id == NONE else last.update_id,
        synced=synced,
        synced_since=fold.synced_since if synced else None,
        is_at_end=instant.is_at_end,
        proof=make_proof(output, instant, fold, quote),
    )


def _as_integers(bids: Numbers, asks: Numbers, decimals: int | None) -> tuple[list[Integers], int]:
    return to_fixed_point(bids, asks) if decimals is None else ([bids, asks], decimals)


def _find(output: SymbolOutput, time: int | None, event: int | None) -> Instant:
    if event is not None:
        return at_event(output, event)
    return at_end(output) if time is None else at_time(output, time)
