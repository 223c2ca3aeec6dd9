"""Encodes columns into the pages of a Parquet file. The encodings are those of the format's Encodings.md.

A column of the open rows comes in one of two forms. Streams with one row per record have a value for each row. `depth` has one
record per message, and a message has a row for each of its levels; what is constant in a message is written as runs, without
being spread over the rows. In both forms values are int64, and NONE stands for null.

All kernels write into `out`, a uint8 array with enough room (`pages.room_for`), from `place` on, and return the place behind.
"""

from __future__ import annotations

import numpy as np

from cowbook.kernels.intrinsics import highest_bit, shifted, store64
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import NONE

BLOCK_VALUES = 256
_MINIBLOCK_VALUES = 64
_MINIBLOCKS = BLOCK_VALUES // _MINIBLOCK_VALUES

_HASH = np.int64(-7046029254386353131)  # 2^64 divided by the golden ratio
_FIRST_TABLE_BITS = 8
_FIRST_CHECK = 1 << 14
_LARGEST = np.int64((1 << 63) - 1)
_LEAST = np.int64(-(1 << 63) + 1)
_ZERO, _ONE = np.int64(0), np.int64(1)


@inlined_kernel
def _varint(out, place, value):
    while shifted(value, 7) != 0:
        out[place] = (value & 127) | 128
        place += 1
        value = shifted(value, 7)
    out[place] = value
    return place + 1


@kernel
def _run(out, place, count, value, width_bytes):
    """A run of `count` equal values. Seven bytes behind it are overwritten, too."""
    place = _varint(out, place, count << 1)
    store64(out, place, value)
    return place + width_bytes


@inlined_kernel
def _width(value):
    """The number of bits that an unsigned number needs."""
    return _ZERO if value == 0 else highest_bit(value) + 1


@kernel
def _pack(values, first, width, out, place):
    """64 values of `width` bits each, 1 to 64. They are whole words of 8 bytes, the first value in the lowest bits."""
    word = _ZERO
    have = _ZERO
    if width <= 16:
        double, triple, step = 2 * width, 3 * width, 4 * width
        for index in range(first, first + 64, 4):
            bits = values[index] | values[index + 1] << width | values[index + 2] << double | values[index + 3] << triple
            word |= bits << have
            have += step
            if have >= 64:
                store64(out, place, word)
                place += 8
                have -= 64
                word = shifted(bits, step - have) if have else _ZERO
    elif width <= 32:
        step = 2 * width
        for index in range(first, first + 64, 2):
            bits = values[index] | values[index + 1] << width
            word |= bits << have
            have += step
            if have >= 64:
                store64(out, place, word)
                place += 8
                have -= 64
                word = shifted(bits, step - have) if have else _ZERO
    else:
        for index in range(first, first + 64):
            bits = values[index]
            word |= bits << have
            have += width
            if have >= 64:
                store64(out, place, word)
                place += 8
                have -= 64
                word = shifted(bits, width - have) if have else _ZERO
    return place


def whole_deltas(count: int) -> int:
    """How many of `count` values differences may take: all miniblocks are then full, and the last block has another one.

    fastparquet reads a miniblock as a whole, and writes what is no value behind the end of its array. At the end of a block it
    looks for another one.
    """
    miniblocks = (count - 1) // _MINIBLOCK_VALUES
    if miniblocks % _MINIBLOCKS == 0:
        miniblocks -= 1
    return 1 + miniblocks * _MINIBLOCK_VALUES if miniblocks > 0 else 0


@kernel
def _deltas_head(out, place, count, first):
    """The head of a page of differences: sizes of a block, number of values, the first value."""
    place = _varint(out, place, np.int64(BLOCK_VALUES))
    place = _varint(out, place, np.int64(_MINIBLOCKS))
    place = _varint(out, place, count)
    return _varint(out, place, (first << 1) ^ (first >> 63))


@kernel
def _block(deltas, least, out, place):
    """A block of differences, from which `least` was taken already; zeros stand behind the last one."""
    place = _varint(out, place, (least << 1) ^ (least >> 63))
    widths = place
    place += _MINIBLOCKS
    for miniblock in range(_MINIBLOCKS):
        first = miniblock * _MINIBLOCK_VALUES
        union = _ZERO
        for index in range(first, first + _MINIBLOCK_VALUES):
            union |= deltas[index]
        width = _width(union)
        out[widths + miniblock] = width
        if width:
            place = _pack(deltas, first, width, out, place)
    return place


@kernel
def deltas(values, scratch, out, place):
    """A page of differences (DELTA_BINARY_PACKED). `scratch` has BLOCK_VALUES entries. Differences may wrap around."""
    count = np.int64(values.size)
    place = _deltas_head(out, place, count, values[0])
    index = _ONE
    while index < count:
        taken = min(np.int64(BLOCK_VALUES), count - index)
        for at in range(taken):
            scratch[at] = values[index + at] - values[index + at - 1]
        least = scratch[0]
        for at in range(taken):
            least = min(least, scratch[at])
        for at in range(taken):
            scratch[at] -= least
        for at in range(taken, BLOCK_VALUES):
            scratch[at] = 0
        place = _block(scratch, least, out, place)
        index += taken
    return place


@kernel
def cost_of_deltas(values):
    """An estimate of the bytes of `deltas`, and the number of bits of its widest difference."""
    count = np.int64(values.size)
    size, widest = np.int64(12), _ZERO
    index = _ONE
    while index < count:
        taken = min(np.int64(BLOCK_VALUES), count - index)
        least = values[index] - values[index - 1]
        greatest = least
        for at in range(taken):
            delta = values[index + at] - values[index + at - 1]
            least = min(least, delta)
            greatest = max(greatest, delta)
        width = _width(greatest - least)
        widest = max(widest, width)
        size += 8 + BLOCK_VALUES // 8 * width
        index += taken
    return size, widest


@kernel
def rising_deltas(firsts, counts, total, scratch, out, place):
    """A page of the first `total` differences of event_index in `depth`: first, first + 1, ... for each message.

    A difference is 1 within a message and at least 1 between two, so that most blocks have nothing but their least difference.
    """
    start = 0
    while counts[start] == 0:
        start += 1
    place = _deltas_head(out, place, total, firsts[start])
    for at in range(BLOCK_VALUES):
        scratch[at] = 0
    begin, end = _ONE, np.int64(BLOCK_VALUES + 1)
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
        place = _block(scratch, _ONE, out, place)
        for at in range(BLOCK_VALUES):
            scratch[at] = 0
        return place
    out[place] = 2
    for width in range(_MINIBLOCKS):
        out[place + 1 + width] = 0
    return place + 1 + _MINIBLOCKS


@kernel
def message_values(values, counts, optional, dictionary, out, place):
    """Runs of indices, one for each run of messages with equal values, which are the dictionary. Nulls are left out.

    Returns place, entries of the dictionary, least and greatest value, number of rows that are null.
    """
    width = _width(np.int64(values.size))
    width_bytes = (width + 7) >> 3
    out[place] = width
    place += 1
    entries, run, nulls = _ZERO, _ZERO, _ZERO
    least, greatest = _LARGEST, _LEAST
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
                place = _run(out, place, run, entries - 1, width_bytes)
            dictionary[entries] = value
            entries += 1
            run = count
            least, greatest = min(least, value), max(greatest, value)
    if entries:
        place = _run(out, place, run, entries - 1, width_bytes)
    return place, entries, least, greatest, nulls


@inlined_kernel
def _end_levels(out, place, end):
    """Write the size of definition levels before them."""
    size = end - place - 4
    for byte in range(4):
        out[place + byte] = (size >> (8 * byte)) & 255
    return end


@kernel
def message_levels(values, counts, out, place):
    """Definition levels of a column that may be null, with their size before them: 1 where a message has a value."""
    end = place + 4
    run, level = _ZERO, _ZERO
    for message in range(values.size):
        is_there = _ONE if values[message] != NONE else _ZERO
        if is_there != level:
            if run:
                end = _run(out, end, run, level, 1)
            level, run = is_there, _ZERO
        run += counts[message]
    if run:
        end = _run(out, end, run, level, 1)
    return _end_levels(out, place, end)


@kernel
def message_choices(values, counts, width, out, place):
    """Runs of indices that are the messages' values; `width` is at most 8."""
    out[place] = width
    place += 1
    run, current = _ZERO, _ZERO
    for message in range(values.size):
        if values[message] != current:
            if run:
                place = _run(out, place, run, current, 1)
            current, run = values[message], _ZERO
        run += counts[message]
    return _run(out, place, run, current, 1)


@kernel
def message_sides(bid_counts, ask_counts, out, place):
    """Runs of indices: 0 for each bid of a message, then 1 for each ask."""
    out[place] = 1
    place += 1
    run, current = _ZERO, _ZERO
    for message in range(bid_counts.size):
        for side in range(2):
            count = ask_counts[message] if side else bid_counts[message]
            if count == 0:
                continue
            if side != current:
                if run:
                    place = _run(out, place, run, current, 1)
                current, run = np.int64(side), _ZERO
            run += count
    return _run(out, place, run, current, 1)


@kernel
def message_flags(values, counts, out, place):
    """Booleans, a bit each: the message's value in each of its rows."""
    row = _ZERO
    byte = _ZERO
    for message in range(values.size):
        count = counts[message]
        bits = np.int64(255) if values[message] else _ZERO
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
                byte = _ZERO
    if row & 7:
        out[place] = byte
        place += 1
    return place


@kernel
def message_ends(values, counts, out, place):
    """Booleans, a bit each: the message's value in its last row, 0 in those before."""
    row = _ZERO
    for message in range(values.size):
        row += counts[message]
    size = (row + 7) >> 3
    for byte in range(size):
        out[place + byte] = 0
    row = _ZERO
    for message in range(values.size):
        row += counts[message]
        if counts[message] and values[message]:
            out[place + ((row - 1) >> 3)] |= 1 << ((row - 1) & 7)
    return place + size


@kernel
def row_flags(values, out, place):
    """Booleans, a bit each."""
    count = np.int64(values.size)
    for first in range(0, count, 8):
        byte = _ZERO
        for bit in range(8):
            if first + bit < count:
                byte |= np.int64(values[first + bit] != 0) << bit
        out[place] = byte
        place += 1
    return place


@kernel
def present_values(values, present, out, place):
    """Definition levels with their size before them, and the values that are not null, into `present`.

    Returns place, number of these values, least and greatest one.
    """
    count = np.int64(values.size)
    found, changes = _ZERO, _ZERO
    least, greatest = _LARGEST, _LEAST
    before = True
    for index in range(count):
        value = values[index]
        is_there = value != NONE
        present[found] = value
        found += is_there
        changes += is_there != before
        before = is_there
        if is_there:
            least, greatest = min(least, value), max(greatest, value)
    end = place + 4
    if changes == 0:
        end = _run(out, end, count, _ONE, 1)
    elif changes * 6 < count >> 3:  # runs are smaller
        run, level = _ZERO, _ZERO
        for index in range(count):
            is_there = _ONE if values[index] != NONE else _ZERO
            if is_there != level:
                if run:
                    end = _run(out, end, run, level, 1)
                level, run = is_there, _ZERO
            run += 1
        end = _run(out, end, run, level, 1)
    else:
        end = _varint(out, end, ((count + 7) >> 3) << 1 | 1)
        for first in range(0, count, 8):
            byte = _ZERO
            for bit in range(8):
                if first + bit < count:
                    byte |= np.int64(values[first + bit] != NONE) << bit
            out[end] = byte
            end += 1
    return _end_levels(out, place, end), found, least, greatest


@kernel
def spread_values(values, counts, rows):
    """Write the messages' values over their rows."""
    row = _ZERO
    for message in range(values.size):
        for at in range(row, row + counts[message]):
            rows[at] = values[message]
        row += counts[message]


@kernel
def extremes(values):
    """The least and the greatest value."""
    least = greatest = values[0]
    for index in range(values.size):
        least = min(least, values[index])
        greatest = max(greatest, values[index])
    return least, greatest


@kernel
def build_dictionary(values, table, dictionary, indices, most):
    """Number values in the order of their first use. Returns the number of different ones; -1 if a dictionary does not pay.

    That is if there are more than `most`, or if of the second half of what was seen more than 45 % were new, so that they will
    not cease. `table` (int32) is a hash table with open addressing that grows with its content; it has room for twice `most`.
    """
    count = np.int64(values.size)
    entries = _ZERO
    bits = np.int64(_FIRST_TABLE_BITS)
    for place in range(1 << bits):
        table[place] = -1
    check, before = np.int64(_FIRST_CHECK), _ZERO
    index = _ZERO
    while index < count:
        stop = min(count, check)
        mask = (_ONE << bits) - 1
        while index < stop:
            value = values[index]
            place = shifted(value * _HASH, 64 - bits)
            entry = np.int64(table[place])
            while entry >= 0 and dictionary[entry] != value:
                place = (place + 1) & mask
                entry = np.int64(table[place])
            if entry < 0:
                if entries == most:
                    return -_ONE
                table[place] = entries
                dictionary[entries] = value
                entry = entries
                entries += 1
            indices[index] = entry
            index += 1
            if entries * 2 > mask:
                bits += 2
                mask = (_ONE << bits) - 1
                _hash_again(dictionary, entries, table, bits)
        if index == check:
            if check > _FIRST_CHECK and count > check and (entries - before) * 20 > (check >> 1) * 9:
                return -_ONE
            before = entries
            check += check
    return entries


@kernel
def _hash_again(dictionary, entries, table, bits):
    mask = (_ONE << bits) - 1
    for place in range(1 << bits):
        table[place] = -1
    for entry in range(entries):
        place = shifted(dictionary[entry] * _HASH, 64 - bits)
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = entry


@kernel
def packed_indices(indices, width, scratch, out, place):
    """A bit-packed run of indices. `scratch` has BLOCK_VALUES entries. Up to 512 bytes behind the result are overwritten."""
    count = np.int64(indices.size)
    out[place] = width
    groups = (count + 7) >> 3
    place = _varint(out, place + 1, groups << 1 | 1)
    end = place + groups * width
    whole = count & ~63
    for first in range(0, whole, 64):
        place = _pack(indices, first, width, out, place)
    if whole < count:
        for at in range(64):
            scratch[at] = indices[whole + at] if whole + at < count else _ZERO
        _pack(scratch, 0, width, out, place)
    return end


@kernel
def columns_of(rows, columns):
    """Transpose, eight columns at a time: a cache line of each row is read once. `rows` may have more columns than are wanted."""
    wanted = columns.shape[0]
    for first in range(0, wanted, 8):
        for row in range(rows.shape[0]):
            for column in range(min(8, wanted - first)):
                columns[first + column, row] = rows[row, first + column]
