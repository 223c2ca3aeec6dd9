"""Plain data between the follower and the decoders: a stretch of one file's decoded bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PADDING = 256
"""Bytes that may be read behind the end of a block; what they are says nothing."""


@dataclass(slots=True)
class Block:
    """Decoded bytes of one file: `buffer[start:end]` are still to be consumed.

    The consumer moves `start` behind what it has consumed; the rest comes again at the front of the next block.
    `buffer` is uint8, contiguous, and has at least PADDING bytes behind `end`.
    """

    buffer: npt.NDArray[np.uint8]
    start: int
    end: int
    file: str
    base: int
    """Decoded offset in the file of `buffer[0]`; negative where the buffer begins with free room."""
    final: bool
    """Nothing follows in this file: an unfinished line is all that will ever be there."""
    head: bytes = b""
    """The file's first decoded bytes, 1 KiB once there are so many: what the first line of a table says."""

    def offset_of(self, index: int) -> int:
        """Decoded offset in the file of `buffer[index]`."""
        return self.base + index
