"""Spreads runs of levels over these, which gives the columns of the `depth` stream."""

from __future__ import annotations

from cowbook.kernels.jit import kernel


@kernel
def spread(messages, event_index, ts_event, ts_recv, update_id, side, kind, is_last, synced):
    """Fill the arrays, one value per level, from the open rows of `depth`, each of which is a run of levels."""
    for place in range(messages.size):
        message = messages[place]
        start = message.level_start
        middle = start + message.bid_count
        end = middle + message.ask_count
        # One plain loop for each column: these become vector instructions.
        for level in range(start, end):
            event_index[level] = message.event_index + (level - start)
        for level in range(start, end):
            ts_event[level] = message.ts_event
        for level in range(start, end):
            ts_recv[level] = message.ts_recv
        for level in range(start, end):
            update_id[level] = message.update_id
        for level in range(start, middle):
            side[level] = 0
        for level in range(middle, end):
            side[level] = 1
        for level in range(start, end):
            kind[level] = message.kind
        for level in range(start, end):
            is_last[level] = 0
        is_last[end - 1] = message.is_last
        for level in range(start, end):
            synced[level] = message.synced
