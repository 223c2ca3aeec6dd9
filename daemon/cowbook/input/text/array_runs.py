"""Takes the values of JSON arrays out of blocks, a run at a time, one a line, in the form that scanners know."""

from __future__ import annotations

import numpy as np

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.array_scanner import copy_values
from cowbook.input.text.wrapped_runs import RUN_BYTES, Run
from cowbook.plain.block import PADDING, Block

_MOST_VALUES = 1 << 12
_NO_HEAD = b""  # a run has no frames, and is no array


class ArrayRuns:
    """Takes runs from the blocks of a file whose records are the values of JSON arrays.

    A run lies in memory that the next one overwrites.
    """

    def __init__(self, settings: DecoderSettings) -> None:
        self._longest = settings.max_line_bytes
        self._lines = np.zeros(RUN_BYTES + PADDING, np.uint8)
        self._starts, self._ends = np.zeros((2, _MOST_VALUES), np.int64)

    def take(self, block: Block, *, skips_opening: bool) -> Run | None:
        """The next whole values of a block, which are not consumed by this. None if the next one is for the reference decoder.

        It is unless it is an object or an array that fits, and has no line ends in strings.
        """
        place = block.start, block.end, skips_opening, self._longest, self._lines, RUN_BYTES, self._starts, self._ends
        count, size = map(int, copy_values(block.buffer, *place))
        if count == 0:
            return None
        starts, ends = self._starts[:count], self._ends[:count]
        lines = Block(self._lines, 0, size, block.file, 0, final=False, head=_NO_HEAD)
        lengths = ends - starts + 1
        return Run(lines, starts + block.base, ends + block.base, lengths.cumsum(), [""] * count)
