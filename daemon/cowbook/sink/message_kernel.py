"""Encodes the columns of streams that have a record for each message, which has a row for each of its levels.

What is constant in a message is written as runs, without being spread over the rows.
"""

from __future__ import annotations

import numpy as np

from cowbook.kernels.jit import kernel
from cowbook.plain.messages import NONE
from cowbook.sink.page_kernel import (
    BLOCK_VALUES,
    LARGEST,
    LEAST,
    MINIBLOCKS,
    ONE,
    ZERO,
    delta_block,
    deltas_head,
    end_levels,
    run_of,
    width_of,
)


@kernel
def rising_deltas(firsts, counts, total, scratch, out, place):
    """A page of the first `total` differences of event_index in `depth`: first, first + 1, ... for each message.

    A difference is 1 within a message and at least 1 between two, so that most blocks have nothing but their least difference.
    """
    start = 0
    while counts[start] == 0:
        start += 1
    place = deltas_head(out, place, total, firsts[start])
    for at in range(BLOCK_VALUES):
        scratch[at] = 0
    begin, end = ONE, np.int64(BLOCK_VALUES + 1)
    is_plain = True
    row = counts[start]
    last = firsts[start] + counts[start] - 1
    for message in range(start + 1, firsts.size):
        if row >= total:
            break
        if counts[message] == 0:
            continue
        while row >= end:
            place = _rising_block(scratch, is_plain, out, place)
            is_plain = True
            begin, end = end, end + BLOCK_VALUES
        more = firsts[message] - last - 1
        if more != 0:
            scratch[row - begin] = more
            is_plain = False
        last = firsts[message] + counts[message] - 1
        row += counts[message]
    while begin < total:
        place = _rising_block(scratch, is_plain, out, place)
        is_plain = True
        begin += BLOCK_VALUES
    return place


@kernel
def last_rising(firsts, counts, values):
    """The last of the values of which `rising_deltas` writes the first ones, into all of `values`."""
    place = np.int64(values.size)
    message = np.int64(counts.size) - 1
    while place > 0:
        taken = min(counts[message], place)
        place -= taken
        begin = firsts[message] + counts[message] - taken
        for at in range(taken):
            values[place + at] = begin + at
        message -= 1


@kernel
def _rising_block(scratch, is_plain, out, place):
    """A block whose least difference is 1; `scratch` has zeros afterwards."""
    if not is_plain:
        place = delta_block(scratch, ONE, out, place)
        for at in range(BLOCK_VALUES):
            scratch[at] = 0
        return place
    out[place] = 2
    for width in range(MINIBLOCKS):
        out[place + 1 + width] = 0
    return place + 1 + MINIBLOCKS


@kernel
def message_values(values, counts, optional, dictionary, out, place):
    """Runs of indices, one for each run of messages with equal values, which are the dictionary. Nulls are left out.

    Returns place, entries of the dictionary, least and greatest value, number of rows that are null.
    """
    width = width_of(np.int64(values.size))
    width_bytes = (width + 7) >> 3
    out[place] = width
    place += 1
    entries, run, nulls = ZERO, ZERO, ZERO
    least, greatest = LARGEST, LEAST
    for message in range(values.size):
        value, count = values[message], counts[message]
        if count == 0:
            continue
        if optional and value == NONE:
            nulls += count
        elif entries and dictionary[entries - 1] == value:
            run += count
        else:
            if entries:
                place = run_of(out, place, run, entries - 1, width_bytes)
            dictionary[entries] = value
            entries += 1
            run = count
            least, greatest = min(least, value), max(greatest, value)
    if entries:
        place = run_of(out, place, run, entries - 1, width_bytes)
    return place, entries, least, greatest, nulls


@kernel
def message_levels(values, counts, out, place):
    """Definition levels of a column that may be null, with their size before them: 1 where a message has a value."""
    end = place + 4
    run, level = ZERO, ZERO
    for message in range(values.size):
        is_there = ONE if values[message] != NONE else ZERO
        if is_there != level:
            if run:
                end = run_of(out, end, run, level, 1)
            level, run = is_there, ZERO
        run += counts[message]
    if run:
        end = run_of(out, end, run, level, 1)
    return end_levels(out, place, end)


@kernel
def message_choices(values, counts, width, out, place):
    """Runs of indices that are the messages' values; `width` is at most 8."""
    out[place] = width
    place += 1
    run, current = ZERO, ZERO
    for message in range(values.size):
        if values[message] != current:
            if run:
                place = run_of(out, place, run, current, 1)
            current, run = values[message], ZERO
        run += counts[message]
    return run_of(out, place, run, current, 1)


@kernel
def message_sides(bid_counts, ask_counts, out, place):
    """Runs of indices: 0 for each bid of a message, then 1 for each ask."""
    out[place] = 1
    place += 1
    run, current = ZERO, ZERO
    for message in range(bid_counts.size):
        for side in range(2):
            count = ask_counts[message] if side else bid_counts[message]
            if count == 0:
                continue
            if side != current:
                if run:
                    place = run_of(out, place, run, current, 1)
                current, run = np.int64(side), ZERO
            run += count
    return run_of(out, place, run, current, 1)


@kernel
def message_flags(values, counts, out, place):
    """Booleans, a bit each: the message's value in each of its rows."""
    row = ZERO
    byte = ZERO
    for message in range(values.size):
        count = counts[message]
        bits = np.int64(255) if values[message] else ZERO
        end = row + count
        while row < end:
            at = row & 7
            if at == 0 and end - row >= 8:
                out[place] = bits
                place += 1
                row += 8
                continue
            taken = min(8 - at, end - row)
            byte |= (bits & ((1 << taken) - 1)) << at
            row += taken
            if row & 7 == 0:
                out[place] = byte
                place += 1
                byte = ZERO
    if row & 7:
        out[place] = byte
        place += 1
    return place


@kernel
def message_ends(values, counts, out, place):
    """Booleans, a bit each: the message's value in its last row, 0 in those before."""
    row = ZERO
    for message in range(values.size):
        row += counts[message]
    size = (row + 7) >> 3
    for byte in range(size):
        out[place + byte] = 0
    row = ZERO
    for message in range(values.size):
        row += counts[message]
        if counts[message] and values[message]:
            out[place + ((row - 1) >> 3)] |= 1 << ((row - 1) & 7)
    return place + size


@kernel
def spread_values(values, counts, rows):
    """Write the messages' values over their rows."""
    row = ZERO
    for message in range(values.size):
        for at in range(row, row + counts[message]):
            rows[at] = values[message]
        row += counts[message]
