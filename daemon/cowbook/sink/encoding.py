"""Encodes a table of a rare stream as a Parquet file, with settings of stream and schema alone (ADR 4)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.plain.streams import Kind, Stream

_FAST_LEVELS = {"zstd": -3}


def encode(stream: Stream, table: pa.Table, compression: str) -> pa.Buffer:
    """Return the file's bytes. `compression` is "zstd" (at a fast level), "lz4", "snappy" or "none"."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression=compression,
        compression_level=_FAST_LEVELS.get(compression),
        use_dictionary=[column.name for column in stream.columns if column.kind is Kind.CHOICE],
        write_statistics=[column.name for column in stream.columns if column.statistics],
        store_schema=False,
        store_decimal_as_integer=True,
        write_page_checksum=True,  # a changed byte that still can be decoded would be a wrong price
    ) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
        if table.schema.metadata:  # it is not written with the schema, which is not stored
            writer.add_key_value_metadata(table.schema.metadata)
    return sink.getvalue()
