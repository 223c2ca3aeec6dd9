"""The kernel that applies messages: one loop over a batch, in input order, until the end or until the caller is needed."""

from __future__ import annotations

from cowbook.book.audits import audit_checksum, audit_waiting_tickers, take_ticker
from cowbook.book.block_pool import blocks_available
from cowbook.book.checksums import book_checksum
from cowbook.book.clock import advance, enter, leave
from cowbook.book.connections import CUTS, HALTS, REPEATED, follow_connection
from cowbook.book.continuity import APPLY, GAP, STALE, judge
from cowbook.book.drift import measure
from cowbook.book.emit import depth_rows, finish_depth, gap_row, one_of_trades, trade_row
from cowbook.book.ladder import (
    ASK,
    BEFORE_BID,
    BID,
    MAX_HEIGHT,
    OK,
    clear_side,
    cut_side,
    move_side,
    set_level,
)
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.book_state import NOT_COMPARED, WAITING_LIMIT
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

# Why the kernel returns.
DONE = 0  # all messages are consumed
CUT = 1  # the open rows are a part: take them, and go on
ROOM = 2  # an array is too small for the next message: grow it, and go on
SCARCE = 3  # the pool may not do for the next message while snapshots hold blocks: release one, and go on
EXHAUSTED = 4  # the pool did not do: the book is lost
HALTED_AT_GAP = 5

# What became of a message.
_CONSUMED = 0
_CUT_BEFORE = 1
_CUT_AFTER = 2
_EXHAUSTED = 3
_HALTED = 4


@kernel
def _set_levels(pool, sides, blocks, side_number, prices, sizes, start, count):
    for level in range(start, start + count):
        if set_level(pool, sides, blocks, side_number, prices[level], sizes[level]) != OK:
            return _EXHAUSTED
    return OK


@kernel
def _apply_levels(pool, sides, blocks, message, prices, sizes):
    if _set_levels(pool, sides, blocks, BID, prices, sizes, message.bid_start, message.bid_count) != OK:
        return _EXHAUSTED
    return _set_levels(pool, sides, blocks, ASK, prices, sizes, message.ask_start, message.ask_count)


@kernel
def _cut_sides(state, settings, pool, sides, blocks, message):
    """Remove what has fallen out of the depth that the venue keeps: it says nothing of these levels any more."""
    if message.depth > 0:
        state.depth = message.depth
    depth = settings.depth if settings.depth > 0 else state.depth
    if depth == 0:
        return OK
    for side_number in range(2):
        if cut_side(pool, sides, blocks, side_number, depth) != OK:
            return _EXHAUSTED
    return OK


@kernel
def _check(state, settings, pool, sides, blocks, message, rows, scratch):
    """Hold a depth message's checksum against the book after it."""
    if settings.checksum == NO_CHECKSUM:
        return
    if message.kind == SNAPSHOT:
        state.price_decimals = message.price_decimals
        state.size_decimals = message.size_decimals
    if message.flags & HAS_CHECKSUM == 0:
        state.checksum_not_comparable += 1
        return
    state.price_decimals = max(state.price_decimals, message.price_decimals)
    state.size_decimals = max(state.size_decimals, message.size_decimals)
    audit_checksum(state, message.checksum, book_checksum(state, settings, pool, sides, blocks, scratch), rows)


@inlined_kernel
def _buffer_diff(state, logs, message, prices, sizes):
    """Keep a diff for the case that a snapshot comes that is older than it."""
    entry = logs.diffs[state.diff_end]
    state.diff_end += 1
    entry.rule = message.rule
    entry.first_id = message.first_id
    entry.last_id = message.last_id
    entry.prev_id = message.prev_id
    entry.level_start = state.diff_level_end
    entry.bid_count = message.bid_count
    entry.ask_count = message.ask_count
    for level in range(message.bid_count):
        logs.diff_prices[state.diff_level_end + level] = prices[message.bid_start + level]
        logs.diff_sizes[state.diff_level_end + level] = sizes[message.bid_start + level]
    state.diff_level_end += message.bid_count
    for level in range(message.ask_count):
        logs.diff_prices[state.diff_level_end + level] = prices[message.ask_start + level]
        logs.diff_sizes[state.diff_level_end + level] = sizes[message.ask_start + level]
    state.diff_level_end += message.ask_count
    if state.diff_end - state.diff_start > WAITING_LIMIT:
        state.diff_start += 1


@inlined_kernel
def _diff(state, settings, pool, sides, blocks, message, prices, sizes, rows, logs, scratch):
    if message.channel != state.channel:
        if state.channel != 0:
            state.unused += 1  # of another book of this symbol than the last snapshot
            return _CONSUMED
        state.channel = message.channel
    verdict, expected, received = judge(
        message.rule, state.last_id, state.is_first, message.first_id, message.last_id, message.prev_id
    )
    if verdict == STALE and message.rule == COUNTER and message.last_id < state.last_id:
        if message.ts_event > state.last_depth_time:  # not an old message: the venue counts anew
            verdict, expected, received = GAP, state.last_id + 1, message.last_id
    if verdict == STALE:
        state.stale += 1
        return _CONSUMED
    if verdict == GAP and settings.halt_on_gap:
        state.gap_expected = expected
        state.gap_received = received
        return _HALTED
    ts = message.ts_event
    if enter(state, settings, pool, sides, blocks, rows, logs, ts):
        return _CUT_BEFORE
    if verdict == GAP:
        gap_row(state, rows, ts, expected, received, message.rule != CHAIN)
        state.synced = 0
    events_before = state.next_event
    events = message.bid_count + message.ask_count
    if _apply_levels(pool, sides, blocks, message, prices, sizes) != OK:
        return _EXHAUSTED
    if _cut_sides(state, settings, pool, sides, blocks, message) != OK:
        return _EXHAUSTED
    depth_rows(state, settings, rows, message, ts, message.ts_recv, 0, prices, sizes)
    advance(state, ts, events)
    state.last_id = message.last_id
    state.is_first = 0
    state.is_numbered = message.rule != UNNUMBERED
    state.last_depth_time = ts
    state.diffs += 1
    state.verdict = NOT_COMPARED
    audit_waiting_tickers(state, pool, sides, blocks, rows, logs)
    _check(state, settings, pool, sides, blocks, message, rows, scratch)
    if not state.synced and message.rule != UNNUMBERED:
        _buffer_diff(state, logs, message, prices, sizes)
    finish_depth(state, settings, pool, sides, blocks, rows, ts, message.ts_recv, events)
    return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED


@kernel
def _first_joining_diff(state, logs, snapshot_id):
    """Place of the first buffered diff newer than the snapshot, if these join it and each other; else -1."""
    last = snapshot_id
    is_first = 1
    first_place = -1
    for place in range(state.diff_start, state.diff_end):
        entry = logs.diffs[place]
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


@kernel
def _replay(state, pool, sides, blocks, logs, first_place, snapshot_id):
    """Apply the buffered diffs newer than the snapshot again."""
    for place in range(first_place, state.diff_end):
        entry = logs.diffs[place]
        if entry.last_id <= snapshot_id:
            continue
        middle = entry.level_start + entry.bid_count
        bids = _set_levels(pool, sides, blocks, BID, logs.diff_prices, logs.diff_sizes, entry.level_start, entry.bid_count)
        asks = _set_levels(pool, sides, blocks, ASK, logs.diff_prices, logs.diff_sizes, middle, entry.ask_count)
        if bids != OK or asks != OK:
            return _EXHAUSTED
        state.last_id = entry.last_id
    state.is_first = 0
    return OK


@kernel
def _measure_drift(state, pool, sides, blocks, message, prices, rows, ts, was_synced):
    lowest = 10**18
    highest = -1
    for level in range(message.bid_start, message.bid_start + message.bid_count):
        lowest = min(lowest, prices[level])
        highest = max(highest, prices[level])
    for level in range(message.ask_start, message.ask_start + message.ask_count):
        lowest = min(lowest, prices[level])
        highest = max(highest, prices[level])
    row = rows.drift[state.drift_rows]
    state.drift_rows += 1
    state.drifts += 1
    measure(pool, sides, blocks, lowest, highest, row)
    row.event_index = state.next_event
    row.ts_event = ts
    row.update_id = message.last_id
    row.was_synced = was_synced


@kernel
def _snapshot(state, settings, pool, sides, blocks, message, ts, prices, sizes, rows, logs, scratch):
    """Apply a depth snapshot of time `ts`, if it is of use."""
    snapshot_id = message.last_id
    last_before = state.last_id
    first_place = -1
    if last_before != NONE and snapshot_id < last_before and message.flags & IS_RESET == 0:
        if not state.synced:
            first_place = _first_joining_diff(state, logs, snapshot_id)
        if first_place < 0:
            state.stale_snapshots += 1
            return _CONSUMED
    if enter(state, settings, pool, sides, blocks, rows, logs, ts):
        return _CUT_BEFORE
    events_before = state.next_event
    events = message.bid_count + message.ask_count
    was_synced = state.synced
    for side_number in range(2):
        move_side(sides, blocks, side_number, BEFORE_BID + side_number)
    if _apply_levels(pool, sides, blocks, message, prices, sizes) != OK:
        return _EXHAUSTED
    if _cut_sides(state, settings, pool, sides, blocks, message) != OK:
        return _EXHAUSTED
    state.last_id = snapshot_id
    state.is_first = 1
    state.is_numbered = message.rule != UNNUMBERED
    state.channel = message.channel
    if first_place >= 0 and _replay(state, pool, sides, blocks, logs, first_place, snapshot_id) != OK:
        return _EXHAUSTED
    state.synced = 1
    state.diff_start = state.diff_end
    depth_rows(state, settings, rows, message, ts, message.ts_recv, 1, prices, sizes)
    advance(state, ts, events)
    state.last_depth_time = ts
    state.snapshots += 1
    state.verdict = NOT_COMPARED
    audit_waiting_tickers(state, pool, sides, blocks, rows, logs)
    _check(state, settings, pool, sides, blocks, message, rows, scratch)
    if state.last_id == last_before and last_before != NONE:
        _measure_drift(state, pool, sides, blocks, message, prices, rows, ts, was_synced)
    for side_number in range(2):
        clear_side(pool, sides, blocks, BEFORE_BID + side_number)
    finish_depth(state, settings, pool, sides, blocks, rows, ts, message.ts_recv, events)
    return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED


@kernel
def _snapshot_time(state, message):
    """Event time of a snapshot: its own, its receive time, the last message's; NONE when it has to wait for the next one's."""
    if message.ts_event != NONE:
        return message.ts_event
    if message.ts_recv != NONE:
        return message.ts_recv
    return state.last_time


@kernel
def _let_wait(state, message, prices, sizes, logs):
    """Keep an untimed snapshot, or the newer of two."""
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
    for level in range(message.bid_count):
        logs.snapshot_prices[level] = prices[message.bid_start + level]
        logs.snapshot_sizes[level] = sizes[message.bid_start + level]
    for level in range(message.ask_count):
        logs.snapshot_prices[message.bid_count + level] = prices[message.ask_start + level]
        logs.snapshot_sizes[message.bid_count + level] = sizes[message.ask_start + level]


@kernel
def _would_follow(state, settings, message):
    """Whether a message would be accepted after the snapshot that waits, and so gives it a time."""
    if message.kind == TRADE or message.kind == TRADES:
        return True
    if message.kind == SNAPSHOT:
        return _snapshot_time(state, message) != NONE and message.last_id >= state.waiting_id
    if message.kind != DIFF:
        return False
    verdict, _expected, _received = judge(message.rule, state.waiting_id, 1, message.first_id, message.last_id, message.prev_id)
    return verdict == APPLY or (verdict == GAP and not settings.halt_on_gap)


@kernel
def _waiting_snapshot(state, settings, pool, sides, blocks, message, waiting, rows, logs, scratch):
    """Apply the snapshot that waits, with the time of `message`. `waiting` is a MESSAGE to put it into."""
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
    state.snapshot_waits = 0
    ts = message.ts_event if message.kind != SNAPSHOT else _snapshot_time(state, message)
    prices, sizes = logs.snapshot_prices, logs.snapshot_sizes
    outcome = _snapshot(state, settings, pool, sides, blocks, waiting, ts, prices, sizes, rows, logs, scratch)
    state.waiting_bid_count = 0
    state.waiting_ask_count = 0
    return outcome


@inlined_kernel
def _one(state, settings, pool, sides, blocks, message, prices, sizes, rows, logs, scratch):
    """Apply one message of a kind that can be accepted."""
    if message.kind == TRADE:
        if enter(state, settings, pool, sides, blocks, rows, logs, message.ts_event):
            return _CUT_BEFORE
        trade_row(state, settings, rows, message, prices, sizes)
        advance(state, message.ts_event, 1)
        state.trades += 1
        return _CUT_AFTER if leave(state, settings, state.next_event - 1) else _CONSUMED
    if message.kind == TRADES:
        if enter(state, settings, pool, sides, blocks, rows, logs, message.ts_event):
            return _CUT_BEFORE
        count = message.bid_count
        for number in range(count):
            one_of_trades(state, settings, rows, message, number, prices, sizes)
        events_before = state.next_event
        advance(state, message.ts_event, count)
        state.trades += count
        return _CUT_AFTER if leave(state, settings, events_before) else _CONSUMED
    if message.kind == DIFF:
        if state.snapshot_waits:  # and this diff is not accepted after it
            verdict, expected, received = judge(
                message.rule, state.waiting_id, 1, message.first_id, message.last_id, message.prev_id
            )
            if verdict == STALE:
                state.stale += 1
                return _CONSUMED
            state.gap_expected = expected
            state.gap_received = received
            return _HALTED
        return _diff(state, settings, pool, sides, blocks, message, prices, sizes, rows, logs, scratch)
    ts = _snapshot_time(state, message)
    if ts == NONE:
        _let_wait(state, message, prices, sizes, logs)
        return _CONSUMED
    if state.snapshot_waits:  # and this snapshot is older
        state.stale_snapshots += 1
        return _CONSUMED
    return _snapshot(state, settings, pool, sides, blocks, message, ts, prices, sizes, rows, logs, scratch)


@inlined_kernel
def has_room(state, message, rows, logs):
    """Whether every array takes what `message`, and a snapshot that waits for it, may append."""
    levels = message.bid_count + message.ask_count
    rows_levels = levels + state.waiting_bid_count + state.waiting_ask_count
    tickers = state.ticker_end - state.ticker_start
    return (
        state.depth_messages + 2 <= rows.depth_messages.size
        and state.depth_levels + rows_levels <= rows.depth_prices.size
        and state.trade_rows + (levels if message.kind == TRADES else 1) <= rows.trades.size
        and state.bbo_rows + 2 <= rows.bbo.size
        and state.book_rows + 2 <= rows.book.size
        and state.gap_rows + 2 <= rows.gaps.size
        and state.drift_rows + 2 <= rows.drift.size
        and state.audit_rows + 4 <= rows.audits.size
        and state.dead_rows < rows.dead.size
        and state.diff_end < logs.diffs.size
        and state.diff_level_end + levels <= logs.diff_prices.size
        and state.ticker_end + tickers + 1 <= logs.tickers.size
        and levels <= logs.snapshot_prices.size
        and state.day_count + 2 <= logs.days.size
    )


@kernel
def _count_reason(state, reason):
    if reason == 0:
        state.dead_overlong += 1
    elif reason == 1:
        state.dead_not_utf8 += 1
    elif reason == 2:
        state.dead_malformed += 1
    elif reason == 3:
        state.dead_unknown += 1
    else:
        state.dead_out_of_range += 1


@kernel
def apply_messages(states, settings, pool, sides, blocks, batch, start, end, waiting, rows, logs, scratch):
    """Apply `batch.messages[start:end]`: (why it stopped, the first message that is not consumed).

    `states` and `settings` have one record each, `waiting` is one MESSAGE of scratch space.
    """
    state = states[0]
    for place in range(start, end):
        if place > start:
            state.sequence_checked = 0  # the message before is consumed
        message = batch.messages[place]
        if not has_room(state, message, rows, logs):
            return ROOM, place
        if message.sequence != 0 and state.sequence_checked == 0:
            verdict = follow_connection(state, settings[0], pool, sides, blocks, message, rows, logs)
            if verdict == HALTS:
                return HALTED_AT_GAP, place
            if verdict == CUTS:
                return CUT, place
            if verdict == REPEATED:
                state.stale += 1
                continue
        kind = message.kind
        if kind == TICKER:
            take_ticker(state, pool, sides, blocks, message, batch.prices, batch.sizes, rows, logs)
            continue
        if kind == DEAD_LETTER:
            rows.dead[state.dead_rows] = state.next_event
            state.dead_rows += 1
            _count_reason(state, message.flags & ~IS_NO_DEPTH)
            is_shown = state.is_numbered or state.last_sequence != 0
            if settings[0].dead_letter_ends_sync and not is_shown and message.flags & IS_NO_DEPTH == 0:
                state.synced = 0
            continue
        if kind == OTHER_SYMBOL:
            state.other_symbol += 1
            continue
        if kind == UNUSED:
            state.unused += 1
            continue
        if kind == SUBSCRIPTION:
            state.unused += 1
            state.depth = message.depth
            continue
        # At worst every level takes a new block at each height, and copies the one that a snapshot holds.
        levels = message.bid_count + message.ask_count + state.waiting_bid_count + state.waiting_ask_count
        if pool[0].protected >= 0 and blocks_available(pool, blocks) < 2 * MAX_HEIGHT * (levels + 1):
            return SCARCE, place
        outcome = _CONSUMED
        if state.snapshot_waits and _would_follow(state, settings[0], message):
            outcome = _waiting_snapshot(state, settings[0], pool, sides, blocks, message, waiting[0], rows, logs, scratch)
            if outcome == _CUT_AFTER:
                return CUT, place
        if outcome == _CONSUMED:
            outcome = _one(state, settings[0], pool, sides, blocks, message, batch.prices, batch.sizes, rows, logs, scratch)
        if outcome == _CUT_BEFORE:
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
