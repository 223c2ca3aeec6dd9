"""Reads columns of parts as numpy arrays: whole numbers, times in ns, fixed-point prices and sizes, flags, choices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.errors import QueryError
from cowbook.plain.messages import NONE
from cowbook.plain.parts import ROWS_OF_CUT, parse_rows
from cowbook.plain.streams import BY_NAME, Kind
from cowbook.query.parts import MovedError, PublishedPart

Array = npt.NDArray[Any]

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError)
"""What pyarrow raises for a damaged file: `ValueError` for names that are no text, too."""

_TEXTS = {"depth": ("side", "kind"), "frame": ("side",), "trades": ("side",)}
"""Columns of few texts, which are read as places in a list of them."""
_SIDES = ("bid", "ask")


def damaged(what: object, why: str) -> QueryError:
    """Returns the error for a part that cannot be read."""
    return QueryError(f"{what} is damaged: {why.removesuffix('.')}; restore it, or make the output anew")


def read_rows_of_cut(part: PublishedPart) -> dict[str, int]:
    """How many rows each stream has in a part's cut; empty where an earlier release has not said it.

    Raises QueryError if the part is damaged, MovedError if it is gone.
    """
    if part.rows_of_cut is not None:
        return dict(part.rows_of_cut)
    try:
        with pa.OSFile(str(part.path)) as source:
            metadata = pq.read_metadata(source).metadata or {}
        return parse_rows(metadata.get(ROWS_OF_CUT.encode(), b"").decode())
    except FileNotFoundError as error:
        raise MovedError(f"{part.path} is gone") from error
    except UNREADABLE as error:
        raise unreadable(part.path, error) from error


def unreadable(path: object, error: Exception) -> QueryError:
    """Returns the error for a part that pyarrow cannot read (`UNREADABLE`). One that this user may not read is none damaged."""
    if isinstance(error, PermissionError):
        return QueryError(f"{path} cannot be read: Permission denied for user {os.geteuid()}")
    if isinstance(error, KeyError):  # a column
        return QueryError(f"{path} is no part of cowbook's, or one of an earlier release: {error.args[0]}")
    return damaged(path, str(error))


class PartReader:
    """One opened part. Columns are read when they are asked for, and only those."""

    def __init__(self, stream: str, part: PublishedPart, footer: pq.FileMetaData | None = None) -> None:
        """Opens it. `footer` is that of its file, if it was read before.

        Raises QueryError if it is damaged or not of this stream, MovedError if it is gone.
        """
        self.part = part
        self._stream = BY_NAME[stream]
        self._read: dict[str, Array] = {}
        try:
            source = pa.OSFile(str(part.path))
            metadata = pq.read_metadata(source) if footer is None else footer
            texts = [name for name in _TEXTS.get(stream, ()) if name in metadata.schema.names]
            self._file = pq.ParquetFile(source, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)
            schema = self._file.schema_arrow
            self.schema: pa.Schema = metadata.schema.to_arrow_schema()
            """Its columns as they are without `read_dictionary`."""
            self._types = dict(zip(schema.names, schema.types, strict=True))
        except FileNotFoundError as error:
            raise MovedError(f"{part.path} is gone") from error
        except UNREADABLE as error:
            raise unreadable(self.part.path, error) from error
        self.footer = metadata
        self._groups = [*range(metadata.num_row_groups)] if part.group is None else [part.group]
        if self._groups and self._groups[-1] >= metadata.num_row_groups:
            raise self._damaged(f"it has no row group {self._groups[-1]}")
        self.row_count: int = sum(metadata.row_group(group).num_rows for group in self._groups)
        missing = [name for name in self._names() if name not in self._types]
        if missing:
            have = ", ".join(schema.names[:12])
            raise QueryError(
                f"{part.path} is no part of cowbook's stream {stream}, or one of an earlier release: "
                f"it has no column {', '.join(missing)}; it has {have}"
            )

    def _names(self) -> list[str]:
        names: list[str] = []
        for column in self._stream.columns:
            if column.kind is Kind.LEVELS:
                names += ["side", "price", "size"]
            elif column.kind not in (Kind.GRID, Kind.FEATURES, Kind.RECORD):
                names.append(column.name)
        return names

    def _damaged(self, why: str) -> QueryError:
        return damaged(self.part.path, why)

    def decimals(self, name: str) -> int | None:
        """Decimals of a column of prices or sizes (`price`, `size`, or one of `book`); None if they are doubles.

        Raises QueryError if the file does not say them.
        """
        of = self._types[name]
        if pa.types.is_decimal(of) and of.precision <= 18:
            return int(of.scale)
        if pa.types.is_float64(of):
            return None
        what = "price" if name == "price" or "_px_" in name else "size"
        said = (self._file.metadata.metadata or {}).get(f"{what}_decimals".encode(), b"")
        if not pa.types.is_int64(of) or not said.isdigit():
            raise QueryError(f"{self.part.path}: {name} is {of}, and the file does not say what its numbers mean")
        return int(said)

    @property
    def levels(self) -> int:
        """Number of levels a side in a row of `book`; 0 for other streams."""
        return sum(name.startswith("bid_px_") for name in self._types)

    def extremes(self, name: str) -> tuple[int, int] | None:
        """The lowest and the highest value of a column, from the file's statistics; None if there are none."""
        place = self._file.schema_arrow.names.index(name)
        groups = [self._file.metadata.row_group(number).column(place).statistics for number in self._groups]
        if not groups or any(statistics is None or not statistics.has_min_max for statistics in groups):
            return None
        return min(statistics.min_raw for statistics in groups), max(statistics.max_raw for statistics in groups)

    def read(self, *names: str, rows: int | None = None) -> list[Array]:
        """Returns columns, or their first `rows` rows (at least 1), as arrays of one length. What was read is kept.

        Flags are bool, `side` and `kind` int8, prices and sizes that are doubles float64, all others int64. `side` is 0 for
        bids, 1 for asks, of `trades` 0 for buyers, 1 for sellers; `kind` of `depth` is the place in
        `plain.vocabulary.DEPTH_KINDS`; nulls are `plain.messages.NONE`.
        """
        count = self.row_count if rows is None else min(rows, self.row_count)
        new = [name for name in names if name not in self._read or len(self._read[name]) < count]
        try:
            if new:
                for name, column in zip(new, self._load(new, count), strict=True):
                    self._read[name] = self._values(name, column)
        except FileNotFoundError as error:
            raise MovedError(f"{self.part.path} is gone") from error
        except UNREADABLE as error:
            raise unreadable(self.part.path, error) from error
        return [self._read[name][:count] for name in names]

    def _load(self, names: list[str], count: int) -> Iterator[pa.Array]:
        """The first rows of columns. What is behind them is not decoded."""
        if count == self.row_count:
            table = self._file.read_row_groups(self._groups, names)
        else:
            taken, left = [], count
            for batch in self._file.iter_batches(count, self._groups, names):
                taken.append(batch)
                left -= batch.num_rows
                if left <= 0:
                    break
            table = pa.Table.from_batches(taken)
        if table.num_rows < count:
            raise self._damaged(f"it has {table.num_rows} rows, and says that it has {self.row_count}")
        for name in names:
            column = table.column(name)
            yield column.combine_chunks() if column.num_chunks else pa.array([], column.type)

    def texts(self, row: int, *names: str) -> list[str]:
        """Returns the values of columns of text in one row."""
        try:
            table = self._file.read_row_groups(self._groups, list(names)).slice(row, 1)
        except UNREADABLE as error:
            raise unreadable(self.part.path, error) from error
        return [str(table.column(name)[0].as_py()) for name in names]

    def _values(self, name: str, column: pa.Array) -> Array:
        """A column as an array. Without `pyarrow.compute` and `to_numpy`: Arrow would import it, or all of pandas.

        Either takes as long as many an answer.
        """
        of = column.type
        if pa.types.is_dictionary(of):
            return self._choices(name, column)
        is_bits = pa.types.is_boolean(of)
        is_whole = pa.types.is_decimal(of) or pa.types.is_integer(of) or (pa.types.is_timestamp(of) and of.unit == "ns")
        if not is_whole and not is_bits and not pa.types.is_float64(of):
            raise QueryError(f"{self.part.path}: column {name} is {of}, which cowbook does not write")
        validity, content = column.buffers()
        if not len(column) or content is None:
            return np.empty(0, np.bool_ if is_bits else np.int64)
        here = slice(column.offset, column.offset + len(column))
        if is_bits:
            bits = np.frombuffer(content, np.uint8)
            if column.null_count:
                bits = bits & np.frombuffer(validity, np.uint8)[: len(bits)]  # null is not true
            return np.unpackbits(bits, bitorder="little")[here].view(np.bool_)
        if pa.types.is_decimal(of):  # numbers times 10^scale: all are below 10^18, so the low word has all of each
            values: Array = np.frombuffer(content, np.int64)[:: of.byte_width // 8][here]
        elif is_whole:
            values = np.frombuffer(content, f"i{of.bit_width // 8}")[here].astype(np.int64)
        else:
            values = np.frombuffer(content, np.float64)[here]
        if not column.null_count:
            return values
        present = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[here]
        return np.where(present, values, values.dtype.type(NONE))

    def _choices(self, name: str, column: pa.DictionaryArray) -> Array:
        names: Sequence[str] = next((of.names for of in self._stream.columns if of.name == name), _SIDES)
        unknown = [text for text in column.dictionary.to_pylist() if text not in names]
        if unknown or column.null_count:
            raise self._damaged(f"{name} is {unknown[0] if unknown else None!r}, and none of {', '.join(names)}")
        places = np.array([names.index(text) for text in column.dictionary.to_pylist()], np.int8)
        indices = self._values(name, column.indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(places):
            raise self._damaged(f"{name} refers to texts that are not there")
        chosen: Array = places[indices]
        return chosen
