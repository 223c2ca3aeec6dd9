"""Reads columns of parts as numpy arrays: whole numbers, times in ns, fixed-point prices and sizes, flags, choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.errors import QueryError
from cowbook.plain.messages import NONE
from cowbook.plain.streams import BY_NAME, Kind
from cowbook.query.parts import MovedError, PublishedPart

Array = npt.NDArray[Any]

_TEXTS = {"depth": ("side", "kind"), "trades": ("side",), "frame": ("side",)}
"""Columns of few texts, which are read as places in a list of them."""
_SIDES = ("bid", "ask")


class PartReader:
    """One opened part. Columns are read when they are asked for, and only those."""

    def __init__(self, stream: str, part: PublishedPart) -> None:
        """Opens it. Raises QueryError if it is damaged or not of this stream, MovedError if it is gone."""
        self.part = part
        self._stream = BY_NAME[stream]
        try:
            metadata = pq.read_metadata(part.path)
            texts = [name for name in _TEXTS.get(stream, ()) if name in metadata.schema.names]
            self._file = pq.ParquetFile(part.path, metadata=metadata, read_dictionary=texts)
        except FileNotFoundError as error:
            raise MovedError(f"{part.path} is gone") from error
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(str(error)) from error
        self.row_count: int = self._file.metadata.num_rows
        schema = self._file.schema_arrow
        self._types = dict(zip(schema.names, schema.types, strict=True))
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
            elif column.kind not in (Kind.GRID, Kind.RECORD):
                names.append(column.name)
        return names

    def _damaged(self, why: str) -> QueryError:
        return QueryError(f"{self.part.path} is damaged: {why}; restore it, or make the output anew")

    def decimals(self, name: str) -> int:
        """Decimals of a column of prices or sizes. Raises QueryError if it has none."""
        of = self._types[name]
        if not pa.types.is_decimal(of) or of.precision > 18:
            raise QueryError(f"{self.part.path}: {name} is {of}, and no exact decimal of 18 digits")
        return int(of.scale)

    def latest(self, name: str) -> int | None:
        """The highest value of a column, from the file's statistics; None if there are none."""
        place = self._file.schema_arrow.names.index(name)
        found = None
        for group in range(self._file.metadata.num_row_groups):
            statistics = self._file.metadata.row_group(group).column(place).statistics
            if statistics is None or not statistics.has_min_max:
                return None
            found = statistics.max_raw if found is None else max(found, statistics.max_raw)
        return found

    def read(self, *names: str) -> list[Array]:
        """Returns columns as arrays of one length: bool for flags, int8 for `side` and `kind`, int64 otherwise.

        `side` is 0 for bids, 1 for asks, of `trades` 0 where the aggressor buys, 1 where it sells; `kind` of `depth` is the
        place in `plain.vocabulary.DEPTH_KINDS`; nulls are `plain.messages.NONE`.
        """
        try:
            table = self._file.read(list(names))
            return [self._values(name, table.column(name).combine_chunks()) for name in names]
        except FileNotFoundError as error:
            raise MovedError(f"{self.part.path} is gone") from error
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(str(error)) from error

    def texts(self, row: int, *names: str) -> list[str]:
        """Returns the values of columns of text in one row."""
        try:
            table = self._file.read(list(names)).slice(row, 1)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(str(error)) from error
        return [str(table.column(name)[0].as_py()) for name in names]

    def _values(self, name: str, column: pa.Array) -> Array:
        of = column.type
        if isinstance(column, pa.ChunkedArray):  # pyarrow leaves it so where there are no rows
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], of)
        if pa.types.is_dictionary(of):
            return self._choices(name, column)
        if pa.types.is_boolean(of):
            return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)
        if pa.types.is_decimal(of):
            values = _unscaled(column)
        elif pa.types.is_timestamp(of) and of.unit == "ns":
            values = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column)]
        elif pa.types.is_integer(of):
            return np.asarray(column.cast(pa.int64()).fill_null(NONE).to_numpy(zero_copy_only=False), np.int64)
        else:
            raise QueryError(f"{self.part.path}: column {name} is {of}, which cowbook does not write")
        if not column.null_count:
            return values
        return np.where(column.is_null().to_numpy(zero_copy_only=False), NONE, values)

    def _choices(self, name: str, column: pa.DictionaryArray) -> Array:
        names: Sequence[str] = next((of.names for of in self._stream.columns if of.name == name), _SIDES)
        unknown = [text for text in column.dictionary.to_pylist() if text not in names]
        if unknown or column.null_count:
            raise self._damaged(f"{name} is {unknown[0] if unknown else None!r}, and none of {', '.join(names)}")
        places = np.array([names.index(text) for text in column.dictionary.to_pylist()], np.int8)
        chosen: Array = places[column.indices.to_numpy(zero_copy_only=False)]
        return chosen


def _unscaled(column: pa.Array) -> Array:
    """A decimal column's numbers times 10^scale. All are below 10^18 in size, so the low word has all of each."""
    words = column.type.byte_width // 8
    values = np.frombuffer(column.buffers()[1], np.int64)[:: words or 1]
    return values[column.offset : column.offset + len(column)]
