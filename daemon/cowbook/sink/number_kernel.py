"""Encodes columns that have a value for each row: which encoding a column of numbers takes, and its pages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.intrinsics import shifted, store64
from cowbook.kernels.jit import kernel
from cowbook.plain.messages import NONE
from cowbook.sink.page_kernel import (
    BLOCK_VALUES,
    LARGEST,
    LEAST,
    MINIBLOCK_VALUES,
    MINIBLOCKS,
    ONE,
    ZERO,
    delta_block,
    deltas_head,
    end_levels,
    pack,
    run_of,
    varint,
    width_of,
)

_HASH = np.int64(-7046029254386353131)  # 2^64 divided by the golden ratio
_FIRST_TABLE_BITS = 8
_FIRST_CHECK = 1 << 14

_PLAIN, _DELTAS, _DICTIONARY = np.int64(0), np.int64(5), np.int64(8)
"""parquet.thrift's Encoding."""
_MOST_ENTRIES = 1 << 18
"""Most entries of a dictionary."""
_SMALL_DICTIONARY = 8
"""A dictionary is small if every value is used so often, on average."""
_DICTIONARY_ENTRY_BYTES, _PLAIN_VALUE_BYTES = 7, 5
"""Of 8, after compression."""
_WIDEST_DELTA_BITS = 28


class Work(NamedTuple):
    """Arrays that `number_pages` works in."""

    table: npt.NDArray[np.int32]
    """A hash table, of TABLE_ENTRIES."""
    dictionary: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    present: npt.NDArray[np.int64]
    """Of as many entries as there are rows, and one more."""
    block: npt.NDArray[np.int64]
    """Of BLOCK_VALUES entries."""
    out: npt.NDArray[np.uint8]
    pages: npt.NDArray[np.int64]
    """What is told of each page: encoding, rows, where it begins and ends in `out`."""


TABLE_ENTRIES = 4 * _MOST_ENTRIES


@kernel
def number_pages(values, stored, optional, tries_dictionary, may_delta, has_extremes, page_rows, work):
    """The pages of a column of numbers, one behind the other in `work.out`, of at most `page_rows` rows each.

    `stored` has the 64 bits of each row that plain pages hold. Returns how many pages there are, entries of the dictionary,
    number of nulls, least and greatest value (0 and -1 of a column without values or extremes).
    """
    present, block, out, pages = work.present, work.block, work.out, work.pages
    rows = np.int64(values.size)
    count, least, greatest = _present(values, optional, has_extremes, present)
    entries = ZERO
    if tries_dictionary and count:
        most = min(np.int64(_MOST_ENTRIES), count // 3 + 16)
        entries = build_dictionary(present if optional else values, count, work.table, work.dictionary, work.indices, most)
    width = max(ONE, width_of(max(entries - 1, ZERO)))
    encoding = _PLAIN
    if 0 < entries * _SMALL_DICTIONARY <= count:
        encoding = _DICTIONARY
    else:
        cost, widest = _cost_of_deltas(present if optional else values, count)
        if may_delta and widest <= _WIDEST_DELTA_BITS:
            encoding = _DELTAS
        else:
            cost = _PLAIN_VALUE_BYTES * count
        # As fractions of 8, since the indices may not fill a byte.
        if entries > 0 and 8 * _DICTIONARY_ENTRY_BYTES * entries + count * width < 8 * cost:
            encoding = _DICTIONARY
    if encoding != _DICTIONARY:
        entries = ZERO
    number, place, first = ZERO, ZERO, ZERO
    for begin in range(0, rows, page_rows):
        end = min(begin + page_rows, rows)
        found = _present_in(values, begin, end) if optional else end - begin
        middle, taken, own = end, found, encoding
        if encoding == _DELTAS:
            taken = whole_deltas(found)
            if taken == 0:
                taken, own = found, _PLAIN
            elif taken < found:
                middle = _row_of(values, optional, begin, taken)
        start = place
        if optional:
            place = _levels(values, begin, middle, out, place)
        if own == _DELTAS:
            place = _deltas(present if optional else values, first, first + taken, block, out, place)
        elif own == _DICTIONARY:
            place = packed_indices(work.indices, first, first + taken, width, block, out, place)
        else:
            place = _plain(values, stored, optional, begin, middle, out, place)
        number = _note(pages, number, own, middle - begin, start, place)
        if middle < end:
            start = place
            if optional:
                place = _levels(values, middle, end, out, place)
            place = _plain(values, stored, optional, middle, end, out, place)
            number = _note(pages, number, _PLAIN, end - middle, start, place)
        first += found
    return number, entries, rows - count, least, greatest


@kernel
def _note(pages, number, encoding, rows, start, end):
    pages[number, 0] = encoding
    pages[number, 1] = rows
    pages[number, 2] = start
    pages[number, 3] = end
    return number + 1


@kernel
def _present(values, optional, has_extremes, present):
    """The values of an optional column that are not null, into `present`. Returns their number, least and greatest one."""
    count = np.int64(values.size)
    least, greatest = LARGEST, LEAST
    if optional:
        found = ZERO
        for index in range(count):
            value = values[index]
            present[found] = value
            found += value != NONE
        count = found
    if not has_extremes or count == 0:
        return count, ZERO, -ONE
    if optional:
        for index in range(count):
            least, greatest = min(least, present[index]), max(greatest, present[index])
    else:
        for index in range(count):
            least, greatest = min(least, values[index]), max(greatest, values[index])
    return count, least, greatest


@kernel
def _present_in(values, begin, end):
    """How many values of these rows are not null."""
    found = ZERO
    for index in range(begin, end):
        found += values[index] != NONE
    return found


@kernel
def _row_of(values, optional, begin, count):
    """The first row behind the `count`-th value that is not null, and behind the nulls that follow it, from row `begin` on."""
    if not optional:
        return begin + count
    found, index = ZERO, begin
    while True:
        if values[index] != NONE:
            if found == count:
                return index
            found += 1
        index += 1


@kernel
def _levels(values, begin, end, out, place):
    """Definition levels with their size before them."""
    count = end - begin
    changes = ZERO
    before = True
    for index in range(begin, end):
        is_there = values[index] != NONE
        changes += is_there != before
        before = is_there
    at = place + 4
    if changes == 0:
        at = run_of(out, at, count, ONE, 1)
    elif changes * 6 < count >> 3:  # runs are smaller
        run, level = ZERO, ZERO
        for index in range(begin, end):
            is_there = ONE if values[index] != NONE else ZERO
            if is_there != level:
                if run:
                    at = run_of(out, at, run, level, 1)
                level, run = is_there, ZERO
            run += 1
        at = run_of(out, at, run, level, 1)
    else:
        at = varint(out, at, ((count + 7) >> 3) << 1 | 1)
        for first in range(begin, end, 8):
            byte = ZERO
            for bit in range(8):
                if first + bit < end:
                    byte |= np.int64(values[first + bit] != NONE) << bit
            out[at] = byte
            at += 1
    return end_levels(out, place, at)


@kernel
def _plain(values, stored, optional, begin, end, out, place):
    """The bits of the rows that are not null."""
    for index in range(begin, end):
        if not optional or values[index] != NONE:
            store64(out, place, stored[index])
            place += 8
    return place


@kernel
def whole_deltas(count):
    """How many of `count` values differences may take: all miniblocks are then full, and the last block has another one.

    fastparquet reads a miniblock as a whole, and writes what is no value behind the end of its array. At the end of a block it
    looks for another one.
    """
    miniblocks = (count - 1) // MINIBLOCK_VALUES
    if miniblocks % MINIBLOCKS == 0:
        miniblocks -= 1
    return 1 + miniblocks * MINIBLOCK_VALUES if miniblocks > 0 else ZERO


@kernel
def _deltas(values, first, end, scratch, out, place):
    """Differences (DELTA_BINARY_PACKED). `scratch` has BLOCK_VALUES entries. Differences may wrap around."""
    place = deltas_head(out, place, end - first, values[first])
    index = first + 1
    while index < end:
        taken = min(np.int64(BLOCK_VALUES), end - index)
        for at in range(taken):
            scratch[at] = values[index + at] - values[index + at - 1]
        least = scratch[0]
        for at in range(taken):
            least = min(least, scratch[at])
        for at in range(taken):
            scratch[at] -= least
        for at in range(taken, BLOCK_VALUES):
            scratch[at] = 0
        place = delta_block(scratch, least, out, place)
        index += taken
    return place


@kernel
def _cost_of_deltas(values, count):
    """An estimate of the bytes of differences, and the number of bits of the widest one."""
    size, widest = np.int64(12), ZERO
    index = ONE
    while index < count:
        taken = min(np.int64(BLOCK_VALUES), count - index)
        least = values[index] - values[index - 1]
        greatest = least
        for at in range(taken):
            delta = values[index + at] - values[index + at - 1]
            least = min(least, delta)
            greatest = max(greatest, delta)
        width = width_of(greatest - least)
        widest = max(widest, width)
        size += 8 + BLOCK_VALUES // 8 * width
        index += taken
    return size, widest


@kernel
def packed_indices(indices, first, end, width, scratch, out, place):
    """A bit-packed run of indices. `scratch` has BLOCK_VALUES entries. Up to 512 bytes behind the result are overwritten."""
    count = end - first
    out[place] = width
    groups = (count + 7) >> 3
    place = varint(out, place + 1, groups << 1 | 1)
    behind = place + groups * width
    whole = count & ~63
    for at in range(first, first + whole, 64):
        place = pack(indices, at, width, out, place)
    if whole < count:
        for at in range(64):
            scratch[at] = indices[first + whole + at] if whole + at < count else ZERO
        pack(scratch, 0, width, out, place)
    return behind


@kernel
def build_dictionary(values, count, table, dictionary, indices, most):
    """Number values in the order of their first use. Returns the number of different ones; -1 if a dictionary does not pay.

    That is if there are more than `most`, or if of the second half of what was seen more than 45 % were new, so that they will
    not cease. `table` (int32) is a hash table with open addressing that grows with its content; it has room for twice `most`.
    """
    entries = ZERO
    bits = np.int64(_FIRST_TABLE_BITS)
    for place in range(1 << bits):
        table[place] = -1
    check, before = np.int64(_FIRST_CHECK), ZERO
    index = ZERO
    while index < count:
        stop = min(count, check)
        mask = (ONE << bits) - 1
        while index < stop:
            value = values[index]
            place = shifted(value * _HASH, 64 - bits)
            entry = np.int64(table[place])
            while entry >= 0 and dictionary[entry] != value:
                place = (place + 1) & mask
                entry = np.int64(table[place])
            if entry < 0:
                if entries == most:
                    return -ONE
                table[place] = entries
                dictionary[entries] = value
                entry = entries
                entries += 1
            indices[index] = entry
            index += 1
            if entries * 2 > mask:
                bits += 2
                mask = (ONE << bits) - 1
                _hash_again(dictionary, entries, table, bits)
        if index == check:
            if check > _FIRST_CHECK and count > check and (entries - before) * 20 > (check >> 1) * 9:
                return -ONE
            before = entries
            check += check
    return entries


@kernel
def _hash_again(dictionary, entries, table, bits):
    mask = (ONE << bits) - 1
    for place in range(1 << bits):
        table[place] = -1
    for entry in range(entries):
        place = shifted(dictionary[entry] * _HASH, 64 - bits)
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = entry


@kernel
def row_flags(values, out, place):
    """Booleans, a bit each."""
    count = np.int64(values.size)
    for first in range(0, count, 8):
        byte = ZERO
        for bit in range(8):
            if first + bit < count:
                byte |= np.int64(values[first + bit] != 0) << bit
        out[place] = byte
        place += 1
    return place


@kernel
def columns_of(rows, columns):
    """Transpose, eight columns at a time: a cache line of each row is read once. `rows` may have more columns than are wanted."""
    wanted = columns.shape[0]
    for first in range(0, wanted, 8):
        for row in range(rows.shape[0]):
            for column in range(min(8, wanted - first)):
                columns[first + column, row] = rows[row, first + column]
