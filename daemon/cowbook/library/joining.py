"""Several sources of one symbol in a replay: their files are read and decoded side by side, and joined as the daemon does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cowbook.errors import DamageHaltError
from cowbook.input.decoder import Decoder
from cowbook.library.inputs import Input
from cowbook.merge.merger import BATCH_MESSAGES, Merger
from cowbook.plain.block import Block
from cowbook.plain.messages import EventBatch
from cowbook.symbol.settings import decoder_settings
from cowbook.venues.decoders import make_decoder

_BATCH_LEVELS = 1 << 15

BlocksOf = Callable[[Path], Iterator[Block]]
"""Returns the blocks of a file."""


def join_sources(
    given: Input, batch: EventBatch, other_symbols: list[str], blocks_of: BlocksOf, *, halts: bool
) -> Iterator[bool]:
    """Fill the batch again and again with what comes next of all sources, and yield True for each.

    `other_symbols` gets the other symbols that records of any source name. Raises InputError as reading does, and
    DamageHaltError at a damaged place if it `halts` there.
    """
    own = [replace(given, config=config) for config in given.config.inputs]
    merger = Merger(len(own))
    numbers = np.zeros(len(batch.messages), np.int64)
    decoded = [_decode(each, each.files(), other_symbols, blocks_of, halts=halts) for each in own]
    while True:
        batch.clear()
        needed = merger.join(batch, numbers)
        if batch.message_count:
            yield True
        if needed is None:
            return
        if needed < 0:
            continue
        more = next(decoded[needed], None)
        if more is None:
            merger.end(needed)
        else:
            merger.append(needed, more)


def _decode(
    given: Input, paths: Sequence[Path], other_symbols: list[str], blocks_of: BlocksOf, *, halts: bool
) -> Iterator[EventBatch]:
    """Yields what a source decodes to, in one batch that is filled again and again."""
    decoder: Decoder = make_decoder(given.config.format, decoder_settings(given.config))
    decoder.other_symbols = other_symbols
    batch = EventBatch.allocate(BATCH_MESSAGES, _BATCH_LEVELS)
    for path in paths:
        for block in blocks_of(path):
            full = True
            while full:
                batch.clear()
                full = decoder.decode(block, batch)
                if batch.message_count:
                    yield batch
            if block.damage is not None and halts:
                raise DamageHaltError(f'{block.damage}; on_gap = "continue" would go on behind it')
