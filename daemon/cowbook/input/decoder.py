"""The interface of a decoder."""

from __future__ import annotations

from typing import Protocol

from cowbook.input.venue import Connection
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch


class Decoder(Protocol):
    """Turns blocks of decoded bytes into batches of messages."""

    other_symbols: list[str]
    """The first other symbols that records named, at most MAX_OTHER_SYMBOLS, to be shown to the user."""

    @property
    def record_offset(self) -> int | None:
        """Offset of the overlong record of which a part was already dropped; None if there is none."""

    def connection_after(self, consumed: int) -> Connection:
        """The connection's state after the first `consumed` messages of the batch."""

    def restore_connection(self, connection: Connection) -> None:
        """Continue with this state of the connection."""

    def decode(self, block: Block, batch: EventBatch) -> bool:
        """Append the block's records to the batch and move `block.start` past them. Returns whether the batch is full."""
