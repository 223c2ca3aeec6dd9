"""The first line of a table: names of columns as CSV has them, or the layout of a Parquet file's packed rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PACKED_MAGIC = b"PAR1 rows "
"""What the decoded bytes of a Parquet file begin with (input/parquet_rows.py)."""

PACKED_TEXT_BYTES = 40
"""Of a text in a packed row: UTF-8 with zeros behind it; a longer one is cut and ends with 0xFF, which no UTF-8 does."""

LONGEST_HEADER = 1024
"""Bytes of a first line; the columns of the tables that are known take much less."""

# Kinds of packed columns.
PACKED_INTEGER = 0
PACKED_FLOAT = 1
PACKED_TEXT = 2

_KINDS = {"i": PACKED_INTEGER, "f": PACKED_FLOAT, "t": PACKED_TEXT}
_SEPARATORS = re.compile(r"[,:\s]")
_PACKED_COLUMN = re.compile(r"([^,:]+):([ift])")


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says."""

    line: bytes
    """With its terminator: the first row begins behind it."""
    names: tuple[str, ...]
    kinds: npt.NDArray[np.int64] | None = None
    """Of packed rows: the kind of each column."""
    places: npt.NDArray[np.int64] | None = None
    """Of packed rows: where each column begins in its row, and at the end the row's length in bytes."""

    @property
    def row_bytes(self) -> int:
        """Length of a packed row; 0 for text."""
        return int(self.places[-1]) if self.places is not None else 0


def read_header(head: bytes) -> Header | None:
    """The header in the first bytes of a file; None while the first line has no end."""
    newline = head.find(b"\n") + 1
    if not newline:
        return None
    line = head[:newline]
    if line.startswith(PACKED_MAGIC):
        columns = _PACKED_COLUMN.findall(line[len(PACKED_MAGIC) :].decode())
        kinds = np.array([_KINDS[kind] for _, kind in columns], np.int64)
        places = np.concatenate([[0], np.cumsum(np.where(kinds == PACKED_TEXT, PACKED_TEXT_BYTES, 8))]).astype(np.int64)
        return Header(line, tuple(name for name, _ in columns), kinds, places)
    text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r\n")
    return Header(line, tuple(name.strip().strip('"') for name in text.split(",")))


def packed_header(columns: Sequence[tuple[str, str]]) -> bytes:
    """The first line of packed rows with these columns, each a name and `i`, `f` or `t`; its length is a multiple of 8."""
    text = PACKED_MAGIC + ",".join(f"{_SEPARATORS.sub('_', name)}:{kind}" for name, kind in columns).encode()
    return text + b" " * (-(len(text) + 1) % 8) + b"\n"
