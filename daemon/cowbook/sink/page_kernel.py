"""The parts of a Parquet page that kernels write: numbers of variable length, runs, packed numbers, blocks of differences.

The encodings are those of the format's Encodings.md. All kernels of this directory write into `out`, a uint8 array with enough
room, from `place` on, and return the place behind. Values are int64, and NONE stands for null.
"""

from __future__ import annotations

import numpy as np

from cowbook.kernels.intrinsics import highest_bit, shifted, store64
from cowbook.kernels.jit import inlined_kernel, kernel

BLOCK_VALUES = 256
MINIBLOCK_VALUES = 64
MINIBLOCKS = BLOCK_VALUES // MINIBLOCK_VALUES

LARGEST = np.int64((1 << 63) - 1)
LEAST = np.int64(-(1 << 63) + 1)
ZERO, ONE = np.int64(0), np.int64(1)


@inlined_kernel
def varint(out, place, value):
    while shifted(value, 7) != 0:
        out[place] = (value & 127) | 128
        place += 1
        value = shifted(value, 7)
    out[place] = value
    return place + 1


@kernel
def run_of(out, place, count, value, width_bytes):
    """A run of `count` equal values. Seven bytes behind it are overwritten, too."""
    place = varint(out, place, count << 1)
    store64(out, place, value)
    return place + width_bytes


@inlined_kernel
def width_of(value):
    """The number of bits that an unsigned number needs."""
    return ZERO if value == 0 else highest_bit(value) + 1


@kernel
def pack(values, first, width, out, place):
    """64 values of `width` bits each, 1 to 64. They are whole words of 8 bytes, the first value in the lowest bits."""
    word = ZERO
    have = ZERO
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
                word = shifted(bits, step - have) if have else ZERO
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
                word = shifted(bits, step - have) if have else ZERO
    else:
        for index in range(first, first + 64):
            bits = values[index]
            word |= bits << have
            have += width
            if have >= 64:
                store64(out, place, word)
                place += 8
                have -= 64
                word = shifted(bits, width - have) if have else ZERO
    return place


@kernel
def deltas_head(out, place, count, first):
    """The head of a page of differences: sizes of a block, number of values, the first value."""
    place = varint(out, place, np.int64(BLOCK_VALUES))
    place = varint(out, place, np.int64(MINIBLOCKS))
    place = varint(out, place, count)
    return varint(out, place, (first << 1) ^ (first >> 63))


@kernel
def delta_block(deltas, least, out, place):
    """A block of differences, from which `least` was taken already; zeros stand behind the last one."""
    place = varint(out, place, (least << 1) ^ (least >> 63))
    widths = place
    place += MINIBLOCKS
    for miniblock in range(MINIBLOCKS):
        first = miniblock * MINIBLOCK_VALUES
        union = ZERO
        for index in range(first, first + MINIBLOCK_VALUES):
            union |= deltas[index]
        width = width_of(union)
        out[widths + miniblock] = width
        if width:
            place = pack(deltas, first, width, out, place)
    return place


@inlined_kernel
def end_levels(out, place, end):
    """Write the size of definition levels before them."""
    size = end - place - 4
    for byte in range(4):
        out[place + byte] = (size >> (8 * byte)) & 255
    return end
