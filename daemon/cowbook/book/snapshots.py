"""Depth snapshots: one that replaces the book, one that judges it, and one that waits (docs/rules.md, section 2)."""

from __future__ import annotations

from cowbook.book.audits import audit_waiting_tickers, judge_audit
from cowbook.book.checks import check, cut_depth, cut_shown, set_book
from cowbook.book.clock import advance, enter, leave
from cowbook.book.compare import clear_counts, judge_side, measure_side, take_side
from cowbook.book.continuity import shows_loss
from cowbook.book.emit import add_level, add_side, begin_run, drift_row, finish_depth
from cowbook.book.features import note_depth
from cowbook.book.kept import OWN, is_kept, joining, newest_kept, own_log, takes_over
from cowbook.book.known import end_sync, snapshot_bounds
from cowbook.book.ladder import ASK, BEFORE, BID, OK, clear_side, move_side, put_level
from cowbook.book.nearness import follow_loose_tickers
from cowbook.book.newest import note_snapshot
from cowbook.book.others import note_other_channel
from cowbook.book.outcomes import CONSUMED, CUT_AFTER, EXHAUSTED, WAITS
from cowbook.book.recent import remember_message, repetition_key
from cowbook.book.slots import NO_SLOT, become_stale_one, count_slots, find_slot, free_slot, keep_in_slot, oldest_but_one
from cowbook.kernels.jit import kernel, rare_kernel
from cowbook.plain.book_state import (
    AHEAD,
    BELIEVED,
    FOREIGN,
    IN_HAND,
    MOST_FOREIGN,
    MOST_UNTIMED,
    NOT_COMPARED,
    STANDS,
    TOOK_OVER,
    UNTIMED,
)
from cowbook.plain.messages import IS_RESET, IS_UNLABELLED, NONE
from cowbook.plain.schemes import NEWEST_PER_LEVEL, RISING, UNNUMBERED
from cowbook.plain.vocabulary import CLEAR, OF_SNAPSHOT, WITNESS

# What a snapshot is to the book.
_REPLACES = 0
_TAKES_OVER = 1  # with the diffs of another speed
_JUDGES = 2
_WAITS = 3
_STALE = 4


@rare_kernel
def snapshot_time(state, message):
    """Returns a snapshot's event time: its own, else its receive time, else the last accepted message's, else NONE."""
    if message.ts_event != NONE:
        return message.ts_event
    if message.ts_recv != NONE:
        return message.ts_recv
    return state.last_time


@rare_kernel
def _note_stale(engine, message, levels):
    """Count a snapshot that is of no use now. The newest one is remembered, because ids may begin anew with it."""
    become_stale_one(engine.state[0], engine.slots, keep_in_slot(engine, message, levels, IN_HAND))


@rare_kernel
def wait_for_time(engine, message, levels):
    """Let a snapshot wait for a time. Of too many, the first and the newest stay."""
    if count_slots(engine.slots, UNTIMED) == MOST_UNTIMED:
        become_stale_one(engine.state[0], engine.slots, oldest_but_one(engine.slots, UNTIMED))
    keep_in_slot(engine, message, levels, UNTIMED)


@rare_kernel
def wait_for_owner(engine, message, levels):
    """Let a snapshot wait for a diff that shows whose it is. Of too many, the newest stay.

    Ids that only rise show it for none.
    """
    if message.rule == RISING:
        engine.state[0].foreign_snapshots += 1
        return
    if count_slots(engine.slots, FOREIGN) == MOST_FOREIGN:
        free_slot(engine.state[0], engine.slots, find_slot(engine.state[0], engine.slots, FOREIGN))
    keep_in_slot(engine, message, levels, FOREIGN)


@rare_kernel
def is_of_unknown_owner(state, message):
    """Returns whether nothing says whose a snapshot is, in an input that speaks of several symbols."""
    return message.flags & IS_UNLABELLED != 0 and state.other_symbol > 0


@rare_kernel
def _choose(engine, message):
    """Decide what a snapshot is to the book. Returns (what, place of the first kept diff to be applied to it; -1 for none)."""
    state, words, logs = engine.state[0], engine.words, engine.logs
    snapshot_id = message.last_id
    last = state.last_id
    if message.flags & IS_RESET != 0 or last == NONE:
        return _REPLACES, -1
    newest = newest_kept(words, own_log(logs), OWN)
    if state.takes_over == TOOK_OVER:
        return _REPLACES, joining(words, own_log(logs), OWN, snapshot_id, newest)
    place = joining(words, own_log(logs), OWN, snapshot_id, last)
    if place >= 0:
        return (_JUDGES if state.synced else _REPLACES), place
    # The second unused diff in a row shows that the recorder has changed its speed.
    if state.apart_run > 1 and takes_over(engine, snapshot_id):
        return _TAKES_OVER, -1
    if not state.synced:
        return (_REPLACES if snapshot_id >= last else _STALE), -1
    # It is ahead of the book, or the book is ahead of its own diffs.
    return (_WAITS if snapshot_id > last or newest < last else _STALE), -1


@rare_kernel
def _let_witness_wait(engine, message, levels):
    """Let a witness wait for a diff that reaches it. Of two, the one with more levels stays, of equally many the newer."""
    place = find_slot(engine.state[0], engine.slots, AHEAD)
    if place != NO_SLOT:
        engine.state[0].replaced_witnesses += 1
        other = engine.slots.messages[place]
        if other.bid_count + other.ask_count > message.bid_count + message.ask_count:
            return
        free_slot(engine.state[0], engine.slots, place)
    keep_in_slot(engine, message, levels, AHEAD)


@rare_kernel
def snapshot(engine, message, levels, ts, is_proved, is_forced):
    """Take a depth snapshot with event time `ts`. Returns its outcome.

    `is_proved`: a diff of this symbol has shown whose it is. `is_forced`: it replaces the book in any case.
    """
    what, place = (_REPLACES, -1) if is_forced else _choose(engine, message)
    if what == _TAKES_OVER:
        state = engine.state[0]
        state.takes_over = state.apart_speed
        return WAITS
    if what == _WAITS:
        _let_witness_wait(engine, message, levels)
        return CONSUMED
    if what == _STALE:
        _note_stale(engine, message, levels)
        return CONSUMED
    outcome = enter(engine, ts)
    if outcome != CONSUMED:
        return outcome
    if what == _JUDGES:
        return _witness(engine, message, levels, ts, place)
    return _replace(engine, message, levels, ts, place, is_proved)


@rare_kernel
def picture(engine, message, levels, ts):
    """Take a picture of the best levels, with event time `ts`. Returns its outcome.

    Pictures make up a book of their own. Beside the book of another channel one only judges it, where it has the book's id.
    """
    state = engine.state[0]
    if state.channel != 0 and state.channel != message.channel:
        if not state.synced or message.rule == UNNUMBERED or message.last_id != state.last_id:
            note_other_channel(state, message)
            return CONSUMED
        outcome = enter(engine, ts)
        return outcome if outcome != CONSUMED else _witness(engine, message, levels, ts, state.diff_end)
    if message.rule != UNNUMBERED and state.last_id != NONE and message.last_id <= state.last_id and ts <= state.last_depth_time:
        state.stale_snapshots += 1
        return CONSUMED
    outcome = enter(engine, ts)
    if outcome != CONSUMED:
        return outcome
    if state.channel == 0 or state.snapshots == 0:
        outcome = _replace(engine, message, levels, ts, -1, True)
        state.is_numbered = 0  # no id shows that a picture is missing
        return outcome
    return _follow(engine, message, levels, ts)


@rare_kernel
def _follow(engine, message, levels, ts):
    """Bring a book of pictures to the next one: what differs changes. Returns the outcome."""
    state, settings, book = engine.state[0], engine.settings[0], engine.book
    first_event, first_run = state.next_event, state.open_depth
    if message.rule == UNNUMBERED:
        remember_message(engine, repetition_key(message, levels))
    if _put_sides(book, message, levels) != OK or cut_shown(engine, message) != OK:
        return EXHAUSTED
    why, has_run = take_side(engine, BID, message.last_id, False, ts, message.ts_recv)
    if why == OK:
        why, has_run = take_side(engine, ASK, message.last_id, has_run, ts, message.ts_recv)
    for side_number in range(2):
        clear_side(book, BEFORE + side_number)
    if why != OK:
        return EXHAUSTED
    state.last_id = message.last_id
    state.synced = 1
    state.bid_bound, state.ask_bound = snapshot_bounds(settings, message, levels)
    advance(state, ts)
    state.last_depth_time = ts
    state.snapshots += 1
    state.verdict = NOT_COMPARED
    return _finish(engine, ts, message.ts_recv, first_event, first_run)


@rare_kernel
def _apply_kept(book, log, place, end, first_side):
    """Apply kept diffs to the trees of `first_side` (BID or BEFORE + BID) and the one after it. Returns OK or EXHAUSTED."""
    prices, sizes = log.levels.prices, log.levels.sizes
    for number in range(place, end):
        entry = log.entries[number]
        middle = entry.level_start + entry.bid_count
        for level in range(entry.level_start, middle + entry.ask_count):
            side_number = first_side + (level >= middle)
            if put_level(book, side_number, prices[level], sizes[level]) != OK:
                return EXHAUSTED
    return OK


@rare_kernel
def _finish(engine, ts, ts_recv, first_event, first_run):
    """Finish a snapshot, whose rows began at `first_event` and `first_run`. Returns its outcome."""
    state, settings = engine.state[0], engine.settings[0]
    finish_depth(engine, ts, ts_recv, first_event, first_run)
    if settings.with_flows:
        note_depth(state, engine.book, engine.measured)
    if state.has_loose_tickers:
        follow_loose_tickers(engine)
    return CUT_AFTER if leave(state, settings, first_event) else CONSUMED


@rare_kernel
def _replace(engine, message, levels, ts, place, is_proved):
    """Replace the book by a snapshot, with the kept diffs from `place` on applied to it. Returns its outcome.

    `is_proved`: a diff of this symbol has shown whose the snapshot is.
    """
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    state.takes_over = 0
    state.stale_run = 0
    if message.rule == UNNUMBERED:
        remember_message(engine, repetition_key(message, levels))
    first_event, first_run = state.next_event, state.open_depth
    was_synced, last_before = state.synced, state.last_id
    for side_number in range(2):
        move_side(book, side_number, BEFORE + side_number)
    if set_book(book, message, levels) != OK:
        return EXHAUSTED
    state.last_id = message.last_id
    state.is_first = 1
    if place >= 0:
        log, end = own_log(engine.logs), state.diff_end
        if _apply_kept(book, log, place, end, BID) != OK:
            return EXHAUSTED
        if place < end:
            state.last_id = log.entries[end - 1].last_id
            state.is_first = 0
    if cut_depth(engine, message, ts, state.last_id, False) != OK:
        return EXHAUSTED
    state.is_numbered = shows_loss(message.rule)
    state.channel = message.channel
    state.synced = 1
    state.bid_bound, state.ask_bound = snapshot_bounds(settings, message, levels)
    update_id = state.last_id
    begin_run(state, settings, rows, CLEAR, ts, message.ts_recv, update_id)
    for side_number in range(2):
        add_level(state, settings, rows, side_number, 0, 0)
    if book.sides[BID].level_count + book.sides[ASK].level_count > 0:
        begin_run(state, settings, rows, OF_SNAPSHOT, ts, message.ts_recv, update_id)
        for side_number in range(2):
            add_side(state, settings, rows, book, side_number)
    advance(state, ts)
    state.last_depth_time = ts
    if state.snapshots == 0:
        state.first_snapshot_time = ts
    state.snapshots += 1
    state.verdict = NOT_COMPARED
    _believe(engine, message, levels, is_proved)
    if message.rule == NEWEST_PER_LEVEL:
        note_snapshot(engine, message, levels)
    audit_waiting_tickers(engine)
    check(engine, message)
    if state.last_id == last_before and last_before != NONE and not was_synced:
        row = drift_row(state, rows, ts, message.last_id, 0)
        clear_counts(row)
        bid_limit, ask_limit = snapshot_bounds(settings, message, levels)
        measure_side(book, BID, bid_limit, row)
        measure_side(book, ASK, ask_limit, row)
    for side_number in range(2):
        clear_side(book, BEFORE + side_number)
    return _finish(engine, ts, message.ts_recv, first_event, first_run)


@rare_kernel
def _believe(engine, message, levels, is_proved):
    """Remember a snapshot until a diff joins it: it may have been another symbol's, or have an id that no diff ever reaches."""
    state, slots = engine.state[0], engine.slots
    for purpose in (BELIEVED, STANDS):
        place = find_slot(state, slots, purpose)
        if place != NO_SLOT:
            free_slot(state, slots, place)
    if not state.is_first:
        return
    if message.flags & IS_UNLABELLED != 0 and not is_proved:
        keep_in_slot(engine, message, levels, BELIEVED)
    elif is_kept(message) and message.flags & IS_RESET == 0:
        keep_in_slot(engine, message, levels, STANDS)


@kernel
def _put_sides(book, message, levels):
    """Put a snapshot's levels into the BEFORE trees."""
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        if put_level(book, BEFORE + BID, levels.prices[level], levels.sizes[level]) != OK:
            return EXHAUSTED
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        if put_level(book, BEFORE + ASK, levels.prices[level], levels.sizes[level]) != OK:
            return EXHAUSTED
    return OK


@rare_kernel
def _witness(engine, message, levels, ts, place):
    """Compare the book with a snapshot to which the kept diffs from `place` on are applied. Returns its outcome.

    What is inside the snapshot's range is taken from it. A difference inside of what was known before shows that one of the two
    is wrong. Nothing tells which, so sync ends.
    """
    state, settings, book, rows = engine.state[0], engine.settings[0], engine.book, engine.rows
    first_event, first_run = state.next_event, state.open_depth
    if _put_sides(book, message, levels) != OK:
        return EXHAUSTED
    if _apply_kept(book, own_log(engine.logs), place, state.diff_end, BEFORE + BID) != OK:
        return EXHAUSTED
    if cut_shown(engine, message) != OK:
        return EXHAUSTED
    bid_limit, ask_limit = snapshot_bounds(settings, message, levels)
    row = drift_row(state, rows, ts, message.last_id, 1)
    clear_counts(row)
    blame = rows.audits[state.open_audits]
    why, has_run = judge_side(engine, BID, bid_limit, row, blame, False, ts, message.ts_recv)
    if why == OK:
        why, has_run = judge_side(engine, ASK, ask_limit, row, blame, has_run, ts, message.ts_recv)
    for side_number in range(2):
        clear_side(book, BEFORE + side_number)
    if why != OK or cut_depth(engine, message, ts, state.last_id, True) != OK:
        return EXHAUSTED
    row.event_index = state.next_event
    wrong = row.levels_missing + row.levels_extra + row.levels_differing
    state.levels_compared += row.levels_compared
    state.levels_wrong += wrong
    state.levels_learned += row.levels_learned
    advance(state, ts)
    state.last_depth_time = ts
    state.witnesses += 1
    state.verdict = NOT_COMPARED
    if judge_audit(engine.words, state, WITNESS, wrong == 0):
        end_sync(state, engine.slots)
        state.open_audits += 1
        blame.event_index = state.next_event
        blame.ts_event = ts
        blame.update_id = state.last_id
        blame.kind = WITNESS
    else:
        state.bid_bound = min(state.bid_bound, bid_limit)
        state.ask_bound = max(state.ask_bound, ask_limit)
    return _finish(engine, ts, message.ts_recv, first_event, first_run)
