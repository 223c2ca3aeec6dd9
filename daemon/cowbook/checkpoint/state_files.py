"""Converts a PipelineState to the contents of a checkpoint's files, and back. docs/checkpoint-format.md describes the files.

All of it can be read without cowbook: Parquet and Arrow files with named columns; scalars as text in the Parquet file's metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.checkpoint.manifest import FORMAT_VERSION, DamagedError
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals, PipelineState
from cowbook.plain.book_state import DIFF_ENTRY, STATE, TICKER_ENTRY, WAITING
from cowbook.plain.engine_state import EngineState
from cowbook.plain.features import NUMBER_NAMES
from cowbook.plain.frame import FRAME_ROW, Frame
from cowbook.plain.lent_memory import lend
from cowbook.plain.merge_state import LANE, MERGED, RECENT_MERGED, TOTALS, MergeState, SourceFigures, SourcePlace
from cowbook.plain.messages import DeadLetter
from cowbook.plain.position import FileIdentity, Position, displayable
from cowbook.plain.rows import DAY_ROW, OpenRows
from cowbook.plain.streams import ROW_STREAMS, Kind, Stream

BOOK_FILE = "book.parquet"
_FRAME_FILE = "open-frame.arrow"
_LANES_FILE = "sources.arrow"
_MERGED_FILE = "joined-messages.arrow"
_CONSUMED_FILE = "consumed-files.arrow"
_MOST_FILES_IN_JSON = 1000
"""Of a position in book.parquet's metadata. If more are consumed, they are in a file of their own."""

_NOT_A_STATE = (
    pa.ArrowException,
    OSError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    RecursionError,
)
"""The exceptions that decoding may raise if the files hold something else."""

_Ints = npt.NDArray[np.int64]
_LETTER_SCHEMA = pa.schema(
    [
        ("event_index", pa.int64()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.binary()),
        ("detail", pa.string()),
    ]
)


def encode_state(state: PipelineState, compression: str) -> dict[str, memoryview]:
    """The content of each file, by name. Files without rows are left out."""
    book = state.order_book_state
    rows = book.rows
    tables = {
        **{_file_of(stream): _stream_table(stream, rows, state.dead_letters) for stream in ROW_STREAMS},
        "kept-diffs.arrow": _message_table(book.diffs, book.diff_prices, book.diff_sizes),
        "waiting-tickers.arrow": _struct_table(book.tickers),
        "apart-diffs.arrow": _message_table(book.apart, book.apart_prices, book.apart_sizes),
        "waiting-messages.arrow": _message_table(book.slots, book.slot_prices, book.slot_sizes),
        "recent-trades.arrow": pa.table({"key": pa.array(book.trades)}),
        "recent-messages.arrow": pa.table({"key": pa.array(book.recent)}),
        "days.arrow": _struct_table(book.days),
    }
    if len(state.position.consumed) > _MOST_FILES_IN_JSON:
        tables[_CONSUMED_FILE] = _identity_table(state.position.consumed)
    if state.merge is not None:
        tables |= {_LANES_FILE: _struct_table(state.merge.lanes), _MERGED_FILE: _struct_table(state.merge.merged)}
    if state.frame is not None:
        tables[_FRAME_FILE] = _message_table(state.frame.row, state.frame.prices, state.frame.sizes)
    files = {BOOK_FILE: _encode_book(state, compression)}
    for name, table in tables.items():
        if table.num_rows:
            files[name] = _arrow_file(table)
    return files


def _arrow_file(table: pa.Table) -> memoryview:
    """The content of a file in Arrow's format. Its size is measured first: a buffer that grows takes three times the memory."""
    measured = pa.MockOutputStream()
    _write_arrow(measured, table)
    content = lend(measured.size())
    _write_arrow(pa.FixedSizeBufferWriter(pa.py_buffer(content)), table)
    return content.data


def _write_arrow(sink: pa.NativeFile, table: pa.Table) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _file_of(stream: Stream) -> str:
    """Name of the file with a stream's open rows."""
    return f"open-{stream.name}.arrow"


def _stream_table(stream: Stream, rows: OpenRows, letters: tuple[DeadLetter, ...]) -> pa.Table:
    """A stream's open rows, with what stands beside them."""
    own = rows[stream.name]
    if stream.has(Kind.LEVELS):
        return _message_table(own, rows[f"{stream.name}_prices"], rows[f"{stream.name}_sizes"])
    if stream.has(Kind.GRID):
        return _struct_table(own).append_column("levels", _level_lists(rows[f"{stream.name}_levels"]))
    if stream.has(Kind.FEATURES):
        return _struct_table(own).append_column("numbers", _level_lists(rows[f"{stream.name}_numbers"]))
    if stream.has(Kind.RECORD):
        return _letter_table(own, letters)
    return _struct_table(own)


def decode_state(files: Mapping[str, bytes]) -> PipelineState:
    """Decode what `encode_state` made. Raises DamagedError for anything else."""
    try:
        return _decode_state(files)
    except _NOT_A_STATE as error:
        raise DamagedError(f"the state cannot be decoded: {error!r}") from error


def _encode_book(state: PipelineState, compression: str) -> memoryview:
    book = state.order_book_state
    prices = np.concatenate([book.bid_prices, book.ask_prices])
    sizes = np.concatenate([book.bid_sizes, book.ask_sizes])
    is_ask = np.zeros(len(prices), np.int8)
    is_ask[len(book.bid_prices) :] = 1
    decimals = state.fingerprint
    table = pa.table(
        {
            "side": pa.DictionaryArray.from_arrays(pa.array(is_ask), pa.array(["bid", "ask"], pa.string())),
            "price": _encode_decimals(prices, int(decimals["price_decimals"])),
            "size": _encode_decimals(sizes, int(decimals["size_decimals"])),
        }
    )
    metadata = _encode_metadata(state) | {"row_count": str(len(prices)), "columns_sha256": _digest(is_ask, prices, sizes)}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression=compression,
        use_dictionary=["side"],
        column_encoding={"price": "DELTA_BINARY_PACKED", "size": "PLAIN"},
        write_page_checksum=True,
        store_schema=False,
        store_decimal_as_integer=True,
    ) as writer:
        writer.write_table(table, row_group_size=max(len(prices), 1))
        writer.add_key_value_metadata({f"cowbook.{key}": value for key, value in metadata.items()})
    return memoryview(sink.getvalue())


def _encode_metadata(state: PipelineState) -> dict[str, str]:
    """The book file's metadata: numbers, names and times as text, everything else as JSON."""
    rows = state.order_book_state.rows
    return {
        "format_version": str(FORMAT_VERSION),
        "id": state.id,
        "symbol": state.symbol,
        "last_update_id": json.dumps(state.last_update_id),
        "current_file": displayable(state.current_file),
        "file_offset": str(state.file_offset),
        "events_processed": str(state.events_processed),
        "gap_statistics": json.dumps(state.gap_statistics),
        "drift_metrics": json.dumps(state.drift_metrics),
        "processing_rate": repr(state.processing_rate),
        "checkpoint_timestamp": iso_time(state.checkpoint_timestamp),
        "checkpoint_timestamp_ns": str(state.checkpoint_timestamp),
        "snapshot_duration_ms": repr(state.snapshot_duration_ms),
        "order_book_state": json.dumps(state.order_book_state.values),
        "open_rows": json.dumps({name: getattr(rows, name) for name in ("first", "last", "newest", "number")}),
        "book_levels": str(rows["book_levels"].shape[1] // 4),
        "position": _encode_position(state.position),
        "fingerprint": json.dumps(state.fingerprint),
        "decoder": json.dumps(state.decoder._replace(connection=dict(state.decoder.connection))._asdict()),
        "drift_totals": json.dumps(asdict(state.drift)),
        "provisional": json.dumps(state.provisional),
        "end_of_input": json.dumps(state.end_of_input),
        **(_encode_merge(state.merge) if state.merge is not None else {}),
    }


def _encode_merge(merge: MergeState) -> dict[str, str]:
    places = [place.to_json() for place in merge.places]
    at_end = {"at_end": [figures.to_json() for figures in merge.at_end]} if merge.at_end else {}
    return {"sources": json.dumps({"places": places, "totals": dict(merge.totals), **at_end})}


def _decode_merge(text: str | None, tables: Mapping[str, pa.Table]) -> MergeState | None:
    if text is None:
        return None
    value = json.loads(text)
    places = tuple(SourcePlace.from_json(place) for place in value["places"])
    lanes, merged = _decode_structs(tables.get(_LANES_FILE), LANE), _decode_structs(tables.get(_MERGED_FILE), MERGED)
    if len(lanes) != len(places) or len(merged) > RECENT_MERGED or set(value["totals"]) != set(TOTALS):
        raise DamagedError(f"{BOOK_FILE}: the state of the sources is of others")
    at_end = tuple(SourceFigures(**figures) for figures in value.get("at_end", ()))
    return MergeState(places, lanes, merged, value["totals"], at_end)


def _encode_position(position: Position) -> str:
    is_long = len(position.consumed) > _MOST_FILES_IN_JSON
    return json.dumps((replace(position, consumed=()) if is_long else position).to_json())


def _identity_table(identities: Sequence[FileIdentity]) -> pa.Table:
    """Files, one a row. There may be a hundred thousand, for which JSON takes ten times as much memory."""
    names = [field.name for field in fields(FileIdentity)]
    columns: dict[str, Any] = {name: [getattr(identity, name) for identity in identities] for name in names}
    return pa.table(columns | {"path": pa.array(map(os.fsencode, columns["path"]), pa.binary())})


def _decode_position(text: str, consumed: pa.Table | None) -> Position:
    position = Position.from_json(json.loads(text))
    if consumed is None:
        return position
    columns = consumed.to_pydict()
    columns["path"] = [os.fsdecode(path) for path in columns["path"]]
    rows = zip(*columns.values(), strict=True)
    return replace(position, consumed=tuple(FileIdentity(**dict(zip(columns, row, strict=True))) for row in rows))


def iso_time(nanoseconds: int) -> str:
    """A time in ns since 1970 as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC).isoformat()


def _decode_state(files: Mapping[str, bytes]) -> PipelineState:
    file = pq.ParquetFile(pa.BufferReader(files[BOOK_FILE]), page_checksum_verification=True, read_dictionary=["side"])
    metadata = {key.decode().removeprefix("cowbook."): value.decode() for key, value in file.metadata.metadata.items()}
    table = file.read()
    prices, sizes = _decode_fixed_point(table["price"]), _decode_fixed_point(table["size"])
    is_ask = _decode_sides(table["side"])
    if len(prices) != int(metadata["row_count"]) or _digest(is_ask, prices, sizes) != metadata["columns_sha256"]:
        raise DamagedError(f"{BOOK_FILE}: the levels do not match their digest")
    middle = len(prices) - int(is_ask.sum())
    tables = {name: pa.ipc.open_file(pa.BufferReader(content)).read_all() for name, content in files.items() if name != BOOK_FILE}
    values = json.loads(metadata["order_book_state"])
    if not set(values) <= set(STATE.names or ()):
        raise DamagedError(f"{BOOK_FILE}: unknown fields in order_book_state")
    diffs, diff_prices, diff_sizes = _decode_messages(tables.get("kept-diffs.arrow"), DIFF_ENTRY)
    apart, apart_prices, apart_sizes = _decode_messages(tables.get("apart-diffs.arrow"), DIFF_ENTRY)
    slots, slot_prices, slot_sizes = _decode_messages(tables.get("waiting-messages.arrow"), WAITING)
    checkpoint = EngineState(
        values=values,
        bid_prices=prices[:middle],
        bid_sizes=sizes[:middle],
        ask_prices=prices[middle:],
        ask_sizes=sizes[middle:],
        rows=_decode_open_rows(tables, json.loads(metadata["open_rows"]), int(metadata["book_levels"])),
        diffs=diffs,
        diff_prices=diff_prices,
        diff_sizes=diff_sizes,
        tickers=_decode_structs(tables.get("waiting-tickers.arrow"), TICKER_ENTRY),
        apart=apart,
        apart_prices=apart_prices,
        apart_sizes=apart_sizes,
        slots=slots,
        slot_prices=slot_prices,
        slot_sizes=slot_sizes,
        trades=_decode_keys(tables.get("recent-trades.arrow")),
        recent=_decode_keys(tables.get("recent-messages.arrow")),
        days=_decode_structs(tables.get("days.arrow"), DAY_ROW),
    )
    decoder = json.loads(metadata["decoder"])
    misfit = decoder["misfit"]
    return PipelineState(
        id=metadata["id"],
        symbol=metadata["symbol"],
        order_book_state=checkpoint,
        position=_decode_position(metadata["position"], tables.get(_CONSUMED_FILE)),
        fingerprint=json.loads(metadata["fingerprint"]),
        dead_letters=_decode_letters(tables),
        frame=_decode_frame(tables.get(_FRAME_FILE)),
        decoder=DecoderState(
            tuple(decoder["other_symbols"]),
            misfit and (misfit[0], misfit[1]),
            decoder["input_bytes"],
            decoder.get("connection", {}),
            decoder.get("is_named", True),
        ),
        drift=DriftTotals(**json.loads(metadata["drift_totals"])),
        merge=_decode_merge(metadata.get("sources"), tables),
        provisional=tuple((first, number) for first, number in json.loads(metadata["provisional"])),
        end_of_input=json.loads(metadata["end_of_input"]),
        processing_rate=float(metadata["processing_rate"]),
        checkpoint_timestamp=int(metadata["checkpoint_timestamp_ns"]),
        snapshot_duration_ms=float(metadata["snapshot_duration_ms"]),
    )


def _decode_open_rows(tables: Mapping[str, pa.Table], scalars: dict[str, int], book_levels: int) -> OpenRows:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for stream in ROW_STREAMS:
        name, table = stream.name, tables.get(_file_of(stream))
        if stream.has(Kind.LEVELS):
            arrays[name], arrays[f"{name}_prices"], arrays[f"{name}_sizes"] = _decode_messages(table, stream.row)
            continue
        arrays[name] = _decode_structs(table, stream.row)
        if stream.has(Kind.GRID):
            arrays[f"{name}_levels"] = _decode_lists(table, "levels", 4 * book_levels)
        if stream.has(Kind.FEATURES):
            arrays[f"{name}_numbers"] = _decode_lists(table, "numbers", len(NUMBER_NAMES))
    return OpenRows(scalars["first"], scalars["last"], scalars["newest"], arrays, scalars["number"])


def _decode_lists(table: pa.Table | None, name: str, width: int) -> _Ints:
    """The numbers of rows with `width` each, shape (rows, width)."""
    lists = table[name].combine_chunks().flatten().to_numpy() if table is not None else np.empty(0, np.int64)
    return lists.reshape(-1, width)


def _struct_table(array: npt.NDArray[np.void]) -> pa.Table:
    """A structured array as a table of int64 columns."""
    return pa.table({name: pa.array(np.ascontiguousarray(array[name])) for name in array.dtype.names or ()})


def _decode_keys(table: pa.Table | None) -> _Ints:
    return np.empty(0, np.int64) if table is None else table["key"].to_numpy()


def _decode_structs(table: pa.Table | None, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    array = np.empty(0 if table is None else table.num_rows, dtype)
    if table is not None:
        for name in dtype.names or ():
            if name != "level_start":  # a count that an older release did not have is 0
                array[name] = table[name].to_numpy() if name in table.column_names or dtype not in (DAY_ROW, LANE) else 0
    return array


def _message_table(messages: npt.NDArray[np.void], prices: _Ints, sizes: _Ints) -> pa.Table:
    """One row per message, with lists of its levels' prices and sizes: bids, then asks."""
    offsets = np.zeros(len(messages) + 1, np.int64)
    np.cumsum(messages["bid_count"] + messages["ask_count"], out=offsets[1:])
    assert (messages["level_start"] == offsets[:-1]).all()
    assert offsets[-1] == len(prices) == len(sizes)
    table = _struct_table(messages).drop_columns("level_start")
    for name, values in (("prices", prices), ("sizes", sizes)):
        table = table.append_column(name, pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)))
    return table


def _decode_messages(table: pa.Table | None, dtype: np.dtype[np.void]) -> tuple[npt.NDArray[np.void], _Ints, _Ints]:
    messages = _decode_structs(table, dtype)
    if table is None:
        return messages, np.empty(0, np.int64), np.empty(0, np.int64)
    ends = np.cumsum(messages["bid_count"] + messages["ask_count"])
    messages["level_start"] = ends - messages["bid_count"] - messages["ask_count"]
    prices, sizes = (table[name].combine_chunks().flatten().to_numpy() for name in ("prices", "sizes"))
    if not ends[-1] == len(prices) == len(sizes):
        raise DamagedError("the messages' counts do not match the number of levels")
    return messages, prices, sizes


def _decode_frame(table: pa.Table | None) -> Frame | None:
    if table is None:
        return None
    row, prices, sizes = _decode_messages(table, FRAME_ROW)
    if len(row) != 1:
        raise DamagedError(f"{_FRAME_FILE} has {len(row)} frames")
    return Frame(row, prices, sizes)


def _level_lists(levels: npt.NDArray[np.int64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(levels.reshape(-1)), levels.shape[1])


def _letter_table(rows: npt.NDArray[np.void], letters: tuple[DeadLetter, ...]) -> pa.Table:
    assert len(rows) == len(letters)
    columns: list[Any] = [pa.array(np.ascontiguousarray(rows["event_index"]))]
    columns += [
        pa.array([getattr(letter, name) for letter in letters], _LETTER_SCHEMA.field(name).type)
        for name in _LETTER_SCHEMA.names[1:]
    ]
    return pa.Table.from_arrays(columns, schema=_LETTER_SCHEMA)


def _decode_letters(tables: Mapping[str, pa.Table]) -> tuple[DeadLetter, ...]:
    (stream,) = (stream for stream in ROW_STREAMS if stream.has(Kind.RECORD))
    table = tables.get(_file_of(stream), _LETTER_SCHEMA.empty_table())
    return tuple(DeadLetter(**row) for row in table.drop_columns("event_index").to_pylist())


def _encode_decimals(values: _Ints, scale: int) -> pa.Array:
    return pa.Array.from_buffers(pa.decimal64(18, scale), len(values), [None, pa.py_buffer(values)], null_count=0)


def _decode_fixed_point(column: pa.ChunkedArray) -> _Ints:
    """The int64 values of a decimal column, which a reader may have widened to 128 bits."""
    if not len(column):
        return np.empty(0, np.int64)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    words = array.type.byte_width // 8
    values = np.frombuffer(array.buffers()[1], np.int64)[:: max(words, 1)]
    return values[array.offset : array.offset + len(array)].copy()


def _decode_sides(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """The column of sides as int8, 1 for asks. Raises DamagedError unless all bids precede all asks."""
    if not len(column):
        return np.empty(0, np.int8)
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    names = array.dictionary.to_pylist()
    flags: npt.NDArray[np.int8] = np.array([name == "ask" for name in names], np.int8)[array.indices.to_numpy()]
    if not set(names) <= {"bid", "ask"} or (np.diff(flags) < 0).any():
        raise DamagedError(f"{BOOK_FILE}: sides are out of order")
    return flags


def _digest(is_ask: npt.NDArray[np.int8], prices: _Ints, sizes: _Ints) -> str:
    digest = hashlib.sha256()
    for column in (is_ask, prices, sizes):
        digest.update(np.ascontiguousarray(column).view(np.uint8).data)
    return digest.hexdigest()
