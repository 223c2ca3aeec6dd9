"""The kernels that apply messages: one loop over a batch in input order. They return at the end, or where the caller must act.

There are two, because compilation takes longer the more a root holds, and two roots compile side by side. One has what happens
millions of times, the other snapshots and what waited. Each returns where the other one has to go on.
"""

from __future__ import annotations

from cowbook.book.audits import take_ticker
from cowbook.book.block_pool import blocks_available
from cowbook.book.connections import CUTS, FILLS, HALTS, REPEATED, follow_connection
from cowbook.book.diffs import begin_anew, diff, give_time, is_of_other_market, note_market, wake_ahead
from cowbook.book.emit import dead_letter_row, gap_row
from cowbook.book.kept import APART, OWN, apart_log, levels_newer, own_log
from cowbook.book.known import end_sync
from cowbook.book.ladder import ASK, BID, MAX_HEIGHT
from cowbook.book.nearness import take_loose_ticker
from cowbook.book.others import note_other_channel
from cowbook.book.outcomes import CONSUMED, CUT_AFTER, CUT_BEFORE, EXHAUSTED, HALTED, WAITS
from cowbook.book.recent import is_repetition, repetition_key
from cowbook.book.room import has_room
from cowbook.book.slots import NO_SLOT, find_slot, free_slot, next_due
from cowbook.book.snapshots import is_of_unknown_owner, picture, snapshot, snapshot_time, wait_for_owner, wait_for_time
from cowbook.book.state import Levels
from cowbook.book.trades import trade
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.book_state import FOREIGN, HELD, IN_HAND, PLACES, REPLACES_BOOK, UNTIMED
from cowbook.plain.messages import (
    BREAK,
    DEAD_LETTER,
    DIFF,
    IS_COVERED,
    IS_LOOSE,
    IS_NO_DEPTH,
    IS_PICTURE,
    IS_RESET,
    NONE,
    OTHER_SYMBOL,
    SNAPSHOT,
    SUBSCRIPTION,
    TICKER,
    TRADE,
    TRADES,
)
from cowbook.plain.schemes import UNNUMBERED
from cowbook.plain.vocabulary import DAMAGED, REASONS

# Why a kernel returned.
DONE = 0  # all messages are consumed
CUT = 1  # a cut is due: take the open rows, and call again
ROOM = 2  # an array is too small for the next message: enlarge it, and call again
SCARCE = 3  # the free blocks may not suffice for the next message while snapshots hold some: release one, and call again
POOL_IS_EMPTY = 4  # the pool ran out of blocks within a message: the book is lost
HALTED_AT_GAP = 5
OTHER_SPEED = 6  # another speed is to be the book's: make its diffs the kept ones, and call again
SNAPSHOT_NEXT = 7  # call apply_snapshots
OTHER_NEXT = 8  # call apply_messages
_GOES_ON = 9
_IS_REPEATED = 10
_AGAIN = 11

_FIRST_REASON = PLACES[f"dead_{REASONS[0]}"]  # its counter; those of the other reasons follow in the order of REASONS


@rare_kernel
def _note_other_record(engine, message):
    """Count a record that does not change the book: a dead letter, a record of another symbol, or an unused one."""
    state = engine.state[0]
    if message.kind == DEAD_LETTER:
        reason = message.flags & ~(IS_NO_DEPTH | IS_COVERED)
        dead_letter_row(state, engine.rows)
        engine.words[_FIRST_REASON + reason] += 1
        if message.flags & IS_COVERED != 0:
            return
        if reason == DAMAGED:
            if state.last_time != NONE:  # else nothing was there of which something could be missing
                gap_row(state, engine.rows, state.last_time, NONE, NONE, False)
            end_sync(state, engine.slots)
        is_shown = state.is_numbered or state.last_sequence != 0
        if engine.settings[0].dead_letter_ends_sync and not is_shown and message.flags & IS_NO_DEPTH == 0:
            end_sync(state, engine.slots)
    elif message.kind == OTHER_SYMBOL:
        state.other_symbol += 1
    elif message.kind == BREAK:
        end_sync(state, engine.slots)
    else:
        state.unused += 1
        if message.kind == SUBSCRIPTION:
            state.depth = message.depth


@inlined_kernel
def _take_ticker(engine, message, levels):
    """Take a ticker of best prices."""
    state = engine.state[0]
    if is_of_other_market(state, message.market):
        state.unused += 1
    elif message.flags & IS_LOOSE != 0:
        take_loose_ticker(engine, message, levels)
    else:
        take_ticker(engine, message, levels)


@inlined_kernel
def _is_scarce(engine, message):
    """Returns whether a message might need more blocks than are free while snapshots are held."""
    pool = engine.book.pool
    if pool[0].protected < 0:
        return False
    # In the worst case each level takes a new block at every height, and copies one that a snapshot holds.
    needed = 2 * MAX_HEIGHT * (message.bid_count + message.ask_count + 1)
    if message.kind == SNAPSHOT:
        needed += _further_blocks(engine, message)
    return blocks_available(pool) < needed


@rare_kernel
def _further_blocks(engine, message):
    """Returns how many blocks a snapshot may need besides those of its own levels."""
    words, logs, sides = engine.words, engine.logs, engine.book.sides
    levels = levels_newer(words, own_log(logs), OWN, message.last_id)
    levels += levels_newer(words, apart_log(logs), APART, message.last_id)
    return 2 * MAX_HEIGHT * levels + 2 * (sides[BID].level_count + sides[ASK].level_count)


@inlined_kernel
def _take_snapshot(engine, message, levels):
    """Take a depth snapshot of the input. Returns its outcome."""
    state = engine.state[0]
    is_picture = message.flags & IS_PICTURE != 0
    if message.market != 0 and (is_picture or message.flags & IS_RESET != 0):
        note_market(state, message)  # it may be the book's first message
    if is_of_other_market(state, message.market):
        state.unused += 1
        return CONSUMED
    own = engine.settings[0].channel
    if own == 0 and message.flags & IS_RESET == 0 and message.channel != 0:
        own = state.channel  # beside the stream, it cannot begin another book
    if own != 0 and message.channel != own and not is_picture:
        note_other_channel(state, message)
        return CONSUMED
    if is_of_unknown_owner(state, message):
        wait_for_owner(engine, message, levels)
        return CONSUMED
    if message.rule == UNNUMBERED and is_repetition(engine, repetition_key(message, levels)):
        return CONSUMED
    ts = snapshot_time(state, message)
    if ts == NONE:
        wait_for_time(engine, message, levels)
        return CONSUMED
    if find_slot(state, engine.slots, UNTIMED) != NO_SLOT:
        return give_time(state, engine.slots, ts)
    if is_picture:
        return picture(engine, message, levels, ts)
    outcome = snapshot(engine, message, levels, ts, False, False)
    if state.slot_count > 0 and (outcome == CONSUMED or outcome == CUT_AFTER):
        wake_ahead(engine)
    return outcome


@inlined_kernel
def _take_due(engine):
    """Take the message that has waited longest of those whose turn has come. Returns why the kernel must return, or _GOES_ON."""
    state, slots = engine.state[0], engine.slots
    place = next_due(slots)
    slot = slots.info[place]
    engine.waiting[0] = slots.messages[place]
    message = engine.waiting[0]
    levels = Levels(engine.logs.slot_prices, engine.logs.slot_sizes)
    if not has_room(engine, message):
        return ROOM
    if _is_scarce(engine, message):
        return SCARCE
    purpose = slot.purpose
    slot.purpose = IN_HAND
    if purpose == HELD:
        outcome = begin_anew(engine, message, levels)
    else:
        ts = state.due_time if purpose == UNTIMED else snapshot_time(state, message)
        outcome = snapshot(engine, message, levels, ts, purpose == FOREIGN, slot.is_due == REPLACES_BOOK)
    if outcome == CUT_BEFORE or outcome == WAITS:
        slot.purpose = purpose
        return CUT if outcome == CUT_BEFORE else _GOES_ON
    if outcome == EXHAUSTED:
        return POOL_IS_EMPTY
    free_slot(state, slots, place)
    if state.slot_count > 0:
        wake_ahead(engine)
    return CUT if outcome == CUT_AFTER else _GOES_ON


@inlined_kernel
def _stops_before(engine, message):
    """Returns why the kernel must return before a message, or what it does with it.

    _IS_REPEATED: the message is to be skipped. _AGAIN: something that came before it is done. _GOES_ON: it can be applied.
    """
    state = engine.state[0]
    if not has_room(engine, message):
        return ROOM
    if message.sequence != 0 and state.sequence_checked == 0:
        verdict = follow_connection(engine, message)
        if verdict == HALTS:
            return HALTED_AT_GAP
        if verdict == CUTS:
            return CUT
        if verdict == FILLS:
            return _AGAIN
        if verdict == REPEATED:
            state.stale += 1
            return _IS_REPEATED
    return _GOES_ON


@kernel
def apply_snapshots(engine, batch, place, end):
    """Apply what is due, and the snapshots from `place` on, to the first other message. Returns as `apply_messages`.

    What waits and has become due is applied behind the message that made it so, as a message of its own.
    """
    state, levels = engine.state[0], batch.levels
    while state.takes_over <= 0:
        if state.due_count > 0:
            why = _take_due(engine)
            if why != _GOES_ON:
                return why, place
            continue
        if place == end or batch.messages[place].kind != SNAPSHOT:
            break
        message = batch.messages[place]
        why = _stops_before(engine, message)
        if why == _AGAIN or (why == _GOES_ON and state.due_count > 0):
            continue
        outcome = CONSUMED
        if why == _GOES_ON:
            if _is_scarce(engine, message):
                return SCARCE, place
            outcome = _take_snapshot(engine, message, levels)
        elif why != _IS_REPEATED:
            return why, place
        if outcome == CUT_BEFORE:
            return CUT, place
        if outcome == EXHAUSTED:
            return POOL_IS_EMPTY, place
        if outcome == WAITS:
            continue
        state.sequence_checked = 0  # the message is consumed
        place += 1
        if outcome == CUT_AFTER:
            return CUT, place
    return OTHER_NEXT, place


@kernel
def apply_messages(engine, batch, place, end):
    """Apply `batch.messages[place:end]` up to a snapshot. Returns (why it stopped, index of the first message not consumed)."""
    state, levels = engine.state[0], batch.levels
    while True:
        if state.takes_over > 0:
            return OTHER_SPEED, place
        if state.due_count > 0:
            return SNAPSHOT_NEXT, place
        if place == end:
            state.sequence_checked = 0
            return DONE, end
        message = batch.messages[place]
        kind = message.kind
        if kind == SNAPSHOT:
            return SNAPSHOT_NEXT, place
        why = _stops_before(engine, message)
        if why == _AGAIN or (why == _GOES_ON and state.due_count > 0):
            continue
        outcome = CONSUMED
        if why == _GOES_ON:
            if kind == DIFF or kind == TRADE or kind == TRADES:
                if _is_scarce(engine, message):
                    return SCARCE, place
                outcome = diff(engine, message, levels) if kind == DIFF else trade(engine, message, levels)
            elif kind == TICKER:
                _take_ticker(engine, message, levels)
            else:
                _note_other_record(engine, message)
        elif why != _IS_REPEATED:
            return why, place
        if outcome == CUT_BEFORE:
            return CUT, place
        if outcome == EXHAUSTED:
            return POOL_IS_EMPTY, place
        if outcome == HALTED:
            return HALTED_AT_GAP, place
        if outcome == WAITS:
            continue
        state.sequence_checked = 0  # the message is consumed
        place += 1
        if outcome == CUT_AFTER:
            return CUT, place
