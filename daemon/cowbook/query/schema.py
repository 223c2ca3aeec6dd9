"""The columns that a stream's parts would have, where there are none to read them from."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from cowbook.plain.features import (
    COUNT_NAMES,
    FEATURE_BPS,
    FEATURE_LEVELS,
    QUOTE_NAMES,
    RATIO_NAMES,
    VOLUME_NAMES,
    flow_names,
    within_names,
)
from cowbook.plain.streams import Column, Kind, Stream

USUAL_LEVELS = 20
"""`[output] book_levels`, unless it is set otherwise."""

_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.SMALL: pa.int16(),
    Kind.TIME: pa.timestamp("ns", "UTC"),
    Kind.FLAG: pa.bool_(),
    Kind.CHOICE: pa.string(),
    Kind.ID: pa.int64(),
    Kind.QUOTE: pa.string(),
    Kind.LAST: pa.bool_(),
}
_RECORD = {"file": pa.string(), "offset": pa.int64(), "length": pa.int64(), "reason": pa.string(), "content": pa.binary()}
_USUAL_NUMBERS = pa.decimal128(18, 8)


def expected_schema(stream: Stream, other: pa.Schema | None) -> pa.Schema:
    """Returns the schema of a stream's parts.

    `other` is that of a part of another stream of the symbol, which says how prices, sizes and ids are written. Without it they
    are as they are by default, and so is the number of levels of `book`.
    """
    return pa.schema(list(_fields(stream, other)), None if other is None else other.metadata)


def _fields(stream: Stream, other: pa.Schema | None) -> Iterator[pa.Field]:
    price, size = (
        _number_type(other, names) for names in (("price", "bid_price", "bid_px_00"), ("size", "bid_size", "bid_sz_00"))
    )
    for column in stream.columns:
        match column.kind:
            case Kind.LEVELS:
                yield pa.field("side", pa.string(), nullable=False)
                yield pa.field("price", price, nullable=False)
                yield pa.field("size", size, nullable=False)
            case Kind.GRID:
                for level in range(USUAL_LEVELS):
                    for name, of in (("bid_px", price), ("bid_sz", size), ("ask_px", price), ("ask_sz", size)):
                        yield pa.field(f"{name}_{level:02d}", of)
            case Kind.FEATURES:
                yield from _feature_fields(price, size)
            case Kind.RECORD:
                yield from (pa.field(name, of, nullable=False) for name, of in _RECORD.items())
            case Kind.SIZE_SUM:
                exact = pa.decimal128(38, _decimals_of(size, other))
                yield pa.field(column.name, pa.float64() if pa.types.is_float64(size) else exact, nullable=False)
            case Kind.PRICE | Kind.SIZE:
                yield pa.field(column.name, price if column.kind is Kind.PRICE else size, nullable=column.optional)
            case _:
                yield pa.field(column.name, _TYPES[column.kind], nullable=_may_be_null(column, other))


def _feature_fields(price: pa.DataType, size: pa.DataType) -> Iterator[pa.Field]:
    yield from (pa.field(name, price if name.endswith("price") else size) for name in QUOTE_NAMES)
    for name in (*RATIO_NAMES, *flow_names(FEATURE_LEVELS), *within_names(FEATURE_BPS)):
        yield pa.field(name, pa.float64())
    yield from (pa.field(name, pa.float64(), nullable=False) for name in VOLUME_NAMES)
    yield from (pa.field(name, pa.int64(), nullable=False) for name in COUNT_NAMES)


def _number_type(other: pa.Schema | None, names: tuple[str, ...]) -> pa.DataType:
    return next((other.field(name).type for name in names if other is not None and name in other.names), _USUAL_NUMBERS)


def _decimals_of(size: pa.DataType, other: pa.Schema | None) -> int:
    """Decimals of sizes that are no doubles."""
    if pa.types.is_decimal(size):
        return int(size.scale)
    return int(((other.metadata if other is not None else None) or {}).get(b"size_decimals", _USUAL_NUMBERS.scale))


def _may_be_null(column: Column, other: pa.Schema | None) -> bool:
    if column.kind is not Kind.ID:
        return column.optional
    return next(
        (other.field(name).nullable for name in ("update_id", "trade_id") if other is not None and name in other.names), True
    )
