"""Numbers that a connection gives all its records, of whatever symbol and kind (docs/rules.md, section 4)."""

from __future__ import annotations

from cowbook.bits import kernel
from cowbook.book.emit import gap_row
from cowbook.event_batch import DIFF, NONE, SNAPSHOT, TRADE, TRADES

# Verdicts.
FOLLOWS = 0  # or behind a gap that is noted
REPEATED = 1
HALTS = 2


@kernel
def follow_connection(state, settings, message, rows):
    """Hold the number that a record has on its connection against the one before it.

    What is missing may have been a change of this book: that ends sync. The first record of a connection follows anything.
    """
    last = state.last_sequence
    sequence = message.sequence
    if sequence == last:
        return REPEATED
    if last != 0 and sequence != 1 and sequence != last + 1 and state.last_time != NONE:
        if settings.halt_on_gap:
            state.gap_expected = last + 1
            state.gap_received = sequence
            return HALTS
        gap_row(state, rows, message.ts_event if _has_time(message) else state.last_time, last + 1, sequence)
        state.synced = 0
    state.last_sequence = sequence
    state.sequence_checked = 1
    return FOLLOWS


@kernel
def _has_time(message):
    is_book = message.kind == DIFF or message.kind == SNAPSHOT or message.kind == TRADE or message.kind == TRADES
    return is_book and message.ts_event != NONE
