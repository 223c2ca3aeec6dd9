"""The kernel that applies messages: one loop over a batch in input order. It returns at the end, or where the caller must act."""

from __future__ import annotations

from cowbook.book.audits import audit_checksum, audit_waiting_tickers, count_audit, take_ticker
from cowbook.book.block_pool import blocks_available
from cowbook.book.checksums import book_checksum
from cowbook.book.clock import advance, enter, leave
from cowbook.book.connections import CUTS, HALTS, REPEATED, follow_connection
from cowbook.book.continuity import APPLY, GAP, STALE, judge
from cowbook.book.drift import measure
from cowbook.book.emit import dead_letter_row, depth_rows, drift_row, finish_depth, gap_row, trade_row, trade_rows
from cowbook.book.ladder import (
    ASK,
    BEFORE,
    BID,
    MAX_HEIGHT,
    OK,
    clear_side,
    cut_side,
    move_side,
    set_level,
)
from cowbook.book.room import has_room
from cowbook.book.state import Levels
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.book_state import NOT_COMPARED, PLACES, WAITING_LIMIT
from cowbook.plain.messages import (
    DEAD_LETTER,
    DIFF,
    HAS_CHECKSUM,
    IS_NO_DEPTH,
    IS_RESET,
    NONE,
    OTHER_SYMBOL,
    SNAPSHOT,
    SUBSCRIPTION,
    TICKER,
    TRADE,
    TRADES,
    UNUSED,
)
from cowbook.plain.schemes import CHAIN, COUNTER, NO_CHECKSUM, UNNUMBERED
from cowbook.plain.vocabulary import CHECKSUM, NOT_COMPARABLE, REASONS

# Why the kernel returned.
DONE = 0  # all messages are consumed
CUT = 1  # a cut is due: take the open rows, and call again
ROOM = 2  # an array is too small for the next message: enlarge it, and call again
SCARCE = 3  # the free blocks may not suffice for the next message while snapshots hold some: release one, and call again
EXHAUSTED = 4  # the pool ran out of blocks within a message: the book is lost
HALTED_AT_GAP = 5

# Outcomes of one message.
_CONSUMED = 0
_CUT_BEFORE = 1
_CUT_AFTER = 2
_EXHAUSTED = 3
_HALTED = 4

_FIRST_REASON = PLACES[f"dead_{REASONS[0]}"]  # its counter; those of the other reasons follow in the order of REASONS


@kernel
def _set_levels(book, side_number, levels, start, count):
    for level in range(start, start + count):
        if set_level(book, side_number, levels.prices[level], levels.sizes[level]) != OK:
            return _EXHAUSTED
    return OK


@kernel
def _apply_levels(book, message, levels):
    if _set_levels(book, BID, levels, message.bid_start, message.bid_count) != OK:
        return _EXHAUSTED
    return _set_levels(book, ASK, levels, message.ask_start, message.ask_count)


@kernel
def _cut_sides(state, settings, book, message):
    """Remove the levels beyond the depth that the venue keeps, for which it sends no more updates. Returns OK or _EXHAUSTED."""
    if message.depth > 0:
        state.depth = message.depth
    depth = settings.depth if settings.depth > 0 else state.depth
    if depth == 0:
        return OK
    for side_number in range(2):
        if cut_side(book, side_number, depth) != OK:
            return _EXHAUSTED
    return OK


@rare_kernel
def _check(engine, message):
    """Compare a depth message's checksum with that of the book after the message."""
    state, settings = engine.state[0], engine.settings[0]
    if settings.checksum == NO_CHECKSUM:
        return
    if message.kind == SNAPSHOT:
        state.price_decimals = message.price_decimals
        state.size_decimals = message.size_decimals
    if message.flags & HAS_CHECKSUM == 0:
        count_audit(engine.words, CHECKSUM, NOT_COMPARABLE)
        return
    state.price_decimals = max(state.price_decimals, message.price_decimals)
    state.size_decimals = max(state.size_decimals, message.size_decimals)
    audit_checksum(engine, message.checksum, book_checksum(engine))


@kernel
def _copy_side(prices, sizes, place, levels, start, count):
    """Copy one side of a message's levels to `place` and on. Returns the place after them."""
    for level in range(count):
        prices[place + level] = levels.prices[start + level]
        sizes[place + level] = levels.sizes[start + level]
    return place + count


@kernel
def _buffer_diff(state, logs, message, levels):
    """Keep a diff, to be replayed if a snapshot older than it arrives."""
    entry = logs.diffs[state.diff_end]
    state.diff_end += 1
    entry.rule = message.rule
    entry.first_id = message.first_id
    entry.last_id = message.last_id
    entry.prev_id = message.prev_id
    entry.level_start = state.diff_level_end
    entry.bid_count = message.bid_count
    entry.ask_count = message.ask_count
    place = _copy_side(logs.diff_prices, logs.diff_sizes, state.diff_level_end, levels, message.bid_start, message.bid_count)
    state.diff_level_end = _copy_side(logs.diff_prices, logs.diff_sizes, place, levels, message.ask_start, message.ask_count)
    if state.diff_end - state.diff_start > WAITING_LIMIT:
        state.diff_start += 1


@inlined_kernel
def _diff(engine, message, levels):
    """Apply a diff, unless it is stale or of another book. Returns its outcome."""
    state, settings = engine.state[0], engine.settings[0]
    if message.channel != state.channel:
        if state.channel != 0:
            state.unused += 1  # the last snapshot is of another book of this symbol
            return _CONSUMED
        state.channel = message.channel
    verdict, expected, received = judge(
        message.rule, state.last_id, state.is_first, message.first_id, message.last_id, message.prev_id
    )
    if verdict == STALE and message.rule == COUNTER and message.last_id < state.last_id:
        if message.ts_event > state.last_depth_time:  # not an old message: the venue has restarted its numbering
            verdict, expected, received = GAP, state.last_id + 1, message.last_id
    if verdict == STALE:
        state.stale += 1
        return _CONSUMED
    if verdict == GAP and settings.halt_on_gap:
        state.gap_expected = expected
        state.gap_received = received
        return _HALTED
    ts = message.ts_event
    if enter(engine, ts):
        return _CUT_BEFORE
    if verdict == GAP:
        gap_row(state, engine.rows, ts, expected, received, message.rule != CHAIN)
        state.synced = 0
    events_before = state.next_event
    events = message.bid_count + message.ask_count
    if _apply_levels(engine.book, message, levels) != OK:
        return _EXHAUSTED
    if _cut_sides(state, settings, engine.book, message) != OK:
        return _EXHAUSTED
    depth_rows(state, settings, engine.rows, message, levels, ts, message.ts_recv, 0)
    advance(state, ts, events)
    state.last_id = message.last_id
    state.is_first = 0
    state.is_numbered = message.rule != UNNUMBERED
    state.last_depth_time = ts
    state.diffs += 1
    state.verdict = NOT_COMPARED
    audit_waiting_tickers(engine)
    _check(engine, message)
    if not state.synced and message.rule != UNNUMBERED:
        _buffer_diff(state, engine.logs, message, levels)
    finish_depth(state, settings, engine.book, engine.rows, ts, message.ts_recv, events)
    return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED


@rare_kernel
def _first_joining_diff(state, diffs, snapshot_id):
    """Returns the place of the first buffered diff newer than the snapshot; -1 if there is none, or if they do not all join."""
    last = snapshot_id
    is_first = 1
    first_place = -1
    for place in range(state.diff_start, state.diff_end):
        entry = diffs[place]
        if entry.last_id <= snapshot_id:
            continue
        if first_place < 0:
            first_place = place
        verdict, _expected, _received = judge(entry.rule, last, is_first, entry.first_id, entry.last_id, entry.prev_id)
        if verdict != APPLY:
            return -1
        last = entry.last_id
        is_first = 0
    return first_place


@rare_kernel
def _replay(state, book, logs, first_place, snapshot_id):
    """Apply once more the buffered diffs that are newer than the snapshot. Returns OK or _EXHAUSTED."""
    levels = Levels(logs.diff_prices, logs.diff_sizes)
    for place in range(first_place, state.diff_end):
        entry = logs.diffs[place]
        if entry.last_id <= snapshot_id:
            continue
        middle = entry.level_start + entry.bid_count
        bids = _set_levels(book, BID, levels, entry.level_start, entry.bid_count)
        asks = _set_levels(book, ASK, levels, middle, entry.ask_count)
        if bids != OK or asks != OK:
            return _EXHAUSTED
        state.last_id = entry.last_id
    state.is_first = 0
    return OK


@rare_kernel
def _measure_drift(state, book, rows, message, levels, ts, was_synced):
    """Write a drift row: the book before a snapshot against the book after it, within the snapshot's range of prices."""
    prices = levels.prices
    lowest = 10**18
    highest = -1
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        lowest = min(lowest, prices[level])
        highest = max(highest, prices[level])
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        lowest = min(lowest, prices[level])
        highest = max(highest, prices[level])
    measure(book, lowest, highest, drift_row(state, rows, ts, message.last_id, was_synced))


@rare_kernel
def _snapshot(engine, message, levels, ts):
    """Apply a depth snapshot with event time `ts`, unless it is stale. Returns its outcome."""
    state, settings, book = engine.state[0], engine.settings[0], engine.book
    snapshot_id = message.last_id
    last_before = state.last_id
    first_place = -1
    if last_before != NONE and snapshot_id < last_before and message.flags & IS_RESET == 0:
        if not state.synced:
            first_place = _first_joining_diff(state, engine.logs.diffs, snapshot_id)
        if first_place < 0:
            state.stale_snapshots += 1
            return _CONSUMED
    if enter(engine, ts):
        return _CUT_BEFORE
    events_before = state.next_event
    events = message.bid_count + message.ask_count
    was_synced = state.synced
    for side_number in range(2):
        move_side(book, side_number, BEFORE + side_number)
    if _apply_levels(book, message, levels) != OK:
        return _EXHAUSTED
    if _cut_sides(state, settings, book, message) != OK:
        return _EXHAUSTED
    state.last_id = snapshot_id
    state.is_first = 1
    state.is_numbered = message.rule != UNNUMBERED
    state.channel = message.channel
    if first_place >= 0 and _replay(state, book, engine.logs, first_place, snapshot_id) != OK:
        return _EXHAUSTED
    state.synced = 1
    state.diff_start = state.diff_end
    depth_rows(state, settings, engine.rows, message, levels, ts, message.ts_recv, 1)
    advance(state, ts, events)
    state.last_depth_time = ts
    state.snapshots += 1
    state.verdict = NOT_COMPARED
    audit_waiting_tickers(engine)
    _check(engine, message)
    if state.last_id == last_before and last_before != NONE:
        _measure_drift(state, book, engine.rows, message, levels, ts, was_synced)
    for side_number in range(2):
        clear_side(book, BEFORE + side_number)
    finish_depth(state, settings, book, engine.rows, ts, message.ts_recv, events)
    return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED


@kernel
def _snapshot_time(state, message):
    """Returns a snapshot's event time: its own, else its receive time, else the last message's; NONE if there is none yet."""
    if message.ts_event != NONE:
        return message.ts_event
    if message.ts_recv != NONE:
        return message.ts_recv
    return state.last_time


@rare_kernel
def _let_wait(state, logs, message, levels):
    """Keep a snapshot without a time until a message gives it one. Of two, the newer stays."""
    if state.snapshot_waits:
        state.stale_snapshots += 1
        if message.last_id < state.waiting_id:
            return
    state.snapshot_waits = 1
    state.waiting_id = message.last_id
    state.waiting_bid_count = message.bid_count
    state.waiting_ask_count = message.ask_count
    state.waiting_flags = message.flags
    state.waiting_checksum = message.checksum
    state.waiting_price_decimals = message.price_decimals
    state.waiting_size_decimals = message.size_decimals
    state.waiting_depth = message.depth
    state.waiting_rule = message.rule
    state.waiting_channel = message.channel
    place = _copy_side(logs.snapshot_prices, logs.snapshot_sizes, 0, levels, message.bid_start, message.bid_count)
    _copy_side(logs.snapshot_prices, logs.snapshot_sizes, place, levels, message.ask_start, message.ask_count)


@kernel
def _would_follow(state, settings, message):
    """Returns whether a message would be accepted after the waiting snapshot. If so, it gives the snapshot its time."""
    if message.kind == TRADE or message.kind == TRADES:
        return True
    if message.kind == SNAPSHOT:
        return _snapshot_time(state, message) != NONE and message.last_id >= state.waiting_id
    if message.kind != DIFF:
        return False
    verdict, _expected, _received = judge(message.rule, state.waiting_id, 1, message.first_id, message.last_id, message.prev_id)
    return verdict == APPLY or (verdict == GAP and not settings.halt_on_gap)


@rare_kernel
def _end_waiting(state, waiting):
    """End the waiting of the snapshot: write it into the record `waiting`, to be applied from there."""
    state.snapshot_waits = 0
    waiting.kind = SNAPSHOT
    waiting.flags = state.waiting_flags
    waiting.checksum = state.waiting_checksum
    waiting.price_decimals = state.waiting_price_decimals
    waiting.size_decimals = state.waiting_size_decimals
    waiting.depth = state.waiting_depth
    waiting.rule = state.waiting_rule
    waiting.channel = state.waiting_channel
    waiting.last_id = state.waiting_id
    waiting.ts_recv = NONE
    waiting.bid_start = 0
    waiting.bid_count = state.waiting_bid_count
    waiting.ask_start = state.waiting_bid_count
    waiting.ask_count = state.waiting_ask_count


@inlined_kernel
def _trade(engine, message, levels):
    """Take a trade, or several of one record."""
    state, settings = engine.state[0], engine.settings[0]
    if enter(engine, message.ts_event):
        return _CUT_BEFORE
    events_before = state.next_event
    if message.kind == TRADE:
        count = 1
        trade_row(state, settings, engine.rows, message, levels)
    else:
        count = message.bid_count
        trade_rows(state, settings, engine.rows, message, levels)
    advance(state, message.ts_event, count)
    state.trades += count
    return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED


@rare_kernel
def _diff_before_snapshot(state, message):
    """Count a diff that is not accepted after the waiting snapshot. Returns its outcome: _CONSUMED if stale, _HALTED at a gap."""
    verdict, expected, received = judge(message.rule, state.waiting_id, 1, message.first_id, message.last_id, message.prev_id)
    if verdict == STALE:
        state.stale += 1
        return _CONSUMED
    state.gap_expected = expected
    state.gap_received = received
    return _HALTED


@inlined_kernel
def _one(engine, message, levels):
    """Apply a diff, a snapshot or trades; before it, the waiting snapshot that it gives a time.

    Returns (outcome, whether that is the outcome of the waiting snapshot). In that case the message itself is not consumed.
    """
    state = engine.state[0]
    while True:
        is_waiting = state.snapshot_waits and _would_follow(state, engine.settings[0], message)
        if not is_waiting and message.kind == DIFF:
            if state.snapshot_waits:
                return _diff_before_snapshot(state, message), False
            return _diff(engine, message, levels), False
        if not is_waiting and message.kind != SNAPSHOT:
            return _trade(engine, message, levels), False
        ts = message.ts_event if message.kind != SNAPSHOT else _snapshot_time(state, message)
        current = message
        current_levels = levels
        if is_waiting:
            current = engine.waiting[0]
            current_levels = Levels(engine.logs.snapshot_prices, engine.logs.snapshot_sizes)
            _end_waiting(state, current)
        elif ts == NONE:
            _let_wait(state, engine.logs, message, levels)
            return _CONSUMED, False
        elif state.snapshot_waits:  # the waiting one is newer than this one
            state.stale_snapshots += 1
            return _CONSUMED, False
        outcome = _snapshot(engine, current, current_levels, ts)
        if not is_waiting:
            return outcome, False
        state.waiting_bid_count = 0
        state.waiting_ask_count = 0
        if outcome != _CONSUMED:
            return outcome, True


@rare_kernel
def _note_other_record(engine, message):
    """Count a record that does not change the book: a dead letter, a record of another symbol, or an unused one."""
    state = engine.state[0]
    if message.kind == DEAD_LETTER:
        dead_letter_row(state, engine.rows)
        engine.words[_FIRST_REASON + (message.flags & ~IS_NO_DEPTH)] += 1
        is_shown = state.is_numbered or state.last_sequence != 0
        if engine.settings[0].dead_letter_ends_sync and not is_shown and message.flags & IS_NO_DEPTH == 0:
            state.synced = 0
    elif message.kind == OTHER_SYMBOL:
        state.other_symbol += 1
    else:
        state.unused += 1
        if message.kind == SUBSCRIPTION:
            state.depth = message.depth


@kernel
def apply_messages(engine, batch, start, end):
    """Apply `batch.messages[start:end]`. Returns (why it stopped, index of the first message that is not consumed)."""
    state = engine.state[0]
    book, levels = engine.book, batch.levels
    for place in range(start, end):
        if place > start:
            state.sequence_checked = 0  # the previous message is consumed
        message = batch.messages[place]
        if not has_room(engine.room, state, engine.logs, message):
            return ROOM, place
        if message.sequence != 0 and state.sequence_checked == 0:
            verdict = follow_connection(engine, message)
            if verdict == HALTS:
                return HALTED_AT_GAP, place
            if verdict == CUTS:
                return CUT, place
            if verdict == REPEATED:
                state.stale += 1
                continue
        kind = message.kind
        if kind == TICKER:
            take_ticker(engine, message, levels)
            continue
        if kind == DEAD_LETTER or kind == OTHER_SYMBOL or kind == UNUSED or kind == SUBSCRIPTION:
            _note_other_record(engine, message)
            continue
        # In the worst case each level takes a new block at every height and copies one that a snapshot holds.
        level_count = message.bid_count + message.ask_count + state.waiting_bid_count + state.waiting_ask_count
        if book.pool[0].protected >= 0 and blocks_available(book.pool, book.blocks) < 2 * MAX_HEIGHT * (level_count + 1):
            return SCARCE, place
        outcome, of_waiting = _one(engine, message, levels)
        if outcome == _CUT_BEFORE or (outcome == _CUT_AFTER and of_waiting):
            return CUT, place
        if outcome == _CUT_AFTER:
            state.sequence_checked = 0
            return CUT, place + 1
        if outcome == _EXHAUSTED:
            return EXHAUSTED, place
        if outcome == _HALTED:
            return HALTED_AT_GAP, place
    state.sequence_checked = 0
    return DONE, end
