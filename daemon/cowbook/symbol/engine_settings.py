"""What a venue and a decoder decide of an engine's settings: the one place that says it."""

from __future__ import annotations

from dataclasses import replace

from cowbook.book.order_book_engine import EngineSettings
from cowbook.input.settings import DecoderSettings
from cowbook.input.venue import Venue


def engine_settings(chosen: EngineSettings, venue: Venue, decoder: DecoderSettings) -> EngineSettings:
    """`chosen` by a person, with what follows from the venue and must fit the decoder.

    Everyone who makes an engine for a venue calls this: an engine that is not told whether a lost record would show trusts a
    book that has lost one.
    """
    return replace(
        chosen,
        checksum=venue.checksum,
        snapshots_are_whole=venue.snapshots != "range",
        channel_number=venue.channels.get(chosen.channel, 0),
        dead_letter_ends_sync=not venue.shows_loss or decoder.connection_numbers == "ignore",
        price_decimals=decoder.price_decimals,
        size_decimals=decoder.size_decimals,
    )
