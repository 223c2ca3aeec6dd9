"""What a venue's module says of it; how its records become messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cowbook.input.decoding import BLANK, UNUSED, Decoded, DecodedMessage, DecoderSettings, Rejected
from cowbook.input.json_fields import RefusedError, load_with_numerals
from cowbook.input.records import open_envelope
from cowbook.input.tables import Table
from cowbook.schemes import NO_CHECKSUM

DecodeRecord = Callable[[bytes, DecoderSettings], Decoded]
"""Says what one record is: a pure function that raises nothing which depends on the record."""


@dataclass(frozen=True, slots=True)
class Venue:
    """A format: how a record is decoded, and what its messages prove."""

    decode_record: DecodeRecord | None = None
    """Of lines and the like; None for tables."""
    tables: tuple[Table, ...] = ()
    """Of CSV and Parquet files, by the names of their columns."""
    scan: Callable[..., tuple[int, int]] | None = None
    """A kernel that decodes the common records at speed and leaves the others to `decode_record`."""
    has_ids: bool = True
    """Whether every depth message and every trade has an id."""
    checksum: int = NO_CHECKSUM
    """Style of the checksums that depth messages carry (cowbook.schemes)."""
    shows_loss: bool = True
    """Whether ids or checksums show, sooner or later, that a depth message is missing. Where nothing does, a record that cannot be
    decoded ends sync: it may have been one."""


def refusing(decode: DecodeRecord) -> DecodeRecord:
    """What is the same for all records: blank ones, overlong ones, text that is none; a RefusedError becomes a Rejected."""

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        if len(record) > settings.max_line_bytes:
            return Rejected("overlong", f"{len(record)} bytes: max_line_bytes = {len(record)} would fit")
        if not record.strip(b" \t"):
            return BLANK
        try:
            if not record.isascii():
                record.decode()
            return decode(record, settings)
        except UnicodeDecodeError as error:
            return Rejected("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}")
        except RefusedError as refusal:
            return Rejected(*refusal.args)

    return decode_record


def json_records(decode: Callable[[object, DecoderSettings], Decoded]) -> DecodeRecord:
    """For venues that send JSON: `decode` gets a message's value, with numbers that are no integers as `Numeral`."""

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        envelope = open_envelope(record)
        if envelope is None:
            return UNUSED
        decoded = decode(load_with_numerals(envelope.message), settings)
        if isinstance(decoded, DecodedMessage):
            decoded.ts_recv = envelope.ts_recv()
        return decoded

    return refusing(decode_record)
