"""The first line of a table: the names of CSV columns, or the layout of a Parquet file's packed rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PACKED_MAGIC = b"PAR1 rows "
"""The first decoded bytes of a Parquet file (capture/parquet_rows.py)."""

PACKED_TEXT_BYTES = 40
"""Width of a text in a packed row: UTF-8, padded with zero bytes. A longer text is cut and ends with 0xFF, unlike UTF-8."""

LONGEST_HEADER = 4096
"""Most bytes of a first line. The longest of the known tables is that of pictures of 25 levels a side, 1,552 bytes."""

USED_COLUMNS = frozenset(
    (
        *("ask_amount", "ask_price", "bid_price", "bid_amount"),
        *("update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty", "transaction_time"),
        *("agg_trade_id", "time", "transact_time", "is_buyer_maker", "isBuyerMaker", "percentage", "depth", "notional"),
        *("exchange", "symbol", "timestamp", "local_timestamp", "is_snapshot", "id", "side", "price", "amount"),
        *("origin_time", "received_time", "receipt_timestamp", "sequence_number", "side_is_bid", "size", "quantity", "trade_id"),
        *("first_update_id", "last_update_id", "update_type", "qty", "pu"),
    )
)
"""The names of columns that some table uses (input/tables/table.py). Of a Parquet file no others are read, but levels.

A new name changes how files with such a column are packed: positions in them are found by the release that made them only.
"""

_LEVEL_COLUMN = re.compile(r"(?:asks|bids)\[[0-9]{1,2}\]\.(?:price|amount)")


def is_used_column(name: str) -> bool:
    """Whether some table uses a column of this name."""
    return name in USED_COLUMNS or _LEVEL_COLUMN.fullmatch(name) is not None


# Kinds of packed columns.
PACKED_INTEGER = 0
PACKED_FLOAT = 1
PACKED_TEXT = 2
PACKED_NOTHING = 3  # a column that no table uses: it is not read

_KINDS = {"i": PACKED_INTEGER, "f": PACKED_FLOAT, "t": PACKED_TEXT, "x": PACKED_NOTHING}
_WIDTHS = np.array([8, 8, PACKED_TEXT_BYTES, 0], np.int64)
_SEPARATORS = re.compile(r"[,:\s]")
_PACKED_COLUMN = re.compile(r"([^,:]+):([iftx])")


@dataclass(frozen=True, slots=True)
class Header:
    """The content of the first line."""

    line: bytes
    """The line with its terminator. The first row begins after it."""
    names: tuple[str, ...]
    kinds: npt.NDArray[np.int64] | None = None
    """The kind of each column, int64; packed rows only."""
    places: npt.NDArray[np.int64] | None = None
    """Where each column begins in its row, and last the row's length in bytes, int64; packed rows only."""

    @property
    def row_bytes(self) -> int:
        """Length of a packed row in bytes; 0 for CSV."""
        return int(self.places[-1]) if self.places is not None else 0


def read_header(head: bytes) -> Header | None:
    """Parse the header in a file's first bytes. Returns None while the first line is incomplete."""
    newline = head.find(b"\n") + 1
    if not newline:
        return None
    line = head[:newline]
    if line.startswith(PACKED_MAGIC):
        columns = _PACKED_COLUMN.findall(line[len(PACKED_MAGIC) :].decode())
        kinds = np.array([_KINDS[kind] for _, kind in columns], np.int64)
        places = np.concatenate([[0], np.cumsum(_WIDTHS[kinds])]).astype(np.int64)
        return Header(line, tuple(name for name, _ in columns), kinds, places)
    text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r\n")
    return Header(line, tuple(name.strip().strip('"') for name in text.split(",")))


def packed_header(columns: Sequence[tuple[str, str]]) -> bytes:
    """Make the first line of packed rows. `columns` are names with kinds `i`, `f`, `t` or `x`. Its length is a multiple of 8."""
    text = PACKED_MAGIC + ",".join(f"{_SEPARATORS.sub('_', name)}:{kind}" for name, kind in columns).encode()
    return text + b" " * (-(len(text) + 1) % 8) + b"\n"
