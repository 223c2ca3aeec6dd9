"""Chooses how each column of a part is encoded, from its values alone, and has kernels write its pages.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.plain.messages import NONE
from cowbook.sink import page_kernel as kernels
from cowbook.sink.parquet_file import Bytes, Chunk, Encoded, Page

Values = npt.NDArray[np.int64]

PAGE_ROWS = 1 << 20
"""Most rows of a page of numbers, which bounds what a reader must hold."""

_MOST_ENTRIES = 1 << 18
"""Most entries of a dictionary."""
_LEAST_RUN_ROWS = 4
"""So many rows a message, on average, make runs worth their while."""
_WIDEST_DELTA_BITS = 28
_SMALL_DICTIONARY = 8
"""A dictionary is small if every value is used so often, on average."""
_DICTIONARY_ENTRY_BYTES = 7
"""Of 8, after compression."""
_PLAIN_VALUE_BYTES = 5
"""Of 8, after compression."""
_SLACK_BYTES = 8192


class Scratch:
    """Memory for the making of pages, which is kept: the first touch of fresh memory costs more than filling it.

    A chunk's pages may lie in it, until the next chunk is made.
    """

    def __init__(self) -> None:
        self.block = np.empty(kernels.BLOCK_VALUES, np.int64)
        self.table = np.empty(4 * _MOST_ENTRIES, np.int32)
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


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a column of numbers, of which one page can be made."""

    begin: int
    end: int
    """Of the rows."""
    first: int
    last: int
    """Of the values that are not null."""
    levels: bytes
    """Definition levels, of a column that may have nulls."""


def flags(scratch: Scratch, values: Values) -> Chunk:
    """Booleans: whether each number is not 0."""
    return Chunk([Page(Encoded.PLAIN, len(values), _taken(scratch, kernels.row_flags(values, scratch.out, 0)))])


def choices(scratch: Scratch, values: Values, names: tuple[str, ...]) -> Chunk:
    """Texts, from indices into `names`."""
    width = max(1, (len(names) - 1).bit_length())
    end = kernels.packed_indices(values, width, scratch.block, scratch.out, 0)
    return Chunk([Page(Encoded.DICTIONARY, len(values), _taken(scratch, end))], _texts(names), len(names))


def small_numbers(scratch: Scratch, values: Values) -> Chunk:
    """Integers below 2^15, of 32 bits in the file: always from a dictionary."""
    entries = int(kernels.build_dictionary(values, scratch.table, scratch.dictionary, scratch.indices, len(values)))
    width = max(1, (entries - 1).bit_length())
    end = kernels.packed_indices(scratch.indices[: len(values)], width, scratch.block, scratch.out, 0)
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
    pieces: list[_Piece] = []
    extremes = None
    count = 0
    if optional:
        for begin in range(0, len(values), PAGE_ROWS):
            end = min(begin + PAGE_ROWS, len(values))
            size, found, least, greatest = map(
                int, kernels.present_values(values[begin:end], scratch.present[count:], scratch.out, 0)
            )
            pieces.append(_Piece(begin, end, count, count + found, bytes(_taken(scratch, size))))
            count += found
            if found:
                extremes = (least, greatest) if extremes is None else (min(extremes[0], least), max(extremes[1], greatest))
        present = scratch.present[:count]
    else:
        present, count = values, len(values)
        for begin in range(0, count, PAGE_ROWS):
            end = min(begin + PAGE_ROWS, count)
            pieces.append(_Piece(begin, end, begin, end, b""))
        if has_statistics:
            least, greatest = kernels.extremes(values)
            extremes = int(least), int(greatest)
    chunk = _present_numbers(scratch, values, present, pieces, dictionary=dictionary, divisor=divisor)
    chunk.nulls = len(values) - count
    chunk.extremes = extremes if has_statistics else None
    return chunk


def _present_numbers(
    scratch: Scratch, values: Values, present: Values, pieces: list[_Piece], *, dictionary: bool, divisor: float | None
) -> Chunk:
    """Pages of numbers. `present` are those that are not null."""
    count = len(present)
    entries = 0
    if dictionary and count:
        most = min(_MOST_ENTRIES, count // 3 + 16)
        entries = int(kernels.build_dictionary(present, scratch.table, scratch.dictionary, scratch.indices, most))
    width = max(1, (entries - 1).bit_length())
    is_small = 0 < entries * _SMALL_DICTIONARY <= count
    cost, widest = (0, 0) if is_small else kernels.cost_of_deltas(present)
    may_delta = widest <= _WIDEST_DELTA_BITS and divisor is None
    if not may_delta:
        cost = _PLAIN_VALUE_BYTES * count
    if is_small or (entries > 0 and _DICTIONARY_ENTRY_BYTES * entries + count * width / 8 < cost):

        def write_indices(first: int, last: int, start: int) -> int:
            return int(kernels.packed_indices(scratch.indices[first:last], width, scratch.block, scratch.out, start))

        pages = _pages(scratch, Encoded.DICTIONARY, pieces, write_indices)
        return Chunk(pages, _bytes_of(_quotients(scratch.dictionary[:entries], divisor)), entries)
    if may_delta:
        return Chunk([page for piece in pieces for page in _delta_pages(scratch, values, present, piece, len(pieces) == 1)])
    plain = _bytes_of(_quotients(present, divisor))
    return Chunk([_plain_page(piece, plain) for piece in pieces])


def _pages(scratch: Scratch, encoded: Encoded, pieces: list[_Piece], write: Callable[[int, int, int], int]) -> list[Page]:
    """A page for each piece: its definition levels, and what `write` writes. A single page is not copied out of the scratch."""
    pages = []
    for piece in pieces:
        start = len(piece.levels)
        scratch.out[:start] = np.frombuffer(piece.levels, np.uint8)
        content = scratch.out[: write(piece.first, piece.last, start)]
        pages.append(Page(encoded, piece.end - piece.begin, content.data if len(pieces) == 1 else content.tobytes()))
    return pages


def _delta_pages(scratch: Scratch, values: Values, present: Values, piece: _Piece, is_only: bool) -> Iterator[Page]:
    """Differences, and as plain numbers behind them what would not fill a miniblock. An only piece's lie in the scratch."""
    count = piece.last - piece.first
    whole = kernels.whole_deltas(count)
    if whole == 0:
        yield _plain_page(piece, _bytes_of(present))
        return
    rest = None
    if whole < count:
        piece, rest = _divided(scratch, values, piece, whole)

    def write_deltas(first: int, last: int, start: int) -> int:
        return int(kernels.deltas(present[first:last], scratch.block, scratch.out, start))

    (page,) = _pages(scratch, Encoded.DELTAS, [piece], write_deltas)
    yield page if is_only else Page(page.encoded, page.rows, bytes(page.content))
    if rest is not None:
        yield _plain_page(rest, _bytes_of(present))


def _divided(scratch: Scratch, values: Values, piece: _Piece, count: int) -> tuple[_Piece, _Piece]:
    """The rows of a piece up to its `count`-th value that is not null, with the nulls behind it, and the others."""
    if not piece.levels:
        middle = piece.begin + count
    else:
        middle = piece.begin + int(np.flatnonzero(values[piece.begin : piece.end] != NONE)[count])
    halves = []
    places = ((piece.begin, middle, piece.first, piece.first + count), (middle, piece.end, piece.first + count, piece.last))
    for begin, end, first, last in places:
        levels = b""
        if piece.levels:
            size, *_ = kernels.present_values(values[begin:end], scratch.dictionary, scratch.out, 0)  # which has no other use now
            levels = bytes(_taken(scratch, int(size)))
        halves.append(_Piece(begin, end, first, last, levels))
    return halves[0], halves[1]


def _plain_page(piece: _Piece, plain: Bytes) -> Page:
    """`plain` are the bytes of all values of the column that are not null."""
    return Page(Encoded.PLAIN, piece.end - piece.begin, piece.levels + plain[8 * piece.first : 8 * piece.last])


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
        whole = kernels.whole_deltas(self.rows)
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
