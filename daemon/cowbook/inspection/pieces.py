"""Goes through the beginning of one file by the decoder and the engine that a run would use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.capture.compression import open_decoded
from cowbook.capture.whole_file import read_blocks
from cowbook.input.decoder import Decoder
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch
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
        for block in read_blocks(file, str(path), BLOCK_BYTES, limit):
            full = True
            while full:
                full = decoder.decode(block, batch)
                yield Piece(batch, decoder, engine, block)
                batch.clear()
