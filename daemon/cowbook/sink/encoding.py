"""A table as the bytes of a Parquet file: always in one call, with settings that are a function of the schema alone.

Encodings are chosen by measurement on recorded depth streams: numbers as deltas, strings from a dictionary, statistics where a
reader prunes by them.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

_LEVELS = {"zstd": 1}
_DELTA_TYPES = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_decimal64)
_WITH_STATISTICS = ("event_index", "ts_event", "ts", "update_id", "trade_id", "price", "bid_price", "ask_price")


def encode(table: pa.Table, compression: str) -> pa.Buffer:
    """The file; `compression` is zstd (level 1), lz4, snappy or none."""
    names = {name: table.schema.field(name).type for name in table.column_names}
    deltas = {name: "DELTA_BINARY_PACKED" for name, kind in names.items() if any(test(kind) for test in _DELTA_TYPES)}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(table.num_rows, 1),
        compression=compression,
        compression_level=_LEVELS.get(compression),
        use_dictionary=[name for name, kind in names.items() if pa.types.is_dictionary(kind)],
        column_encoding=deltas,
        write_statistics=[name for name in names if name in _WITH_STATISTICS],
        store_schema=False,
        store_decimal_as_integer=True,
    )
    return sink.getvalue()
