"""Makes the decoder of a format. It is given what it needs to name the format that a file looks like instead."""

from __future__ import annotations

from cowbook.input.decoder import Decoder
from cowbook.input.settings import DecoderSettings
from cowbook.input.tables.table_decoder import TableDecoder
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.venues import load_venue
from cowbook.venues.recognise import formats_of_table, looks_like_formats


def make_decoder(format_name: str, settings: DecoderSettings) -> Decoder:
    """Make the decoder for a format's text records or tables. Raises KeyError for an unknown format."""
    venue = load_venue(format_name)
    if venue.tables:
        return TableDecoder(venue.tables, settings, lambda head: looks_like_formats(head, settings))
    return LineDecoder(venue, settings, formats_of_table)
