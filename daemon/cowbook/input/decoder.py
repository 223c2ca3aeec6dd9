"""What every decoder offers."""

from __future__ import annotations

from typing import Protocol

from cowbook.input.venue import Connection
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch


class Decoder(Protocol):
    """Turns blocks of decoded bytes into batches of messages."""

    other_symbols: list[str]
    """The first other symbols that records named, at most a few, for a person."""

    @property
    def record_offset(self) -> int | None:
        """Where an overlong record begins of which parts were dropped from the blocks already; None outside of such a one."""

    def connection_after(self, consumed: int) -> Connection:
        """What the venue's connection had agreed on after so many messages of the batch."""

    def restore_connection(self, connection: Connection) -> None:
        """Go on where the venue's connection had agreed on this."""

    def decode(self, block: Block, batch: EventBatch) -> bool:
        """Append the block's records to the batch and move `block.start` behind them; whether the batch is full."""
