"""Diffs: whose they are, whether they continue the book, and what follows where they do not (docs/rules.md, section 2)."""

from __future__ import annotations

from cowbook.book.audits import audit_waiting_tickers, forget_tickers
from cowbook.book.checks import check, cut_depth, set_book
from cowbook.book.clock import advance, enter, leave
from cowbook.book.continuity import APPLY, GAP, STALE, judge, may_count_anew, shows_loss
from cowbook.book.emit import change_rows, finish_depth, gap_row
from cowbook.book.features import follow_diff
from cowbook.book.kept import APART, OWN, apart_log, forget, is_kept, joining, keep, keep_apart, newest_kept, own_log
from cowbook.book.known import end_sync
from cowbook.book.ladder import ASK, BID, OK, find_size
from cowbook.book.nearness import follow_loose_tickers
from cowbook.book.newest import drop_older_levels, note_diff
from cowbook.book.others import note_other_channel
from cowbook.book.outcomes import CONSUMED, CUT_AFTER, EXHAUSTED, HALTED, WAITS
from cowbook.book.recent import NO_KEY, is_repetition, remember_message, repetition_key
from cowbook.book.room import APART_LEVELS_LEFT
from cowbook.book.slots import NO_SLOT, become_foreign, drop_impatient, find_slot, free_slot, keep_in_slot, make_due
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.book_state import (
    AHEAD,
    BELIEVED,
    FOREIGN,
    HELD,
    MOST_SLOTS,
    NOT_COMPARED,
    PATIENCE,
    REPLACES_BOOK,
    STALE_ONE,
    STANDS,
    TOOK_OVER,
    UNTIMED,
)
from cowbook.plain.messages import FUTURES, IS_UNLABELLED, LEVELS_ARE_KNOWN, LEVELS_ARE_NEW, NONE, RPI, SPOT
from cowbook.plain.schemes import CHAIN, NEWEST_PER_LEVEL, RANGE_WITH_PREVIOUS, RISING, UNNUMBERED

# What becomes of a diff.
_APPLIES = 0
_APPLIES_WITH_GAP = 1  # of the ids between
_APPLIES_ANEW = 2  # with a gap of unknown size
_APPLIES_INSTEAD = 3  # as that: the snapshot on which the book stands is another symbol's, or has a wrong id
_IS_STALE = 4
_IS_HELD = 5
_IS_APART = 6  # of another speed
_TAKES_OVER = 7  # of another speed, for so long that this one is to be the book's
_AFTER_WITNESS = 8  # of another speed: it joins the witness that waits, which replaces the book first


@inlined_kernel
def is_of_other_market(state, market):
    """Returns whether a message is of a market whose book this is not. It is not told before diffs of both were seen."""
    own = FUTURES if state.market == RPI else state.market
    both = 1 << SPOT | 1 << FUTURES
    return market != 0 and market != own and state.markets_seen & both == both


@rare_kernel
def note_market(state, message):
    """Note of which market a diff is. The first one's is the book's, unless a setting names one; RPI begins no book."""
    if state.market == 0 and message.market != RPI:
        state.market = message.market
    state.markets_seen |= 1 << message.market


@rare_kernel
def _confirms(state, slots, message, place):
    """Returns whether a diff confirms that ids begin anew with the held one: it follows that, and is as old and as late."""
    held = slots.messages[place]
    verdict, _expected, _received = judge(message.rule, held.last_id, 0, message.first_id, message.last_id, message.prev_id)
    return verdict == APPLY and message.last_id > held.last_id and _is_old_and_late(state, message)


@inlined_kernel
def _is_old_and_late(state, message):
    """Returns whether a diff is not above the last applied one by id, but later in event time."""
    return (
        is_kept(message)
        and state.last_diff_id != NONE
        and message.last_id <= state.last_diff_id
        and message.ts_event > state.last_diff_time
    )


@rare_kernel
def _count_stale(state):
    state.stale += 1
    state.stale_run += 1  # since the last snapshot that replaced: it only counts while the book stands on that


@rare_kernel
def _decide_gap(state, slots, message):
    """Decide about a diff that would be a gap."""
    if state.takes_over == TOOK_OVER:
        return _APPLIES_ANEW
    is_other_speed = message.speed != 0 and state.speed != 0 and message.speed != state.speed
    if not is_other_speed or state.is_first:
        return _APPLIES_WITH_GAP
    place = find_slot(state, slots, AHEAD)
    if place != NO_SLOT and state.apart_run > 0:
        witness_id = slots.messages[place].last_id
        verdict, _expected, _received = judge(message.rule, witness_id, 1, message.first_id, message.last_id, message.prev_id)
        if verdict == APPLY:
            return _AFTER_WITNESS
    return _TAKES_OVER if state.apart_run + 1 >= PATIENCE else _IS_APART


@rare_kernel
def _stands(state, slots):
    """Returns the slot of the snapshot on which the book stands, without any diff applied behind it; NO_SLOT if there is none."""
    place = find_slot(state, slots, BELIEVED)
    return place if place != NO_SLOT else find_slot(state, slots, STANDS)


@rare_kernel
def _decide_stale(state, slots, message):
    """Decide about a diff that is stale by its ids."""
    if may_count_anew(message.rule) and message.last_id < state.last_id and message.ts_event > state.last_depth_time:
        return _APPLIES_ANEW  # not an old message: the venue has restarted its numbering
    if message.rule == RISING and state.stale_run + 1 >= PATIENCE:
        return _APPLIES_ANEW  # the last id was a wrong one, far ahead
    if state.other_symbol > 0 and state.is_first and find_slot(state, slots, BELIEVED) != NO_SLOT:
        return _APPLIES_INSTEAD
    if state.stale_run + 1 >= PATIENCE and is_kept(message) and _stands(state, slots) != NO_SLOT:
        return _APPLIES_INSTEAD
    if _is_old_and_late(state, message):
        return _IS_HELD
    return _IS_STALE


@inlined_kernel
def _ids_at_gap(message, last):
    """Returns (expected, received) id of a diff that does not follow `last`, as its scheme has them."""
    if message.rule == RANGE_WITH_PREVIOUS:
        return last, message.prev_id
    return last + 1, message.last_id if may_count_anew(message.rule) else message.first_id


@rare_kernel
def give_time(state, slots, ts):
    """Have the snapshots that wait for a time processed now, with this one. Returns the outcome of the message that gives it."""
    info = slots.info
    state.due_time = ts
    for place in range(MOST_SLOTS):
        if info[place].purpose == UNTIMED:
            make_due(state, slots, place)
    return WAITS


@rare_kernel
def _meet_untimed(engine, message, levels, place):
    """Take a diff while snapshots wait for a time. Returns its outcome; WAITS if it gives them one."""
    state = engine.state[0]
    first = engine.slots.messages[place]
    verdict, expected, received = judge(message.rule, first.last_id, 1, message.first_id, message.last_id, message.prev_id)
    is_foreign = first.flags & IS_UNLABELLED != 0 and state.other_symbol > 0  # by this diff, which ends it when it is applied
    if verdict == STALE and not is_foreign and state.stale_run + 1 < PATIENCE:
        _count_stale(state)
        if is_kept(message):
            keep(engine.words, own_log(engine.logs), OWN, message, levels)
        return CONSUMED
    if verdict == GAP and engine.settings[0].halt_on_gap:
        state.gap_expected = expected
        state.gap_received = received
        return HALTED
    return give_time(state, engine.slots, message.ts_event)


@rare_kernel
def _meet_held(engine, message):
    """Take the next diff after one that is held. Returns its outcome; CONSUMED if it is to be judged like any other."""
    state = engine.state[0]
    place = find_slot(state, engine.slots, HELD)
    if not _confirms(state, engine.slots, message, place):
        _count_stale(state)
        free_slot(state, engine.slots, place)
        return CONSUMED
    if engine.settings[0].halt_on_gap:
        state.gap_expected, state.gap_received = _ids_at_gap(engine.slots.messages[place], state.last_id)
        return HALTED
    make_due(state, engine.slots, place)
    return WAITS


@rare_kernel
def begin_anew(engine, message, levels):
    """Apply the held diff, with which the ids begin anew. Returns its outcome."""
    state, words = engine.state[0], engine.words
    outcome = enter(engine, message.ts_event)
    if outcome != CONSUMED:
        return outcome
    state.resets = 1
    expected, received = _ids_at_gap(message, state.last_id)
    forget(words, OWN)
    forget(words, APART)
    forget_tickers(engine)
    place = find_slot(state, engine.slots, AHEAD)
    if place != NO_SLOT:
        free_slot(state, engine.slots, place)
        state.stale_snapshots += 1
    return _apply(engine, message, levels, _APPLIES_ANEW, expected, received)


@rare_kernel
def _set_apart(engine, message, levels):
    """Keep a diff of another speed apart."""
    state = engine.state[0]
    state.unused += 1
    state.apart_run += 1
    state.apart_speed = message.speed
    state.other_speed = message.speed
    engine.room[APART_LEVELS_LEFT] -= message.bid_count + message.ask_count
    keep_apart(engine.words, apart_log(engine.logs), message, levels)


@rare_kernel
def _replace_by_witness(state, slots, speed):
    """Have the witness that waits replace the book: the recorder has changed its speed, and the diffs of the new one join it."""
    place = find_slot(state, slots, AHEAD)
    make_due(state, slots, place)
    slots.info[place].is_due = REPLACES_BOOK
    state.takes_over = speed
    return WAITS


@rare_kernel
def wake_ahead(engine):
    """Have the witness processed that waited until the kept diffs had reached the book."""
    state = engine.state[0]
    place = find_slot(state, engine.slots, AHEAD)
    if place == NO_SLOT:
        return
    snapshot_id = engine.slots.messages[place].last_id
    if snapshot_id == state.last_id or (
        snapshot_id < state.last_id and newest_kept(engine.words, own_log(engine.logs), OWN) >= state.last_id
    ):
        make_due(state, engine.slots, place)


@rare_kernel
def _skip(engine, message, levels, decision):
    """Count a diff that is not applied now. Returns its outcome."""
    state = engine.state[0]
    if decision == _AFTER_WITNESS:
        return _replace_by_witness(state, engine.slots, message.speed)
    if decision == _TAKES_OVER:
        state.takes_over = message.speed
        return WAITS
    if decision == _IS_APART:
        _set_apart(engine, message, levels)
    elif decision == _IS_HELD:
        keep_in_slot(engine, message, levels, HELD)
    else:
        _count_stale(state)
        if is_kept(message):
            keep(engine.words, own_log(engine.logs), OWN, message, levels)
            wake_ahead(engine)
    return CONSUMED


@rare_kernel
def _wake(engine, message):
    """After an applied diff: have the snapshots processed that it has reached, and drop one that waits for too long."""
    slots = engine.slots
    for place in range(MOST_SLOTS):
        snapshot_id = slots.messages[place].last_id
        if slots.info[place].purpose != FOREIGN or snapshot_id > message.last_id:
            continue
        last = message.last_id
        if snapshot_id == last or joining(engine.words, own_log(engine.logs), OWN, snapshot_id, last) >= 0:
            make_due(engine.state[0], slots, place)
        else:
            free_slot(engine.state[0], slots, place)
            engine.state[0].foreign_snapshots += 1
    wake_ahead(engine)
    drop_impatient(engine.state[0], slots)


@rare_kernel
def _settle(state, slots, decision):
    """Before a diff is applied: what waited for the next applied diff need not wait any more."""
    info = slots.info
    for place in range(MOST_SLOTS):
        purpose = info[place].purpose
        if purpose == BELIEVED or purpose == STANDS:
            if decision == _APPLIES_INSTEAD:
                become_foreign(state, slots, place)
            else:
                free_slot(state, slots, place)
        elif purpose == STALE_ONE and state.resets == 0:
            free_slot(state, slots, place)


@rare_kernel
def _end_reset(state, slots):
    """The second diff of the new ids is applied: the snapshot that was stale may now be joined."""
    state.resets = 0
    place = find_slot(state, slots, STALE_ONE)
    if place != NO_SLOT:
        become_foreign(state, slots, place)


@inlined_kernel
def _apply(engine, message, levels, decision, expected, received):
    """Apply a diff after `enter`. Returns its outcome."""
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    ts = message.ts_event
    is_reset = decision == _APPLIES_ANEW and state.resets == 1
    if decision != _APPLIES:
        gap_row(state, rows, ts, expected, received, decision == _APPLIES_WITH_GAP and message.rule != CHAIN)
        end_sync(state, engine.slots)
    if state.slot_count > 0:
        _settle(state, engine.slots, decision)
    first_event, first_run = state.next_event, state.open_depth
    if set_book(book, message, levels) != OK:
        return EXHAUSTED
    change_rows(state, settings, rows, message, levels)
    if cut_depth(engine, message, ts, message.last_id, True) != OK:
        return EXHAUSTED
    advance(state, ts)
    state.last_id = message.last_id if message.rule != NEWEST_PER_LEVEL else max(state.last_id, message.last_id)
    state.is_first = 0
    state.is_numbered = shows_loss(message.rule)
    if not state.is_numbered and state.last_sequence == 0:
        state.unnumbered += 1
    state.last_depth_time = ts
    state.last_diff_id = message.last_id
    state.last_diff_time = ts
    if message.speed != 0:
        state.speed = message.speed
    state.apart_run = 0
    state.takes_over = 0
    if message.rule == RISING:
        state.stale_run = 0
        if decision == _APPLIES_ANEW:
            forget(engine.words, OWN)  # their ids are above all that come
    state.diffs += 1
    state.verdict = NOT_COMPARED
    audit_waiting_tickers(engine)
    check(engine, message)
    if is_kept(message):
        keep(engine.words, own_log(engine.logs), OWN, message, levels)
    elif message.rule == NEWEST_PER_LEVEL:
        note_diff(engine, message, levels)
    finish_depth(engine, ts, message.ts_recv, first_event, first_run)
    if settings.with_flows:
        follow_diff(state, book, engine.measured, message, levels, first_event)
    if state.has_loose_tickers:
        follow_loose_tickers(engine)
    if state.resets == 1 and not is_reset:
        _end_reset(state, engine.slots)
    if state.slot_count > 0 and not is_reset:
        _wake(engine, message)
    return CUT_AFTER if leave(state, settings, first_event) else CONSUMED


@rare_kernel
def _contradicts(book, message, levels):
    """Returns whether the book contradicts what the venue says of a diff's levels: that it has them all, or none of them."""
    wanted = message.flags & LEVELS_ARE_KNOWN != 0
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        if (find_size(book, BID, levels.prices[level]) != 0) != wanted:
            return True
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        if (find_size(book, ASK, levels.prices[level]) != 0) != wanted:
            return True
    return False


@inlined_kernel
def diff(engine, message, levels):
    """Take a diff. Returns its outcome."""
    state, settings = engine.state[0], engine.settings[0]
    if message.channel != state.channel:
        if state.channel != 0:
            note_other_channel(state, message)  # the last snapshot is of another book of this symbol
            return CONSUMED
        state.channel = message.channel
    if message.market != 0:
        if settings.speed != 0 and message.speed != 0 and message.speed != settings.speed:
            state.other_speed = message.speed
            state.unused += 1
            return CONSUMED
        if message.market != state.market or state.markets_seen & (1 << message.market) == 0:
            note_market(state, message)
        if message.market != state.market:
            state.unused += 1
            return CONSUMED
    if state.slot_count > 0:
        place = find_slot(state, engine.slots, UNTIMED)
        if place != NO_SLOT:
            return _meet_untimed(engine, message, levels, place)
        if state.resets == 0 and find_slot(state, engine.slots, HELD) != NO_SLOT:
            outcome = _meet_held(engine, message)
            if outcome != CONSUMED:
                return outcome
    verdict, expected, received = judge(
        message.rule, state.last_id, state.is_first, message.first_id, message.last_id, message.prev_id
    )
    decision = _APPLIES
    if verdict == STALE and message.rule == NEWEST_PER_LEVEL:
        if not drop_older_levels(engine, message, levels):
            return _skip(engine, message, levels, _IS_STALE)
        verdict = APPLY
    if verdict != APPLY:
        decision = _decide_gap(state, engine.slots, message) if verdict == GAP else _decide_stale(state, engine.slots, message)
        if decision >= _IS_STALE:
            return _skip(engine, message, levels, decision)
        if verdict == STALE:
            expected, received = _ids_at_gap(message, state.last_id)
        if settings.halt_on_gap:
            state.gap_expected = expected
            state.gap_received = received
            return HALTED
    key = repetition_key(message, levels) if message.rule == UNNUMBERED else NO_KEY
    if is_repetition(engine, key):
        return CONSUMED
    if message.flags & (LEVELS_ARE_NEW | LEVELS_ARE_KNOWN) and state.synced and _contradicts(engine.book, message, levels):
        decision = _APPLIES_ANEW
        if settings.halt_on_gap:
            state.gap_expected = NONE
            state.gap_received = NONE
            return HALTED
    outcome = enter(engine, message.ts_event)
    if outcome != CONSUMED:
        return outcome
    remember_message(engine, key)
    return _apply(engine, message, levels, decision, expected, received)
