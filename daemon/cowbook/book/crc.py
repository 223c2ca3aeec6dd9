"""CRC-32 (ISO 3309, reflected) of text that is put together: the constants by which the checksums of pieces are joined.

The register of a CRC is linear: behind a text and a piece it is that behind the text, moved on by as many zero bytes as the piece
has, exclusive or the register behind the piece alone, begun with 0. Moving on by a number of bytes is linear, too, so for each
number four tables of 256 entries do it, one for each byte of the register.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0xEDB88320
_PARTS = 4

START = 0xFFFFFFFF
"""The register before any text."""


@cache
def moves(longest: int) -> npt.NDArray[np.uint32]:
    """The register moved on by 0 to `longest` zero bytes: shape (longest + 1, 4, 256), by bytes, part and the part's value.

    The parts are the bytes of the register, the lowest first. `moves(1)[1, 0]` is the usual table of bytes. All callers get the
    same array.
    """
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    result = np.empty((longest + 1, _PARTS, 256), np.uint32)
    for part in range(_PARTS):
        result[0, part] = np.arange(256, dtype=np.uint32) << np.uint32(8 * part)
    for count in range(longest):
        result[count + 1] = table[result[count] & 0xFF] ^ (result[count] >> np.uint32(8))
    result.setflags(write=False)
    return result


def start_before(byte: int) -> int:
    """The register from which reading `byte` leads to START: a text whose first byte does not count begins with it."""
    table = moves(1)[1, 0]
    low = int(np.flatnonzero(table >> np.uint32(24) == START >> 24)[0])
    return (((int(table[low]) ^ START) << 8) & START) | (low ^ byte)
