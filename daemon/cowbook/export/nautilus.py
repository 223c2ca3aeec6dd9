"""Order book deltas and trades for nautilus_trader: files of its Parquet data catalogue.

Prices and sizes are 128-bit integers of 10^-16, as its builds of high precision have them (all wheels but Windows').
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.errors import ExportError
from cowbook.export.span import Integers, Rows, Span, StartBook, receive_times, rising, step, trailing_decimals
from cowbook.plain.destination import check_is_new, publish, scratch
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import CLEAR, OF_SNAPSHOT, TRADE_SIDES
from cowbook.query.times import iso

ADD, UPDATE, DELETE, CLEAR_BOOK = 1, 2, 3, 4
F_SNAPSHOT, F_LAST = 32, 128
_AGGRESSORS = np.array([{"buy": 1, "sell": 2}.get(side, 0) for side in TRADE_SIDES], np.uint8)
"""Its numbers for the sides of trades; 0 is no aggressor."""

_DECIMALS = 16
_MOST = {"price": 17_014_118_346_046, "size": 34_028_236_692_093}
"""The largest numbers that a Price and a Quantity hold."""
_ROW_GROUP = 65_536

_NUMBER = pa.binary(16)
_TIMES = (("ts_event", pa.uint64()), ("ts_init", pa.uint64()))
_DELTAS = (
    *(("action", pa.uint8()), ("side", pa.uint8()), ("price", _NUMBER), ("size", _NUMBER), ("order_id", pa.uint64())),
    *(("flags", pa.uint8()), ("sequence", pa.uint64())),
    *_TIMES,
)
_TICKS = (("price", _NUMBER), ("size", _NUMBER), ("aggressor_side", pa.uint8()), ("trade_id", pa.string()), *_TIMES)


@dataclass(frozen=True, slots=True)
class NautilusExport:
    """What was written."""

    files: list[Path]
    deltas: int
    trades: int
    start_levels: int  # levels of the book at the start
    unsynced_rows: int  # rows of depth that the output does not call synced
    price_precision: int
    size_precision: int
    has_receive_times: bool  # False: some ts_init are times of the exchange


def export_nautilus(span: Span, catalogue: Path, instrument: str) -> NautilusExport:
    """Writes a span into a catalogue, in which other files may stand. `instrument` is SYMBOL.VENUE.

    Raises QueryError for what cannot be read, ExportError for what cannot be written, or what the format does not hold.
    """
    symbol, dot, venue = instrument.rpartition(".")
    if not (symbol and dot and venue) or any(character in instrument for character in "\\\0") or ".." in instrument:
        raise ExportError(f"{instrument!r} is no id of an instrument: it must be SYMBOL.VENUE, such as BTCUSDT.BINANCE")
    start = span.start_book()
    found = _look(span, start)
    metadata = {
        "instrument_id": instrument,
        "price_precision": str(found.price_precision),
        "size_precision": str(found.size_precision),
    }
    directory = instrument.replace("/", "")  # nautilus_trader names it so, and since 1.222 the folder of deltas as below
    streams = (("order_book_deltas", _DELTAS, _deltas(span, start)), ("trade_tick", _TICKS, _ticks(span)))
    made: list[tuple[Path, Path]] = []
    counts: list[int] = []
    with ExitStack() as stack:
        for name, columns, tables in streams:
            folder = catalogue / "data" / name / directory
            schema = pa.schema([pa.field(*column, nullable=False) for column in columns], metadata)
            partial = stack.enter_context(scratch(folder, quote(instrument, safe="")))
            count, first, last = _write(partial, schema, tables)
            counts.append(count)
            if count:
                made.append((partial, folder / f"{_file_time(first)}_{_file_time(last)}.parquet"))
        for _, path in made:
            check_is_new(path)
        for partial, path in made:
            publish(partial, path)
    return NautilusExport(
        [path for _, path in made],
        counts[0],
        counts[1],
        0 if start is None else len(start),
        found.unsynced_rows,
        found.price_precision,
        found.size_precision,
        found.has_receive_times,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    price_precision: int
    size_precision: int
    unsynced_rows: int
    has_receive_times: bool


def _look(span: Span, start: StartBook | None) -> _Look:
    """What must be known before the first row is written: how many decimals are needed, and whether all numbers fit."""
    steps = {"price": 0, "size": 0}
    unsynced, has_receive_times = 0, True
    decimals = {"price": span.price_decimals, "size": span.size_decimals}

    def note(name: str, values: Integers) -> None:
        steps[name] = step([np.array([steps[name]]), values])
        if len(values) and int(np.abs(values).max()) > _MOST[name] * 10 ** decimals[name]:
            raise ExportError(f"a {name} is above {_MOST[name]:,}, the most that nautilus_trader holds")

    if start is not None:
        for side in (start.bids, start.asks):
            note("price", side[0])
            note("size", side[1])
    for piece in span.pieces():
        for rows in (piece.depth, piece.trades):
            note("price", rows["price"])
            note("size", rows["size"])
            has_receive_times &= not (rows["ts_recv"] == NONE).any()
        unsynced += int(np.count_nonzero(~piece.depth["synced"].astype(np.bool_)))
    precisions = [trailing_decimals(steps[name], decimals[name]) if steps[name] else 0 for name in ("price", "size")]
    if max(precisions) > _DECIMALS:
        raise ExportError(f"prices or sizes have {max(precisions)} decimals, and nautilus_trader holds {_DECIMALS}")
    return _Look(precisions[0], precisions[1], unsynced, bool(has_receive_times))


def _write(path: Path, schema: pa.Schema, tables: Iterable[dict[str, Any]]) -> tuple[int, int, int]:
    """Returns the number of rows, and `ts_init` of the first and the last one."""
    count, first, last = 0, 0, 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for columns in tables:
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            table = pa.Table.from_arrays(arrays, schema=schema)
            if not len(table):
                continue
            first = int(columns["ts_init"][0]) if not count else first
            last = int(columns["ts_init"][-1])
            count += len(table)
            writer.write_table(table, row_group_size=_ROW_GROUP)
    return count, first, last


def _deltas(span: Span, start: StartBook | None) -> Iterator[dict[str, Any]]:
    newest = -(2**63)
    for piece in span.pieces():
        depth = piece.depth
        if not len(depth):
            continue
        received = rising(receive_times(depth), newest, "ts_recv of depth")
        newest = int(received[-1])
        if start is not None:
            yield _start(span, start, int(received[0]))
            start = None
        kinds, sides = depth["kind"], depth["side"].astype(np.uint8)
        flags = np.where(depth["is_last"], F_LAST, 0).astype(np.uint8)
        flags[(kinds == OF_SNAPSHOT) | (kinds == CLEAR)] |= F_SNAPSHOT
        actions = np.full(len(depth), UPDATE, np.uint8)
        actions[kinds == OF_SNAPSHOT] = ADD
        actions[depth["size"] == 0] = DELETE
        actions[kinds == CLEAR] = CLEAR_BOOK
        # One clear empties both sides. depth has one of each side, bids first, and the last may end the message.
        keep = ~((kinds == CLEAR) & (sides == 0))
        sides = np.where(kinds == CLEAR, 0, sides + 1).astype(np.uint8)
        ids = np.where(depth["update_id"] == NONE, 0, depth["update_id"])
        yield {
            "action": actions[keep],
            "side": sides[keep],
            "price": numbers(depth["price"][keep], span.price_decimals),
            "size": numbers(depth["size"][keep], span.size_decimals),
            "order_id": np.zeros(int(keep.sum()), np.uint64),
            "flags": flags[keep],
            "sequence": ids[keep],
            "ts_event": depth["ts_event"][keep],
            "ts_init": received[keep],
        }


def _start(span: Span, book: StartBook, received: int) -> dict[str, Any]:
    count = 1 + len(book)
    zero = np.zeros(1, np.int64)
    flags = np.full(count, F_SNAPSHOT, np.uint8)
    flags[-1] |= F_LAST
    actions = np.full(count, ADD, np.uint8)
    actions[0] = CLEAR_BOOK
    return {
        "action": actions,
        "side": np.repeat(np.array([0, 1, 2], np.uint8), [1, len(book.bids[0]), len(book.asks[0])]),
        "price": numbers(np.concatenate([zero, book.bids[0], book.asks[0]]), span.price_decimals),
        "size": numbers(np.concatenate([zero, book.bids[1], book.asks[1]]), span.size_decimals),
        "order_id": np.zeros(count, np.uint64),
        "flags": flags,
        "sequence": np.full(count, 0 if book.update_id == NONE else book.update_id, np.uint64),
        "ts_event": np.full(count, book.time, np.int64),
        "ts_init": np.full(count, received, np.int64),
    }


def _ticks(span: Span) -> Iterator[dict[str, Any]]:
    newest = -(2**63)
    for piece in span.pieces():
        trades = piece.trades
        if not len(trades):
            continue
        received = rising(receive_times(trades), newest, "ts_recv of trades")
        newest = int(received[-1])
        yield {
            "price": numbers(trades["price"], span.price_decimals),
            "size": numbers(trades["size"], span.size_decimals),
            "aggressor_side": _AGGRESSORS[trades["side"]],
            "trade_id": _trade_ids(trades),
            "ts_event": trades["ts_event"],
            "ts_init": received,
        }


def _trade_ids(trades: Rows) -> pa.Array:
    """The venue's numbers; where it has none, `event_index`, since nautilus_trader takes no trade without an id."""
    ids: npt.NDArray[np.int64] = np.where(trades["trade_id"] == NONE, trades["event_index"], trades["trade_id"])
    return pa.array(ids, pa.int64()).cast(pa.string())


def numbers(values: Integers, decimals: int) -> pa.Array:
    """Fixed-point ints as 16 bytes each: whole numbers of 10^-16, little-endian. What Arrow's decimals are made of."""
    wide = pa.array(values, pa.int64()).cast(pa.decimal128(19, 0))
    # The same digits, read as ones with `decimals` of them behind the point.
    shifted = pa.Array.from_buffers(pa.decimal128(38, decimals), len(wide), wide.buffers()[:2])
    scaled = shifted.cast(pa.decimal128(38, _DECIMALS))
    return pa.Array.from_buffers(_NUMBER, len(scaled), [None, scaled.buffers()[1]])


def _file_time(time: int) -> str:
    """A time as the catalogue writes it in names of files: 2024-08-09T00-34-56-789000000Z."""
    head, _, digits = iso(time).removesuffix("Z").partition(".")
    return f"{head.replace(':', '-')}-{digits:0<9}Z"
