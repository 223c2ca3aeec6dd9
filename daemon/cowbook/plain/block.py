"""The data that the follower hands to the decoders: a block of one file's decoded bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PADDING = 256
"""How many bytes past a block's end may be read. Their values are arbitrary."""


@dataclass(slots=True)
class Block:
    """Decoded bytes of one file; `buffer[start:end]` are not consumed yet.

    The consumer moves `start` past what it has consumed. The rest comes again at the front of the next block.
    """

    buffer: npt.NDArray[np.uint8]
    """Contiguous, with at least PADDING bytes after `end`."""
    start: int
    end: int
    file: str
    base: int
    """Decoded offset in the file of `buffer[0]`. Negative if the buffer begins before the file does."""
    final: bool
    """Whether nothing follows in this file, so that an unfinished last line is complete."""
    head: bytes = b""
    """The file's first decoded bytes, up to 1 KiB. They hold the first line of a table."""
    damage: str | None = None
    """What is wrong with the file in the place of the block's last byte, which is none of the file's; None if nothing is."""
    lacks_line_feed: bool = False
    """Set by the consumer where it can go on only at a line feed, and none is left: it need not be given less."""

    def offset_of(self, index: int) -> int:
        """The decoded offset in the file of `buffer[index]`."""
        return self.base + index
