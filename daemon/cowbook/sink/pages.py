"""Has kernels encode the columns of a part. How is chosen from the values alone.

The rules, from measurements on recorded streams (ADR 24):

* what is constant in a message: runs of indices into a dictionary of the messages' values. With fewer than four rows a message
  they are spread over the rows;
* numbers: a dictionary in the order of first use if it is smaller, else differences; plain if a difference needs more than
  28 bits, because fastparquet reads wider ones wrongly, in silence. Behind differences stands a page of plain numbers, those that
  would not fill a miniblock: fastparquet would write behind the end of its array, and crash or not;
* indices into a few texts: runs; booleans: a bit each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.sink import message_kernel as kernels
from cowbook.sink.number_kernel import (
    TABLE_ENTRIES,
    Work,
    build_dictionary,
    number_pages,
    packed_indices,
    row_flags,
    whole_deltas,
)
from cowbook.sink.page_kernel import BLOCK_VALUES
from cowbook.sink.parquet_file import Chunk, Encoded, Page

Values = npt.NDArray[np.int64]

PAGE_ROWS = 1 << 20
"""Most rows of a page of numbers, which bounds what a reader must hold."""
_LEAST_PAGE_ROWS = 64
"""What PAGE_ROWS may be."""

_LEAST_RUN_ROWS = 4
"""So many rows a message, on average, make runs worth their while."""
_SLACK_BYTES = 8192
_ENCODED = {int(encoded): encoded for encoded in Encoded}


class Scratch:
    """Memory for the making of pages, which is kept: the first touch of fresh memory costs more than filling it.

    A chunk's pages may lie in it, until the next chunk is made.
    """

    def __init__(self) -> None:
        self.block = np.empty(BLOCK_VALUES, np.int64)
        self.table = np.empty(TABLE_ENTRIES, np.int32)
        self._rows = 0
        self.reserve(1 << 14)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows, or messages."""
        if rows <= self._rows:
            return
        self._rows = rows + rows // 4
        # A difference takes 8 bytes and its share of a block's head, a run 13 at most, a definition level 2.
        self.out = np.empty(16 * self._rows + _SLACK_BYTES, np.uint8)
        self.dictionary, self.indices, self.present, self.rows = (np.empty(self._rows + 64, np.int64) for _ in range(4))
        self.pages = np.empty((2 * (self._rows // _LEAST_PAGE_ROWS + 1), 4), np.int64)
        self.work = Work(self.table, self.dictionary, self.indices, self.present, self.block, self.out, self.pages)

    @property
    def size_rows(self) -> int:
        """How many rows there is room for."""
        return self._rows


_FREE: deque[Scratch] = deque()
_MOST_KEPT_ROWS = 1 << 21


@contextmanager
def scratch_for(rows: int) -> Iterator[Scratch]:
    """Scratch with room for so many rows or messages. Threads that encode at the same time get different ones."""
    try:
        scratch = _FREE.pop()
    except IndexError:
        scratch = Scratch()
    scratch.reserve(rows)
    yield scratch
    if scratch.size_rows <= _MOST_KEPT_ROWS:
        _FREE.append(scratch)


def _taken(scratch: Scratch, end: int) -> memoryview:
    return scratch.out[:end].data


def flags(scratch: Scratch, values: Values) -> Chunk:
    """Booleans: whether each number is not 0."""
    return Chunk([Page(Encoded.PLAIN, len(values), _taken(scratch, row_flags(values, scratch.out, 0)))])


def choices(scratch: Scratch, values: Values, names: tuple[str, ...]) -> Chunk:
    """Texts, from indices into `names`."""
    width = max(1, (len(names) - 1).bit_length())
    end = packed_indices(values, 0, len(values), width, scratch.block, scratch.out, 0)
    return Chunk([Page(Encoded.DICTIONARY, len(values), _taken(scratch, end))], _texts(names), len(names))


def small_numbers(scratch: Scratch, values: Values) -> Chunk:
    """Integers below 2^15, of 32 bits in the file: always from a dictionary."""
    entries = int(build_dictionary(values, len(values), scratch.table, scratch.dictionary, scratch.indices, len(values)))
    width = max(1, (entries - 1).bit_length())
    end = packed_indices(scratch.indices, 0, len(values), width, scratch.block, scratch.out, 0)
    dictionary = scratch.dictionary[:entries].astype(np.int32).tobytes()
    return Chunk([Page(Encoded.DICTIONARY, len(values), _taken(scratch, end))], dictionary, entries)


def numbers(
    scratch: Scratch,
    values: Values,
    *,
    optional: bool = False,
    has_statistics: bool = False,
    dictionary: bool = False,
    divisor: float | None = None,
) -> Chunk:
    """Numbers, with NONE for null if they are `optional`. `dictionary`: one is tried, since values may recur.

    With a `divisor` they are written as doubles, the quotients.
    """
    if not values.flags.writeable:  # kernels are compiled for arrays of one kind
        values = values.copy()
    stored = values if divisor is None else _quotients(values, divisor).view(np.int64)
    count, entries, nulls, least, greatest = number_pages(
        values, stored, optional, dictionary, divisor is None, has_statistics, PAGE_ROWS, scratch.work
    )
    out = scratch.out.data
    pages = [Page(_ENCODED[kind], rows, out[start:end]) for kind, rows, start, end in scratch.pages[:count].tolist()]
    chunk = Chunk(pages, nulls=nulls, extremes=(least, greatest) if least <= greatest else None)
    if entries:
        chunk.dictionary, chunk.entries = _bytes_of(_quotients(scratch.dictionary[:entries], divisor)), entries
    return chunk


def _quotients(values: Values, divisor: float | None) -> npt.NDArray[Any]:
    # Both operands are exact below 2^53, and a division rounds once: the result is the double that is nearest to the decimal.
    return values if divisor is None else values / divisor


def _bytes_of(values: npt.NDArray[Any]) -> memoryview:
    return values.view(np.uint8).data


class Messages:
    """The columns of a stream whose records are messages, each with as many rows as it has levels."""

    def __init__(self, scratch: Scratch, bid_counts: Values, ask_counts: Values) -> None:
        self._scratch = scratch
        self._bid_counts, self._ask_counts = bid_counts, ask_counts
        self._counts = bid_counts + ask_counts
        self.rows = int(self._counts.sum())

    def rising(self, values: Values) -> Chunk:
        """A number that rises by one from row to row of a message, of which `values` are the first."""
        if not self.rows:
            return self._chunk(Encoded.PLAIN, 0)
        scratch = self._scratch
        whole = whole_deltas(self.rows)
        rest = np.empty(self.rows - whole, np.int64)
        kernels.last_rising(values, self._counts, rest)
        pages = []
        if whole:
            end = kernels.rising_deltas(values, self._counts, whole, scratch.block, scratch.out, 0)
            pages.append(Page(Encoded.DELTAS, whole, _taken(scratch, end)))
        if len(rest):
            pages.append(Page(Encoded.PLAIN, len(rest), rest.tobytes()))
        first, last = (int(np.flatnonzero(self._counts)[place]) for place in (0, -1))
        return Chunk(pages, extremes=(int(values[first]), int(values[last] + self._counts[last] - 1)))

    def numbers(self, values: Values, *, optional: bool, has_statistics: bool) -> Chunk:
        """Numbers, with NONE for null if they are `optional`."""
        scratch = self._scratch
        if self.rows < _LEAST_RUN_ROWS * len(values):
            rows = scratch.rows[: self.rows]
            kernels.spread_values(values, self._counts, rows)
            return numbers(scratch, rows, optional=optional, has_statistics=has_statistics)
        start = kernels.message_levels(values, self._counts, scratch.out, 0) if optional else 0
        end, entries, least, greatest, nulls = map(
            int, kernels.message_values(values, self._counts, optional, scratch.dictionary, scratch.out, start)
        )
        chunk = self._chunk(Encoded.DICTIONARY, end)
        chunk.dictionary, chunk.entries, chunk.nulls = _bytes_of(scratch.dictionary[:entries]), entries, nulls
        chunk.extremes = (least, greatest) if has_statistics and entries else None
        return chunk

    def flags(self, values: Values) -> Chunk:
        """Booleans: whether the message's number is not 0."""
        return self._chunk(Encoded.PLAIN, kernels.message_flags(values, self._counts, self._scratch.out, 0))

    def ends(self, values: Values) -> Chunk:
        """Booleans: whether the message's number is not 0, in its last row alone."""
        return self._chunk(Encoded.PLAIN, kernels.message_ends(values, self._counts, self._scratch.out, 0))

    def choices(self, values: Values, names: tuple[str, ...]) -> Chunk:
        """Texts, from the messages' indices into `names`."""
        width = max(1, (len(names) - 1).bit_length())
        chunk = self._chunk(Encoded.DICTIONARY, kernels.message_choices(values, self._counts, width, self._scratch.out, 0))
        chunk.dictionary, chunk.entries = _texts(names), len(names)
        return chunk

    def sides(self) -> Chunk:
        """Texts: `bid` for a message's first rows, then `ask`."""
        scratch = self._scratch
        chunk = self._chunk(Encoded.DICTIONARY, kernels.message_sides(self._bid_counts, self._ask_counts, scratch.out, 0))
        chunk.dictionary, chunk.entries = _texts(("bid", "ask")), 2
        return chunk

    def _chunk(self, encoded: Encoded, end: int) -> Chunk:
        return Chunk([Page(encoded, self.rows, _taken(self._scratch, end))])


def _texts(names: tuple[str, ...]) -> bytes:
    """A dictionary of texts: each with its size before it."""
    encoded = [name.encode() for name in names]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
