"""Replays a capture in the caller's own loop, with the book readable between messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.capture.compression import DecodedStream, open_decoded
from cowbook.capture.copies import read_once
from cowbook.capture.members import MARK
from cowbook.capture.paths import expand_paths
from cowbook.capture.written_order import in_written_order
from cowbook.errors import DamageHaltError
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.symbol.engine_settings import engine_settings
from cowbook.symbol.first_time import FirstTime
from cowbook.venues import load_venue
from cowbook.venues.decoders import make_decoder


def replay(
    paths: str | Sequence[str],
    symbol: str,
    *,
    every: int = 1,
    format: str = "binance",  # noqa: A002 - the name of the setting
    price_decimals: int = 8,
    size_decimals: int = 8,
    settings: EngineSettings | None = None,
    block_bytes: int = 1 << 20,
) -> Iterator[OrderBookEngine]:
    """Go through a capture and yield the engine after every `every` records, and once more at the end if records are left.

    It is the same engine each time. Read `engine.bids`, `engine.asks`, `engine.synced`, …, or keep `engine.snapshot()`, which
    does not change. Files are read in the order of `paths`, without a daemon, a checkpoint, or any output.

    * `paths`: a path or a glob, or several of them; relative ones start at the current directory. A glob's matches are read in
      natural order, or by the times of their first records where those contradict it. Containers and compression are recognised
      by content.
    * `symbol`: the symbol's name in its records. Records of other symbols count as records and change nothing.
    * `every`, 1: records between two yields, at least 1. Rejected, unused and other symbols' records count; blank lines do not. A
      message of a table counts as one record.
    * `format`, "binance": the venue's name, from the table in docs/input.md.
    * `price_decimals`, 8, and `size_decimals`, 8: prices and sizes are int64 in units of 10^-decimals, exact and below 10^18. A
      record with more digits is rejected as `out_of_range`.
    * `settings`, None: the engine's settings; None collects no rows. Rows of the streams that they name are collected up to each
      cut (`engine.open_rows()`) and dropped there. Their decimals, checksum and `dead_letter_ends_sync` are ignored: these follow
      from the other parameters and the venue.
    * `block_bytes`, 1 MiB: decoded bytes to read at a time. It changes no result.

    Behind a damaged place of a compressed file, reading goes on with what can be decoded. It is a gap, and a record of its own;
    `engine.dead_letter_statistics()["damaged"]` counts them.

    Nothing is read, and nothing raised, before the first `next()`. Raises KeyError for an unknown format, or a CowbookError:
    InputError for a file that is missing, or a table where records are expected (or the other way round); GapHaltError at a gap,
    and DamageHaltError at a damaged place, if `settings.on_gap` is "halt"; BookMemoryError when the book outgrows
    `settings.max_book_bytes`.
    """
    decoder_settings = DecoderSettings(symbol, price_decimals, size_decimals, 1 << 24)
    decoder = make_decoder(format, decoder_settings)
    engine = OrderBookEngine(engine_settings(settings or EngineSettings(streams=()), load_venue(format), decoder_settings))
    batch = EventBatch.allocate()
    wait = every
    names = [paths] if isinstance(paths, str) else list(paths)
    expanded = read_once(expand_paths(names, Path()))
    for path in in_written_order(expanded, FirstTime(format, decoder_settings)).paths:
        with open_decoded(path) as file:
            for block in _blocks(file, str(path), block_bytes):
                full = True
                while full:
                    full = decoder.decode(block, batch)
                    place = 0
                    while place < batch.message_count:
                        applied = engine.apply(batch, place, min(place + wait, batch.message_count))
                        wait -= applied.consumed - place
                        place = applied.consumed
                        if applied.cut:
                            engine.take_open_rows()
                        if wait == 0:
                            wait = every
                            yield engine
                    batch.clear()
                if block.damage is not None and settings is not None and settings.on_gap == "halt":
                    raise DamageHaltError(f'{block.damage}; on_gap = "continue" would go on behind it')
    if wait != every:
        yield engine


def _blocks(file: DecodedStream, name: str, block_bytes: int) -> Iterator[Block]:
    """Yields a file's blocks. The bytes that the consumer leaves of one begin the next. Damage is a block's last byte."""
    offset = 0
    left = np.empty(0, np.uint8)
    head = b""
    while True:
        buffer = np.zeros(len(left) + block_bytes + PADDING, np.uint8)
        buffer[: len(left)] = left
        count = file.readinto(buffer.data[len(left) : len(left) + block_bytes])
        end = len(left) + (count or 0)
        head += buffer[len(left) : end].tobytes()[: IDENTITY_BYTES - len(head)]
        if file.damage is not None and not count:
            buffer[end] = MARK[0]
            end += 1
        block = Block(buffer, 0, end, name, offset - len(left), not count, head, file.damage)
        yield block
        if block.final:
            return
        offset += count or 0
        left = buffer[block.start : end]
