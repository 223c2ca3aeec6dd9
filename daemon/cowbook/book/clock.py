"""Time and cuts: what an accepted message makes due before its rows and behind them (docs/rules.md, section 3)."""

from __future__ import annotations

from cowbook.book.emit import grid_row
from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import NONE

_MAX_TIME = 2**63 - 1
_DAY = 86_400_000_000_000


@kernel
def fill_day(row, state):
    """The day of the newest event so far."""
    row.day = state.day_end // _DAY - 1
    row.first_time = state.day_first_time
    row.last_time = state.newest
    row.events = state.next_event
    row.depth_events = state.depth_events
    row.synced_events = state.synced_events
    row.depth_messages = state.diffs + state.snapshots
    row.compared = state.compared
    row.refuted = state.refuted
    row.gaps = state.gaps
    row.missing_updates = state.missing_updates
    row.crossed = state.crossed
    row.drifts = state.drifts
    row.dead_letters = (
        state.dead_overlong + state.dead_not_utf8 + state.dead_malformed + state.dead_unknown + state.dead_out_of_range
    )


@rare_kernel
def _begin_day(state, ts, days):
    """The first message of a day comes; the day before it, if there is one, has ended."""
    if state.day_end != 0:
        fill_day(days[state.day_count], state)
        state.day_count += 1
    state.day_end = (ts // _DAY + 1) * _DAY
    state.day_first_time = ts


@inlined_kernel
def enter(engine, ts):
    """An accepted message of time `ts` comes: write the grid row that it makes due; whether a time cut comes first.

    May be called again for the same message after the cut.
    """
    state, settings = engine.state[0], engine.settings[0]
    if ts >= state.day_end:
        _begin_day(state, ts, engine.logs.days)
    if state.newest == NONE or ts <= state.newest:
        return False
    if settings.with_book and state.grid_due and state.next_event > 0:
        behind = state.newest % settings.book_interval
        ahead = settings.book_interval - behind if behind != 0 else 0
        if state.newest <= _MAX_TIME - ahead and ts > state.newest + ahead:
            grid_row(engine, state.newest + ahead)
    if state.next_event == state.cut_first:
        return False
    return ts // settings.part_interval > state.newest // settings.part_interval


@inlined_kernel
def leave(state, settings, events_before):
    """Whether the message whose first event was `events_before` ends with a count cut."""
    state.messages += 1
    return state.next_event // settings.part_events > events_before // settings.part_events


@inlined_kernel
def advance(state, ts, events):
    """Number the events of a message and move the clock."""
    state.next_event += events
    state.newest = max(state.newest, ts)
    state.last_time = ts
