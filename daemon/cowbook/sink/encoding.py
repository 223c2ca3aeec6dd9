"""Encodes a table as a Parquet file, in one call, with settings that depend on stream and schema alone.

The encodings were measured on recorded streams and chosen for speed first, size second (ADR 4). Numbers are delta-encoded, except
in `depth`. There rows repeat their message's times and id, which plain encoding with general compression handles at a third of
the cost; and prices recur so often that a dictionary halves both size and time. In `frame` each price is there once, in order.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.plain.streams import BY_NAME, Encoding, Kind

_FAST_LEVELS = {"zstd": -3}
_DELTA_TYPES = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_decimal64)


def encode(stream_name: str, table: pa.Table, compression: str) -> pa.Buffer:
    """Return the file's bytes. `compression` is "zstd" (at a fast level), "lz4", "snappy" or "none"."""
    stream = BY_NAME[stream_name]
    columns = {column.name: column for column in stream.columns}
    dictionary = [name for name, of in columns.items() if of.encoding is Encoding.DICTIONARY and of.kind is not Kind.LEVELS]
    for of in stream.columns:
        if of.kind is Kind.LEVELS:  # side, price and size
            dictionary += ("side", "price") if of.encoding is Encoding.DICTIONARY else ("side",)
    encodings = {}
    for field in table.schema:
        column = columns.get(field.name)
        if column is not None and column.encoding is Encoding.PLAIN:
            encodings[field.name] = "PLAIN"
        elif field.name not in dictionary and any(test(field.type) for test in _DELTA_TYPES):
            encodings[field.name] = "DELTA_BINARY_PACKED"
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression=compression,
        compression_level=_FAST_LEVELS.get(compression),
        use_dictionary=dictionary,
        column_encoding=encodings,
        write_statistics=[name for name, column in columns.items() if column.statistics],
        store_schema=False,
        store_decimal_as_integer=True,
        write_page_checksum=True,  # a changed byte that still can be decoded would be a wrong price
    ) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
        if table.schema.metadata:  # it is not written with the schema, which is not stored
            writer.add_key_value_metadata(table.schema.metadata)
    return sink.getvalue()
