"""Scanners of tables of pictures, of which each line has all of the best levels: they make a row of each level.

The rows of a line have its offsets, by which they are told from others (runs.py). A level whose price and size are empty is not
there; a line without levels makes one row that says so (HAS_NO_LEVEL). As in table_scanner, what is not recognised is left to the
reference decoder.
"""

from __future__ import annotations

from cowbook.input.tables.table_scanner import (
    END,
    FULL,
    GOOD,
    HAS_NO_LEVEL,
    IS_ASK,
    LEVELS,
    OF_SNAPSHOT,
    PRICE,
    SIZE,
    SKIPPED,
    STRANGE,
    begin_row,
    read_field,
    read_packed,
)
from cowbook.input.text.text_scanner import COMMA, FAILED, RETURN, find_newline
from cowbook.kernels.intrinsics import as_float, load64
from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import NONE
from cowbook.plain.table_header import PACKED_FLOAT


@inlined_kernel
def _begin_levels(rows, count, levels):
    """Empty the rows of a line's levels, bids first."""
    for place in range(count, count + 2 * levels):
        rows[place].price = NONE
        rows[place].size = NONE


@inlined_kernel
def _is_absent(buffer, at, line_end):
    return at == line_end or buffer[at] == COMMA or (buffer[at] == RETURN and at + 1 == line_end)


@kernel
def _finish_levels(rows, count, levels, line):
    """Give the rows of levels that are there what the line has in common, one behind the other. Returns the number of rows now.

    FAILED if a level has a price or a size only.
    """
    common = rows[line]
    common.flags |= OF_SNAPSHOT
    if common.kind != GOOD:
        rows[count] = common
        return count + 1
    at = count
    for place in range(2 * levels):
        price, size = rows[count + place].price, rows[count + place].size
        if (price == NONE) != (size == NONE):
            return FAILED
        if price != NONE:
            rows[at] = common
            rows[at].price = price
            rows[at].size = size
            rows[at].flags = common.flags | (IS_ASK if place >= levels else 0)
            at += 1
    if at == count:
        rows[at] = common
        rows[at].flags = common.flags | HAS_NO_LEVEL
        at += 1
    return at


@kernel
def scan_csv_pictures(scan, start, end, base, levels, count):
    """As `scan_csv`, for lines of `levels` levels a side."""
    buffer, rows, columns = scan.buffer, scan.rows, scan.plan.size
    position = start
    while count + 2 * levels < rows.size:
        line_end = find_newline(buffer, position, end)
        if line_end < 0:
            return END, position, count
        if line_end - position > scan.limits[0].max_line_bytes:
            return STRANGE, position, count
        line = count + 2 * levels
        _begin_levels(rows, count, levels)
        row = rows[line]
        begin_row(row, base + position, base + line_end + 1)
        at = position
        for column in range(columns):
            meaning = scan.plan[column]
            if meaning >= LEVELS:
                part = meaning - LEVELS
                place = (part >> 2) + (levels if part & 2 else 0)
                what = SIZE if part & 1 else PRICE
                after = at if _is_absent(buffer, at, line_end) else read_field(scan, at, line_end, rows[count + place], what)
            else:
                after = read_field(scan, at, line_end, row, meaning)
            if after < 0:
                return STRANGE, position, count
            if column + 1 < columns:
                if buffer[after] != COMMA:
                    return STRANGE, position, count
                at = after + 1
            elif after != line_end and not (after + 1 == line_end and buffer[after] == RETURN):
                return STRANGE, position, count
        following = _finish_levels(rows, count, levels, line)
        if following < 0:
            return STRANGE, position, count
        position = line_end + 1
        count = following
    return FULL, position, count


@kernel
def scan_packed_pictures(scan, start, end, base, kinds, places, row_bytes, levels, count):
    """As `scan_packed`, for rows of `levels` levels a side."""
    buffer, rows = scan.buffer, scan.rows
    position = start
    while count + 2 * levels < rows.size:
        if position + row_bytes > end:
            return END, position, count
        line = count + 2 * levels
        _begin_levels(rows, count, levels)
        row = rows[line]
        begin_row(row, base + position, base + position + row_bytes)
        is_good = True
        for column in range(scan.plan.size):
            meaning = scan.plan[column]
            at, width = position + places[column], places[column + 1] - places[column]
            if meaning >= LEVELS:
                word = load64(buffer, at)
                value = as_float(word)
                is_absent = value != value if kinds[column] == PACKED_FLOAT else word == NONE  # noqa: PLR0124 - NaN
                if not is_absent:
                    part = meaning - LEVELS
                    place = (part >> 2) + (levels if part & 2 else 0)
                    what = SIZE if part & 1 else PRICE
                    is_good = read_packed(scan, at, width, rows[count + place], what, kinds[column]) and is_good
            elif meaning != SKIPPED:
                is_good = read_packed(scan, at, width, row, meaning, kinds[column]) and is_good
        if row.ts_event == NONE:
            row.ts_event = row.ts_recv
            is_good = is_good and row.ts_recv != NONE
        following = _finish_levels(rows, count, levels, line) if is_good else FAILED
        if following < 0:
            return STRANGE, position, count
        position += row_bytes
        count = following
    return FULL, position, count
