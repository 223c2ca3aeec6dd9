"""What every applied depth message has in common: its levels, the depth that the venue keeps, and its checksum."""

from __future__ import annotations

from cowbook.book.audits import audit_checksum, count_audit
from cowbook.book.checksums import book_checksum
from cowbook.book.emit import add_level, begin_run
from cowbook.book.ladder import ASK, BEFORE, BID, OK, put_level, set_level, set_levels, worst_level
from cowbook.book.level_text import MOST_DECIMALS
from cowbook.book.outcomes import EXHAUSTED
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.messages import HAS_CHECKSUM, SNAPSHOT
from cowbook.plain.schemes import NO_CHECKSUM
from cowbook.plain.vocabulary import CHECKSUM, DROPPED, NOT_COMPARABLE


@inlined_kernel
def set_book(book, message, levels):
    """Set a message's levels in the live trees. Returns OK or EXHAUSTED."""
    if set_levels(book, BID, levels, message.bid_start, message.bid_count) != OK:
        return EXHAUSTED
    if set_levels(book, ASK, levels, message.ask_start, message.ask_count) != OK:
        return EXHAUSTED
    return OK


@inlined_kernel
def kept_depth(engine, message):
    """Returns how many levels of a side the venue keeps, 0 for all, as a depth message has it."""
    state, settings = engine.state[0], engine.settings[0]
    if message.depth > 0:
        state.depth = message.depth
    return settings.depth if settings.depth > 0 else state.depth


@inlined_kernel
def cut_depth(engine, message, ts, update_id, writes):
    """Remove the levels beyond the depth that the venue keeps, for which it sends no more updates. Returns OK or EXHAUSTED.

    If `writes`, each gets a row of kind `dropped`.
    """
    depth = kept_depth(engine, message)
    if depth == 0:
        return OK
    sides = engine.book.sides
    if sides[BID].level_count <= depth and sides[ASK].level_count <= depth:
        return OK
    return _drop(engine, message, depth, ts, update_id, writes)


@rare_kernel
def cut_shown(engine, message):
    """Remove from the BEFORE trees what is beyond the depth that the venue keeps. Returns OK or EXHAUSTED."""
    depth, book = kept_depth(engine, message), engine.book
    for side_number in range(BEFORE + BID, BEFORE + ASK + 1):
        while depth > 0 and book.sides[side_number].level_count > depth:
            if put_level(book, side_number, worst_level(book, side_number), 0) != OK:
                return EXHAUSTED
    return OK


@rare_kernel
def _drop(engine, message, depth, ts, update_id, writes):
    """Remove the worst levels of both sides, the worst one first."""
    state, settings, rows, book = engine.state[0], engine.settings[0], engine.rows, engine.book
    if writes:
        begin_run(state, settings, rows, DROPPED, ts, message.ts_recv, update_id)
    for side_number in range(ASK + 1):
        while book.sides[side_number].level_count > depth:
            price = worst_level(book, side_number)
            if set_level(book, side_number, price, 0) != OK:
                return EXHAUSTED
            if writes:
                add_level(state, settings, rows, side_number, price, 0)
    return OK


@rare_kernel
def _check(engine, message):
    state = engine.state[0]
    if message.kind == SNAPSHOT:
        state.price_decimals = message.price_decimals
        state.size_decimals = message.size_decimals
    if message.flags & HAS_CHECKSUM == 0:
        count_audit(engine.words, CHECKSUM, NOT_COMPARABLE)
        return
    state.price_decimals = max(state.price_decimals, message.price_decimals)
    state.size_decimals = max(state.size_decimals, message.size_decimals)
    if max(state.price_decimals, state.size_decimals) > MOST_DECIMALS:
        count_audit(engine.words, CHECKSUM, NOT_COMPARABLE)
        return
    audit_checksum(engine, message.checksum, book_checksum(engine))


@inlined_kernel
def check(engine, message):
    """Compare a depth message's checksum with that of the book after the message."""
    if engine.settings[0].checksum != NO_CHECKSUM:
        _check(engine, message)
