"""Sequence numbers that a connection gives to all its records, of any symbol and kind (docs/rules.md, section 4)."""

from __future__ import annotations

from cowbook.book.clock import enter
from cowbook.book.emit import gap_row
from cowbook.book.known import end_sync
from cowbook.book.outcomes import CONSUMED, CUT_BEFORE
from cowbook.kernels.jit import kernel, rare_kernel
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT, TRADE, TRADES

# Verdicts.
FOLLOWS = 0  # or a gap comes before it, and its row is written
REPEATED = 1
HALTS = 2
CUTS = 3  # a cut is due before the gap: make it, and call again
FILLS = 4  # another grid row is due before the gap: make room for it, and call again


@rare_kernel
def follow_connection(engine, message):
    """Compare a record's number on its connection with the previous one. Returns a verdict.

    A missing record may have changed this book, so a gap ends sync. The first record of a connection may follow any number.
    """
    state = engine.state[0]
    last = state.last_sequence
    sequence = message.sequence
    if sequence == last and sequence != 1:
        return REPEATED
    if last != 0 and sequence != 1 and sequence != last + 1 and state.last_time != NONE:
        if engine.settings[0].halt_on_gap:
            state.gap_expected = last + 1
            state.gap_received = sequence
            return HALTS
        ts = state.last_time
        if _has_time(message):
            ts = message.ts_event
            outcome = enter(engine, ts)
            if outcome != CONSUMED:
                return CUTS if outcome == CUT_BEFORE else FILLS
        gap_row(state, engine.rows, ts, last + 1, sequence, True)
        end_sync(state, engine.slots)
        state.connection_gaps += 1
        state.connection_missing += max(sequence - last - 1, 0)
    state.connection_records += 1
    state.last_sequence = sequence
    state.sequence_checked = 1
    return FOLLOWS


@kernel
def _has_time(message):
    is_book = message.kind == DIFF or message.kind == SNAPSHOT or message.kind == TRADE or message.kind == TRADES
    return is_book and message.ts_event != NONE
