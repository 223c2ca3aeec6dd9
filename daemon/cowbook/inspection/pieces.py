"""Goes through the beginning of one file by the decoder and the engine that a run would use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.capture.compression import DecodedStream, open_decoded
from cowbook.capture.members import MARK
from cowbook.input.decoder import Decoder
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.symbol.engine_settings import engine_settings
from cowbook.venues import load_venue
from cowbook.venues.decoders import make_decoder

BLOCK_BYTES = 1 << 20


def settings_of(name: str, price_decimals: int = 8, size_decimals: int = 8) -> DecoderSettings:
    """The settings of a symbol, as a configuration has them by default."""
    return DecoderSettings(name, price_decimals, size_decimals, 1 << 24)


@dataclass(slots=True)
class Piece:
    """Messages of a file, decoded and not applied yet, with all that decoded them."""

    batch: EventBatch
    decoder: Decoder
    engine: OrderBookEngine
    block: Block

    def messages(self) -> npt.NDArray[np.void]:
        """The batch's valid messages."""
        return self.batch.messages[: self.batch.message_count]

    def apply(self, start: int, stop: int) -> None:
        """Apply a range of the messages. Rows are dropped at cuts, since nobody reads them."""
        while start < stop:
            applied = self.engine.apply(self.batch, start, stop)
            start = applied.consumed
            if applied.cut:
                self.engine.take_open_rows()


def go_through(path: Path, format_name: str, settings: DecoderSettings, limit: int | None = None) -> Iterator[Piece]:
    """Yield a file's messages, a batch at a time, up to `limit` decoded bytes; a record that is cut there is left out.

    The caller applies what it wants applied. Raises OSError, or a CowbookError.
    """
    decoder = make_decoder(format_name, settings)
    engine = OrderBookEngine(engine_settings(EngineSettings(streams=()), load_venue(format_name), settings))
    batch = EventBatch.allocate()
    with open_decoded(path) as file:
        for block in _blocks(file, str(path), limit):
            full = True
            while full:
                full = decoder.decode(block, batch)
                yield Piece(batch, decoder, engine, block)
                batch.clear()


def _blocks(file: DecodedStream, name: str, limit: int | None) -> Iterator[Block]:
    """Yields a file's blocks. What the consumer leaves of one begins the next one. Damage is a block's last byte."""
    offset = 0
    left = np.empty(0, np.uint8)
    head = b""
    while limit is None or offset < limit:
        wanted = BLOCK_BYTES if limit is None else min(BLOCK_BYTES, limit - offset)
        buffer = np.zeros(len(left) + wanted + PADDING, np.uint8)
        buffer[: len(left)] = left
        count = file.readinto(buffer.data[len(left) : len(left) + wanted]) or 0
        end = len(left) + count
        head += buffer[len(left) : end].tobytes()[: IDENTITY_BYTES - len(head)]
        if file.damage is not None and not count:
            buffer[end] = MARK[0]
            end += 1
        block = Block(buffer, 0, end, name, offset - len(left), not count, head, file.damage)
        yield block
        if block.final:
            return
        offset += count
        left = buffer[block.start : end]
