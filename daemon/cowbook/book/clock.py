"""Time and cuts: grid rows and cuts that fall due before or after an accepted message's rows (docs/rules.md, section 3)."""

from __future__ import annotations

from cowbook.book.emit import grid_row
from cowbook.book.outcomes import CONSUMED, CUT_BEFORE, WAITS
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import NONE

_MAX_TIME = 2**63 - 1
_DAY = 86_400_000_000_000


@kernel
def fill_day(row, state):
    """Fill a DAY_ROW with the counts so far, for the UTC day of the newest event."""
    row.day = state.day_end // _DAY - 1
    row.first_time = state.day_first_time
    row.last_time = state.newest
    row.events = state.next_event
    row.depth_events = state.depth_events
    row.synced_events = state.synced_events
    row.depth_messages = state.diffs + state.snapshots + state.witnesses
    row.unsynced_messages = state.unsynced_messages
    row.early_messages = state.early_messages
    row.unnumbered = state.unnumbered
    row.compared = state.compared
    row.compared_unsynced = state.compared_unsynced
    row.refuted = state.refuted
    row.audit_matched = state.audit_matched
    row.audit_failed = state.audit_failed
    row.checksum_matched = state.checksum_matched
    row.checksum_failed = state.checksum_failed
    row.witness_matched = state.witness_matched
    row.witness_failed = state.witness_failed
    row.failed_unsynced = state.audit_failed_unsynced + state.checksum_failed_unsynced + state.witness_failed_unsynced
    row.snapshots = state.snapshots
    row.witnesses = state.witnesses
    row.levels_compared = state.levels_compared
    row.levels_wrong = state.levels_wrong
    row.levels_learned = state.levels_learned
    row.tickers_near = state.tickers_near
    row.tickers_far = state.tickers_far
    row.gaps = state.gaps
    row.missing_updates = state.missing_updates
    row.duplicate_trades = state.duplicate_trades
    row.duplicate_messages = state.duplicate_messages
    row.foreign_snapshots = state.foreign_snapshots
    row.time_resets = state.time_resets
    row.crossed = state.crossed
    row.time_total = state.time_total
    row.time_best_known = state.time_best_known
    row.time_grid_known = state.time_grid_known
    row.first_snapshot_time = state.first_snapshot_time
    row.dead_letters = (
        state.dead_overlong + state.dead_not_utf8 + state.dead_malformed + state.dead_unknown + state.dead_out_of_range
    )


@rare_kernel
def _begin_day(state, ts, days):
    """Begin the day of a message at `ts`, and append the day before it, if there is one, to `days`."""
    if state.day_end != 0:
        fill_day(days[state.day_count], state)
        state.day_count += 1
    state.day_end = (ts // _DAY + 1) * _DAY
    state.day_first_time = ts


@rare_kernel
def _take_grid_point(engine, point, ts):
    """Write the row of a grid point before a message at `ts`. Returns whether another one has its turn before it.

    Only the first point has a row in a silence of more than a day: it may be a wrong clock.
    """
    state, settings = engine.state[0], engine.settings[0]
    grid_row(engine, point)
    if not settings.book_fill:
        return False
    state.grid_next = ts
    if ts - state.newest <= _DAY and point <= _MAX_TIME - settings.book_interval:
        state.grid_next = point + settings.book_interval
    return ts > state.grid_next


@inlined_kernel
def enter(engine, ts):
    """Prepare for an accepted message of time `ts`: write the grid row that is due.

    Returns CUT_BEFORE if a time cut is due before the message, WAITS if another grid row is, for which there may be no room, else
    CONSUMED. After the others it is called again for the same message.
    """
    state, settings = engine.state[0], engine.settings[0]
    is_back = state.newest != NONE and ts < state.newest - _DAY
    if ts >= state.day_end or (is_back and ts < state.day_end - _DAY):
        _begin_day(state, ts, engine.logs.days)
    if state.newest == NONE or (ts <= state.newest and not is_back):
        return CONSUMED
    if (state.grid_due or (settings.book_fill and state.last_depth_time != NONE)) and state.next_event > 0:
        behind = state.newest % settings.book_interval
        ahead = settings.book_interval - behind if behind != 0 else 0
        if state.newest <= _MAX_TIME - ahead:
            point = max(state.newest + ahead, state.grid_next)
            if ts > point and _take_grid_point(engine, point, ts):
                return WAITS
    if state.next_event == state.cut_first:
        return CONSUMED
    is_cut = ts // settings.part_interval != state.newest // settings.part_interval
    return CUT_BEFORE if is_cut else CONSUMED


@inlined_kernel
def leave(state, settings, events_before):
    """Count a message whose first event was `events_before`. Returns whether a count cut is due after it."""
    state.messages += 1
    return state.next_event // settings.part_events > events_before // settings.part_events


@inlined_kernel
def advance(state, ts):
    """Advance the clock to an accepted message's time. A time more than a day back takes the clock with it."""
    if state.newest == NONE:
        state.newest = ts
    elif ts > state.newest:
        passed = ts - state.newest
        state.time_total += passed
        if state.best_is_known:
            state.time_best_known += passed
        if state.grid_is_known:
            state.time_grid_known += passed
        state.newest = ts
    elif ts < state.newest - _DAY:
        state.newest = ts
        state.time_resets += 1
        state.grid_next = 0
    state.last_time = ts
