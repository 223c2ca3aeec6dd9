"""Outcomes of applying one message."""

from __future__ import annotations

CONSUMED = 0
CUT_BEFORE = 1  # a cut is due before it; it is not consumed
CUT_AFTER = 2
EXHAUSTED = 3  # the pool ran out of blocks: the book is lost
HALTED = 4  # at a gap; it is not consumed
WAITS = 5  # something else is due before it, a message that waited or a grid row; it is not consumed
